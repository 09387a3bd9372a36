"""The retrieval browser as a pure view: tables and frames in, HTML out.

A query's narration and its own clip stand beside the clips that a system ranked first, each playing, with its rank,
score, what is said over it, where it is from, and a mark that says how right it is, in colour, in a sign and in words.
Narrations, titles and ids come from strangers: all text is escaped.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from html import escape

import numpy as np
import polars as pl

from sportskills_lib.evaluation import cases, recall
from sportskills_lib.viewing import pictures
from sportskills_lib.viewing.escaping import text

CLASSES = {cases.OWN: "own", cases.SAME_CUE: "cue", cases.SAME_SKILL: "skill", cases.OTHER: "other"}
SIGNS = {cases.OWN: "✓", cases.SAME_CUE: "≈", cases.SAME_SKILL: "○", cases.OTHER: "✗"}
CSS = """
.retrieval{font:14px/1.35 system-ui,sans-serif;margin:0 0 1.4em}
.retrieval .asked{margin:0 0 .4em;max-width:60em;overflow-wrap:anywhere}
.retrieval .asked q{font-weight:600}
.retrieval .row{display:flex;gap:10px;flex-wrap:wrap}
.retrieval figure{margin:0;width:128px}
.retrieval img{display:block;width:120px;border:4px solid #777;border-radius:4px;image-rendering:auto}
.retrieval figcaption{font-size:11px;overflow-wrap:anywhere;margin-top:2px;color:#222}
.retrieval .mark{font-weight:600}
.retrieval .said,.retrieval .where{color:#555}
.retrieval .own img{border-color:#009E73}.retrieval .cue img{border-color:#0072B2}
.retrieval .skill img{border-color:#E69F00}.retrieval .other img{border-color:#D55E00}
.retrieval .query img{border-color:#000}
.retrieval .query{padding-right:10px;border-right:1px solid #ccc}
"""


@dataclass(frozen=True)
class RetrievalView:
    """Everything the browser shows. Build it with :func:`view`.

    ``queries``: as recall.test_queries gives them. ``marked``: rankings with a mark. ``scores``: for own ranks.
    ``said``: clip_id → what is said over it. ``frames`` [N, T, H, W, 3], row i is row i of ``clips``.
    """

    queries: pl.DataFrame
    marked: pl.DataFrame
    scores: pl.DataFrame
    clips: pl.DataFrame
    said: dict[str, str]
    frames: np.ndarray

    def systems(self) -> list[str]:
        """The systems that retrieved something, in order of name."""
        return sorted(self.marked["system"].unique())

    def sports(self) -> list[str]:
        """The sports that were asked about, in order of name."""
        return sorted(self.queries["sport"].unique())

    def asked(self, system: str, sport: str, *, failures_first: bool = True) -> list[tuple[str, str, int]]:
        """(query_id, text, rank of its own clip) of a sport's queries, the worst first (or the best)."""
        ranked = cases.ranks(self.scores, system).filter(pl.col("sport") == sport).drop("sport")
        joined = self.queries.join(ranked, on="query_id").sort(
            "own_rank", "query_id", descending=[failures_first, False]
        )
        return [
            (query, text, round(rank)) for query, text, rank in joined.select("query_id", "text", "own_rank").rows()
        ]

    def html(self, system: str, query_id: str, *, top: int = 5) -> str:
        """One query of one system."""
        query = self.queries.row(by_predicate=pl.col("query_id") == query_id, named=True)
        hits = self.marked.filter(
            (pl.col("system") == system) & (pl.col("query_id") == query_id) & (pl.col("rank") <= top)
        ).sort("rank")
        rank = cases.ranks(self.scores, system).filter(pl.col("query_id") == query_id)["own_rank"]
        place = f"its own clip is at rank {rank[0]:.0f}" if len(rank) else "its own clip has no rank"
        figures = [self._figure(query["own"][0], "query", "asked for", "")]
        for hit in hits.iter_rows(named=True):
            label = f"{hit['rank']} {SIGNS[hit['mark']]} {hit['mark']}"
            figures.append(self._figure(hit["clip_id"], CLASSES[hit["mark"]], label, f"score {hit['score']:.3f}"))
        head = f"{text(query['sport'])} · <q>{text(query['text'])}</q> · {text(arm_name(system))}: {place}"
        return f'<div class="retrieval"><p class="asked">{head}</p><div class="row">{"".join(figures)}</div></div>'

    def _figure(self, clip_id: str, css: str, label: str, score: str) -> str:
        row = self.clips.select(pl.arg_where(pl.col("clip_id") == clip_id)).item()
        clip = self.clips.row(row, named=True)
        picture = pictures.image_tag(pictures.animation(self.frames[row]), alt=f"clip {clip_id}")
        where = f"{clip['video_id']} at {clip['start_s']:.1f} s, {clip['demonstration']}"
        lines = [
            f'<span class="mark">{text(label)}</span>',
            text(score),
            f'<span class="said">{text(self.said.get(clip_id, ""))}</span>',
            f'<span class="where">{text(where)}</span>',
        ]
        return f'<figure class="{css}">{picture}<figcaption>{"<br>".join(filter(None, lines))}</figcaption></figure>'

    def page(self, chosen: Iterable[tuple[str, str, str]], *, top: int = 5) -> str:
        """Several queries below each other, as one fragment with its style: (title, system, query_id)."""
        parts = [f"<h3>{text(title)}</h3>{self.html(system, query, top=top)}" for title, system, query in chosen]
        return f"<style>{CSS}</style>{legend()}{''.join(parts)}"


def view(
    clips: pl.DataFrame,
    pairs: pl.DataFrame,
    narrations: pl.DataFrame,
    frames: np.ndarray,
    queries: pl.DataFrame,
    marked: pl.DataFrame,
    scores: pl.DataFrame,
) -> RetrievalView:
    """The browser over a run's tables; ValueError when the frames are not those of the clips."""
    if len(frames) != clips.height:
        raise ValueError(f"frames.npy has {len(frames)} clips, clips.parquet {clips.height}: rerun 02_pairing")
    words = pairs.join(narrations.select("narration_id", "text"), on="narration_id").sort("clip_id", "narration_id")
    said = dict(words.group_by("clip_id").agg(pl.col("text").str.join(" / ")).rows())
    return RetrievalView(queries, marked, scores, clips, said, frames)


def legend() -> str:
    """What the signs over clips mean, as HTML."""
    signs = " · ".join(f"{SIGNS[mark]} {mark}" for mark in cases.MARKS)
    return f'<p class="legend">{escape(signs)}; clips play at a few frames per second.</p>'


def arm_name(system: str) -> str:
    """``image/narrations/text_to_video/within_sport`` → ``image, narrations, within sport``."""
    if system.count("/") != 3:
        return system.replace("_", " ")
    encoder, training, _, scope = system.split("/")
    return f"{encoder}, {training}, {scope}".replace("_", " ")


def chosen_cases(picked: pl.DataFrame, system: str) -> list[tuple[str, str, str]]:
    """What :meth:`RetrievalView.page` takes, from cases.pick."""
    return [
        (f"{kind}: {sport}", system, query) for kind, query, sport in picked.select("kind", "query_id", "sport").rows()
    ]


def default_system(scores: pl.DataFrame, *, training: str = "narrations") -> str:
    """The system whose retrievals are shown first: within sport if any sport is evaluable there, else across sports."""
    single = recall.split_system(scores.filter((pl.col("metric") == recall.SINGLE) & pl.col("value").is_not_null()))
    text = single.filter(pl.col("direction") == "text_to_video")
    within = text.filter((pl.col("scope") == "within_sport") & (pl.col("training") == training))
    scope = "within_sport" if within.height else "across_sports"
    known = sorted(recall.split_system(scores.select("system").unique()).select("encoder", "training").rows())
    arms = [arm for arm in known if arm[1] == training] or known or [("image", training)]
    encoder, chosen = arms[0]
    return recall.system_name(encoder, chosen, "text_to_video", scope)
