"""The learner's file: where the action is, and its frames, read as 04 reads those of learners.

The action is the stretch, as long as the sport's clips mostly are, in which most moves: a shift of
the whole picture is undone first (a hand holds the camera), a cut ends a stretch, and quiet ends
are left off. The file is a stranger's: it is opened in a worker process, so that a decoder that
crashes or hangs costs a line with the reason.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from sportskills_lib import video
from sportskills_lib.config import PairingConfig
from sportskills_lib.pairing import camera_motion, windows
from sportskills_lib.plots.style import plain
from sportskills_lib.runs.content_store import ContentStore
from sportskills_lib.runs.worker_pool import Value, map_shards
from sportskills_lib.video.frame_reader import read_spans

VERSION = "learner-3"
LOOK_S = 0.5  # motion is measured over so long …
STEP_S = 0.2  # … and so often
# an end is left off where less moves than this share of what moves in the liveliest half second
QUIET = 0.25
STILL = 0.004  # of the picture moved across: below it nothing happens; ours
LONGEST_FILE_S = (
    1800.0  # a longer film would not fit in memory at the rate at which motion is looked at
)
Seconds = tuple[float, float]  # start and end


class NothingFits(Exception):
    """There is nothing to advise this learner; the message says why, and what to do."""


@dataclass(frozen=True)
class LearnerClip:
    """The stretch of the file in which the skill is tried."""

    path: Path
    span: Seconds
    duration_s: float  # of the whole file
    frames: np.ndarray  # uint8 [T, S, S, 3]


def check_span(start_s: float | None, end_s: float | None, config: PairingConfig) -> Seconds | None:
    """The span that was asked for, if any; ValueError when it cannot be one of the run's clips."""
    if start_s is None and end_s is None:
        return None
    if start_s is None or end_s is None:
        raise ValueError(
            "--start and --end go together: give both, or neither to have the action found"
        )
    least_s, most_s = config.min_clip_s, config.max_clip_s
    if start_s < 0 or not least_s - 1e-6 <= end_s - start_s <= most_s + 1e-6:
        raise ValueError(
            f"--start {start_s:g} --end {end_s:g} is no span of {least_s:g} to {most_s:g} s, as "
            "this run's clips are: name the seconds in which the skill is tried, or leave both out "
            "to have them found"
        )
    return start_s, end_s


def read_learner(
    path: Path,
    config: PairingConfig,
    *,
    cache: ContentStore,
    span: Seconds | None = None,
    usual_s: float = 3.0,
    workers: int = 1,
    timeout_s: float = 600.0,
) -> LearnerClip:
    """The learner's clip: of the span given, or of the ``usual_s`` seconds in which most moves,
    with frames as ``config`` (of 02) asks for them. With a cache the file is decoded once.

    ValueError for a file that is no video, too short, or without that span; NothingFits where none
    was given and nothing moves.
    """
    usual_s = min(max(usual_s, config.min_clip_s), config.max_clip_s)
    shape = (config.frames, config.size_px, config.signal_hz, config.min_clip_s)
    keys = {
        name: cache.key(path, name, span, usual_s, shape, VERSION) for name in ("times", "frames")
    }
    found: dict[str, Any] = {name: cache.get(key) for name, key in keys.items()}
    if found["times"] is None or found["frames"] is None:
        (result,) = map_shards(
            partial(_look, span=span, usual_s=usual_s, config=config),
            [path],
            workers=workers,
            timeout_s=timeout_s,
            describe=lambda path: path.name,
            label="videos",
        )
        if result.value is None:
            raise ValueError(
                f"{plain(path.name)} cannot be read as video (its reader: {result.reason}, "
                f"{result.detail}): name another"
            )
        if "failure" in result.value:
            kind, words = result.table("failure").row(0)
            raise NothingFits(words) if kind == NothingFits.__name__ else ValueError(words)
        found = {name: np.array(result.array(name)) for name in keys}
        for name, key in keys.items():
            cache.put(key, found[name])
    start_s, end_s, duration_s = found["times"].tolist()
    return LearnerClip(path, (start_s, end_s), duration_s, found["frames"])


def _look(path: Path, *, span: Seconds | None, usual_s: float, config: PairingConfig) -> Value:
    """In a worker: ``times`` (start, end, the file's length) and ``frames`` [T, S, S, 3], or
    ``failure``, one row with the error's kind and words.
    """
    try:
        info = video.probe(path)
        start_s, end_s = _span(info, span, usual_s, config)
        (frames,) = read_spans(info, [(start_s, end_s)], config.frames, config.size_px)
        return {"times": np.array([start_s, end_s, info.duration_s]), "frames": frames}
    except video.UnreadableVideo as error:
        failure = ("unreadable", plain(f"{error}: name a video that plays", limit=500))
    except (ValueError, NothingFits) as error:
        failure = (type(error).__name__, str(error))
    return {"failure": pl.DataFrame([failure], schema=["kind", "words"], orient="row")}


def _span(
    info: video.VideoInfo, span: Seconds | None, usual_s: float, config: PairingConfig
) -> Seconds:
    """The span asked for, else that of the action; ValueError or NothingFits if there is none."""
    name, length_s, least_s = plain(info.path.name), info.duration_s, config.min_clip_s
    if length_s < least_s:
        raise ValueError(f"{name} lasts {length_s:.2f} s: a clip needs {least_s:g} s at least")
    if span is not None:
        if span[1] > length_s + 0.05:
            raise ValueError(f"--end {span[1]:g} is outside {name}, which lasts {length_s:.2f} s")
        return span
    if length_s > LONGEST_FILE_S:
        raise ValueError(
            f"{name} lasts {length_s / 60:.0f} min: say with --start and --end where the "
            "skill is tried"
        )
    rate_hz = min(config.signal_hz, info.fps)
    film = np.concatenate(list(video.stream_frames(info, rate_hz, camera_motion.SIDE_PX)))
    start_s, end_s = find_action(film, rate_hz, info, usual_s=usual_s, min_s=least_s)
    moved = camera_motion.measure(film[round(start_s * rate_hz) : round(end_s * rate_hz) + 1]).moved
    if moved < STILL:
        raise NothingFits(
            f"nothing moves in {name} (the liveliest {end_s - start_s:.1f} s change "
            f"{100 * moved:.1f} % of the picture)"
            ": film the skill, or say with --start and --end where it is tried"
        )
    return start_s, end_s


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
