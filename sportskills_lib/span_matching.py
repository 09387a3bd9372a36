"""Which clip is meant by a span of video, and which learner by a moment of a take: ratings and
truth name those, since they may be older than clips and learners.

Two spans of one video match when they overlap by enough, measured as intersection over union (IoU).
"""

from __future__ import annotations

from typing import Any

import polars as pl


def iou(start: pl.Expr, end: pl.Expr, other_start: pl.Expr, other_end: pl.Expr) -> pl.Expr:
    """Length of the overlap of two spans over the length of their union, 0 … 1."""
    overlap = (pl.min_horizontal(end, other_end) - pl.max_horizontal(start, other_start)).clip(
        lower_bound=0
    )
    return overlap / (pl.max_horizontal(end, other_end) - pl.min_horizontal(start, other_start))


def match_spans(spans: pl.DataFrame, clips: pl.DataFrame, *, min_iou: float = 0.5) -> pl.DataFrame:
    """The best clip of each distinct (video_id, start_s, end_s), if it overlaps by ``min_iou``;
    ties by clip_id.

    Returns video_id, start_s, end_s, clip_id, iou: one row for each span that has a clip.
    """
    key = ["video_id", "start_s", "end_s"]
    both = (
        spans.select(key)
        .unique()
        .join(clips.select("clip_id", *key), on="video_id", suffix="_clip")
    )
    overlap = iou(pl.col("start_s"), pl.col("end_s"), pl.col("start_s_clip"), pl.col("end_s_clip"))
    return (
        both.with_columns(iou=overlap)
        .filter(pl.col("iou") >= min_iou)
        .sort("iou", "clip_id", descending=[True, False])
        .unique(key, keep="first", maintain_order=True)
        .select(*key, "clip_id", "iou")
        .sort(key)
    )


def match_moments(moments: pl.DataFrame, learners: pl.DataFrame) -> pl.DataFrame:
    """The learner that each distinct moment (take_uid, video_time) means: one whose span holds it.

    It is the one that the moment names, where ``moments`` has the column ``named``; else the one
    with the nearest middle, ties by learner_id. A name is needed since spans may lie in each other
    and share their middle. Returns those columns and learner_id, split: one row for each moment
    that has a learner.
    """
    key = [name for name in ("take_uid", "video_time", "named") if name in moments.columns]
    tries = learners.select(
        "learner_id", "split", take_uid="take_id", from_s="start_s", to_s="end_s"
    )
    inside = moments.select(key).unique().join(tries, on="take_uid")
    inside = inside.filter(pl.col("video_time").is_between("from_s", "to_s"))
    other = pl.col("named") != pl.col("learner_id") if "named" in key else pl.lit(False)
    far = (pl.col("video_time") - (pl.col("from_s") + pl.col("to_s")) / 2).abs()
    return (
        inside.sort(other, far, "learner_id")
        .unique(key, keep="first", maintain_order=True)
        .select(*key, "learner_id", "split")
    )


def match_ratings(
    ratings: pl.DataFrame, learners: pl.DataFrame, clips: pl.DataFrame
) -> pl.DataFrame:
    """Ratings (:func:`with_names`), in their order, with the learner_id and the clip_id that they
    mean (null where there is none), the overlap ``iou``, and the ``reason`` why one is left out.

    Reasons: no_learner (no learner's clip holds its moment), no_clip (no clip overlaps its span by
    half), other_split (its clip stands in another split than its learner); null: it counts.
    """
    owners = match_moments(ratings, learners).with_columns(pl.col("split").cast(pl.String))
    splits = clips.select("clip_id", clip_split=pl.col("split").cast(pl.String))
    reason = (
        pl.when(pl.col("learner_id").is_null())
        .then(pl.lit("no_learner"))
        .when(pl.col("clip_id").is_null())
        .then(pl.lit("no_clip"))
        .when(pl.col("clip_split") != pl.col("split"))
        .then(pl.lit("other_split"))
    )
    named, span = ["take_uid", "video_time", "named"], ["video_id", "start_s", "end_s"]
    how: Any = {"how": "left", "maintain_order": "left"}
    return (
        ratings.join(owners, on=named, **how)
        .join(match_spans(ratings, clips), on=span, **how)
        .join(splits, on="clip_id", **how)
        .with_columns(reason=reason)
    )


def with_names(ratings: pl.DataFrame) -> pl.DataFrame:
    """Ratings with the column ``named``: their learner_id, "" where they have none."""
    name = (
        pl.col("learner_id").cast(pl.String).fill_null("")
        if "learner_id" in ratings.columns
        else pl.lit("")
    )
    return ratings.with_columns(named=name).drop("learner_id", strict=False)
