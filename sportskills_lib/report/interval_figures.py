"""Figures of values with intervals: bars by sport and by system, points by sport, the depth of the
shortlist.

Each figure is drawn from rows that are saved beside it (``data`` of a :class:`Page`), and draws
nothing else. Colours tell trainings apart, hatches those of like lightness; encoders have a panel
each, or lighter and full colours. Sports are strangers' words and drawn as plain text.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
import polars as pl
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from sportskills_lib import metrics
from sportskills_lib.evaluation import comparisons, feedback, summary
from sportskills_lib.evaluation.library_retrieval import ORDERED
from sportskills_lib.plots import style
from sportskills_lib.report.save import Page, optional

NAMES = {
    "zero_shot": "zero-shot",
    "activity_dataset": "activity data set",
    "activity_sport": "sport labels",
    "activity_skill": "skill labels",
    "narrations_shuffled": "narrations, shuffled",
    "narrations": "narrations",
    "both": "both",
}
HEADLINE = f"{metrics.at_k('recall')}: narrations − skill labels"
SHOWN = 20  # sports in the main figure; the rest go to the appendix
# What the paper's figure compares: the first of these arms that exists, and narrations.
ACTIVITY_ARMS = ("activity_dataset", "activity_sport")
ORACLES = ("skill", "cue")
# Levels drawn as lines: their column, colour, dash, and the side of the line that names it.
LEVELS = (
    ("chance", "black", ":", "center"),
    ("skill_oracle", "black", "-", "left"),
    ("cue_oracle", style.GREEN, "-", "right"),
)
ENCODER_LOOKS = ((style.BLUE, "o"), (style.VERMILION, "s"), (style.GREEN, "^"))


def name_of(arm: str) -> str:
    """The arm as a legend names it."""
    return NAMES.get(arm, style.plain(arm, limit=24).replace("_", " "))


def encoder_name(encoder: str) -> str:
    """The encoder as a legend or title names it."""
    return f"{style.plain(encoder, limit=16)} encoder"


# ------------------------------------------------------------------------------------ bars by sport


def recall_pages(
    table: pl.DataFrame, sizes: pl.DataFrame, oracles: Mapping[str, pl.DataFrame], *, size: int
) -> dict[str, Page]:
    """All figures of recall by sport, by name; empty when no sport is evaluable: there is no mean
    to draw then either.

    For the whole gallery and for galleries of ``size``: the 20 largest sports, an appendix with the
    rest, macro means; and the paper's figure, image and video with and without narrations.
    ``oracles``: by gallery (full, fixed).
    """
    found: dict[str, Page] = {}
    paper: dict[str, Page] = {}  # drawn once: in galleries of one size, if a sport has them
    for gallery, scope in comparisons.GALLERIES.items():
        rows = summary.of_figure(table, scope=scope).filter(pl.col("value").is_not_null())
        data, pair = _with_levels(rows, oracles.get(gallery), sizes), _paper_arms(rows)
        sports = summary.shown_sports(table, sizes, scope=scope)
        among, suffix = (f" among {size}", "_fixed") if gallery == "fixed" else ("", "")
        for end, shown in (("", sports[:SHOWN]), ("_appendix", sports[SHOWN:])):
            drawn = pl.col("sport").is_in([*shown, summary.MEAN] if shown else [])
            how = {"sports": shown, "among": among}
            name = f"per_sport_recall{end}{suffix}"
            found |= optional(name, per_sport_recall, data.filter(drawn), **how)
            paper |= optional(f"encoders{end}", encoders, pair.filter(drawn), **how)
        means = data.filter(sport=summary.MEAN)
        where = f"{among}, macro mean of {len(sports)} sports"
        found |= optional(f"macro_means{suffix}", macro_means, means, where=where)
    return found | paper


def _with_levels(
    rows: pl.DataFrame, oracles: pl.DataFrame | None, sizes: pl.DataFrame
) -> pl.DataFrame:
    """The rows with all else that is drawn: test_clips, and what the oracles reach where that is
    known (skill_oracle, cue_oracle).
    """
    clips = sizes.select("sport", test_clips="gallery")
    told = rows.join(clips, on="sport", how="left", maintain_order="left")
    for oracle in () if oracles is None else ORACLES:
        known = oracles.filter(  # type: ignore[union-attr]
            pl.col("value").is_not_null() & pl.col("sport").is_in(rows["sport"].implode()),
            oracle=oracle,
        )
        by_sport = known.group_by("sport").agg(pl.col("value").mean()).sort("sport")
        mean = by_sport.select(sport=pl.lit(summary.MEAN), value=pl.col("value").mean())
        if by_sport.height:
            level = pl.concat([by_sport, mean]).rename({"value": f"{oracle}_oracle"})
            told = told.join(level, on="sport", how="left", maintain_order="left")
    return told


def _paper_arms(rows: pl.DataFrame) -> pl.DataFrame:
    """The rows of the paper's figure: an activity arm and narrations, of every encoder; empty
    without both.
    """
    known = set(rows["training"])
    activity = next((arm for arm in ACTIVITY_ARMS if arm in known), None)
    arms = [activity, "narrations"] if activity and "narrations" in known else []
    return rows.filter(pl.col("training").is_in(arms))


def per_sport_recall(rows: pl.DataFrame, *, sports: list[str], among: str = "") -> Figure:
    """Grouped bars: recall@k_single of every arm in each of ``sports``, then the macro mean over
    *all* evaluable ones.

    A panel for each encoder. Bars carry 95 % intervals; lines show chance, the skill oracle and,
    where the truth is known, the cue oracle.
    """
    looks = _arm_looks(rows["training"])
    rows = rows.with_columns(panel="encoder", bar="training")
    return _bars_by_sport(rows, looks, sports=sports, among=among)


def encoders(rows: pl.DataFrame, *, sports: list[str], among: str = "") -> Figure:
    """The paper's figure: every encoder with and without narrations, in orange and blue, lighter
    for the first.
    """
    shown = summary.ordered(rows["encoder"], summary.ENCODERS)
    looks = {}
    for arm in summary.ordered(rows["training"]):
        colour = style.BLUE if arm == "narrations" else style.ORANGE
        for index, encoder in enumerate(shown):
            share = 0.6 * (len(shown) - 1 - index) / max(len(shown) - 1, 1)
            label = f"{style.plain(encoder, limit=16)}, {name_of(arm)}"
            looks[f"{encoder}/{arm}"] = {"color": style.lighter(colour, share), "label": label}
    rows = rows.with_columns(
        panel=pl.lit(""), bar=pl.concat_str("encoder", "training", separator="/")
    )
    return _bars_by_sport(rows, looks, sports=sports, among=among)


def _arm_looks(trainings: pl.Series) -> dict[str, dict[str, Any]]:
    """What the bars of each arm look like, with the label of the legend."""
    arms = summary.ordered(trainings)
    others = [arm for arm in arms if arm not in NAMES]
    return {arm: style.arm_look(arm, others) | {"label": name_of(arm)} for arm in arms}


def _bars_by_sport(
    rows: pl.DataFrame, looks: Mapping[str, dict[str, Any]], *, sports: list[str], among: str
) -> Figure:
    """Grouped bars over ``sports`` and the mean: a panel for each ``panel`` of the rows, in it a
    bar for each of ``looks`` (by ``bar``).
    """
    panels = summary.ordered(rows["panel"], summary.ENCODERS)
    groups = [*sports, summary.MEAN]
    x = np.arange(len(groups)) + 0.5 * (np.arange(len(groups)) == len(sports))  # the mean is apart
    places = pl.DataFrame({"sport": groups, "x": x})
    # bars keep their width where sports are few
    width_in = max(style.PAGE_IN * min(1.0, (len(groups) + 5) / (SHOWN + 6)), style.COLUMN_IN)
    figure, axes = style.figure(
        width_in, 1.0 + 1.6 * len(panels), nrows=len(panels), squeeze=False, sharex=True
    )
    width = 0.84 / len(looks)
    for panel, name in zip(axes[:, 0], panels, strict=True):
        part = rows.filter(panel=name)
        for index, (bar, look) in enumerate(looks.items()):
            own = places.join(part.filter(bar=bar), on="sport", how="left", maintain_order="left")
            at = x - 0.42 + width * (index + 0.5)
            panel.bar(at, own["value"].to_numpy(), width, edgecolor="white", linewidth=0.3, **look)
            panel.vlines(at, own["low"].to_numpy(), own["high"].to_numpy(), "black", linewidth=0.5)
        _draw_levels(panel, places.join(part.unique("sport"), on="sport"))
        panel.tick_params(axis="x", length=0, pad=2)
        detail = "" if len(panels) > 2 else among or ", text → video"
        panel.set(ylim=(0, 1), ylabel=metrics.at_k("recall") + detail)
        if len(panels) > 1:
            panel.set_title(encoder_name(name), loc="left", fontsize=7, pad=3)
    _name_sports(axes[-1, 0], places.join(rows.unique("sport"), on="sport", how="left"))
    handles, labels = axes[0, 0].get_legend_handles_labels()
    figure.legend(
        handles,
        labels,
        loc="outside upper left",
        ncols=int(width_in / 1.4),
        columnspacing=1.0,
        handlelength=1.3,
    )
    return figure


def _draw_levels(panel: Axes, groups: pl.DataFrame) -> None:
    """A short line over each group: chance, and what oracles reach."""
    for column, colour, dash, _ in LEVELS:
        if column in groups.columns:
            level = groups.filter(pl.col(column).is_not_null())
            x, label = level["x"].to_numpy(), column.replace("_", " ")
            how: Any = {"colors": colour, "linestyles": dash, "linewidth": 0.9, "clip_on": False}
            panel.hlines(level[column], x - 0.46, x + 0.46, label=label, **how)


def _name_sports(panel: Axes, groups: pl.DataFrame) -> None:
    """Each group's name with its counts: test clips (where the rows have them) and queries."""
    counted = "test_clips" in groups.columns
    labels = []
    for row in groups.iter_rows(named=True):
        counts = f"{row['test_clips']}, {row['n']}" if counted else row["n"]
        labels.append(f"{style.plain(row['sport'], limit=22)} ({counts})")
    labels[-1] = f"macro mean\n(n = {groups['n'][-1]})"
    panel.set_xticks(groups["x"], labels, rotation=50, ha="right", rotation_mode="anchor")
    panel.set_xlim(-0.6, groups["x"][-1] + 0.6)
    panel.set_xlabel(f"sport ({'test clips N, ' if counted else ''}queries n)", labelpad=0)


# --------------------------------------------------------------------------------------- lying bars


def macro_means(rows: pl.DataFrame, *, where: str = "") -> Figure:
    """The macro mean of each arm with its interval, against chance and the oracles; a panel for
    each encoder.
    """
    shown = summary.ordered(rows["encoder"], summary.ENCODERS)
    looks = _arm_looks(rows["training"])
    panels = {
        encoder_name(encoder) if len(shown) > 1 else "": rows.filter(encoder=encoder)
        for encoder in shown
    }
    width_in = style.COLUMN_IN if len(shown) == 1 else style.PAGE_IN
    figure = _lying_bars(width_in, panels, "training", dict(reversed(looks.items())))
    figure.supxlabel(f"{metrics.at_k('recall')}{where} (n = {rows['n'][0]})", fontsize=7)
    return figure


def feedback_pages(
    table: pl.DataFrame, scores: Mapping[str, pl.DataFrame], *, simulated: bool
) -> dict[str, Page]:
    """The figure ``feedback`` and its rows, of the pool of the learner's skill, each with its
    metric's chance level; nothing where the table is empty.
    """
    chance = scores["same_skill"].group_by("metric").agg(pl.col("chance").mean())
    data = table.filter(pool="same_skill").join(
        chance, on="metric", how="left", maintain_order="left"
    )
    return optional("feedback", feedback_bars, data, simulated=simulated)


def feedback_bars(table: pl.DataFrame, *, simulated: bool) -> Figure:
    """Each system's nDCG@5 and share of first clips that mend the mistake, with intervals, best on
    top, and the chance level.
    """
    known = [name for name in (feedback.PRIMARY, feedback.MENDS_FIRST) if name in table["metric"]]
    order = table.filter(metric=known[0]).sort("value", "system")["system"]
    looks = {
        system: {
            "color": style.BLUE if system.startswith(("vlm", "relevance")) else style.SKY,
            "label": style.plain(system, limit=30).replace("_", " "),
        }
        for system in order
    }
    parts = {metric: table.filter(metric=metric) for metric in known}
    panels = {f"{metric}\n(n = {part['n'][0]})": part for metric, part in parts.items()}
    figure = _lying_bars(style.COLUMN_IN, panels, "system", looks)
    who = "simulated raters" if simulated else "coaches' grades"
    figure.supxlabel(f"Feedback retrieval, {who}", fontsize=7)
    return figure


def _lying_bars(
    width_in: float, panels: Mapping[str, pl.DataFrame], line: str, looks: Mapping[str, dict]
) -> Figure:
    """A panel for each title, a bar with its interval and number for each of ``looks`` (by the
    column ``line``), the first at the bottom; upright lines for chance and oracles.
    """
    figure, axes = style.figure(
        width_in, 0.65 + 0.22 * len(looks), ncols=len(panels), squeeze=False, sharey=True
    )
    lines = pl.DataFrame({line: list(looks)})
    colours, hatches = ([look.get(k, "") for look in looks.values()] for k in ("color", "hatch"))
    box = {"facecolor": "white", "edgecolor": "none", "pad": 0.4}
    for panel, (title, part) in zip(axes[0], panels.items(), strict=True):
        place, value, low, high = (
            lines.join(part, on=line, how="left", maintain_order="left")
            .with_row_index("place")
            .select("place", "value", "low", "high")
            .to_numpy()
            .T
        )
        panel.barh(place, value, 0.7, color=colours, hatch=hatches, edgecolor="white", lw=0.3)
        panel.hlines(place, low, high, color="black", linewidth=0.8)
        for at, end, number in zip(place, np.fmax(value, high), value, strict=True):
            panel.text(end + 0.02, at, f"{number:.2f}", va="center", fontsize=6, bbox=box)
        for column, _, dash, side in LEVELS:
            level = part[column][0] if column in part.columns else None
            if level is not None:
                panel.axvline(level, color="black", linestyle=dash, linewidth=0.8)
                spot = {"xycoords": ("data", "axes fraction"), "ha": side, "va": "bottom"}
                panel.annotate(column.replace("_", " "), (level, 1), fontsize=6, **spot)
        panel.set_xlim(0, 1.04)
        panel.set_title(title, fontsize=7, pad=11)
    axes[0][0].set_yticks(range(len(looks)), [look["label"] for look in looks.values()])
    return figure


# ------------------------------------------------------------------------------------------- points


def sport_differences(
    gaps: pl.DataFrame, *, title: str = HEADLINE, called: Callable[[str], str] | None = None
) -> Figure:
    """A paired difference (of narrations and skill labels, if ``title`` does not say otherwise) and
    its interval for each sport, largest on top; hollow where the interval includes 0.

    Encoders side by side in each sport, in their own colour and sign; in order of the first one's
    difference, and below what that one lacks. ``called`` names a line that is no sport.
    """
    shown = summary.ordered(gaps["encoder"], summary.ENCODERS)
    first = gaps.filter(encoder=shown[0]).sort("difference", "sport")["sport"]
    order = [*sorted(set(gaps["sport"]) - set(first), reverse=True), *first]
    height_in = 0.7 + (0.135 if len(shown) == 1 else 0.17) * len(order)
    figure, axes = style.figure(style.COLUMN_IN, height_in)
    points = gaps.with_columns(line="sport", value="difference", filled="ci_excludes_zero")
    draw_points(axes, points, order)
    axes.axvline(0, color="black", linewidth=0.6, linestyle=":")
    counts = dict(gaps.select("sport", "n").rows())
    called = called or partial(style.plain, limit=20)
    axes.set_yticks(range(len(order)), [f"{called(line)} ({counts[line]})" for line in order])
    axes.set(ylim=(-0.7, len(order) - 0.3), xlabel=title)
    if len(shown) > 1:
        add_encoder_legend(figure, shown)
    return figure


def draw_points(axes: Axes, rows: pl.DataFrame, lines: Sequence[str]) -> None:
    """Points with intervals, on the line that ``line`` names; encoders a little apart, hollow where
    not ``filled``.
    """
    shown = summary.ordered(rows["encoder"], summary.ENCODERS)
    for row in rows.iter_rows(named=True):
        index = shown.index(row["encoder"])
        colour, sign = ENCODER_LOOKS[index % len(ENCODER_LOOKS)]
        place = lines.index(row["line"]) + 0.45 * (0.5 - (index + 0.5) / len(shown))
        if row["low"] is not None:
            axes.hlines(place, row["low"], row["high"], color=colour, linewidth=0.9)
        face = colour if row["filled"] else "white"
        axes.plot(row["value"], place, sign, color=colour, markersize=2.9, mew=0.8, mfc=face)


def add_encoder_legend(figure: Figure, encoders: Sequence[str]) -> None:
    """A legend of :func:`draw_points`."""
    handles = [
        Line2D([], [], color=colour, marker=sign, markersize=3, label=encoder_name(name))
        for name, (colour, sign) in zip(encoders, ENCODER_LOOKS, strict=False)
    ]
    figure.legend(handles=handles, loc="outside upper right", ncols=max(len(handles), 1))


# -------------------------------------------------------------------------------------------- depth


def shortlist_depth(table: pl.DataFrame) -> Figure:
    """nDCG@k against seconds over the depth of the shortlist, and over the weight of the relevance
    model.
    """
    drawn, (left, right) = style.figure(style.PAGE_IN, 2.4, ncols=2, sharey=True)
    lines = (
        ("depth", left, "seconds_a_learner", style.BLUE),
        ("alone", left, "seconds_a_learner", style.VERMILION),
        ("weight", right, "value", style.BLUE),
    )
    for name, panel, column, colour in lines:
        rows = table.filter(varied=name).sort("value")
        x = rows[column]
        panel.plot(x, rows[feedback.NDCG], ".-", color=colour, label=ORDERED.get(name))
        panel.fill_between(x, rows["low"], rows["high"], color=colour, alpha=0.15, linewidth=0)
    for row in table.filter(varied="alone").iter_rows(named=True):
        place = (row["seconds_a_learner"], row[feedback.NDCG])
        left.annotate(
            f"{row['value']:g}",
            place,
            xytext=(-2, -3),
            textcoords="offset points",
            ha="right",
            va="top",
        )
    left.legend(title="the shortlist is ordered", loc="lower left")
    left.set(xlabel="seconds per learner (numbers: clips reranked)", ylabel=metrics.at_k("nDCG"))
    right.set(xlabel="weight of the relevance model in the fused score")
    return drawn
