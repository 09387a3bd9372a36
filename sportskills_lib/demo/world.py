"""Writes the demo world: a generated stand-in for YouTube, for Ego-Exo4D and for the coaches.

Every draw has a generator named after its item, every file is written under another name and then renamed: a world
that was cut off goes on where it stood and ends with the same bytes, on any number of processes.
"""

from __future__ import annotations

import errno
import json
import multiprocessing
import os
import shutil
import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import polars as pl
from filelock import FileLock, Timeout

from sportskills_lib.demo import coaches, film, learners, lesson_words, lessons, truth
from sportskills_lib.demo.settings import DemoConfig, generator
from sportskills_lib.formats.files import digest, write_whole
from sportskills_lib.runs import stage_code
from sportskills_lib.runs.progress import ItemProgress

__all__ = ["DemoConfig", "make_world"]

FORMAT = 1
CONTENTS = (
    "lessons",
    "learners",
    "truth",
    "ratings.csv",
    "world.json",
    ".partial",
)  # what this module writes
CHUNK = 8  # videos that a process takes at a time
SPANISH = "hola a todos y bienvenidos a mi canal hoy vamos a ver los brazos y las rodillas con mucha calma"

Task = tuple[str, Any]  # (lesson, Lesson) or (take, Take)


def make_world(
    folder: Path, config: DemoConfig | None = None, *, progress: Callable[[str], None] | None = None
) -> Path:
    """Make the whole world below ``folder``, or what is missing of it; returns ``folder``.

    ``world.json`` comes last: with it the world is complete, and nothing is touched again while config and generator are
    the same. With another config or generator, what stands is cleared first; ``models/`` is never touched. Lines for
    people go to ``progress``; without it, a bar is shown on a terminal, and lines go to the log elsewhere. ValueError when another
    process is at work on this folder; OSError when the disk is full, and then a later run goes on from there.
    """
    config = config or DemoConfig()
    folder.mkdir(parents=True, exist_ok=True)
    lock = FileLock(folder / ".world.lock")
    try:
        lock.acquire(timeout=1)
    except Timeout:
        raise ValueError(
            f"another process is making the demo world in {folder}: wait for it, or stop it"
        ) from None
    with lock:
        key = world_key(config)
        if _read_key(folder / "world.json") == key:
            return folder
        _clear_unless(folder, key)
        videos, takes = list(lessons.plan_videos(config)), learners.plan_takes(config)
        tasks: list[Task] = [("lesson", video) for video in videos]
        tasks += [("take", take) for take in takes if take.has_video]
        missing = [task for task in tasks if not _is_made(folder, task)]
        try:
            _run(folder, missing, config, progress)
            _write_tables(folder, videos, takes, config)
        except OSError as error:
            if error.errno != errno.ENOSPC:
                raise
            message = f"no space left below {folder} for the demo world (300 MB): make room and run it again"
            raise OSError(errno.ENOSPC, message) from error
        shutil.rmtree(folder / ".partial", ignore_errors=True)
        write_whole(
            folder / "world.json",
            json.dumps(
                {"key": key, "config": config.model_dump(mode="json", exclude={"workers"})},
                indent=2,
            ),
        )
    return folder


def world_key(config: DemoConfig) -> str:
    """Changes with the config and with the code that makes the world, but not with ``workers``."""
    code = stage_code.module_parts("sportskills_lib.demo.world")
    return digest([FORMAT, config.model_dump(mode="json", exclude={"workers"}), code])


def _read_key(path: Path) -> str | None:
    try:
        return json.loads(path.read_text())["key"]
    except (OSError, ValueError, KeyError):
        return None


def _clear_unless(folder: Path, key: str) -> None:
    """Keep what a run with this key left half way; clear everything else that is ours."""
    marker = folder / ".partial" / "key.json"
    if _read_key(marker) != key:
        for name in CONTENTS:
            path = folder / name
            if path.is_dir():
                shutil.rmtree(path)
            path.unlink(missing_ok=True)
    shutil.rmtree(
        folder / ".partial", ignore_errors=True
    )  # files that were being written when it was cut off
    marker.parent.mkdir(parents=True)
    write_whole(marker, json.dumps({"key": key}))


# ------------------------------------------------------------------------------------------------------ processes


def _run(
    folder: Path, tasks: list[Task], config: DemoConfig, progress: Callable[[str], None] | None
) -> None:
    """Make the tasks' files, here or in processes, and say how far it is."""
    chunks = [tasks[i : i + CHUNK] for i in range(0, len(tasks), CHUNK)]
    count = ItemProgress("demo world", len(tasks), unit="video", say=progress)
    if config.workers == 1 or len(chunks) < 2:
        for chunk in chunks:
            for task in chunk:
                count.update(_make_chunk(folder, [task], config))
    else:
        context = multiprocessing.get_context("spawn")
        with ProcessPoolExecutor(
            config.workers, mp_context=context, initializer=_start_worker
        ) as pool:
            for made in pool.map(
                _make_chunk, [folder] * len(chunks), chunks, [config] * len(chunks)
            ):
                count.update(made)
    count.close()


def _start_worker() -> None:
    """A worker draws with one thread, and ends when its parent does, even if that was killed."""
    import cv2

    cv2.setNumThreads(1)
    parent = multiprocessing.parent_process()

    def follow() -> None:
        if parent is not None:
            parent.join()
            os._exit(1)

    threading.Thread(target=follow, daemon=True).start()


def _make_chunk(folder: Path, tasks: list[Task], config: DemoConfig) -> int:
    for kind, item in tasks:
        if kind == "lesson":
            _make_lesson(folder, item, config)
        else:
            _make_take(folder, item, config)
    return len(tasks)


# ---------------------------------------------------------------------------------------------------------- files


def _lesson_files(lesson: lessons.DemoLesson) -> dict[str, str]:
    """The file names of a lesson by role; a broken one may lack some."""
    files = {"video": f"{lesson.video_id}.mp4"}
    if lesson.defect != "no_captions":
        files["captions"] = (
            f"{lesson.video_id}.{'es' if lesson.defect == 'foreign_language' else 'en'}.vtt"
        )
    if lesson.defect != "no_info":
        files["info"] = f"{lesson.video_id}.info.json"
    return files


def _is_made(folder: Path, task: Task) -> bool:
    kind, item = task
    if kind == "take":
        return (folder / "learners" / item.view).is_file()
    return all((folder / "lessons" / name).is_file() for name in _lesson_files(item).values())


def _make_lesson(folder: Path, lesson: lessons.DemoLesson, config: DemoConfig) -> None:
    target, files = folder / "lessons", _lesson_files(lesson)
    target.mkdir(parents=True, exist_ok=True)
    partial = folder / ".partial" / files["video"]
    padding = float(generator(config.seed, "size", lesson.video_id).uniform(1.0, 1.5))
    shots = film.lesson_shots(lesson, config)
    film.write_video(
        partial, shots, config=config, crf=lesson.crf, padding=padding, name=lesson.video_id
    )
    if lesson.defect == "truncated":
        os.truncate(partial, partial.stat().st_size // 3)
    elif lesson.defect == "empty":
        os.truncate(partial, 0)
    elif lesson.defect == "text":
        partial.write_text("<html><body>429 Too Many Requests</body></html>\n")
    for role, content in (
        ("captions", captions(lesson, config)),
        ("info", info_json(lesson, config)),
    ):
        if role in files:
            aside = partial.with_name(files[role])
            aside.write_text(content)
            aside.replace(target / files[role])
    partial.replace(target / files["video"])


def _make_take(folder: Path, take: learners.DemoTake, config: DemoConfig) -> None:
    target = folder / "learners" / take.view
    target.parent.mkdir(parents=True, exist_ok=True)
    partial = folder / ".partial" / f"{take.take_name}.mp4"
    rng = generator(config.seed, "take quality", take.take_uid)
    shots = film.take_shots(take.skill.sport, take.skill.name, take.take_uid, take.parts, config)
    crf, padding = int(rng.integers(*film.CRF)), float(rng.uniform(1.0, 1.5))
    film.write_video(partial, shots, config=config, crf=crf, padding=padding, name=take.take_uid)
    partial.replace(target)


def captions(lesson: lessons.DemoLesson, config: DemoConfig) -> str:
    """The lesson's WebVTT, in its form."""
    spoken = [
        lesson_words.speak(segment.text, segment.said_start_s, segment.said_end_s)
        for segment in lesson.segments
        if segment.text and segment.said_start_s is not None and segment.said_end_s is not None
    ]
    if lesson.defect == "foreign_language":
        spoken = [
            lesson_words.speak(SPANISH, words[0].start_s, words[-1].end_s) for words in spoken
        ]
        return lesson_words.manual_vtt(spoken, "es")
    if lesson.form == "manual":
        text = lesson_words.manual_vtt(spoken)
        return lesson_words.spoil_times(text) if lesson.defect == "impossible_times" else text
    rng = generator(config.seed, "ears", lesson.video_id)
    heard = [
        words for words in (lesson_words.mishear(sentence, rng) for sentence in spoken) if words
    ]
    return lesson_words.rolling_vtt(heard)


def info_json(lesson: lessons.DemoLesson, config: DemoConfig) -> str:
    """``<id>.info.json`` with the fields of yt-dlp's that matter."""
    language = "es" if lesson.defect == "foreign_language" else "en"
    tracks = {language: [{"ext": "vtt"}]} if lesson.defect != "no_captions" else {}
    value = {
        "id": lesson.video_id,
        "title": lesson.title,
        "channel": lesson.channel.name,
        "channel_id": lesson.channel.channel_id,
        "duration": round(lesson.duration_s(config.fps), 3),
        "language": language,
        "ext": "mp4",
        "width": config.size_px,
        "height": config.size_px,
        "fps": config.fps,
        "vcodec": "avc1",
        "acodec": "none",
        "webpage_url": f"https://www.youtube.com/watch?v={lesson.video_id}",
        "extractor_key": "Youtube",
        "upload_date": lesson.upload_date,
        "view_count": lesson.view_count,
        "automatic_captions": tracks if lesson.form == "automatic" else {},
        "subtitles": tracks if lesson.form == "manual" else {},
        "tags": [lesson.sport, lesson.skill],
        "playlist_title": lesson.search_term,
    }
    return json.dumps(value, indent=1)


def _write_tables(
    folder: Path,
    videos: list[lessons.DemoLesson],
    takes: list[learners.DemoTake],
    config: DemoConfig,
) -> None:
    """Annotations, ratings and the truth."""
    annotations, kept = folder / "learners" / "annotations", folder / "truth"
    for path in (annotations, kept):
        path.mkdir(parents=True, exist_ok=True)
    write_whole(
        folder / "learners" / "takes.json", json.dumps(learners.takes_json(takes, config), indent=1)
    )
    for split in learners.SPLITS:
        of_split = [take for take in takes if take.split == split]
        commentary = learners.commentary_json(of_split, split, config)
        write_whole(
            annotations / f"expert_commentary_{split}.json", json.dumps(commentary, indent=1)
        )
        proficiency = learners.proficiency_json(of_split, split, config)
        write_whole(
            annotations / f"proficiency_demonstration_{split}.json",
            json.dumps(proficiency, indent=1),
        )
    channels = {
        sport.name: lessons.sport_channels(sport, config)
        for sport in lessons.SPORTS[: config.sports]
    }
    judged = list(coaches.pools(takes, videos, channels, config))
    write_whole(folder / "ratings.csv", _csv(coaches.rating_rows(judged, config)))
    tables = {
        "segments": truth.segments_table(videos, config),
        "videos": truth.videos_table(videos, config),
        "learners": truth.learners_table(takes, config),
        "relevance": truth.relevance_table(judged, config),
    }
    for name, table in tables.items():
        aside = folder / ".partial" / f"{name}.parquet"
        table.write_parquet(aside)
        aside.replace(kept / aside.name)


RATING_COLUMNS = {
    "take_uid": pl.String, "video_time": pl.Float64, "video_id": pl.String, "start_s": pl.Float64, "end_s": pl.Float64,
    "rater": pl.String, "grade": pl.Int64, "simulated": pl.Boolean,
}  # fmt: skip


def _csv(rows: Iterable[dict[str, object]] | Iterator[dict[str, object]]) -> str:
    return pl.DataFrame(list(rows), schema=RATING_COLUMNS).write_csv(float_precision=3)
