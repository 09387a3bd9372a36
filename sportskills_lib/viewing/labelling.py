"""The labelling widget: a thin shell that shows one item, takes one key, and saves at once.

It knows neither files nor filters: it is given the items, what may be answered, and what to call with each answer.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import polars as pl

from sportskills_lib.viewing import gold

BACK = "z"  # the key that goes back to the item before


class Labeller:
    """Items one after another; type a key or press a button. ``widget`` is what a notebook displays.

    ``frame`` has item_id, label and what gold.item shows; ``keys`` gives each key's label; ``save(item_id, label)`` is
    called for each answer before the next item is shown. What it raises is shown and raised: JupyterLab keeps what a
    callback raises out of sight.
    """

    def __init__(
        self,
        frame: pl.DataFrame,
        *,
        ask: str,
        keys: Mapping[str, str],
        strips: gold.Strips,
        save: Callable[[str, str], Any],
    ):
        import ipywidgets

        self.rows, self.keys, self.strips, self.save = frame.to_dicts(), dict(keys), strips, save
        self.place = next((i for i, row in enumerate(self.rows) if not row["label"]), 0)
        self.view = ipywidgets.HTML()
        self.state = ipywidgets.HTML()
        self.key = ipywidgets.Text(placeholder="type keys here", continuous_update=True, layout={"width": "9em"})
        self.key.observe(self._typed, "value")
        buttons = []
        for key, label in {**self.keys, BACK: "back"}.items():
            button = ipywidgets.Button(description=f"{key} · {label}")
            button.on_click(lambda _, key=key: self.press(key))
            buttons.append(button)
        self.buttons = buttons
        asked = ipywidgets.HTML(f"<p>{gold.text(ask)}</p>")
        self.widget = ipywidgets.VBox([asked, ipywidgets.HBox([self.key, *buttons]), self.state, self.view])
        self._show()

    def press(self, key: str) -> None:
        """Answer as a key would; a key that means nothing is said to mean nothing."""
        if key == BACK:
            self.place = max(0, self.place - 1)
        elif key not in self.keys:
            self.state.value = f"<p>{gold.text(key)} is none of {gold.text(', '.join(self.keys))}</p>"
            return
        elif self.rows:
            row = self.rows[self.place]
            try:
                self.save(row["item_id"], self.keys[key])
            except Exception as error:
                named = gold.text(f"{type(error).__name__}: {error}")
                self.state.value = f"<p><b>Not saved:</b> {named}</p>"
                raise
            row["label"] = self.keys[key]
            self.place = min(self.place + 1, len(self.rows) - 1)
        self._show()

    def _typed(self, change: Mapping[str, Any]) -> None:
        """Take what was typed behind what stood there. The box is never emptied: a browser that types on meanwhile
        would send the same key twice."""
        old, new = str(change["old"]), str(change["new"])
        if new.startswith(old):
            for key in new[len(old) :].lower():
                self.press(key)

    def _show(self) -> None:
        done = sum(bool(row["label"]) for row in self.rows)
        if not self.rows:
            self.state.value, self.view.value = "<p>nothing to label</p>", ""
            return
        row = self.rows[self.place]
        label = f", labelled {row['label']}" if row["label"] else ""
        self.state.value = f"<p>{self.place + 1} of {len(self.rows)}, {done} labelled{gold.text(label)}</p>"
        self.view.value = f'<style>{gold.CSS}</style><div class="gold">{gold.item(row, self.strips)}</div>'
