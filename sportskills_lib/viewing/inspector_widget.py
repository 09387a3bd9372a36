"""The inspector's widget: a thin shell of controls and keys around viewing/inspector_view.py."""

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
from sportskills_lib.viewing.inspector_view import Inspector, InspectorState, arm_name
from sportskills_lib.viewing.keyboard import Action, Keyboard, is_interactive
from sportskills_lib.viewing.markup import document, plain
from sportskills_lib.viewing.preview_loader import PreviewLoader
from sportskills_lib.viewing.previews import preview_cache
from sportskills_lib.viewing.retrieved_queries import QueryResults

LABELS = {
    "j": "next query",
    "k": "previous query",
    "f": "next filter",
    "s": "next sport",
    "d": "next skill",
    "a": "next system",
    "b": "next second system",
    "x": "swap systems",
    "t": f"top {inspector_view.TOP} or {metrics.HEADLINE_K}",
    "v": "films on or off",
    "g": "first query",
    "m": "narrations or learners",
}


class InspectorWidget:
    """``widget`` is what a notebook displays; ``state`` what is looked at; :meth:`press` does what
    a key does.

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
        self.state, self._filling, self._drawing = self.view.start(), False, threading.RLock()
        self.output, self.legend = ipywidgets.HTML(), ipywidgets.HTML()
        self.keyboard = Keyboard(self._handlers(), LABELS)
        self.films = PreviewLoader(
            self._span, cache=cache, ready=self._draw, failed=self.keyboard.show_error
        )
        self.controls: dict[str, Any] = {
            "system": ipywidgets.Dropdown(description="system"),
            "other": ipywidgets.Dropdown(
                description="compare with", style={"description_width": "6.5em"}
            ),
            "sport": ipywidgets.Dropdown(description="sport"),
            "skill": ipywidgets.Dropdown(description="skill"),
            "show": ipywidgets.Dropdown(description="show", options=list(inspector_view.SHOWS)),
            "words": ipywidgets.Text(description="with words", continuous_update=False),
        }
        self.query = ipywidgets.Dropdown(description="query", layout={"width": "auto"})
        guard = self.keyboard.guard
        for name, control in self.controls.items():
            control.observe(
                guard(lambda change, name=name: self._choose(name, change["new"])), "value"
            )
        self.query.observe(guard(lambda change: self._jump(change["new"])), "value")
        controls = ipywidgets.Box(
            [*self.controls.values()], layout={"display": "flex", "flex_flow": "row wrap"}
        )
        self.widget = self.keyboard.box(
            controls, self.query, self.keyboard, self.output, self.legend
        )
        self.go(self.state)

    def press(self, key: str) -> str:
        """Do what a key does, raise what it raised, and return the HTML shown."""
        self.keyboard.press(key)
        return str(self.output.value)

    def go(self, state: InspectorState) -> None:
        """Show this state; the controls follow."""
        self.state = state
        options = {
            "system": [(arm_name(name), name) for name in self.view.results.systems()],
            "other": [
                ("none", ""),
                *((arm_name(name), name) for name in self.view.results.systems()),
            ],
            "sport": [("all", ""), *((plain(name, limit=80), name) for name in self.view.sports())],
            "skill": [
                ("all", ""),
                *((plain(name, limit=80), name) for name in self.view.skills(state.sport)),
            ],
        }
        self._filling = True
        try:
            for name, control in self.controls.items():
                _fill(control, options.get(name), getattr(state, name))
            _fill(
                self.query,
                self.view.query_options(state),
                state.number if self.view.matching_queries(state).height else None,
            )
        finally:
            self._filling = False
        self._draw()
        if self.playing:
            beyond = self.view.moved(state, 1)
            self.films.want([*self.view.clip_ids(state), *self.view.clip_ids(beyond)])

    def _draw(self) -> None:
        with self._drawing:  # a key and the films' thread may draw at the same time
            self.output.value = self.view.html(
                self.state, self.films.have() if self.playing else None
            )
            self.legend.value = inspector_view.view(self.view.legend())

    def _span(self, item_id: str) -> Any:
        return next(
            (span for view in self.views if (span := view.results.items.span(item_id))), None
        )

    def _choose(self, name: str, value: str) -> None:
        if not self._filling:
            self.go(self.view.choose(self.state, **{name: value or ""}))

    def _jump(self, number: int | None) -> None:
        if not self._filling and number is not None:
            self.go(replace(self.state, number=number))

    def _handlers(self) -> dict[str, Action]:
        def cycle(name: str) -> Action:
            return lambda: self.go(self.view.cycled(self.state, name))

        found: dict[str, Action] = {
            "j": lambda: self.go(self.view.moved(self.state, 1)),
            "k": lambda: self.go(self.view.moved(self.state, -1)),
            "f": cycle("show"),
            "s": cycle("sport"),
            "d": cycle("skill"),
            "a": cycle("system"),
            "b": cycle("other"),
            "x": lambda: self.go(self.view.swapped(self.state)),
            "t": lambda: self.go(
                replace(
                    self.state,
                    top=metrics.HEADLINE_K
                    if self.state.top == inspector_view.TOP
                    else inspector_view.TOP,
                )
            ),
            "v": self._toggle,
            "g": lambda: self.go(replace(self.state, number=0)),
        }
        return found | ({"m": self._turn} if len(self.views) > 1 else {})

    def _toggle(self) -> None:
        self.playing = not self.playing
        self.go(self.state)

    def _turn(self) -> None:
        self.view = self.views[(self.views.index(self.view) + 1) % len(self.views)]
        self.go(self.view.start())


def _fill(control: Any, options: Any, value: Any) -> None:
    """Give a control its options and value, and send only what changed."""
    if options is not None and tuple(options) != tuple(control.options):
        control.options = options
    if control.value != value:
        control.value = value


def inspect_here(kinds: Sequence[QueryResults], *, keep: Path, about: str = "") -> Any:
    """The inspector in an interactive notebook; headless the cases that Inspector.cases names, as
    static HTML.

    That page is written to ``keep`` in both, ``about`` in its title (Stage.about).
    """
    from IPython.display import HTML

    page = pages(kinds) or "<p>Nothing was asked in this run: there is nothing to inspect.</p>"
    keep.write_text(document("Retrieval inspector", page, about=about), encoding="utf-8")
    live = kinds and is_interactive()
    return InspectorWidget(kinds, cache=preview_cache()).widget if live else HTML(page)


def browse(*runs: str) -> Any:
    """The inspector of complete runs as a widget: for a page that is served."""
    return InspectorWidget(retrieved_queries.read(*runs), cache=preview_cache()).widget


def pages(kinds: Sequence[QueryResults]) -> str:
    """The cases of every kind of questions below each other, as one fragment."""
    views = [Inspector(asked) for asked in kinds]
    return "".join(f"<h3>{view.results.kind}</h3>{view.page(view.cases())}" for view in views)


def counts(kinds: Sequence[QueryResults]) -> pl.DataFrame:
    """Hits, near misses and failures (near misses among them) of every system: kind, system,
    queries and the counts.
    """
    rows = []
    for view in map(Inspector, kinds):
        for system in view.results.systems():
            state = InspectorState(system)
            whole, near, failed = (
                view.matching_queries(replace(state, show=show)).height
                for show in (inspector_view.ALL, inspector_view.NEAR, inspector_view.FAILURES)
            )
            rows.append((view.results.kind, system, whole, whole - failed, near, failed))
    names = ["kind", "system", "queries", "hits", "near_misses", "failures"]
    return pl.DataFrame(rows, schema=names, orient="row")


def finding(kinds: Sequence[QueryResults], counted: pl.DataFrame) -> str:
    """Of each kind, the system that is shown first: its failures, those that nearly were none, and
    in which sport.
    """
    told = []
    for view in map(Inspector, kinds):
        state = view.start()
        row = counted.row(
            by_predicate=(pl.col("kind") == view.results.kind) & (pl.col("system") == state.system),
            named=True,
        )
        failed = view.matching_queries(replace(state, show=inspector_view.FAILURES))
        share, near = row["failures"] / row["queries"], row["near_misses"]
        text = (
            f"**{view.results.kind}, {arm_name(state.system)}: {row['failures']:,} of "
            f"{row['queries']:,} fail "
            f"({share:.0%})**, {near:,} of them nearly not"
        )
        if failed.height:
            asked = view.results.queries.select(
                "sport", failed=pl.col("query_id").is_in(failed["query_id"].implode())
            )
            lost = asked.group_by("sport").agg(pl.col("failed").sum(), asked=pl.len())
            worst = lost.sort(
                pl.col("failed") / pl.col("asked"), "sport", descending=[True, False]
            ).row(0, named=True)
            text += (
                f"; most often in {plain(worst['sport'], limit=40)} ({worst['failed']} of "
                f"{worst['asked']})"
            )
        told.append(f"{text}.")
    return "\n\n".join(told) or "Nothing was asked in this run."


def facts(kinds: Sequence[QueryResults], reasons: pl.DataFrame) -> dict[str, int]:
    """What the stage's line says: how many queries of each kind can be looked at, and how many
    reasons.
    """
    return {asked.kind: asked.queries.height for asked in kinds} | {"reasons": reasons.height}
