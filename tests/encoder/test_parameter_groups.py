"""Which weights move: frozen names, rates that fall with depth."""

from __future__ import annotations

import pytest
from small_training import VIT, small_config, small_train

from sportskills_lib import models
from sportskills_lib.encoder import parameter_groups, training


def test_a_frozen_name_that_is_not_there_is_an_error_with_a_remedy(tiny: str) -> None:
    with pytest.raises(
        ValueError, match=r"frozen='visual.layer9' names no parameter .* visual.layer1"
    ):
        parameter_groups.freeze(models.load_tower(tiny).module, ["visual.layer9"])


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
