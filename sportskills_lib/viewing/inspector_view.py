"""The retrieval inspector as a pure view: questions, answers and a state in, HTML out.

A query stands beside what one system, or two, ranked first: pictures, rank, mark, score, what is
said, where it is from, and where the other system ranks the same clip. A state says what is looked
at; each step makes a new one, so that a test presses keys without a browser. All text is escaped.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

import polars as pl

from sportskills_lib import metrics
from sportskills_lib.report import cases
from sportskills_lib.viewing import pictures
from sportskills_lib.viewing.markup import clock, image_tag, plain, style_tag, text, video_tag
from sportskills_lib.viewing.retrieved_queries import QueryResults

ALL, FAILURES, NEAR, APART = "all, worst first", "failures", "near misses", "largest disagreement"
SHOWS = (ALL, FAILURES, NEAR, APART)
CLASSES = {cases.OWN: "own", cases.SAME_CUE: "cue", cases.SAME_SKILL: "skill", cases.OTHER: "other"}
SIGNS = {cases.OWN: "✓", cases.SAME_CUE: "≈", cases.SAME_SKILL: "○", cases.OTHER: "✗"}
TOP, PAGE = 5, 40
MOST_ANSWERS, MOST_STILLS = 1000, 1000  # small pictures kept in memory, some 10 kB each
# of films in one step, as they stand in the page; what is beyond it stays a small picture
BUDGET_BYTES = 1_500_000
PREFERRED = {
    "narrations": (
        "narrations/text_to_video/within_sport",
        "narrations/text_to_video/across_sports",
    ),
    "learners": ("vlm_lora", "encoder_narrations"),
}
RIVALS = {
    "narrations": ("activity_skill", "zero_shot"),
    "learners": ("encoder_narrations", "same_skill_random"),
}


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


@dataclass(frozen=True)
class Inspector:
    """The view over one kind of questions."""

    results: QueryResults
    _lists: dict[InspectorState, pl.DataFrame] = field(
        default_factory=dict, compare=False, repr=False
    )
    _answers: dict[tuple[str, str], list[dict]] = field(
        default_factory=dict, compare=False, repr=False
    )
    _stills: dict[str, bytes | None] = field(default_factory=dict, compare=False, repr=False)

    def start(self) -> InspectorState:
        """The state that is shown first: narrations against labels of skills, or the relevance
        model against 03.
        """
        systems = self.results.systems()
        ends = PREFERRED[self.results.kind]
        system = next((name for end in ends for name in systems if name.endswith(end)), systems[0])
        first = (
            [system.replace("/narrations/", f"/{rival}/") for rival in RIVALS["narrations"]]
            if "/narrations/" in system
            else [name for rival in RIVALS["learners"] for name in systems if name.endswith(rival)]
        )
        other = next((name for name in first if name in systems and name != system), "")
        return InspectorState(system, other)

    def sports(self) -> list[str]:
        """Sports that were asked about."""
        return sorted(self.results.queries["sport"].unique())

    def skills(self, sport: str) -> list[str]:
        """Skills of a sport, or of all."""
        queries = self.results.queries
        chosen = queries.filter(pl.col("sport") == sport) if sport else queries
        return sorted(chosen["skill"].drop_nulls().unique())

    def matching_queries(self, state: InspectorState) -> pl.DataFrame:
        """query_id, text, place, other_place of the queries that the state lets through, in its
        order.
        """
        key = replace(state, number=0, top=TOP)
        if key not in self._lists:
            if len(self._lists) >= 16:
                self._lists.clear()
            self._lists[key] = self._list(key)
        return self._lists[key]

    def _list(self, state: InspectorState) -> pl.DataFrame:
        queries, near = self.results.queries, self.results.near
        if state.sport:
            queries = queries.filter(pl.col("sport") == state.sport)
        if state.skill:
            queries = queries.filter(pl.col("skill") == state.skill)
        if words := state.words.strip().lower():
            hay = pl.concat_str(pl.col("text").str.to_lowercase(), pl.lit(" "), "query_id")
            queries = queries.filter(hay.str.contains(words, literal=True))
        places = self.results.places
        none = pl.DataFrame(schema={"query_id": pl.String, "place": pl.Float64})
        full = queries.select("query_id", "text").join(
            places.get(state.system, none), on="query_id", how="left"
        )
        theirs = places.get(state.other, none).rename({"place": "other_place"})
        full = full.join(theirs, on="query_id", how="left")
        place = pl.col("place").fill_null(float("inf"))
        apart = (1 / place - 1 / pl.col("other_place").fill_null(float("inf"))).abs()
        if state.show == FAILURES:
            full = full.filter(place > near)
        elif state.show == NEAR:
            full = full.filter((place > near) & (place <= 2 * near))
        elif state.show == APART:
            return full.filter(apart > 0).sort(apart, "query_id", descending=[True, False])
        return full.sort(place, "query_id", descending=[state.show != NEAR, False])

    # ---------------------------------------------------------------------------------------- steps

    def moved(self, state: InspectorState, by: int) -> InspectorState:
        """``by`` queries on; the ends of the list hold."""
        return replace(
            state, number=max(0, min(state.number + by, self.matching_queries(state).height - 1))
        )

    def cycled(self, state: InspectorState, name: str, by: int = 1) -> InspectorState:
        """The next system, other, sport, skill or show, around the end; the list begins anew."""
        values = {
            "system": self.results.systems(),
            "other": ["", *self.results.systems()],
            "sport": ["", *self.sports()],
            "skill": ["", *self.skills(state.sport)],
            "show": list(SHOWS),
        }[name]
        now = getattr(state, name)
        after = values[(values.index(now) + by) % len(values)] if now in values else values[0]
        return self.choose(state, **{name: after})

    def choose(self, state: InspectorState, **values: str) -> InspectorState:
        """A state with other values; another sport forgets the skill, and the list begins anew."""
        if "sport" in values and values["sport"] != state.sport:
            values = {"skill": ""} | values
        return replace(state, number=0, **values)  # type: ignore[arg-type]

    def swapped(self, state: InspectorState) -> InspectorState:
        """Both systems in each other's place, at the same query where the list holds it."""
        if not state.other:
            return state
        now = self.query_id(state)
        turned = replace(state, system=state.other, other=state.system)
        return self.at_query(turned, now)

    def at_query(self, state: InspectorState, query_id: str | None) -> InspectorState:
        """The state at this query, or at the first of the list."""
        ids = self.matching_queries(state)["query_id"].to_list()
        return replace(state, number=ids.index(query_id) if query_id in ids else 0)

    def query_id(self, state: InspectorState) -> str | None:
        """The query that the state is at; None of an empty list."""
        listed = self.matching_queries(state)
        return listed["query_id"][min(state.number, listed.height - 1)] if listed.height else None

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
        query_id = self.query_id(state)
        if query_id is None:
            return []
        query = self.results.queries.row(by_predicate=pl.col("query_id") == query_id, named=True)
        rows = [
            self._hits(name, query_id)[: state.top] for name in (state.system, state.other) if name
        ]
        ranked = [(hit["rank"], hit["clip_id"]) for row in rows for hit in row]
        return list(dict.fromkeys([query["shown"], *(clip for _, clip in sorted(ranked))]))

    def html(self, state: InspectorState, films: Mapping[str, bytes] | None = None) -> str:
        """The state as a fragment; ``films`` (MP4 by item) play where they are given, small
        pictures elsewhere.
        """
        listed, query_id = self.matching_queries(state), self.query_id(state)
        where = " · ".join((state.show, state.sport or "all sports", state.skill or "all skills"))
        if query_id is None:
            empty = (
                "Choose a second system to see where two differ."
                if state.show == APART and not state.other
                else ""
            )
            return view(f"<p>{text(where)}: no query. {empty}</p>")
        query = self.results.queries.row(by_predicate=pl.col("query_id") == query_id, named=True)
        playing = self._within_budget(state, films or {})
        head = (
            f'<p class="soft">{min(state.number, listed.height - 1) + 1} of {listed.height} '
            f"queries · {text(where)}"
            f" · {text(query_id)}</p><p>{text(query['sport'])}, "
            f"{text(query['skill'] or 'no skill')} · "
            f"<q>{text(query['text'])}</q></p>"
        )
        own = "asked for" if self.results.kind == "narrations" else "the learner"
        question = (
            f'<div class="asked">{self._figure(query["shown"], "query", own, [], playing)}</div>'
        )
        row = listed.row(min(state.number, listed.height - 1), named=True)
        systems = [(state.system, state.other, row["place"])]
        systems += [(state.other, state.system, row["other_place"])] if state.other else []
        answers = "".join(self._answer(*each, query, state, playing) for each in systems)
        return view(f'{head}<div class="both">{question}<div>{answers}</div></div>')

    def page(
        self, states: Iterable[InspectorState], films: Mapping[str, bytes] | None = None
    ) -> str:
        """Several states below each other with their style, for where no widget can run."""
        parts = "".join(f"<h4>{text(state.show)}</h4>{self.html(state, films)}" for state in states)
        return style_tag() + view(self.legend()) + parts

    def cases(self) -> list[InspectorState]:
        """The states that a page shows: the first of every filter that lets something through."""
        begin = self.start()
        wanted = [self.choose(begin, show=show) for show in SHOWS[1:]]
        return [state for state in wanted if self.matching_queries(state).height] or [begin]

    def legend(self) -> str:
        """What marks and filters mean."""
        near = self.results.near
        marks = "; ".join(f"{SIGNS[mark]} {mark}" for mark in cases.MARKS)
        if self.results.kind == "learners":
            who = " of simulated raters" if self.results.simulated else ""
            marks = (
                f"✓ mean grade{who} of 2 or more (it helps); ○ 1 or more; ✗ less; – nobody "
                "graded it"
            )
        return (
            f'<p class="soft">{text(marks)}. A failure: {text(self.results.goal)} is not among '
            f"the first {near}. "
            f"A near miss: it is at rank {near + 1} to {2 * near}. Disagreement: the "
            "difference of 1 / rank. "
            f"Yellow: right, and not among the first {metrics.HEADLINE_K} of the other system.</p>"
        )

    def _hits(self, system: str, query_id: str) -> list[dict]:
        """All that is known of the system's answer, in order of rank."""
        key = (system, query_id)
        if key not in self._answers:
            if len(self._answers) >= MOST_ANSWERS:
                self._answers.clear()
            found = self.results.hits[system].filter(pl.col("query_id") == query_id).to_dicts()
            self._answers[key] = sorted(found, key=lambda hit: hit["rank"])
        return self._answers[key]

    def _answer(
        self,
        system: str,
        other: str,
        place: float | None,
        query: dict,
        state: InspectorState,
        films: Mapping[str, bytes],
    ) -> str:
        theirs = (
            {hit["clip_id"]: hit["rank"] for hit in self._hits(other, query["query_id"])}
            if other
            else {}
        )
        figures = []
        for hit in self._hits(system, query["query_id"])[: state.top]:
            clip, rank = hit["clip_id"], hit["rank"]
            mark = self.results.mark(query, clip)
            css, sign = self._class(query, clip, mark)
            lines = [f"score {hit['score']:.3f}"]
            if other:
                there = theirs.get(clip)
                css += " only" if not there and self.results.is_relevant(query, clip) else ""
                lines.append(
                    f"both: rank {rank}"
                    if there == rank
                    else f"other: rank {there}"
                    if there
                    else "only here"
                )
            figures.append(self._figure(clip, css, f"{rank} {sign} {mark}", lines, films))
        told = f"{self.results.goal}: {_rank(place)}"
        return (
            f'<div class="system"><p><b>{text(arm_name(system))}</b> · {text(told)}</p>'
            f'<div class="row">{"".join(figures)}</div></div>'
        )

    def _class(self, query: dict, clip_id: str, mark: str) -> tuple[str, str]:
        if self.results.kind == "narrations":
            return CLASSES[mark], SIGNS[mark]
        grade = self.results.grades.get(query["query_id"], {}).get(clip_id)
        if grade is None:
            return "unknown", "–"
        return (
            ("own", "✓")
            if self.results.is_relevant(query, clip_id)
            else ("skill", "○")
            if grade >= 1
            else ("other", "✗")
        )

    def _figure(
        self, item_id: str, css: str, label: str, lines: list[str], films: Mapping[str, bytes]
    ) -> str:
        row = self.results.items.rows.get(item_id)
        said, where = "", f"{item_id} is not in clips.parquet"
        if row:
            said = row["said"] or ""
            at = (
                f"{row['video_id']} {clock(row['start_s'])}–{clock(row['end_s'])}, "
                f"{row['demonstration']}"
            )
            where = " · ".join(filter(None, (at, row["title"], row["channel"])))
        if item_id in films:
            picture = video_tag(films[item_id])
        elif still := self._still(item_id):
            picture = image_tag(still, alt=f"clip {item_id}")
        else:
            picture = '<div class="none">no picture</div>'
        caption = [
            f'<div class="mark">{text(label)}</div>',
            f"<div>{text(' · '.join(lines))}</div>" if lines else "",
            f'<div class="said">{text(said, limit=240)}</div>' if said else "",
            f'<div class="where">{text(where, limit=200)}</div>',
        ]
        return (
            f'<figure class="{css}">{picture}<figcaption>{"".join(caption)}</figcaption></figure>'
        )

    def _still(self, item_id: str) -> bytes | None:
        if item_id not in self._stills:
            if len(self._stills) >= MOST_STILLS:
                self._stills.clear()
            frames = self.results.items.pictures(item_id)
            self._stills[item_id] = (
                None if frames is None else pictures.animation(pictures.smaller(frames), effort=0)
            )
        return self._stills[item_id]

    def _within_budget(self, state: InspectorState, films: Mapping[str, bytes]) -> dict[str, bytes]:
        """The films that this step may send: the query's first, then by rank, each counted as often
        as it is shown.
        """
        shows = 2 if state.other else 1
        chosen, spent = {}, 0
        for item in self.clip_ids(state):
            spent += shows * 4 * len(films.get(item, b"")) // 3
            if item in films and spent <= BUDGET_BYTES:
                chosen[item] = films[item]
        return chosen


def view(body: str) -> str:
    """``body`` in the style of the inspector."""
    return f'<div class="sk-view inspector">{body}</div>'


def arm_name(system: str) -> str:
    """``image/narrations/text_to_video/within_sport`` → ``image, narrations, within sport``."""
    if system.count("/") != 3:
        return system.replace("_", " ")
    encoder, training, _, scope = system.split("/")
    return f"{encoder}, {training}, {scope}".replace("_", " ")


def _rank(place: float | None) -> str:
    return "not found" if place is None else f"rank {place:.0f}"
