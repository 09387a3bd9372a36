"""Simulated coaches: what they grade, and with which noise. No person rated anything here.

For every learner of the val and test splits, every coach grades one pool of spans of the same sport. The true grade
comes from the learner's fault and from what the span shows and teaches, never from a text or a model:

    3   a correct demonstration, taught with the cue that mends this very fault
    2   this very fault, shown and named as a mistake
    1   a correct demonstration of the same skill, taught with another cue
    0   anything else

A coach's grade is the true one, plus an inclination of the coach's own (one is generous, one strict: a grade moves up,
or down, with ``LEANING_P``), plus a slip by one, up or down, with ``SLIP_P``; the result is held within 0 … 3.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import polars as pl

from sportskills_lib.demo.learners import Attempt, DemoTake
from sportskills_lib.demo.lessons import DemoLesson, DemoSegment
from sportskills_lib.demo.settings import TEST_FRACTION, VAL_FRACTION, DemoConfig, generator
from sportskills_lib.group_splits import assign_splits

RATERS = (("simulated-coach-a", +1), ("simulated-coach-b", 0), ("simulated-coach-c", -1))
LEANING_P, SLIP_P = 0.08, 0.10
SHARES = {  # of a pool, as far as there is any; the rest is of the sport's other skills
    "cue": 1 / 6,
    "fault": 1 / 6,
    "other_cue": 1 / 5,
    "same_skill": 1 / 5,
}
KIND_OF_GRADE = {3: "cue", 2: "fault", 1: "other_cue"}
Candidate = tuple[DemoLesson, DemoSegment]  # a demonstration that may stand in a pool


def true_grade(take: DemoTake, fault: str, lesson: DemoLesson, segment: DemoSegment) -> int:
    """0 … 3, as the module says, for the ``fault`` that the take shows."""
    if (lesson.sport, lesson.skill) != (take.skill.sport, take.skill.name):
        return 0
    if segment.demonstration == "correct":
        return 3 if segment.cue == fault else 1
    return 2 if segment.demonstration == "incorrect" and segment.execution == fault else 0


def relevance_table(
    takes: Iterable[DemoTake], videos: Iterable[DemoLesson], config: DemoConfig
) -> pl.DataFrame:
    """The true grades of the spans that coaches see for every mistake of a val or test take.

    Spans come from the channels that the public rule of 02_pairing puts in the take's split, so that a learner of the
    test split is rated against test clips only.
    """
    lessons = [video for video in videos if video.kind == "lesson"]
    taught = [(lesson.sport, lesson.channel.channel_id) for lesson in lessons]
    channels = pl.DataFrame(taught, schema=["sport", "channel"], orient="row")
    splits, _ = assign_splits(channels, test_fraction=TEST_FRACTION, val_fraction=VAL_FRACTION)
    spans: dict[tuple[str, str], list[Candidate]] = {}
    for lesson in lessons:
        shown = [(lesson, shot) for shot in lesson.segments if shot.demonstration != "none"]
        spans.setdefault((lesson.sport, splits[lesson.channel.channel_id]), []).extend(shown)
    rows = []
    for take in takes:
        candidates = spans.get((take.skill.sport, take.split), [])
        if take.split != "train" and take.has_video:
            for attempt in take.attempts:
                if attempt.fault is not None:
                    rows += _pool(take, attempt, attempt.fault.name, candidates, config)
    return pl.DataFrame(rows, infer_schema_length=None)


def _pool(
    take: DemoTake, attempt: Attempt, fault: str, candidates: list[Candidate], config: DemoConfig
) -> list[dict[str, object]]:
    rng = generator(config.seed, "pool", take.take_uid, attempt.video_time)
    shuffled = [candidates[i] for i in rng.permutation(len(candidates))]
    grades = [true_grade(take, fault, *candidate) for candidate in shuffled]
    kinds: dict[str, list[int]] = {}
    for i, (lesson, _) in enumerate(shuffled):
        same = "same_skill" if lesson.skill == take.skill.name else "other_skill"
        kinds.setdefault(KIND_OF_GRADE.get(grades[i], same), []).append(i)
    chosen: list[int] = []
    for kind, share in SHARES.items():
        chosen += kinds.get(kind, [])[: round(share * config.pool)]
    others = kinds.get("other_skill", [])
    rest = [i for i in range(len(shuffled)) if i not in chosen and i not in others]
    chosen += (others + rest)[: config.pool - len(chosen)]
    return [
        {
            "take_uid": take.take_uid,
            "video_time": attempt.video_time,
            "video_id": shuffled[i][0].video_id,
            "start_s": shuffled[i][1].start_s,
            "end_s": shuffled[i][1].end_s(config.fps),
            "grade": grades[i],
        }
        for i in sorted(chosen)
    ]


def grade_with_noise(grade: int, leaning: int, rng: np.random.Generator) -> int:
    """A coach's grade for a true one; ``leaning`` is +1, 0 or -1."""
    if rng.random() < LEANING_P:
        grade += leaning
    if rng.random() < SLIP_P:
        grade += int(rng.choice([-1, 1]))
    return int(np.clip(grade, 0, 3))


def ratings_table(relevance: pl.DataFrame, config: DemoConfig) -> pl.DataFrame:
    """The rows of ``ratings.csv``: every coach on every span of every pool."""
    rows = []
    for *key, end_s, grade in relevance.iter_rows():
        for rater, leaning in RATERS:
            noisy = grade_with_noise(grade, leaning, generator(config.seed, rater, *key))
            rows.append((*key, end_s, rater, noisy, True))
    columns = [*relevance.columns[:-1], "rater", "grade", "simulated"]
    return pl.DataFrame(rows, schema=columns, orient="row")
