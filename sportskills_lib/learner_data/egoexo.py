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
from dataclasses import replace
from pathlib import Path
from typing import Any

from sportskills_lib import tables
from sportskills_lib.formats import untrusted_json
from sportskills_lib.formats.untrusted_json import UnusableRow
from sportskills_lib.learner_data.remarks import (
    Moment,
    ReaderSettings,
    Remark,
    dropping,
    undisputed,
)
from sportskills_lib.learner_data.takes import read_splits, read_takes
from sportskills_lib.tables import DroppedRow

_QUOTED = re.compile(r"'((?:[^'\\]|\\.)*)'|\"((?:[^\"\\]|\\.)*)\"")


def read(folder: Path, settings: ReaderSettings, drops: list[DroppedRow]) -> list[Remark]:
    """Every remark that may become a learner; the others, and takes that nobody speaks of, go to
    ``drops``.
    """
    files = folder / "annotations"
    names = ("expert_commentary", "proficiency_demonstration")
    if not any(path for name in names for path in files.glob(f"{name}_*.json")):
        raise ValueError(
            f"{files} holds neither expert_commentary_<split>.json nor "
            "proficiency_demonstration_<split>.json: fetch Ego-Exo4D's annotations"
        )
    takes, lost = read_takes(folder, settings.sports, drops)
    official = read_splits(folder)
    remarks: list[Remark] = []
    spoken_of: set[str] = set()
    for split in tables.SPLITS:
        said = _commentary(files / f"{names[0]}_{split}.json", drops)
        moments = _proficiency(files / f"{names[1]}_{split}.json", drops)
        for take_id in {**said, **moments}:
            spoken_of.add(take_id)
            words, times = said.get(take_id, []), moments.get(take_id, [])
            if take_id in takes and official.get(take_id, split) == split:
                remarks += _of_take(takes[take_id], split, words, times, settings, drops)
                continue
            reason = "no_take"
            detail = f"its take was not kept ({lost.get(take_id, 'takes.json has no such take')})"
            if take_id in takes:
                reason = "take_in_two_splits"
                detail = f"is in the {split} file; splits.json says {official[take_id]}"
            drops.extend(("learner", each.item_id, reason, detail) for each in words)
            drops.extend(("moment", each.item_id, reason, detail) for each in times)
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
        for expert in untrusted_json.rows(experts):
            named = expert.get("take_uid", take_id) if isinstance(expert, dict) else take_id
            said = expert.get("commentary_data", []) if isinstance(expert, dict) else "no expert"
            for row in untrusted_json.rows(said):
                of_take, label = remarks.setdefault(take_id, []), _label(take_id, row)
                with dropping(drops, "learner", label):
                    if named != take_id:
                        shown = untrusted_json.preview(named)
                        detail = f"{path.name}: filed under {take_id}, its expert names {shown}"
                        raise UnusableRow("contradictory", detail)
                    of_take.append(_moment(label, take_id, row, None))
    return remarks


def _label(take_id: str, row: Any) -> str:
    time = row.get("video_time") if isinstance(row, dict) else row
    return f"{take_id}@{untrusted_json.preview(time, 40)}"


def _moment(label: str, take_id: str, row: Any, is_good: bool | None) -> Moment:
    row = untrusted_json.require_object(row)
    flagged = row.get("error")
    if flagged and untrusted_json.flag(flagged) is not False:
        reported = untrusted_json.text(row.get("_error_desc") or row.get("error_desc"))
        raise UnusableRow("annotation_error", reported or "no detail")
    time_s = untrusted_json.require_seconds(row, "video_time")
    words = untrusted_json.text(row.get("text")) if is_good is None else _words(row)
    if time_s is None or words is None:
        raise UnusableRow("empty_comment", "no text or no time")
    return Moment(label, take_id, time_s, words, is_good)


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
            for row in untrusted_json.rows(entry.get(field) or []):
                of_take, label = moments.setdefault(take_id, []), _label(take_id, row)
                with dropping(drops, "moment", label):
                    of_take.append(_moment(label, take_id, row, good))
    return {take_id: undisputed("moment", of_take, drops) for take_id, of_take in moments.items()}


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


# ------------------------------------------------------------------------------------- the learners


def _of_take(
    take: Remark,
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
        with dropping(drops, "learner", remark.item_id):
            learner = _learner(take, split, remark, settings.span_s)
            gaps = [(abs(one.time_s - remark.time_s), one.time_s, one) for one in moments]
            gaps.sort(key=lambda gap: (gap[:2], gap[2].is_good, gap[2].text))
            near = [one for gap_s, _, one in gaps if gap_s <= settings.tip_gap_s]
            merged.update(near)
            tips = [one.text for one in near if one.text and not one.is_good]
            if any(other.learner_id == learner.learner_id for other in learners):
                tips = []  # they are there already
            good = near[0].is_good if near else None
            learners.append(replace(learner, text=" ".join([remark.text, *tips]), is_good=good))
    spans = [(remark.start_s, remark.end_s, remark.learner_id) for remark in learners]
    for moment in moments:
        if moment in merged:
            continue
        with dropping(drops, "moment", moment.item_id):
            learner = _learner(take, split, moment, settings.span_s)
            for start_s, end_s, name in spans:
                if start_s <= moment.time_s <= end_s:
                    raise UnusableRow("told_already", f"its moment is within the span of {name}")
            if not moment.text:
                raise UnusableRow("empty_comment", "no text, and no remark at its moment")
            learners.append(learner)
    return learners


def _learner(take: Remark, split: str, row: Moment, span_s: float) -> Remark:
    """The span of the take around a moment; UnusableRow where the take does not have it."""
    if not 0 <= row.time_s <= take.end_s:
        raise UnusableRow("outside_take", f"at {row.time_s:g} s; the take lasts {take.end_s:.2f} s")
    return replace(
        take,
        item_id=row.item_id,
        start_s=max(0.0, row.time_s - span_s / 2),
        end_s=min(take.end_s, row.time_s + span_s / 2),
        text=row.text,
        is_good=row.is_good,
        split=split,
    )
