"""What a file is: its frames' times, size, rotation, and which reader may stream it."""

from __future__ import annotations

import importlib
import os
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

Reader = Literal["auto", "decord", "pyav"]
SUFFIXES = frozenset(
    [
        ".mp4",
        ".mkv",
        ".webm",
        ".mov",
        ".m4v",
        ".avi",
        ".flv",
        ".mpg",
        ".mpeg",
        ".ts",
        ".3gp",
        ".gif",
        ".ogv",
        ".wmv",
    ]
)
EASY_FORMATS = ("yuv420p", "yuvj420p")  # what decord converts with the right colours
EPSILON_S = 1e-4  # containers round times
LONGEST_STILL_S = 600.0  # no film shows one picture longer; stamps that say so are broken
LONG_S = 3600.0  # of a film longer than this,
SLOWEST_S = 30.0  # a frame stands no longer on average
PICTURES = (".jpg", ".jpeg")  # whose folder is a film
PICTURES_HZ = 30.0  # of such a folder: picture n is on screen from n / 30 s


class UnreadableVideo(ValueError):
    """The file cannot be read as video; the message says why."""


class OutsideVideo(ValueError):
    """A time was asked for that the video does not have: a mistake of the caller's, not of the
    file.
    """


@dataclass(frozen=True)
class VideoInfo:
    """What :func:`probe` found. Size is as displayed; ``times_s`` are the presentation times of all
    frames.
    """

    path: Path
    duration_s: float
    fps: float
    width_px: int
    height_px: int
    codec: str
    rotation_deg: int  # counter-clockwise turn that makes the picture upright: 0, 90, 180, 270
    reader: Literal["decord", "pyav"]  # who streams it
    times_s: np.ndarray
    start_s: float  # the stream's own time at which playback starts, which becomes zero
    why: str = ""  # why this reader
    key_frames: int = 0

    def frames_at(self, times_s: np.ndarray) -> np.ndarray:
        """Numbers of the frames on screen at these times; before the first it is the first."""
        return np.maximum(np.searchsorted(self.times_s, times_s + EPSILON_S, side="right") - 1, 0)


def load_decoders() -> None:
    """Import what reads pictures, before a worker's first file: on a cold disk that alone may take
    a file's time.
    """
    for name in ("av", "av.video.reformatter", "cv2"):
        with suppress(ImportError, OSError):  # who needs it will say so
            importlib.import_module(name)
    with suppress(ImportError, OSError):
        import_decord()


def import_decord() -> Any:
    """The module decord, without the CUDA libraries that decord2 would load into the process.

    decord2 opens every library of the installed `nvidia-*` packages, for other modules to see, too.
    One of them is NVBLAS, which replaces the processor's BLAS: torch then crashes in its first
    matrix product. We decode on the processor, so the packages are hidden while it is imported.
    """
    hidden = sys.modules.get("nvidia")
    sys.modules["nvidia"] = None  # type: ignore[assignment]  # find_spec then finds nothing
    try:
        return importlib.import_module("decord")
    finally:
        del sys.modules["nvidia"]
        if hidden is not None:
            sys.modules["nvidia"] = hidden


@contextmanager
def decoder_errors(path: Path) -> Iterator[None]:
    """Whatever a decoder raises becomes UnreadableVideo with the file's name."""
    try:
        yield
    except (UnreadableVideo, OutsideVideo):
        raise
    except Exception as error:
        text = " ".join(str(error).replace(str(path), path.name).split())[:120]
        raise UnreadableVideo(
            f"{path.name} cannot be read as video ({type(error).__name__}: {text})"
        ) from error


def open_video(path: Path, *, threads: int = 1) -> tuple[Any, Any]:
    """The container and its video stream.

    With more than one decoding thread any damage is an error, since damage is patched otherwise by
    several threads.
    """
    import av

    av.logging.set_level(None)
    container = av.open(str(path))
    stream = container.streams.best("video")
    if stream is None:
        container.close()
        raise UnreadableVideo(
            f"{path.name} has no video stream: download it again with its pictures"
        )
    stream.codec_context.thread_count = threads
    if threads > 1:
        stream.codec_context.thread_type = "AUTO"
        stream.codec_context.options = {"err_detect": "explode"}
    return container, stream


def pixel_aspect(stream: Any) -> float:
    """Width of a pixel over its height; 1 where it is 1 but for rounding."""
    aspect = float(stream.sample_aspect_ratio or 1)
    return aspect if abs(aspect - 1) > 0.01 else 1.0


def turn_of(frame: Any) -> int:
    """The frame's rotation in degrees: 0, 90, 180 or 270 counter-clockwise makes it upright."""
    return round(getattr(frame, "rotation", 0) / 90) * 90 % 360


def probe(path: str | os.PathLike[str], *, reader: Reader = "auto") -> VideoInfo:
    """What the file is, from its packets and its first frame; a folder is a film of its numbered
    pictures.

    UnreadableVideo when there is nothing to show, or when its stamps cannot be true
    (:func:`_check_stamps`).
    """
    path = Path(path)
    if path.is_dir():
        return _probe_pictures(path)
    with decoder_errors(path):
        container, stream = open_video(path)
        with container:
            packets = [
                (float(packet.pts * packet.time_base), packet.is_keyframe)
                for packet in container.demux(stream)
                if packet.pts is not None and not packet.is_discard
            ]
            if not packets:
                raise UnreadableVideo(
                    f"{path.name} has no frames: it is empty or its download was cut short"
                )
            stamps = np.sort([stamp for stamp, _ in packets])
            start_s = min((container.start_time or 0) / 1e6, float(stamps[0]))
            times_s = stamps - start_s
            _check_stamps(path, times_s)
            frame_s = float(np.median(np.diff(times_s))) if len(times_s) > 1 else 0.04
            container.seek(0)
            frame = next(container.decode(stream))
            rotation, aspect = turn_of(frame), pixel_aspect(stream)
            width, height = max(1, round(frame.width * aspect)), frame.height
            codec, average = stream.codec_context.name, float(stream.average_rate or 0)
        obstacle = (
            _obstacle(path, frame.format.name, rotation, aspect, times_s)
            if reader == "auto"
            else ""
        )
        chosen: Literal["decord", "pyav"] = "pyav" if reader == "pyav" or obstacle else "decord"
        return VideoInfo(
            path=path,
            duration_s=float(times_s[-1]) + frame_s,
            fps=average
            if abs(average * frame_s - 1) < 0.02
            else min(1 / max(frame_s, 1e-3), 1000.0),
            width_px=height if rotation % 180 else width,
            height_px=width if rotation % 180 else height,
            codec=codec,
            rotation_deg=rotation,
            reader=chosen,
            times_s=times_s,
            start_s=start_s,
            why=obstacle
            or ("as asked" if reader != "auto" else "decord lists the container's own frame times"),
            key_frames=sum(key for _, key in packets),
        )


def numbered_pictures(folder: Path) -> dict[int, Path]:
    """The pictures of a folder by the number at the end of their names, in its order. Hidden files
    are passed over; UnreadableVideo when there is none, or when two have one number.
    """
    found: dict[int, Path] = {}
    for path in folder.iterdir():
        number = re.search(r"[0-9]{1,12}$", path.stem)
        if not number or path.suffix.lower() not in PICTURES or path.name.startswith("."):
            continue
        if found.setdefault(int(number[0]), path) != path:
            raise UnreadableVideo(f"{folder.name} has two pictures {int(number[0])}: remove one")
    if not found:
        raise UnreadableVideo(f"{folder.name} is a folder without numbered .jpg pictures")
    return dict(sorted(found.items()))


def _probe_pictures(folder: Path) -> VideoInfo:
    """A folder as a film: the number of a picture says its time, so that missing ones move none."""
    with decoder_errors(folder):
        pictures = numbered_pictures(folder)
        times_s = np.array([*pictures]) / PICTURES_HZ
        _check_stamps(folder, times_s)
        container, stream = open_video(next(iter(pictures.values())))
        with container:
            frame, codec = next(container.decode(stream)), stream.codec_context.name
    return VideoInfo(
        path=folder,
        duration_s=float(times_s[-1]) + 1 / PICTURES_HZ,
        fps=PICTURES_HZ,
        width_px=frame.width,
        height_px=frame.height,
        codec=codec,
        rotation_deg=0,
        reader="pyav",
        times_s=times_s,
        start_s=0.0,
        why="a folder of pictures",
        key_frames=len(pictures),
    )


def _check_stamps(path: Path, times_s: np.ndarray) -> None:
    """UnreadableVideo for frames spread over a time that no film lasts.

    A broken stamp among a few frames makes a day of video out of a second: whoever looks at such a
    film at an even rate works for hours on copies of one picture.
    """
    ends_s = np.concatenate([[0.0], times_s])
    widest = int(np.argmax(np.diff(ends_s)))
    if (gap_s := ends_s[widest + 1] - ends_s[widest]) > LONGEST_STILL_S:
        what = f"no frame from {ends_s[widest]:.0f} to {ends_s[widest + 1]:.0f} s ({gap_s:.0f} s)"
    elif times_s[-1] > LONG_S and times_s[-1] > SLOWEST_S * len(times_s):
        what = f"{len(times_s)} frames in {times_s[-1]:.0f} s"
    else:
        return
    raise UnreadableVideo(
        f"{path.name} has {what}: its time stamps are broken; download it again, or remux it"
    )


def _obstacle(path: Path, pixels: str, rotation: int, aspect: float, times_s: np.ndarray) -> str:
    """Why decord may not stream this file; empty if it opens the file and lists exactly the
    container's frames.

    decord ignores edit lists and rotation, and picks its own stream.
    """
    if pixels not in EASY_FORMATS:
        return f"decord is not trusted with {pixels}"
    if rotation:
        return f"decord ignores the rotation by {rotation} degrees"
    if aspect != 1:
        return f"decord ignores the pixels' aspect of {aspect:.3f}"
    try:
        decord = import_decord()
        reader = decord.VideoReader(str(path), ctx=decord.cpu(0), num_threads=1)
        if len(reader) != len(times_s):
            return f"decord lists {len(reader)} frames of {len(times_s)}"
        stamps = reader.get_frame_timestamp(range(len(reader)))[:, 0]
    except Exception:
        return "decord cannot open it"
    error_s = float(np.abs((stamps - stamps[0]) - (times_s - times_s[0])).max())
    return f"decord's frame times are {error_s:.3f} s off" if error_s > 2e-3 else ""
