"""Writes the demo world: a generated stand-in for YouTube, for Ego-Exo4D and for the coaches.

Every draw has a generator named after its item, every file is written under another name and then renamed: a world
that was cut off goes on where it stood and ends with the same bytes, on any number of processes.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import polars as pl

from sportskills_lib.demo import coaches, film, learners, lesson_words, lessons, truth
from sportskills_lib.demo.settings import DemoConfig, generator
from sportskills_lib.formats.files import write_whole
from sportskills_lib.runs import stage_code
from sportskills_lib.runs.fingerprints import digest
from sportskills_lib.runs.worker_pool import Value

BEGUN = ".begun.json"  # the key of the world that is being made
CONTENTS = ("lessons", "learners", "truth", "ratings.csv", "world.json", BEGUN)  # written here
SPANISH = "hola a todos y bienvenidos a mi canal hoy vamos a ver los brazos y las rodillas con mucha calma"


def make_world(folder: Path, config: DemoConfig | None = None) -> Path:
    """Make the whole world below ``folder``, or what is missing of it; returns ``folder``.

    ``world.json`` comes last: with it the world is complete, and nothing is touched again while config and generator are
    the same. With another config or generator, what stands is cleared first; ``models/`` is never touched. A later run
    goes on where one was cut off. One process at a time may call this for a folder (``runs.demo_worlds`` sees to it).
    """
    config = config or DemoConfig()
    key = world_key(config)
    if _read_key(folder / "world.json") == key:
        return folder
    if _read_key(folder / BEGUN) != key:
        for path in (folder / name for name in CONTENTS):
            shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)
    folder.mkdir(parents=True, exist_ok=True)
    facts = {"key": key, "config": config.model_dump(mode="json", exclude={"workers"})}
    write_whole(folder / BEGUN, json.dumps(facts, indent=2))
    videos, takes = list(lessons.plan_videos(config)), learners.plan_takes(config)
    tasks = [(folder / "lessons" / f"{video.video_id}.mp4", video, config) for video in videos]
    views = [(folder / "learners" / take.view, take, config) for take in takes if take.has_video]
    missing = [task for task in [*tasks, *views] if not task[0].is_file()]
    film.film_all(_film, missing, "demo world")
    _write_learners(folder / "learners", takes, config)
    judged = list(coaches.pools(takes, videos, config))
    ratings = pl.DataFrame(coaches.rating_rows(judged, config), infer_schema_length=None)
    write_whole(folder / "ratings.csv", ratings.write_csv(float_precision=3))
    (folder / "truth").mkdir(exist_ok=True)
    for name, table in truth.truth_tables(videos, takes, judged, config).items():
        table.write_parquet(folder / "truth" / f"{name}.parquet")
    (folder / BEGUN).replace(folder / "world.json")
    return folder


def world_key(config: DemoConfig) -> str:
    """Changes with the config and with the code that makes the world, but not with ``workers``."""
    code = stage_code.module_parts("sportskills_lib.demo.world")
    return digest([config.model_dump(mode="json", exclude={"workers"}), code])


def _read_key(path: Path) -> str | None:
    try:
        return json.loads(path.read_text())["key"]
    except (OSError, ValueError, KeyError):
        return None


def _film(task: tuple[Path, lessons.DemoLesson | learners.DemoTake, DemoConfig]) -> Value:
    """Write a take's film, or a lesson's captions, info and then its film."""
    path, item, config = task
    if isinstance(item, learners.DemoTake):
        rng = generator(config.seed, "take quality", item.take_uid)
        who = {"name": item.take_uid, "look": item.take_uid}
        film.write_take(path, item.skill, item.parts, config, rng=rng, **who)
        return {}
    path.parent.mkdir(parents=True, exist_ok=True)
    language = "es" if item.defect == "foreign_language" else "en"
    if item.defect != "no_captions":
        write_whole(path.with_suffix(f".{language}.vtt"), captions(item, config))
    if item.defect != "no_info":
        write_whole(path.with_suffix(".info.json"), info_json(item, language, config))
    film.write_video(
        path,
        film.lesson_shots(item, config),
        config=config,
        crf=item.crf,
        padding=float(generator(config.seed, "size", item.video_id).uniform(*film.PADDING)),
        name=item.video_id,
        defect=item.defect,
    )
    return {}


def captions(lesson: lessons.DemoLesson, config: DemoConfig) -> str:
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


def info_json(lesson: lessons.DemoLesson, language: str, config: DemoConfig) -> str:
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


def _write_learners(folder: Path, takes: list[learners.DemoTake], config: DemoConfig) -> None:
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
