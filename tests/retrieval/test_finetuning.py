"""Finetuning: what learns, what a loss is, which adapter is kept."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from sportskills_lib.config import RetrievalConfig
from sportskills_lib.retrieval.relevance import finetune as finetune_module
from sportskills_lib.retrieval.relevance import model
from sportskills_lib.retrieval.relevance.candidate_lists import (
    CandidateList,
    candidate_lists,
    draw_list,
    draw_lists,
    list_loss,
)
from sportskills_lib.retrieval.relevance.finetune import finetune
from sportskills_lib.retrieval.relevance.pair_scorer import PairScorer

SETTINGS = {
    "loss": "listwise",
    "steps": 3,
    "learners_per_step": 1,
    "positives": 2,
    "list_size": 4,
    "learning_rate": 1e-2,
    "evaluate_every": 2,
    "speaking_weight": 0.5,
    "seed": 0,
    "text_steps": 0,
    "dual_steps": 0,
}
PLACES = {"learner": 0} | {f"clip{i}": i for i in range(1, 9)}


@pytest.fixture
def supervision():
    rows = [
        ("learner", f"clip{i}", float(i <= 2), "good" if i <= 2 else "bad") for i in range(1, 9)
    ]
    return pl.DataFrame(rows, schema=["learner_id", "clip_id", "label", "reason"], orient="row")


def tuned(vlm, videos, narrations, supervision, **changes):
    torch.manual_seed(0)
    adapted = finetune_module.add_lora(vlm, rank=4, alpha=8)
    visual, grid = model.encode_videos(adapted, videos), adapted.grid(videos.shape[1:])
    scorer = PairScorer(adapted, visual, grid, PLACES, narrations)
    taught = supervision.with_columns(split=pl.lit("train"))
    curve = finetune(scorer, taught, RetrievalConfig(**SETTINGS | changes))
    return adapted, visual, grid, curve


def scores(vlm, visual, grid, narrations):
    return model.score_pairs(vlm, visual, grid, [(0, list(range(1, 9)))], narrations)[0]


def test_fresh_adapters_change_nothing(tiny_folder, videos, narrations):
    vlm = model.load_vlm(str(tiny_folder))
    visual, grid = model.encode_videos(vlm, videos), vlm.grid(videos.shape[1:])
    before = scores(vlm, visual, grid, narrations)
    after = scores(finetune_module.add_lora(vlm, rank=4, alpha=8), visual, grid, narrations)
    np.testing.assert_allclose(after, before, atol=1e-6)


def test_only_adapters_learn(tiny_folder, videos, narrations, supervision):
    vlm = model.load_vlm(str(tiny_folder))
    before = {name: weight.detach().clone() for name, weight in vlm.model.named_parameters()}
    adapted, *_ = tuned(vlm, videos, narrations, supervision)
    moved = {name for name, weight in adapted.model.named_parameters() if weight.requires_grad}
    assert moved and all("lora_" in name and "language_model" in name for name in moved)
    plain = {
        name.replace("base_model.model.", "").replace(".base_layer", ""): weight
        for name, weight in adapted.model.named_parameters()
        if name not in moved
    }
    assert plain.keys() == before.keys()
    for name, weight in plain.items():
        assert torch.equal(weight, before[name]), name


def test_a_few_steps_teach_the_list_and_the_adapter_can_be_loaded(
    tiny_folder, videos, narrations, supervision, tmp_path
):
    vlm = model.load_vlm(str(tiny_folder))
    adapted, visual, grid, curve = tuned(
        vlm, videos, narrations, supervision, steps=30, evaluate_every=30
    )
    losses = curve["loss"].drop_nulls().to_list()
    assert curve["step"].to_list() == [0, 30] and losses[-1] < np.log(4)
    found = scores(adapted, visual, grid, narrations)
    assert found[:2].mean() > found[2:].mean()
    model.save_adapter(adapted, tmp_path / "adapter")
    assert not list((tmp_path / "adapter").glob("*.bin"))
    again = model.load_vlm(str(tiny_folder), adapter=tmp_path / "adapter")
    np.testing.assert_allclose(scores(again, visual, grid, narrations), found, atol=1e-5)


def test_the_same_seed_gives_the_same_adapter(tiny_folder, videos, narrations, supervision):
    runs = [
        tuned(model.load_vlm(str(tiny_folder)), videos, narrations, supervision, loss="pointwise")
        for _ in range(2)
    ]
    np.testing.assert_array_equal(
        *(scores(vlm, visual, grid, narrations) for vlm, visual, grid, _ in runs)
    )


def test_the_best_adapter_on_validation_is_kept(
    tiny_folder, videos, narrations, supervision, monkeypatch
):
    values = iter([0.5, 0.4, 0.3])
    monkeypatch.setattr(
        finetune_module._RelevanceTask,
        "validate",
        lambda task: ({task.score: next(values)}, []),
    )
    vlm = model.load_vlm(str(tiny_folder))
    visual, grid = model.encode_videos(vlm, videos), vlm.grid(videos.shape[1:])
    before = scores(vlm, visual, grid, narrations)
    adapted, *_, curve = tuned(vlm, videos, narrations, supervision)
    assert curve["val_ndcg@10"].to_list() == [0.5, 0.4, 0.3]
    np.testing.assert_allclose(scores(adapted, visual, grid, narrations), before, atol=1e-6)


def test_nothing_to_learn_from_leaves_the_model(tiny_folder, videos, narrations, supervision):
    only_bad = supervision.filter(pl.col("label") == 0)
    *_, curve = tuned(model.load_vlm(str(tiny_folder)), videos, narrations, only_bad)
    assert curve.height == 0 and list(curve.columns) == list(finetune_module.CURVES)


def test_losses_against_hand_counts():
    found = torch.tensor([2.0, 0.0, -1.0, 1.0, 3.0])
    labels = [np.array([1.0, 0.5, 0.0]), np.array([0.0, 1.0])]
    first = torch.log_softmax(found[:3], 0)
    expected = (-(first[0] * 2 / 3 + first[1] / 3) - torch.log_softmax(found[3:], 0)[1]) / 2
    torch.testing.assert_close(list_loss(found, labels, "listwise"), expected)
    sigma = torch.sigmoid(found)
    wanted = torch.tensor([1.0, 0.5, 0.0, 0.0, 1.0])
    each = -(wanted * sigma.log() + (1 - wanted) * (1 - sigma).log())
    torch.testing.assert_close(
        list_loss(found, labels, "pointwise"), (each[:3].mean() + each[3:].mean()) / 2
    )


def test_margins_of_scores_are_taught_to_be_those_of_labels():
    labels = [np.array([1.0, 0.5, 0.0])]
    exact = torch.tensor([3.0, 1.0, -1.0])  # 4 between labels 1 and 0
    assert list_loss(exact, labels, "margin_mse") == pytest.approx(0.0)
    moved = list_loss(exact + torch.tensor([1.0, 0, 0]), labels, "margin_mse")
    assert moved == pytest.approx(2 / 3)  # two of three margins are 1 too large


@given(
    st.integers(1, 6),
    st.lists(st.sampled_from("abc"), min_size=1, max_size=12),
    st.integers(1, 4),
    st.integers(2, 10),
)
def test_a_drawn_list_deals_its_negatives_evenly(n_good, bad, positives, size):
    labels = np.array([1.0] * n_good + [0.0] * len(bad))
    kinds = np.array(["good"] * n_good + bad)
    whole = CandidateList(0, np.arange(len(labels)), labels, kinds)
    drawn = draw_list(whole, np.random.default_rng(0), positives=positives, size=size).clips
    good = min(n_good, positives)
    assert len(set(drawn)) == len(drawn) and (labels[drawn[:good]] > 0).all()
    assert len(drawn) == good + min(len(bad), max(0, size - good)) or good > size
    counts = {kind: int((kinds[drawn[good:]] == kind).sum()) for kind in set(bad)}
    short = [kind for kind in counts if counts[kind] < bad.count(kind)]
    assert all(counts[kind] >= max(counts.values()) - 1 for kind in short)


def test_learners_without_both_kinds_teach_nothing(supervision):
    alone = supervision.filter(pl.col("label") > 0).with_columns(learner_id=pl.lit("other"))
    assert [
        one.learner
        for one in candidate_lists(pl.concat([supervision, alone]), PLACES | {"other": 5})
    ] == [0]


@pytest.mark.parametrize(("learners", "count"), [(5, 2), (3, 8), (4, 4)])
def test_lists_of_a_step_depend_on_the_step_alone_and_learners_come_evenly(learners, count):
    labels, kinds = np.array([1.0, 1.0, 0.0, 0.0, 0.0]), np.array(["good"] * 2 + ["bad"] * 3)
    lists = [CandidateList(i, np.arange(5), labels, kinds) for i in range(learners)]
    steps = [draw_lists(lists, step, count, 1, 3, seed=1) for step in range(20)]
    for step in (7, 0, 19):
        again = draw_lists(lists, step, count, 1, 3, seed=1)
        assert [one.learner for one in again] == [one.learner for one in steps[step]]
        assert all(
            np.array_equal(a.clips, b.clips) for a, b in zip(again, steps[step], strict=True)
        )
    assert {len(step) for step in steps} == {min(count, learners)}
    turns = np.bincount([one.learner for step in steps for one in step], minlength=learners)
    assert turns.max() - turns.min() <= 1
    assert len({tuple(one.clips) for step in steps for one in step}) > 3  # fresh lists
