"""A run's clips, cut out of their videos, into a folder, part by part, so that a killed export goes
on where it stopped.

A *part* is a tar (WebDataset) or a folder of films (Hugging Face) of one split. It stands under its
name only when it is complete, with its record beside it; parts that stand are not made again. The
same run and options give the same bytes, in whichever order and however often the export was cut
off.

Names come from ids, and ids from strangers: they are checked, and only letters, digits, '-' and '_'
are left in them. Two ids that would give one name (also on disks that do not tell A from a) get a
part of their hash.
"""

from __future__ import annotations

import hashlib
import json
import re
import shutil
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import polars as pl

from sportskills_lib import tables, video
from sportskills_lib.formats.files import room_for, sha256_file, write_whole
from sportskills_lib.retrieval.supervision.labelling import clip_texts
from sportskills_lib.runs import artifacts
from sportskills_lib.runs.worker_pool import LOST_READER, Result, Value, map_shards
from sportskills_lib.viewing import previews, retrieved_queries

Format = Literal["webdataset", "hf"]
FORMATS: tuple[Format, ...] = ("webdataset", "hf")
# what each finished part holds; removed from nothing, so that an export can be extended
RECORDS = ".parts"
# finer than a preview; faster presets only: slower ones were seen to give equal frames other bytes
CODING = {"crf": "21", "preset": "ultrafast"}
UNKNOWN = (
    "unknown"  # instead of null: loaders take a column that is null in one split for another type
)
LOADING: dict[Format, str] = {
    "webdataset": """## Loading

Each clip is three members of a tar with one name: `.mp4` (the film), `.json` (its facts) and `.txt` (what is said).

    import webdataset
    clips = webdataset.WebDataset("train-000000.tar", shardshuffle=False)
    for clip in clips:
        film, facts, words = clip["mp4"], clip["json"], clip["txt"]  # bytes: decode the film with any reader
""",
    "hf": """## Loading

    from datasets import Video, load_dataset
    clips = load_dataset("<this folder>")  # splits train, validation (val) and test

To read a row is to decode its film, for which `datasets` needs the package `torchcodec` (and FFmpeg), which it does not
install itself. Without it, ask for the file's path instead, before any row is read:

    clips = clips.cast_column("video", Video(decode=False))
    path = clips["train"][0]["video"]["path"]  # an H.264 file for any reader, such as PyAV, decord2 or OpenCV
""",
}


# ------------------------------------------------------------------------------------------ clips


@dataclass(frozen=True)
class Item:
    """One clip: its name as a file, the file to cut it from, and its facts with its words under
    ``text`` (plain values, none of them null).
    """

    name: str
    source: Path
    facts: Mapping[str, Any]
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
    pairing, curation = (artifacts.open_stage(run, name) for name in ("02_pairing", "01_curation"))
    clips = pairing.table("clips", tables.Clips)
    videos = curation.table("videos", tables.Videos)
    texts = clip_texts(clips, pairing.table("pairs"), curation.table("narrations"))
    text = pl.col("clip_id").replace_strict(texts, return_dtype=pl.String)
    about = ["video_id", "title", "licence", "language", "upload_date", "search_term"]
    facts = clips.join(videos.select(about), on="video_id").with_columns(text=text).sort("clip_id")
    files = retrieved_queries.below(
        pairing.manifest["config"]["source"], videos.select("video_id", "path")
    )
    names, nowhere = file_names(facts["clip_id"]), Path("a path outside the source folder")
    items: dict[str, list[Item]] = {}
    for row in facts.iter_rows(named=True):
        known = {name: UNKNOWN if value is None else value for name, value in row.items()}
        item = Item(names[row["clip_id"]], files.get(row["video_id"], nowhere), known, side_px)
        items.setdefault(row["split"], []).append(item)
    return items


def cut(item: Item) -> Value:
    """The clip as a small H.264 file, uint8 [bytes] under ``film``; or under ``failure`` the reason
    why there is none.

    The longer side has ``side_px`` at most; upright, without sound, at the source's rate up to
    previews.MAX_FPS. The same source gives the same bytes.
    """
    span = item.facts["start_s"], item.facts["end_s"]
    try:
        # pyav: the same pictures each time, whatever else is loaded
        info = video.probe(item.source, reader="pyav")
        film = previews.film(info, *span, side_px=item.side_px, coding=CODING)
    except (OSError, ValueError) as error:
        return {"failure": pl.DataFrame({"detail": [str(error)]})}
    return {"film": np.frombuffer(film, np.uint8)}


# ------------------------------------------------------------------------------------------ parts


@dataclass(frozen=True)
class Part:
    """Consecutive clips of one split, and where they go."""

    split: str
    name: str  # train-000000
    place: str  # of its tar or folder in that of the export
    items: Sequence[Item]


@dataclass(frozen=True)
class Exported:
    """What stands in the folder: clips by split, and rows (split, clip_id, reason, detail) that
    could not be cut.
    """

    clips: dict[str, int]
    dropped: list[dict[str, str]]
    new_parts: int


def export(
    run: str,
    folder: Path,
    kind: Format,
    *,
    splits: Sequence[str] = tables.SPLITS,
    clips_a_part: int = 256,
    side_px: int = 320,
    workers: int = 2,
    timeout_s: float = 300.0,
) -> Exported:
    """Write the clips of ``splits`` to ``folder``; what stands there of the same export is kept.

    ValueError for a folder that holds something else. Clips whose source cannot be read are listed
    with the reason.
    """
    if unknown := sorted({*splits, kind} - {*tables.SPLITS, *FORMATS}):
        known = ", ".join((*tables.SPLITS, *FORMATS))
        raise ValueError(f"there is no split or format {unknown[0]!r}; there are {known}")
    by_split = load_items(run, side_px=side_px)
    parts = []
    for split in splits:
        found = by_split.get(split, [])
        for number, first in enumerate(range(0, len(found), clips_a_part)):
            name = f"{split}-{number:06d}"
            place = f"{name}.tar" if kind == "webdataset" else f"{split}/{number:06d}"
            parts.append(Part(split, name, place, found[first : first + clips_a_part]))
    inputs = {
        stage: artifacts.open_stage(run, stage).digest for stage in ("01_curation", "02_pairing")
    }
    key = {"run": run, "format": kind, "clips_a_part": clips_a_part, "side_px": side_px}
    _claim(folder, key | {"inputs": inputs})
    todo = [part for part in parts if not _stands(folder, part)]
    films = map_shards(
        cut,
        [item for part in todo for item in part.items],
        workers=workers,
        timeout_s=timeout_s,
        describe=lambda item: item.facts["clip_id"],
        prepare=video.load_decoders,
        label="clips cut",
    )
    for part in todo:
        _write_part(folder, kind, part, films)
    return _finish(run, folder, kind, parts, new_parts=len(todo))


def _claim(folder: Path, key: dict[str, Any]) -> None:
    """Make the folder this export's own, or find that it is."""
    if folder.exists() and not folder.is_dir():
        raise ValueError(f"--to {folder} is a file: name a folder")
    room_for(folder, "--to")
    marker = folder / RECORDS / "export.json"
    if marker.is_file() and json.loads(marker.read_text()) != key:
        raise ValueError(
            f"{folder} holds another export (other run, options or data): name another folder "
            "with --to"
        )
    if not marker.is_file() and folder.is_dir() and any(folder.iterdir()):
        raise ValueError(
            f"{folder} is not empty and no export of ours: name another folder with --to"
        )
    marker.parent.mkdir(parents=True, exist_ok=True)
    artifacts.write_json(marker, key)


def _record(folder: Path, part: Part) -> Path:
    return folder / RECORDS / f"{part.name}.json"


def _stands(folder: Path, part: Part) -> bool:
    """Whether the part is made, and lost no clip to a crash or to time: such a part is made again
    by the next call.
    """
    record = _record(folder, part)
    return record.is_file() and not any(
        row["reason"] in LOST_READER.values() for row in json.loads(record.read_text())["dropped"]
    )


def _write_part(folder: Path, kind: Format, part: Part, films: Iterator[Result]) -> None:
    """Films of the part's clips, in order, into their place; the record last."""
    place, partial = folder / part.place, folder / RECORDS / f"{part.name}.partial"
    kept, dropped = list[tuple[Item, bytes]](), []
    for item in part.items:
        result = next(films)
        if "film" in (result.value or {}):
            kept.append((item, result.array("film").tobytes()))
        else:
            reason = LOST_READER.get(result.reason or "", "unreadable")
            detail = result.detail or result.table("failure")["detail"][0]
            dropped.append({"clip_id": item.facts["clip_id"], "reason": reason, "detail": detail})
    shutil.rmtree(partial, ignore_errors=True)
    if kind == "webdataset":
        _write_tar(partial, kept)
    else:
        partial.mkdir()
        for item, film in kept:
            (partial / f"{item.name}.mp4").write_bytes(film)
        shutil.rmtree(place, ignore_errors=True)
    place.parent.mkdir(parents=True, exist_ok=True)
    partial.replace(place)
    clips = [{**item.facts, "file_name": f"{place.name}/{item.name}.mp4"} for item, _ in kept]
    artifacts.write_json(_record(folder, part), {"clips": clips, "dropped": dropped})


def _write_tar(path: Path, clips: list[tuple[Item, bytes]]) -> None:
    """Each clip as three members of one name: its film, its facts and its words.

    Headers hold nothing of the machine or the hour; one call per member keeps this order.
    """
    from webdataset.writer import TarWriter

    with (
        path.open("wb") as file,
        TarWriter(file, user="", group="", mode=0o644, mtime=0, encoder=False) as sink,
    ):
        for item, film in clips:
            facts = json.dumps(item.facts, ensure_ascii=False, sort_keys=True).encode()
            words = item.facts["text"].encode()
            for suffix, data in (("mp4", film), ("json", facts), ("txt", words)):
                sink.write({"__key__": item.name, suffix: data})


def _finish(run: str, folder: Path, kind: Format, parts: list[Part], *, new_parts: int) -> Exported:
    """The files that describe the parts: metadata and page for Hugging Face, sizes and digests for
    WebDataset.
    """
    kept: dict[str, list[dict[str, Any]]] = {}
    dropped, shards = [], []
    for part in parts:
        record = json.loads(_record(folder, part).read_text())
        kept.setdefault(part.split, []).extend(record["clips"])
        dropped += [{"split": part.split} | row for row in record["dropped"]]
        shards.append({"name": part.place, "clips": len(record["clips"])})
    clips = {split: len(rows) for split, rows in kept.items()}
    pairing = artifacts.open_stage(run, "02_pairing")
    page = pairing.path("card.md").read_text() if "card.md" in pairing.manifest["outputs"] else ""
    (folder / "README.md").write_text("\n".join([page, LOADING[kind]]).lstrip("\n"))
    _write_lines(folder / "dropped.jsonl", dropped)
    if kind == "hf":
        for split, rows in kept.items():
            _write_lines(folder / split / "metadata.jsonl", rows)
    else:
        shards = [shard | {"sha256": sha256_file(folder / str(shard["name"]))} for shard in shards]
        artifacts.write_json(folder / "shards.json", {"shards": shards, "clips": clips})
    return Exported(clips, dropped, new_parts)


def _write_lines(path: Path, rows: list[dict[str, Any]]) -> None:
    write_whole(path, "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows))
