"""Copies of clips across videos: re-uploads, mirrored, re-encoded, brighter or darker.

Two clips of different videos are copies when their pictures agree, as they are or mirrored, in what stands still and in
what moves, and their words agree too. Pictures alone would join clips that share a studio, words alone those that share
a phrase. Of two copies the one uploaded first is kept (then by video id); a video most of whose clips are copies of one
other video is a re-upload, and loses all of its clips. Only clips that would be kept are compared, so that a shared
intro joins no videos.
"""

from __future__ import annotations

import re
from collections import Counter

import cv2
import numpy as np
import polars as pl

SIDE = 16  # descriptors are this many pixels wide and high
MIN_WORDS_SHARED = 0.5  # Jaccard similarity of two clips' words
REUPLOAD_SHARE = 0.5  # of a video's clips


def describe_clip(frames: np.ndarray) -> np.ndarray:
    """What stands still and what moves in a clip, each of unit length: float16 [2, T * SIDE * SIDE] from uint8 [T, S,
    S, 3].

    Grey and centred, so that brightness and contrast do not count.
    """
    small = np.stack(
        [
            cv2.resize(cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY), (SIDE, SIDE), interpolation=cv2.INTER_AREA)
            for frame in frames
        ]
    ).astype(np.float32)
    still = np.broadcast_to(small.mean(axis=0), small.shape)
    parts = np.stack([(still - still.mean()).ravel(), (small - still).ravel()])
    norms = np.linalg.norm(parts, axis=1, keepdims=True)
    return (parts / np.maximum(norms, 1e-6)).astype(np.float16)


def mirrored(descriptors: np.ndarray) -> np.ndarray:
    """Descriptors [N, 2, D] of the same clips seen in a mirror."""
    count = len(descriptors)
    return descriptors.reshape(count, 2, -1, SIDE, SIDE)[..., ::-1].reshape(count, 2, -1)


def find_copies(clips: pl.DataFrame, descriptors: np.ndarray, *, similarity: float) -> pl.DataFrame:
    """Clips that are copies of an earlier one: clip_id, copy_of, similarity, mirrored.

    ``clips`` has clip_id, video_id, sport, upload_date (may be null) and text, one row for each row of ``descriptors``
    [N, 2, D]. Clips are compared within a sport.
    """
    schema = {"clip_id": pl.String, "copy_of": pl.String, "similarity": pl.Float64, "mirrored": pl.Boolean}
    order = clips.with_row_index("row").with_columns(pl.col("upload_date").fill_null("99999999"))
    order = order.sort("upload_date", "video_id", "clip_id")
    found: list[tuple[str, str, float, bool]] = []
    for _, group in order.group_by("sport", maintain_order=True):
        found += _copies_within(group, descriptors[group["row"].to_numpy()], similarity)
    return _with_reuploads(pl.DataFrame(found, schema=schema, orient="row"), order)


def _copies_within(
    group: pl.DataFrame, descriptors: np.ndarray, similarity: float
) -> list[tuple[str, str, float, bool]]:
    """Copies among the clips of one sport, which stand in order of upload."""
    vectors, turned = descriptors.astype(np.float32), mirrored(descriptors).astype(np.float32)
    videos, names = group["video_id"].to_list(), group["clip_id"].to_list()
    said = [frozenset(re.findall(r"[a-z0-9']+", text.lower())) for text in group["text"].to_list()]
    alike = []
    for others in (vectors, turned):
        alike.append(np.minimum(vectors[:, 0] @ others[:, 0].T, vectors[:, 1] @ others[:, 1].T))
    best = np.maximum(*alike)
    found, copies = [], set[int]()
    for later, earlier in zip(*np.nonzero(np.tril(best >= similarity, -1)), strict=True):
        if later in copies or earlier in copies or videos[later] == videos[earlier]:
            continue
        if _shared(said[later], said[earlier]) >= MIN_WORDS_SHARED:
            copies.add(int(later))
            flipped = bool(alike[1][later, earlier] > alike[0][later, earlier])
            found.append((names[later], names[earlier], float(best[later, earlier]), flipped))
    return found


def _shared(one: frozenset[str], other: frozenset[str]) -> float:
    return len(one & other) / max(1, len(one | other))


def _with_reuploads(found: pl.DataFrame, clips: pl.DataFrame) -> pl.DataFrame:
    """Add the other clips of videos most of whose clips are copies of one other video's."""
    video_of = dict(clips.select("clip_id", "video_id").iter_rows())
    totals = Counter(clips["video_id"].to_list())
    pairs = Counter(
        (video_of[clip], video_of[original]) for clip, original in found.select("clip_id", "copy_of").iter_rows()
    )
    reuploads = {
        copy: original for (copy, original), n in pairs.items() if n >= REUPLOAD_SHARE * totals[copy] and n > 1
    }
    known = set(found["clip_id"].to_list())
    more = [
        (clip, reuploads[video], None, None)
        for clip, video in clips.select("clip_id", "video_id").sort("clip_id").iter_rows()
        if video in reuploads and clip not in known
    ]
    return pl.concat([found, pl.DataFrame(more, schema=found.schema, orient="row")]).sort("clip_id")
