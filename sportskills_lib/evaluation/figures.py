"""The figures of the report, drawn from the tables that are saved beside them, in the house style.

Each function returns a matplotlib figure and draws nothing that its table does not hold. Sports and texts that
strangers wrote are drawn as plain text.
"""

from __future__ import annotations

import textwrap
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

from sportskills_lib import style
from sportskills_lib.evaluation import cases, feedback, summary

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

NAMES = {
    "zero_shot": "zero-shot",
    "activity_sport": "sport labels",
    "activity_skill": "skill labels",
    "narrations_shuffled": "narrations, shuffled",
    "narrations": "narrations",
    "both": "both",
}
SHOWN = 20  # sports in the main figure; the rest go to the appendix
MARK_COLOURS = {
    cases.OWN: style.GREEN,
    cases.SAME_CUE: style.BLUE,
    cases.SAME_SKILL: style.ORANGE,
    cases.OTHER: style.VERMILION,
}
GRADE_COLOURS = (style.VERMILION, style.ORANGE, style.BLUE, style.GREEN)  # mean grade 0, 1, 2, 3
MARK_SIGNS = {cases.OWN: "✓", cases.SAME_CUE: "≈", cases.SAME_SKILL: "○", cases.OTHER: "✗"}


def per_sport_recall(
    table: pl.DataFrame, sizes: pl.DataFrame, oracles: pl.DataFrame, *, encoder: str, sports: list[str]
) -> Figure:
    """Grouped bars: recall@10_single of every arm in each of ``sports``, then the macro mean over *all* evaluable ones.

    Bars carry 95 % intervals; lines show chance, the skill oracle and, where the truth is known, the cue oracle.
    """
    rows = summary.of_figure(table, encoder).filter(pl.col("value").is_not_null())
    arms = [name for name in summary.TRAININGS if name in rows["training"].unique().to_list()]
    groups = [*sports, summary.MEAN]
    width_in = style.PAGE_IN * min(1.0, (len(groups) + 5) / (SHOWN + 6))  # bars keep their width where sports are few
    figure, axes = style.figure(max(width_in, style.COLUMN_IN), 2.7)
    x = np.arange(len(groups)) + 0.5 * (np.arange(len(groups)) == len(sports))  # the mean stands a little apart
    width = 0.84 / max(len(arms), 1)
    for index, arm in enumerate(arms):
        place = x - 0.42 + width * (index + 0.5)
        values, low, high = _bars(rows.filter(pl.col("training") == arm), groups)
        look: dict[str, Any] = {"color": style.ARM_COLOURS[arm], "hatch": style.ARM_HATCHES.get(arm), "linewidth": 0.3}
        axes.bar(place, values, width, label=NAMES[arm], edgecolor="white", **look)
        bars = {"elinewidth": 0.5, "ecolor": "black", "fmt": "none", "capsize": 0}
        axes.errorbar(place, values, yerr=[values - low, high - values], **bars)
    _levels(axes, x, groups, rows, oracles, sports)
    counts = {sport: n for sport, n in rows.select("sport", "n").unique().rows()}
    galleries = dict(sizes.select("sport", "gallery").rows())
    labels = [f"{style.plain(sport, limit=22)} ({galleries[sport]}, {counts[sport]})" for sport in sports]
    axes.set_xticks(x, [*labels, f"macro mean\n(n = {counts.get(summary.MEAN, 0)})"], rotation=50, ha="right")
    axes.set_xlim(-0.6, x[-1] + 0.6)
    axes.set_ylim(0, 1.0)
    axes.set_ylabel("recall@10, text → video")
    axes.set_xlabel("sport (test clips N, queries n)")
    axes.tick_params(axis="x", length=0, pad=1)
    columns = 8 if width_in > 6.5 else 4 if width_in > 4.5 else 3
    figure.legend(loc="outside upper left", ncols=columns, columnspacing=1.0, handlelength=1.3)
    return figure


def per_sport_pages(table: pl.DataFrame, sizes: pl.DataFrame, oracles: pl.DataFrame) -> dict[str, Figure]:
    """The figures of recall by sport, by name: of each encoder the 20 largest sports, an appendix, and macro means.

    Empty when no sport is evaluable: there is nothing to draw then, and no mean either.
    """
    pages: dict[str, Figure] = {}
    for encoder in sorted(table["encoder"].unique()):
        own = table.filter(pl.col("encoder") == encoder)
        sports = summary.shown_sports(own, sizes)
        if not sports:
            continue
        suffix = f"_{encoder}" if pages else ""
        for name, shown in (("per_sport_recall", sports[:SHOWN]), ("per_sport_recall_appendix", sports[SHOWN:])):
            if shown:
                pages[name + suffix] = per_sport_recall(own, sizes, oracles, encoder=encoder, sports=shown)
        pages["macro_means" + suffix] = macro_means(own, oracles, encoder=encoder)
    return pages


def optional(
    name: str, draw: Callable[..., Figure], table: pl.DataFrame, *rest: Any, **options: Any
) -> dict[str, Figure]:
    """``draw(table, …)`` under ``name``, or nothing where the table is empty."""
    return {} if table.is_empty() else {name: draw(table, *rest, **options)}


def _bars(rows: pl.DataFrame, groups: list[str]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    known = {row[0]: row[1:] for row in rows.select("sport", "value", "low", "high").rows()}
    triples = [known.get(name, (np.nan, None, None)) for name in groups]
    value = np.array([triple[0] for triple in triples], dtype=float)
    low = np.array([np.nan if triple[1] is None else triple[1] for triple in triples], dtype=float)
    high = np.array([np.nan if triple[2] is None else triple[2] for triple in triples], dtype=float)
    return value, np.where(np.isnan(low), value, low), np.where(np.isnan(high), value, high)


def _levels(
    axes: Axes, x: np.ndarray, groups: list[str], rows: pl.DataFrame, oracles: pl.DataFrame, sports: list[str]
) -> None:
    """A short line over each group: chance, and what oracles reach."""
    chance = dict(rows.select("sport", "chance").unique("sport").rows())
    lines = {"chance": chance}
    evaluable = chance.keys() - {summary.MEAN}
    for oracle, label in (("skill", "skill oracle"), ("cue", "cue oracle")):
        values = dict(oracle_levels(oracles, oracle, sorted(evaluable)).rows())
        if values:
            lines[label] = values
    looks: dict[str, tuple[str, Any]] = {
        "chance": ("black", ":"),
        "skill oracle": ("black", "-"),
        "cue oracle": (style.GREEN, "-"),
    }
    for label, known in lines.items():
        colour, dash = looks[label]
        at = [index for index, name in enumerate(groups) if name in known]
        heights = [known[groups[index]] for index in at]
        left, right = x[at] - 0.46, x[at] + 0.46
        axes.hlines(heights, left, right, colors=colour, linestyles=dash, linewidth=0.9, label=label, clip_on=False)


def oracle_levels(oracles: pl.DataFrame, oracle: str, sports: list[str]) -> pl.DataFrame:
    """sport, value: what the oracle reaches in each sport, and the macro mean; empty where it is not known."""
    part = oracles.filter((pl.col("oracle") == oracle) & pl.col("sport").is_in(sports))
    by_sport = part.group_by("sport").agg(pl.col("value").mean()).sort("sport")
    if by_sport.is_empty():
        return by_sport
    return pl.concat([by_sport, pl.DataFrame({"sport": [summary.MEAN], "value": [by_sport["value"].mean()]})])


def macro_means(table: pl.DataFrame, oracles: pl.DataFrame, *, encoder: str) -> Figure:
    """One column wide: the macro mean of each arm with its interval, against chance and the oracles."""
    rows = summary.of_figure(table, encoder).filter(pl.col("value").is_not_null())
    sports = sorted(set(rows["sport"].unique().to_list()) - {summary.MEAN})
    mean = rows.filter(pl.col("sport") == summary.MEAN)
    arms = [name for name in summary.TRAININGS if name in mean["training"].to_list()]
    known = {row[0]: row[1:] for row in mean.select("training", "value", "low", "high").rows()}
    figure, axes = style.figure(style.COLUMN_IN, 0.55 + 0.24 * len(arms))
    for place, arm in enumerate(reversed(arms)):
        value, low, high = known[arm]
        axes.barh(place, value, 0.7, color=style.ARM_COLOURS[arm], hatch=style.ARM_HATCHES.get(arm), edgecolor="white")
        if low is not None:
            axes.errorbar(value, place, xerr=[[value - low], [high - value]], color="black", elinewidth=0.8)
        axes.text((high or value) + 0.015, place, f"{value:.2f}", va="center")
    _upright(axes, "chance", mean["chance"][0] if mean.height else None, ":", "right")
    for oracle, side in (("skill", "left"), ("cue", "right")):
        level = dict(oracle_levels(oracles, oracle, sports).rows()).get(summary.MEAN)
        _upright(axes, f"{oracle} oracle", level, "-", side)
    axes.set_yticks(range(len(arms)), [NAMES[arm] for arm in reversed(arms)])
    axes.set_xlim(0, 1.04)
    n = mean["n"][0] if mean.height else 0
    axes.set_xlabel(f"recall@10, macro mean of {len(sports)} sports (n = {n})")
    return figure


def _upright(axes: Axes, label: str, at: float | None, dash: str, side: Any) -> None:
    if at is None:
        return
    axes.axvline(at, color="black", linestyle=dash, linewidth=0.8)
    axes.annotate(label, (at, 1.0), xycoords=("data", "axes fraction"), ha=side, va="bottom", fontsize=6)


def sport_differences(gaps: pl.DataFrame, *, title: str) -> Figure:
    """A paired difference and its interval for each sport, largest on top; hollow where it is not apart from 0."""
    ordered = gaps.sort("difference", "sport")
    figure, axes = style.figure(style.COLUMN_IN, 0.6 + 0.135 * max(ordered.height, 1))
    for place, row in enumerate(ordered.iter_rows(named=True)):
        colour = style.BLUE if row["apart"] else style.GREY
        if row["low"] is not None:
            axes.hlines(place, row["low"], row["high"], color=colour, linewidth=1.1)
        axes.plot(row["difference"], place, "o", color=colour, markersize=3.2, mfc=colour if row["apart"] else "white")
    axes.axvline(0, color="black", linewidth=0.6, linestyle=":")
    labels = [f"{style.plain(sport, limit=20)} ({n})" for sport, n in ordered.select("sport", "n").rows()]
    axes.set_yticks(range(ordered.height), labels)
    axes.set_ylim(-0.7, ordered.height - 0.3)
    axes.set_xlabel(title)
    return figure


def feedback_bars(table: pl.DataFrame, scores: pl.DataFrame, *, simulated: bool) -> Figure:
    """Each system's nDCG@10 and recall of helpful clips with intervals, best on top, and the chance level."""
    shown = [name for name in (feedback.NDCG, feedback.RECALL) if name in table["metric"].unique().to_list()]
    order = table.filter(pl.col("metric") == shown[0]).sort("value", "system")["system"].to_list()
    figure, axes = style.figure(style.COLUMN_IN, 0.75 + 0.19 * len(order), ncols=len(shown), squeeze=False, sharey=True)
    for panel, metric in zip(axes[0], shown, strict=True):
        part = table.filter(pl.col("metric") == metric)
        for row in part.iter_rows(named=True):
            place, colour = order.index(row["system"]), style.BLUE if row["system"].startswith("vlm") else style.SKY
            panel.barh(place, row["value"], 0.7, color=colour)
            if row["low"] is not None:
                error = [[row["value"] - row["low"]], [row["high"] - row["value"]]]
                panel.errorbar(row["value"], place, xerr=error, color="black", elinewidth=0.8)
        chance = scores.filter(pl.col("metric") == metric)["chance"].mean()
        panel.axvline(chance, color="black", linestyle=":", linewidth=0.8)
        panel.set_xlim(0, 1)
        panel.set_xlabel(f"{metric} (n = {part['n'][0]})")
    axes[0][0].set_yticks(range(len(order)), [style.plain(name, limit=30).replace("_", " ") for name in order])
    who = "simulated raters" if simulated else "coaches' grades"
    figure.suptitle(f"Feedback retrieval, {who}; dotted: chance", fontsize=7)
    return figure


def filmstrips(found: list[dict], clips: pl.DataFrame, frames: np.ndarray, *, top: int = 5) -> Figure:
    """A row for each case: the narration, its own clip, and the retrieved clips with a frame that says how right.

    A picture is four moments of the clip, read like text. ``frames`` [N, T, H, W, 3], row i is row i of ``clips``.
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
        line[0].text(0, 0.98, _case_text(case), va="top", ha="left", transform=line[0].transAxes, fontsize=6)
        _picture(line[1], frames[row_of[case["own_clip"]]], "black", "its own clip")
        for rank, (panel, hit) in enumerate(zip(line[2:], case["hits"], strict=False), start=1):
            sign = f"{rank}  {MARK_SIGNS[hit['mark']]} {hit['mark'].removesuffix(' and execution')}"
            _picture(panel, frames[row_of[hit["clip_id"]]], MARK_COLOURS[hit["mark"]], sign)
    return figure


def feedback_pages(
    found: list[dict], clips: pl.DataFrame, frames: np.ndarray, learners: pl.DataFrame, learner_frames: np.ndarray
) -> dict[str, Figure]:
    """The figure of learners and the clips that systems offer them, by name; empty without judged learners.

    A row for each learner and system: the learner's clip, then the first five clips with the coaches' mean grade.
    """
    if not found:
        return {}
    row_of = {clip: row for row, clip in enumerate(clips["clip_id"])}
    learner_row = {learner: row for row, learner in enumerate(learners["learner_id"])}
    top = max(len(case["hits"]) for case in found)
    figure, axes = style.figure(
        style.PAGE_IN, 1.06 * len(found), nrows=len(found), ncols=top + 2, squeeze=False,
        gridspec_kw={"width_ratios": [1.25] + [1] * (top + 1)},
    )  # fmt: skip
    for panel in axes.ravel():
        panel.set_axis_off()
    for line, case in zip(axes, found, strict=True):
        line[0].text(0, 0.98, _learner_text(case), va="top", ha="left", transform=line[0].transAxes, fontsize=6)
        _picture(line[1], learner_frames[learner_row[case["learner_id"]]], "black", "learner")
        for rank, (panel, hit) in enumerate(zip(line[2:], case["hits"], strict=False), start=1):
            grade = 0.0 if hit["grade"] is None else hit["grade"]
            colour = GRADE_COLOURS[min(int(grade + 0.5), 3)]
            _picture(panel, frames[row_of[hit["clip_id"]]], colour, f"{rank}   mean grade {grade:.1f}")
    return {"feedback_filmstrips": figure}


def _learner_text(case: dict) -> str:
    words = textwrap.fill("“" + style.plain(case["comment"], limit=90) + "”", 27)
    value = "" if case["value"] is None else f": nDCG@10 {case['value']:.2f}"
    system = case["system"].replace("_", " ")
    return f"{case['kind'].upper()} · {style.plain(case['sport'], limit=18)}\n{system}{value}\n{words}"


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
    picture = np.full((2 * height_px + 1, 2 * width_px + 1, 3), 255, dtype=np.uint8)  # a white line between moments
    for moment, frame in enumerate(four):
        top, left = (moment // 2) * (height_px + 1), (moment % 2) * (width_px + 1)
        picture[top : top + height_px, left : left + width_px] = frame
    panel.set_axis_on()
    panel.imshow(picture, interpolation="lanczos")
    panel.set_xticks([])
    panel.set_yticks([])
    for spine in panel.spines.values():
        spine.set(visible=True, color=colour, linewidth=2.2)
    panel.set_title(caption, fontsize=5.8, pad=2.5)
