"""Learners from a folder in Ego-Exo4D's layout: who tries what, what an expert says of it, and the frames.

``takes.json`` names the takes and their cameras, ``annotations/expert_commentary_{train,val,test}.json`` holds the
experts' remarks (one moment each) and the split, ``annotations/proficiency_demonstration_*.json`` the moments of good
execution and the tips. A learner is a span around a remark's moment, seen by the first exocentric camera whose file is
there. Nothing vanishes: what is not kept is returned with its reason. The comment builds supervision only.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from sportskills_lib import compute, tables, video
from sportskills_lib.artifacts import workspace

EXO_CAMERA = re.compile(r"^(cam|gp|exo)\d*$", re.IGNORECASE)
SPLITS = tables.SPLITS
Drop = tuple[str, str, str, str]


@dataclass(frozen=True)
class Take:
    """One take of the learners' folder, as its files describe it."""

    take_id: str
    participant: str
    sport: str
    skill: str | None
    path: str  # of the exocentric view, relative to the folder
    duration_s: float


@dataclass(frozen=True)
class Moment:
    """A proficiency item: a moment done well, or a tip for one that was not."""

    time_s: float
    text: str
    is_good: bool


def learners_folder(learners: str) -> Path | None:
    """The folder that the setting names (relative to the workspace); None when it is empty or not there."""
    folder = workspace() / learners
    return folder if learners and folder.is_dir() else None


def read_learners(folder: Path | None, *, span_s: float, tip_gap_s: float = 1.0) -> tuple[pl.DataFrame, pl.DataFrame]:
    """tables.Learners of a folder, and tables.Dropped; both empty without a folder.

    ValueError when ``takes.json`` is missing or a participant or take stands in two splits (a leak).
    """
    rows: dict[str, dict[str, Any]] = {}
    drops: list[Drop] = []
    if folder is not None:
        takes = read_takes(folder, drops)
        for split in SPLITS:
            moments = _read_moments(folder, split)
            for take_id, remark in _remarks(folder, split, drops):
                if take_id in takes:
                    _add(rows, takes[take_id], remark, moments.get(take_id, []), split, span_s, tip_gap_s, drops)
                else:
                    drops.append(("learner", _remark_id(take_id, remark), "no_take", "its take was not kept"))
    learners = tables.Learners.validate(
        pl.DataFrame(list(rows.values()), schema=_learner_schema()).sort("learner_id"), cast=True
    )
    for group in ("participant", "take_id"):
        tables.check_no_straddling(learners, group)
    return learners, tables.dropped_rows(drops)


def _learner_schema() -> dict[str, Any]:
    kinds = {"start_s": pl.Float64, "end_s": pl.Float64, "is_mistake": pl.Boolean}
    return {name: kinds.get(name, pl.String) for name in tables.Learners.column_names()}


# ------------------------------------------------------------------------------------------------------- reading


def _load(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise ValueError(f"{path} is not readable JSON ({error}): fetch it again") from None


def read_takes(folder: Path, drops: list[Drop]) -> dict[str, Take]:
    """Takes with an exocentric view on disk, by take_uid; the others go to ``drops``."""
    path = folder / "takes.json"
    if not path.is_file():
        raise ValueError(f"{path} does not exist: name a folder in Ego-Exo4D's layout, or set learners to ''")
    takes: dict[str, Take] = {}
    for entry in _load(path):
        uid, name = str(entry.get("take_uid", "")), str(entry.get("take_name", ""))
        root = str(entry.get("root_dir") or f"takes/{name}")
        view = exo_view(folder, root, entry.get("frame_aligned_videos") or {})
        if not re.fullmatch(tables.ID_PATTERN, uid):
            drops.append(("take", uid or name, "bad_id", f"take_uid {uid!r} is no usable id"))
        elif view is None:
            drops.append(("take", uid, "no_exo_view", f"no exocentric video below {root}"))
        else:
            sport, skill = sport_and_skill(str(entry.get("task_name", "")), entry.get("parent_task_name"))
            person = str(entry.get("participant_uid", f"take {uid}"))
            takes[uid] = Take(uid, person, sport, skill, view, float(entry.get("duration_sec") or 0.0))
    return takes


def exo_view(folder: Path, root: str, cameras: dict[str, Any]) -> str | None:
    """The first exocentric camera's file that exists, relative to ``folder``: full size, else the downscaled copy."""
    for camera in sorted(name for name in cameras if EXO_CAMERA.match(name)):
        for stream in cameras[camera].values() if isinstance(cameras[camera], dict) else ():
            relative = str(stream.get("relative_path", "")) if isinstance(stream, dict) else ""
            small = f"frame_aligned_videos/downscaled/448/{camera}.mp4"
            for candidate in filter(None, (relative, small)):
                path = (folder / root / candidate).resolve()
                if path.is_file() and path.is_relative_to(folder.resolve()):
                    return path.relative_to(folder.resolve()).as_posix()
    return None


def sport_and_skill(task: str, parent: str | None) -> tuple[str, str | None]:
    """``"Tennis - serve"`` is (tennis, serve); a task without a dash has its parent's name as sport, and no skill."""
    sport, dash, skill = task.partition(" - ")
    if not dash:
        return (parent or task or "unknown").strip().lower(), None
    return sport.strip().lower(), skill.strip().lower() or None


def _remarks(folder: Path, split: str, drops: list[Drop]) -> Iterator[tuple[str, dict[str, Any]]]:
    """(take_uid, remark) of one split's commentary; remarks flagged as errors are dropped with that reason."""
    path = folder / "annotations" / f"expert_commentary_{split}.json"
    if not path.is_file():
        return
    for take_id, experts in _load(path)["annotations"].items():
        for expert in experts:
            for remark in expert.get("commentary_data", []):
                label = _remark_id(take_id, remark)
                if remark.get("error"):
                    drops.append(("learner", label, "annotation_error", str(remark.get("_error_desc") or "no detail")))
                elif remark.get("video_time") is None or not str(remark.get("text") or "").strip():
                    drops.append(("learner", label, "empty_comment", "no text or no time"))
                else:
                    yield take_id, remark


def _remark_id(take_id: str, remark: dict[str, Any]) -> str:
    return f"{take_id}@{remark.get('video_time')}"


def _read_moments(folder: Path, split: str) -> dict[str, list[Moment]]:
    path = folder / "annotations" / f"proficiency_demonstration_{split}.json"
    moments: dict[str, list[Moment]] = {}
    if path.is_file():
        for entry in _load(path)["annotations"]:
            for field, good in (("good_executions", True), ("tips_for_improvement", False)):
                for item in entry.get(field) or []:
                    if item.get("video_time") is not None:
                        moment = Moment(float(item["video_time"]), str(item.get("text") or "").strip(), good)
                        moments.setdefault(str(entry.get("take_uid")), []).append(moment)
    return moments


def _add(
    rows: dict[str, dict[str, Any]],
    take: Take,
    remark: dict[str, Any],
    moments: list[Moment],
    split: str,
    span_s: float,
    tip_gap_s: float,
    drops: list[Drop],
) -> None:
    """One learner from one remark: its span inside the take, its text with the tips of that moment."""
    at_s, text = float(remark["video_time"]), " ".join(str(remark["text"]).split())
    if not 0 <= at_s <= take.duration_s:
        detail = f"at {at_s} s; the take lasts {take.duration_s:.2f} s"
        drops.append(("learner", _remark_id(take.take_id, remark), "outside_take", detail))
        return
    start_s, end_s = max(0.0, at_s - span_s / 2), min(take.duration_s, at_s + span_s / 2)
    near = sorted((abs(moment.time_s - at_s), moment.time_s, moment) for moment in moments) if moments else []
    close = [moment for gap, _, moment in near if gap <= tip_gap_s]
    learner_id = tables.span_id(take.take_id, start_s, end_s)
    if learner_id in rows:
        drops.append(("learner", _remark_id(take.take_id, remark), "doubled", f"same moment as {learner_id}"))
        if text not in rows[learner_id]["comment"]:
            rows[learner_id]["comment"] += " " + text
        return
    rows[learner_id] = {
        "learner_id": learner_id,
        "start_s": start_s,
        "end_s": end_s,
        "take_id": take.take_id,
        "participant": take.participant,
        "path": take.path,
        "sport": take.sport,
        "skill": take.skill,
        "comment": " ".join([text, *(moment.text for moment in close if not moment.is_good)]),
        "is_mistake": not (close and close[0].is_good),  # a remark without a label counts as one to learn from
        "split": split,
    }


# -------------------------------------------------------------------------------------------------------- frames


def span_times(start_s: float, end_s: float, frames: int) -> np.ndarray:
    """``frames`` times in the middle of equal parts of a span: both ends count alike."""
    return start_s + (np.arange(frames) + 0.5) * (end_s - start_s) / frames


def read_take(item: tuple[str, str, tuple[tuple[float, float], ...], int, int]) -> dict[str, pl.DataFrame | np.ndarray]:
    """Worker: frames uint8 [spans, T, H, W, 3] of one video's spans, or the reason why there are none."""
    _, path, spans, frames, size_px = item
    times_s = np.concatenate([span_times(start_s, end_s, frames) for start_s, end_s in spans])
    try:
        info = video.probe(path)
        times_s = np.clip(times_s, 0.0, info.duration_s)
        pictures, reason = video.read_frames(info, times_s, size_px), ""
    except video.UnreadableVideo as error:
        pictures, reason = np.zeros((len(times_s), size_px, size_px, 3), np.uint8), str(error)
    shape = (len(spans), frames, size_px, size_px, 3)
    return {"frames": pictures.reshape(shape), "reason": pl.DataFrame({"reason": [reason]})}


def read_learner_frames(
    folder: Path | None,
    learners: pl.DataFrame,
    *,
    frames: int,
    size_px: int,
    workers: int,
    shards: Path | None = None,
    timeout_s: float = 120.0,
) -> tuple[pl.DataFrame, np.ndarray, pl.DataFrame]:
    """The learners whose video could be read, their frames uint8 [M, T, H, W, 3] in row order, and what was dropped."""
    blank = np.zeros((0, frames, size_px, size_px, 3), np.uint8)
    if folder is None or not learners.height:
        return learners, blank, tables.dropped_rows([])
    groups = learners.group_by("take_id", "path", maintain_order=True).agg("learner_id", "start_s", "end_s")
    items = [
        (
            row["take_id"],
            str(folder / row["path"]),
            tuple(zip(row["start_s"], row["end_s"], strict=True)),
            frames,
            size_px,
        )
        for row in groups.iter_rows(named=True)
    ]
    results = compute.map_shards(
        read_take,
        items,
        workers=workers,
        timeout_s=timeout_s,
        describe=_describe,
        prepare=video.load_decoders,
        shards=shards,
        label="learners",
    )
    pictures, drops = {}, []
    for ids, result in zip(groups["learner_id"], results, strict=True):
        reason = compute.LOST_READER[result.reason] if result.reason else ""
        detail = result.detail
        if result.value is not None and (detail := result.value["reason"]["reason"][0]):
            reason = "unreadable"
        for place, learner_id in enumerate(ids):
            if reason:
                drops.append(("learner", learner_id, reason, detail))
            elif result.value is not None:
                pictures[learner_id] = np.asarray(result.value["frames"][place])
    kept = learners.filter(pl.col("learner_id").is_in(list(pictures)))
    stacked = np.stack([pictures[learner_id] for learner_id in kept["learner_id"]]) if kept.height else blank
    return kept, stacked, tables.dropped_rows(drops)


def _describe(item: tuple[str, str, tuple[tuple[float, float], ...], int, int]) -> str:
    return f"{item[0]} {item[2]} {item[3]} {item[4]}"


def concat_dropped(parts: Iterable[pl.DataFrame]) -> pl.DataFrame:
    """Several tables.Dropped one below the other."""
    return tables.Dropped.validate(pl.concat(list(parts)), cast=True)
