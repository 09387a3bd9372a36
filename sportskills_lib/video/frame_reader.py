"""Frames at given times, or of a whole video at an even rate."""

from __future__ import annotations

import logging
import multiprocessing
import os
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from sportskills_lib.runs.content_store import ContentStore
from sportskills_lib.video.frame_sampling import check_inside, sample
from sportskills_lib.video.frame_shape import inner_size, square
from sportskills_lib.video.probe import (
    EPSILON_S,
    Reader,
    UnreadableVideo,
    VideoInfo,
    decoder_errors,
    import_decord,
    probe,
)

log = logging.getLogger("sportskills")

VERSION = "video-2"  # part of every cache key: a change of pictures or of times changes it
MOST_THREADS = 8
BATCH = 64  # frames in memory at once while streaming


def read_frames(
    path: str | os.PathLike[str] | VideoInfo,
    times_s: Sequence[float] | np.ndarray,
    size_px: int,
    *,
    reader: Reader = "auto",
) -> np.ndarray:
    """The pictures on screen at ``times_s``: uint8 ``[T, size_px, size_px, 3]``, in the order
    asked.

    The picture at t is the last frame presented at or before t; before the first frame it is the
    first. ValueError for a time outside the video, UnreadableVideo when decoding fails. PyAV reads,
    by a plan, unless decord is asked for; it decodes with all cores, but in a worker process with
    one thread, since the workers are the parallel part.
    """
    wanted = np.asarray(times_s, dtype=np.float64)
    info = path if isinstance(path, VideoInfo) else None
    if reader == "decord" and info is None:
        info = probe(path, reader=reader)  # type: ignore[arg-type]
    if info is not None:
        check_inside(info, wanted)
    order = np.argsort(wanted, kind="stable")
    frames = np.empty((len(wanted), size_px, size_px, 3), np.uint8)
    if info is not None and reader == "decord":
        pictures = _by_decord(info, wanted[order], size_px)
    else:
        file = info.path if info else Path(path)  # type: ignore[arg-type]
        pictures = sample(file, wanted[order], size_px, info=info, threads=_threads())
    for place, picture in zip(order, pictures, strict=True):
        frames[place] = picture
    return frames


def _threads() -> int:
    """Decoding threads of a lone read: the cores that this process may use, or one where it has
    siblings.
    """
    return (
        1 if multiprocessing.parent_process() else min(len(os.sched_getaffinity(0)), MOST_THREADS)
    )


def grid_times(info: VideoInfo, rate_hz: float) -> np.ndarray:
    """Times 0, 1/rate, 2/rate … inside the video."""
    return np.arange(int(max(info.duration_s - EPSILON_S, 0.0) * rate_hz) + 1) / rate_hz


def stream_frames(info: VideoInfo, rate_hz: float, size_px: int) -> Iterator[np.ndarray]:
    """The whole video at ``rate_hz``, in batches uint8 ``[≤64, size_px, size_px, 3]``: never all of
    it in memory.
    """
    times_s = grid_times(info, rate_hz)
    pictures = (
        _by_decord(info, times_s, size_px)
        if info.reader == "decord"
        else _by_pyav(info, times_s, size_px)
    )
    batch: list[np.ndarray] = []
    for picture in pictures:
        batch.append(picture)
        if len(batch) == BATCH:
            yield np.stack(batch)
            batch = []
    if batch:
        yield np.stack(batch)


def cached_film(
    info: VideoInfo, rate_hz: float, size_px: int, cache: ContentStore | None
) -> Iterator[np.ndarray]:
    """:func:`stream_frames`, decoded once for each content, rate and size as long as the cache
    holds it.

    With a cache the film is in memory as a whole, as it is for its caller: leave the cache out for
    longer ones.
    """
    if cache is None:
        yield from stream_frames(info, rate_hz, size_px)
        return
    key = cache.key(info.path, "film", info.reader, rate_hz, size_px, VERSION)
    film = cache.get(key)
    if film is None:
        film = np.concatenate(list(stream_frames(info, rate_hz, size_px)))
        cache.put(key, film)
    for first in range(0, len(film), BATCH):
        yield film[first : first + BATCH]


def _by_pyav(info: VideoInfo, wanted_s: np.ndarray, size_px: int) -> Iterator[np.ndarray]:
    yield from sample(info.path, wanted_s, size_px, info=info)


def _by_decord(info: VideoInfo, wanted_s: np.ndarray, size_px: int) -> Iterator[np.ndarray]:
    """By decord, and by PyAV from where decord gives up: it refuses some widths (16, 24, 48 px) and
    some streams.
    """
    done = 0
    try:
        for picture in _decord_pictures(info, wanted_s, size_px):
            yield picture
            done += 1
    except Exception:
        log.debug("%s: decord gave up after %d frames; PyAV goes on", info.path.name, done)
        yield from _by_pyav(info, wanted_s[done:], size_px)


def _decord_pictures(info: VideoInfo, wanted_s: np.ndarray, size_px: int) -> Iterator[np.ndarray]:
    decord = import_decord()

    with decoder_errors(info.path):
        width, height = inner_size(info.width_px, info.height_px, size_px)
        reader = decord.VideoReader(
            str(info.path), ctx=decord.cpu(0), num_threads=1, width=width, height=height
        )
        if len(reader) != len(info.times_s):
            raise UnreadableVideo(
                f"{info.path.name}: decord lists {len(reader)} frames of {len(info.times_s)}"
            )
        indices = np.maximum(
            np.searchsorted(info.times_s, wanted_s + EPSILON_S, side="right") - 1, 0
        )
        for first in range(0, len(indices), BATCH):
            part, places = np.unique(indices[first : first + BATCH], return_inverse=True)
            frames = reader.get_batch(part).asnumpy()
            if frames.shape[1:] != (height, width, 3):
                raise UnreadableVideo(
                    f"{info.path.name}: decord returns frames of shape {frames.shape[1:]}, "
                    f"not {(height, width, 3)}"
                )
            for place in places:
                yield square(frames[place], size_px)
