"""Charts of a stage: the funnel of what it kept and dropped, and learning curves."""

from __future__ import annotations

from typing import Any

import polars as pl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from sportskills_lib import metrics
from sportskills_lib.plots import style

# Label, count, unit: bars are drawn as shares of the first step of their unit.
Step = tuple[str, int, str]
MOST_REASONS = 12


def draw_funnel(steps: list[Step], dropped: pl.DataFrame | pl.LazyFrame) -> Figure:
    """What came in and what stayed on the left, reasons of ``dropped`` (item_kind, reason) with
    their counts on the right; nothing but the counts given, so that figure and tables agree.
    """
    whole: dict[str, int] = {}
    stayed = []
    for label, count, unit in steps:
        share = count / max(whole.setdefault(unit, count), 1)
        note = f"{count:,}" if count == whole[unit] else f"{count:,}  ({share:.0%})"
        stayed.append((label, share, note))
    rows = count_reasons(dropped).head(MOST_REASONS).rows()
    lost = [
        (f"{kind}: {reason.replace('_', ' ')}", count / rows[0][2], f"{count:,}")
        for kind, reason, count in rows
    ]
    height = max(len(stayed), len(lost), 3)
    figure, (left, right) = style.figure(
        style.PAGE_IN, 0.55 + 0.24 * height, ncols=2, width_ratios=[1.15, 1]
    )
    _draw_bars(left, "what stayed", stayed, style.KEPT, "white")
    _draw_bars(
        right, "what was dropped, and why", lost or [(" ", 0.0, "nothing")], style.DROPPED, "black"
    )
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


def _draw_bars(
    axes: Axes, title: str, bars: list[tuple[str, float, str]], colour: str, ink: str
) -> None:
    """Lying bars (label, share of the longest, note), the first on top; notes of long ones stand
    inside, in ``ink``.
    """
    for label, share, note in bars:
        axes.barh(style.plain(label, limit=40), share, color=colour, height=0.7)
        inside = share > 0.6
        axes.annotate(
            note,
            (share, style.plain(label, limit=40)),
            xytext=(-4 if inside else 4, 0),
            textcoords="offset points",
            va="center",
            ha="right" if inside else "left",
            color=ink if inside else "black",
            fontsize=6.5,
        )
    axes.set_title(title, loc="left")
    axes.set(xlim=(0, 1), xticks=[], ylim=(max(3, len(bars)) - 0.4, -0.6))
    axes.spines["bottom"].set_visible(False)


def learning_curves(
    curves: pl.DataFrame, *, score: str = "val_recall", label: str = "", chance: float | None = None
) -> Figure:
    """Training loss and the validation ``score`` by optimiser step: a line an arm, a row of panels
    an encoder.

    ``curves``: arm, step, loss, the score, perhaps encoder and trial (short runs that chose a
    learning rate: left out). Nulls and NaNs are passed over. ``label`` says what the score is, if
    not within-sport recall@k; ``chance``, what guessing scores, is drawn as a dotted line.
    """
    if "trial" in curves.columns:
        curves = curves.filter(~pl.col("trial"))
    parts = [curves]
    if "encoder" in curves.columns and curves.height:
        parts = curves.partition_by("encoder", maintain_order=True)
    rows = len(parts)
    figure, axes = style.figure(style.PAGE_IN, 0.2 + 2.2 * rows, nrows=rows, ncols=2, squeeze=False)
    score_label = label or f"within-sport {metrics.at_k('recall')} (validation)"
    for part, (loss, scored) in zip(parts, axes, strict=True):
        _draw_lines(loss, part, "loss", "training loss")
        _draw_lines(scored, part, score, score_label)
        if chance is not None:
            scored.axhline(chance, color=style.BLACK, linestyle=":", linewidth=0.8, label="chance")
        if rows > 1:
            name = style.plain(part["encoder"][0])
            loss.set_title(name)
            scored.set_title(name)
            scored.sharey(axes[0, 1])  # recalls of encoders are compared; their losses are not
    named = {line.get_label(): line for panel in axes.ravel() for line in panel.lines}
    if named:
        figure.legend(named.values(), named.keys(), loc="outside upper left", ncols=5)
    axes[0, 1].autoscale(axis="y")  # over all rows: sharing alone would keep the first one's limits
    return figure


def _draw_lines(panel: Axes, curves: pl.DataFrame, column: str, meaning: str) -> None:
    known = curves.filter(pl.col(column).is_not_null() & pl.col(column).is_not_nan())
    lines = known.sort("arm", "step").group_by("arm", maintain_order=True)
    for place, ((arm,), line) in enumerate(lines):
        name, others = str(arm), style.OTHER_ARMS
        colour = style.ARM_COLOURS.get(name, others[place % len(others)])
        look: Any = {"color": colour, "label": style.plain(name)}
        dash = "--" if name in style.ARM_HATCHES else "-"
        panel.plot(line["step"], line[column], dash, marker=".", **look)
    panel.set(xlabel="optimiser step", ylabel=meaning)
