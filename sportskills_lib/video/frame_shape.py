"""From a decoder's picture to the square that models see: scaled, turned upright, letterboxed."""

from __future__ import annotations

from typing import Any

import numpy as np

from sportskills_lib.video.probe import turn_of


def inner_size(width_px: int, height_px: int, size_px: int) -> tuple[int, int]:
    """Width and height of the picture inside its square."""
    scale = size_px / max(width_px, height_px)
    return max(1, round(width_px * scale)), max(1, round(height_px * scale))


def square(frame: np.ndarray, size_px: int) -> np.ndarray:
    """The picture in the middle of a black square: uint8 [size_px, size_px, 3]."""
    height, width = frame.shape[:2]
    if height == width == size_px:
        return frame
    whole = np.zeros((size_px, size_px, 3), np.uint8)
    top, left = (size_px - height) // 2, (size_px - width) // 2
    whole[top : top + height, left : left + width] = frame
    return whole


class Shaper:
    """Makes squares of one video's decoded frames.

    One scaler is kept for all frames: a frame's own ``reformat`` builds the filter anew each time,
    and starts threads. Colours follow the frame's own matrix and range (BT.601 limited where the
    file does not say).
    """

    def __init__(self, size_px: int, aspect: float):
        from av.video.reformatter import Interpolation, VideoReformatter

        self.size_px, self.aspect = size_px, aspect
        self.scaler, self.filter = (
            VideoReformatter(),
            Interpolation.BILINEAR,
        )  # a triangle over all source pixels

    def square(self, frame: Any) -> np.ndarray:
        """The frame upright in its square: uint8 [size_px, size_px, 3]."""
        turn, width = turn_of(frame), max(1, round(frame.width * self.aspect))
        upright = (frame.height, width) if turn % 180 else (width, frame.height)
        inner = inner_size(*upright, self.size_px)
        width, height = inner[::-1] if turn % 180 else inner
        small = self.scaler.reformat(
            frame, width=width, height=height, format="rgb24", interpolation=self.filter, threads=1
        )
        return square(np.rot90(small.to_ndarray(), turn // 90), self.size_px)
