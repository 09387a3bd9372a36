"""What moves in a stretch of video: differences between frames, shot boundaries, and how much of the picture moves.

Arrays: frames uint8 [T, S, S, 3] at an even rate, as :func:`sportskills_lib.video.stream_frames` gives them; grey
float32 [T, h, w] without letterbox bars.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import cv2
import numpy as np

SIDE_PX = 64  # motion is measured at this size, whatever size is kept
CUT_LEVEL = 5.0  # grey levels by which a picture changes, on average, at a shot boundary
CUT_RATIO = 3.0  # and how many times what changes around it
CUT_AROUND_S = 0.6
MOVING_LEVEL = 15.0  # grey levels by which a pixel changes when something moves across it
CAMERA_SHARE = 0.3  # share of moving pixels from which the camera itself may move


@dataclass(frozen=True)
class Motion:
    """``moved``: share of the picture that something moved across; ``energy``: mean change a step, in grey levels;
    ``camera``: share of the change that one shift of the whole picture explains."""

    moved: float
    energy: float
    camera: float


def to_grey(frames: np.ndarray) -> np.ndarray:
    """Grey, slightly blurred float32 [T, h, w], at most ``SIDE_PX`` high and wide, letterbox bars cut off."""
    cv2.setNumThreads(1)
    grey = np.empty((len(frames), SIDE_PX, SIDE_PX), np.float32)
    for i, frame in enumerate(frames):
        image = cv2.cvtColor(np.ascontiguousarray(frame), cv2.COLOR_RGB2GRAY)
        if image.shape != (SIDE_PX, SIDE_PX):
            image = cv2.resize(image, (SIDE_PX, SIDE_PX), interpolation=cv2.INTER_AREA)
        grey[i] = cv2.GaussianBlur(image, (3, 3), 0)
    lit = grey.max(axis=0) > 8 if len(grey) else np.ones((SIDE_PX, SIDE_PX), bool)
    rows, columns = np.flatnonzero(lit.mean(axis=1) > 0.1), np.flatnonzero(lit.mean(axis=0) > 0.1)
    if len(rows) < 8 or len(columns) < 8:
        return grey
    return grey[:, rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]


def changes(frames: np.ndarray, before: np.ndarray | None = None) -> np.ndarray:
    """Mean absolute change of colour between each frame and the one before it, in levels: float32 [T].

    ``before`` is the frame before the first; without it the first change is 0. Pictures are compared at 16 x 16, so
    that a moving limb counts little and a new scene much.
    """
    small = np.stack([cv2.resize(frame, (16, 16), interpolation=cv2.INTER_AREA) for frame in frames]).astype(np.float32)
    if before is None:
        first = small[:1]
    else:
        first = cv2.resize(before, (16, 16), interpolation=cv2.INTER_AREA)[None].astype(np.float32)
    return np.abs(np.diff(small, axis=0, prepend=first)).mean(axis=(1, 2, 3))


def find_cuts(change: np.ndarray, rate_hz: float) -> np.ndarray:
    """Indices of the first frames of new shots: they change the whole picture, far more than the steps around them."""
    reach = max(2, round(CUT_AROUND_S * rate_hz))
    cuts = []
    for i in np.flatnonzero(change > CUT_LEVEL):
        around = np.concatenate([change[max(1, i - reach) : i], change[i + 1 : i + 1 + reach]])
        if len(around) == 0 or change[i] > CUT_RATIO * max(float(np.median(around)), 0.5):
            cuts.append(i)
    kept = [i for i in cuts if not any(abs(i - j) == 1 and change[j] > change[i] for j in cuts)]
    return np.asarray(kept, dtype=np.int64)


def measure(frames: np.ndarray) -> Motion:
    """How much moves in ``frames``. A moving camera is compensated first, so that a pan alone moves nothing."""
    if len(frames) < 3:
        return Motion(0.0, 0.0, 0.0)
    grey = to_grey(frames)
    change = np.abs(np.diff(grey, axis=0))
    energy = float(change.mean())
    camera = 0.0
    if (change > MOVING_LEVEL).mean() > CAMERA_SHARE / 3:
        steady = np.stack([_compensated(a, b) for a, b in itertools.pairwise(grey)])
        camera = max(0.0, 1 - float(steady.mean()) / max(energy, 1e-6))
        change = np.minimum(change, steady)
    moved = float(((change > MOVING_LEVEL).sum(axis=0) >= 2).mean())
    return Motion(round(moved, 4), round(energy, 4), round(camera, 4))


def _compensated(before: np.ndarray, after: np.ndarray) -> np.ndarray:
    """Change left between two pictures after the best common shift is undone."""
    (dx, dy), _ = cv2.phaseCorrelate(before, after)
    shift = np.array([[1, 0, dx], [0, 1, dy]], np.float32)
    moved = cv2.warpAffine(before, shift, before.shape[::-1], borderMode=cv2.BORDER_REPLICATE)
    return np.asarray(np.abs(after - moved))
