"""The one door to video: what a file is, and which pictures it shows at given times.

Times are presentation times in seconds, zero where playback starts (edit lists and a non-zero start are honoured), so
they agree with captions. Frames are upright (rotation applied, non-square pixels stretched), RGB, scaled by area
averaging (PyAV) or bicubic (decord) and letterboxed to a square: a centre crop would cut the feet of a portrait clip
and the racket of a wide one, and those are what a coach looks at.

Two readers. decord decodes a lesson about three times as fast as PyAV called frame by frame (33 ms against 110 ms for
40 s at 128 px, 133 against 320 ms for 24 s at 480 x 270, one thread each, to 64 px), but it serves frames that an edit
list trims away, ignores rotation, reads no AV1 and kills its process on some damaged files. So decord reads where it
can be shown right (its frame times equal the container's own, no rotation, 8-bit 4:2:0) and PyAV elsewhere;
:func:`probe` decides and says which. Decoders crash and hang: call these functions through
:func:`sportskills_lib.compute.map_shards`. Every failure of a decoder is an :class:`UnreadableVideo`.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np

log = logging.getLogger("sportskills")

Reader = Literal["auto", "decord", "pyav"]
SUFFIXES = frozenset(
    [".mp4", ".mkv", ".webm", ".mov", ".m4v", ".avi", ".flv", ".mpg", ".mpeg", ".ts", ".3gp", ".gif", ".ogv", ".wmv"]
)
EASY_FORMATS = ("yuv420p", "yuvj420p")  # what decord converts with the right colours
SEEK_GAP_S = 4.0  # PyAV decodes through shorter gaps between wanted times and seeks over longer ones
EPSILON_S = 1e-4  # containers round times
BATCH = 64  # frames in memory at once while streaming


class UnreadableVideo(ValueError):
    """The file cannot be read as video; the message says why."""


@dataclass(frozen=True)
class VideoInfo:
    """What :func:`probe` found. Size is as displayed; ``times_s`` are the presentation times of all frames."""

    path: Path
    duration_s: float
    fps: float
    width_px: int
    height_px: int
    codec: str
    rotation_deg: int  # counter-clockwise turn that makes the picture upright: 0, 90, 180, 270
    reader: Literal["decord", "pyav"]
    times_s: np.ndarray
    start_s: float  # presentation time of the container's start, which becomes zero


@contextmanager
def _reading(path: Path) -> Iterator[None]:
    """Whatever a decoder raises becomes UnreadableVideo with the file's name."""
    try:
        yield
    except UnreadableVideo:
        raise
    except Exception as error:
        text = " ".join(str(error).split())[:120]
        raise UnreadableVideo(f"{path.name} cannot be read as video ({type(error).__name__}: {text})") from error


def _open(path: Path) -> tuple[Any, Any]:
    import av

    av.logging.set_level(None)
    container = av.open(str(path))
    stream = container.streams.best("video")
    if stream is None:
        container.close()
        raise UnreadableVideo(f"{path.name} has no video stream: download it again with its pictures")
    stream.codec_context.thread_count = 1
    return container, stream


def probe(path: str | os.PathLike[str], *, reader: Reader = "auto") -> VideoInfo:
    """What the file is, from its packets and its first frame. UnreadableVideo when there is nothing to show."""
    path = Path(path)
    with _reading(path):
        container, stream = _open(path)
        with container:
            stamps = [
                float(packet.pts * packet.time_base)
                for packet in container.demux(stream)
                if packet.pts is not None and not packet.is_discard
            ]
            if not stamps:
                raise UnreadableVideo(f"{path.name} has no frames: it is empty or its download was cut short")
            start_s = (container.start_time or 0) / 1e6
            times_s = np.sort(np.asarray(stamps)) - start_s
            times_s -= min(float(times_s[0]), 0.0)
            frame_s = float(np.median(np.diff(times_s))) if len(times_s) > 1 else 0.04
            container.seek(0)
            frame = next(container.decode(stream))
            rotation = round(getattr(frame, "rotation", 0) / 90) * 90 % 360
            aspect = float(stream.sample_aspect_ratio or 1)
            aspect = aspect if abs(aspect - 1) > 0.01 else 1.0
            width, height = max(1, round(frame.width * aspect)), frame.height
            easy = frame.format.name in EASY_FORMATS and rotation == 0 and aspect == 1
            codec = stream.codec_context.name
        chosen: Literal["decord", "pyav"] = "pyav"
        if reader == "decord" or (reader == "auto" and easy and _decord_agrees(path, times_s)):
            chosen = "decord"
        if rotation % 180:
            width, height = height, width
        return VideoInfo(
            path=path,
            duration_s=float(times_s[-1]) + frame_s,
            fps=min(1 / frame_s, 1000.0) if frame_s > 0 else 1000.0,
            width_px=width,
            height_px=height,
            codec=codec,
            rotation_deg=rotation,
            reader=chosen,
            times_s=times_s,
            start_s=start_s,
        )


def _decord_agrees(path: Path, times_s: np.ndarray) -> bool:
    """decord opens the file and lists exactly the container's frames (it ignores edit lists, and picks its stream)."""
    try:
        import decord

        reader = decord.VideoReader(str(path), ctx=decord.cpu(0), num_threads=1)
        if len(reader) != len(times_s):
            return False
        stamps = reader.get_frame_timestamp(range(len(reader)))[:, 0]
    except Exception:
        return False
    return bool(np.allclose(stamps - stamps[0], times_s - times_s[0], atol=2e-3))


def read_frames(
    path: str | os.PathLike[str] | VideoInfo,
    times_s: Sequence[float] | np.ndarray,
    size_px: int,
    *,
    reader: Reader = "auto",
) -> np.ndarray:
    """The pictures on screen at ``times_s``: uint8 ``[T, size_px, size_px, 3]``, in the order asked.

    The picture at t is the last frame presented at or before t; before the first frame it is the first. ValueError for
    a time outside the video, UnreadableVideo when decoding fails.
    """
    info = path if isinstance(path, VideoInfo) else probe(path, reader=reader)
    wanted = np.asarray(times_s, dtype=np.float64)
    if wanted.size and (wanted.min() < -EPSILON_S or wanted.max() > info.duration_s + 0.05):
        raise ValueError(
            f"{info.path.name} lasts {info.duration_s:.2f} s; frames were asked from {wanted.min():.2f} to "
            f"{wanted.max():.2f} s: ask inside the video"
        )
    order = np.argsort(wanted, kind="stable")
    frames = np.empty((len(wanted), size_px, size_px, 3), np.uint8)
    done = 0
    for batch in _ascending(info, wanted[order], size_px):
        frames[order[done : done + len(batch)]] = batch
        done += len(batch)
    return frames


def grid_times(info: VideoInfo, rate_hz: float) -> np.ndarray:
    """Times 0, 1/rate, 2/rate … inside the video."""
    return np.arange(int(max(info.duration_s - EPSILON_S, 0.0) * rate_hz) + 1) / rate_hz


def stream_frames(info: VideoInfo, rate_hz: float, size_px: int) -> Iterator[np.ndarray]:
    """The whole video at ``rate_hz``, in batches uint8 ``[≤64, size_px, size_px, 3]``: never all of it in memory."""
    yield from _ascending(info, grid_times(info, rate_hz), size_px)


def _ascending(info: VideoInfo, wanted_s: np.ndarray, size_px: int) -> Iterator[np.ndarray]:
    indices = np.maximum(np.searchsorted(info.times_s, wanted_s + EPSILON_S, side="right") - 1, 0)
    width, height = inner_size(info.width_px, info.height_px, size_px)
    turned = (height, width) if info.rotation_deg % 180 else (width, height)
    with _reading(info.path):
        batch: list[np.ndarray] = []
        for frame in _frames(info, indices, *turned):
            batch.append(_square(np.rot90(frame, info.rotation_deg // 90), size_px))
            if len(batch) == BATCH:
                yield np.stack(batch)
                batch = []
        if batch:
            yield np.stack(batch)


def inner_size(width_px: int, height_px: int, size_px: int) -> tuple[int, int]:
    """Width and height of the picture inside its square."""
    scale = size_px / max(width_px, height_px)
    return max(1, round(width_px * scale)), max(1, round(height_px * scale))


def _square(frame: np.ndarray, size_px: int) -> np.ndarray:
    height, width = frame.shape[:2]
    if height == width == size_px:
        return frame
    square = np.zeros((size_px, size_px, 3), np.uint8)
    top, left = (size_px - height) // 2, (size_px - width) // 2
    square[top : top + height, left : left + width] = frame
    return square


def _frames(info: VideoInfo, indices: np.ndarray, width: int, height: int) -> Iterator[np.ndarray]:
    """The frames ``indices`` (ascending), by decord if it can, and by PyAV from where decord gives up.

    decord refuses some widths (16, 24, 48, 72 px) and some streams that PyAV reads.
    """
    done = 0
    if info.reader == "decord":
        try:
            for frame in _decord_frames(info, indices, width, height):
                yield frame
                done += 1
        except Exception:
            log.debug("%s: decord gave up after %d frames; PyAV goes on", info.path.name, done)
    yield from _pyav_frames(info, indices[done:], width, height)


def _decord_frames(info: VideoInfo, indices: np.ndarray, width: int, height: int) -> Iterator[np.ndarray]:
    import decord

    reader = decord.VideoReader(str(info.path), ctx=decord.cpu(0), num_threads=1, width=width, height=height)
    if len(reader) != len(info.times_s):
        raise UnreadableVideo(f"{info.path.name}: decord sees {len(reader)} frames, the container {len(info.times_s)}")
    for first in range(0, len(indices), BATCH):
        part, places = np.unique(indices[first : first + BATCH], return_inverse=True)
        yield from reader.get_batch(part).asnumpy()[places]


def _pyav_frames(info: VideoInfo, indices: np.ndarray, width: int, height: int) -> Iterator[np.ndarray]:
    """Decode forward, converting only the wanted frames; seek where the next wanted frame is far ahead."""
    container, stream = _open(info.path)
    with container:
        runs = np.split(indices, np.flatnonzero(np.diff(info.times_s[indices]) > SEEK_GAP_S) + 1)
        for number, run in enumerate(runs):
            if not len(run):
                continue
            if number or info.times_s[run[0]] > SEEK_GAP_S:
                target_s = info.times_s[run[0]] + info.start_s
                container.seek(int(target_s / stream.time_base), stream=stream, backward=True)
            elif number == 0:
                container.seek(0)
            yield from _pyav_run(container, stream, info, run, width, height)


def _pyav_run(
    container: Any, stream: Any, info: VideoInfo, run: np.ndarray, width: int, height: int
) -> Iterator[np.ndarray]:
    place, picture, shown = 0, None, -1
    for frame in container.decode(stream):
        if frame.time is None:
            continue
        index = int(np.searchsorted(info.times_s, frame.time - info.start_s + EPSILON_S, side="right")) - 1
        if index < run[place] and not (place == 0 and index < 0):
            shown, picture = index, frame
            continue
        while place < len(run) and run[place] < index:  # the wanted frame is damaged or missing: the one before it
            yield _convert(picture if picture is not None and shown >= 0 else frame, width, height)
            place += 1
        array = None
        while place < len(run) and run[place] == index:
            array = _convert(frame, width, height) if array is None else array
            yield array
            place += 1
        shown, picture = index, frame
        if place == len(run):
            return
    if picture is None:
        raise UnreadableVideo(f"{info.path.name}: no frame could be decoded at {info.times_s[run[0]]:.2f} s")
    if info.times_s[-1] - info.times_s[shown] > 0.5:
        raise UnreadableVideo(
            f"{info.path.name}: decoding ends at {info.times_s[shown]:.2f} of {info.duration_s:.2f} s"
        )
    last = _convert(picture, width, height)
    for _ in run[place:]:
        yield last


def _convert(frame: Any, width: int, height: int) -> np.ndarray:
    return frame.reformat(width=width, height=height, format="rgb24", interpolation="AREA").to_ndarray()


def with_reader(info: VideoInfo, reader: Literal["decord", "pyav"]) -> VideoInfo:
    """The same video, read by the named reader."""
    return replace(info, reader=reader)
