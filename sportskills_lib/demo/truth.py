"""What is really so in the demo world. Only tests and audits read these tables; no stage and no
notebook does.
"""

from __future__ import annotations

from collections.abc import Iterable

import polars as pl

from sportskills_lib.demo.coaches import GradedSpan, span_key
from sportskills_lib.demo.learners import DemoTake, comment
from sportskills_lib.demo.lessons import DemoLesson
from sportskills_lib.demo.settings import DemoConfig
from sportskills_lib.demo.skills import cue_kind


def segments_table(lessons: Iterable[DemoLesson], config: DemoConfig) -> pl.DataFrame:
    """Every shot of every video, in picture time, with what is said over it and when.

    ``demonstration`` is that of the pair of picture and words: correct or incorrect only where a skill is both shown
    and taught. ``execution`` is what is shown, if anything; ``cue_kind`` is pose or timing, where there is a cue.
    ``actionable`` is null for instruction about no sport.
    """
    rows = [
        {
            "video_id": lesson.video_id,
            "video_kind": lesson.kind,
            "channel": lesson.channel.channel_id,
            "style": lesson.channel.style,
            "sport": lesson.sport,
            "skill": lesson.skill,
            "segment": number,
            "kind": segment.kind,
            "picture": segment.picture,
            "start_s": segment.start_s,
            "end_s": segment.end_s(config.fps),
            "said_start_s": segment.said_start_s,
            "said_end_s": segment.said_end_s,
            "text": segment.text or None,
            "execution": segment.execution,
            "cue": segment.cue,
            "cue_kind": cue_kind(segment.cue) if segment.cue else None,
            "demonstration": segment.demonstration,
            "actionable": segment.actionable if segment.text else None,
            "caption_form": lesson.form,
        }
        for lesson in lessons
        for number, segment in enumerate(lesson.segments)
    ]
    kinds = {"actionable": pl.Boolean, "cue_kind": pl.String}
    return pl.DataFrame(rows, infer_schema_length=None, schema_overrides=kinds)


def videos_table(lessons: Iterable[DemoLesson], config: DemoConfig) -> pl.DataFrame:
    """Every video: what kind it is, whose copy, how damaged."""
    rows = [
        {
            "video_id": lesson.video_id,
            "kind": lesson.kind,
            "channel": lesson.channel.channel_id,
            "style": lesson.channel.style,
            "sport": lesson.sport,
            "skill": lesson.skill,
            "duration_s": round(lesson.duration_s(config.fps), 3),
            "caption_form": lesson.form,
            "duplicate_of": lesson.duplicate_of,
            "dissolve": lesson.dissolve,
            "mirrored": lesson.mirrored,
            "brightness": lesson.brightness,
            "defect": lesson.defect,
        }
        for lesson in lessons
    ]
    return pl.DataFrame(
        rows,
        infer_schema_length=None,
        schema_overrides={"duplicate_of": pl.String, "defect": pl.String},
    )


def learners_table(takes: Iterable[DemoTake], config: DemoConfig) -> pl.DataFrame:
    """Every commented try of every take; ``execution`` is the fault shown, or correct."""
    rows = [
        {
            "take_uid": take.take_uid,
            "take_name": take.take_name,
            "video_time": attempt.video_time,
            "start_s": attempt.start_s,
            "end_s": attempt.end_s,
            "participant_uid": take.participant_uid,
            "split": take.split,
            "sport": take.skill.sport,
            "skill": take.skill.name,
            "execution": attempt.fault.name if attempt.fault else "correct",
            "faults": [other.fault.name for other in take.attempts if other.fault],
            "comment": comment(take, attempt, config),
            "has_video": take.has_video,
        }
        for take in takes
        for attempt in take.attempts
    ]
    return pl.DataFrame(rows, infer_schema_length=None)


def truth_tables(
    videos: list[DemoLesson],
    takes: list[DemoTake],
    judged: Iterable[GradedSpan],
    config: DemoConfig,
) -> dict[str, pl.DataFrame]:
    """The tables above by name, and ``relevance``: the grade without noise of every span in every
    pool.
    """
    relevance = [
        span_key(span) | {"end_s": span.segment.end_s(config.fps), "grade": span.grade}
        for span in judged
    ]
    return {
        "segments": segments_table(videos, config),
        "videos": videos_table(videos, config),
        "learners": learners_table(takes, config),
        "relevance": pl.DataFrame(relevance, infer_schema_length=None),
    }
