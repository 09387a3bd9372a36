"""The encoder against oracles: losses by hand, batches by count, arms by what they read, towers by
round trips.
"""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest
import torch
from small_training import VIT, small_config, small_train

from sportskills_lib import models
from sportskills_lib.encoder import stage, texts, training
from sportskills_lib.encoder.losses import info_nce
from sportskills_lib.encoder.train_step import freeze, layer_scales
from sportskills_lib.runs import worker_pool


def test_info_nce_is_clips_loss_when_all_texts_differ() -> None:
    torch.manual_seed(0)
    clip, text = (torch.nn.functional.normalize(torch.randn(5, 8), dim=-1) for _ in range(2))
    logits = 7.0 * clip @ text.T
    wanted = sum(-torch.log_softmax(side, 1).diagonal().mean() for side in (logits, logits.T)) / 2
    assert torch.isclose(info_nce(clip, text, torch.tensor(7.0), torch.arange(5)), wanted)


def test_equal_texts_are_positives_of_one_another() -> None:
    """Two clips, one text: agreeing with both copies of the text must cost no more than ln 2,
    whatever the scale.
    """
    clip = torch.nn.functional.normalize(torch.ones(2, 4), dim=-1)
    same, other = (
        info_nce(clip, clip, torch.tensor(20.0), torch.tensor(group)) for group in ([0, 0], [0, 1])
    )
    assert same.item() == pytest.approx(np.log(2), abs=1e-5) and other.item() == pytest.approx(
        np.log(2), abs=1e-5
    )
    apart = torch.eye(2)
    punished, right = (
        info_nce(apart, apart, torch.tensor(20.0), torch.tensor(group))
        for group in ([0, 0], [0, 1])
    )
    assert (
        right.item() < 1e-5 < punished.item()
    )  # clips of one text that lie apart are drawn together


def test_shuffled_narrations_stay_within_their_skill_and_keep_the_same_words(
    material: training.ClipData,
) -> None:
    clips = material.clips
    shuffled = texts.training_texts(clips, clips["text"], "narrations_shuffled", seed=0)
    told = clips.with_columns(pl.Series("shuffled", shuffled))
    for _, group in told.group_by("sport", "skill"):
        assert sorted(group["shuffled"]) == sorted(group["text"])
        assert (group["shuffled"] != group["text"]).any()


def _told(clips: pl.DataFrame) -> pl.Series:
    """A sentence a clip that names its skill, once among other words."""
    return (
        pl.Series([f"For your {k}, reach for word{i}." for i, k in enumerate(clips["skill"])])
    ).alias("text")


def test_activity_texts_name_the_activity_and_not_what_is_said_of_the_clip(
    material: training.ClipData,
) -> None:
    clips = material.clips
    for arm in ("activity_sport", "activity_skill"):
        told = texts.training_texts(clips, _told(clips), arm, seed=0)
        for i, (text, sport, skill) in enumerate(
            zip(told, clips["sport"], clips["skill"], strict=True)
        ):
            assert (sport if arm == "activity_sport" else skill) in text
            others = (
                {"skill0", "skill1"} - {skill} if arm == "activity_skill" else {"skill0", "skill1"}
            )
            assert not any(other in text for other in others)
            assert f"word{i}." not in text
        carried = [text for text in told if "reach for word" in text]
        assert len(told) / 3 < len(carried) < len(told) * 2 / 3
        assert {text.split("word")[1] for text in carried} & {f"{i}." for i in range(12)}
    with pytest.raises(ValueError, match="no training texts for the arm 'poems'"):
        texts.training_texts(clips, clips["text"], "poems", seed=0)


def test_activity_texts_carry_training_sentences_alone(material: training.ClipData) -> None:
    clips, said = material.clips, _told(material.clips)
    train = set(np.flatnonzero(clips["split"] == "train"))
    told = texts.training_texts(clips, said, "activity_skill", seed=0)
    assert {int(text.split("word")[1].strip(".")) for text in told if "word" in text} <= train
    silent = texts.training_texts(
        clips, pl.Series([None] * clips.height, dtype=pl.String), "activity_sport", seed=0
    )
    assert all(text.format(it="") and "None" not in text for text in silent)
    unnamed = texts.training_texts(
        clips, pl.Series(["Bend. "] * clips.height), "activity_sport", seed=0
    )
    assert {text for text in unnamed if text.startswith("Bend")} == {
        f"Bend, {s}." for s in clips["sport"].unique()
    }


def test_tower_round_trip_and_batch_size_do_not_change_embeddings(tiny: str, tmp_path) -> None:
    tower = models.load_tower(tiny)
    frames = np.random.default_rng(0).integers(0, 255, (5, 3, 32, 32, 3), dtype=np.uint8)
    whole = tower.encode_frames(frames, batch=8)
    assert np.allclose(whole, tower.encode_frames(frames, batch=1), atol=1e-5)
    assert np.allclose(np.linalg.norm(whole, axis=1), 1, atol=1e-5)
    tower.save(tmp_path)
    assert np.array_equal(whole, models.load_tower(tmp_path).encode_frames(frames, batch=8))
    words = tower.encode_texts(["bend", "straighten", "bend"])
    assert np.array_equal(words[0], words[2]) and not np.allclose(words[0], words[1])


def test_clip_embedding_is_the_direction_of_the_mean_over_frames(tiny: str) -> None:
    tower = models.load_tower(tiny)
    frames = torch.randint(0, 255, (1, 3, 32, 32, 3), dtype=torch.uint8)
    tower.model.eval()
    with torch.inference_mode():
        each = tower.model.encode_image(tower.pixels(frames))
        wanted = torch.nn.functional.normalize(each.mean(0), dim=-1)
        assert torch.allclose(tower.clip_features(frames)[0], wanted, atol=1e-5)


def test_open_clip_itself_loads_our_folder_and_agrees(tiny: str) -> None:
    import open_clip

    theirs = open_clip.create_model(f"local-dir:{tiny}").eval()
    ours = models.load_tower(tiny).model.eval()
    picture = torch.randn(2, 3, 32, 32)
    with torch.inference_mode():
        assert torch.allclose(theirs.encode_image(picture), ours.encode_image(picture), atol=1e-5)


def test_an_unknown_model_is_an_error_with_a_remedy() -> None:
    with pytest.raises(ValueError, match=r"neither a folder with .* nor a model of open_clip"):
        models.load_tower("no/such/model")


def test_the_same_seed_gives_the_same_weights_and_a_curve_from_step_0(
    tiny: str, material: training.ClipData
) -> None:
    told = material.clips["text"].to_list()
    runs = [small_train(small_config(tiny), material, told, steps=3) for _ in range(2)]
    assert runs[0][1]["step"].to_list() == [0, 2, 3]
    assert runs[0][1].equals(runs[1][1])
    first, second = (run[0].model.state_dict() for run in runs)
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_texts_of_other_splits_do_not_touch_training(
    tiny: str, material: training.ClipData
) -> None:
    told = material.clips["text"].to_list()
    changed = [
        t if s == "train" else "leak" for t, s in zip(told, material.clips["split"], strict=True)
    ]
    curves = [
        small_train(small_config(tiny), material, words, steps=2)[1] for words in (told, changed)
    ]
    own = "val_loss"  # asks with the arm's own texts of the validation clips
    assert curves[0].drop(own).equals(curves[1].drop(own)) and not curves[0].equals(curves[1])


def test_a_finished_arm_is_not_trained_again(
    tiny: str, material: training.ClipData, tmp_path, monkeypatch
) -> None:
    config = small_config(tiny, arms=["narrations"], learning_rates=[1e-3], steps=1)
    first = stage.train_arms(
        material, config, folder=tmp_path / "models", shards=tmp_path / "shards"
    )

    monkeypatch.setattr(worker_pool, "_in_pool", lambda *a, **k: (item for item in ()))
    again = stage.train_arms(
        material, config, folder=tmp_path / "models", shards=tmp_path / "shards"
    )
    assert again.curves.equals(first.curves) and again.by_sport.equals(first.by_sport)
    assert again.systems == (("image", "zero_shot"), ("image", "narrations"))
    start, trained = (
        models.load_tower(tmp_path.joinpath("models", *system)) for system in again.systems
    )
    before, after = start.model.state_dict(), trained.model.state_dict()
    moved = {name for name in before if not torch.equal(before[name], after[name])}
    assert "text_projection" in moved and any(name.startswith("visual.layer4") for name in moved)
    assert not any(name.startswith(tuple(config.frozen)) for name in moved)  # statistics included


def test_without_training_clips_only_the_start_is_there(
    tiny: str, material: training.ClipData, tmp_path
) -> None:
    alone = training.ClipData(
        material.clips.with_columns(split=pl.lit("test")), material.frames_path
    )
    found = stage.train_arms(
        alone, small_config(tiny), folder=tmp_path / "m", shards=tmp_path / "s"
    )
    assert (
        found.systems == (("image", "zero_shot"),)
        and found.curves.is_empty()
        and found.headline() == {}
    )


def test_wordings_of_one_label_are_one_group_and_narrations_are_their_own(
    material: training.ClipData,
) -> None:
    clips = material.clips
    for arm, groups in (("activity_sport", 3), ("activity_skill", 6), ("narrations", clips.height)):
        told = texts.training_texts(clips, clips["text"], arm, seed=0)
        assert len(set(texts.text_groups(clips, told, arm))) == groups


def test_chunks_give_a_step_the_same_weights(vit: str, material: training.ClipData) -> None:
    told, weights = material.clips["text"].to_list(), []
    for chunk in (0, 3):
        config = small_config(vit, frozen=[], chunk=chunk)
        tower, curve = small_train(config, material, told, steps=2, evaluate=False)
        weights.append((curve["loss"][-1], tower.model.state_dict()))
    assert weights[0][0] == pytest.approx(weights[1][0], abs=1e-5)
    assert all(
        torch.allclose(weights[0][1][name], weights[1][1][name], atol=1e-4)
        for name in weights[0][1]
    )


def test_chunks_and_batch_statistics_do_not_go_together(
    tiny: str, material: training.ClipData
) -> None:
    config = small_config(tiny, chunk=2)
    with pytest.raises(ValueError, match="BatchNorm layers train on it"):
        small_train(config, material, material.clips["text"].to_list(), steps=1)


def test_a_sigmoid_loss_learns_its_bias_and_the_arm_is_saved_with_it(
    tiny, material, tmp_path, monkeypatch
) -> None:
    monkeypatch.setattr(worker_pool, "_in_pool", worker_pool._in_process)
    config = small_config(
        tiny, loss="siglip", arms=["narrations"], learning_rates=[1e-2], false_negatives=["video"]
    )
    found = stage.train_arms(material, config, folder=tmp_path / "m", shards=tmp_path / "s")
    assert [system.arm for system in found.systems] == ["zero_shot", "narrations"]
    bias = models.load_tower(tmp_path / "m/image/narrations").model.logit_bias
    assert bias is not None and bias.item() != -10.0
    assert models.load_tower(tmp_path / "m/image/zero_shot").model.logit_bias is None


def test_a_frozen_name_that_is_not_there_is_an_error_with_a_remedy(tiny: str) -> None:
    with pytest.raises(
        ValueError, match=r"frozen='visual.layer9' names no parameter .* visual.layer1"
    ):
        freeze(models.load_tower(tiny).module, ["visual.layer9"])


def test_rates_fall_with_depth_in_each_tower_for_itself() -> None:
    module = models.new_tower(VIT, seed=1).module
    scale = layer_scales(module, 0.5)
    assert scale["logit_scale"] == scale["text_projection"] == scale["visual.proj"] == 1
    assert scale["visual.transformer.resblocks.1.mlp.c_fc.weight"] == 1
    assert scale["visual.transformer.resblocks.0.mlp.c_fc.weight"] == 0.5
    assert scale["visual.conv1.weight"] == scale["visual.positional_embedding"] == 0.25
    # the only layer of the text tower
    assert scale["transformer.resblocks.0.attn.in_proj_weight"] == 1
    assert scale["token_embedding.weight"] == scale["positional_embedding"] == 0.5
    assert set(layer_scales(module, 1.0).values()) == {1.0}


def test_a_smaller_rate_moves_a_layer_less(vit: str, material: training.ClipData) -> None:
    start, moves = models.load_tower(vit).module.state_dict()["visual.conv1.weight"], []
    for decay in (1.0, 0.1):
        tower, _ = small_train(small_config(vit, frozen=[], layer_decay=decay), material, steps=1)
        moves.append(float((tower.module.state_dict()["visual.conv1.weight"] - start).norm()))
    assert moves[1] == pytest.approx(moves[0] * 0.01, rel=0.05)
