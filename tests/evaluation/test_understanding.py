"""Probes, minimal pairs and the choice among five on stand-in stages, against the definitions
written out.
"""

from __future__ import annotations

import itertools

import numpy as np
import polars as pl
import pytest
import stage_outputs

from sportskills_lib import tables
from sportskills_lib.evaluation import demo_truth, further_comparisons, recall, understanding
from sportskills_lib.report import figures
from sportskills_lib.runs import artifacts

TRUTH = "data/raw/demo/truth"


@pytest.fixture
def data(workspace):
    stages = {
        "clips": "02_pairing",
        "pairs": "02_pairing",
        "narrations": "01_curation",
        "embeddings": "03_encoder",
    }
    read = {
        name: artifacts.open_stage(stage_outputs.RUN, stage).table(name)
        for name, stage in stages.items()
    }
    queries, _ = recall.test_queries(read["clips"], read["pairs"], read["narrations"])
    groups = demo_truth.true_groups(TRUTH, read["clips"], splits=tables.SPLITS)
    return read["embeddings"], queries, read["clips"], groups


@pytest.fixture
def scores(data):
    return tables.Scores.validate(understanding.score_all(*data), cast=True)


def value(scores, system, item):
    return scores.filter((pl.col("system") == system) & (pl.col("query_id") == item))[
        "value"
    ].item()


def cosine(embeddings, model, query, clip):
    rows = embeddings.filter(pl.col("model_id") == model)
    one, two = (
        np.array(
            rows.filter((pl.col("item_kind") == kind) & (pl.col("item_id") == item))["vector"][0],
            dtype=float,
        )
        for kind, item in (("narration", query), ("clip", clip))
    )
    return round(float(one @ two / np.linalg.norm(one) / np.linalg.norm(two)), 9)


def test_minimal_pairs_and_five_way_equal_the_definition(data, scores):
    """One clip that shows a mistake, all its rivals written out, every draw enumerated."""
    embeddings, queries, clips, groups = data
    model, at = "image:zero_shot", "image/zero_shot"
    known = groups.join(clips.select("clip_id", "sport", "skill"), on="clip_id")
    said = (
        queries.with_columns(clip_id=pl.col("own").list.first())
        .drop("sport", "skill")
        .join(known, on="clip_id")
    )
    query = (
        said.filter((pl.col("sport") == "golf") & (pl.col("execution") != "correct"))
        .sort("query_id")
        .row(0, named=True)
    )
    clip = query["own"][0]
    own = cosine(embeddings, model, query["query_id"], clip)
    skill = said.filter((pl.col("skill") == query["skill"]) & (pl.col("sport") == "golf"))
    rivals = [
        [cosine(embeddings, model, other, clip) < own for other in part["query_id"]]
        for (cue,), part in skill.filter(pl.col("execution") != "correct").group_by("cue")
        if cue != query["cue"]
    ]
    assert len(rivals) == 2
    wanted = np.mean([all(drawn) for drawn in itertools.product(*rivals)])
    assert value(scores, f"{at}/video_to_text/cue_pairs", clip) == pytest.approx(wanted)
    well = skill.filter((pl.col("execution") == "correct") & (pl.col("cue") == query["cue"]))[
        "query_id"
    ]
    wanted = np.mean([cosine(embeddings, model, other, clip) < own for other in well])
    assert value(scores, f"{at}/video_to_text/execution_pairs", clip) == pytest.approx(wanted)
    others = known.filter(
        (pl.col("skill") == query["skill"])
        & (pl.col("execution") == "correct")
        & (pl.col("cue") == query["cue"])
        & pl.col("clip_id").is_in(clips.filter(pl.col("split") == "test")["clip_id"].implode())
    )["clip_id"]
    wanted = np.mean(
        [cosine(embeddings, model, query["query_id"], other) < own for other in others]
    )
    assert value(scores, f"{at}/text_to_video/execution_pairs", query["query_id"]) == pytest.approx(
        wanted
    )
    sport = said.filter((pl.col("sport") == "golf") & (pl.col("group") != query["group"]))[
        "query_id"
    ]
    below = sum(cosine(embeddings, model, other, clip) < own for other in sport)
    n = len(sport)
    wanted = np.prod([(below - i) / (n - i) for i in range(4)])
    assert value(scores, f"{at}/video_to_text/five_way", clip) == pytest.approx(wanted)


def test_arms_reach_what_they_know(scores):
    """Skill labels are at chance where only the cue differs; narrations are not; five_way is easy
    with the skill.
    """
    table = understanding.table(scores, draws=50, seed=0)
    found = {tuple(row[:4]): row[4] for row in table.rows()}
    chance = {tuple(row[:2]): row[-1] for row in table.rows()}
    for task, direction in (("cue_pairs", "video_to_text"), ("cue_pairs", "text_to_video"),
                            ("execution_pairs", "video_to_text"), ("cue_probe", "video"),
                            ("execution_probe", "video")):  # fmt: skip
        level = chance[task, direction]
        assert found[task, direction, "image", "activity_skill"] == pytest.approx(
            level, abs=0.12
        ), task
        assert found[task, direction, "image", "narrations"] > level + 0.2, task
    assert chance["cue_pairs", "video_to_text"] == pytest.approx(1 / 3)
    assert chance["cue_probe", "video"] == pytest.approx(1 / 3)
    five = {
        arm: found["five_way", "video_to_text", "image", arm]
        for arm in ("activity_sport", "narrations")
    }
    assert five["activity_sport"] == pytest.approx(0.2, abs=0.1) and five["narrations"] > 0.8
    gaps = understanding.differences(scores, draws=50, seed=0)
    row = gaps.row(
        by_predicate=(pl.col("task") == "cue_pairs")
        & (pl.col("direction") == "video_to_text")
        & (pl.col("encoder") == "image")
        & (pl.col("training") == "narrations")
        & (pl.col("baseline") == "activity_skill"),
        named=True,
    )
    assert row["ci_excludes_zero"] and row["low"] > 0
    assert gaps.filter(pl.col("kind") == "encoders")["encoder"].unique().to_list() == ["video"]
    figures.understanding(table)


def test_without_the_truth_there_are_the_tasks_that_need_none(data):
    embeddings, queries, clips, groups = data
    scores = understanding.score_all(embeddings, queries, clips, groups.head(0))
    assert set(recall.split_system(scores)["scope"]) == {"execution_probe", "five_way"}
    assert further_comparisons.kinds_of(queries, groups.head(0)).is_empty()
    means, gaps = further_comparisons.by_kind(
        scores, further_comparisons.kinds_of(queries, groups.head(0)), draws=10, seed=0
    )
    assert means.is_empty() and gaps.is_empty()


def test_no_test_clips_are_no_error(data):
    embeddings, queries, clips, groups = data
    train = clips.filter(pl.col("split") == "train")
    scores = understanding.score_all(embeddings, queries.head(0), train, groups)
    assert scores.is_empty()
    assert understanding.table(scores, draws=10, seed=0).is_empty()
    assert understanding.differences(scores, draws=10, seed=0).is_empty()


def test_kinds_of_cue_count_mistakes_only_and_pool_their_queries(data, scores):
    _, queries, clips, groups = data
    test = groups.filter(
        pl.col("clip_id").is_in(clips.filter(pl.col("split") == "test")["clip_id"].implode())
    )
    known = further_comparisons.kinds_of(queries, test)
    shown = test.filter(pl.col("execution") != "correct")
    assert set(known["query_id"]) >= set(shown["clip_id"])
    assert not set(known["query_id"]) & set(
        test.filter(pl.col("execution") == "correct")["clip_id"]
    )
    means, gaps = further_comparisons.by_kind(scores, known, draws=50, seed=0)
    row = means.row(
        by_predicate=(pl.col("measure") == "cue pairs")
        & (pl.col("direction") == "video_to_text")
        & (pl.col("kind") == "timing")
        & (pl.col("encoder") == "image")
        & (pl.col("training") == "narrations"),
        named=True,
    )
    timing = shown.filter(pl.col("cue_kind") == "timing")["clip_id"]
    system = "image/narrations/video_to_text/cue_pairs"
    own = scores.filter((pl.col("system") == system) & pl.col("query_id").is_in(timing.implode()))
    assert row["value"] == pytest.approx(own["value"].mean())
    assert row["n"] == own.height
    assert {"encoders", "difference"} == set(gaps["comparison"])
    figures.by_kind(means)
