"""Small pictures of clips for a web page: animated WebP that loops, a few kB each, inlined as data.

Frames come from the stage's ``frames.npy`` (already decoded and small): no page ever loads a source
video.
"""

from __future__ import annotations

import io

import numpy as np
from numpy.typing import NDArray

Frames = NDArray[np.uint8]  # [T, H, W, 3]


def smaller(clip: Frames, *, side_px: int = 128, most: int = 8) -> Frames:
    """``clip`` with at most ``most`` frames, its longer side at most ``side_px``: what a small
    picture needs.
    """
    import cv2

    kept = clip[np.linspace(0, len(clip) - 1, min(most, len(clip))).round().astype(int)]
    height, width = kept.shape[1:3]
    share = side_px / max(height, width)
    if share >= 1:
        return kept
    size = max(1, round(width * share)), max(1, round(height * share))
    return np.stack([cv2.resize(frame, size, interpolation=cv2.INTER_AREA) for frame in kept])


def animation(
    clip: Frames, *, frames_per_s: float = 5.0, quality: int = 75, effort: int = 4
) -> bytes:
    """An animated WebP of ``clip`` that loops; the last frame is held a little, so that the loop is
    seen.
    """
    from PIL import Image

    pictures = [Image.fromarray(np.ascontiguousarray(frame)) for frame in clip]
    milliseconds = [round(1000 / frames_per_s)] * len(pictures)
    milliseconds[-1] *= 3
    file = io.BytesIO()
    options = {"duration": milliseconds, "loop": 0, "quality": quality, "method": effort, "kmax": 1}
    pictures[0].save(file, "WEBP", save_all=True, append_images=pictures[1:], **options)
    return file.getvalue()


def strip(clip: Frames, *, moments: int = 4, quality: int = 70) -> bytes:
    """A still WebP: ``moments`` frames, evenly spaced from the first to the last, side by side."""
    from PIL import Image

    chosen = clip[np.linspace(0, len(clip) - 1, min(moments, len(clip))).round().astype(int)]
    file = io.BytesIO()
    Image.fromarray(np.concatenate(list(chosen), axis=1)).save(
        file, "WEBP", quality=quality, method=4
    )
    return file.getvalue()
