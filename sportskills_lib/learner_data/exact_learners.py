"""Learners from ExAct: each clip is a learner, the right comment is what the expert says of it.

The clips are cut from Ego-Exo4D's takes: where takes.json and splits.json lie beside
metadata.jsonl, in the folder above it, or in the folder that ``takes`` names, participants and
splits are theirs (:mod:`sportskills_lib.learner_data.exact_questions`).
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import replace
from pathlib import Path

from sportskills_lib.formats import untrusted_json
from sportskills_lib.formats.untrusted_json import UnusableRow
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
    learners: list[tuple[exact_questions.ExActItem, Remark]] = []
    for item in _agreeing(items, drops):
        try:
            learners.append((item, _remark(item, root, lines, settings, splits)))
        except UnusableRow as why:
            _drop(drops, item, why.reason, why.detail)
    lengths = lengths_of(root, [remark.path for _, remark in learners], workers=settings.workers)
    remarks = []
    for item, remark in learners:
        lasts = lengths[remark.path]
        if isinstance(lasts, str):
            _drop(drops, item, "unreadable", lasts)
        else:
            remarks.append(replace(remark, end_s=lasts))
    return remarks


def _remark(
    item: exact_questions.ExActItem,
    root: Path,
    lines: Path,
    settings: ReaderSettings,
    splits: dict[str, tuple[str, str]],
) -> Remark:
    """The item's remark; how long its video lasts is not known yet. UnusableRow with the reason
    where the item gives none.
    """
    first, skill = sport_and_skill(item.task_name or "", item.domain)
    sport = settings.sports.choose(first, item.domain)
    relative = (lines.parent.relative_to(root) / item.file_name).as_posix()
    path, why = untrusted_json.find_inside(root, relative)
    if path is None or not item.file_name:
        outside = why == "outside"
        raise UnusableRow(
            OUTSIDE if outside else "missing_video",
            f"file_name {untrusted_json.preview(item.file_name)} "
            f"{'leaves its folder' if outside else 'does not exist'}: fetch the clips again",
        )
    if sport is None:
        raise UnusableRow("unknown_sport", settings.sports.refusal(first, item.domain))
    if item.item_id not in splits:
        take = untrusted_json.preview(item.take_name)
        raise UnusableRow("no_split", f"splits.json names no take {take}")
    participant, split = splits[item.item_id]
    return Remark(
        item_id=item.item_id,
        owner=item.item_id,
        take_id=item.item_id,
        participant=participant.lower(),
        path=path,
        sport=sport,
        skill=skill,
        start_s=0.0,
        end_s=0.0,
        text=item.comment,
        is_good=item.good,
        split=split,
    )


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
