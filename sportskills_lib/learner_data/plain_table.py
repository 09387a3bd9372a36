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
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import polars as pl

from sportskills_lib import tables
from sportskills_lib.formats import untrusted_json
from sportskills_lib.formats.untrusted_json import UnusableRow
from sportskills_lib.learner_data.remarks import ReaderSettings, Remark
from sportskills_lib.learner_data.takes import OUTSIDE
from sportskills_lib.learner_data.video_lengths import lengths_of
from sportskills_lib.tables import DroppedRow

SUFFIXES = (".csv", ".parquet")
NEEDED = ("video", "start", "end", "sport", "skill", "comment")
OPTIONAL = ("participant", "split", "is_mistake")
SHORTEST_S = 0.1
# a span may end so much after its video, and ends with it: people round, and so do containers
SLACK_S = 0.5
_RECORD_LINES = 100  # a quoted comment of more lines is a quote that was never closed


def read(path: Path, settings: ReaderSettings, drops: list[DroppedRow]) -> list[Remark]:
    """Every row that may become a learner; the others go to ``drops`` as ``row<number>``, counted
    from 1.
    """
    rows = _parquet_rows(path) if path.suffix.lower() == ".parquet" else _csv_rows(path, drops)
    remarks = list[Remark]()
    for number, row in rows:
        try:
            remarks.append(_remark(path.parent, f"row{number}", row, settings))
        except UnusableRow as why:
            drops.append(("learner", f"row{number}", why.reason, f"row {number}: {why.detail}"))
    lengths = lengths_of(path.parent, [remark.path for remark in remarks], workers=settings.workers)
    kept = []
    for remark in remarks:
        lasts = lengths[remark.path]
        if isinstance(lasts, str):
            drops.append(
                ("learner", remark.item_id, "unreadable", f"row {remark.item_id[3:]}: {lasts}")
            )
        elif remark.end_s > lasts + SLACK_S or remark.start_s > lasts - SHORTEST_S:
            detail = (
                f"row {remark.item_id[3:]}: {remark.start_s:g} to {remark.end_s:g} s; the "
                f"video lasts {lasts:.2f} s"
            )
            drops.append(("learner", remark.item_id, "outside_video", detail))
        else:
            kept.append(replace(remark, end_s=min(remark.end_s, lasts)))
    return kept


def _remark(folder: Path, label: str, row: dict[str, Any], settings: ReaderSettings) -> Remark:
    """UnusableRow with the reason where the row gives no learner."""
    path = _video_path(folder, row["video"])
    start_s, end_s = _span(row)
    comment, named = untrusted_json.text(row["comment"]), untrusted_json.text(row["sport"])
    if comment is None:
        raise UnusableRow("empty_comment", "comment is empty: write one, or remove the row")
    sport = settings.sports.choose(named)
    if sport is None:
        raise UnusableRow(
            "unknown_sport",
            settings.sports.refusal(named) if named else "sport is empty: fill it in",
        )
    split = (untrusted_json.text(row.get("split")) or "").lower() or None
    if split not in (None, *tables.SPLITS):
        shown = untrusted_json.preview(row["split"])
        raise UnusableRow("bad_value", f"split {shown} is none of {', '.join(tables.SPLITS)}")
    mistake = untrusted_json.flag(row.get("is_mistake"))
    if mistake is None and row.get("is_mistake") not in (None, ""):
        shown = untrusted_json.preview(row["is_mistake"])
        raise UnusableRow("bad_value", f"is_mistake {shown} is neither true nor false")
    person, take_id = untrusted_json.name(row.get("participant")), _take_id(path)
    return Remark(
        item_id=label,
        owner=take_id,
        take_id=take_id,
        participant=person.lower() if person else f"video {path}",
        path=path,
        sport=sport,
        skill=(untrusted_json.text(row["skill"]) or "").lower() or None,
        start_s=start_s,
        end_s=end_s,
        text=comment,
        is_good=None if mistake is None else not mistake,
        split=split,
    )


def _video_path(folder: Path, value: Any) -> str:
    name = value.strip() if isinstance(value, str) else ""
    path, why = untrusted_json.find_inside(folder, name)
    if path is not None:
        return path
    shown = untrusted_json.preview(name)
    if why == "outside":
        raise UnusableRow(
            OUTSIDE, f"video {shown} is outside the table's folder: link or copy it there"
        )
    raise UnusableRow("missing_video", f"video {shown} does not exist")


def _span(row: dict[str, Any]) -> tuple[float, float]:
    start_s, end_s = (untrusted_json.require_seconds(row, name) for name in ("start", "end"))
    if start_s is None or end_s is None:
        raise UnusableRow("bad_time", "start or end is empty, no number of seconds")
    if start_s < 0:
        raise UnusableRow(
            "bad_span", f"the span {start_s:g} to {end_s:g} s starts before the video"
        )
    if end_s - start_s < SHORTEST_S:
        detail = f"must end at least {SHORTEST_S} s after it starts"
        raise UnusableRow("bad_span", f"the span {start_s:g} to {end_s:g} s {detail}")
    return start_s, end_s


def _take_id(path: str) -> str:
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


def _parquet_rows(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    try:
        frame = pl.read_parquet(path)
        places = _columns(path, frame.columns)
        rows = frame.select(pl.nth(list(places.values()))).rows()
    except (OSError, pl.exceptions.PolarsError, pl.exceptions.PanicException) as error:
        raise ValueError(
            f"learners {path} cannot be read ({untrusted_json.preview(str(error))}): save it again"
        ) from None
    return (
        (number, dict(zip(places, row, strict=True))) for number, row in enumerate(rows, start=1)
    )


def _csv_rows(path: Path, drops: list[DroppedRow]) -> Iterator[tuple[int, dict[str, Any]]]:
    """Rows with as many values as the header has; bytes that are no UTF-8 become a mark, so that
    they cost no row.

    A quote that is never closed would swallow all that follows: the line that opened it is dropped,
    and reading goes on with the next.
    """
    try:
        lines = (
            path.read_bytes()
            .decode("utf-8-sig", "replace")
            .replace("\r\n", "\n")
            .replace("\r", "\n")
            .split("\n")
        )
    except OSError as error:
        raise ValueError(
            f"learners {path} cannot be read ({error.strerror}): name an existing file"
        ) from None
    header, line = _record(lines, 0)
    places = _columns(path, header or [])
    number = 0
    while line < len(lines):
        if not lines[line].strip():
            line += 1
            continue
        number += 1
        values, after = _record(lines, line)
        if values is None or len(values) != len(header or []):
            detail = (
                "a quote is not closed"
                if values is None
                else f"{len(values)} values, the header has {len(header or [])}"
            )
            drops.append(
                ("learner", f"row{number}", "bad_row", f"row {number} (line {line + 1}): {detail}")
            )
            line += 1
            continue
        yield number, {name: values[place] for name, place in places.items()}
        line = after


def _record(lines: list[str], first: int) -> tuple[list[str] | None, int]:
    """The values that begin at a line, None when they do not end; and the line after them."""
    reader = csv.reader((f"{line}\n" for line in lines[first : first + _RECORD_LINES]), strict=True)
    try:
        values = next(reader, [])
    except (
        csv.Error
    ):  # no closing quote, text after one, or a field of more than 131,072 characters
        return None, first + 1
    return values, first + reader.line_num
