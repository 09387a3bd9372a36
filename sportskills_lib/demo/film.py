"""Frames into files: H.264 in mp4, written whole or not at all, with a size that tells nothing
of its content.
"""

from __future__ import annotations

import functools
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from fractions import Fraction
from itertools import chain
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np

from sportskills_lib.demo.lessons import DemoLesson, find_skill
from sportskills_lib.demo.render import Appearance, render_shot
from sportskills_lib.demo.settings import DemoConfig, generator
from sportskills_lib.demo.skills import Skill
from sportskills_lib.runs.worker_pool import Value, map_shards

PRESET, CRF = "ultrafast", (26, 31)
BYTES_PER_PIXEL = 0.044  # above what these films need a frame at 128 px, at the finest quality they are drawn with
PADDING = (1.0, 1.5)
ERROR_PAGE = "<html><body>429 Too Many Requests</body></html>\n"


def film_all(
    film: Callable[[Any], Value], tasks: Sequence[tuple[Path, Any, DemoConfig]], label: str
) -> None:
    """Call ``film`` for every task (target, item, config) in the config's worker processes;
    RuntimeError names a film that could not be written.
    """
    workers = tasks[0][2].workers if tasks else 0
    one_thread = functools.partial(cv2.setNumThreads, 1)
    for result in map_shards(
        film,
        tasks,
        workers=workers,
        describe=lambda task: task[0].name,
        prepare=one_thread,
        label=label,
    ):
        if result.reason:
            raise RuntimeError(f"{label}: {result.name} {result.reason}: {result.detail}")


def write_video(
    path: Path,
    shots: Iterable[np.ndarray],
    *,
    config: DemoConfig,
    crf: int,
    padding: float,
    name: str,
    defect: str | None = None,
) -> None:
    """Encode shots (uint8 [T, H, W, 3], RGB) one after another into ``path``; damage the file as
    ``defect`` says (``lessons.DEFECTS``).

    The file is filled up with an empty box to ``padding`` times the bytes that any film of its length may take: busy
    movements would else make larger files, and a file's size would tell the skill. One encoder thread: the same frames
    give the same bytes on any number of cores.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    partial, frames = path.with_suffix(".partial"), 0
    with av.open(str(partial), "w", format="mp4", options={"fflags": "+bitexact"}) as container:
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
        for image in chain.from_iterable(shots):
            planes = cv2.cvtColor(image, cv2.COLOR_RGB2YUV_I420)
            frame = av.VideoFrame.from_ndarray(planes, format="yuv420p")
            frame.pts, frame.time_base = frames, Fraction(1, config.fps)
            container.mux(stream.encode(frame))
            frames += 1
        container.mux(stream.encode())
    bound = BYTES_PER_PIXEL * (128 / config.size_px) ** 0.7
    _pad(partial, round(frames * config.size_px**2 * bound * padding), name)
    if defect == "truncated":
        os.truncate(partial, partial.stat().st_size // 3)
    elif defect in ("empty", "text"):
        partial.write_text(ERROR_PAGE if defect == "text" else "")
    partial.replace(path)


def _pad(path: Path, size: int, name: str) -> None:
    """Grow an mp4 to ``size`` bytes with a ``free`` box, which every reader skips."""
    missing = size - path.stat().st_size
    if missing >= 8:
        filler = generator(0, "padding", name).bytes(16) * (missing // 16 + 1)
        with path.open("ab") as file:
            file.write(missing.to_bytes(4, "big") + b"free" + filler[: missing - 8])


def _altered(shot: np.ndarray, lesson: DemoLesson, size_px: int) -> np.ndarray:
    """What a re-upload does to the pictures: nothing, for an original."""
    if lesson.mirrored:
        shot = np.ascontiguousarray(shot[:, :, ::-1])
    if lesson.brightness != 1.0:
        shot = np.clip(shot * np.float32(lesson.brightness), 0, 255).astype(np.uint8)
    if lesson.scale_px:
        side, full = (lesson.scale_px,) * 2, (size_px,) * 2
        small = [cv2.resize(image, side, interpolation=cv2.INTER_AREA) for image in shot]
        shot = np.stack([cv2.resize(image, full) for image in small])
    return shot


def lesson_shots(lesson: DemoLesson, config: DemoConfig) -> Iterator[np.ndarray]:
    """A lesson's shots, with hard cuts or with each shot fading in from the one before. A re-upload shows what its
    original shows.
    """
    skill, look = find_skill(lesson.sport, lesson.skill), lesson.duplicate_of or lesson.video_id
    before: np.ndarray | None = None
    for number, segment in enumerate(lesson.segments):
        rng = generator(config.seed, "render", look, number)
        shown, appearance = segment.execution or segment.picture, Appearance.draw(rng)
        shot = render_shot(shown, skill, appearance, rng, segment.frames, config)
        if before is not None:
            for frame in range(lesson.dissolve):
                share = (frame + 1) / (lesson.dissolve + 1)
                shot[frame] = cv2.addWeighted(shot[frame], share, before, 1 - share, 0)
        before = shot[-1].copy()
        yield _altered(shot, lesson, config.size_px)


def write_take(
    path: Path,
    skill: Skill,
    parts: Sequence[tuple[str | None, int]],
    config: DemoConfig,
    *,
    name: str,
    look: str,
    rng: np.random.Generator,
) -> None:
    """Film somebody standing about (execution None) and trying the skill, in the same clothes and
    place: those of ``look``; the file's quality and size come from ``rng`` and ``name``.
    """
    crf, padding = int(rng.integers(*CRF)), float(rng.uniform(*PADDING))
    appearance = Appearance.draw(generator(config.seed, "take", look))
    shots = (
        render_shot(
            shown or "talk", skill, appearance, generator(config.seed, "take", look, i), n, config
        )
        for i, (shown, n) in enumerate(parts)
    )
    write_video(path, shots, config=config, crf=crf, padding=padding, name=name)
