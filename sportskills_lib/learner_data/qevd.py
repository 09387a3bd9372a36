"""QEVD-FIT-COACH: clips of exercises with labels in words, and workouts with a coach's feedback.

``fine_grained_labels.json`` lists clips with labels such as "pushups - hips too low",
``feedbacks_short_clips.json`` what a coach says of them, and
``fine_grained_labels_with_worker_ids.json``, where it is there, whose clips they are; the videos
lie in ``short_clips``. ``feedbacks_long_range.json`` has a workout's feedback frame by frame (""
where nobody speaks); the sentences marked as transitions ("Moving on to squats!") name the
exercise.
"""

from __future__ import annotations

import math
import re
from dataclasses import replace
from itertools import groupby
from pathlib import Path
from typing import Any

import polars as pl

from sportskills_lib import group_splits, tables
from sportskills_lib.formats import untrusted_json
from sportskills_lib.formats.untrusted_json import UnusableRow
from sportskills_lib.language.coaching_words import FAULT_WORDS, gives_order
from sportskills_lib.learner_data.fitness import SPORTS
from sportskills_lib.learner_data.plain_table import take_id_of
from sportskills_lib.learner_data.remarks import (
    SHORTEST_S,
    VAL_SHARE,
    ReaderSettings,
    Remark,
    dropping,
    require,
    video_inside,
    within_videos,
)
from sportskills_lib.tables import DroppedRow

LABELS, LONG = "fine_grained_labels.json", "feedbacks_long_range.json"
FEEDBACK, WORKERS = "feedbacks_short_clips.json", "fine_grained_labels_with_worker_ids.json"
CLIPS = "short_clips"
FRAMES_HZ = 30.0  # of the workouts
# Labels that are praise, and words that make a label or a sentence the name of a mistake; ours.
CORRECT = ("no obvious issue", "no obvious error", "no issue", "no error", "perfect", "ideal")
MISTAKE = re.compile(
    FAULT_WORDS + r"|\b(too|not|isn't|aren't|lazy|early|late|shallow|incomplete|uneven|round(?:ed)?"
    r"|sagg?ing|arch(?:ed|ing)|flar(?:ed|ing)|low range)\b"
)


def read(folder: Path, settings: ReaderSettings, drops: list[DroppedRow]) -> list[Remark]:
    """Every clip and every sentence of feedback that may become a learner; the others go to
    ``drops``. Where the files say train, a tenth of the participants, by the hash of their names,
    is val.
    """
    remarks = within_videos(
        folder,
        _clips(folder, settings, drops) + _workouts(folder, settings, drops),
        settings.workers,
        drops,
    )
    people = pl.DataFrame(
        [(one.sport, one.participant) for one in remarks if one.split == "train"],
        schema={"sport": pl.String, "channel": pl.String},
        orient="row",
    )
    dealt, _ = group_splits.assign_splits(people, test_fraction=0, val_fraction=VAL_SHARE)
    held = [one.split == "train" and dealt[one.participant] == "val" for one in remarks]
    return [
        replace(one, split="val") if val else one for one, val in zip(remarks, held, strict=True)
    ]


def _rows(path: Path) -> list[Any]:
    """The file's rows; empty without the file."""
    return list(untrusted_json.load_json(path, list)) if path.is_file() else []


def _file_of(row: Any, field: str = "video_path") -> str:
    """The file that a row is about, as all files of QEVD call it; "" where it names none."""
    said = row.get(field) if isinstance(row, dict) else None
    return (untrusted_json.text(said) or "").removeprefix("./").removeprefix(f"{CLIPS}/")


def _texts(said: Any) -> list[str]:
    listed = said if isinstance(said, list) else [said]
    return [text for one in listed if (text := untrusted_json.text(one))]


def _clips(folder: Path, settings: ReaderSettings, drops: list[DroppedRow]) -> list[Remark]:
    """The clips with a label; paths are below ``short_clips`` where there is such a folder."""
    said: dict[str, list[str]] = {}
    for row in _rows(folder / FEEDBACK):
        if name := _file_of(row):
            said.setdefault(name, []).extend(_texts(row.get("feedback")))
    people = {_file_of(row): untrusted_json.name(row.get("worker_id"))
              for row in _rows(folder / WORKERS) if _file_of(row)}  # fmt: skip
    below = f"{CLIPS}/" if (folder / CLIPS).is_dir() else ""
    remarks = []
    for place, row in enumerate(_rows(folder / LABELS), start=1):
        name = _file_of(row)
        with dropping(drops, "learner", untrusted_json.preview(name or f"row{place}")):
            row = untrusted_json.require_object(row)
            exercise, text, is_good = _label(row, said.get(name, []))
            split = (untrusted_json.text(row.get("split")) or "").lower() or None
            if split not in (None, *tables.SPLITS):
                shown = untrusted_json.preview(split)
                raise UnusableRow("bad_value", f"split {shown} is none of QEVD's")
            path = video_inside(folder, name and below + name, "video_path")
            remark = Remark(
                item_id=name,
                take_id=take_id_of(path),
                participant=f"worker {people.get(name) or f'of {path}'}",
                path=path,
                sport=settings.sports.find(*SPORTS),
                skill=exercise,
                start_s=0.0,
                end_s=math.inf,
                text=text,
                is_good=is_good,
                split=split,
            )
            remarks.append(remark)
    return remarks


def _label(row: dict[str, Any], said: list[str]) -> tuple[str, str, bool | None]:
    """The exercise, the words of its mistakes or of the label, with the coach's, and whether it is
    done well (None: nobody says so). UnusableRow where that makes no comment.
    """
    parts = [label.lower().partition(" - ") for label in _texts(row.get("labels"))]
    exercises = sorted({exercise.strip() for exercise, _, _ in parts})
    if len(exercises) > 1:
        called = untrusted_json.preview(" and ".join(exercises))
        raise UnusableRow("contradictory", f"its labels name {called}")
    exercise = require(next(filter(None, exercises), None), "empty_comment", "no label")
    kinds = [kind.strip() for _, _, kind in parts]
    faults = [kind for kind in kinds if MISTAKE.search(kind) and kind not in CORRECT]
    is_good = False if faults else True if set(kinds) <= {*CORRECT} else None
    if is_good is None and not said:
        shown = untrusted_json.preview(", ".join(kinds))
        raise UnusableRow("no_comment", f"label {shown} names no mistake, and no feedback is given")
    words = [f"{kind.capitalize()}." for kind in faults or kinds if kind]
    return exercise, " ".join([*words, *said]), is_good


def _workouts(folder: Path, settings: ReaderSettings, drops: list[DroppedRow]) -> list[Remark]:
    """The sentences of the workouts that name a mistake or tell what to do, each about the
    ``span_s`` seconds before it.
    """
    remarks = []
    for place, row in enumerate(_rows(folder / LONG), start=1):
        name = _file_of(row, "long_range_video_file")
        with dropping(drops, "take", untrusted_json.preview(name or f"row{place}")):
            spoken = _sentences(untrusted_json.require_object(row))
            path = video_inside(folder, name, "long_range_video_file")
            sport, exercise = settings.sports.find(*SPORTS), None
            for at_s, sentence, is_transition in spoken:
                if is_transition:
                    exercise = re.sub(r"^(first up are|moving on to) |[.!]+$", "", sentence.lower())
                    continue
                item = f"{take_id_of(path)}@{at_s:.2f}"
                if not gives_order(sentence) and not MISTAKE.search(sentence.lower()):
                    shown = untrusted_json.preview(sentence)
                    drops.append(("learner", item, "no_comment", f"{shown!r} corrects nothing"))
                    continue
                remark = Remark(
                    item_id=item,
                    take_id=take_id_of(path),
                    participant=f"video {path}",
                    path=path,
                    sport=sport,
                    skill=exercise,
                    start_s=max(0.0, at_s - settings.span_s),
                    end_s=max(SHORTEST_S, at_s),
                    text=sentence,
                    is_good=False,
                    split=None,
                )
                remarks.append(remark)
    return remarks


def _sentences(row: dict[str, Any]) -> list[tuple[float, str, bool]]:
    """(seconds at which it begins, sentence, whether it leads to another exercise)."""
    frames, leads = (row.get(name) for name in ("feedbacks", "is_transition"))
    if not isinstance(frames, list) or not isinstance(leads, list):
        raise UnusableRow("missing_field", "no list of feedbacks and is_transition")
    runs = groupby(enumerate(frames), lambda frame: untrusted_json.text(frame[1]))
    spoken = [(next(run)[0] / FRAMES_HZ, sentence) for sentence, run in runs if sentence]
    if len(spoken) != len(leads):
        detail = f"{len(spoken)} sentences, {len(leads)} marks of transitions"
        raise UnusableRow("contradictory", detail)
    return [
        (at_s, sentence, untrusted_json.flag(lead) is True)
        for (at_s, sentence), lead in zip(spoken, leads, strict=True)
    ]
