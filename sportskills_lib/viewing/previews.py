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

import io
import tempfile
import threading
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import partial
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

VERSION = "preview-1"  # part of every key: a change of what is made changes it
SIDE_PX, CARD_PX = 320, 192  # of a film; of one on a widget's card, sharp on a dense screen
MAX_FPS = 30.0
MOST_S = 10.0
MOMENTS, STRIP_PX = 6, 112
LIMIT_BYTES = 2 * 10**9  # of the folder that keeps them
KEPT_BYTES, AT_ONCE = 64_000_000, 12  # of a loader: in memory, and items of one go
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
    workers: int = 2,
) -> dict[str, Preview]:
    """A preview of every span, by its name, whatever becomes of single ones; without ``films`` only
    the strips.

    What the cache has is not made again, and if it has all, no worker starts.
    """
    if len({span.name for span in spans}) < len(spans):
        raise ValueError(f"two of {len(spans)} spans have one name: names must differ")
    how: dict[str, Any] = {"cache": cache, "film_px": side_px if films else None}
    done = {span.name: found for span in spans if (found := _from_cache(span, **how))}
    todo = [span for span in spans if span.name not in done]
    results = map_shards(
        partial(_make, **how),
        todo,
        workers=min(workers, len(todo)),
        describe=lambda span: span.name,
        label="previews",
    )
    for result in results:
        if result.value is None:
            reason = LOST_READER[str(result.reason)]
            done[result.name] = Preview(reason=reason, detail=result.detail)
        else:
            done[result.name] = Preview(*result.table("preview").row(0))
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
    inner = video.inner_size(info.width_px, info.height_px, size)
    width, height = (max(2, side // 2 * 2) for side in inner)  # 4:2:0 needs even sides
    with tempfile.TemporaryDirectory() as folder:
        # a file, since moving the index to the front reads what was written
        path = Path(folder) / "film.mp4"
        options: dict[str, Any] = {"fflags": "+bitexact", "movflags": "+faststart"}
        with av.open(str(path), "w", format="mp4", options=options) as container:
            stream = container.add_stream("libx264", rate=fps, options={**coding, "threads": "1"})
            stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
            stream.thread_count, stream.codec_context.time_base = 1, 1 / fps
            for count, frame in enumerate(_coded(sample(info, times_s, size), width, height)):
                frame.pts, frame.time_base = count, 1 / fps
                container.mux(stream.encode(frame))
            container.mux(stream.encode())
        return path.read_bytes()


def _coded(squares: Iterable[np.ndarray], width: int, height: int) -> Iterable[Any]:
    """The middle of each square as a frame in 4:2:0; BT.601, which players take small films for."""
    import av
    import cv2

    for square in squares:
        picture = np.ascontiguousarray(_middle(square, width, height))
        planes: Any = cv2.cvtColor(picture, cv2.COLOR_RGB2YUV_I420)
        yield av.VideoFrame.from_ndarray(planes, format="yuv420p")


def _middle(square: np.ndarray, width: int, height: int) -> np.ndarray:
    """A square [S, S, 3] without its black bars."""
    top, left = (max(0, (len(square) - side) // 2) for side in (height, width))
    return square[top : top + height, left : left + width]


def film_strip(info: video.VideoInfo, start_s: float, end_s: float) -> bytes:
    """MOMENTS pictures spread evenly over the span, without black bars, side by side, as WebP.
    Errors: as film.
    """
    from PIL import Image

    start_s, end_s = _within(info, start_s, end_s)
    times_s = start_s + (end_s - start_s) * (np.arange(MOMENTS) + 0.5) / MOMENTS
    size = video.inner_size(info.width_px, info.height_px, STRIP_PX)
    squares, file = sample(info, times_s, STRIP_PX), io.BytesIO()
    row = np.concatenate([_middle(square, *size) for square in squares], axis=1)
    Image.fromarray(row).save(file, "WEBP", quality=70, method=4)
    return file.getvalue()


def animation(frames: np.ndarray, *, side_px: int = SIDE_PX, effort: int = 4) -> bytes:
    """A WebP of frames [T, H, W, 3] that loops, five a second, its longer side ``side_px`` at most;
    the last frame is held a little, so that the loop is seen.
    """
    from PIL import Image

    pictures = [Image.fromarray(np.ascontiguousarray(frame)) for frame in frames]
    for picture in pictures:
        picture.thumbnail((side_px, side_px))
    shown_ms, file = [200] * (len(pictures) - 1) + [600], io.BytesIO()
    options = {"duration": shown_ms, "loop": 0, "quality": 75, "method": effort, "kmax": 1}
    pictures[0].save(file, "WEBP", save_all=True, append_images=pictures[1:], **options)
    return file.getvalue()


def _within(info: video.VideoInfo, start_s: float, end_s: float) -> tuple[float, float]:
    """The part of the span that the video has."""
    first_s, last_s = max(start_s, 0.0), min(end_s, info.duration_s)
    if last_s - first_s < 1e-3:
        raise ValueError(
            f"{info.path.name} has no frame between {start_s:.2f} and {end_s:.2f} s: it lasts "
            f"{info.duration_s:.2f} s"
        )
    return first_s, last_s


def _keys(span: Span, cache: ContentStore, film_px: int | None) -> dict[str, str]:
    """Kind → the name under which the cache has it."""
    place = (round(1000 * span.start_s), round(1000 * span.end_s), VERSION)
    facts: dict[str, tuple] = {"strip": (MOMENTS, STRIP_PX)}
    if film_px:
        facts["film"] = (film_px, *CODING.items())
    return {kind: cache.key(span.path, kind, own, place) for kind, own in facts.items()}


def _from_cache(span: Span, *, cache: ContentStore | None, film_px: int | None) -> Preview | None:
    """The preview, if the cache has all of it."""
    if cache is None or not span.path.exists():
        return None
    found = {kind: cache.get(key) for kind, key in _keys(span, cache, film_px).items()}
    kept = {kind: array.tobytes() for kind, array in found.items() if array is not None}
    return Preview(kept.get("film", b""), kept["strip"]) if len(kept) == len(found) else None


def _make(span: Span, *, cache: ContentStore | None, film_px: int | None) -> Value:
    """In a worker: the preview as a table of one row, after the cache has it."""
    made = _cut(span, film_px)
    if cache is not None and not made.reason:
        for kind, key in _keys(span, cache, film_px).items():
            cache.put(key, np.frombuffer(getattr(made, kind), np.uint8))
    return {"preview": pl.DataFrame([made])}


def _cut(span: Span, film_px: int | None) -> Preview:
    if not span.path.exists():
        return Preview(reason="missing", detail=plain(f"{span.path.name} is not there"))
    try:
        # pyav: the same pictures each time, whatever else is loaded
        info, end_s = video.probe(span.path, reader="pyav"), min(span.end_s, span.start_s + MOST_S)
        strip = film_strip(info, span.start_s, span.end_s)
        moving = film(info, span.start_s, end_s, side_px=film_px) if film_px else b""
        return Preview(moving, strip)
    except (OSError, ValueError) as error:
        return Preview(reason="unreadable", detail=plain(str(error)))


class PreviewLoader:
    """Films by item, or with ``strips`` film strips, for a widget: made in the background, so that
    a step never waits for a decoder.

    :meth:`want` asks for some and returns at once; ``ready`` is called when new ones are
    ``loaded``, b"" for one that cannot be made. Only the latest wish counts: who steps fast asks
    for the films of the step where the stepping ends. ``failed`` is called with what the thread raised,
    ``ready`` included.
    """

    def __init__(
        self,
        span: Callable[[str], Span | None],
        *,
        cache: ContentStore | None,
        ready: Callable[[], None],
        failed: Callable[[Exception], None],
        strips: bool = False,
    ):
        self._span, self._ready, self._failed, self._strips = span, ready, failed, strips
        self._how: dict[str, Any] = {"cache": cache, "films": not strips, "side_px": CARD_PX}
        self.loaded: dict[str, bytes] = {}  # in order of arrival
        self._wanted: list[str] = []
        self._turn = threading.Lock()

    def want(self, items: Sequence[str]) -> None:
        """Make films of these, in this order, instead of those that were wanted before."""
        self._wanted = list(dict.fromkeys(items))
        self.thread = threading.Thread(target=self._work, args=(self._wanted,), daemon=True)
        self.thread.start()

    def _work(self, wanted: list[str]) -> None:
        try:
            with self._turn:  # the films of the wish before are made to the end of one go
                todo = [item for item in wanted if item not in self.loaded]
                for first in range(0, len(todo), AT_ONCE):
                    if wanted is self._wanted:
                        self._load(todo[first : first + AT_ONCE])
                        self._ready()
        except Exception as error:
            self._failed(error)

    def _load(self, items: list[str]) -> None:
        spans = [span for item in items if (span := self._span(item))]
        made = make_previews(spans, **self._how)
        found = {name: each.strip if self._strips else each.film for name, each in made.items()}
        loaded = self.loaded | dict.fromkeys(items, b"") | found
        while sum(map(len, loaded.values())) > KEPT_BYTES:
            del loaded[next(iter(loaded))]
        self.loaded = loaded  # in one go: others read it meanwhile
