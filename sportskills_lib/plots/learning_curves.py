"""Learning curves, as every notebook draws them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import polars as pl

from sportskills_lib import metrics
from sportskills_lib.plots import style

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def learning_curves(
    curves: pl.DataFrame, *, score: str = "val_recall", label: str = "", chance: float | None = None
) -> Figure:
    """Training loss and the validation ``score`` by optimiser step: a line an arm, a row of panels
    an encoder.

    ``curves``: arm, step, loss, the score, perhaps encoder and trial (short runs that chose a
    learning rate: left out). Nulls and NaNs are passed over. ``label`` says what the score is, if
    not within-sport recall@k; ``chance``, what guessing scores, is drawn as a dotted line.
    """
    if "trial" in curves.columns:
        curves = curves.filter(~pl.col("trial"))
    encoders = (
        curves["encoder"].unique(maintain_order=True).to_list()
        if "encoder" in curves.columns
        else []
    )
    rows = max(1, len(encoders))
    figure, axes = style.figure(style.PAGE_IN, 0.2 + 2.2 * rows, nrows=rows, ncols=2, squeeze=False)
    meanings = {
        "loss": "training loss",
        score: label or f"within-sport {metrics.at_k('recall')} (validation)",
    }
    for row, panels in enumerate(axes):
        part = curves.filter(encoder=encoders[row]) if encoders else curves
        for panel, (column, meaning) in zip(panels, meanings.items(), strict=True):
            _lines(panel, part, column)
            panel.set(xlabel="optimiser step", ylabel=meaning)
            if column == score and chance is not None:
                panel.axhline(
                    chance, color=style.BLACK, linestyle=":", linewidth=0.8, label="chance"
                )
            if rows > 1:
                panel.set_title(style.plain(encoders[row]))
    named = {line.get_label(): line for panel in axes.ravel() for line in panel.lines}
    if named:
        figure.legend(named.values(), named.keys(), loc="outside upper left", ncols=5)
    for panel in axes[1:, 1]:
        panel.sharey(axes[0, 1])  # recalls of encoders are compared; their losses are not
    axes[0, 1].autoscale(axis="y")  # over all rows: sharing alone would keep the first one's limits
    return figure


def _lines(panel: Any, curves: pl.DataFrame, column: str) -> None:
    told = curves.filter(pl.col(column).is_not_null() & pl.col(column).is_not_nan()).sort(
        "arm", "step"
    )
    for arm, line in told.group_by("arm", maintain_order=True):
        name = str(arm[0])
        look = {
            "color": style.ARM_COLOURS.get(name, style.BLACK),
            "marker": ".",
            "label": style.plain(name),
        }
        panel.plot(line["step"], line[column], "--" if name in style.ARM_HATCHES else "-", **look)
