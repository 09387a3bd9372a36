"""What the notebook keeps and shows: tables and figures of a stage, with a sentence where there is nothing to show."""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING

import polars as pl

from sportskills_lib.artifacts import Stage
from sportskills_lib.evaluation import summary
from sportskills_lib.evaluation.sport_figures import Page

if TYPE_CHECKING:
    from IPython.display import HTML
    from matplotlib.figure import Figure


def keep_figures(stage: Stage, figures: Mapping[str, Figure], *, otherwise: str) -> HTML:
    """Save each figure under its name (PNG, SVG) and show them all; ``otherwise`` is shown where there is none."""
    from IPython.display import HTML

    parts = []
    for name, figure in figures.items():
        figure.draw_without_rendering()
        figure.set_layout_engine("none")  # laid out once: each file would do it again
        stage.save_figure(name, figure)
        data = base64.b64encode(_halved(stage.path(f"figures/{name}.png"))).decode()
        parts.append(f'<img alt="{escape(name)}" src="data:image/png;base64,{data}" style="max-width:100%">')
    return HTML("<br>".join(parts) or f"<p>{escape(otherwise)}</p>")


def _halved(path: Path) -> bytes:
    """The picture at half its size: for a screen, without drawing the figure again."""
    from PIL import Image

    file = io.BytesIO()
    with Image.open(path) as picture:
        picture.convert("RGB").reduce(2).save(file, format="png")
    return file.getvalue()


def keep_tables(stage: Stage, **tables: pl.DataFrame) -> None:
    """Save each table under its name."""
    for name, frame in tables.items():
        stage.save(name, frame)


def keep_pages(stage: Stage, pages: Mapping[str, Page], *, otherwise: str) -> HTML:
    """As :func:`keep_figures`, with the rows that each figure draws beside it (CSV, LaTeX)."""
    for name, page in pages.items():
        write_data(stage.path(f"figures/{name}.csv").parent, name, page.data)
    return keep_figures(stage, {name: page.figure for name, page in pages.items()}, otherwise=otherwise)


def write_data(folder: Path, name: str, frame: pl.DataFrame, *, caption: str = "") -> list[Path]:
    """``<name>.csv`` with all digits and ``<name>.tex`` with three."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = [folder / f"{name}.csv", folder / f"{name}.tex"]
    frame.write_csv(paths[0])
    shown = frame.with_columns(pl.col(pl.Float64).round(3)).rename(lambda column: column.replace("_", " "))
    paths[1].write_text(summary.latex(shown, caption=caption or name.replace("_", " ") + "."), encoding="utf-8")
    return paths


def write_page(folder: Path, name: str, figure: Figure, frame: pl.DataFrame, *, caption: str = "") -> list[Path]:
    """A figure (PNG, SVG) and its rows (CSV, LaTeX) in any folder; what was written."""
    written = write_data(folder, name, frame, caption=caption)
    for suffix in ("png", "svg"):
        written.append(folder / f"{name}.{suffix}")
        figure.savefig(written[-1])
    return written


def keep_text(stage: Stage, name: str, text: str) -> None:
    """Save a text file."""
    stage.path(name).write_text(text, encoding="utf-8")
