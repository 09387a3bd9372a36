"""What a clip looks like, small enough to compare with every other: a signature, and an outline of
it.

A *signature* is the clip at an even rate, 16 x 16 grey, black bars cut off: uint8 [T, 16, 16], 256
bytes a picture. Two of them are compared under every shift in time, so that a copy that begins 1.3
s later still matches; what stands still and what moves must both agree, so that a shared studio is
no copy. An *outline* tells where it is bright and where it moves, whatever the shift: float16
[128]. It finds the candidates that are worth comparing.

Brightness, contrast, size and the quality of encoding hardly count: pictures are reduced by area,
centred and compared by angle. What costs likeness: a copy that begins between two pictures of the
original (0.6 to 0.95 for quick movements looked at 10 times a second), black bars added (0.7 to
0.8), very low quality (0.85 and up). Two takes of one movement by one athlete in one place reach
0.9. A changed speed, or a picture cut to another part of the scene, is not found.
"""

from __future__ import annotations

from typing import NamedTuple

import cv2
import numpy as np

from sportskills_lib.pairing.camera_motion import cut_bars

SIDE, OUTLINE_SIDE = 16, 8
OUTLINE = 2 * OUTLINE_SIDE**2
MIN_OVERLAP = 0.5  # of the shorter clip: a shorter overlap is compared with nothing
MIN_FRAMES = 8  # and at least so many pictures
DARK = 16  # grey level up to which a pixel may be a black bar


class SignatureMatch(NamedTuple):
    """How alike two clips are at the best shift: cosine 0 … 1 of what agrees least, whether one is
    mirrored, and how many pictures later the first clip's beginning is found in the second.
    """

    similarity: float
    mirrored: bool
    shift: int


def make_signature(frames: np.ndarray) -> np.ndarray:
    """The signature uint8 [T, 16, 16] of frames uint8 [T, S, S, 3] at an even rate."""
    grey = np.stack(
        [cv2.cvtColor(np.ascontiguousarray(frame), cv2.COLOR_RGB2GRAY) for frame in frames]
    )
    return np.stack(
        [
            cv2.resize(image, (SIDE, SIDE), interpolation=cv2.INTER_AREA)
            for image in cut_bars(grey, DARK)
        ]
    )


def outline(signature: np.ndarray) -> np.ndarray:
    """Where the clip is bright and where it moves: float16 [128], two halves of equal length, of
    length 1 together.
    """
    pictures = signature.astype(np.float32)
    bright = cv2.resize(
        pictures.mean(axis=0), (OUTLINE_SIDE, OUTLINE_SIDE), interpolation=cv2.INTER_AREA
    )
    moves = cv2.resize(
        pictures.std(axis=0), (OUTLINE_SIDE, OUTLINE_SIDE), interpolation=cv2.INTER_AREA
    )
    parts = np.stack([(part - part.mean()).ravel() for part in (bright, moves)])
    norms = np.maximum(np.linalg.norm(parts, axis=1, keepdims=True), 1e-6)
    return (parts / norms / np.sqrt(2)).ravel().astype(np.float16)


def mirror_outlines(outlines: np.ndarray) -> np.ndarray:
    """Outlines [N, 128] of the same clips seen in a mirror."""
    return outlines.reshape(len(outlines), 2, OUTLINE_SIDE, OUTLINE_SIDE)[..., ::-1].reshape(
        len(outlines), -1
    )


def compare(one: np.ndarray, other: np.ndarray) -> SignatureMatch:
    """The best likeness of two signatures over all shifts, as they are and with ``other``
    mirrored.
    """
    plain = _best_shift(one, other)
    turned = _best_shift(one, other[:, :, ::-1])
    best = max(plain, turned)
    return SignatureMatch(round(best[0], 4), turned > plain, best[1])


def _best_shift(one: np.ndarray, other: np.ndarray) -> tuple[float, int]:
    """The highest similarity and its shift; (0, 0) where no shift lets enough overlap."""
    a, b = _centred(one), _centred(other)
    n, m = len(a), len(b)
    needed = max(MIN_FRAMES, int(np.ceil(MIN_OVERLAP * min(n, m))))
    shifts = np.arange(needed - n, m - needed + 1)
    if min(n, m) < needed:
        return 0.0, 0
    first_a, first_b = np.maximum(-shifts, 0), np.maximum(shifts, 0)
    length = np.minimum(n - first_a, m - first_b)
    sum_a, square_a = _sums(a, first_a, length)
    sum_b, square_b = _sums(b, first_b, length)
    lag = (
        np.arange(m)[None, :] - np.arange(n)[:, None] + n - 1
    )  # frames that meet at a shift have this lag
    met = np.bincount(lag.ravel(), weights=(a @ b.T).ravel(), minlength=n + m - 1)[shifts + n - 1]
    common = (sum_a * sum_b).sum(axis=1)
    length_a, length_b = (sum_a**2).sum(axis=1), (sum_b**2).sum(axis=1)
    still = common / np.sqrt(np.maximum(length_a * length_b, 1e-6))
    spread = np.maximum(square_a - length_a / length, 1e-3) * np.maximum(
        square_b - length_b / length, 1e-3
    )
    similarity = np.minimum(still, (met - common / length) / np.sqrt(spread))
    best = int(similarity.argmax())
    return float(np.clip(similarity[best], 0.0, 1.0)), int(shifts[best])


def _centred(signature: np.ndarray) -> np.ndarray:
    pictures = signature.reshape(len(signature), -1).astype(np.float64)
    return pictures - pictures.mean(axis=1, keepdims=True)


def _sums(
    pictures: np.ndarray, first: np.ndarray, length: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """For each run of pictures: their sum [K, D], and the sum of their squared lengths [K]."""
    total = np.concatenate([np.zeros((1, pictures.shape[1])), np.cumsum(pictures, axis=0)])
    squares = np.concatenate([[0.0], np.cumsum((pictures**2).sum(axis=1))])
    return total[first + length] - total[first], squares[first + length] - squares[first]
