"""ExAct's questions (which of five expert comments belongs to this clip?), and the split in which
each stands.

``metadata.jsonl`` holds a JSON object a line, the clips lie beside it. They are cut from
Ego-Exo4D's takes, so that a model trained on a take must not be asked about a clip of it: 04 (clips
as learners) and 05 (the choice of five) ask :func:`item_splits`, which follows Ego-Exo4D's own
splits where its files are there.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl

from sportskills_lib import group_splits, tables
from sportskills_lib.formats import untrusted_json
from sportskills_lib.formats.untrusted_json import UnusableRow
from sportskills_lib.tables import DroppedRow

FIELDS = ("file_name", "id", "domain", "is_ge", "groundTruth")
WRONG = 4  # other comments of a question
TEST_SHARE, VAL_SHARE = 0.3, 0.1  # of a sport's participants, where no file says the split; ours
SPLIT_FILES = ("splits.json", "annotations/splits.json")


@dataclass(frozen=True)
class ExActItem:
    """One question of ExAct, and the learner's clip that it is about."""

    item_id: str
    file_name: str
    domain: str
    take_name: str
    good: bool  # a comment on good execution, else a tip for improvement
    comment: str  # the right one
    negatives: tuple[str, ...] = ()
    video_time: float | None = None  # the moment in the take, in seconds
    task_name: str | None = None
    line: int = 0

    @property
    def answer(self) -> int:
        """Place of the right comment among the options; it follows from the id, so that every run
        has the same.
        """
        return zlib.crc32(self.item_id.encode()) % (len(self.negatives) + 1)

    @property
    def options(self) -> tuple[str, ...]:
        """The five comments, the right one at ``answer``."""
        return (*self.negatives[: self.answer], self.comment, *self.negatives[self.answer :])


def read_items(path: Path) -> tuple[list[ExActItem], list[DroppedRow]]:
    """Every usable line of metadata.jsonl in its order, and a dropped row for each of the others.

    A question without four other comments is no question, but still a learner: it is kept.
    ValueError when no line is an object with ExAct's fields, since it is another file then.
    """
    items: dict[str, ExActItem] = {}
    clashing: set[str] = set()
    drops: list[DroppedRow] = []
    looks_right = False
    for number, row, error in untrusted_json.json_lines(path):
        if error or not isinstance(row, dict):
            detail = (
                f"line {number}: {error}"
                if error
                else f"line {number} holds {untrusted_json.preview(row)}, not an object"
            )
            drops.append(("learner", f"line{number}", "bad_row", detail))
            continue
        looks_right |= {"file_name", "id", "groundTruth"} <= set(row)
        try:
            found = _item(row, number)
        except UnusableRow as why:
            name = row.get("id")
            label = untrusted_json.preview(name) if name is not None else f"line{number}"
            drops.append(("learner", label, why.reason, f"line {number}: {why.detail}"))
            continue
        if found.item_id not in items:
            items[found.item_id] = found
        else:
            first = items[found.item_id]
            same = (first.file_name, first.comment, first.good) == (
                found.file_name,
                found.comment,
                found.good,
            )
            verb = "says the same as" if same else "contradicts"
            detail = f"line {number} {verb} line {first.line}, which has the same id"
            drops.append(("learner", found.item_id, "doubled" if same else "contradictory", detail))
            clashing |= set() if same else {found.item_id}
    if not looks_right:
        raise ValueError(
            f"{path} has no line with {', '.join(FIELDS)}: give ExAct's metadata.jsonl as published"
        )
    for key in sorted(clashing):
        detail = f"line {items[key].line} is contradicted by a later line with the same id"
        drops.append(("learner", key, "contradictory", detail))
        del items[key]
    return list(items.values()), drops


def _item(row: dict[str, Any], line: int) -> ExActItem:
    """UnusableRow with the reason where the line gives no question."""
    if missing := [field for field in FIELDS if field not in row]:
        raise UnusableRow("missing_field", f"no {', '.join(missing)}")
    untrusted_json.require_distinct_keys(row)
    item_id, good = untrusted_json.identity(row["id"]), untrusted_json.flag(row["is_ge"])
    comment = untrusted_json.text(row["groundTruth"])
    if item_id is None:
        raise UnusableRow("bad_id", f"id {untrusted_json.preview(row['id'])} is not a usable id")
    if good is None:
        value = untrusted_json.preview(row["is_ge"])
        raise UnusableRow("bad_value", f"is_ge {value} is neither true nor false")
    if comment is None:
        raise UnusableRow("empty_comment", "groundTruth has no text")
    at_s = untrusted_json.require_seconds(row, "video_time")
    if at_s is not None and at_s < 0:
        raise UnusableRow("bad_time", f"video_time {at_s:g} is before the take's start")
    others = row.get("negative_comments")
    texts = map(untrusted_json.text, others if isinstance(others, list) else ())
    return ExActItem(
        item_id=item_id,
        file_name=row["file_name"] if isinstance(row["file_name"], str) else "",
        domain=untrusted_json.text(row["domain"]) or "",
        take_name=untrusted_json.text(row.get("take_name")) or item_id,
        good=good,
        comment=comment,
        negatives=tuple(other for other in texts if other),
        video_time=at_s,
        task_name=untrusted_json.text(row.get("task_name")),
        line=line,
    )


# ------------------------------------------------------------------------------------------- splits


@dataclass(frozen=True)
class KnownTakes:
    """What Ego-Exo4D's files say of its takes, by uid and by name. ``splits`` is empty where no
    file says them.
    """

    participants: dict[str, str]
    splits: dict[str, str]


def read_splits(folder: Path) -> dict[str, str]:
    """Split by take of Ego-Exo4D's ``splits.json``, in the folder or in ``annotations``; empty
    without the file.
    """
    path = next((folder / name for name in SPLIT_FILES if (folder / name).is_file()), None)
    if path is None:
        return {}
    said = untrusted_json.load_json(path)
    by_take = said.get("take_uid_to_split", said) if isinstance(said, dict) else None
    if not isinstance(by_take, dict):
        raise ValueError(
            f"{path} has no take_uid_to_split: give Ego-Exo4D's splits.json, or remove it"
        )
    found = {take: str(split).lower() for take, split in by_take.items() if isinstance(split, str)}
    known = {take: split for take, split in found.items() if split in tables.SPLITS}
    if not known:
        raise ValueError(
            f"{path} names no take of {', '.join(tables.SPLITS)}: give Ego-Exo4D's splits.json"
        )
    return known


def known_takes(folders: Iterable[Path]) -> KnownTakes:
    """Participants and splits from the first of the folders that holds takes.json or splits.json;
    else empty.
    """
    for folder in folders:
        splits, listed = read_splits(folder), folder / "takes.json"
        if not splits and not listed.is_file():
            continue
        takes = untrusted_json.load_json(listed) if listed.is_file() else []
        if not isinstance(takes, list):
            raise ValueError(
                f"{listed} is {untrusted_json.preview(takes)}, not a list of takes: fetch it again"
            )
        people: dict[str, str] = {}
        for take in takes:
            if not isinstance(take, dict):
                continue
            uid, called = (untrusted_json.name(take.get(key)) for key in ("take_uid", "take_name"))
            person = untrusted_json.name(take.get("participant_uid"))
            names = list(filter(None, (uid, called)))
            people |= dict.fromkeys(names, person) if person else {}
            splits |= dict.fromkeys(names, splits[uid]) if uid in splits else {}
        return KnownTakes(people, splits)
    return KnownTakes({}, {})


def beside(path: Path) -> list[Path]:
    """Where Ego-Exo4D's files are looked for: the folder of metadata.jsonl, and the one above
    it.
    """
    return [path.parent, path.parent.parent]


def capture_of(take_name: str) -> str:
    """The recording session: Ego-Exo4D names takes ``<capture>_<number>``, and one person does
    those of a capture.
    """
    return re.sub(r"_\d+$", "", take_name)


def item_splits(items: list[ExActItem], takes: KnownTakes) -> dict[str, tuple[str, str]]:
    """(participant, split) of every item by its id; an item whose take stands in no official split
    is left out.

    Without official splits whole participants are dealt out by sport, by the hash of their names. A
    participant whom no file names is the capture.
    """
    people = {
        item.item_id: takes.participants.get(item.take_name)
        or (f"capture {capture_of(item.take_name)}")
        for item in items
    }
    if takes.splits:
        found = {item.item_id: (people[item.item_id], takes.splits[item.take_name])
                 for item in items if item.take_name in takes.splits}  # fmt: skip
        if items and not found:
            raise ValueError(
                "splits.json names none of ExAct's takes: put Ego-Exo4D's takes.json beside "
                "it, which names their uids"
            )
        return found
    rows = [(item.domain, people[item.item_id]) for item in items]
    frame = pl.DataFrame(rows, schema={"sport": pl.String, "channel": pl.String}, orient="row")
    splits, _ = group_splits.assign_splits(frame, test_fraction=TEST_SHARE, val_fraction=VAL_SHARE)
    return {item.item_id: (people[item.item_id], splits[people[item.item_id]]) for item in items}
