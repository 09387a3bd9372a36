"""The pair auditor: one item at a time, its films and what is said, one key a label, each saved at
once.

Blind: what the judge said is not shown before the item has a label, since what is seen is copied.
Afterwards a key shows it; that it was seen, and after which label, is noted with the item, so that
a label changed then can be told apart. It knows neither files nor filters: it is given items, their
films, what may be answered, what to call with it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import polars as pl

from sportskills_lib.viewing import escape, labelling_view
from sportskills_lib.viewing.previews import Preview

BACK, NEXT, VERDICT = "z", "x", "v"
SEEN = "verdict seen after "  # begins the note
CSS = ".sk-label p{margin:.2em 0}.sk-label .sk-rater{margin:0}"
Films = Callable[
    [Mapping[str, Any]], Sequence[tuple[str, Preview]]
]  # an item's films, each with its title
Save = Callable[[str, str, str], Any]  # item_id, label, note


@dataclass
class Labelling:
    """What somebody who labels does, a plain step a key. ``turn`` counts steps, refused ones
    too.
    """

    rows: list[dict[str, Any]]
    save: Save
    place: int = 0
    turn: int = 0
    notice: str = ""
    told: bool = False  # whether the verdict of the item is shown

    def __post_init__(self) -> None:
        self.place = next((at for at, row in enumerate(self.rows) if not row["label"]), 0)

    @property
    def row(self) -> dict[str, Any] | None:
        """The item that is shown."""
        return self.rows[self.place] if self.rows else None

    def label(self, label: str) -> None:
        """Save the label, then go to the next item. What saving raises comes out, and the item
        stays.
        """
        self.turn += 1
        if (row := self.row) is not None:
            self.save(row["item_id"], label, row["note"])
            row["label"] = label
            self._go(1, f"saved: {label}")

    def step(self, by: int) -> None:
        """Go to an item before or after."""
        self.turn += 1
        self._go(by, "")

    def verdict(self) -> None:
        """Show what the judge said of an item that has a label, and note that it was seen."""
        self.turn += 1
        row = self.row
        if row is None or not row["label"]:
            self.notice = "label it first: a verdict that is seen is copied"
            return
        if SEEN not in row["note"]:
            note = "; ".join(filter(None, (row["note"], f"{SEEN}{row['label']}")))
            self.save(row["item_id"], row["label"], note)
            row["note"] = note
        self.told, self.notice = True, ""

    def _go(self, by: int, notice: str) -> None:
        self.place = min(max(self.place + by, 0), max(0, len(self.rows) - 1))
        self.told, self.notice = False, notice


def state(labelling: Labelling) -> str:
    """How far it is, what was just done, and the verdict where it may be seen."""
    row = labelling.row
    if row is None:
        return f'<p data-turn="{labelling.turn}">nothing to label</p>'
    done = sum(bool(each["label"]) for each in labelling.rows)
    label = f", labelled {row['label']}" if row["label"] else ""
    place = f"{labelling.place + 1} of {len(labelling.rows)}, {done} labelled{label}"
    said = ""
    if labelling.told:
        sure = "" if row["confidence"] is None else f" ({row['confidence']:.2f})"
        said = f"<p>the judge said <b>{escape.text(row['verdict'] or 'nothing')}</b>{sure}</p>"
    return (
        f'<p data-turn="{labelling.turn}">{escape.text(place)} '
        f"{escape.text(labelling.notice)}</p>{said}"
    )


class Labeller:
    """The widget over a :class:`Labelling`; ``widget`` is what a notebook displays, ``press`` does
    what a key does.

    ``frame`` has item_id, label, note, verdict, confidence and what gold.item shows; ``keys`` gives
    each key's label.
    """

    def __init__(
        self, frame: pl.DataFrame, *, ask: str, keys: Mapping[str, str], films: Films, save: Save
    ):
        import ipywidgets

        from sportskills_lib.viewing import keys as keyboard
        from sportskills_lib.viewing import rating_widget

        self.labelling, self.films = Labelling(frame.to_dicts(), save), films
        self.view, self.state, self.status = (ipywidgets.HTML() for _ in range(3))
        asked = ipywidgets.HTML(
            f"<style>{rating_widget.CSS}{labelling_view.CSS}{CSS}</style><p>{escape.text(ask)}</p>"
        )
        bar = ipywidgets.HTML(rating_widget.player_bar(comment=False))
        self.widget = ipywidgets.VBox([asked, self.state, self.view, bar, self.status])
        self.widget.add_class("sk-label")
        step, done = self.labelling.step, self._then_show
        actions = {key: partial(done, self.labelling.label, label) for key, label in keys.items()}
        actions |= {BACK: partial(done, step, -1), NEXT: partial(done, step, 1)}
        actions |= {VERDICT: partial(done, self.labelling.verdict)}
        labels = {**keys, BACK: "back", NEXT: "next, no label", VERDICT: "the judge's verdict"}
        self.keys = keyboard.attach(self.widget, actions, self.status, labels=labels)
        self._shown: dict[str, Any] | None = None
        self._show()

    def press(self, key: str) -> None:
        """What a key does; raises what it raised."""
        self.keys.press(key)

    def _then_show(self, step: Callable[..., None], *values: Any) -> None:
        try:
            step(*values)
        finally:
            self._show()

    def _show(self) -> None:
        from sportskills_lib.viewing import rating_widget

        row = self.labelling.row
        self.state.value = state(self.labelling)
        if row is not None and row is not self._shown:  # films that stand there are not sent again
            self._shown = row
            name = f"{self.labelling.place}"
            sides = [
                rating_widget.panel(title, f"{name} {title}", film)
                for title, film in self.films(row)
            ]
            films = f'<div class="sk-films">{"".join(sides)}</div>' if sides else ""
            self.view.value = (
                f'{films}<div class="gold" style="margin:0">{labelling_view.item(row, {})}</div>'
            )
