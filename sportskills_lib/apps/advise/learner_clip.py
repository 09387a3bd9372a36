"""The learner's file: where the action is, and its frames, read as 04 reads those of learners.

The action is the stretch, as long as the sport's clips mostly are, in which most moves: a shift of
the whole picture is undone first (a hand holds the camera), a cut ends a stretch, and quiet ends
are left off. The file is a stranger's: it is opened in a worker process, so that a decoder that
crashes or hangs costs a line with the reason.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from sportskills_lib import video
from sportskills_lib.pairing import camera_motion, windows
from sportskills_lib.plots.style import plain
from sportskills_lib.runs.content_store import ContentStore
from sportskills_lib.runs.worker_pool import Value, map_shards
from sportskills_lib.video.frame_reader import read_spans

VERSION = "learner-2"
LOOK_S = 0.5  # motion is measured over so long …
STEP_S = 0.2  # … and so often
# an end is left off where less moves than this share of what moves in the liveliest half second
QUIET = 0.25
STILL = 0.004  # of the picture moved across: below it nothing happens; ours
LONGEST_FILE_S = (
    1800.0  # a longer film would not fit in memory at the rate at which motion is looked at
)
FACTS = {
    "start_s": pl.Float64,
    "end_s": pl.Float64,
    "duration_s": pl.Float64,
    "moved": pl.Float64,
    "reason": pl.String,
    "detail": pl.String,
}


class NoMotion(Exception):
    """Nothing moves in the learner's video; the message says what to do."""


@dataclass(frozen=True)
class ClipShape:
    """How 02 read the run's clips: ``frames`` of ``size_px`` a side; motion is measured on a film
    at ``signal_hz``.
    """

    frames: int
    size_px: int
    signal_hz: float
    min_s: float
    max_s: float

    @classmethod
    def of(cls, config: Mapping[str, Any]) -> ClipShape:
        """From the config in 02's manifest."""
        return cls(
            int(config["frames"]),
            int(config["size_px"]),
            float(config["signal_hz"]),
            float(config["min_clip_s"]),
            float(config["max_clip_s"]),
        )


@dataclass(frozen=True)
class LearnerClip:
    """The stretch of the file in which the skill is tried. ``moved``: share of the picture moved
    across.
    """

    path: Path
    start_s: float
    end_s: float
    duration_s: float
    moved: float
    frames: np.ndarray  # uint8 [T, S, S, 3]

    @property
    def span(self) -> tuple[float, float]:
        """Start and end, in seconds."""
        return self.start_s, self.end_s


@dataclass(frozen=True)
class _Task:
    path: Path
    start_s: float | None
    end_s: float | None
    usual_s: float
    shape: ClipShape


def check_file(path: Path) -> None:
    """ValueError when there is no such file, before anything is loaded."""
    name = plain(str(path))
    if not path.exists():
        raise ValueError(f"{name} is not there: name the video of the learner")
    if not path.is_file():
        raise ValueError(f"{name} is no file: name one video of the learner")
    if not os.access(path, os.R_OK):
        raise ValueError(f"{name} may not be read by you: change its permissions, or copy it")
    if not path.stat().st_size:
        raise ValueError(f"{name} is empty: copy the video again")


def check_span(start_s: float | None, end_s: float | None, shape: ClipShape) -> None:
    """ValueError when the span that was asked for cannot be one of the run's clips."""
    if (start_s is None) != (end_s is None):
        raise ValueError(
            "--start and --end go together: give both, or neither to have the action found"
        )
    if start_s is None or end_s is None:
        return
    if not 0 <= start_s < end_s < float("inf"):
        raise ValueError(
            f"--start {start_s:g} --end {end_s:g} is no span: seconds from 0, the end after "
            "the start"
        )
    if not shape.min_s - 1e-6 <= end_s - start_s <= shape.max_s + 1e-6:
        raise ValueError(
            f"--start {start_s:g} --end {end_s:g} is {end_s - start_s:.1f} s long, this run's "
            f"clips {shape.min_s:g} to "
            f"{shape.max_s:g} s: name the seconds in which the skill is tried, or leave both "
            "out to have them found"
        )


def read_learner(
    path: Path,
    shape: ClipShape,
    *,
    start_s: float | None = None,
    end_s: float | None = None,
    usual_s: float = 3.0,
    cache: ContentStore | None = None,
    workers: int = 1,
    timeout_s: float = 600.0,
) -> LearnerClip:
    """The learner's clip: of the span given, or of the ``usual_s`` seconds in which most moves.

    ValueError for a file that is no video, too short, or without that span; NoMotion where none was
    given and nothing moves. With a cache the file is decoded once.
    """
    task = _Task(path, start_s, end_s, min(max(usual_s, shape.min_s), shape.max_s), shape)
    key = cache.key(path, "learner", start_s, end_s, task.usual_s, shape, VERSION) if cache else ""
    if (
        cache
        and (facts := cache.get(key)) is not None
        and (frames := cache.get(key[::-1])) is not None
    ):
        return _learner(path, facts, frames)
    (result,) = map_shards(
        _look, [task], workers=workers, timeout_s=timeout_s, describe=_name, label="videos"
    )
    if result.value is None:
        raise ValueError(
            f"{plain(path.name)} cannot be read as video (its reader: {result.reason}, "
            f"{result.detail}): name another"
        )
    row = result.table("facts").row(0, named=True)
    if row["reason"] == "still":
        raise NoMotion(row["detail"])
    if row["reason"]:
        raise ValueError(row["detail"])
    facts, frames = (
        np.array([row[name] for name in list(FACTS)[:4]]),
        np.array(result.array("frames")),
    )
    if cache:
        cache.put(key, facts)
        cache.put(key[::-1], frames)
    return _learner(path, facts, frames)


def _learner(path: Path, facts: np.ndarray, frames: np.ndarray) -> LearnerClip:
    start_s, end_s, duration_s, moved = map(float, facts)
    return LearnerClip(path, start_s, end_s, duration_s, moved, frames)


def _name(task: _Task) -> str:
    return task.path.name


def _look(task: _Task) -> Value:
    """In a worker: ``frames`` [T, S, S, 3] and one row ``facts``, whose reason is empty where all
    is well.
    """
    shape = task.shape
    facts: dict[str, Any] = dict.fromkeys(FACTS, 0.0) | {"reason": "", "detail": ""}
    frames = np.empty((0, shape.size_px, shape.size_px, 3), np.uint8)
    try:
        info = video.probe(task.path)
        facts |= _span(info, task)
        if not facts["reason"]:
            span = (facts["start_s"], facts["end_s"])
            (frames,) = read_spans(info, [span], shape.frames, shape.size_px)
    except ValueError as error:
        facts |= {"reason": "unreadable", "detail": f"{error}: name a video that plays"}
    facts["detail"] = plain(facts["detail"], limit=500)  # a file's name may hold anything
    return {"frames": frames, "facts": pl.DataFrame([facts], schema=FACTS)}


def _span(info: video.VideoInfo, task: _Task) -> dict[str, Any]:
    """Start, end, length and motion, or the reason why there are none."""
    name, length_s, shape = info.path.name, info.duration_s, task.shape
    if length_s < shape.min_s:
        detail = f"{name} lasts {length_s:.2f} s: a clip needs {shape.min_s:g} s at least"
        return {"reason": "short", "detail": detail}
    if task.start_s is not None and task.end_s is not None:
        if task.end_s > length_s + 0.05:
            detail = f"--end {task.end_s:g} is outside {name}, which lasts {length_s:.2f} s"
            return {"reason": "outside", "detail": detail}
        return {"start_s": task.start_s, "end_s": task.end_s, "duration_s": length_s}
    if length_s > LONGEST_FILE_S:
        detail = (
            f"{name} lasts {length_s / 60:.0f} min: say with --start and --end where the "
            "skill is tried"
        )
        return {"reason": "long", "detail": detail}
    rate_hz = min(shape.signal_hz, info.fps)
    film = np.concatenate(list(video.stream_frames(info, rate_hz, camera_motion.SIDE_PX)))
    start_s, end_s = find_action(film, rate_hz, info, usual_s=task.usual_s, min_s=shape.min_s)
    moved = camera_motion.measure(film[round(start_s * rate_hz) : round(end_s * rate_hz) + 1]).moved
    if moved < STILL:
        detail = (
            f"nothing moves in {name} (the liveliest {end_s - start_s:.1f} s change "
            f"{100 * moved:.1f} % of the picture)"
            ": film the skill, or say with --start and --end where it is tried"
        )
        return {"reason": "still", "detail": detail}
    return {"start_s": start_s, "end_s": end_s, "duration_s": length_s, "moved": moved}


def find_action(
    film: np.ndarray, rate_hz: float, info: video.VideoInfo, *, usual_s: float, min_s: float
) -> tuple[float, float]:
    """Start and end, in seconds, of the stretch in which most moves, at most ``usual_s`` long and
    inside one shot.

    ``film`` uint8 [n, S, S, 3]: the whole video at ``rate_hz``.
    """
    finder = camera_motion.ShotFinder(rate_hz, info.width_px, info.height_px)
    finder.look(film)
    cuts = [(low / rate_hz, high / rate_hz) for low, high in finder.boundaries()]
    scenes = windows.make_shots(cuts, info.duration_s)
    scenes = [scene for scene in scenes if scene[1] - scene[0] >= min_s] or [(0.0, info.duration_s)]
    best = max(
        (_liveliest(film, rate_hz, scene, usual_s, min_s) for scene in scenes),
        key=lambda found: found[0],
    )
    return round(best[1], 3), round(min(best[2], info.duration_s), 3)


def _liveliest(
    film: np.ndarray, rate_hz: float, scene: tuple[float, float], usual_s: float, min_s: float
) -> tuple[float, float, float]:
    """Of one shot: how much moves in its liveliest stretch of ``usual_s``, and where that is
    without quiet ends.
    """
    first, last = int(np.ceil(scene[0] * rate_hz - 1e-6)), int(scene[1] * rate_hz + 1e-6)
    reach, step = max(3, round(LOOK_S * rate_hz)), max(1, round(STEP_S * rate_hz))
    at = np.arange(first, max(min(last, len(film)) - reach, first) + 1, step)
    seen = [camera_motion.measure(film[i : i + reach]) for i in at]
    lively = np.array([one.energy * (1 - one.camera) for one in seen])
    count = max(1, min(round((usual_s - reach / rate_hz) * rate_hz / step) + 1, len(lively)))
    sums = np.convolve(lively, np.ones(count), "valid")
    place = int(np.argmax(sums))
    low, high = place, place + count - 1
    loud = QUIET * lively[low : high + 1].max()
    fewest = max(1, int(np.ceil((min_s * rate_hz - reach) / step)) + 1)
    while high - low + 1 > fewest and min(lively[low], lively[high]) < loud:
        low, high = (low + 1, high) if lively[low] <= lively[high] else (low, high - 1)
    start_s, end_s = at[low] / rate_hz, (at[high] + reach) / rate_hz
    return float(sums[place]), float(start_s), float(min(max(end_s, start_s + min_s), scene[1]))
