"""From a folder of lessons to judged narrations: what notebook 01 calls.

Each lesson is opened in a worker process, so that a file that crashes or hangs its reader costs that lesson alone. The
tables do not depend on the number of workers.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from typing import Any

import dataframely as dy
import polars as pl

from sportskills_lib import tables, video
from sportskills_lib.artifacts import sha256_file
from sportskills_lib.compute import Result, Value, map_shards
from sportskills_lib.config import CurationConfig
from sportskills_lib.curation import actionability, captions, sentences
from sportskills_lib.curation.sources import DroppedRow, Lesson
from sportskills_lib.curation.sources_list import find_sources

SHORTEST_SHARE = 0.8  # a file with less of its announced length was cut short
FAILURES = {"crashed": "reader_crashed", "timeout": "reader_timeout"}


@dataclass(frozen=True)
class Curated:
    """The tables of stage 01, checked against each other."""

    videos: dy.DataFrame[tables.Videos]
    narrations: dy.DataFrame[tables.Narrations]
    dropped: dy.DataFrame[tables.Dropped]

    def headline(self) -> dict[str, int]:
        """Counts for the manifest and `status`."""
        verdicts = self.narrations["actionable"]
        return {
            "videos": self.videos.height,
            "narrations": self.narrations.height,
            "actionable": int(verdicts.sum()),
            "undecided": int(verdicts.is_null().sum()),
        }


@dataclass(frozen=True)
class _Task:
    lesson: Lesson
    folder: Path
    max_gap_s: float
    min_words: int


def curate(folder: Path, config: CurationConfig, *, shards: Path | None = None) -> Curated:
    """Videos, judged narrations and everything dropped. ValueError when no lesson is usable.

    ``folder`` is one in yt-dlp's layout, or a list of files (:mod:`sources_list`), whose videos keep absolute paths.
    """
    lessons, dropped = find_sources(folder, language=config.language)
    tasks = [_Task(lesson, folder, config.max_gap_s, config.min_words) for lesson in lessons]
    results = list(
        map_shards(
            read_lesson,
            tasks,
            workers=config.workers,
            timeout_s=config.timeout_s,
            describe=lambda task: task.lesson.video_id,
            shards=shards,
            chunk=32,
            label="lessons opened",
        )
    )
    dropped += [lost_video(result) for result in results if result.reason]
    read = [result for result in results if not result.reason]
    videos = pl.concat([_table(tables.Videos, []), *(result.table("videos") for result in read)])
    narrations = pl.concat([_table(tables.Narrations, []), *(result.table("narrations") for result in read)])
    lost = pl.concat([tables.dropped_rows(dropped), *(result.table("dropped") for result in read)])
    if videos.is_empty():
        counts = ", ".join(f"{reason} {n}" for reason, n in lost["reason"].value_counts().sort("reason").iter_rows())
        raise ValueError(
            f"none of the {len(lessons)} lessons in {folder} is usable ({counts}): see the reasons, mend one"
        )
    checked = tables.Videos.validate(videos.sort("video_id"), cast=True)
    said = tables.Narrations.validate(narrations.sort("video_id", "start_s", "end_s"), cast=True)
    tables.check_keys(said, "video_id", checked, child_name="narrations", parent_name="videos")
    tables.check_spans(said, checked, key="narration_id")
    return Curated(checked, said, tables.Dropped.validate(lost.sort(tables.Dropped.column_names())))


def lost_video(result: Result) -> DroppedRow:
    """The dropped row of a video whose worker died or hung."""
    return "video", result.name, FAILURES[str(result.reason)], result.detail


@cache
def _columns(schema: type[dy.Schema]) -> pl.Schema:
    return schema.create_empty().schema


def _table(schema: type[dy.Schema], rows: list[dict[str, Any]] | list[DroppedRow]) -> pl.DataFrame:
    """Rows as a table of the schema's columns, to be checked once all lessons are together."""
    return pl.DataFrame(rows, schema=_columns(schema), orient="row")


def read_lesson(task: _Task) -> Value:
    """One lesson's row of videos (none if it cannot be used), its narrations and what was dropped."""
    lesson, dropped = task.lesson, list[DroppedRow]()
    try:
        info = video.probe(lesson.path, reader="pyav")  # nothing is decoded here but the first frame
    except video.UnreadableVideo as error:
        return _lesson_value(dropped=[("video", lesson.video_id, "unreadable", str(error))])
    if lesson.duration_s and info.duration_s < SHORTEST_SHARE * lesson.duration_s:
        detail = f"{info.duration_s:.1f} s can be read of {lesson.duration_s:.1f} s: the download was cut short"
        return _lesson_value(dropped=[("video", lesson.video_id, "unreadable", detail)])
    said = captions.read_webvtt(lesson.captions, duration_s=info.duration_s)
    dropped += [("cue", f"{lesson.video_id}:line{line}", reason, detail) for line, reason, detail in said.dropped]
    if not said.words:
        dropped.append(("video", lesson.video_id, "no_captions", f"{lesson.captions.name} holds no usable words"))
        return _lesson_value(dropped=dropped)
    rows: list[dict[str, Any]] = []
    for sentence in sentences.build_sentences(said.words, max_gap_s=task.max_gap_s):
        narration_id = tables.span_id(lesson.video_id, sentence.start_s, sentence.end_s)
        if len(sentence.text.split()) < task.min_words:
            dropped.append(("narration", narration_id, "too_short", sentence.text))
        elif any(row["narration_id"] == narration_id for row in rows):
            dropped.append(("narration", narration_id, "same_span", sentence.text))
        else:
            rows.append(_narration(lesson, said.automatic, narration_id, sentence))
    return _lesson_value(_video_row(lesson, info, task.folder), rows, dropped)


def _narration(lesson: Lesson, automatic: bool, narration_id: str, sentence: sentences.Sentence) -> dict[str, Any]:
    verdict = actionability.judge_sentence(sentence.text, topic=f"{lesson.sport} {lesson.skill}")
    return asdict(sentence) | {
        "narration_id": narration_id,
        "video_id": lesson.video_id,
        "transcription": "automatic" if automatic or not lesson.manual else "manual",
        "actionable": verdict.actionable,
        "judge": actionability.JUDGE,
        "reason": verdict.reason,
    }


def _video_row(lesson: Lesson, info: video.VideoInfo, folder: Path) -> dict[str, Any]:
    kept = ("video_id", "title", "channel", "sport", "skill", "search_term", "language", "licence", "upload_date")
    return {name: getattr(lesson, name) for name in kept} | {
        "path": (lesson.path.relative_to(folder) if lesson.path.is_relative_to(folder) else lesson.path).as_posix(),
        "duration_s": info.duration_s,
        "fps": info.fps,
        "width_px": info.width_px,
        "height_px": info.height_px,
        "sha256": sha256_file(lesson.path),
    }


def _lesson_value(
    row: dict[str, Any] | None = None, rows: list[dict[str, Any]] | None = None, dropped: list[DroppedRow] | None = None
) -> Value:
    return {
        "videos": _table(tables.Videos, [row] if row else []),
        "narrations": _table(tables.Narrations, rows or []),
        "dropped": _table(tables.Dropped, dropped or []),
    }
