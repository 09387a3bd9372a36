"""The reader of Ego-Exo4D's layout, on a small folder written here: what is kept, what is dropped and why."""

from __future__ import annotations

import json

import av
import numpy as np
import polars as pl
import pytest

from sportskills_lib import tables
from sportskills_lib.retrieval.learners import (
    exo_view,
    learners_folder,
    read_learner_frames,
    read_learners,
    span_times,
    sport_and_skill,
)


def write_video(path, *, frames=60, fps=10, size=32):
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


def take(name, participant, task="Tennis - serve", cameras=("cam01",)):
    views = {camera: {"0": {"relative_path": f"frame_aligned_videos/{camera}.mp4"}} for camera in cameras}
    views |= {"aria01": {"rgb": {"relative_path": "frame_aligned_videos/aria01_214-1.mp4"}}, "best_exo": "cam01"}
    return {
        "take_name": name, "take_uid": f"uid-{name}", "task_name": task, "parent_task_name": "Tennis",
        "root_dir": f"takes/{name}", "duration_sec": 6.0, "participant_uid": participant, "frame_aligned_videos": views,
    }  # fmt: skip


def remark(time_s, text, **more):
    return {"recording": "0.webm", "video_time": time_s, "text": text, "error": False, "duration_approx": 4.0} | more


def write_folder(folder, takes, remarks, proficiency=None):
    """``remarks`` and ``proficiency`` are by split, then by take name."""
    (folder / "annotations").mkdir(parents=True, exist_ok=True)
    (folder / "takes.json").write_text(json.dumps(takes))
    for split, by_take in remarks.items():
        annotations = {f"uid-{name}": [{"take_name": name, "commentary_data": rows}] for name, rows in by_take.items()}
        (folder / "annotations" / f"expert_commentary_{split}.json").write_text(
            json.dumps({"annotations": annotations, "ds": split})
        )
    for split, rows in (proficiency or {}).items():
        (folder / "annotations" / f"proficiency_demonstration_{split}.json").write_text(
            json.dumps({"annotations": rows, "ds": split})
        )


@pytest.fixture
def folder(tmp_path):
    takes = [take("a", 1), take("b", 2, task="Judo - osoto sweep"), take("c", 3), take("lost", 4), take("d", 5)]
    for name in ("a", "b", "c", "d"):
        write_video(tmp_path / "takes" / name / "frame_aligned_videos" / "cam01.mp4")
    (tmp_path / "takes" / "d" / "frame_aligned_videos" / "cam01.mp4").write_bytes(b"no video at all")
    remarks = {
        "train": {
            "a": [
                remark(1.0, "your elbow folds up"),
                remark(1.0, "and the knees are stiff"),
                remark(4.5, "nice serve"),
                remark(3.0, "uh", error=True, _error_desc="audio was cut off"),
                remark(60.0, "too late"),
                remark(2.0, "   "),
            ],
            "lost": [remark(1.0, "never seen")],
        },
        "val": {"b": [remark(3.0, "the back leans")]},
        "test": {"c": [remark(5.9, "the arm drops")], "d": [remark(3.0, "unreadable")]},
    }
    good = {"take_uid": "uid-a", "good_executions": [{"video_time": 4.4, "text": "great"}]}
    tips = {"tips_for_improvement": [{"video_time": 1.2, "text": "extend it"}, {"video_time": 4.9, "text": "no"}]}
    write_folder(tmp_path, takes, remarks, {"train": [good | tips]})
    return tmp_path


def test_what_is_kept_and_what_is_dropped(folder):
    learners, dropped = read_learners(folder, span_s=3.0)
    rows = {row["learner_id"]: row for row in learners.iter_rows(named=True)}
    assert list(rows) == sorted(
        [
            "uid-a:000000-002500",
            "uid-a:003000-006000",
            "uid-b:001500-004500",
            "uid-c:004400-006000",
            "uid-d:001500-004500",
        ]
    )
    first = rows["uid-a:000000-002500"]
    assert first["comment"] == "your elbow folds up extend it and the knees are stiff"
    assert (first["sport"], first["skill"], first["participant"], first["split"]) == ("tennis", "serve", "1", "train")
    assert first["is_mistake"] and not rows["uid-a:003000-006000"]["is_mistake"]
    assert first["path"] == "takes/a/frame_aligned_videos/cam01.mp4"
    assert dict(dropped["reason"].value_counts().iter_rows()) == {
        "no_exo_view": 1, "doubled": 1, "annotation_error": 1, "outside_take": 1, "empty_comment": 1, "no_take": 1,
    }  # fmt: skip
    assert dropped.filter(pl.col("reason") == "annotation_error")["detail"][0] == "audio was cut off"


def test_frames_are_those_of_the_span_and_an_unreadable_video_is_dropped(folder):
    learners, _ = read_learners(folder, span_s=3.0)
    kept, frames, dropped = read_learner_frames(folder, learners, frames=4, size_px=32, workers=0)
    assert kept["learner_id"].to_list() == [x for x in learners["learner_id"].to_list() if not x.startswith("uid-d")]
    assert frames.shape == (4, 4, 32, 32, 3) and frames.dtype == np.uint8
    assert dropped["reason"].to_list() == ["unreadable"]
    times_s = span_times(1.5, 4.5, 4)
    np.testing.assert_allclose(times_s, [1.875, 2.625, 3.375, 4.125])
    shown = frames[kept["learner_id"].to_list().index("uid-b:001500-004500")].mean((1, 2, 3)) / 4
    np.testing.assert_allclose(shown, np.floor(times_s * 10), atol=1.0)


def test_a_participant_in_two_splits_is_a_leak(folder):
    takes = json.loads((folder / "takes.json").read_text())
    takes[2]["participant_uid"] = 1
    (folder / "takes.json").write_text(json.dumps(takes))
    with pytest.raises(ValueError, match="participant '1' stands in the splits test, train"):
        read_learners(folder, span_s=3.0)


def test_no_folder_gives_empty_tables(monkeypatch, tmp_path):
    monkeypatch.setenv("SPORTSKILLS_HOME", str(tmp_path))
    assert learners_folder("") is None and learners_folder("data/nowhere") is None
    learners, dropped = read_learners(None, span_s=3.0)
    assert learners.height == dropped.height == 0
    assert set(learners.columns) == set(tables.Learners.column_names())
    kept, frames, _ = read_learner_frames(None, learners, frames=8, size_px=64, workers=2)
    assert kept.height == 0 and frames.shape == (0, 8, 64, 64, 3)


def test_a_folder_without_takes_or_with_broken_json_says_what_to_do(tmp_path):
    with pytest.raises(ValueError, match=r"takes\.json does not exist"):
        read_learners(tmp_path, span_s=3.0)
    (tmp_path / "takes.json").write_text("{")
    with pytest.raises(ValueError, match="not readable JSON"):
        read_learners(tmp_path, span_s=3.0)


@pytest.mark.parametrize(
    ("task", "parent", "expected"),
    [
        ("Tennis - serve", "Tennis", ("tennis", "serve")),
        ("Basketball Drills - Mikan Layup - left", "Basketball", ("basketball drills", "mikan layup - left")),
        ("Dance", None, ("dance", None)),
        ("Freeform", "Soccer", ("soccer", None)),
    ],
)
def test_sport_and_skill_come_from_the_task(task, parent, expected):
    assert sport_and_skill(task, parent) == expected


def test_the_view_is_the_first_camera_on_disk_and_never_outside_the_folder(tmp_path):
    (tmp_path / "takes/x/frame_aligned_videos/downscaled/448").mkdir(parents=True)
    (tmp_path / "takes/x/frame_aligned_videos/downscaled/448/cam03.mp4").touch()
    (tmp_path.parent / "outside.mp4").touch()
    cameras = {name: {"0": {"relative_path": f"frame_aligned_videos/{name}.mp4"}} for name in ("cam02", "cam03")}
    assert exo_view(tmp_path, "takes/x", cameras) == "takes/x/frame_aligned_videos/downscaled/448/cam03.mp4"
    assert exo_view(tmp_path, "takes/x", {"cam01": {"0": {"relative_path": "../../../outside.mp4"}}}) is None
    assert exo_view(tmp_path, "takes/x", {"aria01": {"rgb": {"relative_path": "a.mp4"}}, "best_exo": "cam03"}) is None
