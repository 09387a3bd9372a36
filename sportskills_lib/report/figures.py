"""The figures of understanding: points with intervals, a panel for each task or measure.

Each function returns a matplotlib figure and draws nothing that its table does not hold.
"""

from __future__ import annotations

import textwrap
from collections.abc import Mapping

import polars as pl
from matplotlib.figure import Figure

from sportskills_lib.evaluation import summary
from sportskills_lib.plots import style
from sportskills_lib.report import interval_figures

TASK_NAMES = {
    ("execution_probe", "video"): "probe: correct or mistake",
    ("cue_probe", "video"): "probe: which mistake",
    ("execution_pairs", "video_to_text"): "well or badly? clip → text",
    ("execution_pairs", "text_to_video"): "well or badly? text → clip",
    ("cue_pairs", "video_to_text"): "which cue? clip → text",
    ("cue_pairs", "text_to_video"): "which cue? text → clip",
    ("five_way", "video_to_text"): "one of five comments",
}


def understanding(table: pl.DataFrame) -> Figure:
    """A panel for each task: every arm of every encoder as a point with its interval; dotted:
    chance.
    """
    lines = {
        arm: interval_figures.name_of(arm) for arm in reversed(summary.ordered(table["training"]))
    }
    rows = table.with_columns(line="training", filled=pl.lit(True))
    panels = {
        TASK_NAMES.get((str(task), str(direction)), str(task).replace("_", " ")): part
        for (task, direction), part in rows.group_by("task", "direction", maintain_order=True)
    }
    return _point_panels(panels, lines, "accuracy, macro mean over sports")


def by_kind(table: pl.DataFrame) -> Figure:
    """A panel for each measure: the kinds of cue, every encoder after narrations (filled) and skill
    labels (hollow).
    """
    measure, direction = pl.col("measure"), pl.col("direction")
    asked = table.filter(
        pl.col("training").is_in(["narrations", "activity_skill"]),
        (measure != "cue pairs") | (direction == "video_to_text"),
        ~measure.str.starts_with("recall") | (direction == "text_to_video"),
    )
    counts = dict(table.group_by("kind").agg(pl.col("n").max()).rows())
    kinds = reversed(summary.ordered(table["kind"], ("pose", "timing", "order")))
    lines = {kind: f"{style.plain(kind, limit=12)} (n ≤ {counts[kind]})" for kind in kinds}
    rows = asked.with_columns(line="kind", filled=pl.col("training") == "narrations")
    panels = {
        textwrap.fill(str(name), 24): part
        for (name,), part in rows.group_by("measure", maintain_order=True)
    }
    return _point_panels(panels, lines, "recall or accuracy; hollow: after skill labels")


def _point_panels(
    panels: Mapping[str, pl.DataFrame], lines: Mapping[str, str], label: str
) -> Figure:
    """Points on ``lines`` (their names, from the bottom), with a panel for each title; dotted:
    chance.
    """
    columns = 4 if len(panels) > 5 else max(len(panels), 1)
    nrows = max(-(-len(panels) // columns), 1)
    figure, axes = style.figure(
        style.PAGE_IN,
        0.6 + nrows * (0.42 + 0.17 * len(lines)),
        nrows=nrows,
        ncols=columns,
        squeeze=False,
        sharey=True,
    )
    for panel in axes.ravel()[len(panels) :]:
        panel.set_axis_off()
    places = list(lines)
    for panel, (title, part) in zip(axes.ravel(), panels.items(), strict=False):
        interval_figures.draw_points(panel, part, places)
        for line, chance in part.group_by("line").agg(pl.col("chance").first()).rows():
            at = places.index(line)
            panel.vlines(chance, at - 0.5, at + 0.5, "black", linewidth=0.8, linestyle=":")
        panel.set(xlim=(0, 1), xticks=(0, 0.5, 1))
        panel.set_title(title, fontsize=6.5, loc="left", pad=3)
    axes[0][0].set_yticks(range(len(lines)), lines.values())
    axes[0][0].set_ylim(-0.6, len(lines) - 0.4)
    shown = {encoder for part in panels.values() for encoder in part["encoder"]}
    interval_figures.add_encoder_legend(figure, summary.ordered(shown, summary.ENCODERS))
    figure.supxlabel(f"{label}; dotted: chance", fontsize=7)
    return figure
