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

import polars as pl

from sportskills_lib.formats.files import write_whole
from sportskills_lib.viewing import previews, retrieved_queries

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
    items = retrieved_queries.read_items(run)
    shown = {item: row for item, row in items.rows.items() if item in set(item_ids)}
    spans = [span for item in shown if (span := items.span(item))]
    made = previews.make_previews(spans, cache=previews.preview_cache(), workers=workers)
    outside = previews.Preview(reason="missing", detail="its file is not below its folder")
    table = []
    for item, row in shown.items():
        preview, (frames, at) = made.get(item, outside), items.frames[item]
        file = hashlib.sha256(preview.film).hexdigest()[:20] + ".mp4" if preview.film else ""
        if file and not (folder / file).is_file():
            folder.mkdir(parents=True, exist_ok=True)
            write_whole(folder / file, preview.film)
        where = f"{row['video_id']} at {row['start_s']:.1f} s"
        origin = ", ".join(filter(None, (where, row["demonstration"])))
        reason = "" if file else f"{preview.reason}: {preview.detail}"
        still = previews.animation(frames[at])
        table.append((item, file, still, row["said"] or "", origin, reason))
    found = pl.DataFrame(table, schema=COLUMNS, orient="row")
    for old in {path.name for path in folder.glob("*.mp4")} - set(found["file"]):
        (folder / old).unlink()
    return found
