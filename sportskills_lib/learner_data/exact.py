"""ExAct: clips with an expert's comment, as learners, and the split in which each stands.

``metadata.jsonl`` holds a JSON object a line, the clips lie beside it. They are cut from
Ego-Exo4D's takes, so that a model trained on a take must not be tested on a clip of it:
:func:`item_splits` follows Ego-Exo4D's own splits where takes.json and splits.json lie beside
metadata.jsonl, in the folder above it, or in the folder that ``takes`` names.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import polars as pl

from sportskills_lib import group_splits
from sportskills_lib.formats import untrusted_json
from sportskills_lib.formats.untrusted_json import UnusableRow
from sportskills_lib.learner_data.remarks import (
    TEST_SHARE,
    VAL_SHARE,
    Moment,
    ReaderSettings,
    Remark,
    dropping,
    require,
    undisputed,
    video_inside,
    within_videos,
)
from sportskills_lib.learner_data.takes import list_takes, read_splits, sport_and_skill
from sportskills_lib.tables import DroppedRow

FIELDS = ("file_name", "id", "domain", "is_ge", "groundTruth")


@dataclass(frozen=True)
class ExActItem:
    """A learner's clip of ExAct and what an expert says of it."""

    item_id: str
    file_name: str
    domain: str
    take_name: str
    good: bool  # a comment on good execution, else a tip for improvement
    comment: str  # the right one
    video_time: float | None = None  # the moment in the take, in seconds
    task_name: str | None = None
    line: int = 0


def read_items(path: Path) -> tuple[list[ExActItem], list[DroppedRow]]:
    """Every usable line of metadata.jsonl in its order, and a dropped row for each of the others.

    ValueError when no line is an object with ExAct's fields, since it is another file then.
    """
    listed: dict[str, list[ExActItem]] = {}
    drops: list[DroppedRow] = []
    looks_right = False
    for number, row, error in untrusted_json.json_lines(path):
        named = isinstance(row, dict) and row.get("id") is not None
        label = untrusted_json.preview(row["id"]) if named else f"line{number}"
        with dropping(drops, "learner", label, f"line {number}: "):
            if error or not isinstance(row, dict):
                shown = untrusted_json.preview(row)
                raise UnusableRow("bad_row", error or f"{shown} is not an object")
            looks_right |= {"file_name", "id", "groundTruth"} <= set(row)
            item = _item(row, number)
            listed.setdefault(item.item_id, []).append(item)
    if not looks_right:
        raise ValueError(
            f"{path} has no line with {', '.join(FIELDS)}: give ExAct's metadata.jsonl as published"
        )
    items = []
    for item_id, (first, *others) in listed.items():
        same = all(replace(other, line=first.line) == first for other in others)
        reason, verb = ("doubled", "repeats") if same else ("contradictory", "contradicts")
        if same:
            items.append(first)
        for item in others if same else (first, *others):
            line = first.line if item is not first else others[0].line
            detail = f"line {item.line}: {verb} line {line}, which has the same id"
            drops.append(("learner", item_id, reason, detail))
    return items, drops


def _item(row: dict[str, Any], line: int) -> ExActItem:
    """UnusableRow with the reason where the line gives no item."""
    if missing := [field for field in FIELDS if field not in row]:
        raise UnusableRow("missing_field", f"no {', '.join(missing)}")
    untrusted_json.require_distinct_keys(row)
    show, text = untrusted_json.preview, untrusted_json.text
    at_s = untrusted_json.require_seconds(row, "video_time")
    if at_s is not None and at_s < 0:
        raise UnusableRow("bad_time", f"video_time {at_s:g} is before the take's start")
    item_id = untrusted_json.identity(row["id"])
    item_id = require(item_id, "bad_id", f"id {show(row['id'])} is not a usable id")
    return ExActItem(
        item_id=item_id,
        file_name=row["file_name"] if isinstance(row["file_name"], str) else "",
        domain=text(row["domain"]) or "",
        take_name=text(row.get("take_name")) or item_id,
        good=require(
            untrusted_json.flag(row["is_ge"]),
            "bad_value",
            f"is_ge {show(row['is_ge'])} is neither true nor false",
        ),
        comment=require(text(row["groundTruth"]), "empty_comment", "groundTruth has no text"),
        video_time=at_s,
        task_name=text(row.get("task_name")),
        line=line,
    )


# ----------------------------------------------------------------------------------------- learners


def read(
    root: Path, lines: Path, settings: ReaderSettings, takes: Path | None, drops: list[DroppedRow]
) -> list[Remark]:
    """Every clip that may become a learner; paths are relative to ``root``, in which metadata.jsonl
    lies.
    """
    items, refused = read_items(lines)
    drops.extend(refused)
    splits = item_splits(items, lines, takes)
    moments = [
        Moment(item.item_id, item.take_name, item.video_time, item.comment, item.good)
        for item in items
        if item.video_time is not None
    ]
    kept = {moment.item_id for moment in undisputed("learner", moments, drops)}
    remarks = []
    for item in items:
        if item.video_time is None or item.item_id in kept:
            with dropping(drops, "learner", item.item_id, f"line {item.line}: "):
                remarks.append(_remark(item, root, lines, settings, splits))
    return within_videos(root, remarks, settings.workers, drops)


def _remark(
    item: ExActItem,
    root: Path,
    lines: Path,
    settings: ReaderSettings,
    splits: dict[str, tuple[str, str]],
) -> Remark:
    """The item's remark, over all of its video. UnusableRow with the reason where the item gives
    none.
    """
    first, skill = sport_and_skill(item.task_name or "", item.domain)
    relative = (lines.parent.relative_to(root) / item.file_name).as_posix()
    path = video_inside(root, item.file_name and relative, "file_name")
    sport = settings.sports.find(first, item.domain)
    take = untrusted_json.preview(item.take_name)
    participant, split = require(
        splits.get(item.item_id), "no_split", f"splits.json names no take {take}"
    )
    return Remark(
        item_id=item.item_id,
        take_id=item.item_id,
        participant=participant.lower(),
        path=path,
        sport=sport,
        skill=skill,
        start_s=0.0,
        end_s=math.inf,
        text=item.comment,
        is_good=item.good,
        split=split,
    )


# ------------------------------------------------------------------------------------------- splits


def known_takes(folders: Iterable[Path]) -> tuple[dict[str, str], dict[str, str]]:
    """Participants and splits of Ego-Exo4D's takes, by uid and by name, from the first of the
    folders that holds takes.json or splits.json; else empty.
    """
    for folder in folders:
        splits, listed = read_splits(folder), (folder / "takes.json").is_file()
        if not splits and not listed:
            continue
        people: dict[str, str] = {}
        entries = list_takes(folder) if listed else []
        for take in [entry for entry in entries if isinstance(entry, dict)]:
            uid, called = (untrusted_json.name(take.get(key)) for key in ("take_uid", "take_name"))
            person = untrusted_json.name(take.get("participant_uid"))
            names = list(filter(None, (uid, called)))
            people |= dict.fromkeys(names, person) if person else {}
            splits |= dict.fromkeys(names, splits[uid]) if uid in splits else {}
        return people, splits
    return {}, {}


def capture_of(take_name: str) -> str:
    """The recording session: Ego-Exo4D names takes ``<capture>_<number>``, and one person does
    those of a capture.
    """
    return re.sub(r"_\d+$", "", take_name)


def item_splits(
    items: list[ExActItem], lines: Path, takes: Path | None = None
) -> dict[str, tuple[str, str]]:
    """(participant, split) of every item by its id; an item whose take stands in no official split
    is left out.

    Without official splits whole participants are dealt out by sport, by the hash of their names. A
    participant whom no file names is the capture.
    """
    known, splits = known_takes([takes] if takes else [lines.parent, lines.parent.parent])
    people = {
        item.item_id: known.get(item.take_name) or f"capture {capture_of(item.take_name)}"
        for item in items
    }
    if splits:
        found = {item.item_id: (people[item.item_id], splits[item.take_name])
                 for item in items if item.take_name in splits}  # fmt: skip
        if items and not found:
            raise ValueError(
                "splits.json names none of ExAct's takes: put Ego-Exo4D's takes.json beside "
                "it, which names their uids"
            )
        return found
    rows = [(item.domain, people[item.item_id]) for item in items]
    frame = pl.DataFrame(rows, schema={"sport": pl.String, "channel": pl.String}, orient="row")
    dealt, _ = group_splits.assign_splits(frame, test_fraction=TEST_SHARE, val_fraction=VAL_SHARE)
    return {name: (person, dealt[person]) for name, person in people.items()}
