"""Small files of learners in the three formats, written by the tests of their readers."""

from __future__ import annotations

import csv
import json
import shutil
from pathlib import Path
from typing import Any

import av
import numpy as np

VIEW = "frame_aligned_videos/cam01.mp4"
COLUMNS = (
    "video",
    "start",
    "end",
    "sport",
    "skill",
    "comment",
    "participant",
    "split",
    "is_mistake",
)


def write_video(path: Path, *, frames: int = 60, fps: int = 10, size: int = 32) -> Path:
    """Each frame is a grey that tells its number: 4 * index."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=fps, options={"crf": "1"})
        stream.width = stream.height = size
        stream.pix_fmt = "yuv420p"
        for index in range(frames):
            picture = np.full((size, size, 3), 4 * index, np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode())
    return path


def copy_video(video: Path, *paths: Path) -> None:
    """The same video (of 6 s) under other names."""
    for path in paths:
        path.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(video, path)


# ---------------------------------------------------------------------------------------- Ego-Exo4D


def take(
    name: str,
    participant: Any,
    task: str = "Tennis - serve",
    cameras: tuple[str, ...] = ("cam01",),
    **more,
):
    """An entry of takes.json, as published."""
    views: dict[str, Any] = {
        camera: {"0": {"cam_id": camera, "relative_path": f"frame_aligned_videos/{camera}.mp4"}}
        for camera in cameras
    }
    views["aria01"] = {
        "rgb": {"cam_id": "aria01", "relative_path": "frame_aligned_videos/aria01_214-1.mp4"}
    }
    views["best_exo"] = {"0": {"relative_path": None}}
    return {
        "take_name": name,
        "take_uid": f"uid-{name}",
        "task_name": task,
        "parent_task_name": task.split(" ")[0],
        "root_dir": f"takes/{name}",
        "duration_sec": 6.0,
        "participant_uid": participant,
        "is_dropped": False,
        "frame_aligned_videos": views,
    } | more


def remark(time_s: Any, text: Any, **more: Any) -> dict[str, Any]:
    """A remark of the commentary."""
    return {
        "recording": "0.webm",
        "video_time": time_s,
        "text": text,
        "error": False,
        "duration_approx": 4.0,
    } | more


def item(time_s: Any, text: str, **more: Any) -> dict[str, Any]:
    """A good execution or a tip, as published: its text is the text of a list."""
    return {
        "video_time": time_s,
        "list": repr([text]),
        "expert_uid": "d2vast",
        "video_name": "x",
    } | more


def proficiency(name: str, good: list | None = None, tips: list | None = None) -> dict[str, Any]:
    """The entry of a take in proficiency_demonstration_<split>.json."""
    return {
        "take_uid": f"uid-{name}",
        "good_executions": good or [],
        "tips_for_improvement": tips or [],
    }


def write_egoexo(
    folder: Path, takes: Any, remarks: dict[str, Any], moments: dict[str, Any] | None = None
) -> Path:
    """``remarks`` and ``moments`` are by split; remarks then by the take's name."""
    (folder / "annotations").mkdir(parents=True, exist_ok=True)
    (folder / "takes.json").write_text(json.dumps(takes))
    for split, by_take in remarks.items():
        annotations = {
            f"uid-{name}": [{"take_name": name, "take_uid": f"uid-{name}", "commentary_data": rows}]
            for name, rows in by_take.items()
        }
        (folder / "annotations" / f"expert_commentary_{split}.json").write_text(
            json.dumps({"annotations": annotations, "ds": split})
        )
    for split, rows in (moments or {}).items():
        (folder / "annotations" / f"proficiency_demonstration_{split}.json").write_text(
            json.dumps({"annotations": rows, "ds": split})
        )
    return folder


# -------------------------------------------------------------------------------------------- ExAct


def question(
    number: int, *, capture: int | None = None, good: bool = False, **more: Any
) -> dict[str, Any]:
    """A line of ExAct's metadata.jsonl, as published."""
    name = f"unc_basketball_{number if capture is None else capture:03d}_{number}"
    kind = "ge" if good else "tips"
    return {
        "file_name": f"basketball_{kind}_{name}_2.5.mp4",
        "id": f"basketball_{kind}_{name}_2.5",
        "domain": "basketball",
        "is_ge": good,
        "groundTruth": f"the elbow is right {number}",
        "negative_comments": [f"wrong {number}-{place}" for place in range(4)],
        "take_name": name,
        "video_time": 2.5,
        "task_name": "Basketball Drills - Mikan Layup",
    } | more


def write_exact(folder: Path, rows: list[dict[str, Any]], video: Path | None = None) -> Path:
    """metadata.jsonl, with a video for each row that names one."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "metadata.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    if video:
        copy_video(
            video,
            *(folder / row["file_name"] for row in rows if isinstance(row.get("file_name"), str)),
        )
    return folder / "metadata.jsonl"


# -------------------------------------------------------------------------------------- plain table


def tried(video: str = "a.mp4", start: Any = 1, end: Any = 4, **more: Any) -> dict[str, Any]:
    """A row of a plain table."""
    row = {
        "video": video,
        "start": start,
        "end": end,
        "sport": "tennis",
        "skill": "serve",
        "comment": "elbow up",
    }
    return row | {"participant": "", "split": "", "is_mistake": ""} | more


def write_csv(path: Path, rows: list[dict[str, Any]], columns: tuple[str, ...] = COLUMNS) -> Path:
    """A plain table."""
    with path.open("w", newline="", encoding="utf-8", errors="surrogatepass") as file:
        writer = csv.DictWriter(file, columns, extrasaction="ignore")
        writer.writeheader()
        writer.writerows(rows)
    return path


def reasons(dropped: Any) -> dict[str, int]:
    """How many rows were dropped for each reason."""
    return dict(sorted(dropped["reason"].value_counts().iter_rows()))
