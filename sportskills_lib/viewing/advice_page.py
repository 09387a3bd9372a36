"""The page of advice as a pure view: a learner's clip and the clips that may help, in one file that
needs no network.

Films and strips are inside the page as data. Titles, channels, sentences, ids and file names come
from strangers: all text is escaped, an address is linked only if it is http or https, and the
page's own policy lets it load nothing and run nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

from sportskills_lib.viewing.markup import clock, document, image_tag, text, video_tag
from sportskills_lib.viewing.previews import Preview

SHOWS = {"correct": "shows how it is done", "incorrect": "shows the mistake", "none": ""}


@dataclass(frozen=True)
class Suggestion:
    """One clip of the library: its rank, its narration, and where it is from."""

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
    topic: str  # sport and skill, in words
    start_s: float
    end_s: float
    preview: Preview
    suggestions: Sequence[Suggestion]
    why: str
    notes: Sequence[str]

    def page(self) -> str:
        """The whole page."""
        count = len(self.suggestions)
        where = f"{text(self.name)}, {clock(self.start_s)} to {clock(self.end_s)}"
        you = (
            f'<section class="you"><h2>You</h2>{_film(self.preview, "your clip")}'
            f'<p class="soft">{where}</p></section>'
        )
        if count:
            title = f"{count} clip{'' if count == 1 else 's'} that may help"
            items = "".join(_item(each) for each in self.suggestions)
            right = f"<section><h2>To watch</h2><ol>{items}</ol></section>"
        else:
            title = "No clip of the library fits"
            right = f'<section><h2>Why</h2><p class="why">{text(self.why)}</p></section>'
        notes = "".join(f'<p class="sk-soft">{text(note)}</p>' for note in self.notes)
        body = f'<main class="sk-view advice">{you}{right}</main><footer class="notes">{notes}</footer>'
        return document(title, body, about=self.topic)


def _item(each: Suggestion) -> str:
    sure = "" if each.probability is None else f"{100 * each.probability:.0f} % likely to help"
    facts = (text(each.skill), SHOWS.get(each.demonstration, ""), sure)
    when = f"{clock(each.start_s)} to {clock(each.end_s)}"
    if each.link and each.link.lower().startswith(("http://", "https://")):
        when = f'<a href="{escape(each.link, quote=True)}" rel="noopener noreferrer">{when}</a>'
    source = ", ".join(filter(None, (text(each.title or each.video_id), text(each.channel))))
    narration = (
        f"<q>{text(each.narration)}</q>"
        if each.narration
        else '<span class="soft">(no narration)</span>'
    )
    return (
        f"<li><div>{_film(each.preview, f'clip {each.rank}')}</div><div>"
        f'<p><span class="rank">{each.rank}</span> {narration}</p>'
        f"<p>{' · '.join(filter(None, facts))}</p>"
        f'<p class="soft">{source}, {when}; similarity {each.similarity:.2f}</p></div></li>'
    )


def _film(preview: Preview, name: str) -> str:
    """The film, and the strip below it; the reason where there is neither."""
    if not preview.film:
        return f'<div class="none">{text("no film: " + (preview.reason or "not made"))}</div>'
    attributes = f'title="{escape(name)}" controls muted loop autoplay playsinline'
    strip = image_tag(preview.strip, alt=f"moments of {name}")
    return video_tag(preview.film, attributes) + strip
