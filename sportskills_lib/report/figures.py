"""The figures of understanding (points with intervals, a panel for each task or measure), and of
single cases: what was retrieved for a query, and what a learner is offered.

Each function returns a matplotlib figure and draws nothing that its table does not hold.
"""

from __future__ import annotations

import itertools
import textwrap
from collections.abc import Mapping
from typing import Any

import numpy as np
import polars as pl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from sportskills_lib.evaluation import summary
from sportskills_lib.plots import style
from sportskills_lib.report import cases, interval_figures
from sportskills_lib.report.save import Page

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


# ------------------------------------------------------------------------------------- single cases

MARK_COLOURS = {
    cases.OWN: style.GREEN,
    cases.SAME_CUE: style.BLUE,
    cases.SAME_SKILL: style.ORANGE,
    cases.OTHER: style.VERMILION,
}
GRADE_COLOURS = (style.VERMILION, style.ORANGE, style.BLUE, style.GREEN)  # mean grade 0, 1, 2, 3
MARK_SIGNS = {cases.OWN: "✓", cases.SAME_CUE: "≈", cases.SAME_SKILL: "○", cases.OTHER: "✗"}


def grade_colour(grade: float | None) -> str:
    """The colour of a mean grade; grey where nobody graded."""
    return style.GREY if grade is None else GRADE_COLOURS[min(int(grade + 0.5), 3)]


Picture = tuple[np.ndarray, str, str]  # frames [T, H, W, 3], colour of its border, caption


def filmstrips(shown: pl.DataFrame, clips: pl.DataFrame, frames: np.ndarray) -> Figure:
    """A row for each query (``shown``: from cases.gather_queries): the narration, its own clip, and
    the retrieved clips with a border that says how right.

    A picture is four moments of the clip, read like text. ``frames`` [N, T, H, W, 3], row i is row
    i of ``clips``.
    """
    by_clip = dict(zip(clips["clip_id"], frames, strict=True))
    lines: list[list[str | Picture]] = []
    for part in shown.partition_by("query_id", maintain_order=True):
        first = part.row(0, named=True)
        head = f"{first['kind'].upper()} · {style.plain(first['sport'], limit=18)}"
        rank = f"own clip at rank {first['own_rank']:.0f}"
        if first["baseline_rank"] is not None:
            rank += f"\n(skill labels: {first['baseline_rank']:.0f})"
        hits = [_retrieved(row, by_clip) for row in part.iter_rows(named=True)]
        lines.append([f"{head}\n{_quote(first['text'], 110, 27)}\n{rank}", *hits])
    return _draw_lines(lines, [1.25] + [1] * (max(map(len, lines)) - 1))[0]


def _retrieved(row: dict[str, Any], by_clip: dict[str, np.ndarray]) -> Picture:
    if row["rank"] == 0:
        return by_clip[row["clip_id"]], "black", "its own clip"
    caption = f"{row['rank']}  {MARK_SIGNS[row['mark']]} {row['mark']}"
    return by_clip[row["clip_id"]], MARK_COLOURS[row["mark"]], caption.removesuffix(EXECUTION)


EXECUTION = " and execution"  # left out of a mark over a picture
EACH = {1: 5, 2: 3, 3: 2}  # retrievals of each system in a row, by the number of systems


def feedback_pages(
    offered: pl.DataFrame,
    clips: pl.DataFrame,
    frames: np.ndarray,
    learners: pl.DataFrame,
    learner_frames: np.ndarray,
) -> dict[str, Page]:
    """The figure ``feedback_filmstrips``, laid out as the paper's Figure 5; nothing without judged
    learners.

    A row a learner: the learner's own clip, the expert's words (no model's input) and what the
    model says is wrong, with its probability, and the first retrievals of each system with the
    coaches' mean grade. The last row is a failure. ``offered``: from cases.gather_learners.
    """
    if offered.is_empty():
        return {}
    systems = offered["system"].unique(maintain_order=True)
    each = EACH.get(len(systems), 2)
    data = offered.filter(pl.col("rank") <= each)
    by_clip = dict(zip(clips["clip_id"], frames, strict=True))
    by_learner = dict(zip(learners["learner_id"], learner_frames, strict=True))
    places = list(itertools.product(systems, range(1, each + 1)))
    names = [style.plain(name, limit=26).replace("_", " ") for name in systems]
    heads = [name if place == 0 else "" for name in names for place in range(each)]
    lines: list[list[str | Picture]] = [
        ["learner", "expert's words", "model: what is wrong", *heads]
    ]
    for part in data.partition_by("learner_id", maintain_order=True):
        first = part.row(0, named=True)
        own = (by_learner[first["learner_id"]], "black", first["kind"])
        words = _quote(first["comment"] or "", 120, 20)
        sure = "" if first["probability"] is None else f"probability {first['probability']:.2f}\n"
        named = sure + _quote(first["named"], 100, 20) if first["named"] else ""
        hits = {(row["system"], row["rank"]): row for row in part.iter_rows(named=True)}
        pictures = [_offered(hits[at], by_clip) if at in hits else "" for at in places]
        lines.append([own, f"{style.plain(first['sport'], limit=18)}\n{words}", named, *pictures])
    figure, axes = _draw_lines(
        lines, [1, 1.5, 1.5] + [1] * len(places), [0.1] + [1] * (len(lines) - 1)
    )
    for panel in axes[0]:
        panel.texts[0].set(weight="bold")
    return {"feedback_filmstrips": Page(figure, data)}


def _offered(row: dict[str, Any], by_clip: dict[str, np.ndarray]) -> Picture:
    grade = "not graded" if row["grade"] is None else f"grade {row['grade']:.1f}"
    return by_clip[row["clip_id"]], grade_colour(row["grade"]), f"{row['rank']}   {grade}"


def _quote(text: str, letters: int, width: int) -> str:
    return textwrap.fill(f"“{style.plain(text, limit=letters)}”", width)


def _draw_lines(
    lines: list[list[str | Picture]], widths: list[float], heights: list[float] | None = None
) -> tuple[Figure, np.ndarray]:
    """A row for each line, of texts and pictures; the figure and its axes."""
    heights = heights or [1] * len(lines)
    figure, axes = style.figure(
        style.PAGE_IN,
        1.03 * sum(heights),
        nrows=len(lines),
        ncols=len(widths),
        squeeze=False,
        gridspec_kw={"width_ratios": widths, "height_ratios": heights},
    )
    for row, line in zip(axes, lines, strict=True):
        for panel, cell in zip(row, [*line, *[""] * (len(row) - len(line))], strict=True):
            if isinstance(cell, str):
                panel.set_axis_off()
                panel.text(
                    0, 0.98, cell, va="top", transform=panel.transAxes, fontsize=5.8
                ).set_in_layout(False)  # a long one may reach over its neighbours
            else:
                _draw_picture(panel, *cell)
    return figure, axes


def _draw_picture(panel: Axes, clip: np.ndarray, colour: str, caption: str) -> None:
    """Four moments of a clip [T, H, W, 3] as a 2 × 2 picture with a coloured border."""
    four = clip[np.linspace(0, len(clip) - 1, 4).round().astype(int)]
    white = np.pad(four, ((0, 0), (0, 1), (0, 1), (0, 0)), constant_values=255)  # between moments
    picture = np.vstack([np.hstack([*white[:2]]), np.hstack([*white[2:]])])[:-1, :-1]
    panel.imshow(picture, interpolation="bilinear")
    panel.set(xticks=[], yticks=[])
    panel.spines[:].set(visible=True, color=colour, linewidth=2.2)
    panel.set_title(caption, fontsize=5.8, pad=2.5)
