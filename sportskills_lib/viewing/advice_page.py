"""The page of advice as a pure view: a learner's clip and the clips that may help, in one file that
needs no network.

Films and strips are inside the page as data. Titles, channels, sentences, ids and file names come
from strangers: all text is escaped, an address is linked only if it is http or https, and the
page's own policy lets it load nothing and run nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sportskills_lib.viewing.markup import document, template
from sportskills_lib.viewing.previews import Preview


@dataclass(frozen=True)
class AdviceView:
    """All that the page shows. ``why`` says why there is no suggestion; ``notes`` how the page came
    about.

    A suggestion is a clip's row (video_id, start_s, end_s, skill, demonstration) with its rank,
    narration, title, channel, link (None: no address), similarity, probability (None: not
    calibrated) and preview.
    """

    name: str  # the learner's file
    topic: str  # sport and skill, in words
    start_s: float
    end_s: float
    preview: Preview
    suggestions: Sequence[dict[str, Any]]
    why: str
    notes: Sequence[str]
    # what may be wrong, in words said of a similar attempt, and how likely it is (None: not known)
    mistake: tuple[str, float | None] | None = None

    def page(self) -> str:
        """The whole page."""
        count = len(self.suggestions)
        title = f"{count} clip{'' if count == 1 else 's'} that may help"
        body = template("advice.jinja").page(self)
        return document(title if count else "No clip of the library fits", body, about=self.topic)
