"""Learners from a plain table: a CSV or Parquet file with a row for each try.

Columns ``video`` (a path relative to the table's folder, and inside it), ``start`` and ``end``
(seconds), ``sport``,
``skill`` (may be empty), ``comment``; and, if they are known, ``participant``, ``split`` (train,
val or test) and ``is_mistake``. Other columns are not read. Without participants the video is the
group that a split keeps whole.
"""

from __future__ import annotations

import csv
import hashlib
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import polars as pl

from sportskills_lib import tables
from sportskills_lib.formats import untrusted_json
from sportskills_lib.formats.untrusted_json import UnusableRow
from sportskills_lib.learner_data.remarks import (
    SHORTEST_S,
    ReaderSettings,
    Remark,
    dropping,
    require,
    video_inside,
    within_videos,
)
from sportskills_lib.tables import DroppedRow

SUFFIXES = (".csv", ".parquet")
NEEDED = ("video", "start", "end", "sport", "skill", "comment")
OPTIONAL = ("participant", "split", "is_mistake")
_RECORD_LINES = 100  # a quoted comment of more lines is a quote that was never closed


def read(path: Path, settings: ReaderSettings, drops: list[DroppedRow]) -> list[Remark]:
    """Every row that may become a learner; the others go to ``drops`` as ``row<number>``, counted
    from 1.
    """
    rows = _parquet_rows(path) if path.suffix.lower() == ".parquet" else _csv_rows(path, drops)
    remarks = list[Remark]()
    for number, row in rows:
        with dropping(drops, "learner", f"row{number}"):
            remarks.append(_remark(path.parent, f"row{number}", row, settings))
    return within_videos(path.parent, remarks, settings.workers, drops)


def _remark(folder: Path, label: str, row: dict[str, Any], settings: ReaderSettings) -> Remark:
    """UnusableRow with the reason where the row gives no learner."""
    text, show = untrusted_json.text, untrusted_json.preview
    video = row["video"].strip() if isinstance(row["video"], str) else ""
    path = video_inside(folder, video, "video")
    start_s, end_s = _span(row)
    split = (text(row.get("split")) or "").lower() or None
    if split not in (None, *tables.SPLITS):
        named = ", ".join(tables.SPLITS)
        raise UnusableRow("bad_value", f"split {show(row['split'])} is none of {named}")
    mistake = untrusted_json.flag(row.get("is_mistake"))
    if mistake is None and row.get("is_mistake") not in (None, ""):
        shown = show(row["is_mistake"])
        raise UnusableRow("bad_value", f"is_mistake {shown} is neither true nor false")
    person, take_id = untrusted_json.name(row.get("participant")), take_id_of(path)
    return Remark(
        item_id=label,
        take_id=take_id,
        participant=person.lower() if person else f"video {path}",
        path=path,
        sport=settings.sports.find(text(row["sport"])),
        skill=(text(row["skill"]) or "").lower() or None,
        start_s=start_s,
        end_s=end_s,
        text=require(text(row["comment"]), "empty_comment", "comment is empty: write one"),
        is_good=None if mistake is None else not mistake,
        split=split,
    )


def _span(row: dict[str, Any]) -> tuple[float, float]:
    start_s, end_s = (
        require(untrusted_json.require_seconds(row, name), "bad_time", f"{name} is empty")
        for name in ("start", "end")
    )
    if start_s < 0 or end_s - start_s < SHORTEST_S:
        raise UnusableRow(
            "bad_span",
            f"the span {start_s:g} to {end_s:g} s must start in the video and end at least "
            f"{SHORTEST_S} s later",
        )
    return start_s, end_s


def take_id_of(path: str) -> str:
    """An id of the video that is safe as a file's name: its path where that is one, else made of it
    and its digest.
    """
    if untrusted_json.identity(path):
        return path
    plain = re.sub(r"[^A-Za-z0-9_-]+", "-", path).strip("-")[-80:].strip("-")
    return "-".join(filter(None, (plain, hashlib.sha256(path.encode()).hexdigest()[:8])))


# ---------------------------------------------------------------------------------------- the files


def _columns(path: Path, names: list[str]) -> dict[str, int]:
    """Place of each column that is read. ValueError when one is missing or there twice."""
    plain = [name.lstrip("\ufeff").strip().lower() for name in names]
    if missing := [name for name in NEEDED if name not in plain]:
        has = untrusted_json.preview(", ".join(plain)) or "none"
        raise ValueError(
            f"learners {path} has no column {', '.join(missing)} (it has {has}): "
            "add it; columns are "
            "parted by commas"
        )
    read = [name for name in (*NEEDED, *OPTIONAL) if name in plain]
    if twice := [name for name in read if plain.count(name) > 1]:
        raise ValueError(f"learners {path} has the column {twice[0]} twice: remove one")
    return {name: plain.index(name) for name in read}


def _parquet_rows(path: Path) -> Iterable[tuple[int, dict[str, Any]]]:
    try:
        frame = pl.read_parquet(path)
        places = _columns(path, frame.columns)
        rows = frame.select(pl.nth(list(places.values()))).rows()
    except (OSError, pl.exceptions.PolarsError, pl.exceptions.PanicException) as error:
        raise ValueError(
            f"learners {path} cannot be read ({untrusted_json.preview(str(error))}): save it again"
        ) from None
    return enumerate((dict(zip(places, row, strict=True)) for row in rows), start=1)


def _csv_rows(path: Path, drops: list[DroppedRow]) -> Iterable[tuple[int, dict[str, Any]]]:
    """Rows with as many values as the header has; bytes that are no UTF-8 become a mark, so that
    they cost no row.

    A quote that is never closed would swallow all that follows: the line that opened it is dropped,
    and reading goes on with the next.
    """
    try:
        with path.open(encoding="utf-8-sig", errors="replace") as file:
            lines = file.readlines()
    except OSError as error:
        raise ValueError(
            f"learners {path} cannot be read ({error.strerror}): name an existing file"
        ) from None
    header, line = _record(lines, 0)
    places, number = _columns(path, header or []), 0
    rows: list[tuple[int, dict[str, Any]]] = []
    while line < len(lines):
        first, (values, line) = line, _record(lines, line)
        if not lines[first].strip():
            continue
        number += 1
        with dropping(drops, "learner", f"row{number}", f"line {first + 1}: "):
            values = require(values, "bad_row", "a quote is not closed")
            if len(values) != len(header or []):
                raise UnusableRow(
                    "bad_row", f"{len(values)} values, the header has {len(header or [])}"
                )
            rows.append((number, {name: values[place] for name, place in places.items()}))
    return rows


def _record(lines: list[str], first: int) -> tuple[list[str] | None, int]:
    """The values that begin at a line, None when they do not end; and the line after them."""
    reader = csv.reader(lines[first : first + _RECORD_LINES], strict=True)
    try:
        values = next(reader, [])
    except (
        csv.Error
    ):  # no closing quote, text after one, or a field of more than 131,072 characters
        return None, first + 1
    return values, first + max(1, reader.line_num)
