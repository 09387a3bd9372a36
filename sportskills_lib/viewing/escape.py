"""Text from strangers on a page: titles, captions, channels, ids, messages. Every view shows it
through here.
"""

from __future__ import annotations

from html import escape

from sportskills_lib.plots import style

LONGEST = 400  # characters; a page must stay a page


def plain(value: object, *, limit: int = LONGEST) -> str:
    """``value`` cut, without control characters or marks that turn text around: for controls, which
    escape it.
    """
    return style.plain(str(value)[: limit + 1], limit=limit)


def text(value: object, *, limit: int = LONGEST, bare: bool = False) -> str:
    """``value`` as HTML that can be nothing but text: escaped, cut, without control characters or
    marks that turn text around, and isolated from the text beside it (``bare``: not isolated, for
    titles and attributes).
    """
    shown = escape(plain(value, limit=limit), quote=True)
    return shown if bare or not shown else f"<bdi>{shown}</bdi>"


def clock(seconds: float) -> str:
    """1:02.5, as players show it, to the tenth."""
    tenths = round(10 * seconds)
    minutes, rest = divmod(tenths, 600)
    hours, minutes = divmod(minutes, 60)
    end = f"{minutes:02d}:{rest / 10:04.1f}" if hours else f"{minutes}:{rest / 10:04.1f}"
    return f"{hours}:{end}" if hours else end


BASE = "body{font:14px/1.4 system-ui,sans-serif;max-width:82em;margin:1em auto;padding:0 1em}"


def document(title: str, body: str, *, css: str = "", about: str = "") -> str:
    """``body`` as a whole page that loads nothing from anywhere and runs nothing; ``about`` stands
    below its title.
    """
    below = f"<p>{text(about)}</p>" if about else ""
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta http-equiv="Content-Security-Policy" content="default-src \'none\'; img-src '
        "data:; media-src data:; "
        "style-src 'unsafe-inline'\">"
        f"<title>{text(title, bare=True)}</title><style>{BASE}{css}</style></head>"
        f"<body><h1>{text(title)}</h1>{below}{body}</body></html>\n"
    )
