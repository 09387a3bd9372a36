"""A sweep as one figure: every point a line, every arm or system a mark on it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

from sportskills_lib import metrics
from sportskills_lib.apps.sweep.results import SweepView, over_seeds
from sportskills_lib.evaluation import feedback, summary
from sportskills_lib.plots import style

if TYPE_CHECKING:
    from matplotlib.figure import Figure

LABEL_LETTERS = 44  # of a point's label in a figure
MARKERS = "oDs^vPX<>"  # of systems, in their order: told apart without colour, too
DASHES = ("--", "-.", (0, (1, 1)), (0, (6, 1)), (0, (3, 1, 1, 1, 1, 1)))
STILL = 1e-3  # a system whose mean differs by less between all points is the same at each


def points_figure(found: SweepView, measured: pl.DataFrame) -> Figure | None:
    """A panel an encoder, a line a point: each arm's mean over seeds, ± sd, with its seeds as dots;
    None without any.

    With one seed the bar is the 95 % interval of 05 instead. Where systems are judged by grades,
    those that no point changes are drawn once, as lines from top to bottom.
    """
    over = over_seeds(measured.filter(pl.col("value").is_not_null()))
    encoders, labels = sorted(over["encoder"].unique()), found.labels
    if not encoders:
        return None
    arms, still = _arms(over), _still(over) if found.judged and len(labels) > 1 else {}
    moving = [arm for arm in arms if arm not in still]
    height = 0.9 + 0.13 * len(labels) * (len(moving) + 1)
    figure, panels = style.figure(
        style.PAGE_IN, height, ncols=len(encoders), sharex=True, sharey=True, squeeze=False
    )
    for axes, encoder in zip(panels[0], encoders, strict=True):
        for index, arm in enumerate(moving):
            rows = over.filter((pl.col("encoder") == encoder) & (pl.col("training") == arm))
            dots = measured.filter((pl.col("encoder") == encoder) & (pl.col("training") == arm))
            look = (
                _system_look(arms.index(arm))
                if found.judged
                else {"color": style.ARM_COLOURS.get(arm, style.BLACK)}
            )
            _arm(
                axes,
                rows,
                dots,
                labels,
                shift=0.8 * ((index + 0.5) / len(moving) - 0.5),
                arm=arm,
                look=look,
            )
        for arm, value in still.items():
            look = _system_look(arms.index(arm))
            axes.axvline(
                value,
                linewidth=0.9,
                linestyle="--",
                color=look["color"],
                label=arm.replace("_", " "),
                zorder=1,
            )
        chance = over.filter(pl.col("encoder") == encoder)["chance"].mean()
        axes.axvline(chance, color=style.GREY, linewidth=0.7, linestyle=":")
        axes.set_title("by coaches' grades" if found.judged else f"{style.plain(encoder)} encoder")
        words = (found.metric, found.direction.replace("_to_", " → "), found.scope)
        axes.set_xlabel(", ".join(word.replace("_", " ") for word in words))
        for edge in np.arange(len(labels) - 1) + 0.5:
            axes.axhline(edge, color="#E4E4E4", linewidth=0.5, zorder=0)
    _frame(panels[0], labels, left=None if found.judged else 0.0)
    handles, names = panels[0][-1].get_legend_handles_labels()
    figure.legend(
        handles, names, loc="outside upper left", ncols=min(5, len(names)), columnspacing=1.2
    )
    return figure


def _arms(over: pl.DataFrame) -> list[str]:
    there = over["training"].unique().to_list()
    known = [name for name in (*summary.TRAININGS, *feedback.SYSTEMS) if name in there]
    return known + sorted(set(there) - set(known))


def _still(over: pl.DataFrame) -> dict[str, float]:
    """The systems that every point has with the same mean, and that mean."""
    spread = over.group_by("training").agg(
        pl.col("mean").mean(),
        apart=pl.col("mean").max() - pl.col("mean").min(),
        points=pl.col("label").n_unique(),
    )
    same = spread.filter((pl.col("apart") < STILL) & (pl.col("points") == over["label"].n_unique()))
    return dict(same.select("training", "mean").sort("training").iter_rows())


def _system_look(place: int) -> dict[str, Any]:
    return {"color": style.CYCLE[place % len(style.CYCLE)], "marker": MARKERS[place % len(MARKERS)]}


def _frame(panels: Any, labels: list[str], *, left: float | None) -> None:
    if left is not None:
        panels[0].set_xlim(
            left=left
        )  # shared, so not before every encoder is drawn: it ends the automatic limits
    panels[0].set_yticks(
        range(len(labels)), [style.plain(label, limit=LABEL_LETTERS) for label in labels]
    )
    panels[0].set_ylim(len(labels) - 0.5, -0.5)


def _arm(
    axes: Any,
    rows: pl.DataFrame,
    dots: pl.DataFrame,
    labels: list[str],
    *,
    shift: float,
    arm: str,
    look: dict[str, Any],
) -> None:
    place, colour = {label: index + shift for index, label in enumerate(labels)}, look["color"]
    for row in rows.iter_rows(named=True):
        low, high = (
            (row["low"], row["high"])
            if row["n"] == 1
            else (row["mean"] - row["sd"], row["mean"] + row["sd"])
        )
        if low is not None and high is not None:
            axes.plot([low, high], [place[row["label"]]] * 2, color=colour, linewidth=1.0, zorder=2)
    several = dots.join(rows.filter(pl.col("n") > 1).select("label"), on="label", how="semi")
    spots = [place[label] for label in several["label"]]
    axes.scatter(
        several["value"], spots, s=7, color=colour, edgecolors="black", linewidths=0.25, zorder=3
    )
    mark = {"s": 20, "edgecolors": "black", "linewidths": 0.4, "marker": "D", "zorder": 4} | look
    axes.scatter(
        rows["mean"], [place[label] for label in rows["label"]], label=arm.replace("_", " "), **mark
    )


def shortlists_figure(depths: pl.DataFrame) -> Figure | None:
    """nDCG@k against seconds a learner over the depth of the shortlist, a line a point; None
    without any.

    The relevance model alone orders the shortlist: what it is worth where it decides. Thin lines
    are 95 % intervals over participants. With several seeds, the mean of each.
    """
    rows = depths.filter(pl.col("varied") == "alone")
    if rows.is_empty():
        return None
    figure, axes = style.figure(style.PAGE_IN, 2.8)
    columns = pl.col(feedback.NDCG, "low", "high", "seconds_a_learner").mean()
    means = rows.group_by("label", "value", maintain_order=True).agg(columns).sort("value")
    for place, label in enumerate(rows["label"].unique(maintain_order=True)):
        line, look = means.filter(pl.col("label") == label), _system_look(place)
        axes.plot(
            line["seconds_a_learner"],
            line[feedback.NDCG],
            markersize=4,
            label=style.plain(label),
            **look,
        )
        axes.vlines(
            line["seconds_a_learner"],
            line["low"],
            line["high"],
            color=look["color"],
            linewidth=0.6,
            alpha=0.6,
        )
    for value, seconds, ndcg in line.select(
        "value", "seconds_a_learner", feedback.NDCG
    ).iter_rows():
        axes.annotate(
            f"{value:g}", (seconds, ndcg), xytext=(3, 3), textcoords="offset points", fontsize=6
        )
    axes.set(
        xlabel="seconds a learner (numbers: clips that the relevance model reorders)",
        ylabel=metrics.at_k("nDCG"),
    )
    figure.legend(loc="outside right upper")
    return figure
