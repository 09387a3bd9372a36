"""The arm that the paper compares with: a separate activity data set, every clip of it a training
clip.

Its clips get the shape of the study's (frames, size) and go through the same reader, in workers,
with shards. What it must never share with the study is footage that the arms are asked about.
Checked, and dropped with a reason:

- *ids*: a clip whose video id is any video's of the study, test or not (``study_video``);
- *files*: a file with the same sha256 as any video of the study (``study_file``);
- *pictures*: a clip whose pictures match a validation or test clip's on 16 x 16 squares, as they
  are or mirrored (``study_pictures``). On the demo, of clips re-encoded at three quarters of their
  size and darker it finds about 19 in 20 with the same span, two in three with a span 0.3 s later,
  and takes one other in 300 for a copy, which costs nothing. It does not find another span of the
  same film or a crop: the ids are the check to rely on.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import polars as pl

from sportskills_lib import tables, video
from sportskills_lib.encoder.activity_lists import Labelled, read_lists
from sportskills_lib.encoder.training import ClipData
from sportskills_lib.formats.files import sha256_file
from sportskills_lib.runs import worker_pool

TIMEOUT_S = 60.0
SIDE, BLOCK, CANDIDATES = (
    16,
    512,
    8,
)  # squares of a picture; clips compared at once; how many closely
SAME_LOOK = 0.9  # likeness from which two clips show the same
COLUMNS = ("clip_id", "video_id", "sport", "skill", "split", "text", "label")


@dataclass(frozen=True)
class _Task:
    row: Labelled
    frames: int
    size_px: int


def gather(
    folder: Path, study: ClipData, videos: pl.DataFrame, *, workers: int, shards: Path
) -> tuple[ClipData, pl.DataFrame]:
    """The data set in ``folder`` as training clips, then the study's validation clips; and
    tables.Dropped.

    ``text`` and ``label`` of a training clip are its label; a validation clip keeps its narration,
    and its label is the data set's for that sport and skill. So the learning rate is chosen and
    recall is watched on the same clips as for the other arms. ``sport`` and ``skill`` are the
    study's where the label names them, else the class and the label. ``videos``: the study's
    video_id and sha256. Frames are written below ``shards``. ValueError when nothing is left.
    """
    count, size_px = study.frames().shape[1:3]
    rows, lost = read_lists(folder)
    known = set(videos["video_id"])
    lost += [
        ("clip", row.clip_id, "study_video", f"{row.video_id} is a video of the study")
        for row in rows
        if row.video_id in known
    ]
    tasks = [_Task(row, count, size_px) for row in rows if row.video_id not in known]
    read = list(_facts(tasks, set(videos["sha256"].drop_nulls()), workers, shards))
    lost += [
        ("clip", task.row.clip_id, *why) for task, (why, _) in zip(tasks, read, strict=True) if why
    ]
    good = [(task, look) for task, (why, look) in zip(tasks, read, strict=True) if not why]
    held = np.flatnonzero(study.clips["split"].cast(pl.String).is_in(["val", "test"]))
    twins = same_look([look for _, look in good], _looks_of(study.frames(), held))
    for (task, _), twin in zip(good, twins, strict=True):
        if twin >= 0:
            lost.append(
                (
                    "clip",
                    task.row.clip_id,
                    "study_pictures",
                    f"looks like {study.clips['clip_id'][int(held[twin])]}",
                )
            )
    kept = [task.row for (task, _), twin in zip(good, twins, strict=True) if twin < 0]
    if not kept:
        raise ValueError(
            f"activity_source {folder} gave no clip: "
            f"{tables.dropped_rows(lost)['reason'].value_counts()}"
        )
    clips = _clips(kept, study)
    path = _write_frames(shards / "activity.npy", clips, tasks, study, workers, shards)
    return ClipData(clips, str(path), study.sports), tables.dropped_rows(lost)


# ------------------------------------------------------------------------------------------ reading


def _results(tasks: list[_Task], workers: int, shards: Path) -> Iterator[worker_pool.Result]:
    options = {
        "workers": workers,
        "timeout_s": TIMEOUT_S,
        "shards": shards / "activity",
        "label": "activity clips",
    }
    options |= {"describe": lambda task: task.row.clip_id, "prepare": video.load_decoders}
    return worker_pool.map_shards(_read, tasks, **options)  # type: ignore[arg-type]


def _read(task: _Task) -> worker_pool.Value:
    """In a worker: frames [1, T, S, S, 3] (none where there is a failure), and one row: reason,
    detail, sha256.

    Times are the middles of T equal parts of the span; a span that outlasts its file ends with it,
    as the ends in such lists are rounded up.
    """
    row, failure, frames = (
        task.row,
        ("", ""),
        np.empty((0, task.frames, task.size_px, task.size_px, 3), np.uint8),
    )
    digest = ""
    try:
        digest = sha256_file(row.path)
        info = video.probe(row.path)
        end_s = min(info.duration_s, row.end_s or info.duration_s)
        if row.start_s >= end_s:
            raise video.OutsideVideo(
                f"begins at {row.start_s} s; the video lasts {info.duration_s:.2f} s"
            )
        times_s = row.start_s + (end_s - row.start_s) * (np.arange(task.frames) + 0.5) / task.frames
        frames = video.read_frames(info, times_s, task.size_px)[None]
    except video.OutsideVideo as error:
        failure = ("outside", str(error))
    except (video.UnreadableVideo, OSError) as error:
        failure = ("unreadable", str(error))
    schema = ["reason", "detail", "sha256"]
    return {
        "frames": frames,
        "facts": pl.DataFrame([(*failure, digest)], schema=schema, orient="row"),
    }


def _facts(
    tasks: list[_Task], study_files: set[str], workers: int, shards: Path
) -> Iterator[tuple[tuple[str, str] | None, np.ndarray]]:
    """Why a clip is left out (None: it is not) and its look [T, SIDE²], in the order of
    ``tasks``.
    """
    nothing = np.zeros((1, SIDE * SIDE), np.float16)
    for result in _results(tasks, workers, shards):
        if result.value is None:
            yield (worker_pool.LOST_READER[str(result.reason)], result.detail), nothing
            continue
        reason, detail, digest = result.table("facts").row(0)
        if reason:
            yield (reason, detail), nothing
        elif digest in study_files:
            yield ("study_file", "the file is a video of the study under another name"), nothing
        else:
            yield None, look(result.array("frames")[0])


def _write_frames(
    path: Path, clips: pl.DataFrame, tasks: list[_Task], study: ClipData, workers: int, shards: Path
) -> Path:
    """The clips' frames in the order of ``clips``: from the shards, then the study's, never all in
    memory.
    """
    shape = (clips.height, *study.frames().shape[1:])
    frames = np.lib.format.open_memmap(path, mode="w+", dtype=np.uint8, shape=shape)
    place = {name: row for row, name in enumerate(clips["clip_id"])}
    for task, result in zip(tasks, _results(tasks, workers, shards), strict=True):
        if result.value is not None and task.row.clip_id in place:
            frames[place[task.row.clip_id]] = result.array("frames")[0]
    first, own = clips.height - len(study.rows("val")), study.frames()
    for number, row in enumerate(study.rows("val")):
        frames[first + number] = own[row]
    frames.flush()
    return path


# ------------------------------------------------------------------------------------------- labels


def _clips(rows: list[Labelled], study: ClipData) -> pl.DataFrame:
    """One table of COLUMNS: the data set's clips (split train), then the study's validation
    clips.
    """
    topics = study.clips.select("sport", "skill").unique().drop_nulls().sort("sport", "skill")
    named = [topic_of(row, list(topics.iter_rows())) for row in rows]
    labels = {topic: row.label for topic, row in reversed(list(zip(named, rows, strict=True)))}
    own = [
        (row.clip_id, row.video_id, *topic, "train", row.label, row.label)
        for row, topic in zip(rows, named, strict=True)
    ]
    val = study.clips[study.rows("val")].select(COLUMNS[:-1])
    theirs = [
        (
            *values,
            labels.get((values[2], values[3]), f"{values[2] or ''} {values[3] or ''}".strip()),
        )
        for values in val.with_columns(pl.col("split").cast(pl.String)).iter_rows()
    ]
    return pl.DataFrame([*own, *theirs], schema=dict.fromkeys(COLUMNS, pl.String), orient="row")


def topic_of(row: Labelled, topics: list[tuple[str, str]]) -> tuple[str, str]:
    """The study's sport and skill that the label names (the longest names win: table tennis, not
    tennis).

    A label that names no sport is of its own class; one that names no skill of its sport is a skill
    of its own.
    """
    sports = sorted({sport for sport, _ in topics}, key=lambda name: (-len(name), name))
    sport = next((name for name in sports if _says(row.label, name)), None)
    if sport is None:
        return row.class_name, row.label
    skills = sorted(
        (skill for of, skill in topics if of == sport), key=lambda name: (-len(name), name)
    )
    return sport, next((name for name in skills if _says(row.label, name)), row.label)


def _says(text: str, name: str) -> bool:
    return re.search(rf"\b{re.escape(name)}\b", text, flags=re.IGNORECASE) is not None


# ----------------------------------------------------------------------------------------- pictures


def look(frames_THWC: np.ndarray) -> np.ndarray:
    """Where each picture of a clip is bright: float16 [T, SIDE²], centred and of length 1 (a flat
    picture: 0).
    """
    grey = [
        cv2.resize(frame, (SIDE, SIDE), interpolation=cv2.INTER_AREA).mean(-1)
        for frame in frames_THWC
    ]
    return _unit(np.stack(grey).reshape(len(grey), -1)).astype(np.float16)


def _unit(rows: np.ndarray) -> np.ndarray:
    rows = rows - rows.mean(-1, keepdims=True)
    return rows / np.maximum(np.linalg.norm(rows, axis=-1, keepdims=True), 1e-6)


def _looks_of(frames: np.ndarray, rows: np.ndarray) -> list[np.ndarray]:
    return [look(frames[row]) for row in rows]


def same_look(looks: list[np.ndarray], others: list[np.ndarray]) -> np.ndarray:
    """For each of N looks the row of one of M others that shows the same, else -1: [N]; as it is or
    mirrored.

    The mean pictures choose ``CANDIDATES``, in blocks, never N x M numbers at once; then every
    picture is held against every picture of a candidate. Likeness is the mean over both clips'
    pictures of the best match of each.
    """
    found = np.full(len(looks), -1)
    if not looks or not others:
        return found
    theirs = np.stack(others)  # [M, T, SIDE²]
    turned = theirs.reshape(*theirs.shape[:2], SIDE, SIDE)[..., ::-1].reshape(theirs.shape)
    for side in (theirs, turned):
        mean_MD = _unit(side.mean(1, dtype=np.float32))
        for first in range(0, len(looks), BLOCK):
            block = np.stack(looks[first : first + BLOCK])
            alike = _unit(block.mean(1, dtype=np.float32)) @ mean_MD.T
            near = np.argsort(-alike, axis=1, kind="stable")[:, :CANDIDATES]
            for row, (mine, rows) in enumerate(zip(block, near, strict=True)):
                likeness = _likeness(mine.astype(np.float32), side[rows].astype(np.float32))
                if found[first + row] < 0 and likeness.max() >= SAME_LOOK:
                    found[first + row] = rows[likeness.argmax()]
    return found


def _likeness(one_TD: np.ndarray, others_KTD: np.ndarray) -> np.ndarray:
    """How well each of K clips matches one: [K]."""
    match_KTT = one_TD @ others_KTD.transpose(0, 2, 1)
    return (match_KTT.max(2).mean(1) + match_KTT.max(1).mean(1)) / 2
