"""Single pictures from a file for the least decoding, exactly: the plan is made from the packets,
before decoding.

For each wanted time the packets are read (not decoded) until no later one can be shown by then; the
last one shown by then is the frame. Decoding starts at the last key frame shown at or before it, or
goes on from where the decoder is, whichever is nearer; frames that no other frame needs are left
out unless wanted; and after the last wanted packet the decoder is drained instead of being fed on.
Over gaps longer than :data:`SEEK_GAP_S` the file is not read at all. So one clip of a long file
costs its own packets, not the file's.

This needs containers whose seeking is by an index (MP4, Matroska) and packets in decoding order
with both stamps; every other file, and every file in which a wanted frame does not come out, is
read from its beginning, every frame decoded. Both ways give the same pictures: the tests compare
them over all files that they have.
"""

from __future__ import annotations

from bisect import bisect_right, insort
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import closing
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from sportskills_lib.video.probe import (
    EPSILON_S,
    UnreadableVideo,
    VideoInfo,
    decoder_errors,
    numbered_pictures,
    open_video,
    pixel_aspect,
    turn_of,
)

SEEK_GAP_S = 10.0  # longer stretches without a wanted frame are sought over, shorter ones read
SEEKABLE = ("mov,mp4,m4a,3gp,3g2,mj2", "matroska,webm")
SEEK_MARGIN_S = 0.5  # indices hold decoding times, which lie before the times of showing
# a wanted frame that the decoder drops may be stood for by one shown at most so long before
LOST_S = 0.5


class _Unplanned(Exception):
    """The packets do not allow a plan, or a planned frame did not come out."""


def sample(
    info: VideoInfo, wanted_s: np.ndarray, size_px: int, *, threads: int = 1
) -> Iterator[np.ndarray]:
    """Squares [size_px, size_px, 3] on screen at ascending ``wanted_s``, which lie in the video.

    The number of ``threads`` changes no picture. UnreadableVideo when decoding fails.
    """
    done = 0
    with decoder_errors(info.path):
        from av import FFmpegError

        if info.path.is_dir():
            yield from _from_pictures(info, wanted_s, size_px)
            return
        for count in (threads, 1) if threads > 1 else (1,):
            try:
                for picture in _planned(info, wanted_s[done:], size_px, threads=count):
                    yield picture
                    done += 1
                return
            except (_Unplanned, FFmpegError):
                pass  # one thread, or the thorough way, can, or says what is wrong
        yield from _thorough(info, wanted_s[done:], size_px)


# ------------------------------------------------------------------------------------------ squares


def inner_size(width_px: int, height_px: int, size_px: int) -> tuple[int, int]:
    """Width and height of the picture inside its square."""
    scale = size_px / max(width_px, height_px)
    return max(1, round(width_px * scale)), max(1, round(height_px * scale))


def square(frame: np.ndarray, size_px: int) -> np.ndarray:
    """The picture in the middle of a black square: uint8 [size_px, size_px, 3]."""
    height, width = frame.shape[:2]
    whole = np.zeros((size_px, size_px, 3), np.uint8)
    top, left = (size_px - height) // 2, (size_px - width) // 2
    whole[top : top + height, left : left + width] = frame
    return whole


class _Shaper:
    """Makes squares of one video's decoded frames: scaled, turned upright, letterboxed.

    A frame that serves several times is shaped once (the callers cache the last square). One scaler
    is kept for all frames: a frame's own ``reformat`` builds the filter anew each time,
    and starts threads. Colours follow the frame's own matrix and range (BT.601 limited where the
    file does not say).
    """

    def __init__(self, size_px: int, aspect: float):
        from av.video.reformatter import VideoReformatter

        self.size_px, self.aspect, self.scaler = size_px, aspect, VideoReformatter()

    def square(self, frame: Any) -> np.ndarray:
        """The frame upright in its square: uint8 [size_px, size_px, 3]."""
        turn, width = turn_of(frame), max(1, round(frame.width * self.aspect))
        upright = (frame.height, width) if turn % 180 else (width, frame.height)
        inner = inner_size(*upright, self.size_px)
        width, height = inner[::-1] if turn % 180 else inner
        small = self.scaler.reformat(
            frame,
            width=width,
            height=height,
            format="rgb24",
            interpolation="BILINEAR",  # a triangle over all source pixels
            threads=1,
        )
        return square(np.rot90(small.to_ndarray(), turn // 90), self.size_px)


# --------------------------------------------------------------------------------------- by a plan


def _planned(
    info: VideoInfo, wanted_s: np.ndarray, size_px: int, *, threads: int = 1
) -> Iterator[np.ndarray]:
    container, stream = open_video(info.path, threads=threads)
    with container:
        if container.format.name not in SEEKABLE:
            raise _Unplanned
        ticks = (wanted_s + EPSILON_S + info.start_s) / float(stream.time_base)
        shape = lru_cache(maxsize=1)(_Shaper(size_px, pixel_aspect(stream)).square)
        with closing(_Plan(info.path, container, stream)) as plan:
            for frame in plan.frames(np.floor(ticks).astype(np.int64)):
                yield shape(frame)


class _Plan:
    """Packets in decoding order, the decoder that is fed with them, and the frames that came out.

    Packets are numbered as they are read; those before ``fed`` were given to the decoder or jumped
    over.
    """

    def __init__(self, path: Path, container: Any, stream: Any):
        self.path, self.container, self.stream = path, container, stream
        self.codec = stream.codec_context
        # the file once more, to seek in while the decoder is at work
        self.opened: list[tuple[Any, Any]] = []
        self.packets = container.demux(stream)
        self.held: dict[int, Any] = {}  # read, but not fed
        # stamp and number of the frames not yet passed, in order of showing
        self.shown: list[tuple[int, int]] = []
        # number and stamp of the key frames since the last jump
        self.keys: list[tuple[int, int]] = []
        self.read, self.fed, self.newest = 0, 0, 0  # newest: stamp of the packet read last
        self.read_to: int | None = None  # no later packet is decoded, so none is shown, before this
        self.live, self.ended, self.jumped = False, False, False
        self.ready: dict[int, Any] = {}  # frames by stamp

    def close(self) -> None:
        """Close what was opened besides the container."""
        for container, _ in self.opened:
            container.close()

    def frames(self, ticks: np.ndarray) -> Iterator[Any]:
        """The frame on screen at each ascending tick."""
        while not self.shown and not self.ended:
            self._read_packet()
        if not self.shown:
            raise _Unplanned
        self._read_past(self.shown[0][0])
        queue: deque[int] = deque()
        for tick in ticks.tolist():
            if self._is_far(tick):
                self._seek(tick)
            self._read_past(tick)
            stamp, number = self._resolve(tick)
            start = max(
                (key for key, shown in self.keys if key <= number and shown <= stamp), default=0
            )
            if start > self.fed:  # nearer than going on from where the decoder is
                yield from self._drain(queue)
                for passed in range(self.fed, start):
                    self.held.pop(passed, None)
                self.fed = start
            self._feed(number, stamp)
            queue.append(stamp)
            yield from self._emit(queue)
        yield from self._drain(queue)

    def _read_packet(self) -> None:
        packet = next(self.packets, None)
        if packet is None or packet.size == 0:
            self.ended = True
            return
        if packet.pts is None or (packet.dts is not None and packet.pts < packet.dts):
            raise _Unplanned
        self._take(packet)

    def _take(self, packet: Any) -> None:
        """Number a packet that was read, and keep it until it is fed."""
        self.held[self.read] = packet
        if packet.is_keyframe:
            self.keys.append((self.read, packet.pts))
        if not packet.is_discard:
            insort(self.shown, (packet.pts, self.read))
        self.read, self.newest = self.read + 1, packet.pts
        self.read_to = packet.dts if packet.dts is not None else self.read_to

    def _read_past(self, tick: int) -> None:
        while not self.ended and (self.read_to is None or self.read_to <= tick):
            self._read_packet()

    def _resolve(self, tick: int) -> tuple[int, int]:
        """Stamp and number of the frame on screen; before the first frame it is the first."""
        place = bisect_right(self.shown, (tick, self.read)) - 1
        if place < 0 and self.jumped:
            raise _Unplanned
        del self.shown[: max(place, 0)]
        return self.shown[0]

    def _is_far(self, tick: int) -> bool:
        gap = SEEK_GAP_S / float(self.stream.time_base)
        return self.read_to is not None and not self.ended and tick > self.read_to + gap

    def _seek(self, tick: int) -> None:
        """Go on reading at a key frame before ``tick``, or where we were, if that key frame was
        read already.
        """
        margin = int(SEEK_MARGIN_S / float(self.stream.time_base))
        # seeking empties the decoder of the container's own stream
        if self.live and not self.opened:
            self.opened.append(open_video(self.path))
        container, stream = self.opened[0] if self.opened else (self.container, self.stream)
        container.seek(tick - margin, stream=stream, backward=True)
        self.packets = container.demux(stream)
        first = next(self.packets, None)
        if first is None or first.pts is None or not first.is_keyframe:
            raise _Unplanned
        if self.keys and first.pts <= self.keys[-1][1]:
            packet = first
            while packet.pts != self.newest:
                packet = next(self.packets, None)
                if packet is None or packet.size == 0:
                    raise _Unplanned
            return
        self.keys, self.shown, self.read_to, self.jumped = [], [], None, True
        self._take(first)

    def _feed(self, number: int, stamp: int) -> None:
        """Decode up to packet ``number``; frames shown before it may be left out where nothing
        needs them.
        """
        for each in range(self.fed, number + 1):
            packet = self.held.pop(each)
            self.codec.skip_frame = "NONREF" if packet.pts < stamp else "DEFAULT"
            self._collect(packet)
            self.live = True
        self.fed = max(self.fed, number + 1)

    def _collect(self, packet: Any) -> None:
        for frame in self.codec.decode(packet):
            if frame.pts is None:
                raise _Unplanned
            self.ready[frame.pts] = frame

    def _emit(self, queue: deque[int]) -> Iterator[Any]:
        """The frames that are out, as far as the queue's order allows."""
        while queue and queue[0] in self.ready:
            yield self.ready[queue.popleft()]
        first = queue[0] if queue else self.shown[0][0]
        self.ready = {stamp: frame for stamp, frame in self.ready.items() if stamp >= first}

    def _drain(self, queue: deque[int]) -> Iterator[Any]:
        """Everything that the decoder still has; it then waits for a key frame."""
        if self.live:
            self._collect(None)
            self.codec.flush_buffers()
            self.live = False
        yield from self._emit(queue)
        if queue:
            raise _Unplanned


# ------------------------------------------------------------------------- from a folder's pictures


def _from_pictures(info: VideoInfo, wanted_s: np.ndarray, size_px: int) -> Iterator[np.ndarray]:
    """The picture of each time, each read by itself; UnreadableVideo within a gap (LOST_S)."""
    pictures, shape = list(numbered_pictures(info.path).values()), _Shaper(size_px, 1.0).square
    for wanted, index in zip(wanted_s, info.frames_at(wanted_s), strict=True):
        if abs(wanted - info.times_s[index]) > LOST_S:
            raise UnreadableVideo(
                f"{info.path.name} has no picture for {wanted:.2f} s: the nearest before is of "
                f"{info.times_s[index]:.2f} s"
            )
        container, stream = open_video(pictures[index])
        with container:
            yield shape(next(container.decode(stream)))


# ------------------------------------------------------------------------------ from the beginning


def _thorough(info: VideoInfo, wanted_s: np.ndarray, size_px: int) -> Iterator[np.ndarray]:
    """Every frame decoded from the beginning, those on screen at the wanted times converted."""
    indices = info.frames_at(wanted_s)
    container, stream = open_video(info.path)
    with container:
        shape = lru_cache(maxsize=1)(_Shaper(size_px, pixel_aspect(stream)).square)
        place, picture, shown = 0, None, -1
        for frame in container.decode(stream):
            if place == len(indices):
                return
            if frame.time is None:
                continue
            stamp_s = frame.time - info.start_s + EPSILON_S
            index = int(np.searchsorted(info.times_s, stamp_s, side="right")) - 1
            while place < len(indices) and indices[place] < index:
                on_screen = frame if picture is None else picture
                yield _stand_in(info, shape, on_screen, max(shown, 0), indices[place])
                place += 1
            if index > shown:
                picture, shown = frame, index
        for index in indices[place:]:
            yield _stand_in(info, shape, picture, shown, index)


def _stand_in(
    info: VideoInfo, shape: Callable[[Any], np.ndarray], picture: Any, shown: int, wanted: int
) -> np.ndarray:
    """The picture that is on screen in place of the frame ``wanted``: itself, or one not long
    before, where the frame never came out.
    """
    if picture is None:
        raise UnreadableVideo(f"{info.path.name}: no frame could be decoded")
    if info.times_s[wanted] - info.times_s[shown] > LOST_S:
        raise UnreadableVideo(
            f"{info.path.name}: no frame can be decoded between {info.times_s[shown]:.2f} and "
            f"{info.times_s[wanted]:.2f} of {info.duration_s:.2f} s"
        )
    return shape(picture)
