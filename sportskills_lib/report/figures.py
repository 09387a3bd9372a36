"""The figures of the report, drawn from the tables that are saved beside them, in the house style.

Each function returns a matplotlib figure and draws nothing that its table does not hold. Sports and
texts that strangers wrote are drawn as plain text.
"""

from __future__ import annotations

import textwrap
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

from sportskills_lib.evaluation import feedback, summary
from sportskills_lib.plots import style
from sportskills_lib.report import cases, sport_figures

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


def optional(
    name: str, draw: Callable[..., Figure], table: pl.DataFrame, *rest: Any, **options: Any
) -> dict[str, sport_figures.Page]:
    """``draw(table, …)`` with its rows under ``name``, or nothing where the table is empty."""
    return (
        {} if table.is_empty() else {name: sport_figures.Page(draw(table, *rest, **options), table)}
    )


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


def feedback_bar_pages(
    table: pl.DataFrame, scores: pl.DataFrame, *, simulated: bool
) -> dict[str, sport_figures.Page]:
    """The figure ``feedback`` and its rows, each with its metric's chance level; nothing where the
    table is empty.
    """
    chance = scores.group_by("metric").agg(pl.col("chance").mean())
    data = table.join(chance, on="metric", how="left", maintain_order="left")
    return optional("feedback", feedback_bars, data, simulated=simulated)


def feedback_bars(table: pl.DataFrame, *, simulated: bool) -> Figure:
    """Each system's nDCG@10 and recall of helpful clips with intervals, best on top, and the chance
    level.
    """
    shown = [
        name
        for name in (feedback.NDCG, feedback.RECALL)
        if name in table["metric"].unique().to_list()
    ]
    order = table.filter(pl.col("metric") == shown[0]).sort("value", "system")["system"].to_list()
    figure, axes = style.figure(
        style.COLUMN_IN, 0.75 + 0.19 * len(order), ncols=len(shown), squeeze=False, sharey=True
    )
    for panel, metric in zip(axes[0], shown, strict=True):
        part = table.filter(pl.col("metric") == metric)
        for row in part.iter_rows(named=True):
            place, colour = (
                order.index(row["system"]),
                style.BLUE if row["system"].startswith("vlm") else style.SKY,
            )
            panel.barh(place, row["value"], 0.7, color=colour)
            if row["low"] is not None:
                error = [[row["value"] - row["low"]], [row["high"] - row["value"]]]
                panel.errorbar(row["value"], place, xerr=error, color="black", elinewidth=0.8)
        panel.axvline(part["chance"][0], color="black", linestyle=":", linewidth=0.8)
        panel.set_xlim(0, 1)
        panel.set_xlabel(f"{metric} (n = {part['n'][0]})")
    axes[0][0].set_yticks(
        range(len(order)), [style.plain(name, limit=30).replace("_", " ") for name in order]
    )
    who = "simulated raters" if simulated else "coaches' grades"
    figure.suptitle(f"Feedback retrieval, {who}; dotted: chance", fontsize=7)
    return figure


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


def case_pages(
    found: list[dict], clips: pl.DataFrame, frames: np.ndarray
) -> dict[str, sport_figures.Page]:
    """:func:`filmstrips` and the rows that it draws, by name; nothing without a query."""
    return (
        {"filmstrips": sport_figures.Page(filmstrips(found, clips, frames), cases.rows(found))}
        if found
        else {}
    )


EACH = {1: 5, 2: 3, 3: 2}  # retrievals of each system in a row, by the number of systems


def feedback_pages(
    offered: pl.DataFrame,
    clips: pl.DataFrame,
    frames: np.ndarray,
    learners: pl.DataFrame,
    learner_frames: np.ndarray,
) -> dict[str, sport_figures.Page]:
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
                colour = GRADE_COLOURS[min(int((grade or 0.0) + 0.5), 3)]
                told = "not graded" if grade is None else f"grade {grade:.1f}"
                _picture(
                    line[2 + each * index + place],
                    frames[row_of[clip]],
                    colour,
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
    return {"feedback_filmstrips": sport_figures.Page(figure, data)}


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
