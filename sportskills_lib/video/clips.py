"""Clips from many files, each read in a worker process with a time limit: a crash or a hang costs one clip."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl

from sportskills_lib.compute import Result, Value, map_shards
from sportskills_lib.frame_cache import FrameCache
from sportskills_lib.video.probing import OutsideVideo, UnreadableVideo, load_decoders
from sportskills_lib.video.reading import VERSION, read_frames


@dataclass(frozen=True)
class Clip:
    """What to read: the pictures on screen at ``times_s``, letterboxed to ``size_px``. Names differ within a call."""

    name: str
    path: Path
    times_s: tuple[float, ...]
    size_px: int


@dataclass(frozen=True)
class ClipFrames:
    """What became of one clip: ``frames`` uint8 [T, S, S, 3], or why not: unreadable, outside, crashed, timeout."""

    name: str
    frames: np.ndarray | None
    reason: str = ""
    detail: str = ""


@dataclass(frozen=True)
class _Task:
    clip: Clip
    cache: FrameCache | None


def read_clips(
    clips: Sequence[Clip], *, workers: int = 2, timeout_s: float = 60.0, cache: FrameCache | None = None
) -> Iterator[ClipFrames]:
    """The clips' frames, in the order of ``clips``, whatever becomes of single ones.

    Clips that the cache has are not decoded again; if it has all, no worker starts. A clip whose worker died is tried
    once more in a fresh one; a clip that takes longer than ``timeout_s``, and again than twice that, is given up.
    """
    missing = [clip for clip in clips if cache is None or not _is_kept(clip, cache)]
    waiting = {clip.name for clip in missing}
    results = map_shards(
        _read,
        [_Task(clip, cache) for clip in missing],
        workers=min(workers, len(missing)),
        timeout_s=timeout_s,
        describe=lambda task: task.clip.name,
        prepare=load_decoders,
        label="clips read",
    )
    for clip in clips:
        if clip.name in waiting:
            yield _outcome(next(results))
        elif cache is not None and (frames := cache.get(_key(clip, cache))) is not None:
            yield ClipFrames(clip.name, frames)
        else:  # the entry was damaged, or has gone since
            yield from read_clips([clip], workers=1, timeout_s=timeout_s, cache=cache)


def _outcome(result: Result) -> ClipFrames:
    if result.value is None:
        return ClipFrames(result.name, None, str(result.reason), result.detail)
    reason, detail = result.table("failure").row(0)
    return ClipFrames(result.name, None if reason else result.array("frames"), reason, detail)


def _read(task: _Task) -> Value:
    """In a worker: frames [T, S, S, 3], and one row (reason, detail), empty where all is well."""
    clip, cache = task.clip, task.cache
    frames, failure = np.empty((0, clip.size_px, clip.size_px, 3), np.uint8), ("", "")
    try:
        frames = read_frames(clip.path, clip.times_s, clip.size_px)
        if cache is not None:
            cache.put(_key(clip, cache), frames)
    except UnreadableVideo as error:
        failure = ("unreadable", str(error))
    except OutsideVideo as error:
        failure = ("outside", str(error))
    return {"frames": frames, "failure": pl.DataFrame([failure], schema=["reason", "detail"], orient="row")}


def _key(clip: Clip, cache: FrameCache) -> str:
    return cache.key(clip.path, "clip", clip.times_s, clip.size_px, VERSION)


def _is_kept(clip: Clip, cache: FrameCache) -> bool:
    try:
        return _key(clip, cache) in cache
    except OSError:  # no such file: the worker says so
        return False
