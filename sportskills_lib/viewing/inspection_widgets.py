"""The widgets of 07: thin shells of controls and keys, the inspector's around
viewing/inspector_view.py, the funnel explorer's around viewing/funnel_view.py.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import ipywidgets
import polars as pl

from sportskills_lib import metrics
from sportskills_lib.runs.content_store import ContentStore
from sportskills_lib.viewing import inspector_view, retrieved_queries
from sportskills_lib.viewing.funnel_view import EXAMPLES, Funnel, FunnelPosition
from sportskills_lib.viewing.inspector_view import Inspector, InspectorState, arm_name
from sportskills_lib.viewing.keyboard import Action, Keyboard, is_interactive
from sportskills_lib.viewing.markup import document
from sportskills_lib.viewing.previews import PreviewLoader, Span, make_previews, preview_cache
from sportskills_lib.viewing.retrieved_queries import QueryResults

SETTINGS = {
    "system": "system",
    "other": "compare with",
    "sport": "sport",
    "skill": "skill",
    "show": "show",
}


class InspectorWidget:
    """``widget`` is what a notebook displays; ``state`` what is looked at; the keys are
    ``keyboard``'s.

    Films come from ``cache`` or are made in the background (``films``: whether at all); until then
    small pictures move.
    """

    def __init__(
        self,
        kinds: Sequence[QueryResults],
        *,
        cache: ContentStore | None = None,
        films: bool = True,
    ):
        if not kinds:
            raise ValueError("there is nothing to inspect: no query was asked in this run")
        self.views = [Inspector(asked) for asked in kinds]
        self.view, self.playing = self.views[0], films
        self._filling, self._drawing = False, threading.RLock()
        self.output, self.legend = ipywidgets.HTML(), ipywidgets.HTML()
        self.keyboard = Keyboard(self._keys())
        self.films = PreviewLoader(
            self._span, cache=cache, ready=self._draw, failed=self.keyboard.show_error
        )
        wide = {"description_width": "7.5em"}
        self.controls: dict[str, Any] = {
            name: ipywidgets.Dropdown(description=label, style=wide)
            for name, label in SETTINGS.items()
        }
        self.controls["words"] = ipywidgets.Text(
            description="with words", continuous_update=False, style=wide
        )
        controls = ipywidgets.Box(
            [*self.controls.values()], layout={"display": "flex", "flex_flow": "row wrap"}
        )
        self.query = ipywidgets.Dropdown(description="query", layout={"width": "auto"})
        for name, control in {**self.controls, "number": self.query}.items():
            control.observe(
                self.keyboard.guard()(lambda change, name=name: self._choose(name, change["new"])),
                "value",
            )
        self.widget = self.keyboard.box(
            controls, self.query, self.keyboard, self.output, self.legend
        )
        self.go(self.view.start())

    def go(self, state: InspectorState) -> None:
        """Show this state; the controls follow."""
        self.state, self._filling = state, True
        try:
            for name, options in self.view.choices(state).items():
                self.controls[name].options = options
            self.query.options = self.view.query_options(state)
            for name, control in self.controls.items():
                control.value = getattr(state, name)
            self.query.value = state.number if self.query.options else None
        finally:
            self._filling = False
        self._draw()
        if self.playing:
            beyond = self.view.moved(state, 1)
            self.films.want([*self.view.clip_ids(state), *self.view.clip_ids(beyond)])

    def _draw(self) -> None:
        with self._drawing:  # a key and the films' thread may draw at the same time
            films = self.films.loaded if self.playing else None
            self.output.value = self.view.html(self.state, films)
            self.legend.value = self.view.legend()

    def _span(self, item_id: str) -> Span | None:
        return next(filter(None, (view.results.items.span(item_id) for view in self.views)), None)

    def _choose(self, name: str, value: Any) -> None:
        if not self._filling:
            self.go(self.view.choose(self.state, **{name: value}))

    def _keys(self) -> dict[str, tuple[str, Action]]:
        def cycle(name: str) -> Action:
            return lambda: self.go(self.view.cycled(self.state, name))

        short, long = inspector_view.TOP, metrics.HEADLINE_K
        return {
            "j": ("next query", lambda: self.go(self.view.moved(self.state, 1))),
            "k": ("previous query", lambda: self.go(self.view.moved(self.state, -1))),
            "f": ("next filter", cycle("show")),
            "s": ("next sport", cycle("sport")),
            "d": ("next skill", cycle("skill")),
            "a": ("next system", cycle("system")),
            "b": ("next second system", cycle("other")),
            "x": ("swap systems", lambda: self.go(self.view.swapped(self.state))),
            "t": (
                f"top {short} or {long}",
                lambda: self.go(
                    replace(self.state, top=long if self.state.top == short else short)
                ),
            ),
            "v": ("films on or off", self._toggle),
            "g": ("first query", lambda: self.go(replace(self.state, number=0))),
            **({"m": ("narrations or learners", self._turn)} if len(self.views) > 1 else {}),
        }

    def _toggle(self) -> None:
        self.playing = not self.playing
        self.go(self.state)

    def _turn(self) -> None:
        self.view = self.views[self.views.index(self.view) - 1]
        self.go(self.view.start())


def inspect_here(kinds: Sequence[QueryResults], *, keep: Path, about: str = "") -> Any:
    """The inspector in an interactive notebook; headless the cases that Inspector.cases names, as
    static HTML.

    That page is written to ``keep`` in both, ``about`` in its title (Stage.about).
    """
    from IPython.display import HTML

    page = "".join(Inspector(asked).page() for asked in kinds) or (
        "<p>Nothing was asked in this run: there is nothing to inspect.</p>"
    )
    keep.write_text(document("Retrieval inspector", page, about=about), encoding="utf-8")
    if not kinds or not is_interactive():
        return HTML(page)
    return InspectorWidget(kinds, cache=preview_cache()).widget


def browse(*runs: str) -> Any:
    """The inspector of complete runs as a widget: for a page that is served."""
    return InspectorWidget(retrieved_queries.read(*runs), cache=preview_cache()).widget


def counts(kinds: Sequence[QueryResults]) -> pl.DataFrame:
    """Hits, near misses and failures (near misses among them) of every system: kind, system,
    queries and the counts.
    """
    names, rows = ["kind", "system", "queries", "hits", "near_misses", "failures"], []
    for view in map(Inspector, kinds):
        for system in sorted(view.results.hits):
            state = InspectorState(system)
            whole, near, failed = (
                view.matching_queries(replace(state, show=show)).height
                for show in (inspector_view.ALL, inspector_view.NEAR, inspector_view.FAILURES)
            )
            rows.append((view.results.kind, system, whole, whole - failed, near, failed))
    return pl.DataFrame(rows, schema=names, orient="row")


def finding(kinds: Sequence[QueryResults], counted: pl.DataFrame) -> str:
    """Of each kind, the system that is shown first: its failures, and those that nearly were
    none.
    """
    told = []
    for view in map(Inspector, kinds):
        kind, system = view.results.kind, view.start().system
        mine = (pl.col("kind") == kind) & (pl.col("system") == system)
        row = counted.row(by_predicate=mine, named=True)
        told.append(
            f"**{kind}, {arm_name(system)}: {row['failures']:,} of {row['queries']:,} fail "
            f"({row['failures'] / row['queries']:.0%})**, {row['near_misses']:,} of them nearly not."
        )
    return "\n\n".join(told) or "Nothing was asked in this run."


# --------------------------------------------------------------------------------------- the funnel


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
