"""The whole of 04 on a handful of random videos: every system ranks, twice the same, and no test comment helps."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import polars as pl
import pytest

from sportskills_lib import tables
from sportskills_lib.config import RetrievalConfig
from sportskills_lib.retrieval import relevance, showing, study

CUES = ("reach for the far wall", "light the torch in front")
FAULTS = ("the broken wing is back", "the shield lies in sand")
SYSTEMS = {
    "random", "same_skill_random", "text_oracle", "vlm_zero_shot", "encoder_zero_shot", "encoder_narrations",
    "vlm_lora", "vlm_lora_shuffled", "fused", "describe_then_retrieve",
}  # fmt: skip


@pytest.fixture(scope="module")
def library(tmp_path_factory):
    rows, texts = [], {}
    for split in tables.SPLITS:
        for skill in ("serve", "volley"):
            for i in range(4):
                kind = "incorrect" if i % 2 else "correct"
                row = {
                    "clip_id": f"{split}-{skill}-{i}:000000-003000", "video_id": f"{split}{skill}{i}", "start_s": 0.0,
                    "end_s": 3.0, "channel": split, "sport": "tennis", "skill": skill, "demonstration": kind,
                    "verifier": "t", "score": 1.0, "split": split,
                }  # fmt: skip
                rows.append(row)
                texts[row["clip_id"]] = (FAULTS if i % 2 else CUES)[i // 2]
    clips = tables.Clips.validate(pl.DataFrame(rows).sort("clip_id"), cast=True)
    rng = np.random.default_rng(0)
    items = [("clip", clip_id) for clip_id in clips["clip_id"]] + [("narration", f"n{i}") for i in range(clips.height)]
    vectors = [
        (f"{encoder}:{arm}", kind, item, rng.normal(size=4).tolist())
        for encoder in ("image", "video")
        for arm in study.ARMS.values()
        for kind, item in items
    ]
    embeddings = pl.DataFrame(vectors, schema=["model_id", "item_kind", "item_id", "vector"], orient="row")
    pairs = pl.DataFrame({"clip_id": clips["clip_id"], "narration_id": [f"n{i}" for i in range(clips.height)]})
    frames = rng.integers(0, 255, (clips.height, 8, 32, 32, 3), dtype=np.uint8)
    return study.Library(clips, pairs, texts, frames, embeddings, tmp_path_factory.mktemp("encoder"))


@pytest.fixture(scope="module")
def learners():
    rows = [
        {
            "learner_id": f"{split}-take{i}:000000-003000", "start_s": 0.0, "end_s": 3.0, "take_id": f"{split}-take{i}",
            "participant": f"{split}{i}", "path": "x.mp4", "sport": "tennis", "skill": ("serve", "volley")[i // 2],
            "comment": f"{FAULTS[i % 2]} so {CUES[i % 2]}", "is_mistake": True, "split": split,
        }
        for split in tables.SPLITS
        for i in range(4)
    ]  # fmt: skip
    return tables.Learners.validate(pl.DataFrame(rows).sort("learner_id"), cast=True)


def run(library, learners, folder, monkeypatch, **changes):
    settings: dict = {
        "speaking_weight": 0.5,
        "steps": 2,
        "evaluate_every": 1,
        "learners_a_step": 2,
        "list_size": 4,
        "lora_rank": 4,
        "lora_alpha": 8,
    }
    config = RetrievalConfig(model=str(folder), **(settings | changes))
    frames = np.random.default_rng(1).integers(0, 255, (learners.height, 8, 32, 32, 3), dtype=np.uint8)
    monkeypatch.setattr(
        study, "learner_embeddings", lambda *_: np.random.default_rng(2).normal(size=(learners.height, 4))
    )
    test = learners.filter(pl.col("split").cast(pl.String) == "test")["learner_id"]
    pools = test.to_frame().join(
        library.clips.filter(pl.col("split").cast(pl.String) == "test").select("clip_id"), how="cross"
    )
    supervision, lessons = study.supervise(learners, library, config)
    asked = study.candidates(pools, supervision, learners)
    scorer = study.open_scorer(learners, frames, library, config)
    zero_shot = scorer.scores(asked.pools)
    curves = scorer.finetune(supervision, lessons, learners, config)
    ranked = study.rank_all(asked, learners, frames, library, scorer, zero_shot, config)
    return ranked, curves, supervision, lessons, scorer, pools


def test_every_system_ranks_every_pool_and_a_second_run_agrees(library, learners, tiny_folder, monkeypatch):
    ranked, curves, supervision, lessons, _, pools = run(library, learners, tiny_folder, monkeypatch)
    rankings, choices = ranked.rankings, ranked.choices
    assert set(rankings["system"]) == SYSTEMS
    assert rankings.group_by("system").len()["len"].unique().to_list() == [pools.height]
    assert curves["step"].to_list() == [0, 1, 2] and choices.height == 15
    assert (supervision["label"] > 0).any() and lessons.height
    test_clips = set(library.clips.filter(pl.col("split").cast(pl.String) == "test")["clip_id"])
    assert not test_clips & {*supervision["clip_id"], *lessons["clip_id"], *lessons["learner_id"]}
    again = run(library, learners, tiny_folder, monkeypatch)[0]
    assert again.rankings.equals(rankings) and again.library.equals(ranked.library)
    assert again.variants.equals(ranked.variants)
    showing.overlap_at_10(rankings)
    showing.supervision_examples(supervision, learners, library.texts, seed=0)


def test_a_test_learners_comment_reaches_the_oracle_alone(library, learners, tiny_folder, monkeypatch):
    comment = pl.when(pl.col("split").cast(pl.String) == "test").then(pl.lit(CUES[1])).otherwise("comment")
    told = run(library, learners, tiny_folder, monkeypatch)[0].rankings
    other = run(library, learners.with_columns(comment=comment), tiny_folder, monkeypatch)[0].rankings
    same = [told.filter(pl.col("system") == name).equals(other.filter(pl.col("system") == name)) for name in SYSTEMS]
    changed = {name for name, equal in zip(SYSTEMS, same, strict=True) if not equal}
    assert changed == {"text_oracle"}


def test_scores_of_the_stage_are_those_of_the_model(library, learners, tiny_folder, monkeypatch):
    *_, scorer, pools = run(library, learners, tiny_folder, monkeypatch, with_narration=False)
    shuffled = pools.sample(fraction=1.0, shuffle=True, seed=1)
    for row, score in zip(shuffled.iter_rows(named=True), scorer.scores(shuffled), strict=True):
        query = (scorer.places[row["learner_id"]], [scorer.places[row["clip_id"]]])
        (expected,) = relevance.score_pairs(scorer.vlm, scorer.visual_NKD, scorer.grid, [query], None)
        assert score == pytest.approx(float(expected[0]), abs=1e-5)


def test_the_shortlist_and_the_depths_agree_with_the_pools(library, learners, tiny_folder, monkeypatch):
    """Here every test clip is judged: a shortlist as deep as the library ranks like the pools do."""
    ranked, *_ = run(library, learners, tiny_folder, monkeypatch, shortlist=100)
    wanted = ("encoder_narrations", "vlm_lora", "fused")
    whole = ranked.rankings.filter(pl.col("system").is_in(wanted)).drop("score").sort("system", "query_id", "rank")
    found = ranked.library.drop("score").sort("system", "query_id", "rank")
    assert found.equals(whole)
    order = {
        name: ranked.variants.filter(pl.col("system") == name)["clip_id"].to_list() for name in ("depth 0", "depth 24")
    }
    by = {name: ranked.rankings.filter(pl.col("system") == name)["clip_id"].to_list() for name in wanted}
    assert order == {"depth 0": by["encoder_narrations"], "depth 24": by["fused"]}
    short = run(library, learners, tiny_folder, monkeypatch, shortlist=3, first_stage="image")[0]
    sizes = short.library.group_by("system", "query_id").len()["len"].unique().to_list()
    assert sizes == [3] and (short.timings["seconds"] > 0).all()
    assert short.choices["choice"].str.contains("(image)", literal=True).any()


def test_frames_are_spread_evenly():
    assert study.seen_frames(8, 0).tolist() == study.seen_frames(8, 9).tolist() == list(range(8))
    assert study.seen_frames(8, 4).tolist() == [1, 3, 5, 7] and study.seen_frames(8, 2).tolist() == [2, 6]


def test_a_run_without_the_wanted_encoder_falls_back_to_images(library):
    only = replace(library, embeddings=library.embeddings.filter(pl.col("model_id").str.starts_with("image")))
    assert (study.encoder_of(library, "video"), study.encoder_of(only, "video")) == ("video", "image")
