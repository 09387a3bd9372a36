"""The study of stage 03: which systems come of it, what a video arm starts from, whose the
embeddings are.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import torch
from small_training import small_config

from sportskills_lib import models
from sportskills_lib.encoder import figures, stage, training
from sportskills_lib.encoder.arms import System
from sportskills_lib.runs import worker_pool


@pytest.fixture(scope="module", autouse=True)
def _in_this_process() -> Iterator[None]:
    """Workers that need not import torch again; test_encoder has arms in processes of their own."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(worker_pool, "_in_pool", worker_pool._in_process)
        yield


@pytest.fixture(scope="module")
def both(
    tiny: str, material: training.ClipData, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, stage.ArmResults]:
    """A study of both encoders with one arm."""
    folder = tmp_path_factory.mktemp("study")
    config = small_config(
        tiny, encoders=["image", "video"], arms=["narrations"], learning_rates=[1e-2], **VIDEO
    )
    return folder, stage.train_arms(
        material, config, folder=folder / "models", shards=folder / "shards"
    )


VIDEO = {"video_steps": 4, "video_learning_rates": [1e-2], "video_layers": 1, "video_heads": 2}
SYSTEMS = tuple(
    System(encoder, arm) for encoder in ("image", "video") for arm in ("zero_shot", "narrations")
)


def test_a_video_arm_starts_as_the_image_arm_of_its_texts_and_leaves_its_frame_tower_alone(
    both,
) -> None:
    folder, found = both
    assert found.systems == SYSTEMS
    start, last = (
        found.curves.filter(encoder=name, arm="narrations") for name in ("video", "image")
    )
    assert start["val_recall"][0] == last["val_recall"][-1] and start["val_mrr"][
        0
    ] == pytest.approx(last["val_mrr"][-1])
    assert (
        start["step"].to_list() == [0, 2, 4]
        and found.headline()["val_recall_video_narrations"] >= 0
    )
    image, video = (
        models.load_tower(folder / "models" / name / "narrations").module
        for name in ("image", "video")
    )
    before, after = image.state_dict(), video.state_dict()
    moved = {name for name in before if not torch.equal(before[name], after[name])}
    assert moved and not any(name.startswith("visual.") for name in moved)
    assert any(name.startswith("pooling.") and bool(after[name].abs().sum()) for name in after)


def test_embeddings_from_kept_frame_features_are_those_of_the_saved_towers(
    both, tiny: str, material
) -> None:
    folder, found = both
    config = small_config(
        tiny, encoders=["image", "video"], arms=["narrations"], learning_rates=[1e-2], **VIDEO
    )
    said = pl.DataFrame({"narration_id": ["n0", "n1"], "text": ["bend the knee", "stand up"]})
    where = {"folder": folder / "models", "systems": found.systems, "shards": folder / "shards"}
    table = stage.embed(material, said, config, **where)
    assert table["model_id"].unique(maintain_order=True).to_list() == [
        system.model_id for system in SYSTEMS
    ]
    vectors = {}
    for system in SYSTEMS:
        tower = models.load_tower((folder / "models").joinpath(*system))
        rows = table.filter(model_id=system.model_id, item_kind="clip")
        assert rows["item_id"].to_list() == material.clips["clip_id"].to_list()
        vectors[system] = np.array(rows["vector"].to_list())
        assert np.allclose(vectors[system], tower.encode_frames(material.frames()), atol=1e-5)
        told = np.array(
            table.filter(model_id=system.model_id, item_kind="narration")["vector"].to_list()
        )
        assert np.allclose(told, tower.encode_texts(said["text"].to_list()), atol=1e-5)
    assert np.allclose(
        vectors[SYSTEMS[0]], vectors[SYSTEMS[2]], atol=1e-6
    )  # zero-shot: video is the mean
    assert not np.allclose(vectors[SYSTEMS[1]], vectors[SYSTEMS[3]], atol=1e-3)


def test_every_sport_has_a_row_in_the_table_of_recalls(both) -> None:
    table = figures.recall_table(both[1])
    assert table["sport"].to_list() == ["golf", "judo", "tennis"]
    assert table.columns[2:] == ["chance", "image:narrations", "video:narrations"]


def test_a_native_model_is_trained_whole_beside_the_others(
    tiny: str, material, tmp_path: Path
) -> None:
    from sportskills_lib.demo.base_xclip import make_base_xclip

    model = str(make_base_xclip(tmp_path / "xclip", steps=1, corpus=8, batch=4))
    config = small_config(
        tiny, encoders=["native"], native_model=model, arms=["narrations"], learning_rates=[1e-3]
    )
    where = {"folder": tmp_path / "models", "shards": tmp_path / "shards"}
    found = stage.train_arms(material, config, **where)
    assert found.systems == (System("native", "zero_shot"), System("native", "narrations"))
    start, now = (
        models.load_tower((tmp_path / "models").joinpath(*system)).module
        for system in found.systems
    )
    moved = {
        n for n, value in start.state_dict().items() if not torch.equal(value, now.state_dict()[n])
    }
    assert any(name.startswith("vision_model.") for name in moved)
    said = pl.DataFrame({"narration_id": ["n0"], "text": ["bend the knee"]})
    table = stage.embed(material, said, config, systems=found.systems, **where)
    tower = models.load_tower(tmp_path / "models/native/narrations")
    got = np.array(table.filter(model_id="native:narrations", item_kind="clip")["vector"].to_list())
    assert np.allclose(got, tower.encode_frames(material.frames()), atol=1e-5)
    with pytest.raises(ValueError, match="the encoder native needs native_model"):
        stage.sources(config.model_copy(update={"native_model": ""}))


def test_only_the_sports_asked_for_are_trained_on(material: training.ClipData) -> None:
    some = training.ClipData(material.clips, material.frames_path, ("golf", "judo"))
    assert set(material.clips[some.rows("train")]["sport"]) == {"golf", "judo"}
    assert np.array_equal(some.rows("val"), material.rows("val"))


def test_a_video_arm_may_be_trained_whole_from_the_model(
    tiny: str, material, tmp_path: Path
) -> None:
    config = small_config(
        tiny, encoders=["video"], arms=["narrations"], video_start="model", **VIDEO
    )
    assert stage._needed(config) == ["video"]
    told = material.clips["text"].to_list()
    whole = training.train(
        training.Job(config, material, told, "narrations", 1e-2, 2, encoder="video")
    ).tower
    start, now = models.load_tower(tiny).module.state_dict(), whole.module.state_dict()
    assert not torch.equal(
        start["visual.layer4.0.conv1.weight"], now["visual.layer4.0.conv1.weight"]
    )
    assert any(name.startswith("pooling.") for name in now)


def test_chance_is_the_mean_over_sports_and_an_edge_is_named() -> None:
    by_sport = pl.DataFrame({"sport": ["golf", "golf", "judo"], "clips": [20, 20, 5]})
    assert figures.chance(by_sport) == pytest.approx((0.5 + 1.0) / 2)
    assert figures.chance(by_sport.clear()) is None
    rows = [
        ("image", "a", 0.1, 2.0, False),
        ("image", "a", 0.2, 1.0, True),
        ("image", "b", 0.1, 3.0, False),
    ]
    rows += [("image", "b", 0.2, 1.0, True), ("image", "b", 0.3, 2.0, False)]
    trials = pl.DataFrame(rows, schema=stage.TABLES["trials"], orient="row")
    assert (
        figures.rates_at_the_edge(trials)
        == "**1 of 2 arms chose an edge of their grid**: image:a (0.2)."
    )
    assert "nothing was chosen" in figures.rates_at_the_edge(trials.clear())
