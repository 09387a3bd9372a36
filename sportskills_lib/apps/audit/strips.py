"""Film strips of a sample's spans, from the source videos: small pictures, read in worker
processes.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import numpy as np
import polars as pl

from sportskills_lib import video
from sportskills_lib.runs.worker_pool import Value, map_shards
from sportskills_lib.viewing import retrieved_queries
from sportskills_lib.viewing.previews import Span

MOMENTS, SIDE_PX = 6, 112


def film_strips(
    frame: pl.DataFrame, run: str, *, workers: int = 2, timeout_s: float = 60.0
) -> dict[str, np.ndarray]:
    """Pictures uint8 [MOMENTS, S, S, 3] by item_id, and by ``item_id`` + " other" of a pair's
    second clip.

    A span whose video cannot be read has none.
    """
    paths, wanted = retrieved_queries.video_files(run), []
    for prefix, suffix in (("", ""), ("other_", " other")):
        columns = ["item_id", *(f"{prefix}{name}" for name in ("video_id", "start_s", "end_s"))]
        for item, video_id, start_s, end_s in frame.select(columns).iter_rows():
            if video_id in paths:
                wanted.append(Span(item + suffix, paths[video_id], start_s, end_s))
    return read_spans(wanted, workers=workers, timeout_s=timeout_s)


def read_spans(
    wanted: Sequence[Span],
    *,
    workers: int,
    timeout_s: float,
    moments: int = MOMENTS,
    side_px: int = SIDE_PX,
) -> dict[str, np.ndarray]:
    """Pictures uint8 [moments, side_px, side_px, 3] by the span's name, read in worker
    processes.
    """
    results = map_shards(
        partial(_read, moments=moments, side_px=side_px),
        wanted,
        workers=workers,
        timeout_s=timeout_s,
        describe=lambda span: span.name,
        prepare=video.load_decoders,
        label="strips",
    )
    return {
        span.name: result.array("pictures")
        for span, result in zip(wanted, results, strict=True)
        if result.value is not None and len(result.array("pictures"))
    }


def _read(span: Span, *, moments: int, side_px: int) -> Value:
    """Pictures spread evenly over the span; none where the video cannot be read."""
    try:
        info = video.probe(span.path)
        end_s = min(span.end_s, info.duration_s)
        times_s = span.start_s + (end_s - span.start_s) * (np.arange(moments) + 0.5) / moments
        return {"pictures": video.read_frames(info, times_s, side_px)}
    except (video.UnreadableVideo, ValueError):
        return {"pictures": np.empty((0, side_px, side_px, 3), np.uint8)}
