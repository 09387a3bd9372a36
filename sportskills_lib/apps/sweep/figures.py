"""A sweep as one figure: every point a line, every arm or system a mark on it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

from sportskills_lib.apps.sweep.grid import Sweep
from sportskills_lib.apps.sweep.results import metric_shown, over_seeds
from sportskills_lib.evaluation import feedback, summary
from sportskills_lib.plots import style

if TYPE_CHECKING:
    from matplotlib.figure import Figure

LABEL_LETTERS = 44  # of a point's label in a figure
MARKERS = "oDs^vPX<>"  # of systems, in their order: told apart without colour, too
STILL = 1e-3  # a system whose mean differs by less between all points is the same at each


def points_figure(found: Sweep, measured: pl.DataFrame) -> Figure | None:
    """A panel an encoder, a line a point: each arm's mean over seeds, ± sd, with its seeds as dots;
    None without any.

    With one seed the bar is the 95 % interval of 05 instead. Where systems are judged by grades,
    those that no point changes are drawn once, as lines from top to bottom.
    """
    over = over_seeds(measured.drop_nulls("value"))
    encoders, labels = sorted(over["encoder"].unique()), found.labels
    if not encoders:
        return None
    arms = summary.ordered(over["training"], (*summary.TRAININGS, *feedback.SYSTEMS))
    still = _still(over) if found.judged and len(labels) > 1 else {}
    moving = [arm for arm in arms if arm not in still]
    height = 0.9 + 0.13 * len(labels) * (len(moving) + 1)
    figure, panels = style.figure(
        style.PAGE_IN, height, ncols=len(encoders), sharex=True, sharey=True, squeeze=False
    )
    for axes, encoder in zip(panels[0], encoders, strict=True):
        own, seeds = over.filter(encoder=encoder), measured.filter(encoder=encoder)
        for place, arm in enumerate(arms):
            colour, marker = style.ARM_COLOURS.get(arm, style.BLACK), "D"
            if found.judged:
                colour = style.CYCLE[place % len(style.CYCLE)]
                marker = MARKERS[place % len(MARKERS)]
            look = {"color": colour, "label": arm.replace("_", " ")}
            if arm in still:
                axes.axvline(still[arm], linewidth=0.9, linestyle="--", zorder=1, **look)
            else:
                look["marker"] = marker
                shift = 0.8 * ((moving.index(arm) + 0.5) / len(moving) - 0.5)
                lines = {label: index + shift for index, label in enumerate(labels)}
                _draw_arm(axes, own.filter(training=arm), seeds.filter(training=arm), lines, look)
        axes.axvline(own["chance"].mean(), color=style.GREY, linewidth=0.7, linestyle=":")
        axes.set_title("by coaches' grades" if found.judged else f"{style.plain(encoder)} encoder")
        axes.set_xlabel(metric_shown(found).replace("_", " "))
        axes.hlines(np.arange(len(labels) - 1) + 0.5, 0, 1, transform=axes.get_yaxis_transform(),
                    color="#E4E4E4", linewidth=0.5, zorder=0)  # fmt: skip
    names = [style.plain(label, limit=LABEL_LETTERS) for label in labels]
    panels[0][0].set_yticks(range(len(labels)), names)
    panels[0][0].set_ylim(len(labels) - 0.5, -0.5)
    if not found.judged:
        panels[0][0].set_xlim(left=0.0)  # shared, and the end of automatic limits: drawn last
    handles, names = panels[0][-1].get_legend_handles_labels()
    figure.legend(
        handles, names, loc="outside upper left", ncols=min(5, len(names)), columnspacing=1.2
    )
    return figure


def _still(over: pl.DataFrame) -> dict[str, float]:
    """The systems that every point has with the same mean, and that mean."""
    mean, points = pl.col("mean"), over["label"].n_unique()
    spread = over.group_by("training", maintain_order=True).agg(
        mean.mean(), apart=mean.max() - mean.min(), points=pl.len()
    )
    same = spread.filter(pl.col("apart") < STILL, points=points)
    return dict(same.select("training", "mean").iter_rows())


def _draw_arm(
    axes: Any,
    over: pl.DataFrame,
    seeds: pl.DataFrame,
    lines: dict[str, float],
    look: dict[str, Any],
) -> None:
    """Bars, seeds and means of one arm; ``lines``: the height of each point."""
    mean, sd, alone = pl.col("mean"), pl.col("sd"), pl.col("n") == 1
    low = pl.when(alone).then("low").otherwise(mean - sd)
    high = pl.when(alone).then("high").otherwise(mean + sd)
    bars = over.select("label", low=low, high=high).drop_nulls()
    heights, of_seeds, of_bars = (
        [lines[label] for label in table["label"]] for table in (over, seeds, bars)
    )
    axes.hlines(of_bars, bars["low"], bars["high"], color=look["color"], linewidth=1.0, zorder=2)
    edge = {"edgecolors": "black", "zorder": 3}
    axes.scatter(seeds["value"], of_seeds, s=7, color=look["color"], linewidths=0.25, **edge)
    axes.scatter(over["mean"], heights, s=20, linewidths=0.4, **edge | look)
