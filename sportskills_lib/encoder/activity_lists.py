"""Lists of labelled videos, as activity data sets come: Kinetics' CSV and Something-Something's
JSON.
"""

from __future__ import annotations

import csv
import json
import math
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from sportskills_lib import tables, video

KINETICS = ("label", "youtube_id", "time_start", "time_end", "split")
Dropped = tuple[str, str, str, str]  # item_kind, item_id, reason, detail


@dataclass(frozen=True)
class Labelled:
    """A span of a file and its label; no span: the whole file. ``class_name`` is the class where
    that is wider.
    """

    clip_id: str
    video_id: str
    path: Path
    label: str
    class_name: str
    start_s: float = 0.0
    end_s: float | None = None


def read_lists(folder: Path) -> tuple[list[Labelled], list[Dropped]]:
    """The training rows of every list in ``folder``, and every other row with the reason why it is
    left out.

    Lists: ``*.csv`` with Kinetics' columns label, youtube_id, time_start, time_end, split; or
    Something-Something's
    ``*train*.json`` (id, template, placeholders, perhaps label) beside ``*labels.json`` (template →
    number). Videos lie anywhere below ``folder``: ``<id>.<suffix>``, or
    ``<id>_<start>_<end>.<suffix>`` (six digits each) where a downloader cut them. Reasons: bad_row,
    other_split, unknown_label, no_video, duplicate_row. ValueError when the folder has no such
    list.
    """
    if not folder.is_dir():
        raise ValueError(
            f"activity_source {folder} is no folder: name one with videos and their labels"
        )
    files = _files(folder)
    found: list[Labelled] = []
    dropped: list[Dropped] = []
    lists = [
        *_kinetics_lists(folder),
        *sorted(p for p in folder.rglob("*train*.json") if p.is_file()),
    ]
    for path in lists:
        for item in _kinetics(path, files) if path.suffix == ".csv" else _something(path, files):
            if isinstance(item, Labelled):
                found.append(item)
            else:
                dropped.append(item)
    if not lists:
        raise ValueError(
            f"activity_source {folder} has no list of labels: a CSV with the columns "
            f"{', '.join(KINETICS)}, "
            "or Something-Something's train and labels JSON"
        )
    kept = {row.clip_id: row for row in reversed(found)}  # the first of equal spans
    again = [row for row in found if kept[row.clip_id] is not row]
    dropped += [
        ("clip", row.clip_id, "duplicate_row", f"listed again as {row.label!r}") for row in again
    ]
    return [row for row in found if kept[row.clip_id] is row], dropped


def _files(folder: Path) -> dict[str, Path]:
    """Video files by their names without suffix."""
    paths = (
        path
        for path in folder.rglob("*")
        if path.suffix.lower() in video.SUFFIXES and path.is_file()
    )
    return {path.stem: path for path in sorted(paths)}


def _kinetics_lists(folder: Path) -> Iterator[Path]:
    for path in sorted(folder.rglob("*.csv")):
        with path.open(newline="", encoding="utf-8-sig") as file:
            if set(KINETICS) <= set(next(csv.reader(file), [])):
                yield path


def _kinetics(path: Path, files: dict[str, Path]) -> Iterator[Labelled | Dropped]:
    with path.open(newline="", encoding="utf-8-sig") as file:
        for number, row in enumerate(csv.DictReader(file), start=2):
            yield _kinetics_row(row, f"{path.name}:{number}", files)


def _kinetics_row(
    row: dict[str, str | None], place: str, files: dict[str, Path]
) -> Labelled | Dropped:
    name, label, split = ((row[key] or "").strip() for key in ("youtube_id", "label", "split"))
    if not re.match(tables.ID_PATTERN, name) or not label:
        return "clip", place, "bad_row", f"youtube_id {name!r}, label {label!r}"
    try:
        start_s, end_s = float(row["time_start"] or ""), float(row["time_end"] or "")
    except ValueError:
        return (
            "clip",
            place,
            "bad_row",
            f"times {row['time_start']!r} to {row['time_end']!r} of {name} are no numbers",
        )
    if not (math.isfinite(end_s) and 0 <= start_s < end_s):
        return "clip", place, "bad_row", f"{name} would last from {start_s} to {end_s} s"
    if split not in ("train", ""):
        return "clip", place, "other_split", f"{name} is in split {split!r}"
    clip_id, cut = (
        tables.span_id(name, start_s, end_s),
        f"{name}_{round(start_s):06d}_{round(end_s):06d}",
    )
    if cut in files:
        return Labelled(clip_id, name, files[cut], label, label)
    if name not in files:
        return (
            "clip",
            clip_id,
            "no_video",
            f"neither {name} nor {cut} is among the files (a dead link?)",
        )
    return Labelled(clip_id, name, files[name], label, label, start_s, end_s)


def _something(path: Path, files: dict[str, Path]) -> Iterator[Labelled | Dropped]:
    known = _templates(path)
    try:
        rows = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        rows = str(error)
    if not isinstance(rows, list):
        yield "file", path.name, "bad_row", f"no JSON list of videos: {str(rows)[:80]}"
        return
    for number, row in enumerate(rows):
        yield _something_row(row, f"{path.name}:{number}", known, files)


def _something_row(
    row: object, place: str, known: set[str], files: dict[str, Path]
) -> Labelled | Dropped:
    fields = row if isinstance(row, dict) else {}
    name, template, things = (
        str(fields.get("id", "")),
        fields.get("template"),
        fields.get("placeholders", []),
    )
    if (
        not re.match(tables.ID_PATTERN, name)
        or not isinstance(template, str)
        or not isinstance(things, list)
    ):
        return (
            "clip",
            place,
            "bad_row",
            f"id {name!r}, template {template!r}, placeholders {things!r}",
        )
    slots = re.findall(r"\[[^\]]*\]", template)
    if len(slots) != len(things):
        return (
            "clip",
            name,
            "bad_row",
            f"{template!r} has {len(slots)} places for {len(things)} things",
        )
    plain = re.sub(r"[\[\]]", "", template)
    if known and plain not in known:
        return "clip", name, "unknown_label", f"{plain!r} is not among the labels"
    if name not in files:
        return "clip", name, "no_video", f"no file {name} below the folder"
    return Labelled(name, name, files[name], _filled(template, things), plain)


def _filled(template: str, things: Iterable[object]) -> str:
    """ "Holding [something]" with its thing in place."""
    left = [str(thing) for thing in things]
    return re.sub(r"\[[^\]]*\]", lambda _: left.pop(0), template)


def _templates(path: Path) -> set[str]:
    """The known classes, from the labels file beside the list; empty: any."""
    beside = sorted(other for other in path.parent.glob("*labels*.json") if other != path)
    return set(json.loads(beside[0].read_text(encoding="utf-8"))) if beside else set()
