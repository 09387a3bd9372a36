"""Labelling a sample in a notebook: the CSV, its film strips and the widget put together."""

from __future__ import annotations

from pathlib import Path

from sportskills_lib.auditing import sheets, strips
from sportskills_lib.viewing.labelling import Labeller


def labeller(path: Path) -> Labeller:
    """The labelling widget over a sample's CSV; every answer is in the file before the next item is shown."""
    sheet = sheets.read(path)
    question = sheet.question

    def save(item_id: str, label: str) -> None:
        sheets.write(path, sheets.read(path).labelled(item_id, label))

    return Labeller(
        sheet.frame,
        ask=question.ask,
        keys=question.keys,
        strips=strips.film_strips(sheet.frame, sheet.run),
        save=save,
    )
