"""The retrieval inspector as a pure view: questions, answers and a state in, HTML out.

A query stands beside what one system, or two, ranked first: pictures, rank, mark, score, what is
said, where it is from, and where the other system ranks the same clip. A state says what is looked
at; each step makes a new one, so that a test presses keys without a browser. All text is escaped.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

import numpy as np
import polars as pl

from sportskills_lib import metrics
from sportskills_lib.report import cases
from sportskills_lib.viewing.markup import clock, plain, style_tag, template
from sportskills_lib.viewing.previews import animation
from sportskills_lib.viewing.retrieved_queries import RELEVANT, UNJUDGED, QueryResults

ALL, FAILURES, NEAR, APART = "all, worst first", "failures", "near misses", "largest disagreement"
SHOWS = (ALL, FAILURES, NEAR, APART)
LOOKS = {  # mark → class in style.css, sign
    cases.OWN: ("own", "✓"),
    cases.SAME_CUE: ("cue", "≈"),
    cases.SAME_SKILL: ("skill", "○"),
    cases.OTHER: ("other", "✗"),
    UNJUDGED: ("unknown", "–"),
}
TOP, PAGE = 5, 40
KEPT = 1000  # answers and small pictures kept in memory, some 10 kB each
STILL_PX, STILL_FRAMES = 128, 8
# of films in one step, as they stand in the page; what is beyond it stays a small picture
BUDGET_BYTES = 1_500_000
SHOWN_FIRST = {  # ends of names: the first that is there is shown, the next stands beside it
    "narrations": [
        f"{arm}/text_to_video/{scope}"
        for scope in ("within_sport", "across_sports")
        for arm in ("narrations", "activity_skill", "zero_shot")
    ],
    "learners": ["relevance", "encoder_narrations", "same_skill_random"],
}
VIEWS = template("inspector.jinja")


@dataclass(frozen=True)
class InspectorState:
    """What is looked at. "" as ``other`` shows one system alone; "" as sport or skill means all of
    them.
    """

    system: str
    other: str = ""
    sport: str = ""
    skill: str = ""
    show: str = ALL
    words: str = ""  # only queries that hold these words
    number: int = 0  # of the query in the list
    top: int = TOP


class Inspector:
    """The view over one kind of questions. The latest lists, answers and pictures are kept."""

    def __init__(self, results: QueryResults):
        self.results = results
        self._list = lru_cache(16)(self._find)
        self._hits = lru_cache(KEPT)(self._read_hits)
        self._still = lru_cache(KEPT)(self._make_still)

    def start(self) -> InspectorState:
        """The state that is shown first: narrations against labels of skills, or the relevance
        model against 03.
        """
        systems = sorted(self.results.hits)
        ends = SHOWN_FIRST[self.results.kind]
        named = (next((name for name in systems if name.endswith(end)), "") for end in ends)
        system, other, *_ = [*filter(None, named), "", ""]
        return InspectorState(system or systems[0], other)

    def choices(self, state: InspectorState) -> dict[str, list[tuple[str, str]]]:
        """What each setting of a state may be, as (label, value); "" is none, or all."""
        queries = self.results.queries
        systems = [(arm_name(name), name) for name in sorted(self.results.hits)]
        skills = queries.filter(pl.lit(not state.sport) | (pl.col("sport") == state.sport))["skill"]
        return {
            "system": systems,
            "other": [("none", ""), *systems],
            "sport": _options(queries["sport"]),
            "skill": _options(skills),
            "show": [(show, show) for show in SHOWS],
        }

    def matching_queries(self, state: InspectorState) -> pl.DataFrame:
        """The queries that the state lets through, in its order, with place and other_place of
        their first relevant clip.
        """
        return self._list(replace(state, number=0, top=TOP))

    def _find(self, state: InspectorState) -> pl.DataFrame:
        chosen = {"sport": state.sport, "skill": state.skill}
        hay = pl.concat_str("text", pl.lit(" "), "query_id", ignore_nulls=True).str.to_lowercase()
        found = self.results.queries.filter(
            hay.str.contains(state.words.strip().lower(), literal=True),
            **{name: value for name, value in chosen.items() if value},
        )
        none = pl.DataFrame(schema={"query_id": pl.String, "place": pl.Float64})
        for name, system in (("place", state.system), ("other_place", state.other)):
            theirs = self.results.places.get(system, none).rename({"place": name})
            found = found.join(theirs, on="query_id", how="left")
        place, other = (pl.col(name).fill_null(np.inf) for name in ("place", "other_place"))
        apart, near = (1 / place - 1 / other).abs(), self.results.near
        let_through = {
            ALL: pl.lit(True),
            FAILURES: place > near,
            NEAR: (place > near) & (place <= 2 * near),
            APART: apart > 0,
        }
        order = apart if state.show == APART else place
        return found.filter(let_through[state.show]).sort(
            order, "query_id", descending=[state.show != NEAR, False]
        )

    # ---------------------------------------------------------------------------------------- steps

    def moved(self, state: InspectorState, by: int) -> InspectorState:
        """``by`` queries on; the ends of the list hold."""
        last = self.matching_queries(state).height - 1
        return replace(state, number=max(0, min(state.number + by, last)))

    def cycled(self, state: InspectorState, name: str) -> InspectorState:
        """The next system, other, sport, skill or show, around the end; the list begins anew."""
        values, now = [value for _, value in self.choices(state)[name]], getattr(state, name)
        after = values.index(now) + 1 if now in values else 0
        return self.choose(state, **{name: values[after % len(values)]})

    def choose(self, state: InspectorState, **values: Any) -> InspectorState:
        """A state with other values; another sport forgets the skill, and the list begins anew."""
        kept = values.get("sport", state.sport) == state.sport
        return replace(state, **{"number": 0, "skill": state.skill if kept else "", **values})

    def swapped(self, state: InspectorState) -> InspectorState:
        """Both systems in each other's place, at the same query where the list holds it."""
        if not state.other:
            return state
        turned = replace(state, system=state.other, other=state.system)
        ids, now = self.matching_queries(turned)["query_id"].to_list(), self.query(state)
        return replace(
            turned, number=ids.index(now["query_id"]) if now and now["query_id"] in ids else 0
        )

    def query(self, state: InspectorState) -> dict[str, Any] | None:
        """The row of :meth:`matching_queries` that the state is at; None of an empty list."""
        listed = self.matching_queries(state)
        number = min(state.number, listed.height - 1)
        return listed.row(number, named=True) if listed.height else None

    def query_options(self, state: InspectorState) -> list[tuple[str, int]]:
        """(label, number) of the queries around the state's: a list that a browser can bear,
        however large the run.
        """
        start = state.number // PAGE * PAGE
        rows = self.matching_queries(state).slice(start, PAGE).select("place", "text").rows()
        return [
            (f"{_rank(place)}: {plain(said, limit=110)}", start + at)
            for at, (place, said) in enumerate(rows)
        ]

    # ----------------------------------------------------------------------------------------- HTML

    def clip_ids(self, state: InspectorState) -> list[str]:
        """The items that the state shows, the query first, then by rank: films of them are wanted
        in this order.
        """
        if (query := self.query(state)) is None:
            return []
        systems = [name for name in (state.system, state.other) if name]
        hits = [hit for name in systems for hit in self._hits(name, query["query_id"])[: state.top]]
        ranked = sorted((hit["rank"], hit["clip_id"]) for hit in hits)
        return list(dict.fromkeys([query["shown"], *(clip for _, clip in ranked)]))

    def html(self, state: InspectorState, films: Mapping[str, bytes] | None = None) -> str:
        """The state as a fragment; ``films`` (MP4 by item) play where they are given, small
        pictures elsewhere.
        """
        where = " · ".join((state.show, state.sport or "all sports", state.skill or "all skills"))
        if (query := self.query(state)) is None:
            alone = state.show == APART and not state.other
            return str(VIEWS.view(VIEWS.empty(where, alone)))
        count, playing = (
            self.matching_queries(state).height,
            self._within_budget(state, films or {}),
        )
        pairs = (state.system, state.other, "place"), (state.other, state.system, "other_place")
        answers = [
            {
                "name": arm_name(system),
                "told": f"{self.results.goal}: {_rank(query[place])}",
                "hits": self._answer(system, other, query, state, playing),
            }
            for system, other, place in pairs
            if system
        ]
        own = "asked for" if self.results.kind == "narrations" else "the learner"
        shown = self._figure(query["shown"], playing, look="query", label=own)
        number = min(state.number + 1, count)
        return str(VIEWS.view(VIEWS.query(where, number, count, query, shown, answers)))

    def page(self) -> str:
        """Its cases below each other with their style, for where no widget can run."""
        parts = [f"<h4>{state.show}</h4>{self.html(state)}" for state in self.cases()]
        return f"<h3>{self.results.kind}</h3>{style_tag()}{self.legend()}{''.join(parts)}"

    def cases(self) -> list[InspectorState]:
        """The states that a page shows: the first of every filter that lets something through."""
        begin = self.start()
        wanted = [self.choose(begin, show=show) for show in SHOWS[1:]]
        return [state for state in wanted if self.matching_queries(state).height] or [begin]

    def legend(self) -> str:
        """What marks and filters mean, as a fragment."""
        marks = [f"{LOOKS[mark][1]} {mark}" for mark in cases.MARKS]
        return str(VIEWS.view(VIEWS.legend(self.results, marks, metrics.HEADLINE_K)))

    def _read_hits(self, system: str, query_id: str) -> list[dict[str, Any]]:
        """All that is known of the system's answer, in order of rank."""
        found = self.results.hits[system].filter(pl.col("query_id") == query_id).to_dicts()
        return sorted(found, key=lambda hit: hit["rank"])

    def _answer(
        self,
        system: str,
        other: str,
        query: dict[str, Any],
        state: InspectorState,
        films: Mapping[str, bytes],
    ) -> list[dict[str, Any]]:
        """What the template shows of the system's first clips."""
        theirs = self._hits(other, query["query_id"]) if other else []
        ranks = {hit["clip_id"]: hit["rank"] for hit in theirs}
        figures = []
        for hit in self._hits(system, query["query_id"])[: state.top]:
            clip, rank = hit["clip_id"], hit["rank"]
            mark, there = self.results.mark(query, clip), ranks.get(clip)
            look, sign = LOOKS[mark]
            line = f"score {hit['score']:.3f}"
            if other:
                elsewhere = f"other: rank {there}" if there else "only here"
                line += f" · both: rank {rank}" if there == rank else f" · {elsewhere}"
                look += " only" if not there and mark in RELEVANT else ""
            grade = self.results.grades.get((query["query_id"], clip))
            told = mark if grade is None else f"grade {grade:.1f}"
            figures.append(
                self._figure(clip, films, look=look, label=f"{rank} {sign} {told}", line=line)
            )
        return figures

    def _figure(self, item_id: str, films: Mapping[str, bytes], **shown: str) -> dict[str, Any]:
        """What the template shows of an item; ``shown``: its look, its label and a line below."""
        said, where = "", f"{item_id} is not in clips.parquet"
        if row := self.results.items.rows.get(item_id):
            times = f"{clock(row['start_s'])}–{clock(row['end_s'])}"
            at = ", ".join(filter(None, (f"{row['video_id']} {times}", row["demonstration"])))
            said, where = row["said"], " · ".join(filter(None, (at, row["title"], row["channel"])))
        film = films.get(item_id)
        pictures = {"film": film, "still": None if film else self._still(item_id)}
        return {"id": item_id, "said": said, "where": where, "line": "", **pictures, **shown}

    def _make_still(self, item_id: str) -> bytes | None:
        if item_id not in self.results.items.frames:
            return None
        array, row = self.results.items.frames[item_id]
        step = max(1, array.shape[1] // STILL_FRAMES)
        return animation(array[row, ::step], side_px=STILL_PX, effort=0)

    def _within_budget(self, state: InspectorState, films: Mapping[str, bytes]) -> dict[str, bytes]:
        """The films that this step may send: the query's first, then by rank, each counted as often
        as it is shown.
        """
        shows = 2 if state.other else 1
        chosen, spent = {}, 0
        for item in self.clip_ids(state):
            spent += shows * 4 * len(films.get(item, b"")) // 3
            if films.get(item) and spent <= BUDGET_BYTES:
                chosen[item] = films[item]
        return chosen


def arm_name(system: str) -> str:
    """``image/narrations/text_to_video/within_sport`` → ``image, narrations, within sport``."""
    parts = [part for part in system.split("/") if part != "text_to_video"]
    return ", ".join(parts).replace("_", " ")


def _options(names: pl.Series) -> list[tuple[str, str]]:
    found = sorted(names.drop_nulls().unique())
    return [("all", ""), *((plain(name, limit=80), name) for name in found)]


def _rank(place: float | None) -> str:
    return "not found" if place is None else f"rank {place:.0f}"
