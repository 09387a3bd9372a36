"""The page of advice as a pure view: a learner's clip beside the clips that may help, in one file
without a network.

Films and strips are inside the page as data. Titles, channels, sentences, ids and file names come
from strangers: all text is escaped, an address is linked only if it is http or https, and the
page's own policy lets it load nothing and run nothing.
"""

from __future__ import annotations

import base64
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

from sportskills_lib.viewing.escape import clock, text
from sportskills_lib.viewing.pictures import image_tag
from sportskills_lib.viewing.previews import Preview

POLICY = (
    "default-src 'none'; img-src data:; media-src data:; style-src 'unsafe-inline'; "
    "base-uri 'none'; form-action 'none'"
)
SHOWS = {"correct": "shows how it is done", "incorrect": "shows the mistake", "none": ""}
CSS = """
:root{color-scheme:light dark;--line:#8885;--soft:#666;--mark:#0072B2}
@media(prefers-color-scheme:dark){:root{--soft:#aaa;--mark:#56B4E9}}
body{font:16px/1.45 system-ui,sans-serif;margin:0 auto;padding:1.2em;max-width:76em}
h1{font-size:1.4em;margin:0 0 .2em}h2{font-size:1.05em;margin:0 0 .5em}
p{margin:.3em 0}.soft{color:var(--soft);font-size:.86em}
main{display:grid;grid-template-columns:minmax(15em,22em) minmax(0,1fr);gap:1.6em;margin-top:1.2em;align-items:start}
@media(max-width:48em){main{grid-template-columns:1fr}.you{position:static!important}}
.you{position:sticky;top:1em}
video,.none{display:block;width:100%;max-height:70vh;border-radius:6px;background:#000}
.none{aspect-ratio:16/9;background:#8882;color:var(--soft);display:grid;place-content:center;padding:1em;
box-sizing:border-box;font-size:.86em;text-align:center}
img{display:block;width:100%;margin-top:4px;border-radius:4px}
ol{list-style:none;margin:0;padding:0}
li{display:grid;grid-template-columns:minmax(12em,20em) minmax(0,1fr);gap:1.1em;padding:0 0 1.1em;margin:0 0 1.1em;
border-bottom:1px solid var(--line)}
@media(max-width:60em){li{grid-template-columns:1fr}}
q{font-size:1.12em;font-weight:600;overflow-wrap:anywhere}
.rank{color:var(--mark);font-weight:700}.where,.say{overflow-wrap:anywhere}
.why{border:2px solid var(--mark);border-radius:6px;padding:.8em 1em}
footer{border-top:1px solid var(--line);padding-top:.6em;margin-top:.6em}
"""


@dataclass(frozen=True)
class Suggestion:
    """One clip of the library, with its place, what its coach says, and where it is from."""

    rank: int
    narration: str
    demonstration: str
    skill: str
    title: str
    channel: str
    video_id: str
    start_s: float
    end_s: float
    link: str | None
    similarity: float
    probability: float | None
    preview: Preview


@dataclass(frozen=True)
class AdviceView:
    """All that the page shows. ``why`` says why there is no suggestion; ``notes`` how the page came
    about.
    """

    name: str  # the learner's file
    asked: str  # sport and skill, in words
    start_s: float
    end_s: float
    preview: Preview
    suggestions: Sequence[Suggestion]
    why: str
    notes: Sequence[str]

    def page(self) -> str:
        """The whole page."""
        head = (
            '<!doctype html><html lang="en"><head><meta charset="utf-8">'
            f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">'
            '<meta name="viewport" content="width=device-width,initial-scale=1">'
            '<meta name="referrer" content="no-referrer">'
            "<title>Clips to watch: "
            f"{text(self.asked, bare=True)}</title><style>{CSS}</style></head><body>"
        )
        count = len(self.suggestions)
        told = (
            f"{count} clip{'' if count == 1 else 's'} that may help"
            if count
            else "Nothing in the library fits"
        )
        top = f'<h1>{told}</h1><p class="soft">{text(self.asked)}</p>'
        where = f"{text(self.name)}, {clock(self.start_s)} to {clock(self.end_s)}"
        you = (
            f'<section class="you"><h2>You</h2>{_film(self.preview, "your clip")}'
            f'<p class="soft where">{where}</p></section>'
        )
        items = "".join(_item(each) for each in self.suggestions)
        body = f"<ol>{items}</ol>" if count else f'<p class="why">{text(self.why)}</p>'
        notes = "".join(f'<p class="soft">{text(note)}</p>' for note in self.notes)
        right = f"<section><h2>{'To watch' if count else 'Why'}</h2>{body}</section>"
        return f"{head}{top}<main>{you}{right}</main><footer>{notes}</footer></body></html>\n"


def _item(each: Suggestion) -> str:
    shown = [text(each.skill), SHOWS.get(each.demonstration, "")]
    sure = "" if each.probability is None else f"{100 * each.probability:.0f} % likely to help"
    first = " · ".join(part for part in (*shown, sure) if part)
    at = f"{clock(each.start_s)} to {clock(each.end_s)}"
    when = (
        f'<a href="{escape(each.link, quote=True)}" rel="noopener noreferrer">{at}</a>'
        if each.link and _is_web(each.link)
        else at
    )
    source = ", ".join(
        part for part in (text(each.title or each.video_id), text(each.channel)) if part
    )
    said = (
        f"<q>{text(each.narration)}</q>"
        if each.narration
        else '<span class="soft">(nothing is said)</span>'
    )
    return (
        f"<li><div>{_film(each.preview, f'clip {each.rank}')}</div><div>"
        f'<p class="say"><span class="rank">{each.rank}</span> {said}</p><p>{first}</p>'
        f'<p class="soft where">{source}, {when}; similarity {each.similarity:.2f}</p></div></li>'
    )


def _film(preview: Preview, name: str) -> str:
    """The film, and the strip below it; the reason where there is neither."""
    if not preview.film:
        return f'<div class="none">{text("no film of it: " + (preview.reason or "not made"))}</div>'
    data, options = (
        base64.b64encode(preview.film).decode(),
        "controls muted loop autoplay playsinline",
    )
    return (
        f'<video src="data:video/mp4;base64,{data}" title="{escape(name)}" {options}></video>'
        f"{image_tag(preview.strip, alt=f'moments of {name}')}"
    )


def _is_web(link: str) -> bool:
    return link.lower().startswith(("http://", "https://"))
