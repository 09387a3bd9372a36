"""Pages that open from a file with no network: templates, and the figures that they show.

The templates (``*.jinja``) lie beside this module: ``page.jinja`` is the frame, ``parts.jinja``
holds what all pages show. They escape all text. Pictures are in the page, at the size at which
they are shown; films, tables and the figures' files lie beside it.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import polars as pl
from jinja2 import Environment, FileSystemLoader, StrictUndefined

from sportskills_lib import metrics
from sportskills_lib.formats.files import write_whole
from sportskills_lib.plots import notebook_tables, style
from sportskills_lib.report import figures, save
from sportskills_lib.runs import artifacts

PAGE_DPI, WIDEST_PX = 140, 1040  # pixels of the page for an inch in print; of a figure, at most
FILES = (*style.SUFFIXES, "csv", "tex")
LONGEST = 300  # letters of a stranger's text beside a film


def environment() -> Environment:
    """The templates with what they call; text is escaped, and an unknown name is an error."""
    made = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters |= {
        "cells": notebook_tables.text_rows,
        "data_url": style.data_url,
        "grade_colour": figures.grade_colour,
        "plain": partial(style.plain, limit=LONGEST),
    }
    made.globals |= {
        "headline_k": metrics.HEADLINE_K,
        "recall_at_k": metrics.at_k("recall"),
        "ndcg_at_k": metrics.at_k("nDCG"),
        "mark_signs": figures.MARK_SIGNS,
        "mark_colours": figures.MARK_COLOURS,
    }
    return made


def write(template: str, place: Path, films: pl.DataFrame, **content: Any) -> Path:
    """``place/index.html`` from the template and its content; returns the page.

    Figures are looked for in ``place/figures``, and ``films`` (rows of report_films) must lie in
    ``place/previews``.
    """
    page = (
        environment()
        .get_template(template)
        .render(
            content,
            films={row["item_id"]: row for row in films.iter_rows(named=True)},
            picture=partial(picture, place / "figures"),
            now=artifacts.provenance(),
        )
    )
    write_whole(place / "index.html", page)
    return place / "index.html"


def picture(folder: Path, name: str) -> dict[str, Any] | None:
    """The figure of that name in ``folder``: data (URL), width_px, kinds of its files; None without
    one.
    """
    from PIL import Image

    path = folder / f"{name}.png"
    if not path.is_file():
        return None
    with Image.open(path) as opened:
        width_in = opened.width / opened.info.get("dpi", (72, 72))[0]
    return {
        "data": style.data_url(save.halved(path), "image/png"),
        "width_px": min(round(width_in * PAGE_DPI), WIDEST_PX),
        "kinds": [kind for kind in FILES if path.with_suffix(f".{kind}").is_file()],
    }
