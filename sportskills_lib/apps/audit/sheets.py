"""The table that people label: a CSV that spreadsheets open and save without harm.

Cells that a spreadsheet would take for a formula (they begin with =, +, -, @, a tab or a line
break) get an apostrophe in front, as do cells that begin with one; reading takes it away again.
Files are replaced whole, never half written. Reading accepts any encoding and delimiter and decimal
commas, checks every cell, and ignores columns that it does not know.
"""

from __future__ import annotations

import csv
import io
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import polars as pl

from sportskills_lib.apps.audit import questions
from sportskills_lib.formats.files import guard_cell, number, read_rows, unguard_cell, write_whole
from sportskills_lib.runs.errors import short_path

SAMPLE = ["filter", "run", "stratum", "stratum_size", *questions.ITEMS, "label", "note"]
KINDS = dict.fromkeys(SAMPLE, pl.String) | questions.ITEMS | {"stratum_size": pl.Int64}
REQUIRED = ("filter", "run", "stratum", "stratum_size", "item_id", "verdict")
TEXTS = ("text", "label", "note")  # an empty cell is an empty text, not a missing one


@dataclass(frozen=True)
class Sheet:
    """A gold sample: ``frame`` has the columns ``SAMPLE``; label is "" until somebody labels it."""

    filter: str
    run: str
    frame: pl.DataFrame

    @property
    def question(self) -> questions.Question:
        """What is asked of each row."""
        return questions.question(self.filter)

    def labelled(self, item_id: str, label: str, note: str | None = None) -> Sheet:
        """The same with one label set (removed, with ""), and its note, if one is given;
        ValueError for a label that the filter does not have.
        """
        known = ("", *self.question.labels, questions.UNSURE)
        if label not in known:
            raise ValueError(
                f"unknown label {label!r} for {self.filter}: use {', '.join(known[1:])}"
            )
        if item_id not in self.frame["item_id"]:
            raise ValueError(f"unknown item {item_id!r}: the sample is of run {self.run!r}")
        mine = pl.col("item_id") == item_id
        new = {"label": label} | ({} if note is None else {"note": note})
        changed = {
            name: pl.when(mine).then(pl.lit(value)).otherwise(name) for name, value in new.items()
        }
        return replace(self, frame=self.frame.with_columns(**changed))

    def warnings(self) -> list[str]:
        """Items that the run on disk does not have, and verdicts that it does not give; a sentence
        each.

        Either the run was made again since the sample, or somebody edited or moved cells.
        """
        items = self.question.items(self.run).select("item_id", today="verdict")
        wanted = self.frame.lazy().select("item_id", "verdict")
        both = wanted.join(items, on="item_id", how="left", maintain_order="left").collect()
        cases = {
            "unknown to": both.filter(pl.col("today").is_null()),
            "with another verdict in": both.filter(pl.col("today") != pl.col("verdict")),
        }
        return [
            f"{rows.height} of {both.height} items are {words} run {self.run!r}, first "
            f"{rows['item_id'][0]}: the run was made again, or cells were edited or moved"
            for words, rows in cases.items()
            if rows.height
        ]


def write(path: Path, sheet: Sheet) -> None:
    """Replace ``path`` by the sheet."""
    file = io.StringIO(newline="")
    writer = csv.writer(file, quoting=csv.QUOTE_ALL, lineterminator="\r\n")
    writer.writerow(SAMPLE)
    for row in sheet.frame.select(SAMPLE).iter_rows():
        writer.writerow(["" if value is None else guard_cell(str(value)) for value in row])
    # the byte order mark shows spreadsheets the encoding
    write_whole(path, file.getvalue().encode("utf-8-sig"))


def sheet_rows(path: Path) -> list[tuple[int, list[str]]]:
    """The rows that are not empty, numbered as a spreadsheet shows them; the header is the
    first.
    """
    return [(place, cells) for place, (_, cells) in enumerate(read_rows(path), 1) if any(cells)]


def read(path: Path) -> Sheet:
    """The sheet, also after a spreadsheet saved it; ValueError names the row, the column and what
    is wrong.
    """
    if not path.is_file():
        raise ValueError(
            f"there is no file {short_path(path)}: `sportskills audit sample` makes one"
        )
    (_, header), *lines = sheet_rows(path) or [(1, [])]
    if missing := [name for name in SAMPLE if name not in header]:
        raise ValueError(
            f"{path} has no column {missing[0]}: put the column back, or draw the sample again "
            "(the same seed draws the same items)"
        )
    rows = list[dict[str, Any]]()
    for line, row in lines:
        place = f"{path}, row {line}"
        if len(row) != len(header):
            raise ValueError(
                f"{place}: {len(row)} cells where the header has {len(header)}: correct the row"
            )
        cells = dict(zip(header, map(unguard_cell, row), strict=True))
        rows.append({name: _value(place, name, cells[name]) for name in SAMPLE})
        rows[-1]["label"] = _label(place, rows[-1])
    frame = pl.DataFrame(rows, schema=pl.Schema(KINDS), orient="row")
    for name in ("filter", "run"):
        if frame[name].n_unique() != 1:
            raise ValueError(
                f"{path} has {frame[name].n_unique()} values of {name}: score each sample alone"
            )
    if (twice := frame.filter(pl.col("item_id").is_duplicated())).height:
        raise ValueError(f"{path} lists item {twice['item_id'][0]} twice: remove one of the rows")
    return Sheet(frame["filter"][0], frame["run"][0], frame)


def _value(place: str, name: str, cell: str) -> str | float | None:
    """The cell in its column's type, None where it may be empty and is; ValueError otherwise."""
    if name in TEXTS or (cell and KINDS[name] == pl.String):
        return cell
    if not cell and name not in REQUIRED:
        return None
    try:
        value = number(cell)
    except ValueError:
        value = -1.0
    least = 1 if name == "stratum_size" else 0
    if not value >= least:
        raise ValueError(
            f"{place}, column {name}: {cell[:40]!r} is not a valid value: restore what was there"
        )
    return int(value) if name == "stratum_size" else value


def _label(place: str, row: dict[str, Any]) -> str:
    """The label that a cell names, by its word or its key; ValueError for one that the filter does
    not have.
    """
    question, label = questions.question(row["filter"]), row["label"].lower()
    known = {name: name for name in ("", *question.labels, questions.UNSURE)} | question.keys
    if label not in known:
        raise ValueError(
            f"{place}, column label: unknown label {label!r} of item {row['item_id']}: use "
            f"{', '.join(filter(None, known))}"
        )
    return known[label]
