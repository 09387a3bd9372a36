"""Simulated coaches: what they grade, and with which noise. No person rated anything here.

For every learner of the val and test splits, every coach grades all spans of the learner's skill and some of the
sport's other skills, each with what is said over it. The true grade comes from the learner's fault and from what the span shows and teaches, never from a text or a model:

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
from sportskills_lib.demo.settings import DemoConfig, generator

RATERS = (("simulated-coach-a", +1), ("simulated-coach-b", 0), ("simulated-coach-c", -1))
LEANING_P, SLIP_P = 0.08, 0.10
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

    Spans come from the channels of the take's split, so that a learner of the test split is rated against test clips
    only.
    """
    spans: dict[tuple[str, str], list[Candidate]] = {}
    for lesson in (video for video in videos if video.kind == "lesson"):
        shown = [(lesson, shot) for shot in lesson.segments if shot.demonstration != "none"]
        spans.setdefault((lesson.sport, lesson.channel.split), []).extend(shown)
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
    own = [one for one in shuffled if one[0].skill == take.skill.name]
    others = [one for one in shuffled if one[0].skill != take.skill.name][: config.other_skills]
    return [
        {
            "take_uid": take.take_uid,
            "video_time": attempt.video_time,
            "video_id": lesson.video_id,
            "start_s": shot.start_s,
            "end_s": shot.end_s(config.fps),
            "grade": true_grade(take, fault, lesson, shot),
        }
        for lesson, shot in own + others
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
