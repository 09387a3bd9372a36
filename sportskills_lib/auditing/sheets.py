"""The table that people label: a CSV that spreadsheets open, and that comes back as it went.

Cells that a spreadsheet would take for a formula (they begin with =, +, -, @, a tab or a line break) get an apostrophe
in front, as do cells that begin with one; reading takes it away again. Files are replaced whole, never half written.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import polars as pl

from sportskills_lib.auditing import questions
from sportskills_lib.files import write_whole

DANGEROUS = ("=", "+", "-", "@", "\t", "\r", "\n", "'")
SAMPLE = ["filter", "run", "stratum", "stratum_size", *questions.ITEMS, "label", "note"]


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

    def labelled(self, item_id: str, label: str) -> Sheet:
        """The same with one label set (taken back, with ""); ValueError for a label that the filter does not have."""
        known = ("", *self.question.labels, questions.UNSURE)
        if label not in known:
            raise ValueError(f"{self.filter} has no label {label!r}; it has {', '.join(known[1:])}")
        if item_id not in self.frame["item_id"]:
            raise ValueError(f"the sample has no item {item_id!r}: it was drawn from run {self.run!r}")
        mine = pl.col("item_id") == item_id
        return replace(self, frame=self.frame.with_columns(label=pl.when(mine).then(pl.lit(label)).otherwise("label")))


def guarded(text: str) -> str:
    """``text`` so that no spreadsheet runs it; :func:`unguarded` undoes it."""
    return f"'{text}" if text.startswith(DANGEROUS) else text


def unguarded(text: str) -> str:
    """What :func:`guarded` was given."""
    return text[1:] if text.startswith("'") else text


def write(path: Path, sheet: Sheet) -> None:
    """Replace ``path`` by the sheet."""
    file = io.StringIO(newline="")
    writer = csv.writer(file, quoting=csv.QUOTE_ALL, lineterminator="\r\n")
    writer.writerow(SAMPLE)
    for row in sheet.frame.select(SAMPLE).iter_rows():
        writer.writerow(["" if value is None else guarded(str(value)) for value in row])
    write_whole(path, file.getvalue().encode("utf-8-sig"))  # the mark tells spreadsheets the encoding


def read(path: Path) -> Sheet:
    """The sheet, also after a spreadsheet saved it; ValueError names the row and what is wrong with it."""
    if not path.is_file():
        raise ValueError(f"there is no file {path}: `sportskills audit sample` makes one")
    text = path.read_bytes().decode("utf-8-sig", errors="replace")
    separator = ";" if text.split("\n", 1)[0].count(";") > text.split("\n", 1)[0].count(",") else ","
    rows = list(csv.reader(io.StringIO(text, newline=""), delimiter=separator))
    header = rows[0] if rows else []
    if missing := [name for name in SAMPLE if name not in header]:
        raise ValueError(f"{path} has no column {missing[0]}: it is no sample of `sportskills audit sample`")
    filled = [row for row in rows[1:] if any(row)]
    if bad := next((number for number, row in enumerate(filled, 2) if len(row) != len(header)), None):
        raise ValueError(f"{path}, line {bad}: {len(header)} cells are needed; mend the line")
    cells = {name: [unguarded(row[header.index(name)]) for row in filled] for name in SAMPLE}
    kinds = dict.fromkeys(SAMPLE, pl.String) | questions.ITEMS | {"stratum_size": pl.Int64}
    try:
        frame = pl.DataFrame(
            {
                name: pl.Series(name, [value or None for value in cells[name]], pl.String).cast(kind)
                for name, kind in kinds.items()
            }
        ).select(SAMPLE)
    except pl.exceptions.PolarsError as error:
        raise ValueError(f"{path} holds a number that is none ({str(error).splitlines()[0]}): mend the cell") from None
    return _checked(path, frame)


def _checked(path: Path, frame: pl.DataFrame) -> Sheet:
    """One filter, one run, no item twice, and labels that the filter has, by word or by key."""
    for name in ("filter", "run"):
        if frame[name].n_unique() != 1 or frame[name].has_nulls():
            raise ValueError(f"{path} holds {frame[name].n_unique()} values of {name}: score each sample alone")
    if frame["item_id"].is_duplicated().any() or frame["item_id"].has_nulls():
        raise ValueError(f"{path} lists an item twice, or one without its id: take the line out")
    sheet = Sheet(frame["filter"][0], frame["run"][0], frame)
    known = {label: label for label in (*sheet.question.labels, questions.UNSURE)} | sheet.question.keys
    labels = [(label or "").strip().lower() for label in frame["label"]]
    if wrong := next(((item, label) for item, label in zip(frame["item_id"], labels, strict=True)
                      if label and label not in known), None):  # fmt: skip
        raise ValueError(f"{path}: item {wrong[0]} is labelled {wrong[1]!r}; labels are {', '.join(known)}")
    tidy: Sequence[str] = [known.get(label, "") for label in labels]
    text = [pl.col("note").fill_null(""), pl.col("text").fill_null(""), pl.Series("label", tidy, pl.String)]
    return replace(sheet, frame=frame.with_columns(text))
