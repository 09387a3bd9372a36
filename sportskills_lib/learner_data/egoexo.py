"""Learners from a folder in Ego-Exo4D's layout.

``takes.json`` names the takes and their cameras,
``annotations/expert_commentary_{train,val,test}.json`` holds the experts' remarks (one moment
each), ``annotations/proficiency_demonstration_*.json`` the moments of good execution and the tips;
the file's name is the split, and ``splits.json``, where it is there, must agree. A learner is a
span around a remark's moment; a tip or a good execution that no remark speaks of is a learner of
its own.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from sportskills_lib import tables
from sportskills_lib.formats import untrusted_json
from sportskills_lib.formats.untrusted_json import UnusableRow
from sportskills_lib.learner_data import exact_questions
from sportskills_lib.learner_data.remarks import ReaderSettings, Remark
from sportskills_lib.learner_data.takes import EgoExoTake, read_takes
from sportskills_lib.tables import DroppedRow

SAME_MOMENT_S = 0.1  # nearer than this, a tip and a good execution speak of the same; ours
_QUOTED = re.compile(r"'((?:[^'\\]|\\.)*)'|\"((?:[^\"\\]|\\.)*)\"")


@dataclass(frozen=True)
class Moment:
    """A usable annotation. ``is_good``: a good execution (True), a tip (False), a remark (None)."""

    item_id: str
    time_s: float
    text: str
    is_good: bool | None


def read(folder: Path, settings: ReaderSettings, drops: list[DroppedRow]) -> list[Remark]:
    """Every remark that may become a learner; the others, and takes that nobody speaks of, go to
    ``drops``.
    """
    if not any((folder / "annotations").glob("expert_commentary_*.json")) and not any(
        (folder / "annotations").glob("proficiency_demonstration_*.json")
    ):
        raise ValueError(
            f"{folder / 'annotations'} holds neither expert_commentary_<split>.json nor "
            "proficiency_demonstration_<split>.json: fetch Ego-Exo4D's annotations"
        )
    takes, lost = read_takes(folder, settings.sports, drops)
    official = exact_questions.read_splits(folder)
    remarks: list[Remark] = []
    spoken_of: set[str] = set()
    for split in tables.SPLITS:
        commentary = folder / "annotations" / f"expert_commentary_{split}.json"
        proficiency = folder / "annotations" / f"proficiency_demonstration_{split}.json"
        said, moments = _commentary(commentary, drops), _proficiency(proficiency, drops)
        for take_id in {**said, **moments}:
            spoken_of.add(take_id)
            words, times = said.get(take_id, []), moments.get(take_id, [])
            reason, detail = "", ""
            if take_id not in takes:
                reason, detail = (
                    "no_take",
                    f"its take was not kept ({lost.get(take_id, 'takes.json has no such take')})",
                )
            elif official.get(take_id, split) != split:
                reason = "take_in_two_splits"
                detail = f"is in the {split} file; splits.json says {official[take_id]}"
            if reason:
                drops.extend(("learner", each.item_id, reason, detail) for each in words)
                drops.extend(("moment", each.item_id, reason, detail) for each in times)
            else:
                remarks += _of_take(takes[take_id], split, words, times, settings, drops)
    silent = sorted(take for take in takes if take not in spoken_of)
    drops.extend(
        ("take", take, "no_comment", "no annotation file contains a comment on it")
        for take in silent
    )
    return remarks


# -------------------------------------------------------------------------------------- annotations


def _annotations(path: Path, kind: type) -> Any:
    """What the file names "annotations"; empty without the file. ValueError for another type."""
    if not path.is_file():
        return kind()
    document = untrusted_json.load_json(path)
    value = document.get("annotations") if isinstance(document, dict) else document
    if not isinstance(value, kind):
        name = "object" if kind is dict else "list"
        raise ValueError(f'{path} has no {name} "annotations", one entry per take: fetch it again')
    return value


def _commentary(path: Path, drops: list[DroppedRow]) -> dict[str, list[Moment]]:
    """Usable remarks by take_uid, each in the file's order; the others go to ``drops``."""
    remarks: dict[str, list[Moment]] = {}
    takes = _annotations(path, dict)
    for uid, experts in (*takes.items(), *getattr(takes, "others", ())):
        take_id = untrusted_json.identity(uid)
        if take_id is None:
            detail = f"{path.name}: not a usable take_uid"
            drops.append(("take", untrusted_json.preview(uid), "bad_id", detail))
            continue
        for label, row in _rows_of(take_id, experts, path.name, drops):
            of_take = remarks.setdefault(take_id, [])
            of_take += _usable("learner", label, row, None, drops)
    return remarks


def _rows_of(
    take_id: str, experts: Any, name: str, drops: list[DroppedRow]
) -> Iterator[tuple[str, Any]]:
    """(label, remark) of every remark, over all experts of a take."""
    if not isinstance(experts, list):
        detail = f"{name}: holds {untrusted_json.preview(experts)}, not a list of experts"
        drops.append(("learner", take_id, "bad_row", detail))
        return
    for expert in experts:
        rows = expert.get("commentary_data", []) if isinstance(expert, dict) else expert
        if not isinstance(rows, list) or not isinstance(expert, dict):
            detail = f"{name}: {untrusted_json.preview(rows)} is not a list of remarks"
            drops.append(("learner", take_id, "bad_row", detail))
            continue
        named = expert.get("take_uid", take_id)
        for row in rows:
            label = _label(take_id, row)
            if isinstance(row, dict) and named != take_id:
                shown = untrusted_json.preview(named)
                detail = f"{name}: filed under {take_id}, its expert names {shown}"
                drops.append(("learner", label, "contradictory", detail))
            else:
                yield label, row


def _label(take_id: str, row: Any) -> str:
    time = row.get("video_time") if isinstance(row, dict) else row
    return f"{take_id}@{untrusted_json.preview(time, 40)}"


def _usable(
    kind: str, label: str, row: Any, is_good: bool | None, drops: list[DroppedRow]
) -> list[Moment]:
    """The moment of an annotation, in a list; an empty list where it cannot be used."""
    try:
        return [_moment(label, row, is_good)]
    except UnusableRow as why:
        drops.append((kind, label, why.reason, why.detail))
        return []


def _moment(label: str, row: Any, is_good: bool | None) -> Moment:
    if not isinstance(row, dict):
        raise UnusableRow("bad_row", f"{untrusted_json.preview(row)} is not an object")
    flagged = row.get("error")
    if flagged and untrusted_json.flag(flagged) is not False:
        reported = untrusted_json.text(row.get("_error_desc") or row.get("error_desc"))
        raise UnusableRow("annotation_error", reported or "no detail")
    untrusted_json.require_distinct_keys(row)
    time_s = untrusted_json.require_seconds(row, "video_time")
    words = untrusted_json.text(row.get("text")) if is_good is None else _words(row)
    if time_s is None or words is None:
        raise UnusableRow("empty_comment", "no text or no time")
    return Moment(label, time_s, words, is_good)


def _proficiency(path: Path, drops: list[DroppedRow]) -> dict[str, list[Moment]]:
    """Usable moments by take_uid; those that call the same moment good and bad, and others, go to
    ``drops``.
    """
    moments: dict[str, list[Moment]] = {}
    for entry in _annotations(path, list):
        take_id = untrusted_json.identity(isinstance(entry, dict) and entry.get("take_uid"))
        if take_id is None:
            detail = f"{path.name}: no object with a take_uid"
            drops.append(("take", untrusted_json.preview(entry, 40), "bad_row", detail))
            continue
        for field, good in (("good_executions", True), ("tips_for_improvement", False)):
            items = entry.get(field) or []
            if not isinstance(items, list):
                detail = f"{path.name}: {field} holds {untrusted_json.preview(items)}, not a list"
                drops.append(("moment", take_id, "bad_row", detail))
                continue
            for item in items:
                usable = _usable("moment", _label(take_id, item), item, good, drops)
                moments[take_id] = moments.get(take_id, []) + usable
    return {take_id: _agreeing(of_take, drops) for take_id, of_take in moments.items()}


def _words(item: dict[str, Any]) -> str:
    """The item's text: ``text``, or ``list``, which is published as the text of a list: ``"['keep
    the chin up']"``.
    """
    said = item.get("text") or item.get("list")
    if isinstance(said, str) and said.strip().startswith("["):
        said = [
            re.sub(r"\\(.)", r"\1", one or other) for one, other in _QUOTED.findall(said)
        ] or said
    texts = said if isinstance(said, list) else [said]
    return " ".join(filter(None, (untrusted_json.text(each) for each in texts)))


def _agreeing(moments: list[Moment], drops: list[DroppedRow]) -> list[Moment]:
    """The moments that nobody calls good and bad at once, each of them once."""
    kept: list[Moment] = []
    for moment in moments:
        against = [
            other
            for other in moments
            if other.is_good != moment.is_good
            and abs(other.time_s - moment.time_s) <= SAME_MOMENT_S
        ]
        if against:
            kinds = (
                ("a good execution", "a tip") if moment.is_good else ("a tip", "a good execution")
            )
            detail = f"{kinds[0]} here, {kinds[1]} at {against[0].time_s:g} s: the same moment"
            drops.append(("moment", moment.item_id, "contradictory", detail))
        elif moment in kept:
            drops.append(
                (
                    "moment",
                    moment.item_id,
                    "doubled",
                    "the same words of the same moment stand there twice",
                )
            )
        else:
            kept.append(moment)
    return kept


# ------------------------------------------------------------------------------------- the learners


def _of_take(
    take: EgoExoTake,
    split: str,
    remarks: list[Moment],
    moments: list[Moment],
    settings: ReaderSettings,
    drops: list[DroppedRow],
) -> list[Remark]:
    """A remark's learner has the tips of its moment added; a moment that no remark speaks of is a
    learner too.
    """
    learners: list[Remark] = []
    merged: set[Moment] = set()
    for remark in remarks:
        if not _inside(take, "learner", remark, drops):
            continue
        gaps = [(abs(moment.time_s - remark.time_s), moment.time_s, moment) for moment in moments]
        near = [
            row[2]
            for row in sorted(gaps, key=lambda row: (row[:2], row[2].is_good, row[2].text))
            if row[0] <= settings.tip_gap_s
        ]
        merged.update(near)
        learner = _learner(
            take, split, remark, remark.text, near[0].is_good if near else None, settings.span_s
        )
        if not any(
            other.learner_id == learner.learner_id for other in learners
        ):  # else the tips are there already
            tips = [moment.text for moment in near if moment.text and not moment.is_good]
            learner = replace(learner, text=" ".join([remark.text, *tips]))
        learners.append(learner)
    spans = [(remark.start_s, remark.end_s, remark.learner_id) for remark in learners]
    for moment in moments:
        if moment in merged or not _inside(take, "moment", moment, drops):
            continue
        if held := next(
            (name for start_s, end_s, name in spans if start_s <= moment.time_s <= end_s), ""
        ):
            drops.append(
                (
                    "moment",
                    moment.item_id,
                    "told_already",
                    (f"its moment is within the span of {held}"),
                )
            )
        elif not moment.text:
            drops.append(
                ("moment", moment.item_id, "empty_comment", "no text, and no remark at its moment")
            )
        else:
            learners.append(
                _learner(take, split, moment, moment.text, moment.is_good, settings.span_s)
            )
    return learners


def _inside(take: EgoExoTake, kind: str, row: Moment, drops: list[DroppedRow]) -> bool:
    if 0 <= row.time_s <= take.duration_s:
        return True
    detail = f"at {row.time_s:g} s; the take lasts {take.duration_s:.2f} s"
    drops.append((kind, row.item_id, "outside_take", detail))
    return False


def _learner(
    take: EgoExoTake,
    split: str,
    row: Moment,
    words: str,
    is_good: bool | None,
    span_s: float,
) -> Remark:
    return Remark(
        item_id=row.item_id,
        owner=take.take_id,
        take_id=take.take_id,
        participant=take.participant,
        path=take.path,
        sport=take.sport,
        skill=take.skill,
        start_s=max(0.0, row.time_s - span_s / 2),
        end_s=min(take.duration_s, row.time_s + span_s / 2),
        text=words,
        is_good=is_good,
        split=split,
    )
