"""From judged narrations to verified (clip, narration) pairs: what notebook 02 calls."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import dataframely as dy
import numpy as np
import polars as pl

from sportskills_lib import group_splits, tables
from sportskills_lib.config import PairingConfig
from sportskills_lib.language.client import ChatClient
from sportskills_lib.pairing import duplicates, judging, video_pass
from sportskills_lib.runs import artifacts
from sportskills_lib.runs.content_store import ContentStore
from sportskills_lib.runs.worker_pool import LOST_READER, Result, map_shards

TOPIC = pl.concat_str(
    pl.col("sport").fill_null(""), pl.col("skill").fill_null(""), separator=" "
).str.strip_chars()
IS_DEMONSTRATED = (pl.col("demonstration") != "none") & ~pl.col("undecided")


@dataclass(frozen=True)
class PairingTables:
    """The tables of stage 02, checked against each other. ``judged`` holds every window, kept or
    not; ``links`` every two clips that were compared as possible copies (duplicates.LINKS).
    """

    clips: dy.DataFrame[tables.Clips]
    pairs: dy.DataFrame[tables.Pairs]
    judged: pl.DataFrame
    links: pl.DataFrame
    dropped: dy.DataFrame[tables.Dropped]
    unsplit_sports: list[str]
    tasks: list[video_pass.VideoTask] = field(repr=False)

    def headline(self) -> dict[str, int]:
        """Counts for the manifest and `status`."""
        counts = dict(self.clips["demonstration"].cast(pl.String).value_counts().iter_rows())
        by_split = dict(self.clips["split"].cast(pl.String).value_counts().iter_rows())
        return {
            "clips": self.clips.height,
            "pairs": self.pairs.height,
            "correct": counts.get("correct", 0),
            "incorrect": counts.get("incorrect", 0),
            **{f"{name}_clips": by_split.get(name, 0) for name in tables.SPLITS},
        }


def pair(
    videos: pl.DataFrame,
    narrations: pl.DataFrame,
    folder: Path,
    config: PairingConfig,
    *,
    shards: Path,
    account: str = "",
    chat: ChatClient | None = None,
) -> PairingTables:
    """Judge a window for every sentence, keep what is taught and shown, without copies, and split
    it by channel.

    ``account`` (the run's name) is whose budget judge ``chat`` spends; ``chat`` is a client other
    than the config's. What is undecided makes no clip and is dropped with that reason.
    """
    judge = judging.load_judge(config, account=account, chat=chat)
    tasks = _tasks(videos, narrations, folder, config)
    windows, outlines, unread = _gather(tasks, config, shards)
    facts = videos.select("video_id", "channel", "sport", "skill", "upload_date")
    windows = windows.join(facts, on="video_id", how="left", maintain_order="left").with_columns(
        topic=TOPIC
    )
    judged = judging.judge_windows(
        windows,
        judge,
        min_confidence=config.min_confidence,
        read=[] if config.judge == "rules" else list(_read(tasks, config, shards)),
        shards=shards / "verdicts",
    )
    shown = judging.framed(judged).with_row_index("row").filter(IS_DEMONSTRATED)
    uploaded = duplicates.by_upload(shown)
    links = _links(uploaded, outlines[uploaded["row"].to_numpy()], tasks, config, shards)
    copies = duplicates.find_copies(uploaded, links)
    kept = shown.join(copies, on="clip_id", how="anti").sort("clip_id")
    clips, small = _clips(kept, links, config)
    pairs = kept.select("clip_id", narration_id=pl.col("narration_ids")).explode("narration_id")
    lost = _not_shown(judged) + [
        ("clip", clip, "duplicate", f"copy of {original}" + (" (mirrored)" if turned else ""))
        for clip, original, _, turned in copies.iter_rows()
    ]
    dropped = pl.concat([unread, tables.dropped_rows(lost)])
    paired = PairingTables(
        clips=clips,
        pairs=tables.Pairs.validate(pairs.sort("clip_id", "narration_id"), cast=True),
        judged=judged.drop(facts.columns[1:]).sort("clip_id"),
        links=links,
        dropped=tables.Dropped.validate(dropped.sort(tables.Dropped.column_names())),
        unsplit_sports=small,
        tasks=tasks,
    )
    _check(paired, videos, narrations)
    return paired


def _gather(
    tasks: list[video_pass.VideoTask], config: PairingConfig, shards: Path
) -> tuple[pl.DataFrame, np.ndarray, pl.DataFrame]:
    """All windows, the outlines [n, 128] of those under words that teach, and what could not be
    read.
    """
    windows, outlines = (
        [pl.DataFrame(schema=video_pass.WINDOWS)],
        [np.empty((0, duplicates.OUTLINE), np.float16)],
    )
    dropped, lost = list[pl.DataFrame](), list[tuple[str, str, str, str]]()
    for result in _read(tasks, config, shards):
        if result.value is None:
            lost.append(("video", result.name, LOST_READER[str(result.reason)], result.detail))
            continue
        windows.append(result.table("windows"))
        dropped.append(result.table("dropped"))
        outlines.append(np.asarray(result.array("outlines")))
    return (
        pl.concat(windows),
        np.concatenate(outlines),
        pl.concat([tables.dropped_rows(lost), *dropped]),
    )


def _tasks(
    videos: pl.DataFrame, narrations: pl.DataFrame, folder: Path, config: PairingConfig
) -> list[video_pass.VideoTask]:
    """One task for each video in which something actionable is said; the others have no clip and
    need no decoding.
    """
    taught = narrations.filter(pl.col("actionable").fill_null(False)).select("video_id").unique()
    said = narrations.join(taught, on="video_id", how="semi").sort("video_id", "start_s", "end_s")
    paths = dict(videos.select("video_id", "path").iter_rows())
    columns = ("narration_id", "start_s", "end_s", "text", "actionable")
    limit_bytes = int(config.frame_cache_gb * 1e9)
    cache = (
        ContentStore(artifacts.workspace() / "data/cache/frames", limit_bytes=limit_bytes)
        if limit_bytes
        else None
    )
    return [
        video_pass.VideoTask(
            video_id=video_id,
            path=folder / paths[video_id],
            sentences=tuple((*row[:4], bool(row[4])) for row in rows.select(columns).iter_rows()),
            config=config,
            cache=cache,
        )
        for (video_id,), rows in said.group_by("video_id", maintain_order=True)
    ]


def _read(
    tasks: list[video_pass.VideoTask], config: PairingConfig, shards: Path
) -> Iterator[Result]:
    return map_shards(
        video_pass.read_video,
        tasks,
        workers=config.workers,
        timeout_s=config.timeout_s,
        describe=lambda task: task.video_id,
        on_crash=lambda task: replace(task, reader="pyav"),
        prepare=video_pass.load_libraries,
        shards=shards,
        label="videos read",
    )


def _links(
    clips: pl.DataFrame,
    outlines: np.ndarray,
    tasks: list[video_pass.VideoTask],
    config: PairingConfig,
    shards: Path,
) -> pl.DataFrame:
    """Possible copies among ``clips``, compared; only candidates' signatures are held, the others
    stay on disk.
    """
    pairs = duplicates.find_candidates(outlines, clips["video_id"].rank("dense").to_numpy())
    names = clips["clip_id"].to_list()
    wanted = {names[row] for row in np.unique(pairs)}
    held: dict[str, np.ndarray] = {}
    for result in _read(tasks, config, shards) if len(pairs) else ():
        if result.value is None:
            continue
        shown = result.table("windows").filter(pl.col("said") != "none")["clip_id"]
        parts = np.split(result.array("signatures"), np.cumsum(result.array("lengths"))[:-1])
        held |= {
            name: np.array(part) for name, part in zip(shown, parts, strict=False) if name in wanted
        }
    return duplicates.compare_clips(
        clips,
        pairs,
        lambda row: held[names[row]],
        similarity=config.duplicate_similarity,
        rate_hz=config.signal_hz,
    )


def _clips(
    kept: pl.DataFrame, links: pl.DataFrame, config: PairingConfig
) -> tuple[dy.DataFrame[tables.Clips], list[str]]:
    split_of, small = group_splits.assign_splits(
        kept,
        test_fraction=config.test_fraction,
        val_fraction=config.val_fraction,
        groups=group_splits.channel_groups(kept, links),
    )
    clips = kept.with_columns(
        split=pl.col("channel").replace_strict(split_of, default=None, return_dtype=pl.String),
    ).select(tables.Clips.column_names())
    return tables.Clips.validate(clips, cast=True), small


def _not_shown(judged: pl.DataFrame) -> list[tuple[str, str, str, str]]:
    """Windows with actionable words that make no clip: the pictures show nothing, or the judge
    cannot tell.
    """
    rows = judging.framed(judged).filter(~IS_DEMONSTRATED)
    return [
        (
            "clip",
            row["clip_id"],
            "undecided" if row["undecided"] else "no_demonstration",
            _detail(row),
        )
        for row in rows.iter_rows(named=True)
    ]


def _detail(row: dict[str, Any]) -> str:
    said = (
        "no answer" if row["score"] is None else (f"{row['demonstration']} at {row['score']:.2f}")
    )
    return f"{said}, {100 * row['moved']:.1f} % of it moves"


def _check(paired: PairingTables, videos: pl.DataFrame, narrations: pl.DataFrame) -> None:
    tables.check_keys(paired.clips, "video_id", videos, child_name="clips", parent_name="videos")
    tables.check_spans(paired.clips, videos, key="clip_id")
    tables.check_no_straddling(paired.clips, "video_id")
    tables.check_no_straddling(paired.clips, "channel")
    group_splits.check_no_copies_across(paired.clips, paired.links)
    tables.check_keys(
        paired.pairs, "clip_id", paired.clips, child_name="pairs", parent_name="clips"
    )
    tables.check_keys(
        paired.pairs, "narration_id", narrations, child_name="pairs", parent_name="narrations"
    )


def write_frames(
    path: Path, paired: PairingTables, config: PairingConfig, *, shards: Path
) -> tuple[int, ...]:
    """Write the kept clips' frames, uint8 [N, T, S, S, 3], in the order of ``clips``; returns the
    shape.

    They are copied from the shards, video by video, so that they are never all in memory.
    """
    size = config.size_px
    shape = (paired.clips.height, config.frames, size, size, 3)
    place = {clip_id: row for row, clip_id in enumerate(paired.clips["clip_id"])}
    path.unlink(missing_ok=True)
    if not shape[0]:
        np.save(path, np.empty(shape, np.uint8))
        return shape
    frames = np.lib.format.open_memmap(path, mode="w+", dtype=np.uint8, shape=shape)
    for result in _read(paired.tasks, config, shards):
        if result.value is None:
            continue
        for row, name in enumerate(judging.framed(result.table("windows"))["clip_id"]):
            if name in place:
                frames[place[name]] = result.array("frames")[row]
    frames.flush()
    return shape
