"""Learners' videos, read in worker processes: how long they are, and the frames of spans.

Lengths are asked of the files: tables of strangers say them wrongly, or not at all.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import numpy as np
import polars as pl

from sportskills_lib import tables, video
from sportskills_lib.runs import worker_pool
from sportskills_lib.tables import DroppedRow
from sportskills_lib.video.frame_reader import read_spans

Item = tuple[
    str, str, tuple[tuple[float, float], ...], int, int
]  # take, path, spans, frames of each, pixels a side
LEAST_INSIDE = (
    0.5  # share of a span that its video must have: less, and the frames would be of another moment
)


def look_at(item: tuple[str, str]) -> dict[str, pl.DataFrame | np.ndarray]:
    """Worker: a video's length in seconds, or why it has none."""
    try:
        lasts_s, why = video.probe(item[1], reader="pyav").duration_s, ""
    except video.UnreadableVideo as error:
        lasts_s, why = 0.0, str(error)
    return {"length": pl.DataFrame({"lasts_s": [lasts_s], "why": [why]})}


def lengths_of(
    folder: Path, paths: Iterable[str], *, workers: int, timeout_s: float = 60.0
) -> dict[str, float | str]:
    """Seconds of each video, or why it cannot be read. ``workers`` 0: in this process."""
    found: dict[str, float | str] = {}
    if not (names := sorted(set(paths))):
        return found
    items = [(name, str(folder / name)) for name in names]
    for name, result in zip(
        names,
        worker_pool.map_shards(
            look_at,
            items,
            workers=workers,
            timeout_s=timeout_s,
            prepare=video.load_decoders,
            label="videos of learners",
        ),
        strict=True,
    ):
        lasts_s, why = (
            result.table("length").row(0) if result.value is not None else (0.0, result.detail)
        )
        found[name] = lasts_s if lasts_s > 0 and not why else why or "it has no length"
    return found


def read_take(item: Item) -> dict[str, pl.DataFrame | np.ndarray]:
    """Worker: frames uint8 [spans, T, H, W, 3] of one video's spans, and for each the reason why it
    has none, or "".
    """
    _, path, spans, frames, size_px = item
    pictures = np.zeros((len(spans), frames, size_px, size_px, 3), np.uint8)
    try:
        info = video.probe(path)
        lasts_s, inside, told = info.duration_s, list[int](), [("", "")] * len(spans)
        for at, (start_s, end_s) in enumerate(spans):
            if lasts_s - start_s >= LEAST_INSIDE * (end_s - start_s):
                inside.append(at)
            else:
                detail = f"the span {start_s:.2f} to {end_s:.2f} s; the video lasts {lasts_s:.2f} s"
                told[at] = "outside_video", detail
        if inside:
            pictures[inside] = read_spans(info, [spans[at] for at in inside], frames, size_px)
    except video.UnreadableVideo as error:
        told = [("unreadable", str(error))] * len(spans)
    why = pl.DataFrame(told, schema=["reason", "detail"], orient="row")
    return {"frames": pictures, "reason": why}


def read_learner_frames(
    source: Path | None,
    learners: pl.DataFrame,
    *,
    frames: int,
    size_px: int,
    workers: int,
    shards: Path | None = None,
    timeout_s: float = 120.0,
) -> tuple[pl.DataFrame, np.ndarray, pl.DataFrame]:
    """The learners whose video could be read, their frames uint8 [M, T, H, W, 3] in row order, and
    what was dropped.

    ``source``: what the learners were read from; their paths are relative to it, or to the folder
    of a file. A span of which the video has less than half is dropped: what its clock names is not
    what the expert saw.
    """
    blank = np.zeros((0, frames, size_px, size_px, 3), np.uint8)
    if source is None or not learners.height:
        return learners, blank, tables.dropped_rows([])
    folder = source.parent if source.is_file() else source
    groups = learners.group_by("take_id", "path", maintain_order=True).agg(
        "learner_id", "start_s", "end_s"
    )
    items = [
        (take_id, str(folder / path), tuple(zip(starts, ends, strict=True)), frames, size_px)
        for take_id, path, _, starts, ends in groups.iter_rows()
    ]
    results = worker_pool.map_shards(
        read_take,
        items,
        workers=workers,
        timeout_s=timeout_s,
        describe=lambda item: f"{item[0]} {item[2]} {item[3]} {item[4]}",
        prepare=video.load_decoders,
        shards=shards,
        label="learners",
    )
    pictures: dict[str, np.ndarray] = {}
    drops: list[DroppedRow] = []
    for ids, result in zip(groups["learner_id"], results, strict=True):
        if result.value is None:
            reason = worker_pool.LOST_READER[result.reason or ""]
            drops += [("learner", learner_id, reason, result.detail) for learner_id in ids]
            continue
        told = result.table("reason").select("reason", "detail").rows()
        for learner_id, (reason, detail), shown in zip(
            ids, told, result.array("frames"), strict=True
        ):
            if reason:
                drops.append(("learner", learner_id, reason, detail))
            else:
                pictures[learner_id] = np.asarray(shown)
    kept = learners.filter(pl.col("learner_id").is_in(list(pictures)))
    stacked = (
        np.stack([pictures[learner_id] for learner_id in kept["learner_id"]])
        if kept.height
        else blank
    )
    return kept, stacked, tables.dropped_rows(drops)
