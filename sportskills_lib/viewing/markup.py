"""HTML of the views: text from strangers (titles, captions, channels, ids, messages) made safe,
pictures and films inside the page, and whole pages that need no network.
"""

from __future__ import annotations

import base64
import io
from functools import cache
from html import escape
from pathlib import Path

from sportskills_lib.plots import style
from sportskills_lib.viewing.previews import Preview

MAX_CHARACTERS = 400  # a page must stay a page
STYLE_FILE = Path(__file__).with_name("style.css")
POLICY = (
    "default-src 'none'; img-src data:; media-src data:; style-src 'unsafe-inline'; "
    "base-uri 'none'; form-action 'none'"
)


def plain(value: object, *, limit: int = MAX_CHARACTERS) -> str:
    """``value`` truncated, without control characters or marks that reverse text: for controls,
    which escape it.
    """
    return style.plain(str(value)[: limit + 1], limit=limit)


def text(value: object, *, limit: int = MAX_CHARACTERS, bare: bool = False) -> str:
    """``value`` as HTML that can be nothing but text: escaped, truncated, without control
    characters or marks that reverse text, and isolated from its neighbours (``bare``: not isolated,
    for titles and attributes).
    """
    safe = escape(plain(value, limit=limit), quote=True)
    return safe if bare or not safe else f"<bdi>{safe}</bdi>"


def clock(seconds: float) -> str:
    """1:02.5, as players show it, to the tenth."""
    tenths = round(10 * seconds)
    minutes, rest = divmod(tenths, 600)
    hours, minutes = divmod(minutes, 60)
    end = f"{minutes:02d}:{rest / 10:04.1f}" if hours else f"{minutes}:{rest / 10:04.1f}"
    return f"{hours}:{end}" if hours else end


def image_tag(picture: bytes, *, alt: str) -> str:
    """An <img> that carries its WebP with it."""
    data = base64.b64encode(picture).decode()
    return f'<img src="data:image/webp;base64,{data}" alt="{text(alt, bare=True)}">'


def video_tag(film: bytes, attributes: str = "muted loop autoplay playsinline") -> str:
    """A <video> that carries its MP4 with it."""
    data = base64.b64encode(film).decode()
    return f'<video src="data:video/mp4;base64,{data}" {attributes}></video>'


@cache
def style_tag() -> str:
    """The style of all views, for where no widget brings it along."""
    return f"<style>{STYLE_FILE.read_text(encoding='utf-8')}</style>"


def document(title: str, body: str, *, about: str = "") -> str:
    """``body`` as a whole page that loads nothing and runs nothing; ``about`` stands below its
    title.
    """
    below = f'<p class="sk-soft">{text(about)}</p>' if about else ""
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">'
        '<meta name="viewport" content="width=device-width,initial-scale=1">'
        '<meta name="referrer" content="no-referrer">'
        f"<title>{text(title, bare=True)}</title>{style_tag()}</head>"
        f'<body class="sk-page"><h1>{text(title)}</h1>{below}{body}</body></html>\n'
    )


def film_panel(title: str, name: str, preview: Preview) -> str:
    """A film under its title, for the player of keyboard.Keyboard; the reason where there is none.
    Nothing of it names the source.
    """
    if preview.film:
        attributes = (
            f'data-name="{escape(name, quote=True)}" data-fps="{_frame_rate(preview.film):.6g}" '
            'muted playsinline preload="auto"'
        )
        content = video_tag(preview.film, attributes)
    else:
        content = f'<div class="none">{text("no film: " + (preview.reason or "not made"))}</div>'
    return f"<figure><figcaption>{text(title)}</figcaption>{content}</figure>"


def _frame_rate(film: bytes) -> float:
    """Frames per second of a film; 25 where the file does not say."""
    import av

    with av.open(io.BytesIO(film)) as container:
        rate = container.streams.video[0].average_rate
    return float(rate) if rate else 25.0
