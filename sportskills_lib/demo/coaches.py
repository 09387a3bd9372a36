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

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np

from sportskills_lib.demo.learners import Attempt, DemoTake
from sportskills_lib.demo.lessons import Channel, DemoLesson, DemoSegment, expected_splits
from sportskills_lib.demo.settings import DemoConfig, generator

RATERS = (("simulated-coach-a", +1), ("simulated-coach-b", 0), ("simulated-coach-c", -1))
LEANING_P, SLIP_P = 0.08, 0.10
WANTED = ("cue", "fault", "other_cue", "same_skill")  # what each pool holds, as far as there is any
SHARES = (1 / 6, 1 / 6, 1 / 5, 1 / 5)  # of the pool; the rest is of the sport's other skills


@dataclass(frozen=True)
class Candidate:
    """A span that may stand in a pool: one demonstration of one lesson."""

    lesson: DemoLesson
    segment: DemoSegment


@dataclass(frozen=True)
class GradedSpan:
    """A span in a learner's pool, with its true grade."""

    take: DemoTake
    attempt: Attempt
    candidate: Candidate
    grade: int


def true_grade(take: DemoTake, attempt: Attempt, candidate: Candidate) -> int:
    """0 … 3, as the module says."""
    if attempt.fault is None:
        raise ValueError(
            f"take {take.take_uid} at {attempt.video_time} s is done well: there is nothing to help with"
        )
    segment, fault = candidate.segment, attempt.fault.name
    if candidate.lesson.skill != take.skill.name or candidate.lesson.sport != take.skill.sport:
        return 0
    if segment.demonstration == "correct":
        return 3 if segment.cue == fault else 1
    return 2 if segment.demonstration == "incorrect" and segment.execution == fault else 0


def _kind(take: DemoTake, attempt: Attempt, candidate: Candidate) -> str:
    grade = true_grade(take, attempt, candidate)
    if grade:
        return {3: "cue", 2: "fault", 1: "other_cue"}[grade]
    return "same_skill" if candidate.lesson.skill == take.skill.name else "other_skill"


def pools(
    takes: Iterable[DemoTake],
    lessons: Iterable[DemoLesson],
    channels: dict[str, tuple[Channel, ...]],
    config: DemoConfig,
) -> Iterator[GradedSpan]:
    """The spans that coaches grade for every mistake of a val or test take.

    Spans come from the channels that the public rule of 02_pairing puts in the take's split (``expected_splits``), so
    that a learner of the test split is rated against test clips only.
    """
    spans: dict[tuple[str, str], list[Candidate]] = {}
    for lesson in lessons:
        if lesson.kind == "lesson":
            split = expected_splits(channels[lesson.sport], config)[lesson.channel.channel_id]
            shown = [
                Candidate(lesson, segment)
                for segment in lesson.segments
                if segment.demonstration != "none"
            ]
            spans.setdefault((lesson.sport, split), []).extend(shown)
    for take in takes:
        if take.split == "train" or not take.has_video:
            continue
        for attempt in take.attempts:
            if attempt.fault is not None:
                for candidate in _pool(
                    take, attempt, spans.get((take.skill.sport, take.split), []), config
                ):
                    yield GradedSpan(take, attempt, candidate, true_grade(take, attempt, candidate))


def _pool(
    take: DemoTake, attempt: Attempt, candidates: list[Candidate], config: DemoConfig
) -> list[Candidate]:
    rng = generator(config.seed, "pool", take.take_uid, attempt.video_time)
    shuffled = [candidates[i] for i in rng.permutation(len(candidates))]
    chosen: list[int] = []
    for kind, share in zip(WANTED, SHARES, strict=True):
        fitting = [
            i for i, candidate in enumerate(shuffled) if _kind(take, attempt, candidate) == kind
        ]
        chosen += fitting[: round(share * config.pool)]
    others = [
        i
        for i, candidate in enumerate(shuffled)
        if _kind(take, attempt, candidate) == "other_skill"
    ]
    rest = [i for i in range(len(shuffled)) if i not in chosen and i not in others]
    chosen += (others + rest)[: config.pool - len(chosen)]
    return [shuffled[i] for i in sorted(chosen)]


def grade_with_noise(grade: int, leaning: int, rng: np.random.Generator) -> int:
    """A coach's grade for a true one; ``leaning`` is +1, 0 or -1."""
    if rng.random() < LEANING_P:
        grade += leaning
    if rng.random() < SLIP_P:
        grade += int(rng.choice([-1, 1]))
    return int(np.clip(grade, 0, 3))


def rating_rows(judged: Iterable[GradedSpan], config: DemoConfig) -> Iterator[dict[str, object]]:
    """The rows of ``ratings.csv``: every coach on every span of every pool."""
    for one in judged:
        segment = one.candidate.segment
        for rater, leaning in RATERS:
            rng = generator(
                config.seed, rater, one.take.take_uid, one.attempt.video_time, one.candidate.lesson.video_id,
                segment.start_s,
            )  # fmt: skip
            yield {
                "take_uid": one.take.take_uid,
                "video_time": one.attempt.video_time,
                "video_id": one.candidate.lesson.video_id,
                "start_s": segment.start_s,
                "end_s": segment.end_s(config.fps),
                "rater": rater,
                "grade": grade_with_noise(one.grade, leaning, rng),
                "simulated": True,
            }
