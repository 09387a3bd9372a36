"""The table that people label: a CSV that spreadsheets open, and that comes back as it went.

Cells that a spreadsheet would take for a formula (they begin with =, +, -, @, a tab or a line
break) get an apostrophe in front, as do cells that begin with one; reading takes it away again.
Files are replaced whole, never half written.

What was drawn is the authority, not what the cells show: the last column, ``drawn``, holds each
row's facts with a checksum, in plain letters that no spreadsheet rewrites. A score uses those facts
and of the other cells only ``label`` and ``note``; a cell that shows something else was edited or
moved, and is an error, since its label may be another's.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import polars as pl

from sportskills_lib.apps.audit import questions
from sportskills_lib.formats.files import guarded, number, read_rows, unguarded, write_whole
from sportskills_lib.runs.errors import shown
from sportskills_lib.runs.fingerprints import digest

SAMPLE = ["filter", "run", "stratum", "stratum_size", *questions.ITEMS, "label", "note"]
DRAWN = "drawn"
FREE = ("text", "label", "note")  # text is only shown; spreadsheets change its letters
FACTS = [name for name in SAMPLE if name not in FREE]
KINDS = dict.fromkeys(SAMPLE, pl.String) | questions.ITEMS | {"stratum_size": pl.Int64}
NEAR = 0.01  # spreadsheets round what they show


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
        """The same with one label set (taken back, with ""), and its note, if one is given;
        ValueError for a label that the filter does not have.
        """
        known = ("", *self.question.labels, questions.UNSURE)
        if label not in known:
            raise ValueError(f"{self.filter} has no label {label!r}; it has {', '.join(known[1:])}")
        if item_id not in self.frame["item_id"]:
            raise ValueError(
                f"the sample has no item {item_id!r}: it was drawn from run {self.run!r}"
            )
        mine = pl.col("item_id") == item_id
        new = {"label": label} | ({} if note is None else {"note": note})
        changed = {
            name: pl.when(mine).then(pl.lit(value)).otherwise(name) for name, value in new.items()
        }
        return replace(self, frame=self.frame.with_columns(**changed))


def write(path: Path, sheet: Sheet) -> None:
    """Replace ``path`` by the sheet."""
    file = io.StringIO(newline="")
    writer = csv.writer(file, quoting=csv.QUOTE_ALL, lineterminator="\r\n")
    writer.writerow([*SAMPLE, DRAWN])
    for row in sheet.frame.select(SAMPLE).iter_rows(named=True):
        cells = ["" if value is None else guarded(str(value)) for value in row.values()]
        writer.writerow([*cells, seal(row, sheet.frame.height)])
    write_whole(
        path, file.getvalue().encode("utf-8-sig")
    )  # the mark tells spreadsheets the encoding


def seal(row: Mapping[str, Any], count: int) -> str:
    """The facts of a row of a sample of ``count`` rows, in ASCII, behind their checksum;
    :func:`unseal` reads it.
    """
    facts = [count, *(row[name] for name in FACTS)]
    return f"{digest(facts)}{json.dumps(facts)}"


def unseal(cell: str) -> tuple[dict[str, Any], int]:
    """The facts of a row, and the number of rows of its sample; ValueError for another cell."""
    checksum, bracket, rest = cell.strip().partition("[")
    facts = json.loads(bracket + rest)
    if not isinstance(facts, list) or len(facts) != len(FACTS) + 1 or digest(facts) != checksum:
        raise ValueError("the checksum differs")
    return dict(zip(FACTS, facts[1:], strict=True)), facts[0]


def sheet_rows(path: Path) -> list[tuple[int, list[str]]]:
    """The rows that hold something, numbered as a spreadsheet shows them; the header is the
    first.
    """
    return [(place, cells) for place, (_, cells) in enumerate(read_rows(path), 1) if any(cells)]


def read(path: Path) -> Sheet:
    """The sheet, also after a spreadsheet saved it; ValueError names the row, the column and what
    is wrong.
    """
    if not path.is_file():
        raise ValueError(f"there is no file {shown(path)}: `sportskills audit sample` makes one")
    (_, header), *rows = sheet_rows(path) or [(1, [])]
    if missing := [name for name in (*SAMPLE, DRAWN) if name not in header]:
        raise ValueError(
            f"{path} has no column {missing[0]}: it is no whole sample of `sportskills audit "
            "sample`; put the column "
            "back, or draw again (the same seed draws the same items)"
        )
    kept, counts = list[dict[str, Any]](), set[int]()
    for line, row in rows:
        if len(row) != len(header):
            raise ValueError(
                f"{path}, row {line}: {len(header)} cells are needed, {len(row)} are there: "
                "mend the row"
            )
        cells = dict(zip(header, map(unguarded, row), strict=True))
        try:
            facts, count = unseal(cells[DRAWN])
        except (ValueError, RecursionError):
            raise ValueError(
                f"{path}, row {line}, column {DRAWN}: it is not what the draw wrote: copy the "
                "cell from the first file"
            ) from None
        _compare(f"{path}, row {line}", cells, facts)
        label = _label(f"{path}, row {line}", facts, cells["label"])
        kept.append({name: facts.get(name, cells[name]) for name in SAMPLE} | {"label": label})
        counts.add(count)
    frame = pl.DataFrame(kept, schema=pl.Schema(KINDS), orient="row").select(SAMPLE)
    return _checked(path, frame, counts)


def _compare(place: str, cells: Mapping[str, str], facts: Mapping[str, Any]) -> None:
    """ValueError for the first cell that shows something else than what was drawn."""
    for name, fact in facts.items():
        shown = cells[name].strip()
        if isinstance(fact, str | None):
            same = shown == (fact or "").strip()
        else:
            same = _is_near(shown, fact) or (
                isinstance(fact, float) and _digits(shown) == _digits(str(fact))
            )
        if not same:
            raise ValueError(
                f"{place}, column {name}: {shown[:40]!r} is there, "
                f"{fact if fact is not None else ''!r} was drawn: put "
                "that back, and see whether the row's label is still its own"
            )


def _digits(text: str) -> str:
    """The digits alone: a spreadsheet of another country takes 12.345 for 12345."""
    return "".join(letter for letter in text if letter.isdigit() or letter == "-")


def _is_near(shown: str, fact: float) -> bool:
    try:
        return abs(number(shown) - fact) <= NEAR
    except ValueError:
        return False


def _label(place: str, facts: Mapping[str, Any], cell: str) -> str:
    """The label that a cell means by word or by key; ValueError for one that the filter does not
    have.
    """
    question, said = questions.question(facts["filter"]), cell.strip().lower()
    known = {label: label for label in ("", *question.labels, questions.UNSURE)} | question.keys
    if said not in known:
        raise ValueError(
            f"{place}, column label: item {facts['item_id']} is labelled {said!r}; labels are "
            f"{', '.join(filter(None, known))}"
        )
    return known[said]


def _checked(path: Path, frame: pl.DataFrame, counts: set[int]) -> Sheet:
    """One filter, one run, and every item that was drawn, once."""
    for name in ("filter", "run"):
        if frame[name].n_unique() != 1:
            raise ValueError(
                f"{path} holds {frame[name].n_unique()} values of {name}: score each sample alone"
            )
    if (twice := frame.filter(pl.col("item_id").is_duplicated())).height:
        raise ValueError(f"{path} lists an item twice ({twice['item_id'][0]}): take one row out")
    if counts != {frame.height}:
        raise ValueError(
            f"{path} holds {frame.height} items of a sample of {max(counts)}: put the missing "
            "rows back (without a "
            "label, if nobody gave one), since scores of what somebody picked out mean nothing"
        )
    return Sheet(frame["filter"][0], frame["run"][0], frame)
