"""The whole of 04 on a handful of random videos: every system ranks, twice the same, and no test
comment helps.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import polars as pl
import pytest

from sportskills_lib import tables
from sportskills_lib.config import RetrievalConfig
from sportskills_lib.retrieval import figures, ranked_systems, stage
from sportskills_lib.retrieval.relevance import model, visual_tokens
from sportskills_lib.retrieval.relevance.pair_scorer import seen_frames
from sportskills_lib.retrieval.supervision import build
from sportskills_lib.retrieval.supervision.labelling import MINED

CUES = ("reach for the far wall", "light the torch in front")
FAULTS = ("the broken wing is back", "the shield lies in sand")
SYSTEMS = {
    "random",
    "same_skill_random",
    "correct_of_skill",
    "text_oracle",
    "vlm_zero_shot",
    "encoder_zero_shot",
    "encoder_narrations",
    "encoder_correct",
    "comments_knn",
    "comments_knn_correct",
    "vlm_dual",
    "vlm_dual_correct",
    "vlm_yes_no",
    "relevance",
    "relevance_blind",
    "fused",
    "describe_then_retrieve",
}


@pytest.fixture(scope="module")
def library(tmp_path_factory):
    rows, texts = [], {}
    for split in tables.SPLITS:
        for skill in ("serve", "volley"):
            for i in range(4):
                kind = "incorrect" if i % 2 else "correct"
                row = {
                    "clip_id": f"{split}-{skill}-{i}:000000-003000",
                    "video_id": f"{split}{skill}{i}",
                    "start_s": 0.0,
                    "end_s": 3.0,
                    "channel": split,
                    "sport": "tennis",
                    "skill": skill,
                    "demonstration": kind,
                    "verifier": "t",
                    "score": 1.0,
                    "split": split,
                }
                rows.append(row)
                texts[row["clip_id"]] = (FAULTS if i % 2 else CUES)[i // 2]
    clips = tables.Clips.validate(pl.DataFrame(rows).sort("clip_id"), cast=True)
    rng = np.random.default_rng(0)
    items = [("clip", clip_id) for clip_id in clips["clip_id"]] + [
        ("narration", f"n{i}") for i in range(clips.height)
    ]
    vectors = [
        (f"{encoder}:{arm}", kind, item, rng.normal(size=4).tolist())
        for encoder in ("image", "video")
        for arm in stage.ARMS.values()
        for kind, item in items
    ]
    embeddings = pl.DataFrame(
        vectors, schema=["model_id", "item_kind", "item_id", "vector"], orient="row"
    )
    pairs = pl.DataFrame(
        {"clip_id": clips["clip_id"], "narration_id": [f"n{i}" for i in range(clips.height)]}
    )
    frames = rng.integers(0, 255, (clips.height, 8, 32, 32, 3), dtype=np.uint8)
    return stage.Library(
        clips, pairs, texts, frames, embeddings, tmp_path_factory.mktemp("encoder")
    )


@pytest.fixture(scope="module")
def learners():
    rows = [
        {
            "learner_id": f"{split}-take{i}:000000-003000",
            "start_s": 0.0,
            "end_s": 3.0,
            "take_id": f"{split}-take{i}",
            "participant": f"{split}{i}",
            "path": "x.mp4",
            "sport": "tennis",
            "skill": ("serve", "volley")[i // 2],
            "comment": f"{FAULTS[i % 2]} so {CUES[i % 2]}",
            "is_mistake": True,
            "split": split,
        }
        for split in tables.SPLITS
        for i in range(4)
    ]
    return tables.Learners.validate(pl.DataFrame(rows).sort("learner_id"), cast=True)


@pytest.fixture(autouse=True)
def workspace(tmp_path, monkeypatch):
    """Visual tokens are kept below a workspace of the test's own."""
    monkeypatch.setenv("SPORTSKILLS_HOME", str(tmp_path))
    return tmp_path


def run(library, learners, folder, monkeypatch, **changes):
    settings: dict = {
        "speaking_weight": 0.5,
        "mask_against": "none",  # there is no tower of 03
        "text_steps": 2,
        "dual_steps": 2,
        "steps": 2,
        "evaluate_every": 1,
        "learners_per_step": 2,
        "list_size": 4,
        "lora_rank": 4,
        "lora_alpha": 8,
    }
    config = RetrievalConfig(model=str(folder), **(settings | changes))
    frames = np.random.default_rng(1).integers(
        0, 255, (learners.height, 8, 32, 32, 3), dtype=np.uint8
    )
    monkeypatch.setattr(
        stage,
        "learner_embeddings",
        lambda *_: np.random.default_rng(2).normal(size=(learners.height, 4)),
    )
    test = learners.filter(pl.col("split").cast(pl.String) == "test")["learner_id"]
    pools = test.to_frame().join(
        library.clips.filter(pl.col("split").cast(pl.String) == "test").select("clip_id"),
        how="cross",
    )
    supervision, lessons, _ = build.supervise(learners, frames, library, config)
    asked = stage.candidates(pools, supervision, learners)
    vectors = stage.encode_learners(learners, frames, library, config)
    scorer = stage.open_scorer(learners, frames, library, vectors, config)
    zero_shot = scorer.scores(asked.pools)
    curves = stage.finetune_scorer(scorer, supervision, lessons, learners, library, config)
    ranked = ranked_systems.rank_all(asked, learners, vectors, library, scorer, zero_shot, config)
    return ranked, curves, supervision, lessons, scorer, pools


def test_every_system_ranks_every_pool_and_a_second_run_agrees(
    library, learners, tiny_folder, monkeypatch
):
    ranked, curves, supervision, lessons, _, pools = run(
        library, learners, tiny_folder, monkeypatch
    )
    rankings, choices = ranked.rankings, ranked.choices
    assert set(rankings["system"]) == SYSTEMS
    assert rankings.group_by("system").len()["len"].unique().to_list() == [pools.height]
    assert curves["arm"].unique(maintain_order=True).to_list() == [
        "text_warm_up",
        "vlm_dual",
        "vlm_yes_no",
    ]
    assert curves["step"].to_list() == [0, 1, 2] * 3 and choices.height == 93
    own = ranked.same_skill
    assert set(own["system"]) == SYSTEMS and own.height == rankings.height // 2
    assert (supervision["label"] > 0).any() and lessons.height
    test_clips = set(library.clips.filter(pl.col("split").cast(pl.String) == "test")["clip_id"])
    assert not test_clips & {*supervision["clip_id"], *lessons["clip_id"], *lessons["learner_id"]}
    again = run(library, learners, tiny_folder, monkeypatch)[0]
    assert again.rankings.equals(rankings) and again.library.equals(ranked.library)
    assert again.variants.equals(ranked.variants)
    figures.top_overlap(rankings)
    figures.supervision_examples(supervision, learners, library.texts, seed=0)


def test_mined_negatives_come_from_the_first_stage_and_masked_rows_are_kept_apart(
    library, learners, monkeypatch
):
    monkeypatch.setattr(
        stage, "learner_embeddings", lambda *_: np.ones((learners.height, 4), np.float32)
    )
    frames, settings = (
        np.zeros((learners.height, 8, 32, 32, 3), np.uint8),
        {"mined_negatives": 2, "mined_depth": 8, "first_stage": "image"},
    )
    config = RetrievalConfig(
        mask_similarity="", mask_margin=-0.5, text_similarity="tfidf", **settings
    )
    supervision, lessons, masked = build.supervise(learners, frames, library, config)
    for table in (supervision, lessons):
        mined = table.filter(pl.col("reason") == MINED)
        assert mined.height and mined["label"].unique().to_list() == [0.0]
        assert mined.group_by("learner_id").len()["len"].max() <= 2
        assert table["label"].null_count() == 0
    assert (
        masked["label"].null_count() == masked.height
        and masked["reason"].str.starts_with("masked").all()
    )
    ranked = build.first_stage(learners, frames, library, config)
    vectors = {
        kind: dict(
            library.embeddings.filter(model_id="image:narrations", item_kind=kind)
            .select("item_id", "vector")
            .iter_rows()
        )
        for kind in ("clip", "narration")
    }
    said = dict(library.pairs.iter_rows())
    name = library.clips["clip_id"][3]
    spoken = np.array(vectors["narration"][said[name]], np.float32)
    want = (np.array(vectors["clip"][name], np.float32) + spoken / np.linalg.norm(spoken)).sum() / 2
    assert ranked(learners["learner_id"].to_list()[:1], [name]).item() == pytest.approx(
        want, rel=1e-5
    )
    again = build.supervise(learners, frames, library, config)
    assert all(
        one.equals(other) for one, other in zip((supervision, lessons, masked), again, strict=True)
    )


def test_how_many_rows_of_each_kind_a_learner_has_counts_those_without_any(library, learners):
    config = RetrievalConfig(mask_against="none")
    supervision, _, masked = build.supervise(learners, np.zeros((0,)), library, config)
    counts = stage.rows_per_learner(pl.concat([supervision, masked]), learners["learner_id"])
    kinds = pl.concat([supervision, masked])["reason"].n_unique()
    assert (
        counts.height == learners.height * kinds
        and counts["rows"].sum() == supervision.height + masked.height
    )
    test = learners.filter(pl.col("split").cast(pl.String) == "test")["learner_id"]
    assert counts.filter(pl.col("learner_id").is_in(test.implode()))["rows"].sum() == 0
    figure = figures.positives_figure(counts)
    assert [panel.get_title(loc="left") for panel in figure.axes if panel.axison] == counts[
        "kind"
    ].unique(maintain_order=True).to_list()
    figures.positives_figure(
        stage.rows_per_learner(supervision.clear(), learners["learner_id"].clear())
    )


def test_a_test_learners_comment_reaches_the_oracle_alone(
    library, learners, tiny_folder, monkeypatch
):
    comment = (
        pl.when(pl.col("split").cast(pl.String) == "test")
        .then(pl.lit(CUES[1]))
        .otherwise("comment")
    )
    told = run(library, learners, tiny_folder, monkeypatch)[0].rankings
    other = run(library, learners.with_columns(comment=comment), tiny_folder, monkeypatch)[
        0
    ].rankings
    same = [
        told.filter(pl.col("system") == name).equals(other.filter(pl.col("system") == name))
        for name in SYSTEMS
    ]
    changed = {name for name, equal in zip(SYSTEMS, same, strict=True) if not equal}
    assert changed == {"text_oracle"}


def test_scores_of_the_stage_are_those_of_the_model(library, learners, tiny_folder, monkeypatch):
    *_, scorer, pools = run(library, learners, tiny_folder, monkeypatch, with_narration=False)
    shuffled = pools.sample(fraction=1.0, shuffle=True, seed=1)
    for row, score in zip(shuffled.iter_rows(named=True), scorer.scores(shuffled), strict=True):
        query = (scorer.places[row["learner_id"]], [scorer.places[row["clip_id"]]])
        (expected,) = model.score_pairs(scorer.vlm, scorer.visual_NKD, scorer.grid, [query], None)
        assert score == pytest.approx(float(expected[0]), abs=1e-5)


def test_videos_are_looked_at_once_for_all_runs(
    library, learners, tiny_folder, monkeypatch, workspace
):
    *_, scorer, _ = run(library, learners, tiny_folder, monkeypatch)
    kept = list(workspace.glob("data/cache/visual_tokens/??/*.npy"))
    assert len(kept) == len(scorer.places)
    monkeypatch.setattr(visual_tokens, "visual_tokens", None)
    *_, again, _ = run(library, learners, tiny_folder, monkeypatch)
    assert again.visual_NKD.equal(scorer.visual_NKD)


def test_the_shortlist_and_the_depths_agree_with_the_pools(
    library, learners, tiny_folder, monkeypatch
):
    """Here every test clip is judged: a shortlist as deep as the library ranks like the pools
    do.
    """
    ranked, *_ = run(library, learners, tiny_folder, monkeypatch, shortlist=100)
    wanted = ("vlm_dual_correct", "vlm_yes_no", "relevance")
    whole = (
        ranked.rankings.filter(pl.col("system").is_in(wanted))
        .drop("score")
        .sort("system", "query_id", "rank")
    )
    found = ranked.library.drop("score").sort("system", "query_id", "rank")
    assert found.equals(whole)
    names = ("depth 0", "depth 24", "alone 0", "alone 24")
    order = {
        name: ranked.variants.filter(pl.col("system") == name)["clip_id"].to_list()
        for name in names
    }
    by = {
        name: ranked.rankings.filter(pl.col("system") == name)["clip_id"].to_list()
        for name in wanted
    }
    first, fused, alone = (by[name] for name in ("vlm_dual_correct", "relevance", "vlm_yes_no"))
    assert order == {"depth 0": first, "depth 24": fused, "alone 0": first, "alone 24": alone}
    short = run(library, learners, tiny_folder, monkeypatch, shortlist=3, first_stage="image")[0]
    sizes = short.library.group_by("system", "query_id").len()["len"].unique().to_list()
    assert sizes == [3] and (short.timings["seconds"] > 0).all()
    assert short.choices["choice"].str.contains("(image)", literal=True).any()


def test_frames_are_spread_evenly():
    assert seen_frames(8, 0).tolist() == seen_frames(8, 9).tolist() == list(range(8))
    assert seen_frames(8, 4).tolist() == [1, 3, 5, 7] and seen_frames(8, 2).tolist() == [2, 6]


def test_a_run_without_the_wanted_encoder_falls_back_to_images(library):
    only = replace(
        library, embeddings=library.embeddings.filter(pl.col("model_id").str.starts_with("image"))
    )
    assert (stage.encoder_of(library, "video"), stage.encoder_of(only, "video")) == (
        "video",
        "image",
    )
