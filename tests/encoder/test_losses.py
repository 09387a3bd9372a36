"""Losses and cached gradients against oracles written out by hand."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from sportskills_lib.encoder.losses import allowed_pairs, info_nce, not_above_positive, siglip
from sportskills_lib.encoder.train_step import backward_in_chunks, refuse_batch_statistics


def _features(rows: int, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    torch.manual_seed(seed)
    clip, text = (torch.nn.functional.normalize(torch.randn(rows, 8), dim=-1) for _ in range(2))
    return clip, text


def test_info_nce_leaves_a_forbidden_pair_out_of_both_directions() -> None:
    clip, text = _features(4)
    group, allowed = torch.arange(4), torch.ones(4, 4, dtype=torch.bool)
    allowed[0, 2] = allowed[2, 0] = False
    logits = 5.0 * clip @ text.T
    wanted = 0.0
    for side, mask in ((logits, allowed), (logits.T, allowed.T)):
        rows = [side[i, i] - torch.logsumexp(side[i][mask[i]], 0) for i in range(4)]
        wanted = wanted - sum(rows) / 4 / 2
    assert torch.isclose(info_nce(clip, text, torch.tensor(5.0), group, allowed), wanted, atol=1e-6)
    everything = torch.ones(4, 4, dtype=torch.bool)
    plain = info_nce(clip, text, torch.tensor(5.0), group)
    assert torch.isclose(info_nce(clip, text, torch.tensor(5.0), group, everything), plain)


def test_siglip_is_the_papers_sum_over_pairs() -> None:
    clip, text = _features(3)
    scale, bias, group = torch.tensor(10.0), torch.tensor(-10.0), torch.tensor([0, 1, 0])
    total = 0.0
    for i in range(3):
        for j in range(3):
            sign = 1 if group[i] == group[j] else -1
            total = total + torch.log1p(torch.exp(-sign * (scale * clip[i] @ text[j] + bias)))
    assert torch.isclose(siglip(clip, text, scale, bias, group), total / 3, atol=1e-5)
    lonely = torch.eye(3, dtype=torch.bool)
    assert siglip(clip, text, scale, bias, group, lonely) < siglip(clip, text, scale, bias, group)


def test_allowed_pairs_leave_out_probable_false_negatives_and_never_a_positive() -> None:
    group = np.array([0, 1, 2, 0])
    assert allowed_pairs(group).all()
    video = allowed_pairs(group, video_B=np.array(["a", "a", "b", "a"]))
    assert (
        not video[0, 1]
        and not video[1, 0]
        and video[0, 2]
        and video[0, 3]
        and video.diagonal().all()
    )
    kind = allowed_pairs(group, kind_B=np.array([5, 6, 5, 7]))
    assert not kind[0, 2] and kind[0, 1]
    text = np.array([[1.0, 0], [0, 1], [0.9, np.sqrt(1 - 0.81)], [1, 0]])
    alike = allowed_pairs(group, text_BD=text, ceiling=0.8)
    assert not alike[0, 2] and alike[0, 1] and alike[0, 3] and alike.diagonal().all()


class _Towers(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(1)
        self.clip, self.text = (
            torch.nn.Sequential(
                torch.nn.Linear(width, 16),
                torch.nn.GELU(),
                torch.nn.Dropout(0.3),
                torch.nn.Linear(16, 8),
            )
            for width in (6, 5)
        )
        self.scale = torch.nn.Parameter(torch.tensor(2.0))

    def loss(self, clip_BD: torch.Tensor, text_BD: torch.Tensor) -> torch.Tensor:
        clip_BD, text_BD = (torch.nn.functional.normalize(x, dim=-1) for x in (clip_BD, text_BD))
        return info_nce(clip_BD, text_BD, self.scale.exp(), torch.arange(len(clip_BD)) // 2)


@pytest.mark.parametrize("sizes", [(12,), (4, 4, 4), (5, 5, 2), (1,) * 12])
def test_cached_gradients_equal_those_of_one_graph_dropout_included(sizes: tuple[int, ...]) -> None:
    """The oracle draws dropout chunk by chunk as the cache does, in one graph: gradients must agree
    to rounding.
    """
    towers, (frames, words) = (
        _Towers().double(),
        (torch.randn(12, 6).double(), torch.randn(12, 5).double()),
    )
    clips, texts = frames.split(list(sizes)), words.split(list(sizes))
    torch.manual_seed(7)
    value = backward_in_chunks(towers.loss, (towers.clip, clips), (towers.text, texts))
    cached = {name: p.grad.clone() for name, p in towers.named_parameters()}
    towers.zero_grad()
    torch.manual_seed(7)
    embedded = [
        torch.cat([tower(c) for c in chunks])
        for tower, chunks in ((towers.clip, clips), (towers.text, texts))
    ]
    whole = towers.loss(*embedded)
    whole.backward()
    assert value == pytest.approx(whole.item(), abs=1e-12)
    for name, parameter in towers.named_parameters():
        assert torch.allclose(cached[name], parameter.grad, atol=1e-12), name


def test_without_dropout_chunks_do_not_matter_and_the_next_draw_is_not_disturbed() -> None:
    towers = _Towers().eval()
    frames, words = torch.randn(10, 6), torch.randn(10, 5)
    grads, draws = [], []
    for size in (10, 3):
        towers.zero_grad()
        torch.manual_seed(3)
        backward_in_chunks(
            towers.loss, (towers.clip, frames.split(size)), (towers.text, words.split(size))
        )
        grads.append([p.grad.clone() for p in towers.parameters()])
        draws.append(torch.rand(2))
    assert all(torch.allclose(a, b, atol=1e-6) for a, b in zip(*grads, strict=True))
    assert torch.equal(*draws)


def test_a_frozen_tower_takes_no_gradient() -> None:
    towers = _Towers()
    towers.clip.requires_grad_(False)
    frames, words = torch.randn(4, 6).split(2), torch.randn(4, 5).split(2)
    backward_in_chunks(towers.loss, (towers.clip, frames), (towers.text, words))
    assert towers.clip[0].weight.grad is None and towers.text[0].weight.grad is not None


def test_batch_statistics_are_refused_unless_frozen() -> None:
    model = torch.nn.Sequential(torch.nn.Linear(3, 3), torch.nn.BatchNorm1d(3)).train()
    with pytest.raises(ValueError, match=r"1 BatchNorm layers train on it \(first '1'\)"):
        refuse_batch_statistics(model)
    model[1].eval()
    refuse_batch_statistics(model)


def test_a_negative_far_above_both_its_positives_is_left_out() -> None:
    clip, text = _features(6, seed=2)
    allowed = not_above_positive(clip, text, 0.1)
    alike = (clip @ text.T).numpy()
    for i in range(6):
        for j in range(6):
            assert allowed[i, j] == (alike[i, j] <= max(alike[i, i], alike[j, j]) + 0.1 + 1e-7)
    assert (
        allowed.diagonal().all() and not allowed.all() and not_above_positive(clip, text, 2.0).all()
    )
