"""The funnel figure of a filtering stage: what came in, what stayed, and why the rest did not.

It draws counts that its caller hands over and nothing else, so that figure and tables agree.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import polars as pl

from sportskills_lib.plots import style

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Step = tuple[
    str, int, str
]  # label, count, unit: bars are drawn as shares of the first step of their unit
MOST_REASONS = 12


def draw_funnel(steps: list[Step], dropped: pl.DataFrame | pl.LazyFrame) -> Figure:
    """Steps on the left, reasons of ``dropped`` (item_kind, reason) with their counts on the
    right.
    """
    reasons = count_reasons(dropped)
    rows = max(len(steps), min(reasons.height, MOST_REASONS), 3)
    figure, (left, right) = style.figure(
        style.PAGE_IN, 0.55 + 0.24 * rows, ncols=2, width_ratios=[1.15, 1]
    )
    _draw_steps(left, steps)
    _draw_reasons(right, reasons)
    return figure


def count_reasons(dropped: pl.DataFrame | pl.LazyFrame) -> pl.DataFrame:
    """item_kind, reason and count, most frequent first; of a scan no more than the counts is
    held.
    """
    return (
        dropped.lazy()
        .group_by("item_kind", "reason")
        .agg(count=pl.len())
        .sort("count", "item_kind", "reason", descending=[True, False, False])
        .collect(engine="streaming")
    )


def dropped_examples(dropped: pl.DataFrame, *, each: int = 2) -> pl.DataFrame:
    """The first ``each`` rows of every reason with what they say, and how many it has; frequent
    reasons first.
    """
    counts = count_reasons(dropped)
    shown = dropped.group_by("item_kind", "reason", maintain_order=True).head(each)
    return counts.join(shown, on=["item_kind", "reason"], how="left", maintain_order="left")


def _draw_steps(axes: Axes, steps: list[Step]) -> None:
    whole: dict[str, int] = {}
    for label, count, unit in steps:
        whole.setdefault(unit, count)
        share = count / whole[unit] if whole[unit] else 0.0
        axes.barh(label, share, color=style.KEPT, height=0.7)
        note = f"{count:,}" if count == whole[unit] else f"{count:,}  ({share:.0%})"
        inside = share > 0.6
        axes.annotate(
            note,
            (share, label),
            xytext=(-4 if inside else 4, 0),
            textcoords="offset points",
            va="center",
            ha="right" if inside else "left",
            color="white" if inside else "black",
            fontsize=6.5,
        )
    axes.invert_yaxis()
    axes.set_xlim(0, 1)
    axes.set_xticks([])
    axes.spines["bottom"].set_visible(False)
    axes.set_title("what stayed", loc="left")


def _draw_reasons(axes: Axes, reasons: pl.DataFrame) -> None:
    axes.set_title("what was dropped, and why", loc="left")
    axes.spines["bottom"].set_visible(False)
    axes.set_xticks([])
    if reasons.is_empty():
        axes.set_yticks([])
        axes.text(0.02, 0.5, "nothing", transform=axes.transAxes, color=style.GREY)
        return
    for kind, reason, count in reasons.head(MOST_REASONS).iter_rows():
        label = style.plain(f"{kind}: {reason.replace('_', ' ')}", limit=40)
        axes.barh(label, count, color=style.DROPPED, height=0.7)
        axes.annotate(
            f"{count:,}",
            (count, label),
            xytext=(4, 0),
            textcoords="offset points",
            va="center",
            fontsize=6.5,
        )
    axes.set_xlim(0, 1.18 * max(reasons["count"].to_list()))
    axes.set_ylim(-0.6, max(3, min(reasons.height, MOST_REASONS)) - 0.4)
    axes.invert_yaxis()
