"""Frames at given times, of spans, or of a whole video at an even rate.

The frames that represent a clip are the middles of equal parts of its span. 02 leaves out the very
edges of a lesson's clip (:func:`inset_span`), since the encoder of a video mixes frames there with
the next shot. A learner's span, in 04 and in `advise`, lies inside a take and is read to its ends.
"""

from __future__ import annotations

import logging
import multiprocessing
import os
from collections.abc import Iterator, Sequence

import numpy as np

from sportskills_lib.runs.content_store import ContentStore
from sportskills_lib.video.frame_sampling import inner_size, sample, square
from sportskills_lib.video.probe import (
    EPSILON_S,
    OutsideVideo,
    Reader,
    UnreadableVideo,
    VideoInfo,
    decoder_errors,
    import_decord,
)

log = logging.getLogger("sportskills")

VERSION = "video-2"  # part of every cache key: a change of pictures or of times changes it
MOST_THREADS = 8
BATCH = 64  # frames in memory at once while streaming
INSET_S = 0.1  # frames at a clip's very edges are mixed with the next shot by the encoder


def inset_span(start_s: float, end_s: float) -> tuple[float, float]:
    """The span without its very edges, in seconds; of a short one an eighth is left out at most."""
    inset = min(INSET_S, (end_s - start_s) / 8)
    return start_s + inset, end_s - inset


def clip_times(start_s: float, end_s: float, count: int) -> np.ndarray:
    """``count`` times in the middle of equal parts of a span: both ends count alike."""
    return start_s + (end_s - start_s) / count * (np.arange(count) + 0.5)


def read_spans(
    info: VideoInfo, spans: Sequence[tuple[float, float]], count: int, size_px: int
) -> np.ndarray:
    """The frames of learners' spans of one video, uint8 [spans, count, S, S, 3].

    Times outside the video are those of its first or last frame. UnreadableVideo when decoding
    fails.
    """
    times_s = np.concatenate([clip_times(start_s, end_s, count) for start_s, end_s in spans])
    frames = read_frames(info, times_s.clip(0.0, info.duration_s), size_px)
    return frames.reshape(-1, count, *frames.shape[1:])


def read_frames(
    info: VideoInfo,
    times_s: Sequence[float] | np.ndarray,
    size_px: int,
    *,
    reader: Reader = "auto",
) -> np.ndarray:
    """The pictures on screen at ``times_s``: uint8 ``[T, size_px, size_px, 3]``, in the order
    asked.

    The picture at t is the last frame presented at or before t; before the first frame it is the
    first. OutsideVideo for a time outside the video, UnreadableVideo when decoding fails. PyAV
    reads, by a plan, unless decord is asked for; it decodes with all cores, but in a worker process
    with one thread, since the workers are the parallel part.
    """
    order = np.argsort(times_s, kind="stable")
    wanted_s = np.asarray(times_s, dtype=np.float64)[order]
    if len(wanted_s) and (wanted_s[0] < -EPSILON_S or wanted_s[-1] > info.duration_s + 0.05):
        raise OutsideVideo(
            f"{info.path.name} lasts {info.duration_s:.2f} s; frames were asked from "
            f"{wanted_s[0]:.2f} to {wanted_s[-1]:.2f} s: ask inside the video"
        )
    if reader == "decord":
        pictures = _by_decord(info, wanted_s, size_px)
    else:
        cores = min(len(os.sched_getaffinity(0)), MOST_THREADS)
        threads = 1 if multiprocessing.parent_process() else cores
        pictures = sample(info, wanted_s, size_px, threads=threads)
    frames = np.empty((len(wanted_s), size_px, size_px, 3), np.uint8)
    for place, picture in zip(order, pictures, strict=True):
        frames[place] = picture
    return frames


def grid_times(info: VideoInfo, rate_hz: float) -> np.ndarray:
    """Times 0, 1/rate, 2/rate … inside the video."""
    return np.arange(int(max(info.duration_s - EPSILON_S, 0.0) * rate_hz) + 1) / rate_hz


def stream_frames(info: VideoInfo, rate_hz: float, size_px: int) -> Iterator[np.ndarray]:
    """The whole video at ``rate_hz``, in batches uint8 ``[≤64, size_px, size_px, 3]``: never all of
    it in memory.
    """
    times_s = grid_times(info, rate_hz)
    read = _by_decord if info.reader == "decord" else sample
    pictures = read(info, times_s, size_px)
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
        yield from sample(info, wanted_s[done:], size_px)


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
        indices = info.frames_at(wanted_s)
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
