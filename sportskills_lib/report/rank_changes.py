"""Which queries moved: the rank of each query's own clip under one system, and under another.

A mean says how much better a system is, not for whom. Ranks fall into bands (first, top three, top
ten, …), and the figure shows which share of the queries goes from which band to which: it reads
alike for ten queries and a million.
"""

from __future__ import annotations

import textwrap
from typing import TYPE_CHECKING

import numpy as np
import polars as pl

from sportskills_lib.evaluation import recall, summary
from sportskills_lib.plots import style
from sportskills_lib.report import cases
from sportskills_lib.report.save import Page

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

BANDS = (
    ("1", 1.0),
    ("2–3", 3.0),
    ("4–10", 10.0),
    ("11–30", 30.0),
    ("31 +", float("inf")),
)  # name, last rank in it
NAMES = [name for name, _ in BANDS]
BETTER, SAME, WORSE = "better", "same", "worse"
LOOKS = {BETTER: style.BLUE, SAME: "#C4C4C4", WORSE: style.VERMILION}
SHADES = ("#1A1A1A", "#555555", "#878787", "#B5B5B5", "#DCDCDC")  # of the bands, first to last


def moved(scores: pl.DataFrame, system: str, baseline: str) -> pl.DataFrame:
    """query_id, sport, before, after (ranks of the own clip, seeds averaged), way, factor; most
    moved first.

    ``way`` is better, same or worse; ``factor`` is before / after: 4 says that the clip stands four
    times as near the top as it did. Ranks are compared by ratio, since from 2 to 1 is more than
    from 82 to 81.
    """
    one = cases.ranks(scores, baseline).select("query_id", "sport", before="own_rank")
    two = cases.ranks(scores, system).select("query_id", after="own_rank")
    way = (
        pl.when(pl.col("after") < pl.col("before"))
        .then(pl.lit(BETTER))
        .when(pl.col("after") > pl.col("before"))
        .then(pl.lit(WORSE))
        .otherwise(pl.lit(SAME))
    )
    joined = one.join(two, on="query_id").with_columns(
        way=way, factor=pl.col("before") / pl.col("after")
    )
    return joined.sort(pl.col("factor").log().abs(), "query_id", descending=[True, False])


def between_arms(
    scores: pl.DataFrame,
    queries: pl.DataFrame,
    *,
    training: str = "narrations",
    baseline: str = "activity_skill",
    scope: str = recall.WITHIN,
) -> pl.DataFrame:
    """:func:`moved` for every encoder that has both arms, text to video, with ``encoder`` and the
    query's ``text``.
    """
    systems = set(scores["system"].unique())
    known = recall.split_system(scores.select("system").unique())["encoder"].unique()
    parts = [pl.DataFrame(schema=_MOVED)]
    for encoder in summary.ordered(known, summary.ENCODERS):
        one, two = (
            recall.system_name(encoder, arm, "text_to_video", scope) for arm in (training, baseline)
        )
        if {one, two} <= systems:
            found = moved(scores, one, two)
            named = found.join(
                queries.select("query_id", "text"), on="query_id", how="left", maintain_order="left"
            )
            parts.append(
                named.select(pl.lit(encoder).alias("encoder"), *list(_MOVED)[1:]).cast(_MOVED)  # type: ignore[arg-type]
            )
    return pl.concat(parts).sort(pl.col("factor").log().abs(), descending=True, maintain_order=True)


_MOVED = {
    "encoder": pl.String,
    "query_id": pl.String,
    "sport": pl.String,
    "before": pl.Float64,
    "after": pl.Float64,
    "way": pl.String,
    "factor": pl.Float64,
    "text": pl.String,
}


def bands(moves: pl.DataFrame, *, by: str = "encoder") -> pl.DataFrame:
    """``by``, before, after (bands), queries, share (of its group's queries), way: what the figure
    draws.
    """
    banded = moves.with_columns(_band("before"), _band("after"))
    counted = banded.group_by(by, "before", "after").agg(queries=pl.len().cast(pl.Int64))
    place = {name: at for at, name in enumerate(NAMES)}
    known = counted.with_columns(
        share=pl.col("queries") / pl.col("queries").sum().over(by),
        left=pl.col("before").replace_strict(place, return_dtype=pl.Int64),
        right=pl.col("after").replace_strict(place, return_dtype=pl.Int64),
    )
    better = pl.when(pl.col("right") < pl.col("left")).then(pl.lit(BETTER))
    way = better.when(pl.col("right") > pl.col("left")).then(pl.lit(WORSE)).otherwise(pl.lit(SAME))
    return known.with_columns(way=way).sort(by, "left", "right").drop("left", "right")


def _band(column: str) -> pl.Expr:
    """The name of the band that the rank falls into."""
    named: pl.Expr = pl.lit(NAMES[-1])
    for name, last in reversed(BANDS[:-1]):
        named = pl.when(pl.col(column) <= last).then(pl.lit(name)).otherwise(named)
    return named.alias(column)


def flow_pages(
    moves: pl.DataFrame, *, before: str = "skill labels", after: str = "narrations"
) -> dict[str, Page]:
    """The figure ``rank_changes`` and its rows; nothing where no query has both ranks."""
    if moves.is_empty():
        return {}
    table = bands(moves)
    return {"rank_changes": Page(figure(table, before=before, after=after), table)}


def figure(table: pl.DataFrame, *, before: str, after: str) -> Figure:
    """A panel for each encoder (or arm): bands of ranks before and after, and ribbons for the
    queries between them.

    ``table``: from :func:`bands`; its first column says which panel. Blue goes up, orange goes
    down, grey stays.
    """
    groups = list(dict.fromkeys(table[table.columns[0]]))
    width_in = style.COLUMN_IN if len(groups) < 3 else style.PAGE_IN
    names = [textwrap.fill(name, 13) for name in style.told_apart((before, after), limit=26)]
    made, axes = style.figure(width_in, 2.5, ncols=len(groups), squeeze=False, sharey=True)
    for panel, group in zip(axes[0], groups, strict=True):
        part = table.filter(pl.col(table.columns[0]) == group)
        _panel(panel, part)
        sums = dict(part.group_by("way").agg(pl.col("share").sum()).rows())
        told = ", ".join(
            f"{name} {sums.get(way, 0):.0%}" for way, name in ((BETTER, "up"), (WORSE, "down"))
        )
        panel.set_title(
            f"{style.plain(str(group), limit=34)} (n = {part['queries'].sum()})\n{told}",
            fontsize=6.5,
        )
        panel.set_xticks([0.44, 0.56], names)  # back to back, so that long ones never meet
        for label, side in zip(panel.get_xticklabels(), ("right", "left"), strict=True):
            label.set_horizontalalignment(side)
    made.supxlabel(
        "rank of each query's own clip, in bands; blue: up, orange: down, grey: as before",
        fontsize=6,
    )
    return made


def _panel(axes: Axes, part: pl.DataFrame) -> None:
    """Ribbons below, the two stacked bars over them."""
    flow = np.zeros((len(BANDS), len(BANDS)))
    for before, after, share in part.select("before", "after", "share").rows():
        flow[NAMES.index(before), NAMES.index(after)] = share
    left, right = (
        1 - np.cumsum(flow.sum(axis)) for axis in (1, 0)
    )  # the lower edge of each band; 1 is the top
    tops = [left + flow.sum(1), right + flow.sum(0)]
    s = np.linspace(0, 1, 40)
    bend = 3 * s**2 - 2 * s**3
    for one in range(len(BANDS)):
        for two in range(len(BANDS)):
            if not flow[one, two]:
                continue
            way = SAME if one == two else BETTER if two < one else WORSE
            top = tops[0][one] + (tops[1][two] - tops[0][one]) * bend
            axes.fill_between(
                0.07 + 0.86 * s, top, top - flow[one, two], color=LOOKS[way], alpha=0.6, linewidth=0
            )
            tops[0][one] -= flow[one, two]
            tops[1][two] -= flow[one, two]
    for x, lower, sizes in ((0.0, left, flow.sum(1)), (1.0, right, flow.sum(0))):
        for band, (low, size) in enumerate(zip(lower, sizes, strict=True)):
            axes.bar(
                x, size, 0.14, bottom=low, color=SHADES[band], edgecolor="white", linewidth=0.5
            )
            if size > 0.035:
                side, at = ("right", -0.1) if x == 0 else ("left", 1.1)
                label = f"{NAMES[band]}: {size:.0%}"
                axes.text(at, low + size / 2, label, ha=side, va="center", fontsize=6)
    axes.set_xlim(-0.8, 1.8)
    axes.set_ylim(0, 1)
    axes.set_yticks([])
    axes.spines[:].set_visible(False)
    axes.tick_params(length=0)
