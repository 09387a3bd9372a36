"""Clips from many files, each read in a worker process with a time limit: a crash or a hang costs
one clip.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

import numpy as np
import polars as pl

from sportskills_lib.runs.content_store import ContentStore
from sportskills_lib.runs.worker_pool import Value, map_shards
from sportskills_lib.video.frame_reader import VERSION, read_frames
from sportskills_lib.video.probe import OutsideVideo, UnreadableVideo, load_decoders

MOST_CLIPS = 16  # read together


@dataclass(frozen=True)
class Clip:
    """What to read: the pictures on screen at ``times_s``, letterboxed to ``size_px``. Names differ
    within a call.
    """

    name: str
    path: Path
    times_s: tuple[float, ...]
    size_px: int


@dataclass(frozen=True)
class ClipFrames:
    """What became of one clip: ``frames`` uint8 [T, S, S, 3], or why not: unreadable, outside,
    crashed, timeout.
    """

    name: str
    frames: np.ndarray | None
    reason: str = ""
    detail: str = ""


@dataclass(frozen=True)
class _Pass:
    """Clips of one file and size, read together."""

    clips: tuple[Clip, ...]
    cache: ContentStore | None

    def __str__(self) -> str:
        more = len(self.clips) - 1
        return self.clips[0].name + (
            f" and {more} more of {self.clips[0].path.name}" if more else ""
        )


def read_clips(
    clips: Sequence[Clip],
    *,
    workers: int = 2,
    timeout_s: float = 60.0,
    cache: ContentStore | None = None,
) -> Iterator[ClipFrames]:
    """The clips' frames, in the order of ``clips``, whatever becomes of single ones.

    Clips of one file that follow one another are read together, up to 16 of them, so that what lies
    between key frames is decoded once for all. If that crashes or takes longer than ``timeout_s``,
    they are read one by one: then a clip whose worker died is tried once more in a fresh one, and a
    clip that takes longer than ``timeout_s``, and again than twice that, is given up. Clips that
    the cache has are not decoded again; if it has all, no worker starts.
    """
    missing = [clip for clip in clips if cache is None or not _is_kept(clip, cache)]
    waiting = {clip.name for clip in missing}
    read = _read_passes(_passes(missing, cache, workers), workers, timeout_s)
    for clip in clips:
        if clip.name in waiting:
            yield next(read)
        elif cache is not None and (frames := cache.get(_key(clip, cache))) is not None:
            yield ClipFrames(clip.name, frames)
        else:  # the entry was damaged, or has gone since
            yield from read_clips([clip], workers=1, timeout_s=timeout_s, cache=cache)


def _passes(clips: Sequence[Clip], cache: ContentStore | None, workers: int) -> list[_Pass]:
    """The clips in their order; a long run of one film is cut, so that every worker has a part."""
    most = max(1, min(MOST_CLIPS, -(-len(clips) // max(workers, 1))))
    runs = [tuple(run) for _, run in groupby(clips, lambda clip: (clip.path, clip.size_px))]
    return [
        _Pass(run[first : first + most], cache)
        for run in runs
        for first in range(0, len(run), most)
    ]


def _read_passes(
    passes: list[_Pass], workers: int, timeout_s: float, *, singly: bool = False
) -> Generator[ClipFrames, None, None]:
    results = map_shards(
        _read,
        passes,
        workers=min(workers, len(passes)),
        timeout_s=timeout_s,
        prepare=load_decoders,
        label="clips read" if singly else "films' clips read",
        retry=singly,
    )
    for one, result in zip(passes, results, strict=True):
        if result.value is None and not singly:
            yield from _read_passes(
                [_Pass((clip,), one.cache) for clip in one.clips], 1, timeout_s, singly=True
            )
            continue
        for clip in one.clips:
            part = result.value[clip.name] if result.value else (str(result.reason), result.detail)
            if isinstance(part, np.ndarray):
                yield ClipFrames(clip.name, part)
            else:
                yield ClipFrames(
                    clip.name, None, *(part if isinstance(part, tuple) else part.row(0))
                )


def _read(task: _Pass) -> Value:
    """In a worker: by each clip's name its frames [T, S, S, 3], or in their place one row (reason,
    detail).
    """
    clips = task.clips
    try:
        times_s = np.concatenate([np.asarray(clip.times_s, np.float64) for clip in clips])
        frames = read_frames(clips[0].path, times_s, clips[0].size_px)
    except (UnreadableVideo, OutsideVideo) as error:
        if len(clips) > 1:  # the others of them may be well
            return {
                name: part
                for clip in clips
                for name, part in _read(_Pass((clip,), task.cache)).items()
            }
        reason = "outside" if isinstance(error, OutsideVideo) else "unreadable"
        return {clips[0].name: pl.DataFrame({"reason": [reason], "detail": [str(error)]})}
    parts = np.split(frames, np.cumsum([len(clip.times_s) for clip in clips])[:-1])
    for clip, part in zip(clips, parts, strict=True):
        if task.cache is not None:
            task.cache.put(_key(clip, task.cache), part)
    return {clip.name: part for clip, part in zip(clips, parts, strict=True)}


def _key(clip: Clip, cache: ContentStore) -> str:
    return cache.key(clip.path, "clip", clip.times_s, clip.size_px, VERSION)


def _is_kept(clip: Clip, cache: ContentStore) -> bool:
    try:
        return _key(clip, cache) in cache
    except OSError:  # no such file: the worker says so
        return False
