"""Single cases as figures: what was retrieved for a query, and what a learner is offered."""

from __future__ import annotations

import textwrap
from typing import TYPE_CHECKING

import numpy as np
import polars as pl

from sportskills_lib.plots import style
from sportskills_lib.report import cases
from sportskills_lib.report.save import Page

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

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


def filmstrips(
    found: list[dict], clips: pl.DataFrame, frames: np.ndarray, *, top: int = 5
) -> Figure:
    """A row for each case: the narration, its own clip, and the retrieved clips with a frame that
    says how right.

    A picture is four moments of the clip, read like text. ``frames`` [N, T, H, W, 3], row i is row
    i of ``clips``.
    """
    row_of = {clip: row for row, clip in enumerate(clips["clip_id"])}
    height = max(1.06 * len(found), 1.0)
    figure, axes = style.figure(
        style.PAGE_IN, height, nrows=max(len(found), 1), ncols=top + 2, squeeze=False,
        gridspec_kw={"width_ratios": [1.25] + [1] * (top + 1)},
    )  # fmt: skip
    for panel in axes.ravel():
        panel.set_axis_off()
    for line, case in zip(axes, found, strict=False):
        line[0].text(
            0, 0.98, _case_text(case), va="top", ha="left", transform=line[0].transAxes, fontsize=6
        )
        _picture(line[1], frames[row_of[case["own_clip"]]], "black", "its own clip")
        for rank, (panel, hit) in enumerate(zip(line[2:], case["hits"], strict=False), start=1):
            sign = f"{rank}  {MARK_SIGNS[hit['mark']]} {hit['mark'].removesuffix(' and execution')}"
            _picture(panel, frames[row_of[hit["clip_id"]]], MARK_COLOURS[hit["mark"]], sign)
    return figure


def case_pages(found: list[dict], clips: pl.DataFrame, frames: np.ndarray) -> dict[str, Page]:
    """:func:`filmstrips` and the rows that it draws, by name; nothing without a query."""
    return (
        {"filmstrips": Page(filmstrips(found, clips, frames), cases.rows(found))} if found else {}
    )


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

    A row a learner: the learner's own clip, the expert's words (no model's input), and the first
    retrievals of each system with the coaches' mean grade. The last row is a failure. ``offered``:
    from cases.gather_learners.
    """
    if offered.is_empty():
        return {}
    people, systems = (list(dict.fromkeys(offered[name])) for name in ("learner_id", "system"))
    each = EACH.get(len(systems), 2)
    figure, axes = style.figure(
        style.PAGE_IN,
        0.2 + 0.98 * len(people),
        nrows=1 + len(people),
        ncols=2 + each * len(systems),
        squeeze=False,
        gridspec_kw={
            "width_ratios": [1, 1.2] + [1] * each * len(systems),
            "height_ratios": [0.1] + [1] * len(people),
        },
    )
    for panel in axes.ravel():
        panel.set_axis_off()
    row_of = {clip: row for row, clip in enumerate(clips["clip_id"])}
    learner_row = {learner: row for row, learner in enumerate(learners["learner_id"])}
    for line, person in zip(axes[1:], people, strict=True):
        own = offered.filter(pl.col("learner_id") == person)
        _picture(line[0], learner_frames[learner_row[person]], "black", own["kind"][0])
        colour = style.VERMILION if own["kind"][0] == "failure" else "black"
        words = _learner_text(own.row(0, named=True))
        line[1].text(
            0, 0.98, words, va="top", transform=line[1].transAxes, fontsize=5.6, color=colour
        )
        for index, system in enumerate(systems):
            hits = own.filter(pl.col("system") == system).sort("rank").head(each)
            for place, (clip, grade) in enumerate(hits.select("clip_id", "grade").rows()):
                told = "not graded" if grade is None else f"grade {grade:.1f}"
                _picture(
                    line[2 + each * index + place],
                    frames[row_of[clip]],
                    grade_colour(grade),
                    f"{place + 1}   {told}",
                )
    for at, name in (
        (0, "learner"),
        (1, "expert's words"),
        *((2 + each * i, x) for i, x in enumerate(systems)),
    ):
        head = axes[0][at].text(
            0, 0, style.plain(name, limit=26).replace("_", " "), fontsize=6.5, fontweight="bold"
        )
        head.set_in_layout(False)  # a long name may reach over its neighbours, and moves nothing
    data = offered.filter(pl.col("rank") <= each)
    return {"feedback_filmstrips": Page(figure, data)}


def _learner_text(row: dict) -> str:
    words = textwrap.fill("“" + style.plain(row["comment"] or "", limit=120) + "”", 22)
    return f"{style.plain(row['sport'], limit=18)}\n{words}"


def _case_text(case: dict) -> str:
    words = textwrap.fill("“" + style.plain(case["text"], limit=110) + "”", 27)
    rank = f"own clip at rank {case['own_rank']:.0f}"
    if case.get("baseline_rank") is not None:
        rank += f"\n(skill labels: {case['baseline_rank']:.0f})"
    return f"{case['kind'].upper()} · {style.plain(case['sport'], limit=18)}\n{words}\n{rank}"


def _picture(panel: Axes, clip: np.ndarray, colour: str, caption: str) -> None:
    """Four moments of a clip [T, H, W, 3] as a 2 × 2 picture with a coloured frame."""
    four = clip[np.linspace(0, len(clip) - 1, 4).round().astype(int)]
    height_px, width_px = four.shape[1:3]
    picture = np.full(
        (2 * height_px + 1, 2 * width_px + 1, 3), 255, dtype=np.uint8
    )  # a white line between moments
    for moment, frame in enumerate(four):
        top, left = (moment // 2) * (height_px + 1), (moment % 2) * (width_px + 1)
        picture[top : top + height_px, left : left + width_px] = frame
    panel.set_axis_on()
    panel.imshow(picture, interpolation="bilinear")
    panel.set_xticks([])
    panel.set_yticks([])
    for spine in panel.spines.values():
        spine.set(visible=True, color=colour, linewidth=2.2)
    panel.set_title(caption, fontsize=5.8, pad=2.5)
