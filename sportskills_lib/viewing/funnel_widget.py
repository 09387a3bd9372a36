"""The funnel explorer's widget: a thin shell of keys and a field for a video id around
viewing/funnel_view.py.
"""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import ipywidgets

from sportskills_lib.runs.content_store import ContentStore
from sportskills_lib.viewing.funnel_view import EXAMPLES, Funnel, FunnelPosition
from sportskills_lib.viewing.keyboard import Action, Keyboard, is_interactive
from sportskills_lib.viewing.markup import document
from sportskills_lib.viewing.preview_loader import PreviewLoader
from sportskills_lib.viewing.previews import make_previews, preview_cache

LABELS = {
    "j": "next reason",
    "k": "previous reason",
    "n": "next examples",
    "p": "previous examples",
    "Escape": "back",
}


class FunnelWidget:
    """``widget`` is what a notebook displays; ``place`` what is looked at; :meth:`press` does what
    a key does.
    """

    def __init__(self, funnel: Funnel, *, cache: ContentStore | None = None, films: bool = True):
        self.funnel, self.place, self.films = funnel, FunnelPosition(), films
        self._filling, self._drawing = False, threading.RLock()
        labels = LABELS | {str(at): "open video" for at in range(1, EXAMPLES + 1)}
        self.keyboard, self.output = Keyboard(self._handlers(), labels), ipywidgets.HTML()
        self._spans: dict[str, Any] = {}
        self.strips = PreviewLoader(
            self._spans.get,
            cache=cache,
            ready=self._draw,
            failed=self.keyboard.show_error,
            strips=True,
        )
        self.video = ipywidgets.Text(
            description="video id",
            placeholder="why is it not here?",
            continuous_update=False,
            layout={"width": "32em", "max_width": "100%"},
        )
        self.video.observe(self.keyboard.guard(self._find_video), "value")
        self.widget = self.keyboard.box(self.video, self.keyboard, self.output)
        self.go(self.place)

    def press(self, key: str) -> str:
        """Do what a key does, raise what it raised, and return the HTML shown."""
        self.keyboard.press(key)
        return str(self.output.value)

    def go(self, place: FunnelPosition) -> None:
        """Show this place; strips follow when they are made."""
        self.place = place
        self._filling = True
        self.video.value = place.video
        self._filling = False
        self._draw()
        if self.films:
            self._spans.clear()
            self._spans.update((span.name, span) for span in self.funnel.spans(place))
            self.strips.want(list(self._spans))

    def _find_video(self, change: Any) -> None:
        if not self._filling:
            item_id = change["new"].strip()  # of a video, a clip or a sentence
            self.go(
                FunnelPosition(self.place.reason, self.place.page, self.funnel.video_of(item_id))
            )

    def _draw(self) -> None:
        with self._drawing:  # a key and the strips' thread may draw at the same time
            self.output.value = self.funnel.html(self.place, self.strips.have())

    def _handlers(self) -> dict[str, Action]:
        funnel = self.funnel
        moves: dict[str, Action] = {
            "j": lambda: self.go(funnel.moved(self.place, 1)),
            "k": lambda: self.go(funnel.moved(self.place, -1)),
            "n": lambda: self.go(funnel.paged(self.place, 1)),
            "p": lambda: self.go(funnel.paged(self.place, -1)),
            "Escape": lambda: self.go(FunnelPosition(self.place.reason, self.place.page)),
        }
        return moves | {str(at): self._open(at) for at in range(1, EXAMPLES + 1)}

    def _open(self, example: int) -> Action:
        return lambda: self.go(self.funnel.opened(self.place, example))


def explore_here(funnel: Funnel, video: str = "", *, keep: Path, about: str = "") -> Any:
    """The explorer in an interactive notebook; headless overview, examples and the way of ``video``
    as static HTML.

    That page is written to ``keep`` in both, ``about`` in its title (Stage.about).
    """
    from IPython.display import HTML

    shown = page(funnel, video)
    keep.write_text(document("Funnel explorer", shown, about=about), encoding="utf-8")
    return FunnelWidget(funnel, cache=preview_cache()).widget if is_interactive() else HTML(shown)


def page(funnel: Funnel, video: str = "") -> str:
    """What a headless run shows: overview, examples with film strips, and the way of ``video`` (see
    Funnel.cases).
    """
    places = funnel.cases(video)
    spans = {span.name: span for place in places for span in funnel.spans(place)}
    made = make_previews(list(spans.values()), cache=preview_cache(), films=False)
    return funnel.page(
        places, {name: preview.strip for name, preview in made.items() if preview.strip}
    )
