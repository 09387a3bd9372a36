"""What the notebook keeps and shows: tables and figures of a stage, with a sentence where there is
nothing to show.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Any

import polars as pl
from IPython.display import HTML
from matplotlib.figure import Figure

from sportskills_lib.evaluation import summary
from sportskills_lib.formats.files import write_csv
from sportskills_lib.plots import style
from sportskills_lib.runs.artifacts import Stage

LATEX_ROWS = 1000  # nobody sets a longer table; its CSV holds all rows


@dataclass(frozen=True)
class Page:
    """A figure and the rows that it draws."""

    figure: Figure
    data: pl.DataFrame


def optional(
    name: str, draw: Callable[..., Figure], table: pl.DataFrame, *rest: Any, **options: Any
) -> dict[str, Page]:
    """``draw(table, …)`` with its rows under ``name``, or nothing where the table is empty."""
    return {} if table.is_empty() else {name: Page(draw(table, *rest, **options), table)}


def keep_pages(stage: Stage, pages: Mapping[str, Page], *, otherwise: str) -> HTML:
    """Save each figure under its name (PNG, SVG, PDF), the rows that it draws beside it (CSV,
    LaTeX), and show them.

    Each is shown over its name. ``otherwise`` is shown where there is none.
    """
    parts = []
    for name, page in pages.items():
        write_data(stage.path(f"figures/{name}.csv").parent, name, page.data)
        page.figure.draw_without_rendering()
        page.figure.set_layout_engine("none")  # laid out once: each file would do it again
        style.save_figure(stage, name, page.figure)
        data = style.data_url(halved(stage.path(f"figures/{name}.png")), "image/png")
        picture = f'<img alt="{escape(name)}" src="{data}" style="max-width:100%">'
        look = "color:var(--jp-ui-font-color2,#666)"
        parts.append(f'{picture}<br><small style="{look}">figures/{escape(name)}</small>')
    return HTML("<br><br>".join(parts) or f"<p>{escape(otherwise)}</p>")


def halved(path: Path) -> bytes:
    """The picture at half its size, as PNG: for a screen, without drawing the figure again."""
    from PIL import Image

    file = io.BytesIO()
    with Image.open(path) as picture:
        picture.convert("RGB").reduce(2).save(file, format="png")
    return file.getvalue()


def keep_tables(stage: Stage, **tables: pl.DataFrame) -> None:
    """Save each table under its name."""
    for name, frame in tables.items():
        stage.save(name, frame)


def write_data(folder: Path, name: str, frame: pl.DataFrame, *, caption: str = "") -> list[Path]:
    """``<name>.csv`` with all digits and, up to LATEX_ROWS rows, ``<name>.tex`` with three."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = [folder / f"{name}.csv", folder / f"{name}.tex"]
    write_csv(paths[0], frame)
    if frame.height > LATEX_ROWS:
        paths.pop().unlink(missing_ok=True)
        return paths
    shown = frame.with_columns(pl.col(pl.Float64).round(3)).rename(
        lambda column: column.replace("_", " ")
    )
    paths[1].write_text(
        summary.latex(shown, caption=caption or name.replace("_", " ") + "."), encoding="utf-8"
    )
    return paths


def write_page(
    folder: Path,
    name: str,
    page: Page,
    *,
    facts: Mapping[str, str],
    caption: str = "",
    suffixes: Sequence[str] = style.SUFFIXES,
) -> list[Path]:
    """A figure with ``facts`` in its metadata, and its rows (CSV, LaTeX), in any folder; what was
    written.
    """
    written = write_data(folder, name, page.data, caption=caption)
    return written + [
        style.save(page.figure, folder / f"{name}.{suffix}", facts) for suffix in suffixes
    ]
