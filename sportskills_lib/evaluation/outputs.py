"""What the notebook keeps and shows: tables and figures of a stage, with a sentence where there is nothing to show."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from html import escape
from typing import TYPE_CHECKING

import polars as pl

from sportskills_lib import style
from sportskills_lib.artifacts import Stage

if TYPE_CHECKING:
    from IPython.display import HTML
    from matplotlib.figure import Figure


def keep_figures(stage: Stage, figures: Mapping[str, Figure], *, otherwise: str) -> HTML:
    """Save each figure under its name (PNG, SVG) and show them all; ``otherwise`` is shown where there is none."""
    from IPython.display import HTML

    parts = []
    for name, figure in figures.items():
        stage.save_figure(name, figure)
        data = base64.b64encode(style.png(figure)).decode()
        parts.append(f'<img alt="{escape(name)}" src="data:image/png;base64,{data}" style="max-width:100%">')
    return HTML("<br>".join(parts) or f"<p>{escape(otherwise)}</p>")


def keep_tables(stage: Stage, **tables: pl.DataFrame) -> None:
    """Save each table under its name."""
    for name, frame in tables.items():
        stage.save(name, frame)


def keep_text(stage: Stage, name: str, text: str) -> None:
    """Save a text file."""
    stage.path(name).write_text(text, encoding="utf-8")
