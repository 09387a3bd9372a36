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
from sportskills_lib.formats.untrusted_json import Drop
from sportskills_lib.learner_data import exact_questions
from sportskills_lib.learner_data.remarks import ReaderSettings, Remark
from sportskills_lib.learner_data.takes import EgoExoTake, read_takes

SAME_MOMENT_S = 0.1  # nearer than this, a tip and a good execution speak of the same; ours
_QUOTED = re.compile(r"'((?:[^'\\]|\\.)*)'|\"((?:[^\"\\]|\\.)*)\"")


@dataclass(frozen=True)
class Moment:
    """A proficiency item: a moment done well, or a tip for one that was not."""

    item_id: str
    time_s: float
    text: str
    is_good: bool


@dataclass(frozen=True)
class Said:
    """One usable remark of the commentary."""

    item_id: str
    time_s: float
    text: str


def read(folder: Path, settings: ReaderSettings, drops: list[Drop]) -> list[Remark]:
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
                detail = f"stands in the {split} file; splits.json says {official[take_id]}"
            if reason:
                drops.extend(("learner", each.item_id, reason, detail) for each in words)
                drops.extend(("moment", each.item_id, reason, detail) for each in times)
            else:
                remarks += _of_take(takes[take_id], split, words, times, settings, drops)
    silent = sorted(take for take in takes if take not in spoken_of)
    drops.extend(
        ("take", take, "no_comment", "no expert speaks of it in any annotation file")
        for take in silent
    )
    return remarks


# -------------------------------------------------------------------------------------- annotations


def _commentary(path: Path, drops: list[Drop]) -> dict[str, list[Said]]:
    """Usable remarks by take_uid, each in the file's order; the others go to ``drops``."""
    found: dict[str, list[Said]] = {}
    if not path.is_file():
        return found
    document = untrusted_json.load_json(path)
    takes = document.get("annotations") if isinstance(document, dict) else None
    if not isinstance(takes, dict):
        raise ValueError(
            f'{path} has no object "annotations" with the remarks by take_uid: fetch it again'
        )
    for uid, experts in (*takes.items(), *getattr(takes, "others", ())):
        take_id = untrusted_json.identity(uid)
        if take_id is None:
            drops.append(
                (
                    "take",
                    untrusted_json.shown(uid),
                    "bad_id",
                    f"{path.name}: it is no usable take_uid",
                )
            )
            continue
        for label, remark in _rows_of(take_id, experts, path.name, drops):
            said = _said(label, remark)
            if isinstance(said, Said):
                found.setdefault(take_id, []).append(said)
            else:
                drops.append(said)
                found.setdefault(take_id, [])
    return found


def _rows_of(
    take_id: str, experts: Any, name: str, drops: list[Drop]
) -> Iterator[tuple[str, dict[str, Any]]]:
    """(label, remark) of every remark that is an object, over all experts of a take."""
    if not isinstance(experts, list):
        drops.append(
            (
                "learner",
                take_id,
                "bad_row",
                f"{name}: holds {untrusted_json.shown(experts)}, not a list of experts",
            )
        )
        return
    for expert in experts:
        rows = expert.get("commentary_data", []) if isinstance(expert, dict) else None
        if not isinstance(rows, list):
            held = rows if isinstance(expert, dict) else expert
            drops.append(
                (
                    "learner",
                    take_id,
                    "bad_row",
                    f"{name}: {untrusted_json.shown(held)} is no list of remarks",
                )
            )
            continue
        named = expert.get("take_uid", take_id)
        for remark in rows:
            label = _label(take_id, remark)
            if not isinstance(remark, dict):
                drops.append(
                    (
                        "learner",
                        label,
                        "bad_row",
                        f"{name}: {untrusted_json.shown(remark)} is no remark",
                    )
                )
            elif named != take_id:
                detail = (
                    f"{name}: filed under {take_id}, its expert names {untrusted_json.shown(named)}"
                )
                drops.append(("learner", label, "contradictory", detail))
            else:
                yield label, remark


def _label(take_id: str, row: Any) -> str:
    time = row.get("video_time") if isinstance(row, dict) else row
    return f"{take_id}@{untrusted_json.shown(time, 40)}"


def _said(label: str, remark: dict[str, Any]) -> Said | Drop:
    time_s, words = (
        untrusted_json.seconds(remark.get("video_time")),
        untrusted_json.text(remark.get("text")),
    )
    if refusal := _refusal(remark, time_s, words):
        return "learner", label, *refusal
    assert time_s is not None and words is not None
    return Said(label, time_s, words)


def _refusal(
    row: dict[str, Any], time_s: float | None, words: str | None
) -> tuple[str, str] | None:
    """Reason and detail why a remark or a moment cannot be used; None when it can."""
    flagged = row.get("error")
    if flagged and untrusted_json.flag(flagged) is not False:
        return "annotation_error", untrusted_json.text(
            row.get("_error_desc") or row.get("error_desc")
        ) or "no detail"
    if isinstance(row, untrusted_json.RepeatedKeys):
        return "contradictory", f"names {untrusted_json.shown(row.others[0][0])} twice"
    if row.get("video_time") is not None and time_s is None:
        return (
            "bad_time",
            f"video_time {untrusted_json.shown(row['video_time'])} is no number of seconds",
        )
    if time_s is None or words is None:
        return "empty_comment", "no text or no time"
    return None


def _proficiency(path: Path, drops: list[Drop]) -> dict[str, list[Moment]]:
    """Usable moments by take_uid; those that call the same moment good and bad, and others, go to
    ``drops``.
    """
    found: dict[str, list[Moment]] = {}
    if not path.is_file():
        return found
    document = untrusted_json.load_json(path)
    entries = document.get("annotations") if isinstance(document, dict) else document
    if not isinstance(entries, list):
        raise ValueError(f'{path} has no list "annotations" with an object a take: fetch it again')
    for entry in entries:
        take_id = (
            untrusted_json.identity(entry.get("take_uid")) if isinstance(entry, dict) else None
        )
        if take_id is None:
            drops.append(
                (
                    "take",
                    untrusted_json.shown(entry, 40),
                    "bad_row",
                    f"{path.name}: no object with a take_uid",
                )
            )
            continue
        for field, good in (("good_executions", True), ("tips_for_improvement", False)):
            items = entry.get(field) or []
            if not isinstance(items, list):
                held = f"{field} holds {untrusted_json.shown(items)}, not a list"
                drops.append(("moment", take_id, "bad_row", f"{path.name}: {held}"))
                continue
            for item in items:
                moment = _moment(_label(take_id, item), item, good)
                if isinstance(moment, Moment):
                    found.setdefault(take_id, []).append(moment)
                else:
                    drops.append(moment)
    return {take_id: _agreeing(moments, drops) for take_id, moments in found.items()}


def _moment(label: str, item: Any, good: bool) -> Moment | Drop:
    if not isinstance(item, dict):
        return "moment", label, "bad_row", f"{untrusted_json.shown(item)} is no object"
    time_s, words = untrusted_json.seconds(item.get("video_time")), _words(item)
    if refusal := _refusal(item, time_s, words or "no words, but a label"):
        return "moment", label, *refusal
    assert time_s is not None
    return Moment(label, time_s, words, good)


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


def _agreeing(moments: list[Moment], drops: list[Drop]) -> list[Moment]:
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
    said: list[Said],
    moments: list[Moment],
    settings: ReaderSettings,
    drops: list[Drop],
) -> list[Remark]:
    """A remark's learner has the tips of its moment added; a moment that no remark speaks of is a
    learner too.
    """
    found: list[Remark] = []
    told: set[Moment] = set()
    for remark in said:
        if not _inside(take, "learner", remark, drops):
            continue
        gaps = [(abs(moment.time_s - remark.time_s), moment.time_s, moment) for moment in moments]
        near = [
            row[2]
            for row in sorted(gaps, key=lambda row: (row[:2], row[2].is_good, row[2].text))
            if row[0] <= settings.tip_gap_s
        ]
        told.update(near)
        learner = _learner(
            take, split, remark, remark.text, near[0].is_good if near else None, settings.span_s
        )
        if not any(
            other.learner_id == learner.learner_id for other in found
        ):  # else the tips are there already
            tips = [moment.text for moment in near if moment.text and not moment.is_good]
            learner = replace(learner, text=" ".join([remark.text, *tips]))
        found.append(learner)
    spans = [(remark.start_s, remark.end_s, remark.learner_id) for remark in found]
    for moment in moments:
        if moment in told or not _inside(take, "moment", moment, drops):
            continue
        if held := next(
            (name for start_s, end_s, name in spans if start_s <= moment.time_s <= end_s), ""
        ):
            drops.append(
                (
                    "moment",
                    moment.item_id,
                    "told_already",
                    (f"its moment lies in the span of {held}"),
                )
            )
        elif not moment.text:
            drops.append(
                ("moment", moment.item_id, "empty_comment", "no text, and no remark at its moment")
            )
        else:
            found.append(
                _learner(take, split, moment, moment.text, moment.is_good, settings.span_s)
            )
    return found


def _inside(take: EgoExoTake, kind: str, row: Said | Moment, drops: list[Drop]) -> bool:
    if 0 <= row.time_s <= take.duration_s:
        return True
    detail = f"at {row.time_s:g} s; the take lasts {take.duration_s:.2f} s"
    drops.append((kind, row.item_id, "outside_take", detail))
    return False


def _learner(
    take: EgoExoTake,
    split: str,
    row: Said | Moment,
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
