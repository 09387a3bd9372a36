"""From a folder of lessons to judged narrations: what notebook 01 calls.

Each lesson is opened in a worker process, so that a file that crashes or hangs its reader costs
that lesson alone. The tables do not depend on the number of workers.
"""

from __future__ import annotations

import atexit
import itertools
import shutil
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from functools import cache, cached_property, partial
from pathlib import Path
from typing import Any

import dataframely as dy
import polars as pl

from sportskills_lib import tables, video
from sportskills_lib.config import CurationConfig
from sportskills_lib.curation import (
    chat_judge,
    rules_judge,
    sentences,
    speech_recognition,
)
from sportskills_lib.curation.captions.caption_reader import read_captions
from sportskills_lib.curation.sources import Lesson, find_lessons
from sportskills_lib.formats.untrusted_json import UnusableRow
from sportskills_lib.runs.artifacts import sha256_file
from sportskills_lib.runs.worker_pool import LOST_READER, Result, Value, map_shards
from sportskills_lib.tables import DroppedRow

PART = 1000  # videos whose narrations are held in memory and written together
MANY = 10_000  # from so many videos on, shards are larger: a folder for every 32 would be thousands
MEASURED = ("duration_s", "fps", "width_px", "height_px")  # columns that a probe tells
SHORTEST_SHARE = 0.8  # a file with less of its announced length was cut short


@dataclass(frozen=True)
class CurationTables:
    """The tables of stage 01, checked against each other; the narrations stand in ``parts``, files
    of whole videos.
    """

    videos: dy.DataFrame[tables.Videos]
    parts: tuple[Path, ...]
    dropped: dy.DataFrame[tables.Dropped]

    def scan(self) -> pl.LazyFrame:
        """All narrations by video and time, to be read in pieces."""
        return pl.scan_parquet(list(self.parts))

    @cached_property
    def narrations(self) -> dy.DataFrame[tables.Narrations]:
        """All narrations at once: about 300 bytes each."""
        return tables.Narrations.validate(self.scan().collect())

    def headline(self) -> dict[str, int]:
        """Counts for the manifest and `status`."""
        verdict = pl.col("actionable")
        counts = self.scan().select(
            narrations=pl.len(), actionable=verdict.sum(), undecided=verdict.is_null().sum()
        )
        return {
            "videos": self.videos.height,
            **counts.collect(engine="streaming").row(0, named=True),
        }


def curate(
    folder: Path, config: CurationConfig, *, shards: Path | None = None, account: str = ""
) -> CurationTables:
    """Videos, judged narrations and everything dropped. ValueError when no lesson of the folder is
    usable.

    ``folder`` is one in yt-dlp's layout, or a list of files (:mod:`.sources`), whose videos
    keep absolute paths. Memory grows with the number of videos, not with what is said in them:
    narrations go to ``shards`` (or a temporary folder) a thousand videos at a time. ``account``
    (the run's name) is what a chat model's budget belongs to.
    """
    lessons, dropped = find_lessons(
        folder, language=config.language, silent=bool(config.speech_model)
    )
    target = shards or Path(tempfile.mkdtemp(prefix="narrations-"))
    if not shards:
        atexit.register(shutil.rmtree, target, ignore_errors=True)
    heard, unheard = _listen(lessons, config, target / "speech")
    dropped += unheard
    results = map_shards(
        partial(read_lesson, folder=folder, max_gap_s=config.max_gap_s, min_words=config.min_words),
        heard,
        workers=config.workers,
        timeout_s=config.timeout_s,
        describe=lambda lesson: lesson.video_id,
        prepare=video.load_decoders,
        shards=shards,
        chunk=32 if len(heard) < MANY else 500,
        label="lessons opened",
    )
    target = target / "narrations"
    target.mkdir(parents=True, exist_ok=True)
    videos, parts = [_table(tables.Videos, [])], list[Path]()
    lost: list[pl.DataFrame] = [tables.dropped_rows(dropped)]
    while batch := list(itertools.islice(results, PART)):
        parts.append(target / f"{len(parts):06d}.parquet")
        found, more = _write_part(parts[-1], batch, config, account)
        videos.append(found)
        lost.append(more)
    everything = tables.Dropped.validate(pl.concat(lost).sort(tables.Dropped.column_names()))
    checked = tables.Videos.validate(pl.concat(videos).sort("video_id"), cast=True)
    if checked.is_empty():
        rows = everything["reason"].value_counts().sort("reason").iter_rows()
        counts = ", ".join(f"{reason} {n}" for reason, n in rows)
        raise ValueError(
            f"none of the {len(lessons)} lessons in {folder} is usable ({counts}): see the "
            "reasons and fix one"
        )
    return CurationTables(checked, tuple(parts), everything)


def _listen(
    lessons: list[Lesson], config: CurationConfig, folder: Path
) -> tuple[list[Lesson], list[DroppedRow]]:
    """Lessons with captions, those without one recognised into ``folder``; what is there from
    before is kept.
    """
    if all(lesson.captions for lesson in lessons):
        return lessons, []
    folder.mkdir(parents=True, exist_ok=True)
    recognise = speech_recognition.load_recogniser(config.speech_model, language=config.language)
    heard, dropped = list[Lesson](), list[DroppedRow]()
    for lesson in lessons:
        target = lesson.captions or folder / f"{lesson.video_id}{speech_recognition.SUFFIX}"
        try:
            if not target.is_file():
                speech_recognition.transcribe(lesson.path, recognise, target)
            heard.append(replace(lesson, captions=target))
        except UnusableRow as error:
            dropped.append(("video", lesson.video_id, error.reason, error.detail))
    return heard, dropped


def read_lesson(lesson: Lesson, *, folder: Path, max_gap_s: float, min_words: int) -> Value:
    """One lesson's row of videos (none if it cannot be used), its narrations and what was
    dropped.
    """
    assert lesson.captions is not None
    name = lesson.video_id
    try:
        info = video.probe(lesson.path, reader="pyav")  # but the first frame, nothing is decoded
        if lesson.duration_s and info.duration_s < SHORTEST_SHARE * lesson.duration_s:
            raise video.UnreadableVideo(
                f"{info.duration_s:.1f} s can be read of {lesson.duration_s:.1f} s: the "
                "download was cut short"
            )
    except video.UnreadableVideo as error:
        return _lesson_value(dropped=[("video", name, "unreadable", str(error))])
    said = read_captions(lesson.captions, duration_s=info.duration_s)
    dropped: list[DroppedRow] = [
        (kind, f"{name}:line{line}", reason, detail)
        for kind, found in (("cue", said.dropped), ("mended", said.mended))
        for line, reason, detail in found
    ]
    if not said.words:
        detail = f"{lesson.captions.name} contains no usable words"
        return _lesson_value(dropped=[*dropped, ("video", name, "no_captions", detail)])
    transcription = "automatic" if said.automatic or not lesson.manual else "manual"
    if lesson.captions.name.endswith(speech_recognition.SUFFIX):
        transcription = "recognised"
    rows: dict[str, dict[str, Any]] = {}
    for sentence in sentences.build_sentences(said.words, max_gap_s=max_gap_s):
        narration_id = tables.span_id(name, sentence.start_s, sentence.end_s)
        if len(sentence.text.split()) < min_words:
            dropped.append(("narration", narration_id, "too_short", sentence.text))
        elif narration_id in rows:
            dropped.append(("narration", narration_id, "same_span", sentence.text))
        else:
            verdict = rules_judge.judge_sentence(
                sentence.text, topic=f"{lesson.sport} {lesson.skill}"
            )
            rows[narration_id] = asdict(sentence) | {
                "narration_id": narration_id,
                "video_id": name,
                "transcription": transcription,
                "actionable": verdict.actionable,
                "judge": rules_judge.JUDGE,
                "reason": verdict.reason,
            }
    return _lesson_value(_video_row(lesson, info, folder), list(rows.values()), dropped)


def _video_row(lesson: Lesson, info: video.VideoInfo, folder: Path) -> dict[str, Any]:
    path = lesson.path.relative_to(folder) if lesson.path.is_relative_to(folder) else lesson.path
    measured = {name: getattr(info, name) for name in MEASURED}
    return {
        **asdict(lesson),
        **measured,
        "path": path.as_posix(),
        "sha256": sha256_file(lesson.path),
    }


def _lesson_value(
    row: dict[str, Any] | None = None,
    rows: Sequence[dict[str, Any]] = (),
    dropped: Sequence[DroppedRow] = (),
) -> Value:
    return {
        "videos": _table(tables.Videos, [row] if row else []),
        "narrations": _table(tables.Narrations, rows),
        "dropped": _table(tables.Dropped, dropped),
    }


def _write_part(
    path: Path, results: list[Result], config: CurationConfig, account: str
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Write the narrations of some videos, checked; returns the videos and what was dropped.

    Ids of narrations begin with their video's id and a video stands in one part, so that what is
    unique in every part is unique in all. What is returned is one piece of memory: left as a chunk
    per video, a row costs more than ten times its size.
    """
    dropped: pl.DataFrame = tables.dropped_rows(
        ("video", result.name, LOST_READER[result.reason], result.detail)
        for result in results
        if result.reason
    )
    read = [result for result in results if not result.reason]
    videos = pl.concat(
        [_table(tables.Videos, []), *(result.table("videos") for result in read)], rechunk=True
    )
    rows = pl.concat(
        [_table(tables.Narrations, []), *(result.table("narrations") for result in read)]
    )
    if config.judge == "chat":
        rows, undecided = chat_judge.judge_table(rows, videos, config, account=account)
        dropped = pl.concat([dropped, tables.dropped_rows(undecided)])
    said = tables.Narrations.validate(rows.sort("video_id", "start_s", "end_s"), cast=True)
    tables.check_keys(said, "video_id", videos, child_name="narrations", parent_name="videos")
    tables.check_spans(said, videos, key="narration_id")
    said.write_parquet(path)
    return videos, pl.concat([dropped, *(result.table("dropped") for result in read)], rechunk=True)


@cache
def _columns(schema: type[dy.Schema]) -> pl.Schema:
    return schema.create_empty().schema


def _table(schema: type[dy.Schema], rows: Sequence[Any]) -> pl.DataFrame:
    """Rows as a table of the schema's columns, to be checked once all lessons are together."""
    return pl.DataFrame(rows, schema=_columns(schema), orient="row")
