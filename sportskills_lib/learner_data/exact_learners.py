"""Learners from ExAct: each clip is a learner, the right comment is what the expert says of it.

The clips are cut from Ego-Exo4D's takes: where takes.json and splits.json lie beside
metadata.jsonl, in the folder above it, or in the folder that ``takes`` names, participants and
splits are theirs (:mod:`sportskills_lib.learner_data.exact_questions`).
"""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path

from sportskills_lib.formats import untrusted_json
from sportskills_lib.learner_data import exact_questions
from sportskills_lib.learner_data.remarks import ReaderSettings, Remark
from sportskills_lib.learner_data.takes import OUTSIDE, sport_and_skill
from sportskills_lib.learner_data.video_lengths import lengths_of
from sportskills_lib.tables import DroppedRow


def read(
    root: Path, lines: Path, settings: ReaderSettings, takes: Path | None, drops: list[DroppedRow]
) -> list[Remark]:
    """Every clip that may become a learner; paths are relative to ``root``, in which metadata.jsonl
    lies.
    """
    items, refused = exact_questions.read_items(lines)
    drops.extend(refused)
    splits = exact_questions.item_splits(
        items, exact_questions.known_takes([takes] if takes else exact_questions.beside(lines))
    )
    usable: list[tuple[exact_questions.ExActItem, str, str, str | None]] = []
    for item in _agreeing(items, drops):
        first, skill = sport_and_skill(item.task_name or "", item.domain)
        sport = settings.sports.choose(first, item.domain)
        path, why = untrusted_json.find_inside(
            root, (lines.parent.relative_to(root) / item.file_name).as_posix()
        )
        if path is None or not item.file_name:
            reason, told = (
                (OUTSIDE, "outside its folder")
                if why == "outside"
                else ("missing_video", "not there")
            )
            _drop(
                drops,
                item,
                reason,
                f"file_name {untrusted_json.preview(item.file_name)} is {told}: fetch the clips",
            )
        elif sport is None:
            _drop(drops, item, "unknown_sport", settings.sports.refusal(first, item.domain))
        elif item.item_id not in splits:
            _drop(
                drops,
                item,
                "no_split",
                f"splits.json names no take {untrusted_json.preview(item.take_name)}",
            )
        else:
            usable.append((item, path, sport, skill))
    lengths = lengths_of(root, [path for _, path, _, _ in usable], workers=settings.workers)
    remarks = []
    for item, path, sport, skill in usable:
        lasts = lengths[path]
        if isinstance(lasts, str):
            _drop(drops, item, "unreadable", lasts)
            continue
        participant, split = splits[item.item_id]
        remarks.append(
            Remark(
                item.item_id,
                item.item_id,
                item.item_id,
                participant.lower(),
                path,
                sport,
                skill,
                0.0,
                lasts,
                item.comment,
                item.good,
                split,
            )
        )
    return remarks


def _drop(
    drops: list[DroppedRow], item: exact_questions.ExActItem, reason: str, detail: str
) -> None:
    drops.append(("learner", item.item_id, reason, f"line {item.line}: {detail}"))


def _agreeing(
    items: list[exact_questions.ExActItem], drops: list[DroppedRow]
) -> list[exact_questions.ExActItem]:
    """The items without those that call the same moment of the same take good and bad, and without
    copies.
    """
    moments: defaultdict[tuple[str, float], list[exact_questions.ExActItem]] = defaultdict(list)
    for item in items:
        if item.video_time is not None:
            moments[item.take_name, round(item.video_time, 1)].append(item)
    kept = []
    said: dict[tuple[str, float | None, str], exact_questions.ExActItem] = {}
    for item in items:
        same = (
            moments.get((item.take_name, round(item.video_time, 1)), [])
            if item.video_time is not None
            else []
        )
        against = next((other for other in same if other.good != item.good), None)
        first = said.setdefault((item.take_name, item.video_time, item.comment), item)
        if against:
            kinds = ("a good execution", "a tip") if item.good else ("a tip", "a good execution")
            told = (
                f"{kinds[0]} here, {kinds[1]} in line {against.line}: the same moment of "
                "the same take"
            )
            _drop(drops, item, "contradictory", told)
        elif first is not item and item.video_time is not None:
            _drop(drops, item, "doubled", f"says the same of the same moment as line {first.line}")
        else:
            kept.append(item)
    return kept
