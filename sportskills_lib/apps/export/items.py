"""What is exported of each clip: its name as a file, its facts, its words and its pictures cut out
of the source.

Names come from ids, and ids from strangers: they are checked, and only letters, digits, '-' and '_'
are left in them. Two ids that would give one name (also on disks that do not tell A from a) get a
part of their hash.
"""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from sportskills_lib import tables, video
from sportskills_lib.runs import artifacts
from sportskills_lib.runs.worker_pool import Value
from sportskills_lib.viewing import previews

# finer than a preview; faster presets only: slower ones were seen to give equal frames other bytes
CODING = {"crf": "21", "preset": "ultrafast"}
UNKNOWN = (
    "unknown"  # instead of null: loaders take a column that is null in one split for another type
)


@dataclass(frozen=True)
class Item:
    """One clip: the file to cut it from, its name, its words and its facts (plain values, none of
    them null).
    """

    name: str
    source: Path
    start_s: float
    end_s: float
    text: str
    facts: dict[str, Any]
    side_px: int


def file_names(ids: Iterable[str]) -> dict[str, str]:
    """A file name (without suffix) for each id, the same for the same ids; ValueError for an id
    that is not safe.
    """
    names = {}
    for one in ids:
        if not re.fullmatch(tables.ID_PATTERN, one):
            raise ValueError(f"clip id {one[:80]!r} is not safe as a file name: rerun 01_curation")
        names[one] = "clip_" + re.sub(r"[^A-Za-z0-9_-]", "_", one)
    taken = Counter(name.lower() for name in names.values())
    for one, name in names.items():
        if taken[name.lower()] > 1:
            names[one] = f"{name}_{hashlib.sha256(one.encode()).hexdigest()[:8]}"
    return names


def load_items(run: str, *, side_px: int) -> dict[str, list[Item]]:
    """The clips of a run by split, each list in order of clip_id."""
    pairing, curation = (
        artifacts.open_stage(run, "02_pairing"),
        artifacts.open_stage(run, "01_curation"),
    )
    clips = pairing.table("clips", tables.Clips).sort("clip_id")
    videos = curation.table("videos", tables.Videos)
    said = pairing.table("pairs").join(curation.table("narrations"), on="narration_id")
    ordered = said.sort("clip_id", "start_s", "narration_id").group_by(
        "clip_id", maintain_order=True
    )
    texts = ordered.agg(text=pl.col("text").str.join(" "))
    kept = ["path", "title", "licence", "language", "upload_date", "search_term"]
    rows = clips.join(texts, on="clip_id", how="left").join(
        videos.select("video_id", *kept), on="video_id"
    )
    source = artifacts.workspace() / pairing.manifest["config"]["source"]
    names = file_names(rows["clip_id"])
    items: dict[str, list[Item]] = {}
    for row in rows.sort("clip_id").iter_rows(named=True):
        facts = {
            name: _plain(row[name]) for name in (*tables.Clips.column_names(), *kept[1:], "text")
        }
        items.setdefault(str(row["split"]), []).append(
            Item(
                name=names[row["clip_id"]],
                source=source_file(source, row["path"]),
                start_s=row["start_s"],
                end_s=row["end_s"],
                text=row["text"] or "",
                facts=facts,
                side_px=side_px,
            )
        )
    return items


def _plain(value: Any) -> Any:
    return UNKNOWN if value is None else value


def source_file(source: Path, path: str) -> Path:
    """The file of a video: below the folder ``source``, or wherever the list ``source`` says that
    it is.

    ValueError for a path that leaves the folder.
    """
    if source.is_file():
        return Path(path)
    if Path(path).is_absolute() or ".." in Path(path).parts:
        raise ValueError(f"video path {path[:80]!r} leaves the source folder: rerun 01_curation")
    return source / path


def cut(item: Item) -> Value:
    """The clip as a small H.264 file, uint8 [bytes] under ``film``; with the reason under
    ``dropped`` if it fails.

    The longer side has ``side_px`` at most; upright, without sound, at the source's rate up to
    previews.MAX_FPS. The same source gives the same bytes.
    """
    try:
        info = video.probe(
            item.source, reader="pyav"
        )  # the same pictures each time, whatever else is loaded
        film = previews.film(info, item.start_s, item.end_s, side_px=item.side_px, coding=CODING)
    except (video.UnreadableVideo, OSError, ValueError) as error:
        return {"film": np.empty(0, np.uint8), "dropped": pl.DataFrame({"detail": [str(error)]})}
    return {
        "film": np.frombuffer(film, np.uint8),
        "dropped": pl.DataFrame(schema={"detail": pl.String}),
    }
