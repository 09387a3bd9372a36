"""HTML of the views: templates whose every value is made safe, text from strangers (titles,
captions, channels, ids, messages) first of all, and whole pages that need no network.

A template (``*.jinja``, beside this module) holds the macros of one view. What it prints passes
:func:`text`, unless it is a number or markup already; in an attribute it has to say ``|bare``.
"""

from __future__ import annotations

import io
from functools import cache
from html import escape
from pathlib import Path
from typing import Any

import jinja2

from sportskills_lib.plots import style

MAX_CHARACTERS = 400  # a page must stay a page
STYLE_FILE = Path(__file__).with_name("style.css")


class Html(str):
    """Text that is HTML already: a template prints it as it is."""

    def __html__(self) -> str:
        return self


def plain(value: object, *, limit: int = MAX_CHARACTERS) -> str:
    """``value`` truncated, without control characters or marks that reverse text: for controls,
    which escape it.
    """
    return style.plain(str(value)[: limit + 1], limit=limit)


def text(value: object, limit: int = MAX_CHARACTERS, *, bare: bool = False) -> Html:
    """``value`` as HTML that can be nothing but text: escaped, truncated, without control
    characters or marks that reverse text, and isolated from its neighbours (``bare``: not isolated,
    for titles and attributes).
    """
    safe = escape(plain(value, limit=limit), quote=True)
    return Html(safe if bare or not safe else f"<bdi>{safe}</bdi>")


def clock(seconds: float) -> str:
    """1:02.5, as players show it, to the tenth."""
    minutes, tenths = divmod(round(10 * seconds), 600)
    hours, minutes = divmod(minutes, 60)
    begin = f"{hours}:{minutes:02d}" if hours else f"{minutes}"
    return f"{begin}:{tenths / 10:04.1f}"


@cache
def style_tag() -> Html:
    """The style of all views, for where no widget brings it along."""
    return Html(f"<style>{STYLE_FILE.read_text(encoding='utf-8')}</style>")


def template(name: str) -> Any:
    """The macros of a template as functions that return HTML; a value that they lack is an
    error.
    """
    return _templates().get_template(name).module


def document(title: str, body: str, *, about: str = "") -> str:
    """``body``, which is HTML, as a whole page that loads nothing and runs nothing; ``about``
    stands below its title.
    """
    return str(template("markup.jinja").document(title, Html(body), about, style_tag()))


@cache
def _templates() -> jinja2.Environment:
    made = jinja2.Environment(
        loader=jinja2.FileSystemLoader(STYLE_FILE.parent),
        autoescape=True,
        finalize=_printed,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters |= {
        "text": text,
        "clock": clock,
        "data": lambda content, kind: Html(style.data_url(content, kind)),
        "frame_rate": _frame_rate,
    }
    made.filters["bare"] = lambda value: text(value, bare=True)
    return made


def _printed(value: Any) -> Any:
    """What a template prints in place of ``value``."""
    return value if hasattr(value, "__html__") or isinstance(value, int | float) else text(value)


def _frame_rate(film: bytes) -> float:
    """Frames per second of a film; 25 where the file does not say."""
    import av

    with av.open(io.BytesIO(film)) as container:
        rate = container.streams.video[0].average_rate
    return float(rate) if rate else 25.0
