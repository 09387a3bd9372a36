"""Frames into files: H.264 in mp4, written whole or not at all, with a size that tells nothing
of its content.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np

from sportskills_lib.demo.lessons import DemoLesson, DemoSegment, find_skill
from sportskills_lib.demo.render import Appearance, render_execution, render_idle
from sportskills_lib.demo.settings import DemoConfig, generator

PRESET, CRF = "ultrafast", (26, 31)
BYTES_PER_PIXEL = 0.044  # above what these films need a frame at 128 px, at the finest quality they are drawn with


def write_video(
    path: Path,
    shots: Iterable[np.ndarray],
    *,
    config: DemoConfig,
    crf: int,
    padding: float,
    name: str,
) -> None:
    """Encode shots (uint8 [T, H, W, 3], RGB) one after another into ``path``.

    The file is filled up with an empty box to ``padding`` times the bytes that any film of its length may take: busy
    movements would else make larger files, and a file's size would tell the skill. One encoder thread: the same frames
    give the same bytes on any number of cores.
    """
    frames = 0
    with av.open(str(path), "w", format="mp4", options={"fflags": "+bitexact"}) as container:
        stream = container.add_stream("libx264", rate=config.fps)
        stream.width = stream.height = config.size_px
        stream.pix_fmt, stream.thread_count = "yuv420p", 1
        stream.codec_context.time_base = Fraction(1, config.fps)
        stream.options = {
            "preset": PRESET,
            "crf": str(crf),
            "g": str(config.fps * 5),
            "threads": "1",
        }
        for shot in shots:
            for image in shot:
                planes = cv2.cvtColor(image, cv2.COLOR_RGB2YUV_I420)
                frame = av.VideoFrame.from_ndarray(planes, format="yuv420p")
                frame.pts, frame.time_base = frames, Fraction(1, config.fps)
                container.mux(stream.encode(frame))
                frames += 1
        container.mux(stream.encode())
    bound = BYTES_PER_PIXEL * (128 / config.size_px) ** 0.7
    _pad(path, round(frames * config.size_px**2 * bound * padding), name)


def _pad(path: Path, size: int, name: str) -> None:
    """Grow an mp4 to ``size`` bytes with a ``free`` box, which every reader skips."""
    missing = size - path.stat().st_size
    if missing >= 8:
        filler = generator(0, "padding", name).bytes(16)
        with path.open("ab") as file:
            file.write(
                missing.to_bytes(4, "big") + b"free" + (filler * (missing // 16 + 1))[: missing - 8]
            )


def render_segment(
    segment: DemoSegment, lesson: DemoLesson, number: int, config: DemoConfig
) -> np.ndarray:
    """What one shot shows: uint8 [T, H, W, 3]. A re-upload shows what its original shows."""
    rng = generator(config.seed, "render", lesson.render_id, number)
    size = {"frames": segment.frames, "fps": config.fps, "size_px": config.size_px}
    appearance = Appearance.draw(rng)
    if segment.execution is None:
        return render_idle(segment.picture, appearance, rng, **size)
    return render_execution(
        find_skill(lesson.sport, lesson.skill), segment.execution, appearance, rng, **size
    )


def reupload_effect(lesson: DemoLesson, config: DemoConfig) -> Callable[[np.ndarray], np.ndarray]:
    """What a re-upload does to the pictures: nothing, for an original."""

    def alter(shot: np.ndarray) -> np.ndarray:
        if lesson.mirrored:
            shot = np.ascontiguousarray(shot[:, :, ::-1])
        if lesson.brightness != 1.0:
            shot = np.clip(shot * np.float32(lesson.brightness), 0, 255).astype(np.uint8)
        if lesson.scale_px:
            small, full = (lesson.scale_px,) * 2, (config.size_px,) * 2
            shot = np.stack(
                [
                    cv2.resize(cv2.resize(image, small, interpolation=cv2.INTER_AREA), full)
                    for image in shot
                ]
            )
        return shot

    return alter


def lesson_shots(lesson: DemoLesson, config: DemoConfig) -> Iterator[np.ndarray]:
    """A lesson's shots, one after another, with hard cuts or with each shot fading in from the
    one before.
    """
    alter = reupload_effect(lesson, config)
    before: np.ndarray | None = None
    for number, segment in enumerate(lesson.segments):
        shot = render_segment(segment, lesson, number, config)
        if before is not None:
            for frame in range(lesson.dissolve):
                share = (frame + 1) / (lesson.dissolve + 1)
                shot[frame] = cv2.addWeighted(shot[frame], share, before, 1 - share, 0)
        before = shot[-1].copy()
        yield alter(shot)


def take_shots(
    sport: str, skill: str, name: str, parts: Sequence[tuple[str | None, int]], config: DemoConfig
) -> Iterable[np.ndarray]:
    """One learner, start to end: standing about (execution None) and trying the skill, in the
    same clothes and place.
    """
    appearance = Appearance.draw(generator(config.seed, "take", name))
    for number, (execution, frames) in enumerate(parts):
        rng = generator(config.seed, "take", name, number)
        size = {"frames": frames, "fps": config.fps, "size_px": config.size_px}
        if execution is None:
            yield render_idle("talk", appearance, rng, **size)
        else:
            yield render_execution(find_skill(sport, skill), execution, appearance, rng, **size)
