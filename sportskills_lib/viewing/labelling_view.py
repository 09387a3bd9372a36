"""Gold samples as pure views: items with their film strips and the question to a person.

Texts and ids come from strangers: all are escaped (markup.text). The judge's verdict is not shown
while labelling, so that it cannot be copied.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import polars as pl

from sportskills_lib.viewing.markup import Html, document, template

Strips = Mapping[str, bytes]  # WebP by item_id, and by "<item_id> other"
HTML = template("gold.jinja")


def item(row: Mapping[str, Any], strips: Strips, *, verdicts: bool = False) -> str:
    """One item: its text, where it is from, its strip or strips; with ``verdicts`` also judge,
    confidence and label.
    """
    names = row["item_id"], f"{row['item_id']} other"
    return str(HTML.item(row, [strips[name] for name in names if name in strips], verdicts))


def sheet(ask: str, frame: pl.DataFrame, strips: Strips, *, labels: tuple[str, ...]) -> str:
    """The contact sheet of a sample, as a page of its own: what is asked, then every item by its
    number.
    """
    items = [Html(item(row, strips)) for row in frame.iter_rows(named=True)]
    return page("Gold sample", str(HTML.sheet(ask, labels, items)))


def view(body: str) -> str:
    """``body``, which is HTML, in the style of gold samples."""
    return str(HTML.view(Html(body)))


def page(title: str, body: str) -> str:
    """A whole page that loads nothing from anywhere."""
    return document(title, view(body))
