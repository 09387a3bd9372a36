"""Copies of clips across videos: re-uploads, mirrored, re-encoded, resized, brighter or darker, cut
to begin elsewhere.

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

Every clip that would be kept is compared with those that look most like it. Pictures agree when
they are alike enough, or less alike but borne out by other clips of the same two videos with the
same offset in time. Three answers: *copy* where pictures and
words agree: of two copies the one uploaded first is kept (then by video id), and a video most of
whose clips are copies of one other video is a re-upload, which loses all of its clips.
*same_pictures* where the pictures agree and the words do not: one film under two lessons. Both
stay, and their channels go to one split. *different* otherwise. Only clips that would be kept are
compared, so that a shared intro joins no videos.

How it scales, for N clips: outlines take 256 bytes a clip and are compared in tiles (never N x N
numbers at once); that takes time of order N² with a small constant; at most ``NEIGHBOURS``
comparisons a clip follow, of order N. A copy must be among the clips that look most like it,
outside its own video: more than NEIGHBOURS look-alikes of one studio could push it out.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, NamedTuple

import cv2
import numpy as np
import polars as pl

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


# ------------------------------------------------------------------------------------------- copies

BLOCK, TILE = 512, 32768  # clips whose outlines are compared at once
NEIGHBOURS = 16  # candidates of a clip
MIN_OUTLINE = 0.85  # cosine of two outlines that are worth comparing
MIN_SUPPORTED = 0.6  # likeness of two clips where others of the two videos have the same offset
OFFSET_SLACK_S = 0.25
MIN_WORDS_SHARED = 0.5  # of the words of the clip that says less
REUPLOAD_SHARE = 0.5  # of a video's clips
LINKS: dict[str, Any] = {
    "clip_id": pl.String,  # the later upload
    "other_id": pl.String,
    "similarity": pl.Float64,
    "mirrored": pl.Boolean,
    "offset_s": pl.Float64,  # the other video's time less this one's, where they show the same
    "words_shared": pl.Float64,
    "verdict": pl.String,  # copy, same_pictures, different
}
COPIES = {
    "clip_id": pl.String,
    "copy_of": pl.String,
    "similarity": pl.Float64,
    "mirrored": pl.Boolean,
}


def by_upload(clips: pl.DataFrame) -> pl.DataFrame:
    """Clips (clip_id, video_id, upload_date, …), the earliest upload first; without a date comes
    last.
    """
    return clips.sort(pl.col("upload_date").fill_null("99999999"), "video_id", "clip_id")


def find_candidates(outlines: np.ndarray, videos: np.ndarray) -> np.ndarray:
    """Pairs [P, 2] of rows, first < second, that look alike and are of different videos, as they
    are or mirrored.

    ``outlines`` [N, 128], ``videos`` [N] a number for each clip's video. Each clip brings its
    ``NEIGHBOURS`` most alike.
    """
    found = [np.empty((0, 2), np.int64)]
    for first in range(0, len(outlines), BLOCK):
        part = outlines[first : first + BLOCK].astype(np.float32)
        queries = np.concatenate([part, mirror_outlines(part)])
        near = np.empty((0, 3))  # row of the block, row of the whole, likeness
        for left in range(0, len(outlines), TILE):
            alike = queries @ outlines[left : left + TILE].astype(np.float32).T
            row, column = np.nonzero(alike >= MIN_OUTLINE)
            hits = np.stack([row % len(part), column + left, alike[row, column]], axis=1)
            foreign = videos[first + row % len(part)] != videos[column + left]
            near = _strongest(np.concatenate([near, hits[foreign]]))
        found.append(np.sort(near[:, :2].astype(np.int64) + np.array([first, 0]), axis=1))
    return np.unique(np.concatenate(found), axis=0)


def _strongest(hits: np.ndarray) -> np.ndarray:
    """Of hits (row, column, likeness) the ``NEIGHBOURS`` most alike of each row; ties by column."""
    hits = hits[np.lexsort((hits[:, 1], -hits[:, 2], hits[:, 0]))]
    starts = np.searchsorted(hits[:, 0], hits[:, 0], side="left")
    return hits[np.arange(len(hits)) - starts < NEIGHBOURS]


def compare_clips(
    clips: pl.DataFrame,
    pairs: np.ndarray,
    signature_of: Callable[[int], np.ndarray],
    *,
    similarity: float,
    rate_hz: float,
) -> pl.DataFrame:
    """What each candidate pair is: a table of ``LINKS``.

    Rows of ``clips`` (clip_id, video_id, start_s, text) stand in order of upload; ``rate_hz`` is
    that of signatures.
    """
    names, starts_s = clips["clip_id"].to_list(), clips["start_s"].to_list()
    said = [
        frozenset(re.findall(r"[^\W_]+(?:'\w+)?", text.lower())) for text in clips["text"].to_list()
    ]
    rows = []
    for earlier, later in pairs.tolist():
        like = compare(signature_of(later), signature_of(earlier))
        offset_s = round(starts_s[earlier] + like.shift / rate_hz - starts_s[later], 3)
        # of the one that says less: a cut sentence still agrees
        fewer = min(len(said[later]), len(said[earlier]))
        shared = round(len(said[later] & said[earlier]) / max(1, fewer), 3)
        rows.append(
            (
                names[later],
                names[earlier],
                like.similarity,
                like.mirrored,
                offset_s,
                shared,
                "different",
            )
        )
    links = pl.DataFrame(rows, schema=LINKS, orient="row").sort("clip_id", "other_id")
    agree = (pl.col("similarity") >= similarity) | _supported(links, clips)
    words = (
        pl.when(pl.col("words_shared") >= MIN_WORDS_SHARED)
        .then(pl.lit("copy"))
        .otherwise(pl.lit("same_pictures"))
    )
    return links.with_columns(verdict=pl.when(agree).then(words).otherwise("verdict"))


def _supported(links: pl.DataFrame, clips: pl.DataFrame) -> pl.Expr:
    """Links that another link of the same two videos bears out: other clips, the same offset in
    time.

    Chance hardly gives that, so a lower likeness will do.
    """
    video_of = dict(clips.select("clip_id", "video_id").iter_rows())
    rows = (
        links.with_row_index("row")
        .filter(pl.col("similarity") >= MIN_SUPPORTED)
        .with_columns(
            video=pl.col("clip_id").replace_strict(video_of, return_dtype=pl.String),
            other_video=pl.col("other_id").replace_strict(video_of, return_dtype=pl.String),
        )
    )
    borne_out = rows.join(rows, on=["video", "other_video", "mirrored"], suffix="_far").filter(
        pl.col("clip_id") != pl.col("clip_id_far"),
        pl.col("other_id") != pl.col("other_id_far"),
        (pl.col("offset_s") - pl.col("offset_s_far")).abs() <= OFFSET_SLACK_S,
    )
    return pl.int_range(pl.len()).is_in(borne_out["row"].implode())


def find_copies(clips: pl.DataFrame, links: pl.DataFrame) -> pl.DataFrame:
    """Clips to drop: clip_id, copy_of, similarity, mirrored (the last two null where only the video
    is a copy).

    A copy of a copy is a copy of the first. ``clips`` has clip_id and video_id, in order of upload.
    """
    place = {name: row for row, name in enumerate(clips["clip_id"])}
    columns = (
        links.filter(verdict="copy")
        .sort("similarity", "clip_id", "other_id", descending=[True, False, False])
        .unique("clip_id", keep="first", maintain_order=True)
        .select("clip_id", "other_id", "similarity", "mirrored")
    )
    best = {clip: alike for clip, *alike in columns.iter_rows()}
    rows = []
    for clip in sorted(best, key=place.__getitem__):
        original, similarity, turned = best[clip]
        while original in best:
            original, turned = best[original][0], turned != best[original][2]
        rows.append((clip, original, similarity, turned))
    return _with_reuploads(pl.DataFrame(rows, schema=COPIES, orient="row"), clips)


def _with_reuploads(found: pl.DataFrame, clips: pl.DataFrame) -> pl.DataFrame:
    """Add the other clips of videos most of whose clips are copies of one other video's."""
    video_of = clips.select("clip_id", "video_id")
    sources = video_of.rename({"clip_id": "copy_of", "video_id": "original"})
    reuploads = (
        found.join(video_of, on="clip_id")
        .join(sources, on="copy_of")
        .group_by("video_id", "original")
        .agg(copies=pl.len())
        .join(video_of.group_by("video_id").agg(clips=pl.len()), on="video_id")
        .filter(pl.col("copies") > 1, pl.col("copies") >= REUPLOAD_SHARE * pl.col("clips"))
        .sort("video_id", "copies", "original")
        .unique("video_id", keep="last", maintain_order=True)
    )
    more = (
        video_of.join(reuploads, on="video_id")
        .join(found, on="clip_id", how="anti")
        .select("clip_id", copy_of="original")
    )
    return pl.concat([found, more], how="diagonal").sort("clip_id")
