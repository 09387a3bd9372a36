"""Learning curves of the arms."""

from __future__ import annotations

from typing import TYPE_CHECKING

import polars as pl

from sportskills_lib import style

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def learning_curves(curves: pl.DataFrame) -> Figure:
    """Training loss and validation recall@10 by step, a line an arm; the trials before the training are left out."""
    figure, axes = style.figure(style.PAGE_IN, 2.4, ncols=2)
    for arm, rows in sorted(curves.filter(~pl.col("trial")).sort("step").group_by("arm"), key=lambda group: group[0]):
        look = {"color": style.ARM_COLOURS.get(str(arm[0]), style.BLACK), "label": style.plain(str(arm[0]))}
        told = rows.drop_nulls("loss")
        axes[0].plot(told["step"], told["loss"], **look)
        axes[1].plot(rows["step"], rows["val_recall"], **look)
    axes[0].set(xlabel="optimiser step", ylabel="contrastive loss (training)")
    axes[1].set(xlabel="optimiser step", ylabel="within-sport recall@10 (validation)")
    if axes[0].lines:
        axes[0].legend(frameon=False)
    return figure
