"""The films that a page shows of a few clips and learners: short previews as files beside it, and a
still of each.

A page names its films by a hash of their content, so that an id that strangers wrote never becomes
a file name or an address. What cannot be made (the source was removed, is damaged) keeps its still
and the reason.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import polars as pl

from sportskills_lib.formats.files import write_whole
from sportskills_lib.runs import artifacts
from sportskills_lib.viewing import pictures, previews, retrieved_queries

NOWHERE = Path(" ")  # of a video whose file is not below its folder: no file has that name
COLUMNS = {
    "item_id": pl.String,  # a clip or a learner
    "file": pl.String,  # in the folder of films; empty: none could be made, and `reason` says why
    "still": pl.Binary,  # animated WebP of the few frames that the stage kept
    "said": pl.String,  # what is said over the clip; empty for a learner
    "origin": pl.String,  # video or take, seconds, and what the clip demonstrates
    "reason": pl.String,
}


def make(run: str, item_ids: Sequence[str], folder: Path, *, workers: int = 2) -> pl.DataFrame:
    """A row for each of the items that the run knows (COLUMNS); the films are written to
    ``folder``, others removed.

    Clips come from 02, learners from 04; films from the source videos as they lie there now, cached
    by content.
    """
    rows = [row for rows in (_clips(run, item_ids), _learners(run, item_ids)) for row in rows]
    spans = [row["span"] for row in rows if row["span"].path.is_file()]
    made = (
        previews.make_previews(spans, cache=previews.preview_cache(), workers=workers)
        if spans
        else {}
    )
    missing = previews.Preview(reason="missing", detail="the source video is not there")
    table = []
    for row in rows:
        preview = made.get(row["item_id"], missing)
        file = hashlib.sha256(preview.film).hexdigest()[:20] + ".mp4" if preview.film else ""
        if file and not (folder / file).is_file():
            folder.mkdir(parents=True, exist_ok=True)
            write_whole(folder / file, preview.film)
        reason = "" if file else f"{preview.reason}: {preview.detail}"
        table.append((row["item_id"], file, row["still"], row["said"], row["origin"], reason))
    found = pl.DataFrame(table, schema=COLUMNS, orient="row").unique(
        "item_id", keep="first", maintain_order=True
    )
    for old in {path.name for path in folder.glob("*.mp4")} - set(found["file"]):
        (folder / old).unlink()
    return found


def _clips(run: str, item_ids: Sequence[str]) -> list[dict]:
    curation, pairing = (
        artifacts.open_stage(run, "01_curation"),
        artifacts.open_stage(run, "02_pairing"),
    )
    wanted = (
        pairing.table("clips").with_row_index("row").filter(pl.col("clip_id").is_in(list(item_ids)))
    )
    words = pairing.table("pairs").join(
        curation.table("narrations").select("narration_id", "text"), on="narration_id"
    )
    said = dict(words.group_by("clip_id").agg(pl.col("text").sort().str.join(" / ")).rows())
    files = retrieved_queries.video_files(run)
    frames = np.load(pairing.path("frames.npy"), mmap_mode="r") if wanted.height else ()
    return [
        {
            "item_id": row["clip_id"],
            "span": _span(row["clip_id"], files.get(row["video_id"], NOWHERE), row),
            "still": pictures.animation(frames[row["row"]]),
            "said": said.get(row["clip_id"], ""),
            "origin": f"{row['video_id']} at {row['start_s']:.1f} s, {row['demonstration']}",
        }
        for row in wanted.iter_rows(named=True)
    ]


def _learners(run: str, item_ids: Sequence[str]) -> list[dict]:
    retrieval = artifacts.open_stage(run, "04_retrieval")
    wanted = (
        retrieval.table("learners")
        .with_row_index("row")
        .filter(pl.col("learner_id").is_in(list(item_ids)))
    )
    frames = np.load(retrieval.path("learner_frames.npy"), mmap_mode="r") if wanted.height else ()
    files = retrieved_queries.video_files(run)
    return [
        {
            "item_id": row["learner_id"],
            "span": _span(row["learner_id"], files.get(row["take_id"], NOWHERE), row),
            "still": pictures.animation(frames[row["row"]]),
            "said": "",
            "origin": f"{row['take_id']} at {row['start_s']:.1f} s",
        }
        for row in wanted.iter_rows(named=True)
    ]


def _span(name: str, path: Path, row: dict) -> previews.Span:
    return previews.Span(name, path, row["start_s"], row["end_s"])
