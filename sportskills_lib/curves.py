"""Learning curves, as every notebook draws them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import polars as pl

from sportskills_lib import style

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def learning_curves(curves: pl.DataFrame, *, score: str = "val_recall", label: str = "") -> Figure:
    """Training loss and the validation ``score`` by optimiser step, a line an arm.

    ``curves``: arm, step, loss, the score and perhaps trial (short runs that chose a learning rate: left out). Nulls
    and NaNs are passed over. ``label`` says what the score is, if not within-sport recall@10.
    """
    if "trial" in curves.columns:
        curves = curves.filter(~pl.col("trial"))
    figure, axes = style.figure(style.PAGE_IN, 2.4, ncols=2)
    panels = {"loss": "training loss", score: label or "within-sport recall@10 (validation)"}
    for panel, (column, meaning) in zip(axes, panels.items(), strict=True):
        told = curves.filter(pl.col(column).is_not_null() & pl.col(column).is_not_nan()).sort("arm", "step")
        for arm, line in told.group_by("arm", maintain_order=True):
            name = str(arm[0])
            look = {"color": style.ARM_COLOURS.get(name, style.BLACK), "marker": ".", "label": style.plain(name)}
            panel.plot(line["step"], line[column], "--" if name in style.ARM_HATCHES else "-", **look)
        panel.set(xlabel="optimiser step", ylabel=meaning)
    if axes[0].lines:
        axes[0].legend()
    return figure
