"""Poolings over time against oracles: the mean at step 0, a naive transformer row by row, what
order does.
"""

from __future__ import annotations

import json
from typing import get_args

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from sportskills_lib import models
from sportskills_lib.config import EncoderConfig
from sportskills_lib.models import pooling

TINY = {
    "model_cfg": {
        "embed_dim": 16,
        "vision_cfg": {
            "layers": 1,
            "width": 16,
            "head_width": 8,
            "patch_size": 16,
            "image_size": 32,
        },
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
KINDS = ("attention", "temporal")


def _frames(clips: int, count: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 255, (clips, count, 32, 32, 3), dtype=np.uint8)


def _pooled_tower(kind: str, **settings: int) -> models.OpenClipTower:
    tower = models.new_tower(TINY, seed=3)
    models.add_pooling(tower, kind, **({"layers": 2, "heads": 4, "max_frames": 8} | settings))
    return tower


def _shaken(tower: models.OpenClipTower) -> models.OpenClipTower:
    """With every weight of the pooling moved, as training moves it."""
    generator = torch.Generator().manual_seed(5)
    with torch.no_grad():
        for parameter in tower.model.pooling.parameters():
            parameter += 0.3 * torch.randn(parameter.shape, generator=generator)
    return tower


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("count", [1, 2, 5, 8])
@pytest.mark.parametrize("scale", [0.01, 1.0, 40.0])
def test_every_pooling_starts_as_the_mean(kind: str, count: int, scale: float) -> None:
    torch.manual_seed(0)
    frame_BTD = scale * torch.randn(6, count, 16)
    tower = _pooled_tower(kind)
    wanted = F.normalize(frame_BTD.mean(1), dim=-1)
    assert tower.module is tower.model
    for training in (True, False):
        tower.module.train(training)
        assert (tower.pool(frame_BTD) - wanted).abs().max() < 1e-6
        with torch.inference_mode():
            assert (tower.pool(frame_BTD) - wanted).abs().max() < 1e-6


@pytest.mark.parametrize("kind", KINDS)
def test_a_tower_with_pooling_starts_as_the_tower_without(kind: str) -> None:
    frames = _frames(3, 4)
    plain = models.new_tower(TINY, seed=3).encode_frames(frames)
    assert np.abs(_pooled_tower(kind).encode_frames(frames) - plain).max() < 1e-6
    assert np.abs(_shaken(_pooled_tower(kind)).encode_frames(frames) - plain).max() > 1e-3


def _naive_temporal(
    weights: dict[str, torch.Tensor], frame_TD: torch.Tensor, layers: int, heads: int
) -> torch.Tensor:
    """One clip in plain loops: positions, pre-norm attention a head at a time, the mean of what was
    added.
    """
    T, D = frame_TD.shape
    unit = frame_TD / (frame_TD**2).mean().sqrt()
    table = weights["positions.weight"]
    told = torch.stack(
        [
            unit[t]
            + sum(
                torch.cos(torch.tensor(torch.pi * (k + 1) * (t + 0.5) / T)) * table[:, k]
                for k in range(7)
            )
            for t in range(T)
        ]
    )
    state = told
    for layer in range(layers):
        own = {
            n.removeprefix(f"blocks.{layer}."): w
            for n, w in weights.items()
            if n.startswith(f"blocks.{layer}.")
        }
        normed = F.layer_norm(state, (D,), own["norm1.weight"], own["norm1.bias"])
        query, key, value = (
            normed @ own["self_attn.in_proj_weight"].T + own["self_attn.in_proj_bias"]
        ).split(D, 1)
        joined = torch.zeros_like(state)
        for head in range(heads):
            part = slice(head * D // heads, (head + 1) * D // heads)
            for t in range(T):
                score = (
                    torch.stack([query[t, part] @ key[s, part] for s in range(T)])
                    / (D / heads) ** 0.5
                )
                joined[t, part] = sum(w * value[s, part] for s, w in enumerate(score.softmax(0)))
        state = state + joined @ own["self_attn.out_proj.weight"].T + own["self_attn.out_proj.bias"]
        normed = F.layer_norm(state, (D,), own["norm2.weight"], own["norm2.bias"])
        hidden = F.gelu(normed @ own["linear1.weight"].T + own["linear1.bias"])
        state = state + hidden @ own["linear2.weight"].T + own["linear2.bias"]
    return F.normalize((unit + state - told).mean(0), dim=-1)


@pytest.mark.parametrize("mode", ["train", "eval"])
def test_temporal_pooling_equals_a_naive_transformer(mode: str) -> None:
    tower = _shaken(_pooled_tower("temporal"))
    getattr(tower.model, mode)()
    frame_BTD = torch.randn(3, 5, 16, generator=torch.Generator().manual_seed(1))
    with torch.inference_mode():
        weights = dict(tower.model.pooling.state_dict())
        wanted = torch.stack(
            [_naive_temporal(weights, frame_TD, layers=2, heads=4) for frame_TD in frame_BTD]
        )
        assert torch.allclose(tower.pool(frame_BTD), wanted, atol=2e-6)


def test_attention_pooling_equals_a_weighted_sum() -> None:
    tower = _shaken(_pooled_tower("attention"))
    frame_BTD = torch.randn(3, 5, 16, generator=torch.Generator().manual_seed(1))
    query = tower.model.pooling["query"]
    for clip_TD, got in zip(frame_BTD, tower.pool(frame_BTD), strict=True):
        length = (clip_TD**2).mean().sqrt()
        weight_T = torch.stack([torch.exp(frame @ query / length / 4) for frame in clip_TD])
        wanted = sum(weight * frame for weight, frame in zip(weight_T, clip_TD, strict=True))
        assert torch.allclose(got, F.normalize(wanted, dim=-1), atol=1e-6)


def _step(tower: models.Tower, frames: np.ndarray) -> None:
    """One optimiser step towards random embeddings."""
    optimiser = torch.optim.AdamW(tower.model.parameters(), lr=1e-2)
    tower.model.train()
    target = torch.randn(len(frames), tower.width, generator=torch.Generator().manual_seed(2))
    (tower.clip_features(torch.from_numpy(frames)) * target).sum().backward()
    optimiser.step()


@pytest.mark.parametrize(
    ("kind", "tells"), [("mean", False), ("attention", False), ("temporal", True)]
)
def test_order_matters_to_temporal_pooling_alone(kind: str, tells: bool) -> None:
    tower, frames = models.new_tower(TINY, seed=3), _frames(4, 6)
    models.add_pooling(tower, kind, layers=1, heads=2, max_frames=8)
    backwards = frames[:, ::-1]
    assert np.allclose(tower.encode_frames(frames), tower.encode_frames(backwards), atol=1e-6)
    _step(tower, frames)
    difference = np.abs(tower.encode_frames(frames) - tower.encode_frames(backwards)).max()
    assert difference > 1e-4 if tells else difference < 1e-6


def test_a_sample_of_frames_has_the_positions_that_its_frames_have_among_all() -> None:
    weights = _shaken(_pooled_tower("temporal")).model.pooling
    all_8, moments = pooling.positions(weights, 8), torch.tensor([[0, 2, 5, 7], [1, 2, 3, 4]])
    sample = pooling.positions(weights, 4, (moments + 0.5) / 8)
    assert torch.allclose(sample, all_8[0][moments], atol=1e-5)
    every_other = pooling.positions(
        weights, 4
    )  # a slower reader of the same clip: between its neighbours
    assert torch.allclose(
        every_other, pooling.positions(weights, 4, torch.tensor([[0.125, 0.375, 0.625, 0.875]]))
    )
    with pytest.raises(ValueError, match=r"9 frames a clip, but the pooling has max_frames=8"):
        pooling.positions(weights, 9)


@pytest.mark.parametrize("kind", KINDS)
def test_round_trip_and_open_clip_still_loads_the_folder(kind: str, tmp_path) -> None:
    import open_clip

    tower, frames = _shaken(_pooled_tower(kind)), _frames(3, 4)
    tower.save(tmp_path)
    again = models.load_tower(tmp_path)
    assert np.array_equal(tower.encode_frames(frames), again.encode_frames(frames))
    assert (
        json.loads((tmp_path / "open_clip_config.json").read_text())["pooling_cfg"]["kind"] == kind
    )
    assert {path.suffix for path in tmp_path.iterdir()} == {".safetensors", ".json"}
    assert (
        len({path.stat().st_mode for path in tmp_path.iterdir()}) == 1
    )  # who may read one may read all
    theirs = open_clip.create_model(f"local-dir:{tmp_path}").eval()
    with torch.inference_mode():
        pixels = again.pixels(torch.from_numpy(frames))
        assert torch.allclose(
            theirs.encode_image(pixels), again.frame_features(torch.from_numpy(frames)).view(12, -1)
        )
    models.new_tower(TINY, seed=3).save(tmp_path)  # a tower without pooling takes the other's place
    assert not (tmp_path / "pooling.safetensors").exists() and not hasattr(
        models.load_tower(tmp_path).model, "pooling"
    )


def test_names_of_weights_begin_as_the_config_freezes_them() -> None:
    names = [name.split(".")[0] for name, _ in _pooled_tower("temporal").module.named_parameters()]
    assert {"visual", "transformer", "pooling"} <= set(names)


def test_frame_features_pool_to_clip_features_and_can_be_kept() -> None:
    tower, frames = _shaken(_pooled_tower("temporal")), _frames(9, 4)
    kept = tower.encode_frame_features(frames, batch=2)
    assert kept.shape == (9, 4, 16) and kept.dtype == np.float32
    with torch.inference_mode():
        assert np.allclose(
            tower.pool(torch.from_numpy(kept)), tower.encode_frames(frames), atol=1e-6
        )


@pytest.mark.parametrize("kind", ["mean", *KINDS])
def test_a_batch_of_one_is_a_batch_of_eight(kind: str) -> None:
    tower, frames = models.new_tower(TINY, seed=3), _frames(8, 4)
    models.add_pooling(tower, kind, heads=2)
    assert np.allclose(
        tower.encode_frames(frames, batch=1), tower.encode_frames(frames, batch=8), atol=1e-6
    )
    texts = ["bend", "straighten the arm", "a", "reach for the ball and turn"]
    assert np.allclose(
        tower.encode_texts(texts, batch=1), tower.encode_texts(texts, batch=8), atol=1e-6
    )
    low = tower.encode_frames(frames, bf16=True)
    assert low.dtype == np.float32 and 0 < np.abs(low - tower.encode_frames(frames)).max() < 0.03
    assert tower.encode_frames(frames[:0]).shape == (0, 16) and tower.encode_texts([]).shape == (
        0,
        16,
    )
    assert tower.encode_frame_features(frames[:0]).shape == (0, 4, 16)


def test_a_pooling_that_cannot_be_is_an_error_with_a_remedy() -> None:
    with pytest.raises(ValueError, match=r"pooling='median' is none of mean, attention, temporal"):
        models.add_pooling(models.new_tower(TINY), "median")
    with pytest.raises(ValueError, match=r"heads=5 must divide the width 16"):
        models.add_pooling(models.new_tower(TINY), "temporal", heads=5)
    with pytest.raises(ValueError, match=r"already has its own way to join frames"):
        models.add_pooling(_pooled_tower("attention"), "temporal")


def test_a_pooling_without_weights_is_saved_and_loaded(tmp_path, monkeypatch) -> None:
    """A new pooling is one entry of the table."""

    def largest(frame_BTD, weights, time_BT):
        return frame_BTD.amax(1)

    monkeypatch.setitem(pooling.POOLINGS, "largest", pooling.Pooling(largest))
    tower, frames = _pooled_tower("largest"), _frames(3, 4)
    tower.save(tmp_path)
    again = models.load_tower(tmp_path)
    features = torch.from_numpy(again.encode_frame_features(frames))
    assert np.array_equal(again.encode_frames(frames), F.normalize(features.amax(1), dim=-1))
    assert np.array_equal(again.encode_frames(frames), tower.encode_frames(frames))
    assert hasattr(again.model, "pooling") and not (tmp_path / "pooling.safetensors").exists()


def test_the_setting_names_every_pooling() -> None:
    told = get_args(EncoderConfig.model_fields["video_pooling"].annotation)
    assert set(told) == set(pooling.POOLINGS)


def test_adding_a_pooling_leaves_other_draws_as_they_were() -> None:
    torch.manual_seed(0)
    wanted = torch.rand(3)
    torch.manual_seed(0)
    first, second = (_pooled_tower("temporal").model.pooling.state_dict() for _ in range(2))
    assert torch.equal(torch.rand(3), wanted) and all(
        torch.equal(first[name], second[name]) for name in first
    )


def test_order_is_learnt_from_samples_of_frames_and_read_from_all() -> None:
    """Six classes, three prototypes in six orders: trained on 2 of 6 frames with their times, asked
    with all six.
    """
    generator = torch.Generator().manual_seed(0)
    prototype_3D = torch.randn(3, 32, generator=generator)
    order_63 = torch.tensor([[0, 1, 2], [0, 2, 1], [1, 0, 2], [1, 2, 0], [2, 0, 1], [2, 1, 0]])
    accuracy = {}
    for kind in ("mean", "temporal"):
        torch.manual_seed(0)
        own = pooling.new_pooling(32, kind, {"layers": 1, "heads": 2, "max_frames": 8})
        label_6D = torch.nn.Parameter(torch.randn(6, 32))
        weights = [label_6D, *own.parameters()]
        optimiser = torch.optim.AdamW(weights, lr=3e-3)
        for _ in range(120):
            y = torch.randint(6, (48,), generator=generator)
            frame_BTD = prototype_3D[order_63[y].repeat_interleave(2, 1)]
            moment = torch.rand(48, 6, generator=generator).topk(2).indices.sort().values
            sample = frame_BTD[torch.arange(48)[:, None], moment] + 0.3 * torch.randn(
                48, 2, 32, generator=generator
            )
            clip_BD = pooling.pooled(sample, kind, own, (moment + 0.5) / 6)
            optimiser.zero_grad()
            F.cross_entropy(20 * clip_BD @ F.normalize(label_6D, dim=-1).T, y).backward()
            optimiser.step()
        whole = pooling.pooled(prototype_3D[order_63.repeat_interleave(2, 1)], kind, own)
        accuracy[kind] = (
            (whole @ label_6D.T / label_6D.norm(dim=1))
            .argmax(1)
            .eq(torch.arange(6))
            .float()
            .mean()
            .item()
        )
    assert accuracy["temporal"] == 1 and accuracy["mean"] < 0.5
