"""The pair auditor: one item at a time, its films and its text, one key per label, each saved at
once.

Blind: the judge's verdict is not shown before the item has a label, since people copy what they
see. Afterwards a key shows it; that it was seen, and after which label, is noted with the item, so
that labels changed afterwards can be separated. The widget knows neither files nor filters: it is
given items, their films, the possible answers, and what to call with an answer.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import polars as pl

from sportskills_lib.viewing import labelling_view
from sportskills_lib.viewing.markup import film_panel, text
from sportskills_lib.viewing.previews import Preview

BACK, NEXT, VERDICT = "z", "x", "v"
SEEN = "verdict seen after "  # begins the note
# an item's films, each with its title
ItemFilms = Callable[[Mapping[str, Any]], Sequence[tuple[str, Preview]]]
SaveLabel = Callable[[str, str, str], Any]  # item_id, label, note


@dataclass
class LabellingSession:
    """What somebody who labels does, one plain step per key. ``turn`` counts steps, refused ones
    too.
    """

    rows: list[dict[str, Any]]
    save: SaveLabel
    place: int = 0
    turn: int = 0
    notice: str = ""
    verdict_visible: bool = False

    def __post_init__(self) -> None:
        self.place = next((at for at, row in enumerate(self.rows) if not row["label"]), 0)

    @property
    def row(self) -> dict[str, Any] | None:
        """The current item."""
        return self.rows[self.place] if self.rows else None

    def label(self, label: str) -> None:
        """Save the label, then go to the next item. Errors of saving are raised, and the item
        stays.
        """
        self.turn += 1
        if (row := self.row) is not None:
            self.save(row["item_id"], label, row["note"])
            row["label"] = label
            self._go(1, f"saved: {label}")

    def step(self, by: int) -> None:
        """Go to another item."""
        self.turn += 1
        self._go(by, "")

    def show_verdict(self) -> None:
        """Show the judge's verdict on an item that has a label, and note that it was seen."""
        self.turn += 1
        row = self.row
        if row is None or not row["label"]:
            self.notice = "label it first: the verdict would influence your answer"
            return
        if SEEN not in row["note"]:
            note = "; ".join(filter(None, (row["note"], f"{SEEN}{row['label']}")))
            self.save(row["item_id"], row["label"], note)
            row["note"] = note
        self.verdict_visible, self.notice = True, ""

    def _go(self, by: int, notice: str) -> None:
        self.place = min(max(self.place + by, 0), max(0, len(self.rows) - 1))
        self.verdict_visible, self.notice = False, notice


def progress(session: LabellingSession) -> str:
    """Progress, what was just done, and the verdict where it may be seen."""
    row = session.row
    if row is None:
        return f'<p data-turn="{session.turn}">nothing to label</p>'
    done = sum(bool(each["label"]) for each in session.rows)
    label = f", labelled {row['label']}" if row["label"] else ""
    place = f"{session.place + 1} of {len(session.rows)}, {done} labelled{label}"
    verdict = f"<p>judge: {labelling_view.verdict(row)}</p>" if session.verdict_visible else ""
    return f'<p data-turn="{session.turn}">{text(place)} {text(session.notice)}</p>{verdict}'


class LabellingWidget:
    """The widget over a :class:`LabellingSession`; ``widget`` is what a notebook displays,
    ``press`` does what a key does.

    ``frame`` has item_id, label, note, verdict, confidence and what labelling_view.item shows;
    ``keys`` gives each key's label.
    """

    def __init__(
        self,
        frame: pl.DataFrame,
        *,
        ask: str,
        keys: Mapping[str, str],
        films: ItemFilms,
        save: SaveLabel,
    ):
        import ipywidgets

        from sportskills_lib.viewing.keyboard import Keyboard

        self.session, self.films = LabellingSession(frame.to_dicts(), save), films
        self.view, self.state = ipywidgets.HTML(), ipywidgets.HTML()
        step, run = self.session.step, self._run
        actions = {key: partial(run, self.session.label, label) for key, label in keys.items()}
        actions |= {BACK: partial(run, step, -1), NEXT: partial(run, step, 1)}
        actions |= {VERDICT: partial(run, self.session.show_verdict)}
        labels = {**keys, BACK: "previous", NEXT: "next, no label", VERDICT: "the judge's verdict"}
        self.keyboard = Keyboard(actions, labels, player=True)
        question = ipywidgets.HTML(labelling_view.view(f"<p>{text(ask)}</p>"))
        self.widget = self.keyboard.box(question, self.state, self.view, self.keyboard)
        self._visible_row: dict[str, Any] | None = None
        self._show()

    def press(self, key: str) -> None:
        """What a key does; raises what its function raised."""
        self.keyboard.press(key)

    def _run(self, step: Callable[..., None], *values: Any) -> None:
        try:
            step(*values)
        finally:
            self._show()

    def _show(self) -> None:
        row = self.session.row
        self.state.value = labelling_view.view(progress(self.session))
        if row is not None and row is not self._visible_row:  # films are not sent twice
            self._visible_row = row
            panels = "".join(
                film_panel(title, f"{self.session.place} {title}", film)
                for title, film in self.films(row)
            )
            films = f'<div class="sk-films">{panels}</div>' if panels else ""
            self.view.value = labelling_view.view(films + labelling_view.item(row, {}))
