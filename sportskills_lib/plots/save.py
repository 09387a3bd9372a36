"""A stage's figures as files. Only this module knows both a stage and how a figure looks, so that a
changed colour concerns no table.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sportskills_lib.plots import style

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from sportskills_lib.runs.artifacts import Stage


def save_figure(stage: Stage, name: str, figure: Figure) -> None:
    """Write ``figures/<name>`` as PNG, SVG and PDF, each with the stage's facts in its metadata."""
    for suffix in style.SUFFIXES:
        style.save(figure, stage.path(f"figures/{name}.{suffix}"), stage.facts)
