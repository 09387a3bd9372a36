"""Which reader serves which file, and why: a row a file, each examined in a worker process."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import polars as pl

from sportskills_lib.formats.files import escape_unprintable
from sportskills_lib.runs.worker_pool import Value, map_shards
from sportskills_lib.video.frame_reader import read_frames, stream_frames
from sportskills_lib.video.probe import UnreadableVideo, load_decoders, probe

SCHEMA = {
    "file": pl.String,
    "reader": pl.String,  # of the whole video at an even rate; null: none can
    "codec": pl.String,
    "fps": pl.Float64,
    "frames": pl.Int64,
    "key_frames": pl.Int64,
    "width_px": pl.Int64,
    "height_px": pl.Int64,
    "rotation_deg": pl.Int64,
    "start_s": pl.Float64,
    "duration_s": pl.Float64,
    "why": pl.String,
}
LOOKS = 5  # pictures that are read, to see that they can be
SIDE_PX = 64


def examine_files(
    paths: Sequence[Path], *, workers: int = 2, timeout_s: float = 60.0
) -> pl.DataFrame:
    """One row for each file, in their order: SCHEMA. A file that no reader opens has its reason
    under ``why``.
    """
    results = map_shards(
        _examine,
        paths,
        workers=workers,
        timeout_s=timeout_s,
        describe=str,
        prepare=load_decoders,
        label="files examined",
    )
    rows = [
        result.table("row")
        if result.value is not None
        else _row(path, why=f"{result.reason}: {result.detail}")
        for path, result in zip(paths, results, strict=True)
    ]
    return pl.concat(rows) if rows else pl.DataFrame(schema=SCHEMA)


def _examine(path: Path) -> Value:
    try:
        info = probe(path)
        read_frames(info, np.linspace(0, info.times_s[-1], LOOKS), SIDE_PX)
        next(stream_frames(info, LOOKS / max(info.duration_s, 1e-3), SIDE_PX))
    except UnreadableVideo as error:
        return {"row": _row(path, why=str(error))}
    return {
        "row": _row(
            path,
            reader=info.reader,
            codec=info.codec,
            fps=round(info.fps, 3),
            frames=len(info.times_s),
            key_frames=info.key_frames,
            width_px=info.width_px,
            height_px=info.height_px,
            rotation_deg=info.rotation_deg,
            start_s=round(info.start_s, 3),
            duration_s=round(info.duration_s, 3),
            why=info.why,
        )
    }


def _row(path: Path, **facts: object) -> pl.DataFrame:
    return pl.DataFrame([{"file": escape_unprintable(path.name), **facts}], schema=SCHEMA)
