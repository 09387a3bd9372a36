"""The figures of the report, drawn from the tables that are saved beside them, in the house style.

Each function returns a matplotlib figure and draws nothing that its table does not hold. Sports and
texts that strangers wrote are drawn as plain text.
"""

from __future__ import annotations

import textwrap
from typing import TYPE_CHECKING

import polars as pl

from sportskills_lib.evaluation import summary
from sportskills_lib.plots import style
from sportskills_lib.report import sport_figures

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


ENCODER_LOOKS = ((style.BLUE, "o"), (style.VERMILION, "s"), (style.GREEN, "^"))
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
    arms = summary.ordered(table["training"].unique())
    tasks = list(dict.fromkeys(table.select("task", "direction").rows()))
    columns = min(4, len(tasks))
    lines = -(-len(tasks) // columns)
    height_in = 0.45 + lines * (0.42 + 0.15 * len(arms))
    figure, axes = style.figure(
        style.PAGE_IN, height_in, nrows=lines, ncols=columns, squeeze=False, sharey=True
    )
    for panel in axes.ravel()[len(tasks) :]:
        panel.set_axis_off()
    for panel, (task, direction) in zip(axes.ravel(), tasks, strict=False):
        part = table.filter((pl.col("task") == task) & (pl.col("direction") == direction))
        rows = part.with_columns(line=pl.col("training"), filled=pl.lit(True))
        _points(panel, rows, list(reversed(arms)))
        panel.axvline(part["chance"][0], color="black", linewidth=0.8, linestyle=":")
        panel.set_xlim(0, 1)
        panel.set_xticks([0, 0.5, 1])
        panel.set_title(
            TASK_NAMES.get((task, direction), task.replace("_", " ")),
            fontsize=6.5,
            loc="left",
            pad=3,
        )
    axes[0][0].set_yticks(range(len(arms)), [sport_figures.name_of(arm) for arm in reversed(arms)])
    axes[0][0].set_ylim(-0.6, len(arms) - 0.4)
    _encoder_legend(figure, table)
    figure.supxlabel("accuracy, macro mean over sports; dotted: chance", fontsize=7)
    return figure


def by_kind(table: pl.DataFrame) -> Figure:
    """A panel for each measure: the kinds of cue, every encoder after narrations (filled) and skill
    labels (hollow).
    """
    kinds = list(reversed(summary.ordered(table["kind"].unique(), ("pose", "timing", "order"))))
    shown = table.filter(pl.col("training").is_in(["narrations", "activity_skill"]))
    shown = shown.filter(
        (pl.col("measure") != "cue pairs") | (pl.col("direction") == "video_to_text")
    )
    shown = shown.filter(
        ~pl.col("measure").str.starts_with("recall") | (pl.col("direction") == "text_to_video")
    )
    measures = list(dict.fromkeys(shown["measure"]))
    counts = dict(table.group_by("kind").agg(pl.col("n").max()).rows())
    figure, axes = style.figure(
        style.PAGE_IN,
        0.85 + 0.3 * len(kinds),
        ncols=max(len(measures), 1),
        squeeze=False,
        sharey=True,
    )
    for panel, measure in zip(axes[0], measures, strict=False):
        part = shown.filter(pl.col("measure") == measure)
        rows = part.with_columns(line=pl.col("kind"), filled=pl.col("training") == "narrations")
        _points(panel, rows, kinds)
        panel.set_xlim(0, 1)
        panel.set_xlabel(textwrap.fill(measure, 16))
        for line, chance in part.group_by("kind").agg(pl.col("chance").first()).rows():
            place = kinds.index(line)
            panel.vlines(
                chance, place - 0.4, place + 0.4, color="black", linewidth=0.8, linestyle=":"
            )
    axes[0][0].set_yticks(
        range(len(kinds)), [f"{style.plain(kind, limit=12)} (n ≤ {counts[kind]})" for kind in kinds]
    )
    axes[0][0].set_ylim(-0.6, len(kinds) - 0.4)
    _encoder_legend(figure, table, " (hollow: skill labels)")
    return figure


def _points(axes: Axes, rows: pl.DataFrame, lines: list[str]) -> None:
    """Points with intervals, on the line that ``line`` names; encoders a little apart, hollow where
    not ``filled``.
    """
    shown = summary.ordered(rows["encoder"].unique(), summary.ENCODERS)
    for row in rows.iter_rows(named=True):
        index = shown.index(row["encoder"])
        colour, sign = ENCODER_LOOKS[index % len(ENCODER_LOOKS)]
        place = lines.index(row["line"]) + 0.5 * (0.5 - (index + 0.5) / len(shown))
        if row["low"] is not None:
            axes.hlines(place, row["low"], row["high"], color=colour, linewidth=0.9)
        axes.plot(
            row["value"],
            place,
            sign,
            color=colour,
            markersize=2.8,
            mew=0.8,
            mfc=colour if row["filled"] else "white",
        )


def _encoder_legend(figure: Figure, table: pl.DataFrame, note: str = "") -> None:
    from matplotlib.lines import Line2D

    shown = summary.ordered(table["encoder"].unique(), summary.ENCODERS)
    handles = [
        Line2D(
            [],
            [],
            color=colour,
            marker=sign,
            markersize=3,
            label=f"{style.plain(encoder, limit=16)} encoder{note}",
        )
        for encoder, (colour, sign) in zip(shown, ENCODER_LOOKS, strict=False)
    ]
    figure.legend(handles=handles, loc="outside upper right", ncols=len(handles))
