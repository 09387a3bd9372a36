"""How long videos are, asked of the files: tables of strangers say it wrongly, or not at all."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import numpy as np
import polars as pl

from sportskills_lib import video
from sportskills_lib.runs import worker_pool


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
