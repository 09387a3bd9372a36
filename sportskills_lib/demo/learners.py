"""Learners who try a skill, in the layout and the annotation formats of Ego-Exo4D.

A *take* is one video of one participant: standing about, then one or two tries of a skill (each with a fault, some with
none), and an expert's comment at a moment of each try. Who the participant is, the looks, the lengths and the names are
drawn without looking at the fault; a participant stands in one split only.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from sportskills_lib.demo.phrases import COMMENTS, TIPS, pick, sentence, wording
from sportskills_lib.demo.settings import DemoConfig, draw_frames, generator
from sportskills_lib.demo.skills import SPORTS, Fault, Skill

SPLITS = ("train", "val", "test")
CAMERA = "cam01"
PLACES = "north harbour campus riverside hilltop".split()  # noqa: SIM905
TAKES_A_PARTICIPANT = 3
TWO_FAULTS_SHARE, GOOD_SHARE = 0.25, 0.2
LOST_VIEWS = 2  # takes for training, beside the others, whose video file is not there
ERRORS = (
    "audio was cut off",
    "commentary does not belong to this take",
    "transcript is empty noise",
)


@dataclass(frozen=True)
class Attempt:
    """One try: ``fault`` None where it is done well."""

    fault: Fault | None
    start_s: float
    end_s: float
    video_time: float  # when the expert comments on it


@dataclass(frozen=True)
class DemoTake:
    """One video of one participant who tries one skill once or twice."""

    take_uid: str
    take_name: str
    participant_uid: int
    split: str
    skill: Skill
    parts: tuple[tuple[str | None, int], ...]  # (execution, or None for standing about; frames)
    attempts: tuple[Attempt, ...]
    has_video: bool = True

    @property
    def view(self) -> str:
        """The video file, relative to the learners' folder."""
        return f"takes/{self.take_name}/frame_aligned_videos/{CAMERA}.mp4"

    def duration_s(self, fps: int) -> float:
        """The video's length."""
        return round(sum(frames for _, frames in self.parts) / fps, 3)


def plan_takes(config: DemoConfig) -> list[DemoTake]:
    """Every take of the world, in the order of split, sport and skill; lost ones end their split."""
    takes: list[DemoTake] = []
    for split in SPLITS:
        for sport in SPORTS[: config.sports]:
            rows = [
                (skill, faults)
                for skill in sport.skills[: config.skills]
                for faults in _groups(skill, split, config)
            ]
            rng = generator(config.seed, "participants", split, sport.name)
            for number, index in enumerate(rng.permutation(len(rows))):
                name, person = f"{split}/{sport.name}/{number}", number // TAKES_A_PARTICIPANT
                skill, faults = rows[index]
                takes.append(_take(name, person, split, skill, faults, config))
        for number in range(LOST_VIEWS if split == "train" else 0):
            skill = SPORTS[number % config.sports].skills[0]
            lost = _take(f"{split}/lost/{number}", 99, split, skill, [skill.faults[0]], config)
            takes.append(replace(lost, has_video=False))
    return takes


def _groups(skill: Skill, split: str, config: DemoConfig) -> Iterator[list[Fault]]:
    """Deal a split's faults, each as often as the config says, to takes: one or two different ones
    to each.
    """
    rng = generator(config.seed, "faults", split, skill.sport, skill.name)
    if split == "val":
        rest = [pick(skill.faults, rng) for _ in range(config.val_learners)]
    else:
        times = config.train_learners if split == "train" else config.test_learners
        faults = skill.faults * times
        rest = [faults[i] for i in rng.permutation(len(faults))]
    rng = generator(config.seed, "groups", split, skill.sport, skill.name)
    while rest:
        group = [rest.pop()]
        if rest and rest[-1].name != group[0].name and rng.random() < TWO_FAULTS_SHARE:
            group.append(rest.pop())
        yield group


def _take(
    name: str, person: int, split: str, skill: Skill, faults: list[Fault], config: DemoConfig
) -> DemoTake:
    """A take of the split's and the sport's participant number ``person``. Each split has a range
    of ids of its own, as different people stand in each.
    """
    rng = generator(config.seed, "person", split, skill.sport, person)
    participant = 100_000 * (1 + SPLITS.index(split)) + int(rng.integers(100_000))
    rng = generator(config.seed, "attempts", name)
    tries: list[Fault | None] = list(faults)
    if len(tries) == 1 and rng.random() < GOOD_SHARE:
        tries.insert(int(rng.integers(2)), None)
    parts: list[tuple[str | None, int]] = [(None, draw_frames(rng, config, 0.8, 2.2))]
    attempts = []
    for fault in tries:
        start_s = sum(frames for _, frames in parts) / config.fps
        parts.append((fault.name if fault else "correct", draw_frames(rng, config, 2.5, 3.4)))
        end_s = sum(frames for _, frames in parts) / config.fps
        moment = (start_s + end_s) / 2 + rng.uniform(-0.4, 0.4)
        attempts.append(Attempt(fault, round(start_s, 3), round(end_s, 3), round(float(moment), 3)))
        parts.append((None, draw_frames(rng, config, 0.5, 1.3)))
    uid = str(uuid.UUID(bytes=rng.bytes(16), version=4))
    place, sport = rng.choice(PLACES), skill.sport.replace(" ", "")
    take_name = f"{place}_{sport}_{uid[:4]}_{rng.integers(1, 10)}_{uid[-4:]}"
    return DemoTake(uid, take_name, participant, split, skill, tuple(parts), tuple(attempts))


# --------------------------------------------------------------------------------------------------- annotations


def takes_json(takes: Iterable[DemoTake], config: DemoConfig) -> list[dict[str, Any]]:
    """``takes.json``: the fields of Ego-Exo4D's that a reader needs."""
    return [
        {
            "take_name": take.take_name,
            "take_uid": take.take_uid,
            "task_name": f"{take.skill.sport.title()} - {take.skill.name}",
            "parent_task_name": take.skill.sport.title(),
            "root_dir": f"takes/{take.take_name}",
            "duration_sec": take.duration_s(config.fps),
            "participant_uid": take.participant_uid,
            "frame_aligned_videos": {
                CAMERA: {"0": {"relative_path": f"frame_aligned_videos/{CAMERA}.mp4"}}
            },
        }
        for take in takes
    ]


def comment(take: DemoTake, attempt: Attempt, config: DemoConfig) -> str:
    """What the expert says of one try: its fault, or praise for not showing one of them."""
    rng = generator(config.seed, "comment", take.take_uid, attempt.video_time)
    if attempt.fault is None:
        shown, frame = pick(take.skill.faults, rng).good, "nice {skill}, {clause}."
    else:
        shown, frame = attempt.fault.name, pick(COMMENTS, rng)
    return sentence(frame, take.skill, wording(shown, take.split, rng, ask=False))


def commentary_json(takes: Iterable[DemoTake], split: str, config: DemoConfig) -> dict[str, Any]:
    """``expert_commentary_<split>.json``. A few rows carry ``error``: a reader drops them with
    that reason.
    """
    annotations = {}
    for take in takes:
        rng = generator(config.seed, "commentary", take.take_uid)
        rows = [
            _remark(str(n), at.video_time, comment(take, at, config), rng)
            for n, at in enumerate(take.attempts)
        ]
        if rng.random() < 0.04:
            late = round(take.duration_s(config.fps) * float(rng.uniform(0.2, 0.9)), 3)
            failed = _remark(str(len(rows)), late, "and then uh", rng)
            rows.append(failed | {"error": True, "_error_desc": str(rng.choice(ERRORS))})
        sport = take.skill.sport.title()
        entry = {
            "take_name": take.take_name,
            "take_uid": take.take_uid,
            "task_id": 1000 + take.participant_uid % 89,
            "task_name": f"{sport} - {take.skill.name}",
            "commentary": f"{sport.replace(' ', '')}_Expert{rng.integers(1, 9)}_{take.take_uid[:8]}",
            "commentary_data": rows,
        }
        annotations[take.take_uid] = [entry]
    return {"annotations": annotations, "ds": f"demo_{split}"}


def _remark(
    recording: str, video_time: float, text: str, rng: np.random.Generator
) -> dict[str, Any]:
    return {
        "recording": f"{recording}.webm",
        "video_time": video_time,
        "text": text,
        "error": False,
        "_error_desc": None,
        "duration_approx": round(float(rng.uniform(3, 12)), 2),
    }


def proficiency_json(takes: Iterable[DemoTake], split: str, config: DemoConfig) -> dict[str, Any]:
    """``proficiency_demonstration_<split>.json``: moments of good execution, and tips where
    something is to be improved.
    """
    annotations = []
    for take in takes:
        found: dict[str, list[Any]] = {"good_executions": [], "tips_for_improvement": []}
        for at in take.attempts:
            rng = generator(config.seed, "proficiency", take.take_uid, at.video_time)
            moment = np.clip(at.video_time + rng.normal(0, 0.1), at.start_s, at.end_s)
            item = {
                "video_name": take.take_name,
                "video_time": round(float(moment), 3),
                "user_id": int(rng.integers(1, 30)),
            }
            if at.fault is None:
                item["text"] = comment(take, at, config)
            else:
                frame, asked = pick(TIPS, rng), wording(at.fault.good, take.split, rng, ask=True)
                item["text"] = sentence(frame, take.skill, asked)
            found["tips_for_improvement" if at.fault else "good_executions"].append(item)
        entry = {
            "take_uid": take.take_uid,
            "take_name": take.take_name,
            "video_paths": {"ego": None, "exo1": take.view},
            "scenario_name": take.skill.sport.title(),
        }
        annotations.append(entry | found)
    return {"annotations": annotations, "ds": f"demo_{split}", "split": split}
