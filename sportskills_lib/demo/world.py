"""Writes the demo world: a generated stand-in for YouTube, for Ego-Exo4D and for the coaches.

Every draw has a generator named after its item, so that a world has the same bytes on any number of processes. What is
really so in it is written, too (``truth/``): only tests and audits read these tables; no stage and no notebook does.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import polars as pl

from sportskills_lib.demo import coaches, film, learners, lesson_words, lessons
from sportskills_lib.demo.learners import DemoTake
from sportskills_lib.demo.lessons import DemoLesson
from sportskills_lib.demo.phrases import UNSEEN
from sportskills_lib.demo.settings import DemoConfig, generator
from sportskills_lib.demo.skills import cue_kind
from sportskills_lib.formats.files import write_whole
from sportskills_lib.runs.worker_pool import Value

FOLDERS = ("lessons", "learners", "truth")
SPANISH = "hola a todos y bienvenidos a mi canal hoy vamos a ver los brazos y las rodillas con mucha calma"


def make_world(folder: Path, config: DemoConfig | None = None) -> Path:
    """Make the whole world below ``folder``; returns ``folder``. Lessons, learners and truth that stand there are
    removed first. One process at a time may call this for a folder: ``runs.demo_worlds`` sees to it.
    """
    config = config or DemoConfig()
    for name in FOLDERS:
        shutil.rmtree(folder / name, ignore_errors=True)
    videos, takes = list(lessons.plan_videos(config)), learners.plan_takes(config)
    tasks = [(folder / "lessons" / f"{video.video_id}.mp4", video, config) for video in videos]
    views = [(folder / "learners" / take.view, take, config) for take in takes if take.has_video]
    film.film_all(_film, [*tasks, *views], "demo world")
    _write_learners(folder / "learners", takes, config)
    relevance = coaches.relevance_table(takes, videos, config)
    ratings = coaches.ratings_table(relevance, config)
    write_whole(folder / "ratings.csv", ratings.write_csv(float_precision=3))
    (folder / "truth").mkdir()
    for name, table in {
        "segments": segments_table(videos, config),
        "videos": videos_table(videos, config),
        "learners": learners_table(takes, config),
        "relevance": relevance,
    }.items():
        table.write_parquet(folder / "truth" / f"{name}.parquet")
    return folder


def _film(task: tuple[Path, DemoLesson | DemoTake, DemoConfig]) -> Value:
    """Write a take's film, or a lesson's film, captions and info."""
    path, item, config = task
    if isinstance(item, DemoTake):
        name = item.take_uid
        rng = generator(config.seed, "take quality", name)
        film.write_take(path, item.skill, item.parts, config, name=name, look=name, rng=rng)
        return {}
    film.write_video(
        path,
        film.lesson_shots(item, config),
        config=config,
        crf=item.crf,
        padding=float(generator(config.seed, "size", item.video_id).uniform(*film.PADDING)),
        name=item.video_id,
        defect=item.defect,
    )
    language = "es" if item.defect == "foreign_language" else "en"
    if item.defect != "no_captions":
        path.with_suffix(f".{language}.vtt").write_text(captions(item, config))
    if item.defect != "no_info":
        path.with_suffix(".info.json").write_text(info_json(item, language, config))
    return {}


def captions(lesson: DemoLesson, config: DemoConfig) -> str:
    """The lesson's WebVTT, in its form."""
    is_spanish = lesson.defect == "foreign_language"
    spoken = [
        lesson_words.speak(SPANISH if is_spanish else shot.text, shot.said_start_s, shot.said_end_s)
        for shot in lesson.segments
        if shot.said_start_s is not None and shot.said_end_s is not None
    ]
    if is_spanish:
        return lesson_words.manual_vtt(spoken, "es")
    if lesson.form == "manual":
        text = lesson_words.manual_vtt(spoken)
        return lesson_words.spoil_times(text) if lesson.defect == "impossible_times" else text
    rng = generator(config.seed, "ears", lesson.video_id)
    heard = [lesson_words.mishear(sentence, rng) for sentence in spoken]
    return lesson_words.rolling_vtt(words for words in heard if words)


def info_json(lesson: DemoLesson, language: str, config: DemoConfig) -> str:
    """``<id>.info.json`` with the fields of yt-dlp's that matter."""
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


def _write_learners(folder: Path, takes: list[DemoTake], config: DemoConfig) -> None:
    """Ego-Exo4D's files about the takes."""
    documents: dict[str, Any] = {"takes.json": learners.takes_json(takes, config)}
    for split in learners.SPLITS:
        own = [take for take in takes if take.split == split]
        commentary = learners.commentary_json(own, split, config)
        proficiency = learners.proficiency_json(own, split, config)
        documents[f"annotations/expert_commentary_{split}.json"] = commentary
        documents[f"annotations/proficiency_demonstration_{split}.json"] = proficiency
    (folder / "annotations").mkdir(parents=True, exist_ok=True)
    for name, document in documents.items():
        write_whole(folder / name, json.dumps(document, indent=1))


# ---------------------------------------------------------------------------------------------------------- truth


def segments_table(videos: Iterable[DemoLesson], config: DemoConfig) -> pl.DataFrame:
    """Every shot of every video, in picture time, with what is said over it and when.

    ``demonstration`` is that of the pair of picture and words: correct or incorrect only where a skill is both shown
    and taught. ``execution`` is what is shown, if anything; ``cue_kind`` is pose or timing, where there is a cue.
    ``actionable`` is null for instruction about no sport; ``seen_wording``: whether training texts may say it, too.
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
            "seen_wording": not any(said in segment.text.lower() for said in UNSEEN),
            "execution": segment.execution,
            "cue": segment.cue,
            "cue_kind": cue_kind(segment.cue) if segment.cue else None,
            "demonstration": segment.demonstration,
            "actionable": segment.actionable if segment.text else None,
            "caption_form": lesson.form,
        }
        for lesson in videos
        for number, segment in enumerate(lesson.segments)
    ]
    return pl.DataFrame(
        rows,
        infer_schema_length=None,
        schema_overrides={"actionable": pl.Boolean, "cue_kind": pl.String},
    )


def videos_table(videos: Iterable[DemoLesson], config: DemoConfig) -> pl.DataFrame:
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
        for lesson in videos
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
            "comment": learners.comment(take, attempt, config),
            "has_video": take.has_video,
        }
        for take in takes
        for attempt in take.attempts
    ]
    return pl.DataFrame(rows, infer_schema_length=None)
