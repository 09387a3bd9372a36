from __future__ import annotations

import errno
import json
from pathlib import Path

import av
import numpy as np
import polars as pl
import pytest

from sportskills_lib.demo import film, lessons
from sportskills_lib.demo.settings import DemoConfig
from sportskills_lib.demo.world import make_world


def contents(folder: Path) -> dict[str, bytes]:
    """Every file of a world."""
    files = (path for path in sorted(folder.rglob("*")) if path.is_file())
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}


def frames_of(path: Path) -> np.ndarray:
    with av.open(str(path)) as container:
        return np.stack([frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)])


def test_same_bytes_on_any_number_of_processes(
    tiny_world: Path, tiny_config: DemoConfig, tmp_path: Path
) -> None:
    other = make_world(tmp_path, tiny_config.model_copy(update={"workers": 2}))
    assert contents(other) == contents(tiny_world)


def test_another_seed_is_another_world(tiny_config: DemoConfig) -> None:
    other = tiny_config.model_copy(update={"seed": 1})
    first, second = list(lessons.plan_videos(tiny_config)), list(lessons.plan_videos(other))
    assert not {video.video_id for video in first} & {video.video_id for video in second}


def test_a_world_is_made_in_place_of_what_stood(tiny_config: DemoConfig, tmp_path: Path) -> None:
    small = tiny_config.model_copy(
        update={"skills": 1, "sports": 1, "train_learners": 0, "test_learners": 0}
    )
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / "weights").write_text("kept")
    make_world(tmp_path, small)
    first = set(contents(tmp_path))
    make_world(tmp_path, small.model_copy(update={"seed": 5}))
    second = set(contents(tmp_path))
    assert {name for name in first & second if name.endswith(".mp4")} == set()
    assert (tmp_path / "models" / "weights").read_text() == "kept"


def test_a_world_can_be_made_after_a_full_disk(
    tiny_world: Path, tiny_config: DemoConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = []

    def write(path: Path, *rest: object, **options: object) -> None:
        calls.append(path)
        if len(calls) == 7:
            path.with_suffix(".partial").write_bytes(b"half a film")
            raise OSError(errno.ENOSPC, "No space left on device")
        whole(path, *rest, **options)

    with monkeypatch.context() as patched:
        whole = film.write_video
        patched.setattr(film, "write_video", write)
        with pytest.raises(OSError, match="No space left"):
            make_world(tmp_path, tiny_config)
    make_world(tmp_path, tiny_config)
    assert contents(tmp_path) == contents(tiny_world)


def test_videos_show_what_the_truth_says(tiny_world: Path) -> None:
    videos = pl.read_parquet(tiny_world / "truth" / "videos.parquet")
    segments = pl.read_parquet(tiny_world / "truth" / "segments.parquet")
    whole = videos.filter(pl.col("kind") == "lesson", dissolve=0).head(3)
    for row in whole.iter_rows(named=True):
        frames = frames_of(tiny_world / "lessons" / f"{row['video_id']}.mp4").astype(float)
        assert len(frames) == round(row["duration_s"] * 10)
        starts = segments.filter(pl.col("video_id") == row["video_id"])["start_s"].to_list()[1:]
        jumps = np.abs(np.diff(frames, axis=0)).mean((1, 2, 3))
        cuts = {round(start * 10) - 1 for start in starts}
        assert min(jumps[sorted(cuts)]) > np.median(jumps)


def test_broken_files_are_broken_as_named(tiny_world: Path) -> None:
    videos = pl.read_parquet(tiny_world / "truth" / "videos.parquet").filter(
        pl.col("defect").is_not_null()
    )
    ids = dict(videos.select("defect", "video_id").iter_rows())
    assert set(ids) == set(lessons.DEFECTS)
    folder = tiny_world / "lessons"
    for defect in ("truncated", "empty", "text"):
        with pytest.raises(av.error.FFmpegError):
            frames_of(folder / f"{ids[defect]}.mp4")
    assert (folder / f"{ids['empty']}.mp4").stat().st_size == 0
    assert not (folder / f"{ids['no_info']}.info.json").exists()
    assert not list(folder.glob(f"{ids['no_captions']}.*.vtt"))
    assert [path.name for path in folder.glob(f"{ids['foreign_language']}.*.vtt")] == [
        f"{ids['foreign_language']}.es.vtt"
    ]
    assert "09:59:58.000" in (folder / f"{ids['impossible_times']}.en.vtt").read_text()


def test_a_reupload_shows_its_original(tiny_world: Path) -> None:
    row = (
        pl.read_parquet(tiny_world / "truth" / "videos.parquet")
        .filter(kind="reupload")
        .row(0, named=True)
    )
    copy = frames_of(tiny_world / "lessons" / f"{row['video_id']}.mp4").astype(float)
    original = frames_of(tiny_world / "lessons" / f"{row['duplicate_of']}.mp4").astype(float)
    if row["mirrored"]:
        copy = copy[:, :, ::-1]
    assert len(copy) == len(original)
    assert np.corrcoef(copy.ravel(), original.ravel())[0, 1] > 0.9
    infos = [
        tiny_world / "lessons" / f"{row[key]}.info.json" for key in ("duplicate_of", "video_id")
    ]
    first, second = (json.loads(path.read_text()) for path in infos)
    assert (
        first["channel_id"] != second["channel_id"] and first["upload_date"] < second["upload_date"]
    )


def test_info_says_which_captions(tiny_world: Path) -> None:
    videos = pl.read_parquet(tiny_world / "truth" / "videos.parquet").filter(
        pl.col("defect").is_null()
    )
    for video_id, form in videos.select("video_id", "caption_form").iter_rows():
        info = json.loads((tiny_world / "lessons" / f"{video_id}.info.json").read_text())
        text = (tiny_world / "lessons" / f"{video_id}.en.vtt").read_text()
        assert info["id"] == video_id and info["playlist_title"].startswith(" ".join(info["tags"]))
        assert bool(info["automatic_captions"]) == (form == "automatic") == (not info["subtitles"])
        assert ("<c>" in text) == (form == "automatic")


def test_ratings_are_the_truth_with_noise(tiny_world: Path) -> None:
    ratings = pl.read_csv(tiny_world / "ratings.csv")
    relevance = pl.read_parquet(tiny_world / "truth" / "relevance.parquet")
    key = ["take_uid", "video_time", "video_id", "start_s"]
    both = ratings.join(relevance, on=key, suffix="_true")
    assert both.height == ratings.height == 3 * relevance.height
    assert ratings["simulated"].all() and ratings["rater"].str.starts_with("simulated").all()
    assert (both["grade"] == both["grade_true"]).mean() > 0.8
    assert ((both["grade"] - both["grade_true"]).abs() <= 2).all()
