"""Which weights move: frozen names, adapters that merge into plain weights, rates that fall with
depth.
"""

from __future__ import annotations

import pytest
import torch
from small_training import VIT, small_config, small_train

from sportskills_lib import models
from sportskills_lib.encoder import parameter_groups, training


def test_a_frozen_name_that_is_not_there_is_an_error_with_a_remedy(tiny: str) -> None:
    with pytest.raises(
        ValueError, match=r"frozen='visual.layer9' names no parameter .* visual.layer1"
    ):
        parameter_groups.freeze(models.load_tower(tiny).module, ["visual.layer9"])


def test_adapters_change_nothing_at_first_and_merge_into_the_weights_of_the_same_names() -> None:
    tower = models.new_tower(VIT, seed=1)
    names, frames = (
        set(tower.module.state_dict()),
        torch.randint(0, 255, (2, 3, 32, 32, 3), dtype=torch.uint8),
    )
    tower.module.eval()
    before = tower.clip_features(frames), tower.text_features(["bend", "stretch"])
    parameter_groups.add_adapters(tower.module, 2, ["visual.transformer.resblocks.0"])
    moving = {
        name for name, parameter in tower.module.named_parameters() if parameter.requires_grad
    }
    assert moving and all("lora_" in name or name == "logit_scale" for name in moving)
    assert not any("resblocks.0" in name and name.startswith("visual") for name in moving)
    assert any("attn" in name for name in moving) and any("c_fc" in name for name in moving)
    with torch.no_grad():
        assert torch.allclose(before[0], tower.clip_features(frames), atol=1e-6)
        for name, parameter in tower.module.named_parameters():
            if "lora_" in name:
                parameter.normal_(std=0.1)
        adapted = tower.clip_features(frames), tower.text_features(["bend", "stretch"])
        parameter_groups.merge_adapters(tower.module)
        merged = tower.clip_features(frames), tower.text_features(["bend", "stretch"])
    assert set(tower.module.state_dict()) == names
    for was, now, after in zip(before, adapted, merged, strict=True):
        assert not torch.allclose(was, now, atol=1e-3) and torch.allclose(now, after, atol=1e-5)


def test_training_with_adapters_saves_a_plain_tower_and_leaves_the_rest_still(
    vit: str, material, tmp_path
) -> None:
    config = small_config(vit, frozen=[], lora_rank=2)
    tower, _ = small_train(config, material, steps=2, folder=str(tmp_path / "work"))
    tower.save(tmp_path / "tower")
    saved, start = models.load_tower(tmp_path / "tower").module, models.load_tower(vit).module
    moved = {
        n
        for n, value in start.state_dict().items()
        if not torch.equal(value, saved.state_dict()[n])
    }
    assert any("attn.in_proj_weight" in name for name in moved)
    assert not any("embedding" in name or "ln_" in name or "conv1" in name for name in moved)
    again, _ = small_train(config, material, steps=2, folder=str(tmp_path / "work"))
    assert all(
        torch.equal(again.module.state_dict()[n], value)
        for n, value in tower.module.state_dict().items()
    )


def test_a_tower_without_linear_layers_takes_no_adapters() -> None:
    with pytest.raises(ValueError, match="lora_rank: the model has no linear layer"):
        parameter_groups.add_adapters(torch.nn.Sequential(torch.nn.Conv2d(1, 1, 1)), 2, [])


def test_rates_fall_with_depth_in_each_tower_for_itself() -> None:
    groups = parameter_groups.parameter_groups(models.new_tower(VIT, seed=1).module, 0.5)
    scale = {name: group["scale"] for group in groups for name in group["names"]}
    assert scale["logit_scale"] == scale["text_projection"] == scale["visual.proj"] == 1
    assert scale["visual.transformer.resblocks.1.mlp.c_fc.weight"] == 1
    assert scale["visual.transformer.resblocks.0.mlp.c_fc.weight"] == 0.5
    assert scale["visual.conv1.weight"] == scale["visual.positional_embedding"] == 0.25
    assert (
        scale["transformer.resblocks.0.attn.in_proj_weight"] == 1
    )  # the only layer of the text tower
    assert scale["token_embedding.weight"] == scale["positional_embedding"] == 0.5
    assert sum(len(group["params"]) for group in groups) == len(scale)
    assert len(parameter_groups.parameter_groups(models.new_tower(VIT, seed=1).module, 1.0)) == 1


def test_a_smaller_rate_moves_a_layer_less(vit: str, material: training.ClipData) -> None:
    start, moves = models.load_tower(vit).module.state_dict(), []
    for decay in (1.0, 0.1):
        tower, _ = small_train(small_config(vit, frozen=[], layer_decay=decay), material, steps=1)
        moves.append(
            float(
                (
                    tower.module.state_dict()["visual.conv1.weight"] - start["visual.conv1.weight"]
                ).norm()
            )
        )
    assert moves[1] == pytest.approx(moves[0] * 0.01, rel=0.05)
