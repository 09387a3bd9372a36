"""Cuts and motion: a swing moves, a still scene, a flicker and a pan do not."""

from __future__ import annotations

import numpy as np
import pytest
from films import shot

from sportskills_lib.pairing import camera_motion, rules_judge


def still(seed: int, count: int = 30) -> np.ndarray:
    return shot(seed, count, moves=False, size_px=64)


def pan(count: int = 30, step_px: int = 2) -> np.ndarray:
    """A camera that moves over a large, smooth scene."""
    rng = np.random.default_rng(5)
    wide = np.kron(rng.integers(60, 200, (9, 18, 3)), np.ones((16, 16, 1))).astype(np.float32)
    for _ in range(3):
        wide = (
            wide
            + np.roll(wide, 3, 0)
            + np.roll(wide, 3, 1)
            + np.roll(wide, -3, 0)
            + np.roll(wide, -3, 1)
        ) / 5
    return np.stack(
        [wide[20:84, 10 + i * step_px : 74 + i * step_px] for i in range(count)]
    ).astype(np.uint8)


def test_cuts_are_where_scenes_change_and_nowhere_else() -> None:
    film = np.concatenate([shot(seed, 25, moves=seed % 2 == 0, size_px=64) for seed in range(6)])
    whole = camera_motion.changes(film)
    assert camera_motion.find_cuts(whole, 10) == [
        (25, 25),
        (50, 50),
        (75, 75),
        (100, 100),
        (125, 125),
    ]
    parts = [camera_motion.changes(film[:40]), camera_motion.changes(film[40:], film[39])]
    np.testing.assert_allclose(np.concatenate(parts), whole)
    assert camera_motion.find_cuts(camera_motion.changes(pan()), 10) == []


def test_a_swing_moves_and_a_still_scene_does_not() -> None:
    swing = camera_motion.measure(shot(3, 30, moves=True, size_px=64))
    noise = np.random.default_rng(0).integers(-4, 5, (30, 64, 64, 3))
    flicker = np.clip(still(3).astype(int) + noise, 0, 255).astype(np.uint8)
    assert rules_judge.motion_log_odds(swing.moved) > 1
    assert rules_judge.motion_log_odds(camera_motion.measure(flicker).moved) < -3
    assert camera_motion.measure(still(3)).moved == 0


def test_a_slow_pan_over_a_soft_scene_moves_little() -> None:
    assert (
        camera_motion.measure(pan()).moved
        < camera_motion.measure(shot(3, 30, moves=True, size_px=64)).moved / 2
    )


def test_letterbox_bars_do_not_make_motion_smaller() -> None:
    wide = shot(3, 30, moves=True, size_px=64)
    barred = np.zeros_like(wide)
    barred[:, 16:48] = wide[:, ::2]
    assert camera_motion.measure(barred).moved == pytest.approx(
        camera_motion.measure(wide).moved, rel=0.35
    )


def test_too_few_frames_show_nothing() -> None:
    assert camera_motion.measure(still(1, 2)) == camera_motion.CameraMotion(0, 0, 0)
