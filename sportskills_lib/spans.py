"""Which clip is meant by a span of video: files written before clips existed (ratings, truth) name spans.

Two spans of one video match when they overlap by enough, measured as intersection over union (IoU).
"""

from __future__ import annotations

import polars as pl


def iou(start: pl.Expr, end: pl.Expr, other_start: pl.Expr, other_end: pl.Expr) -> pl.Expr:
    """Length of the overlap of two spans over the length of their union, 0 … 1."""
    overlap = (pl.min_horizontal(end, other_end) - pl.max_horizontal(start, other_start)).clip(lower_bound=0)
    return overlap / (pl.max_horizontal(end, other_end) - pl.min_horizontal(start, other_start))


def match_spans(spans: pl.DataFrame, clips: pl.DataFrame, *, min_iou: float = 0.5) -> pl.DataFrame:
    """The best clip of each distinct (video_id, start_s, end_s), if it overlaps by ``min_iou``; ties by clip_id.

    Returns video_id, start_s, end_s, clip_id, iou: one row for each span that has a clip.
    """
    key = ["video_id", "start_s", "end_s"]
    both = spans.select(key).unique().join(clips.select("clip_id", *key), on="video_id", suffix="_clip")
    overlap = iou(pl.col("start_s"), pl.col("end_s"), pl.col("start_s_clip"), pl.col("end_s_clip"))
    return (
        both.with_columns(iou=overlap)
        .filter(pl.col("iou") >= min_iou)
        .sort("iou", "clip_id", descending=[True, False])
        .unique(key, keep="first", maintain_order=True)
        .select(*key, "clip_id", "iou")
        .sort(key)
    )
