"""The pair auditor and its pages: items of a gold sample with their pictures, and a widget that
shows one at a time, its films and its text, one key per label, each saved at once.

Blind: the judge's verdict is not shown before the item has a label, since people copy what they
see. Afterwards a key shows it; that it was seen, and after which label, is noted with the item, so
that labels changed afterwards can be separated. Nothing here knows files or filters: it is given
items, their films, the possible answers, and what to call with an answer. Texts and ids come from
strangers: ``auditor.jinja`` escapes all.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import ipywidgets
import polars as pl

from sportskills_lib.viewing.keyboard import Action, Keyboard
from sportskills_lib.viewing.markup import Html, document, template
from sportskills_lib.viewing.previews import Preview

SEEN = "verdict seen after "  # begins the note
VIEWS = template("auditor.jinja")
Strips = Mapping[str, bytes]  # WebP by item_id, and by "<item_id> other"
# an item's films, each with its title
ItemFilms = Callable[[Mapping[str, Any]], Sequence[tuple[str, Preview]]]


def item(row: Mapping[str, Any], strips: Strips, *, verdicts: bool = False) -> str:
    """One item: its text, where it is from, its strip or strips; with ``verdicts`` also judge,
    confidence and label.
    """
    names = row["item_id"], f"{row['item_id']} other"
    return str(VIEWS.item(row, [strips[name] for name in names if name in strips], verdicts))


def sheet(ask: str, frame: pl.DataFrame, strips: Strips, *, labels: tuple[str, ...]) -> str:
    """The contact sheet of a sample: what is asked, then every item by its number."""
    items = [Html(item(row, strips)) for row in frame.iter_rows(named=True)]
    return str(VIEWS.sheet(ask, labels, items))


def view(body: str) -> str:
    """``body``, which is HTML, in the style of gold samples."""
    return str(VIEWS.view(Html(body)))


def page(title: str, body: str) -> str:
    """A whole page that loads nothing from anywhere."""
    return document(title, view(body))


class PairAuditor:
    """``widget`` is what a notebook displays; the keys are ``keyboard``'s; ``place`` is the current
    item's among the ``rows``.

    ``frame`` has item_id, label, note, verdict, confidence and what :func:`item` shows; ``keys``
    gives each key's label.
    """

    def __init__(
        self,
        frame: pl.DataFrame,
        *,
        ask: str,
        keys: Mapping[str, str],
        films: ItemFilms,
        save: Callable[[str, str, str], Any],  # item_id, label, note
    ):
        self.rows, self.films, self.save = frame.to_dicts(), films, save
        self.place = next((at for at, row in enumerate(self.rows) if not row["label"]), 0)
        self.notice, self.verdict_visible = "", False
        self.state, self.view = ipywidgets.HTML(), ipywidgets.HTML()
        actions: dict[str, tuple[str, Action]] = {
            key: (label, partial(self._label, label)) for key, label in keys.items()
        }
        actions["z"] = ("previous", partial(self._go, -1))
        actions["x"] = ("next, no label", partial(self._go, 1))
        actions["v"] = ("the judge's verdict", self._show_verdict)
        self.keyboard = Keyboard(actions, after=self._show, player=True)
        question = ipywidgets.HTML(str(VIEWS.view(ask)))
        self.widget = self.keyboard.box(question, self.state, self.view, self.keyboard)
        self._visible: int | None = None
        self._show()

    def _label(self, label: str) -> None:
        """Save the label, then go to the next item. Errors of saving are raised, and the item
        stays.
        """
        if self.rows:
            row = self.rows[self.place]
            self.save(row["item_id"], label, row["note"])
            row["label"] = label
            self._go(1, f"saved: {label}")

    def _go(self, by: int, notice: str = "") -> None:
        self.place = max(0, min(self.place + by, len(self.rows) - 1))
        self.notice, self.verdict_visible = notice, False

    def _show_verdict(self) -> None:
        """Show the judge's verdict on an item that has a label, and note that it was seen."""
        if not self.rows or not self.rows[self.place]["label"]:
            self.notice = "label it first: the verdict would influence your answer"
            return
        row = self.rows[self.place]
        if SEEN not in row["note"]:
            note = "; ".join(filter(None, (row["note"], f"{SEEN}{row['label']}")))
            self.save(row["item_id"], row["label"], note)
            row["note"] = note
        self.notice, self.verdict_visible = "", True

    def _show(self) -> None:
        told = VIEWS.progress(self.rows, self.place, self.notice, self.verdict_visible)
        self.state.value = str(VIEWS.view(told))
        if self.rows and self._visible != self.place:  # films are not sent twice
            row = self.rows[self.place]
            shown = VIEWS.films(self.place, self.films(row)) + VIEWS.item(row, (), False)
            self.view.value = str(VIEWS.view(shown))
            self._visible = self.place
