"""Boundaries: cuts and dissolves at the exact frame, in whatever batches the frames come."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from films import shot, write_film

from sportskills_lib import video
from sportskills_lib.pairing import camera_motion, video_pass


def boundaries(frames: np.ndarray, batch: int) -> list[tuple[int, int]]:
    finder = camera_motion.ShotFinder(10, 64, 64)
    for first in range(0, len(frames), batch):
        finder.look(frames[first : first + batch])
    return finder.boundaries()


def test_cuts_and_dissolves_whatever_the_batches() -> None:
    scenes = [shot(seed, 25, moves=True, size_px=64) for seed in range(4)]
    mixes = [
        (np.float32(1 - part) * scenes[2][-1] + np.float32(part) * scenes[3][0])
        for part in (0.3, 0.7)
    ]
    film = np.concatenate([*scenes[:3], np.stack(mixes).astype(np.uint8), scenes[3]])
    assert boundaries(film, 64) == [(25, 25), (50, 50), (75, 77)]
    assert boundaries(film, 7) == boundaries(film, 64)
    assert boundaries(film[:0], 7) == boundaries(shot(1, 30, moves=True, size_px=64), 7) == []


def test_a_clip_begins_with_its_own_shot_at_a_rate_above_the_grids(tmp_path: Path) -> None:
    frames = np.concatenate(
        [shot(seed, 50, moves=True) for seed in range(3)]
    )  # cuts at 2 s and 4 s, off the 10 Hz grid
    frames = np.concatenate([frames[:47], frames[50:]])
    path = write_film(tmp_path / "film.mp4", frames, fps=25)
    film = video_pass._Film(video.probe(path), 10.0, 64)
    assert np.allclose(film.cuts_s(), [(1.88, 1.88), (3.88, 3.88)], atol=0.005)


def test_a_letterbox_does_not_hide_a_cut(tmp_path: Path) -> None:
    frames = np.concatenate([shot(seed, 30, moves=False)[:, 24:72] for seed in range(2)])
    film = video_pass._Film(video.probe(write_film(tmp_path / "wide.mp4", frames)), 10.0, 64)
    assert np.allclose(film.cuts_s(), [(3.0, 3.0)])
