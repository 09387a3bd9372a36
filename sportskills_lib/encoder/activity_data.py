"""The arm that the paper compares with: a separate activity data set, every clip of it a training
clip.

Its clips get the shape of the study's (frames, size) and go through the same reader, in workers,
with shards. What it must never share with the study is footage that the arms are asked about.
Checked, and dropped with a reason:

- *ids*: a clip whose video id is any video's of the study, test or not (``study_video``);
- *files*: a file with the same sha256 as any video of the study (``study_file``);
- *pictures*: a clip whose pictures match a validation or test clip's on 16 x 16 squares, as they
  are or mirrored (``study_pictures``). On the demo, of clips re-encoded at three quarters of their
  size and darker it finds about 19 in 20 with the same span, two in three with a span 0.3 s later,
  and takes one other in 300 for a copy, which costs nothing. It does not find another span of the
  same film or a crop: the ids are the check to rely on.
"""

from __future__ import annotations

import csv
import math
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import cv2
import numpy as np
import polars as pl

from sportskills_lib import tables, video
from sportskills_lib.encoder.training import ClipData
from sportskills_lib.formats.files import sha256_file
from sportskills_lib.runs import worker_pool
from sportskills_lib.video.frame_reader import clip_times

TIMEOUT_S = 60.0
LISTED = ("label", "youtube_id", "time_start", "time_end", "split")  # Kinetics' columns
SIDE, BLOCK = 16, 512  # squares of a picture; clips compared at once
CANDIDATES = 8  # how many closely
SAME_LOOK = 0.9  # likeness from which two clips show the same
COLUMNS = ("clip_id", "video_id", "sport", "skill", "split", "text", "label")


@dataclass(frozen=True)
class LabelledClip:
    """A span of a file and its label; no end: to the end of the file."""

    clip_id: str
    video_id: str
    path: Path
    label: str
    start_s: float = 0.0
    end_s: float | None = None


def gather(
    folder: Path, study: ClipData, videos: pl.DataFrame, *, workers: int, shards: Path
) -> tuple[ClipData, pl.DataFrame]:
    """The data set in ``folder`` as training clips, then the study's validation clips; and
    tables.Dropped.

    ``text`` and ``label`` of a training clip are its label; a validation clip keeps its narration,
    and its label is the data set's for that sport and skill. So the learning rate is chosen and
    recall is watched on the same clips as for the other arms. ``sport`` and ``skill`` are the
    study's where the label names them, else the label. ``videos``: the study's video_id and sha256.
    Frames are written below ``shards``. ValueError when nothing is left.
    """
    listed, lost = read_lists(folder)
    known, study_files = set(videos["video_id"]), set(videos["sha256"].drop_nulls())
    for clip in listed:
        if clip.video_id in known:
            lost.append(
                ("clip", clip.clip_id, "study_video", f"{clip.video_id} is a video of the study")
            )
    foreign = [clip for clip in listed if clip.video_id not in known]
    read = partial(
        worker_pool.map_shards,
        partial(_read, shape=study.frames().shape[1:3]),
        foreign,
        workers=workers,
        timeout_s=TIMEOUT_S,
        describe=lambda clip: clip.clip_id,
        prepare=video.load_decoders,
        shards=shards / "activity",
        label="activity clips",
    )
    looks = dict[str, np.ndarray]()
    for clip, result in zip(foreign, read(), strict=True):
        if why := _why_lost(result, study_files):
            lost.append(("clip", clip.clip_id, *why))
        else:
            looks[clip.clip_id] = look(result.array("frames")[0])
    held = np.flatnonzero(study.clips["split"].cast(pl.String).is_in(["val", "test"]))
    twins = same_look([*looks.values()], [look(study.frames()[row]) for row in held])
    for clip_id, twin in zip([*looks], twins, strict=True):
        if twin >= 0:
            del looks[clip_id]
            alike = study.clips["clip_id"][int(held[twin])]
            lost.append(("clip", clip_id, "study_pictures", f"looks like {alike}"))
    if not looks:
        raise ValueError(
            f"activity_source {folder} gave no clip: "
            f"{tables.dropped_rows(lost)['reason'].value_counts()}"
        )
    clips = _clips([clip for clip in listed if clip.clip_id in looks], study)
    path = _write_frames(shards / "activity.npy", clips, zip(foreign, read(), strict=True), study)
    return ClipData(clips, str(path), study.sports), tables.dropped_rows(lost)


# -------------------------------------------------------------------------------------------- lists


def read_lists(folder: Path) -> tuple[list[LabelledClip], list[tables.DroppedRow]]:
    """The training rows of every list in ``folder``, and every other row with the reason why it is
    left out.

    Lists: ``*.csv`` with Kinetics' columns label, youtube_id, time_start, time_end, split. Videos
    lie anywhere below ``folder``: ``<id>.<suffix>``, or ``<id>_<start>_<end>.<suffix>`` (six digits
    each) where a downloader cut them. Reasons: bad_row, other_split, no_video, duplicate_row.
    ValueError when the folder has no such list.
    """
    if not folder.is_dir():
        raise ValueError(
            f"activity_source {folder} is no folder: name one with videos and their labels"
        )
    paths = (path for path in sorted(folder.rglob("*")) if path.suffix.lower() in video.SUFFIXES)
    files = {path.stem: path for path in paths if path.is_file()}
    rows = [row for path in sorted(folder.rglob("*.csv")) for row in _rows(path)]
    if not rows:
        raise ValueError(
            f"activity_source {folder} has no list of labels: a CSV with the columns "
            f"{', '.join(LISTED)}"
        )
    found, dropped = dict[str, LabelledClip](), list[tables.DroppedRow]()
    for row in rows:
        clip = _listed_clip(row, files)
        if not isinstance(clip, LabelledClip):
            dropped.append(("clip", *clip))
        elif clip.clip_id in found:
            dropped.append(
                ("clip", clip.clip_id, "duplicate_row", f"listed again as {clip.label!r}")
            )
        else:
            found[clip.clip_id] = clip
    return [*found.values()], dropped


def _rows(path: Path) -> Iterator[tuple[str, ...]]:
    """The place of each row of a CSV and its fields LISTED; nothing of a CSV without them."""
    with path.open(newline="", encoding="utf-8-sig") as file:
        reader = csv.DictReader(file)
        if set(LISTED) <= set(reader.fieldnames or ()):
            for number, row in enumerate(reader, start=2):
                yield f"{path.name}:{number}", *((row[name] or "").strip() for name in LISTED)


def _listed_clip(
    row: tuple[str, ...], files: dict[str, Path]
) -> LabelledClip | tuple[str, str, str]:
    """The clip that a row names, or what is left out, the reason and the detail."""
    place, label, name, first, last, split = row
    try:
        start_s, end_s = float(first), float(last)
    except ValueError:
        start_s, end_s = math.nan, math.nan
    if not (re.match(tables.ID_PATTERN, name) and label and 0 <= start_s < end_s < math.inf):
        return place, "bad_row", f"{label!r} in {name!r} from {first!r} to {last!r} s"
    clip_id = tables.span_id(name, start_s, end_s)
    if split not in ("train", ""):
        return clip_id, "other_split", f"{name} is in split {split!r}"
    cut = f"{name}_{round(start_s):06d}_{round(end_s):06d}"
    if cut in files:
        return LabelledClip(clip_id, name, files[cut], label)
    if name not in files:
        return clip_id, "no_video", f"neither {name} nor {cut} is among the files (a dead link?)"
    return LabelledClip(clip_id, name, files[name], label, start_s, end_s)


# ------------------------------------------------------------------------------------------- frames


def _read(clip: LabelledClip, shape: tuple[int, int]) -> worker_pool.Value:
    """In a worker: frames [1, T, S, S, 3] (none where there is a failure), and one row: reason,
    detail, sha256. ``shape``: T and S.

    A span that outlasts its file ends with it, as the ends in such lists are rounded up.
    """
    (count, size_px), digest, failure = shape, "", ("", "")
    frames = np.empty((0, count, size_px, size_px, 3), np.uint8)
    try:
        digest = sha256_file(clip.path)
        info = video.probe(clip.path)
        end_s = min(info.duration_s, clip.end_s or info.duration_s)
        if clip.start_s >= end_s:
            raise video.OutsideVideo(
                f"begins at {clip.start_s} s; the video lasts {info.duration_s:.2f} s"
            )
        frames = video.read_frames(info, clip_times(clip.start_s, end_s, count), size_px)[None]
    except video.OutsideVideo as error:
        failure = ("outside", str(error))
    except (video.UnreadableVideo, OSError) as error:
        failure = ("unreadable", str(error))
    facts = [(*failure, digest)]
    return {
        "frames": frames,
        "facts": pl.DataFrame(facts, schema=["reason", "detail", "sha256"], orient="row"),
    }


def _why_lost(result: worker_pool.Result, study_files: set[str]) -> tuple[str, str] | None:
    """Reason and detail why a clip is left out; None: it is not."""
    if result.value is None:
        return worker_pool.LOST_READER[str(result.reason)], result.detail
    reason, detail, digest = result.table("facts").row(0)
    if not reason and digest in study_files:
        return "study_file", "the file is a video of the study under another name"
    return (reason, detail) if reason else None


def _write_frames(
    path: Path,
    clips: pl.DataFrame,
    results: Iterable[tuple[LabelledClip, worker_pool.Result]],
    study: ClipData,
) -> Path:
    """The clips' frames in the order of ``clips``: from the shards, then the study's, never all in
    memory.
    """
    shape = (clips.height, *study.frames().shape[1:])
    frames = np.lib.format.open_memmap(path, mode="w+", dtype=np.uint8, shape=shape)
    place = {name: row for row, name in enumerate(clips["clip_id"])}
    for clip, result in results:
        if clip.clip_id in place:
            frames[place[clip.clip_id]] = result.array("frames")[0]
    for row in study.rows("val"):
        frames[place[study.clips["clip_id"][int(row)]]] = study.frames()[row]
    frames.flush()
    return path


# ------------------------------------------------------------------------------------------- labels


def _clips(listed: list[LabelledClip], study: ClipData) -> pl.DataFrame:
    """One table of COLUMNS: the data set's clips (split train), then the study's validation
    clips.
    """
    topics = study.clips.select("sport", "skill").unique().drop_nulls().sort("sport", "skill")
    rows = [
        (clip.clip_id, clip.video_id, *topic_of(clip.label, topics.rows()), "train", clip.label)
        for clip in listed
    ]
    own = pl.DataFrame(rows, schema=dict.fromkeys(COLUMNS[:-1], pl.String), orient="row")
    labels = own.group_by("sport", "skill").agg(label=pl.col("text").first())
    topic = pl.concat_str(pl.col("sport", "skill").fill_null(""), separator=" ").str.strip_chars()
    val = (
        study.clips[study.rows("val")]
        .with_columns(pl.col("split").cast(pl.String))
        .join(labels, on=["sport", "skill"], how="left", maintain_order="left")
        .with_columns(pl.col("label").fill_null(topic))
    )
    return pl.concat([own.with_columns(label="text"), val.select(COLUMNS)])


def topic_of(label: str, topics: list[tuple[str, str]]) -> tuple[str, str]:
    """The study's sport and skill that the label names (the longest names win: table tennis, not
    tennis).

    A label that names no sport is a sport of its own; one that names no skill of its sport is a
    skill of its own.
    """

    def longest_named(names: set[str]) -> str:
        said = [n for n in names if re.search(rf"\b{re.escape(n)}\b", label, re.IGNORECASE)]
        return min(said, key=lambda name: (-len(name), name), default=label)

    sport = longest_named({sport for sport, _ in topics})
    return sport, longest_named({skill for of, skill in topics if of == sport})


# ----------------------------------------------------------------------------------------- pictures


def look(frames_THWC: np.ndarray) -> np.ndarray:
    """Where each picture of a clip is bright: float16 [T, SIDE²], centred and of length 1 (a flat
    picture: 0).
    """
    grey = [
        cv2.resize(frame, (SIDE, SIDE), interpolation=cv2.INTER_AREA).mean(-1)
        for frame in frames_THWC
    ]
    return _unit(np.stack(grey).reshape(len(grey), -1)).astype(np.float16)


def _unit(rows: np.ndarray) -> np.ndarray:
    rows = rows - rows.mean(-1, keepdims=True)
    return rows / np.maximum(np.linalg.norm(rows, axis=-1, keepdims=True), 1e-6)


def same_look(looks: list[np.ndarray], others: list[np.ndarray]) -> np.ndarray:
    """For each of N looks the row of one of M others that shows the same, else -1: [N]; as it is or
    mirrored.

    The mean pictures choose ``CANDIDATES``, in blocks, never N x M numbers at once; then every
    picture is held against every picture of a candidate. Likeness is the mean over both clips'
    pictures of the best match of each.
    """
    found = np.full(len(looks), -1)
    if not looks or not others:
        return found
    theirs = np.stack(others)  # [M, T, SIDE²]
    turned = theirs.reshape(*theirs.shape[:2], SIDE, SIDE)[..., ::-1].reshape(theirs.shape)
    for side in (theirs, turned):
        mean_MD = _unit(side.mean(1, dtype=np.float32))
        for first in range(0, len(looks), BLOCK):
            block = np.stack(looks[first : first + BLOCK])
            alike = _unit(block.mean(1, dtype=np.float32)) @ mean_MD.T
            near = np.argsort(-alike, axis=1, kind="stable")[:, :CANDIDATES]
            for row, (mine, rows) in enumerate(zip(block, near, strict=True)):
                likeness = _likeness(mine.astype(np.float32), side[rows].astype(np.float32))
                if found[first + row] < 0 and likeness.max() >= SAME_LOOK:
                    found[first + row] = rows[likeness.argmax()]
    return found


def _likeness(one_TD: np.ndarray, others_KTD: np.ndarray) -> np.ndarray:
    """How well each of K clips matches one: [K]."""
    match_KTT = one_TD @ others_KTD.transpose(0, 2, 1)
    return (match_KTT.max(2).mean(1) + match_KTT.max(1).mean(1)) / 2
