"""The activity data set as training material: what is kept, what never is, and that the arm trains
on it alone.
"""

from __future__ import annotations

import shutil
from pathlib import Path

import cv2
import numpy as np
import polars as pl
import pytest

from sportskills_lib import models, video
from sportskills_lib.config import EncoderConfig
from sportskills_lib.demo.activity import ROW, make_activity, plan_activity
from sportskills_lib.demo.film import write_video
from sportskills_lib.demo.settings import DemoConfig
from sportskills_lib.encoder import activity_data
from sportskills_lib.encoder import stage as arms
from sportskills_lib.encoder.texts import text_groups, training_texts
from sportskills_lib.encoder.training import ClipData
from sportskills_lib.formats.files import sha256_file
from sportskills_lib.runs import worker_pool

CONFIG = DemoConfig.smoke(sports=2, channels=3, skills=2, size_px=32, workers=0)
COPIES = "copies"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_activity(tmp_path_factory.mktemp("activity"), CONFIG)


def _film(rng: np.random.Generator) -> np.ndarray:
    """A block that wanders over a random scene: uint8 [20, 32, 32, 3]."""
    scene = cv2.resize(rng.integers(0, 200, (5, 5, 3), dtype=np.uint8), (32, 32))
    frames = np.repeat(scene[None], 20, axis=0)
    for t, frame in enumerate(frames):
        frame[4 + t % 12 : 14 + t % 12, 3 + t : 12 + t] = 255
    return frames


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> tuple[ClipData, pl.DataFrame, Path]:
    """Eight clips of the study, its videos, and where the films of the last two lie."""
    home, rng = tmp_path_factory.mktemp("study"), np.random.default_rng(0)
    rows, frames = [], []
    for i in range(8):
        split = ("train", "train", "train", "val", "val", "test", "test", "test")[i]
        sport, skill = (("tennis", "serve"), ("golf", "drive"))[i % 2]
        rows.append((f"s{i}:0", f"s{i}", sport, skill, split, f"reach for wall {i}"))
        path = home / f"s{i}.mp4"
        write_video(path, [_film(rng)], config=CONFIG, crf=22, padding=1.0, name=path.stem)
        frames.append(video.read_frames(video.probe(path), (np.arange(4) + 0.5) / 2, 32))
    np.save(home / "frames.npy", np.stack(frames))
    schema = ["clip_id", "video_id", "sport", "skill", "split", "text"]
    clips = pl.DataFrame(rows, schema=schema, orient="row")
    videos = pl.DataFrame(
        {
            "video_id": clips["video_id"],
            "sha256": [sha256_file(home / f"s{i}.mp4") for i in range(8)],
        }
    )
    return ClipData(clips, str(home / "frames.npy")), videos, home


def test_the_demo_set_is_kinetics_form_and_tells_no_execution(folder: Path) -> None:
    listed, plan = pl.read_csv(folder / "train.csv"), plan_activity(CONFIG)
    assert listed.columns == list(ROW) and set(plan["label"]) == set(listed["label"])
    assert plan.height == 2 * 2 * 9  # one training channel of three, nine demonstrations a skill
    assert plan["youtube_id"].n_unique() == plan.height
    for text in (*listed["label"], *(path.name for path in folder.rglob("*"))):
        assert (
            not any(fault in text for fault in set(plan["execution"]) - {"correct"})
            and "correct" not in text
        )
    full = plan_activity(DemoConfig())
    assert full.height == 24 * 3 * 36 and 0.3 < (full["execution"] == "correct").mean() < 0.37
    assert full.group_by("sport", "skill").len()["len"].unique().to_list() == [36]


def test_the_same_config_makes_the_same_set(folder: Path, tmp_path: Path) -> None:
    again = make_activity(tmp_path, CONFIG.model_copy(update={"workers": 2}))
    for path in folder.rglob("*"):
        if path.is_file():
            assert (again / path.relative_to(folder)).read_bytes() == path.read_bytes()


def test_every_clip_trains_with_its_label_and_validation_is_the_studys(
    folder: Path, study, tmp_path: Path
) -> None:
    material, videos, _ = study
    found, dropped = activity_data.gather(folder, material, videos, workers=1, shards=tmp_path)
    plan = plan_activity(CONFIG)
    own = found.clips.filter(split="train")
    assert own.height == plan.height and set(own["video_id"]) == set(plan["youtube_id"])
    assert dict(dropped["reason"].value_counts().iter_rows()) == {
        "no_video": 3,
        "bad_row": 1,
        "outside": 1,
    }
    assert (
        found.clips[own.height :]["clip_id"].to_list() == ["s3:0", "s4:0"]
        and not found.rows("test").size
    )
    assert np.array_equal(found.frames()[own.height :], material.frames()[3:5])
    truth = {row["youtube_id"]: row for row in plan.iter_rows(named=True)}
    for row, frames in zip(own.iter_rows(named=True), found.frames()[: own.height], strict=True):
        planned = truth[row["video_id"]]
        times = planned["time_start"] + 3 * (np.arange(4) + 0.5) / 4
        assert np.array_equal(
            frames,
            video.read_frames(video.probe(folder / "videos" / f"{row['video_id']}.mp4"), times, 32),
        )
        assert row["label"] == planned["label"]
    told = training_texts(found.clips, found.clips["text"], "activity_dataset", seed=0)
    assert all(
        label in text.lower()
        for label, text in zip(found.clips["label"].str.to_lowercase(), told, strict=True)
    )
    groups = text_groups(found.clips, told, "activity_dataset")
    assert len(set(groups[: own.height])) == 4
    again, _ = activity_data.gather(
        folder, material, videos, workers=0, shards=tmp_path
    )  # from the shards
    assert again.clips.equals(found.clips) and np.array_equal(again.frames(), found.frames())


def test_footage_of_the_study_never_gets_in(folder: Path, study, tmp_path: Path) -> None:
    material, videos, home = study
    source = tmp_path / COPIES
    shutil.copytree(folder, source)
    shutil.copy(home / "s0.mp4", source / "videos" / "s0.mp4")  # a training video, by its id
    shutil.copy(home / "s5.mp4", source / "videos" / "renamed.mp4")  # a test video, by its bytes
    for i, turned in ((6, False), (7, True)):  # test videos, darker, smaller and encoded again
        film = _read_all(home / f"s{i}.mp4")
        film = (
            np.stack([cv2.resize(cv2.resize(f, (24, 24)), (32, 32)) for f in film]) * 0.8
        ).astype(np.uint8)
        film = np.ascontiguousarray(film[:, :, ::-1]) if turned else film
        write_video(
            source / "videos" / f"copy{i}.mp4",
            [film],
            config=CONFIG,
            crf=30,
            padding=1.0,
            name="copy",
        )
    more = [f"tennis,{name},0,2,train" for name in ("s0", "renamed", "copy6", "copy7")]
    (source / "more.csv").write_text("\n".join([",".join(ROW), *more]) + "\n")
    found, dropped = activity_data.gather(
        source, material, videos, workers=1, shards=tmp_path / "shards"
    )
    why = dict(
        dropped.filter(pl.col("reason").str.starts_with("study"))
        .select("item_id", "reason")
        .iter_rows()
    )
    assert why == {
        "s0:000000-002000": "study_video", "renamed:000000-002000": "study_file",
        "copy6:000000-002000": "study_pictures", "copy7:000000-002000": "study_pictures",
    }  # fmt: skip
    assert found.clips.filter(split="train").height == plan_activity(CONFIG).height


def _read_all(path: Path) -> np.ndarray:
    return np.concatenate(list(video.stream_frames(video.probe(path), 10.0, 32)))


def test_a_file_that_cannot_be_read_costs_one_clip_and_an_empty_set_is_an_error(
    study, tmp_path: Path
) -> None:
    material, videos, _ = study
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "bad.mp4").write_text("<html>")
    (tmp_path / "a" / "train.csv").write_text(",".join(ROW) + "\ntennis,bad,0,2,train\n")
    with pytest.raises(ValueError, match=r"gave no clip[\s\S]*unreadable"):
        activity_data.gather(tmp_path / "a", material, videos, workers=1, shards=tmp_path / "s")


def test_a_label_belongs_to_the_sport_and_skill_that_it_names() -> None:
    topics = [
        ("tennis", "serve"),
        ("table tennis", "serve"),
        ("table tennis", "push stroke"),
        ("golf", "drive"),
    ]

    def topic(label: str) -> tuple[str, str]:
        return activity_data.topic_of(label, topics)

    assert topic("hitting a tennis serve") == ("tennis", "serve")
    assert topic("playing Table Tennis") == ("table tennis", "playing Table Tennis")
    assert topic("a table tennis push stroke") == ("table tennis", "push stroke")
    assert topic("golfing") == ("golfing", "golfing")


TINY = {
    "model_cfg": {
        "embed_dim": 16,
        "vision_cfg": {"layers": [1, 1, 1, 1], "width": 4, "image_size": 32, "head_width": 16},
        "text_cfg": {
            "context_length": 16,
            "vocab_size": 49408,
            "width": 16,
            "heads": 2,
            "layers": 1,
        },
    },
    "preprocess_cfg": {"mean": [0.5, 0.5, 0.5], "std": [0.2, 0.2, 0.2]},
}


def test_the_arm_trains_on_the_other_clips_and_is_asked_about_the_studys(
    folder: Path, study, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    material, videos, _ = study
    models.new_tower(TINY, seed=3).save(tmp_path / "start")
    shape = {
        "steps": 3,
        "evaluate_every": 2,
        "sports_per_batch": 2,
        "clips_per_sport": 8,
        "learning_rates": [1e-3],
    }
    config = EncoderConfig(
        model=str(tmp_path / "start"),
        arms=["activity_dataset"],
        activity_source=str(folder),
        jobs=1,
        encoders=["image"],
        **shape,
    )
    with pytest.raises(ValueError, match="needs activity_source"):
        arms.other_material(
            material, videos, config.model_copy(update={"activity_source": ""}), shards=tmp_path
        )
    assert arms.sources(config) == [tmp_path / "start", folder]
    other, dropped = arms.other_material(material, videos, config, shards=tmp_path)
    assert other is not None and dropped.height == 5
    monkeypatch.setattr(worker_pool, "_in_pool", worker_pool._in_process)
    folders = {"folder": tmp_path / "models", "shards": tmp_path / "shards"}
    found = arms.train_arms(material, config, other=other, **folders)
    assert [s.arm for s in found.systems] == ["zero_shot", "activity_dataset"] and found.curves[
        "step"
    ].to_list() == [
        0,
        2,
        3,
    ]
    assert found.curves["val_recall"].is_not_nan().all()
    none, nothing = arms.other_material(
        material, videos, config.model_copy(update={"arms": ["both"]}), shards=tmp_path
    )
    assert none is None and nothing.height == 0
    both = config.model_copy(update={"arms": ["both"]})
    assert [s.arm for s in arms.train_arms(material, both, **folders).systems] == [
        "zero_shot",
        "both",
    ]
