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
from sportskills_lib.viewing.previews import PreviewLoader, Span, make_previews, preview_cache


class FunnelWidget:
    """``widget`` is what a notebook displays; ``place`` what is looked at; the keys are
    ``keyboard``'s.
    """

    def __init__(self, funnel: Funnel, *, cache: ContentStore | None = None, films: bool = True):
        self.funnel, self.films, self._drawing = funnel, films, threading.RLock()
        self.keyboard, self.output = Keyboard(self._keys()), ipywidgets.HTML()
        self._spans: dict[str, Span] = {}
        self.strips = PreviewLoader(
            lambda item: self._spans.get(item),
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
        self.video.observe(self.keyboard.guard()(self._find_video), "value")
        self.widget = self.keyboard.box(self.video, self.keyboard, self.output)
        self.examples = FunnelPosition()  # those that were looked at last
        self.go(self.examples)

    def go(self, place: FunnelPosition) -> None:
        """Show this place; strips follow when they are made."""
        self.place, self.examples = place, self.examples if place.video else place
        self.video.value = place.video
        self._draw()
        if self.films:
            self._spans = {span.name: span for span in self.funnel.spans(place)}
            self.strips.want(list(self._spans))

    def _find_video(self, change: Any) -> None:
        if change["new"] != self.place.video:  # typed: the id of a video, a clip or a sentence
            video = self.funnel.video_of(change["new"].strip())
            self.go(FunnelPosition(self.place.reason, video=video))

    def _draw(self) -> None:
        with self._drawing:  # a key and the strips' thread may draw at the same time
            self.output.value = self.funnel.html(self.place, self.strips.loaded)

    def _keys(self) -> dict[str, tuple[str, Action]]:
        def open_example(number: int) -> Action:
            return lambda: self.go(self.funnel.opened(self.place, number))

        return {
            "j": ("next reason", lambda: self.go(self.funnel.moved(self.place, 1))),
            "k": ("previous reason", lambda: self.go(self.funnel.moved(self.place, -1))),
            "n": ("next examples", lambda: self.go(self.funnel.paged(self.place, 1))),
            "p": ("previous examples", lambda: self.go(self.funnel.paged(self.place, -1))),
            "Escape": ("back", lambda: self.go(self.examples)),
            **{str(at): ("open video", open_example(at)) for at in range(1, EXAMPLES + 1)},
        }


def explore_here(funnel: Funnel, video: str = "", *, keep: Path, about: str = "") -> Any:
    """The explorer in an interactive notebook; headless overview, examples and the way of ``video``
    (see Funnel.cases) as static HTML.

    That page is written to ``keep`` in both, ``about`` in its title (Stage.about).
    """
    from IPython.display import HTML

    places = funnel.cases(video)
    spans = {span.name: span for place in places for span in funnel.spans(place)}
    made = make_previews(list(spans.values()), cache=preview_cache(), films=False)
    shown = funnel.page(places, {name: each.strip for name, each in made.items() if each.strip})
    keep.write_text(document("Funnel explorer", shown, about=about), encoding="utf-8")
    return FunnelWidget(funnel, cache=preview_cache()).widget if is_interactive() else HTML(shown)
