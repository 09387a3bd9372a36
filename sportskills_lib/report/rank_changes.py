"""Which queries moved: the rank of each query's own clip under one system, and under another.

A mean says how much better a system is, not for whom. Ranks fall into bands (first, top three, top
ten, …), and the figure shows which share of the queries goes from which band to which: it reads
alike for ten queries and a million.
"""

from __future__ import annotations

import textwrap
from collections.abc import Mapping

import numpy as np
import polars as pl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from sportskills_lib.evaluation import recall, summary
from sportskills_lib.plots import style
from sportskills_lib.report import cases

EDGES = (1.0, 3.0, 10.0, 30.0)  # the last rank of each band but the last
NAMES = ("1", "2–3", "4–10", "11–30", "31 +")
BETTER, SAME, WORSE = "better", "same", "worse"
LOOKS = {BETTER: style.BLUE, SAME: "#C4C4C4", WORSE: style.VERMILION}
SHADES = ("#1A1A1A", "#555555", "#878787", "#B5B5B5", "#DCDCDC")  # of the bands, first to last


def moved(
    scores: pl.DataFrame, queries: pl.DataFrame, systems: Mapping[str, tuple[str, str]]
) -> pl.DataFrame:
    """encoder, query_id, sport, before, after (ranks of the own clip, seeds averaged), way, factor,
    text; most moved first.

    ``systems``: by encoder, the system and the baseline; one that ``scores`` lack has no rows.
    ``way`` is better, same or worse; ``factor`` is before / after: 4 says that the clip stands four
    times as near the top as it did. Ranks are compared by ratio, since from 2 to 1 is more than
    from 82 to 81.
    """
    parts = [pl.DataFrame(schema=_MOVED)]
    texts = queries.select("query_id", "text")
    for encoder, (system, baseline) in systems.items():
        after = cases.ranks(scores, system).select("query_id", after="own_rank")
        parts.append(
            cases.ranks(scores, baseline)
            .select("query_id", "sport", before="own_rank")
            .join(after, on="query_id", maintain_order="left")
            .with_columns(
                encoder=pl.lit(encoder),
                way=_way(pl.col("before") - pl.col("after")),
                factor=pl.col("before") / pl.col("after"),
            )
            .join(texts, on="query_id", how="left", maintain_order="left")
            .select(list(_MOVED))
        )
    return pl.concat(parts).sort(pl.col("factor").log().abs(), descending=True, maintain_order=True)


_MOVED = {
    **dict.fromkeys(("encoder", "query_id", "sport"), pl.String),
    **dict.fromkeys(("before", "after"), pl.Float64),
    "way": pl.String,
    "factor": pl.Float64,
    "text": pl.String,
}


def _way(rise: pl.Expr) -> pl.Expr:
    """What a rise by so many ranks (or bands) is called."""
    names = {1: BETTER, 0: SAME, -1: WORSE}
    return rise.sign().cast(pl.Int64).replace_strict(names, return_dtype=pl.String)


def between_arms(
    scores: pl.DataFrame,
    queries: pl.DataFrame,
    *,
    training: str = "narrations",
    baseline: str = "activity_skill",
) -> pl.DataFrame:
    """:func:`moved` for every encoder that has both arms, text to video, within sport."""
    known = recall.split_system(scores.select("system").unique())["encoder"]
    systems = {
        encoder: (
            recall.system_name(encoder, training, "text_to_video", recall.WITHIN),
            recall.system_name(encoder, baseline, "text_to_video", recall.WITHIN),
        )
        for encoder in summary.ordered(known, summary.ENCODERS)
    }
    return moved(scores, queries, systems)


def bands(moves: pl.DataFrame, *, by: str = "encoder") -> pl.DataFrame:
    """``by``, before, after (bands), queries, share (of its group's queries), way: what the figure
    draws.
    """
    places = [
        pl.sum_horizontal(pl.col(side) > last for last in EDGES).cast(pl.Int64).alias(side)
        for side in ("before", "after")
    ]
    names = dict(enumerate(NAMES))
    return (
        moves.with_columns(places)
        .group_by(by, "before", "after")
        .agg(queries=pl.len().cast(pl.Int64))
        .sort(by, "before", "after")
        .with_columns(
            pl.col("before", "after").replace_strict(names, return_dtype=pl.String),
            share=pl.col("queries") / pl.col("queries").sum().over(by),
            way=_way(pl.col("before") - pl.col("after")),
        )
    )


def figure(
    table: pl.DataFrame, *, before: str = "skill labels", after: str = "narrations"
) -> Figure:
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
    sides = [
        np.array([part.filter(pl.col(side) == name)["share"].sum() for name in NAMES])
        for side in ("before", "after")
    ]
    tops = [1 - np.cumsum(sizes) + sizes for sizes in sides]  # of what is not drawn yet
    s = np.linspace(0, 1, 40)
    bend = 3 * s**2 - 2 * s**3
    for before, after, share, way in part.select("before", "after", "share", "way").rows():
        one, two = NAMES.index(before), NAMES.index(after)
        top = tops[0][one] + (tops[1][two] - tops[0][one]) * bend
        axes.fill_between(
            0.07 + 0.86 * s, top, top - share, color=LOOKS[way], alpha=0.6, linewidth=0
        )
        tops[0][one] -= share
        tops[1][two] -= share
    for x, sizes, side, at in ((0.0, sides[0], "right", -0.1), (1.0, sides[1], "left", 1.1)):
        lower = 1 - np.cumsum(sizes)
        axes.bar(
            [x] * len(NAMES), sizes, 0.14, lower, color=SHADES, edgecolor="white", linewidth=0.5
        )
        for name, low, size in zip(NAMES, lower, sizes, strict=True):
            if size > 0.035:
                label = f"{name}: {size:.0%}"
                axes.text(at, low + size / 2, label, ha=side, va="center", fontsize=6)
    axes.set(xlim=(-0.8, 1.8), ylim=(0, 1), yticks=[])
    axes.spines[:].set_visible(False)
    axes.tick_params(length=0)
