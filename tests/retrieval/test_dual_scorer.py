"""The dual scorer: one vector a learner and a clip, what teaches them, and what is kept of them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import polars as pl
import pytest
import torch

from sportskills_lib.config import RetrievalConfig
from sportskills_lib.retrieval.ranking import baselines, systems, two_stage
from sportskills_lib.retrieval.relevance import dual_scorer, finetune, model
from sportskills_lib.retrieval.relevance.pair_scorer import PairScorer

PLACES = {"a": 0, "b": 1, "c": 2} | {f"clip{i}": i for i in range(3, 9)}
CLIPS = pl.DataFrame(
    {
        "clip_id": [f"clip{i}" for i in range(3, 9)],
        "demonstration": ["correct", "incorrect"] * 3,
        "sport": ["golf"] * 6,
        "skill": ["putt"] * 6,
    }
)
LEARNERS = pl.DataFrame(
    {
        "learner_id": ["a", "b", "c"],
        "sport": ["golf"] * 3,
        "skill": ["putt"] * 3,
        "is_mistake": [True] * 3,
        "split": ["train", "train", "test"],
    }
)
PAIRS = LEARNERS.select("learner_id").join(CLIPS.select("clip_id"), how="cross")
CONFIG = RetrievalConfig(
    steps=0, text_steps=10, dual_steps=60, dual_learning_rate=1e-2, learning_rate=1e-2, seed=0
)


@pytest.fixture(scope="module")
def supervision() -> pl.DataFrame:
    """The knee mends a, the arm b."""
    rows = [
        (learner, f"clip{i}", float(i % 2 == shift), "x", said, "golf", "putt", "train")
        for shift, (learner, said) in enumerate((("a", "knees bend"), ("b", "arm is straight")))
        for i in range(3, 9)
    ]
    names = ("learner_id", "clip_id", "label", "reason", "comment", "sport", "skill", "split")
    return pl.DataFrame(rows, schema=names, orient="row")


@pytest.fixture(scope="module")
def trained(tiny_folder, videos, supervision) -> tuple[PairScorer, pl.DataFrame]:
    torch.manual_seed(0)
    vlm = finetune.add_lora(model.load_vlm(str(tiny_folder)), rank=4, alpha=8)
    visual, grid = model.encode_videos(vlm, videos), vlm.grid(videos.shape[1:])
    said = {
        i: "keep the knee bent" if i % 2 == 0 else "the arm stays straight" for i in range(3, 9)
    }
    encoder = torch.randn(len(PLACES), 6, generator=torch.Generator().manual_seed(4))
    scorer = PairScorer(vlm, visual, grid, PLACES, said, encoder_NE=encoder)
    return scorer, finetune.finetune(scorer, supervision, CONFIG)


def test_the_lists_are_learnt_and_every_step_has_its_curve(trained, supervision) -> None:
    scorer, curves = trained
    assert curves["arm"].unique(maintain_order=True).to_list() == ["text_warm_up", "vlm_dual"]
    ends = curves.filter(pl.col("loss").is_not_null()).group_by("arm", maintain_order=True)
    assert [loss[-1] < loss[0] or len(loss) == 1 for loss in ends.agg("loss")["loss"]]
    own = PAIRS.filter(pl.col("learner_id") != "c")
    labels = own.join(supervision, on=["learner_id", "clip_id"], maintain_order="left")["label"]
    scores = scorer.dual_scores(own)
    assert scores[labels.to_numpy() == 1].min() > scores[labels.to_numpy() == 0].max()


def test_a_score_is_the_product_of_two_kept_vectors(trained) -> None:
    scorer, _ = trained
    with torch.no_grad():
        learners, clips = scorer.learner_vectors([0, 1, 2]), scorer.clip_vectors(range(3, 9))
    np.testing.assert_allclose(scorer.dual_scores(PAIRS), (learners @ clips.T).flatten(), atol=1e-4)
    untrained = replace(scorer, vectors=None)
    assert not untrained.dual_scores(PAIRS).any()


def test_learners_are_asked_about_without_the_language_model(trained, monkeypatch) -> None:
    scorer, _ = trained
    monkeypatch.setattr(scorer.vlm.stock.model.language_model, "forward", None)
    assert scorer.learner_vectors([0]).shape == (1, 2 * dual_scorer.WIDTH)


def test_a_head_is_read_back_and_refuses_videos_of_another_size(trained, tmp_path) -> None:
    scorer, _ = trained
    dual_scorer.save_head(scorer.head, tmp_path)
    again = dual_scorer.load_head(tmp_path, scorer.visual_NKD)
    expected = scorer.vectors[0][:3]
    asked = dual_scorer.search_vectors(again, scorer.visual_NKD[:3], scorer.encoder_NE[:3])
    np.testing.assert_allclose(asked[:, :-1], expected, atol=1e-6)
    assert (asked[:, -1] == 1).all()
    with pytest.raises(ValueError, match="made for videos of another size"):
        dual_scorer.load_head(tmp_path, scorer.visual_NKD[:, :2])


def test_the_encoders_vector_is_read_and_a_head_without_one_asks_for_none(trained) -> None:
    scorer, _ = trained
    other = replace(scorer, encoder_NE=scorer.encoder_NE.flip(0))
    assert not torch.allclose(other.learner_vectors([0]), scorer.learner_vectors([0]))
    alone = replace(scorer, encoder_NE=None)
    alone.new_head({"bend", "turn"}, seed=0)
    assert alone.learner_vectors([0]).shape == (1, 2 * dual_scorer.WIDTH)


def test_the_search_is_the_dual_scorer_with_the_label(trained, tmp_path) -> None:
    scorer, _ = trained
    lists = PAIRS.with_columns(label=pl.Series([1.0, 0, 0, 0, 0, 0] * 3))
    search, choice = systems.dual_search(scorer, lists, CLIPS)
    assert list(search.learners) == ["a", "b", "c"] and set(search.gallery) == set(CLIPS["clip_id"])
    dual, label = scorer.dual_scores(lists), baselines.correct_scores(lists, CLIPS)
    units = [systems.usual_spread(lists, one) for one in (dual, label)]
    expected = (1 - choice.weight) * dual / units[0] + choice.weight * label / units[1]
    np.testing.assert_allclose(search.scores(lists), expected, atol=1e-4)
    two_stage.save_index(search.gallery, tmp_path)
    again = two_stage.read_index(tmp_path)
    assert list(again) == list(search.gallery)
    assert all(np.array_equal(again[name], search.gallery[name]) for name in again)


def test_the_blind_search_ranks_alike_for_all_learners_of_a_skill(trained) -> None:
    scorer, _ = trained
    search, _ = systems.dual_search(scorer, PAIRS.with_columns(label=pl.lit(1.0)), CLIPS)
    blind = systems.blind(search, LEARNERS).scores(PAIRS).reshape(3, 6)
    np.testing.assert_array_equal(blind[0], blind[1])
    mean = (search.learners["a"] + search.learners["b"]) / 2  # c is no training learner
    expected = [mean @ search.gallery[name] for name in CLIPS["clip_id"]]
    np.testing.assert_allclose(blind[2], expected, rtol=1e-5)


def test_texts_start_apart_although_they_share_most_words(tiny_vlm) -> None:
    texts = [f"on the putt you should always {verb} it" for verb in ("bend", "raise", "turn")]
    states = dual_scorer.text_states(tiny_vlm, texts).detach()
    head = dual_scorer.new_head(torch.zeros(1, 4, 8), states.shape[1], 0, words=False, seed=0)
    with torch.no_grad():
        dual_scorer.start_text_reader(head, states)
        alike = dual_scorer.text_vectors(head, states)
    raw = torch.nn.functional.normalize(states, dim=-1)
    apart = ~np.eye(3, dtype=bool)
    assert (raw @ raw.T).numpy()[apart].min() > 0.5 > (alike @ alike.T).numpy()[apart].max()


def test_padding_changes_no_state(tiny_vlm) -> None:
    long = "a much longer sentence about the arm and both knees"
    together = dual_scorer.text_states(tiny_vlm, ["bend", long])
    alone = torch.cat([dual_scorer.text_states(tiny_vlm, [text]) for text in ("bend", long)])
    torch.testing.assert_close(together, alone, atol=1e-5, rtol=1e-4)
    assert dual_scorer.text_states(tiny_vlm, [""]).isfinite().all()
