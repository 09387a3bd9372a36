"""Gold samples as pure views: items with their film strips, the question to a person, and the
scores of the judges.

Texts and ids come from strangers: all are escaped (markup.text). The judge's verdict is not shown
while labelling, so that it cannot be copied.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import polars as pl

from sportskills_lib.viewing.markup import document, image_tag, text

Strips = Mapping[str, bytes]  # WebP by item_id, and by "<item_id> other"


def item(row: Mapping[str, Any], strips: Strips, *, verdicts: bool = False) -> str:
    """One item: its text, where it is from, its strip or strips; with ``verdicts`` also judge,
    confidence and label.
    """
    parts = [f'<p class="said">{text(row["text"])}</p>']
    for suffix in ("", " other"):
        if (strip := strips.get(row["item_id"] + suffix)) is not None:
            parts.append(image_tag(strip, alt="film strip"))
    span = "" if row["start_s"] is None else f", {row['start_s']:.1f} to {row['end_s']:.1f} s"
    where = f"{row['sport'] or ''} · {row['video_id'] or ''}{span} · {row['item_id']}"
    parts.append(f'<p class="where">{text(where)}</p>')
    if verdicts:
        parts.append(f"<p>judge: {verdict(row)}, label: <b>{text(row['label'])}</b></p>")
    return f"<article>{''.join(parts)}</article>"


def verdict(row: Mapping[str, Any]) -> str:
    """The judge's verdict on an item with its confidence."""
    sure = "" if row["confidence"] is None else f" ({row['confidence']:.2f})"
    return f"<b>{text(row['verdict'] or 'none')}</b>{sure}"


def sheet(ask: str, frame: pl.DataFrame, strips: Strips, *, labels: tuple[str, ...]) -> str:
    """The contact sheet of a sample, as a page of its own: what is asked, then every item by its
    number.
    """
    items = "".join(
        f'<h2 id="i{number}">{number}</h2>{item(row, strips)}'
        for number, row in enumerate(frame.iter_rows(named=True), 1)
    )
    ways = (
        f"<p>{text(ask)} Write one of: {text(', '.join(labels))} into the column "
        "<i>label</i> of the CSV.</p>"
    )
    return page("Gold sample", ways + items)


def scores(frame: pl.DataFrame) -> str:
    """Precision and recall with their intervals, as a table."""
    rows = []
    for sport, kind, measure, value, low, high, n in frame.iter_rows():
        figures = ("–", "–") if value is None else (f"{value:.3f}", f"{low:.3f} to {high:.3f}")
        rows.append((sport, kind, measure, *figures, str(n)))
    return table(("sport", "class", "measure", "value", "95 % interval", "items"), rows)


def compared(frame: pl.DataFrame) -> str:
    """Two judges in pairs (auditing.scoring.compare), as a table."""
    rows = [
        (
            row["sport"],
            f"{row['difference']:+.3f}",
            f"{row['low']:+.3f} to {row['high']:+.3f}",
            *(str(row[name]) for name in ("n", "both", "only_one", "only_other", "neither")),
            f"{row['p_value']:.3g}",
        )
        for row in frame.iter_rows(named=True)
    ]
    head = (
        "sport",
        "difference of shares right",
        "95 % interval",
        "items",
        "both right",
        ("only the first"),
        "only the second",
        "neither",
        "McNemar p",
    )
    return table(head, rows)


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table of texts."""
    cells = [f"<tr>{''.join(f'<td>{text(cell)}</td>' for cell in row)}</tr>" for row in rows]
    return f"<table><tr>{''.join(f'<th>{text(cell)}</th>' for cell in head)}</tr>{''.join(cells)}</table>"


def view(body: str) -> str:
    """``body`` in the style of gold samples."""
    return f'<div class="sk-view gold">{body}</div>'


def page(title: str, body: str) -> str:
    """A whole page that loads nothing from anywhere."""
    return document(title, view(body))
