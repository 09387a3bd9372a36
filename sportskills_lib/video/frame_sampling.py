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
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np

from sportskills_lib.video.frame_shape import Shaper
from sportskills_lib.video.probe import (
    EPSILON_S,
    OutsideVideo,
    UnreadableVideo,
    VideoInfo,
    decoder_errors,
    open_video,
    pixel_aspect,
    probe,
)

SEEK_GAP_S = 10.0  # longer stretches without a wanted frame are sought over, shorter ones read
SEEKABLE = ("mov,mp4,m4a,3gp,3g2,mj2", "matroska,webm")
SEEK_MARGIN_S = 0.5  # indices hold decoding times, which lie before the times of showing
# a wanted frame that the decoder drops may be stood for by one shown at most so long before
LOST_S = 0.5


class _Unplanned(Exception):
    """The packets do not allow a plan, or a planned frame did not come out."""


def sample(
    path: Path,
    wanted_s: np.ndarray,
    size_px: int,
    *,
    info: VideoInfo | None = None,
    threads: int = 1,
) -> Iterator[np.ndarray]:
    """Squares [size_px, size_px, 3] on screen at ascending ``wanted_s``; from the packets alone, or
    with a probe.

    The number of ``threads`` changes no picture. ValueError for a time outside the video,
    UnreadableVideo when decoding fails.
    """
    done = 0
    with decoder_errors(path):
        from av import FFmpegError

        for count in (threads, 1) if threads > 1 else (1,):
            try:
                for picture in _planned(path, wanted_s[done:], size_px, info, threads=count):
                    yield picture
                    done += 1
                return
            except (_Unplanned, FFmpegError):
                pass  # one thread, or the thorough way, can, or says what is wrong
        info = info or probe(path, reader="pyav")
        check_inside(info, wanted_s)
        yield from _thorough(info, wanted_s[done:], size_px)


def how_sampled(info: VideoInfo, wanted_s: np.ndarray, size_px: int) -> str:
    """Read these pictures, and say how: ``planned``, or ``from the beginning``. UnreadableVideo
    when neither can.
    """
    from av import FFmpegError

    try:
        for _ in _planned(info.path, wanted_s, size_px, info):
            pass
        return "planned"
    except (_Unplanned, FFmpegError):
        with decoder_errors(info.path):
            for _ in _thorough(info, wanted_s, size_px):
                pass
        return "from the beginning"


def check_inside(info: VideoInfo, wanted_s: np.ndarray) -> None:
    """ValueError for a time outside the video."""
    if wanted_s.size and (wanted_s.min() < -EPSILON_S or wanted_s.max() > info.duration_s + 0.05):
        raise OutsideVideo(
            f"{info.path.name} lasts {info.duration_s:.2f} s; frames were asked from "
            f"{wanted_s.min():.2f} to "
            f"{wanted_s.max():.2f} s: ask inside the video"
        )


def _planned(
    path: Path, wanted_s: np.ndarray, size_px: int, info: VideoInfo | None, *, threads: int = 1
) -> Iterator[np.ndarray]:
    container, stream = open_video(path, threads=threads)
    with container:
        if container.format.name not in SEEKABLE or (len(wanted_s) and wanted_s[0] < -EPSILON_S):
            raise _Unplanned
        plan, shaper = _Plan(path, container, stream), Shaper(size_px, pixel_aspect(stream))
        zero_s = plan.begin()
        zero_s = zero_s if info is None else info.start_s
        ticks = np.floor((wanted_s + EPSILON_S + zero_s) / float(stream.time_base)).astype(np.int64)
        last, picture, checked = None, None, info is not None
        with closing(plan):
            for shown, frame, is_end in plan.frames(ticks):
                if (
                    is_end and not checked
                ):  # at or after the last frame: only all frame times say when it ends
                    checked = True
                    check_inside(probe(path, reader="pyav"), wanted_s)
                if picture is None or shown != last:
                    last, picture = shown, shaper.square(frame)
                yield picture


class _Plan:
    """Packets in decoding order, the decoder that is fed with them, and the frames that came out.

    Packets are numbered as they are read; those before ``fed`` were given to the decoder or jumped
    over.
    """

    def __init__(self, path: Path, container: Any, stream: Any):
        self.path, self.container, self.stream, self.codec = (
            path,
            container,
            stream,
            stream.codec_context,
        )
        self.opened: list[
            tuple[Any, Any]
        ] = []  # the file once more, to seek in while the decoder is at work
        self.packets = container.demux(stream)
        self.held: dict[int, Any] = {}  # read, but not fed
        self.shown: list[
            tuple[int, int]
        ] = []  # stamp and number of the frames not yet passed, in order of showing
        self.keys: list[
            tuple[int, int]
        ] = []  # number and stamp of the key frames since the last jump
        self.read, self.fed, self.newest = 0, 0, 0  # newest: stamp of the packet read last
        self.read_to: int | None = None  # no later packet is decoded, so none is shown, before this
        self.live, self.ended, self.jumped = False, False, False
        self.ready: dict[int, Any] = {}  # frames by stamp

    def close(self) -> None:
        """Close what was opened besides the container."""
        for container, _ in self.opened:
            container.close()

    def begin(self) -> float:
        """Read the first packets. Returns the stream's own time at which playback starts, in
        seconds.
        """
        while not self.shown and not self.ended:
            self._read_packet()
        if not self.shown:
            raise _Unplanned
        self._read_past(self.shown[0][0])
        return min(
            (self.container.start_time or 0) / 1e6, float(self.shown[0][0] * self.stream.time_base)
        )

    def frames(self, ticks: np.ndarray) -> Iterator[tuple[int, Any, bool]]:
        """For each ascending tick: the stamp of the frame on screen, the frame, and whether it is
        the file's last.
        """
        queue: deque[tuple[int, bool]] = deque()
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
            queue.append((stamp, self.ended and stamp == self.shown[-1][0]))
            yield from self._emit(queue)
        yield from self._drain(queue)

    def _read_packet(self) -> None:
        packet = next(self.packets, None)
        if packet is None or packet.size == 0:
            self.ended = True
            return
        if packet.pts is None or (packet.dts is not None and packet.pts < packet.dts):
            raise _Unplanned
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
        if (
            self.live and not self.opened
        ):  # seeking empties the decoder of the container's own stream
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
        self.keys, self.shown, self.read_to, self.jumped = [], [], first.dts, True
        self.keys.append((self.read, first.pts))
        self.held[self.read] = first
        if not first.is_discard:
            self.shown.append((first.pts, self.read))
        self.read, self.newest = self.read + 1, first.pts

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

    def _emit(self, queue: deque[tuple[int, bool]]) -> Iterator[tuple[int, Any, bool]]:
        """The frames that are out, as far as the queue's order allows."""
        while queue and queue[0][0] in self.ready:
            stamp, is_last = queue.popleft()
            yield stamp, self.ready[stamp], is_last
        first = queue[0][0] if queue else self.shown[0][0] if self.shown else 0
        self.ready = {stamp: frame for stamp, frame in self.ready.items() if stamp >= first}

    def _drain(self, queue: deque[tuple[int, bool]]) -> Iterator[tuple[int, Any, bool]]:
        """Everything that the decoder still has; it then waits for a key frame."""
        if self.live:
            self._collect(None)
            self.codec.flush_buffers()
            self.live = False
        yield from self._emit(queue)
        if queue:
            raise _Unplanned


def _thorough(info: VideoInfo, wanted_s: np.ndarray, size_px: int) -> Iterator[np.ndarray]:
    """Every frame decoded from the beginning, those on screen at the wanted times converted."""
    indices = np.maximum(np.searchsorted(info.times_s, wanted_s + EPSILON_S, side="right") - 1, 0)
    container, stream = open_video(info.path)
    with container:
        shaper, place, picture, shown = Shaper(size_px, pixel_aspect(stream)), 0, None, -1
        for frame in container.decode(stream) if len(indices) else ():
            if frame.time is None:
                continue
            index = (
                int(
                    np.searchsorted(
                        info.times_s, frame.time - info.start_s + EPSILON_S, side="right"
                    )
                )
                - 1
            )
            while (
                place < len(indices) and indices[place] < index
            ):  # the decoder dropped it: the one before is shown
                yield _stand_in(
                    info,
                    shaper,
                    frame if picture is None else picture,
                    max(shown, 0),
                    indices[place],
                )
                place += 1
            if place == len(indices):
                return
            picture, shown = frame, index
            if indices[place] == index:
                square = shaper.square(frame)
                while place < len(indices) and indices[place] == index:
                    yield square
                    place += 1
        for index in indices[place:]:
            yield _stand_in(info, shaper, picture, shown, index)


def _stand_in(info: VideoInfo, shaper: Shaper, picture: Any, shown: int, wanted: int) -> np.ndarray:
    """The picture shown before a frame that never came out, if it is not long before."""
    if picture is None:
        raise UnreadableVideo(f"{info.path.name}: no frame could be decoded")
    if info.times_s[wanted] - info.times_s[shown] > LOST_S:
        raise UnreadableVideo(
            f"{info.path.name}: no frame can be decoded between {info.times_s[shown]:.2f} and "
            f"{info.times_s[wanted]:.2f} of {info.duration_s:.2f} s"
        )
    return shaper.square(picture)
