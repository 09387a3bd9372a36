"""Clips into a folder, part by part, so that a killed export goes on where it stopped.

A *part* is a tar (WebDataset) or a folder of films (Hugging Face) of one split. It stands under its
name only when it is complete, with its record beside it; parts that stand are not made again. The
same run and options give the same bytes, in whichever order and however often the export was cut
off.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from sportskills_lib import tables, video
from sportskills_lib.apps.export import items
from sportskills_lib.apps.export.items import Item
from sportskills_lib.formats.files import room_for, sha256_file
from sportskills_lib.runs import artifacts
from sportskills_lib.runs.worker_pool import LOST_READER, Result, map_shards

Format = Literal["webdataset", "hf"]
FORMATS: tuple[Format, ...] = ("webdataset", "hf")
# what each finished part holds; removed from nothing, so that an export can be extended
RECORDS = ".parts"
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


@dataclass(frozen=True)
class Part:
    """Consecutive clips of one split, and where they go."""

    split: str
    number: int
    items: tuple[Item, ...]

    @property
    def name(self) -> str:
        """``train-000000``."""
        return f"{self.split}-{self.number:06d}"


@dataclass(frozen=True)
class Exported:
    """What stands in the folder: clips by split, and rows (split, clip_id, reason, detail) that
    could not be cut.
    """

    folder: Path
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
    if unknown := [name for name in splits if name not in tables.SPLITS]:
        raise ValueError(f"there is no split {unknown[0]!r}; there are {', '.join(tables.SPLITS)}")
    if kind not in FORMATS:
        raise ValueError(f"there is no format {kind!r}; there are {', '.join(FORMATS)}")
    by_split = items.load_items(run, side_px=side_px)
    parts = [
        Part(split, number, tuple(by_split[split][first : first + clips_a_part]))
        for split in splits
        for number, first in enumerate(range(0, len(by_split.get(split, [])), clips_a_part))
    ]
    key = {
        "run": run,
        "format": kind,
        "clips_a_part": clips_a_part,
        "side_px": side_px,
        "inputs": {
            stage: artifacts.open_stage(run, stage).digest
            for stage in ("01_curation", "02_pairing")
        },
    }
    _claim(folder, key)
    todo = [part for part in parts if not _stands(folder, part)]
    films = map_shards(
        items.cut,
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
    place = (
        folder / f"{part.name}.tar"
        if kind == "webdataset"
        else folder / part.split / f"{part.number:06d}"
    )
    partial = folder / RECORDS / f"{part.name}.partial"
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir()
    kept, dropped = list[tuple[Item, bytes]](), []
    for item in part.items:
        result = next(films)
        failed = (
            LOST_READER[result.reason]
            if result.reason
            else "unreadable"
            if result.table("dropped").height
            else None
        )
        if failed:
            detail = result.detail if result.reason else result.table("dropped")["detail"][0]
            dropped.append({"clip_id": item.facts["clip_id"], "reason": failed, "detail": detail})
        else:
            kept.append((item, result.array("film").tobytes()))
    place.parent.mkdir(parents=True, exist_ok=True)
    if kind == "webdataset":
        _write_tar(partial / place.name, kept)
        (partial / place.name).replace(place)
        partial.rmdir()
    else:
        for item, film in kept:
            (partial / f"{item.name}.mp4").write_bytes(film)
        shutil.rmtree(place, ignore_errors=True)
        partial.rename(place)
    facts = [item.facts | {"file_name": f"{place.name}/{item.name}.mp4"} for item, _ in kept]
    artifacts.write_json(_record(folder, part), {"clips": facts, "dropped": dropped})


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
            for suffix, data in (("mp4", film), ("json", facts), ("txt", item.text.encode())):
                sink.write({"__key__": item.name, suffix: data})


def _finish(run: str, folder: Path, kind: Format, parts: list[Part], *, new_parts: int) -> Exported:
    """The files that describe the parts: metadata and page for Hugging Face, sizes and digests for
    WebDataset.
    """
    records = [(part, json.loads(_record(folder, part).read_text())) for part in parts]
    clips: dict[str, int] = {}
    dropped = []
    for part, record in records:
        clips[part.split] = clips.get(part.split, 0) + len(record["clips"])
        dropped += [{"split": part.split} | row for row in record["dropped"]]
    pairing = artifacts.open_stage(run, "02_pairing")
    page = pairing.path("card.md").read_text() if "card.md" in pairing.manifest["outputs"] else ""
    (folder / "README.md").write_text("\n".join([page, LOADING[kind]]).lstrip("\n"))
    (folder / "dropped.jsonl").write_text("".join(json.dumps(row) + "\n" for row in dropped))
    if kind == "hf":
        for split in clips:
            rows = [
                row for part, record in records if part.split == split for row in record["clips"]
            ]
            text = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
            (folder / split / "metadata.jsonl").write_text(text)
    else:
        shards = [
            {
                "name": f"{part.name}.tar",
                "clips": len(record["clips"]),
                "sha256": sha256_file(folder / f"{part.name}.tar"),
            }
            for part, record in records
        ]
        artifacts.write_json(folder / "shards.json", {"shards": shards, "clips": clips})
    return Exported(folder, clips, dropped, new_parts)
