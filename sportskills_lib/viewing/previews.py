"""Short films and strips cut from spans of source videos: pages get these, and never the source
file.

A film is H.264 that every browser plays (8-bit 4:2:0, its index first), without sound, upright, its
longer side :data:`SIDE_PX` at most, a few hundred kB at most: the bit rate has a ceiling, and what
is longer than :data:`MOST_S` is cut there. It keeps the source's frame rate up to :data:`MAX_FPS`,
so that a swing can be looked at slowly; frames of variable rate are shown when they were. A strip
is a WebP of a few moments side by side. Both are kept by content (the file's sha256, span, size,
version), whole or not at all. They are made in worker processes, since decoders crash and hang;
what cannot be made comes back with the reason.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from sportskills_lib import video
from sportskills_lib.plots.style import plain
from sportskills_lib.runs import artifacts
from sportskills_lib.runs.content_store import ContentStore
from sportskills_lib.runs.worker_pool import LOST_READER, Value, map_shards
from sportskills_lib.video.frame_sampling import sample
from sportskills_lib.viewing import pictures

VERSION = "preview-1"  # part of every key: a change of what is made changes it
SIDE_PX = 320
MAX_FPS = 30.0
MOST_S = 10.0
MOMENTS, STRIP_PX = 6, 112
LIMIT_BYTES = 2 * 10**9  # of the folder that keeps them
# the ceiling is 48 kB a second over any two seconds: at most half a megabyte for MOST_S
CODING = {"crf": "27", "preset": "veryfast", "maxrate": "384k", "bufsize": "768k"}


@dataclass(frozen=True)
class Span:
    """A stretch of a video file to show. Names differ within a call."""

    name: str
    path: Path
    start_s: float
    end_s: float


@dataclass(frozen=True)
class Preview:
    """A film (MP4) and a strip (WebP) of a span; without either, ``reason`` and ``detail`` say
    why.
    """

    film: bytes = b""
    strip: bytes = b""
    reason: str = ""  # missing, unreadable, reader_crashed, reader_timeout
    detail: str = ""


def preview_cache() -> ContentStore:
    """Where the workspace keeps its previews: ``data/cache/previews``."""
    return ContentStore(artifacts.workspace() / "data/cache/previews", limit_bytes=LIMIT_BYTES)


def make_previews(
    spans: Sequence[Span],
    *,
    cache: ContentStore | None,
    films: bool = True,
    side_px: int = SIDE_PX,
    moments: int = MOMENTS,
    workers: int = 2,
    timeout_s: float = 120.0,
) -> dict[str, Preview]:
    """A preview of every span, by its name, whatever becomes of single ones; without ``films`` only
    the strips.

    What the cache has is not made again, and if it has all, no worker starts.
    """
    tasks = {span.name: _Task(span, films, side_px, moments, cache) for span in spans}
    if len(tasks) < len(spans):
        raise ValueError(f"{len(spans)} spans have {len(tasks)} names: names must differ")
    done = {name: found for name, task in tasks.items() if (found := _cached(task))}
    todo = [task for name, task in tasks.items() if name not in done]
    results = map_shards(
        _make,
        todo,
        workers=min(workers, len(todo)),
        timeout_s=timeout_s,
        describe=_name,
        label="previews",
    )
    for task, result in zip(todo, results, strict=True):
        if result.value is None:
            done[task.span.name] = Preview(
                reason=LOST_READER[str(result.reason)], detail=result.detail
            )
        else:
            film, strip = (result.array(kind).tobytes() for kind in ("film", "strip"))
            done[task.span.name] = Preview(film, strip, *result.table("failure").row(0))
    return {span.name: done[span.name] for span in spans}


def film(
    info: video.VideoInfo,
    start_s: float,
    end_s: float,
    *,
    side_px: int = SIDE_PX,
    coding: dict[str, str] = CODING,
) -> bytes:
    """The span as MP4, from ``start_s`` until before ``end_s`` or the video's end; ``coding``:
    options of libx264.

    UnreadableVideo when decoding fails; ValueError for a span without a frame.
    """
    import av

    fps = Fraction(min(info.fps, MAX_FPS)).limit_denominator(1001)
    start_s, end_s = _within(info, start_s, end_s)
    times_s = np.arange(start_s, end_s - 1e-6, float(1 / fps))
    size = max(2, min(side_px, max(info.width_px, info.height_px)))
    inner_width, inner_height = video.inner_size(info.width_px, info.height_px, size)
    width, height = (
        max(2, side // 2 * 2) for side in (inner_width, inner_height)
    )  # 4:2:0 needs even sides
    with tempfile.TemporaryDirectory() as folder:
        path = (
            Path(folder) / "film.mp4"
        )  # a file, since moving the index to the front reads what was written
        options: dict[str, Any] = {"fflags": "+bitexact", "movflags": "+faststart"}
        with av.open(str(path), "w", format="mp4", options=options) as container:
            stream = container.add_stream("libx264", rate=fps)
            stream.width, stream.height, stream.pix_fmt, stream.thread_count = (
                width,
                height,
                "yuv420p",
                1,
            )
            settings: dict[str, Any] = {**coding, "threads": "1"}
            stream.options = settings
            stream.codec_context.time_base = 1 / fps
            squares = sample(info, times_s, size)
            for count, frame in enumerate(_inside(squares, width, height)):
                frame.pts, frame.time_base = count, 1 / fps
                container.mux(stream.encode(frame))
            container.mux(stream.encode())
        return path.read_bytes()


def _inside(squares: Iterable[np.ndarray], width: int, height: int) -> Iterable[Any]:
    """The middle of each square as a frame in 4:2:0; BT.601, which players take small films for."""
    import av
    import cv2

    for square in squares:
        top, left = max(0, (len(square) - height) // 2), max(0, (len(square) - width) // 2)
        picture = np.ascontiguousarray(square[top : top + height, left : left + width])
        planes: Any = cv2.cvtColor(picture, cv2.COLOR_RGB2YUV_I420)
        yield av.VideoFrame.from_ndarray(planes, format="yuv420p")


def film_strip(
    info: video.VideoInfo,
    start_s: float,
    end_s: float,
    *,
    moments: int = MOMENTS,
    side_px: int = STRIP_PX,
) -> bytes:
    """``moments`` pictures spread evenly over the span, without black bars, side by side, as WebP.
    Errors: as film.
    """
    start_s, end_s = _within(info, start_s, end_s)
    times_s = start_s + (end_s - start_s) * (np.arange(moments) + 0.5) / moments
    squares = np.stack(list(sample(info, times_s, side_px)))
    width, height = video.inner_size(info.width_px, info.height_px, side_px)
    top, left = (side_px - height) // 2, (side_px - width) // 2
    return pictures.strip(squares[:, top : top + height, left : left + width], moments=moments)


def _within(info: video.VideoInfo, start_s: float, end_s: float) -> tuple[float, float]:
    """The part of the span that the video has."""
    first_s, last_s = max(start_s, 0.0), min(end_s, info.duration_s)
    if last_s - first_s < 1e-3:
        raise ValueError(
            f"{info.path.name} has no frame between {start_s:.2f} and {end_s:.2f} s: it lasts "
            f"{info.duration_s:.2f} s"
        )
    return first_s, last_s


@dataclass(frozen=True)
class _Task:
    span: Span
    films: bool
    side_px: int
    moments: int
    cache: ContentStore | None


def _name(task: _Task) -> str:
    return task.span.name


def _keys(task: _Task, cache: ContentStore) -> dict[str, str]:
    """Kind → the name under which the cache has it."""
    span = (round(1000 * task.span.start_s), round(1000 * task.span.end_s), VERSION)
    facts = {"strip": (task.moments, STRIP_PX)} | (
        {"film": (task.side_px, *CODING.items())} if task.films else {}
    )
    return {kind: cache.key(task.span.path, kind, own, span) for kind, own in facts.items()}


def _cached(task: _Task) -> Preview | None:
    """The preview as far as the cache has all of it."""
    if task.cache is None:
        return None
    try:
        found = {kind: task.cache.get(key) for kind, key in _keys(task, task.cache).items()}
    except OSError:  # no such file: the worker says so
        return None
    kept = {kind: array.tobytes() for kind, array in found.items() if array is not None}
    return (
        Preview(kept.get("film", b""), kept.get("strip", b"")) if len(kept) == len(found) else None
    )


def _make(task: _Task) -> Value:
    """In a worker: ``film`` and ``strip`` as uint8 [bytes], and one row (reason, detail), empty
    where all is well.
    """
    span, made, failure = task.span, Preview(), ("", "")
    try:
        if not span.path.is_file():
            raise FileNotFoundError
        info = video.probe(
            span.path, reader="pyav"
        )  # the same pictures each time, whatever else is loaded
        end_s = min(span.end_s, span.start_s + MOST_S)
        made = replace(made, strip=film_strip(info, span.start_s, span.end_s, moments=task.moments))
        if task.films:
            made = replace(made, film=film(info, span.start_s, end_s, side_px=task.side_px))
    except FileNotFoundError:
        made, failure = Preview(), ("missing", plain(f"{span.path.name} is not there"))
    except (OSError, ValueError) as error:
        made, failure = Preview(), ("unreadable", plain(str(error)))
    arrays = {
        "film": np.frombuffer(made.film, np.uint8),
        "strip": np.frombuffer(made.strip, np.uint8),
    }
    if task.cache is not None and not failure[0]:
        for kind, key in _keys(task, task.cache).items():
            task.cache.put(key, arrays[kind])
    return arrays | {"failure": pl.DataFrame([failure], schema=["reason", "detail"], orient="row")}
