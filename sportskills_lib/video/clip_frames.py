"""The one way to choose a clip's frames: the middles of equal parts of its span.

02 leaves out the very edges of a lesson's clip (``INSET_S``), since the encoder of a video mixes
frames there with the next shot. A learner's span, in 04 and in `advise`, lies inside a take and is
read to its ends.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from sportskills_lib.video.frame_reader import read_frames
from sportskills_lib.video.probe import VideoInfo

INSET_S = 0.1  # frames at a clip's very edges are mixed with the next shot by the encoder
CUT_HZ = 30.0  # a cut is placed at one of the video's own frames, up to this rate


def inset_span(start_s: float, end_s: float) -> tuple[float, float]:
    """The span without its very edges, in seconds; of a short one an eighth is left out at most."""
    inset = min(INSET_S, (end_s - start_s) / 8)
    return start_s + inset, end_s - inset


def clip_times(start_s: float, end_s: float, count: int, *, inset: bool = False) -> np.ndarray:
    """``count`` times in the middle of equal parts of a span: both ends count alike.

    ``inset``: of the span without its very edges.
    """
    edge_s = min(INSET_S, (end_s - start_s) / 8) if inset else 0.0
    length = (end_s - start_s - 2 * edge_s) / count
    return start_s + edge_s + length * (np.arange(count) + 0.5)


def read_spans(
    info: VideoInfo, spans: Sequence[tuple[float, float]], count: int, size_px: int
) -> np.ndarray:
    """The frames of learners' spans of one video, uint8 [spans, count, S, S, 3].

    Times outside the video are those of its first or last frame. UnreadableVideo when decoding
    fails.
    """
    times_s = np.concatenate([clip_times(start_s, end_s, count) for start_s, end_s in spans])
    frames = read_frames(info, times_s.clip(0.0, info.duration_s), size_px)
    return frames.reshape(-1, count, *frames.shape[1:])
