"""Small files of learners in the five formats, written by the tests of their readers."""

from __future__ import annotations

import csv
import json
import shutil
from pathlib import Path
from typing import Any

import av
import numpy as np
from films import write_pictures

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


# ---------------------------------------------------------------------------------- EgoExo-Fitness


def judged(
    action: str = "Push-ups",
    frames: Any = (31, 120),
    record: str = "rec",
    **verdicts: Any,
) -> dict[str, Any]:
    """An entry of interpretable_action_judgement.json: ``verdicts`` has the key points by
    annotator, as published ("True", "False").
    """
    return {
        "annotations": [
            {
                "key_point_verification": [[point, str(kept)] for point, kept in points.items()]
                if isinstance(points, dict)
                else points,
                "action_quality_score": 3,
                "comment": "performed according to the instructions",
                "action_name": action,
                "action_guidance": "bend your arms and stretch them",
                "annotator": annotator,
            }
            for annotator, points in verdicts.items()
        ],
        "st_ed_frame": list(frames) if isinstance(frames, tuple) else frames,
        "frame_root": f"frames_open/{record}",
    }


def write_fitness(
    folder: Path, entries: dict[str, Any] | str, actors: dict[str, str], *, numbers: Any = None
) -> Path:
    """EgoExo-Fitness with ``actors`` by record, whose film is a folder of pictures; a record of
    meta_records.json has no id of its own, as published.
    """
    (folder / "raw_annotations").mkdir(parents=True, exist_ok=True)
    text = entries if isinstance(entries, str) else json.dumps(entries)
    (folder / "raw_annotations" / "interpretable_action_judgement.json").write_text(text)
    meta = {
        "records": [{"original_actor": actor, "views": ["exo_m"]} for actor in actors.values()],
        "record_index": {record: place for place, record in enumerate(actors)},
    }
    (folder / "raw_annotations" / "meta_records.json").write_text(json.dumps(meta))
    for record in actors:
        write_pictures(folder / "frames_open" / record / "exo_m", numbers or range(1, 151))
    return folder


# --------------------------------------------------------------------------------------------- QEVD


def labelled(name: str, *labels: Any, **more: Any) -> dict[str, Any]:
    """A row of fine_grained_labels.json, as published."""
    return {
        "video_path": f"./{name}.mp4",
        "labels": list(labels),
        "labels_descriptive": ["described"],
        "split": "train",
    } | more


def write_qevd(
    folder: Path,
    labels: Any,
    *,
    feedback: dict[str, Any] | None = None,
    workers: dict[str, Any] | None = None,
    workouts: Any = None,
) -> Path:
    """QEVD's files; ``feedback`` and ``workers`` are by the clip's name."""
    folder.mkdir(parents=True, exist_ok=True)
    clips = {
        "feedbacks_short_clips.json": ("feedback", feedback),
        "fine_grained_labels_with_worker_ids.json": ("worker_id", workers),
    }
    for file, (field, values) in clips.items():
        if values is not None:
            rows = [{"video_path": f"./{name}.mp4", field: said} for name, said in values.items()]
            (folder / file).write_text(json.dumps(rows))
    for file, content in (("fine_grained_labels", labels), ("feedbacks_long_range", workouts)):
        if content is not None:
            (folder / f"{file}.json").write_text(json.dumps(content))
    return folder


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
