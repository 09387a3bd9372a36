"""Small films and lesson folders that tests make for themselves, and where the real footage is."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

REAL = Path(
    os.environ.get("SPORTSKILLS_REAL_DATA")
    or Path(__file__).resolve().parents[2] / "shared" / "real"
)
needs_real = pytest.mark.skipif(
    not REAL.is_dir(), reason=f"REAL FOOTAGE MISSING: {REAL} (set SPORTSKILLS_REAL_DATA)"
)


def write_pictures(folder: Path, numbers: Iterable[int]) -> Path:
    """A folder of pictures as EgoExo-Fitness names them, 32 x 24 px; picture n has the grey 2 n
    modulo 256.
    """
    import cv2

    folder.mkdir(parents=True, exist_ok=True)
    for n in numbers:
        grey = np.full((24, 32, 3), 2 * n % 256, np.uint8)
        cv2.imwrite(str(folder / f"frame_{n:010d}.jpg"), grey)
    return folder


def write_film(
    path: Path,
    frames: np.ndarray,
    *,
    fps: float = 10,
    times_s: list[float] | None = None,
    options: dict[str, str] | None = None,
    codec: str = "libx264",
    pixels: str = "yuv420p",
) -> Path:
    """Encode uint8 [T, H, W, 3] as H.264; ``times_s`` gives each frame's own time (variable
    rate).
    """
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=Fraction(fps).limit_denominator(1000))
        stream.height, stream.width = frames.shape[1:3]
        stream.pix_fmt = pixels
        stream.options = {"crf": "12", "preset": "veryfast"} | (options or {})
        stream.codec_context.time_base = stream.time_base = Fraction(1, 1000)
        for i, image in enumerate(frames):
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(image), format="rgb24")
            frame.pts = round(1000 * (times_s[i] if times_s else i / fps))
            frame.time_base = Fraction(1, 1000)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


def grey_steps(count: int, size_px: int = 64) -> np.ndarray:
    """Frames that tell their number by their grey: 20, 25, 30 …"""
    levels = np.arange(count, dtype=np.uint8) * 5 + 20
    return np.broadcast_to(levels[:, None, None, None], (count, size_px, size_px, 3)).copy()


def shot(seed: int, count: int, *, moves: bool, size_px: int = 96) -> np.ndarray:
    """A scene of its own colours in which a bar swings, or in which nothing happens."""
    rng = np.random.default_rng(seed)
    scene = np.kron(
        rng.integers(60, 200, (4, 4, 3)), np.ones((size_px // 4, size_px // 4, 1))
    ).astype(np.uint8)
    frames = np.repeat(scene[None], count, axis=0)
    bar, dark = size_px // 6, rng.integers(0, 40)
    for i in range(count):
        phase = (i / count + seed * 0.37) if moves else seed * 0.37
        x = int((size_px - bar) * (0.5 + 0.45 * np.sin(2 * np.pi * phase)))
        y = int(size_px * (0.35 + 0.2 * np.cos(4 * np.pi * phase)))
        frames[i, y : y + size_px // 3, x : x + bar] = dark
    return frames


def stamp(seconds: float) -> str:
    milliseconds = round(seconds * 1000)
    return f"{milliseconds // 3600000:02d}:{milliseconds // 60000 % 60:02d}:{milliseconds % 60000 / 1000:06.3f}"


def write_lesson(
    folder: Path,
    video_id: str,
    shots: list[tuple[str, bool]],
    *,
    channel: str = "UCone",
    sport: str = "tennis",
    skill: str = "serve",
    seed: int = 0,
    upload_date: str = "20240101",
    mirrored: bool = False,
    crf: int = 20,
) -> Path:
    """A lesson in yt-dlp's layout: shots of three seconds, each with its words and whether
    something moves.
    """
    folder.mkdir(parents=True, exist_ok=True)
    frames = np.concatenate([shot(seed + i, 30, moves=moves) for i, (_, moves) in enumerate(shots)])
    if mirrored:
        frames = frames[:, :, ::-1]
    write_film(folder / f"{video_id}.mp4", frames, options={"crf": str(crf)})
    info = {
        "id": video_id,
        "title": f"{skill} explained",
        "channel_id": channel,
        "duration": 3.0 * len(shots),
        "language": "en",
        "upload_date": upload_date,
        "tags": [sport, skill],
        "playlist_title": (f"{sport} {skill} tutorial"),
        "subtitles": {"en": []},
        "automatic_captions": {},
    }
    (folder / f"{video_id}.info.json").write_text(json.dumps(info))
    cues = [
        f"{stamp(3 * i + 0.3)} --> {stamp(3 * i + 2.6)}\n{text}"
        for i, (text, _) in enumerate(shots)
        if text
    ]
    (folder / f"{video_id}.en.vtt").write_text("WEBVTT\n\n" + "\n\n".join(cues) + "\n")
    return folder / f"{video_id}.mp4"
