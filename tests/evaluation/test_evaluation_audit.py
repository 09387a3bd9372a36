"""recall@10_multi, hit@10 and the oracles against sets written out, and the run without any
truth.
"""

from __future__ import annotations

import shutil

import numpy as np
import polars as pl
import pytest
import stage_outputs

from sportskills_lib import metrics
from sportskills_lib.evaluation import demo_truth, recall
from sportskills_lib.runs import artifacts

TRUTH = "data/raw/demo/truth"


@pytest.fixture
def run(workspace):
    stages = {
        "clips": "02_pairing",
        "pairs": "02_pairing",
        "narrations": "01_curation",
        "embeddings": "03_encoder",
    }
    data = {
        name: artifacts.open_stage(stage_outputs.RUN, stage).table(name)
        for name, stage in stages.items()
    }
    queries, _ = recall.test_queries(data["clips"], data["pairs"], data["narrations"])
    groups = demo_truth.true_groups(TRUTH, data["clips"])
    return queries, data["clips"], data["embeddings"], groups


def score(run, groups, *, gallery_size=100):
    """Scores and rankings with what these groups call relevant; the rows that count all of it."""
    queries, clips, embeddings, _ = run
    known = demo_truth.relevant(queries, groups)
    scores, rankings = recall.score_all(
        embeddings, queries, clips, min_gallery=50, relevant=known, gallery_size=gallery_size
    )
    return scores.filter(pl.col("metric").str.contains("multi|hit")), rankings


def test_groups_are_what_the_truth_says(run):
    _, clips, _, groups = run
    assert sorted(groups["clip_id"]) == sorted(clips.filter(pl.col("split") == "test")["clip_id"])
    sizes = (
        groups.filter(pl.col("group").str.starts_with("golf|")).group_by("group", "execution").len()
    )
    assert set(sizes.filter(pl.col("execution") == "correct")["len"]) == {4}
    assert set(sizes.filter(pl.col("execution") != "correct")["len"]) == {8}


def test_multi_and_hit_equal_the_sets_written_out(run):
    queries, _, _, groups = run
    scores, rankings = score(run, groups)
    scores = scores.filter(
        pl.col("system").str.contains("text_to_video/(within_sport|across_sports)$")
    )
    group = dict(groups.select("clip_id", "group").rows())
    own = dict(queries.select("query_id", "own").rows())
    tops = (
        rankings.sort("rank")
        .group_by("system", "query_id", maintain_order=True)
        .agg(pl.col("clip_id"))
    )
    top = {(system, query): names for system, query, names in tops.rows()}
    checked = 0
    for row in scores.sample(500, seed=0).iter_rows(named=True):
        relevant = {
            clip
            for clip, name in group.items()
            if name in {group[mine] for mine in own[row["query_id"]]}
        }
        k = int(row["metric"].split("@")[1].split("_")[0])
        found = len(relevant & set(top[row["system"], row["query_id"]][:k]))
        if row["value"] is None:
            assert row["sport"] == "archery" and row["system"].endswith("within_sport")
            continue
        n = 108 if row["system"].endswith("within_sport") else 27 + 3 * 108
        if "multi" in row["metric"]:
            assert row["value"] == pytest.approx(found / min(k, len(relevant)))
            assert row["chance"] == pytest.approx(k * len(relevant) / n / min(k, len(relevant)))
        else:
            assert row["value"] == float(found > 0)
            assert row["chance"] == pytest.approx(float(metrics.chance_hit(len(relevant), n)))
        checked += 1
    assert checked > 300


def test_a_clips_relevant_texts_are_those_of_its_group(run):
    queries, _, _, groups = run
    known = demo_truth.relevant(queries, groups)
    group = dict(groups.select("clip_id", "group").rows())
    own = dict(queries.select("query_id", "own").rows())
    clip = queries["own"][0][0]
    texts = known["video_to_text"].filter(pl.col("query_id") == clip)["gallery_id"].sort().to_list()
    assert texts == sorted(query for query, clips in own.items() if group[clips[0]] == group[clip])
    scores, _ = score(run, groups)
    asked = recall.split_system(scores).filter(pl.col("direction") == "video_to_text")
    assert set(asked["metric"]) == {"recall@1_multi", "recall@5_multi", "recall@10_multi", "hit@10"}


def test_multi_in_a_gallery_of_its_own_size_is_multi_in_the_whole_one(run):
    scores, _ = score(run, run[3], gallery_size=108)
    split = recall.split_system(scores).filter(
        (pl.col("sport") != "archery") & (pl.col("direction") == "text_to_video")
    )
    key = ["encoder", "training", "query_id", "metric"]
    full, fixed = (
        split.filter(pl.col("scope") == scope).sort(key) for scope in ("within_sport", recall.FIXED)
    )
    np.testing.assert_allclose(full["value"], fixed["value"])
    np.testing.assert_allclose(full["chance"], fixed["chance"])


def test_oracles_in_galleries_of_one_size_lie_above_those_of_whole_ones(run):
    queries, clips, _, groups = run
    table = demo_truth.all_oracles(queries, clips, groups, size=60).filter(
        pl.col("sport") != "archery"
    )
    mean = dict(
        table.group_by(pl.concat_str("gallery", "oracle", separator=" "))
        .agg(pl.col("value").mean())
        .rows()
    )
    assert mean["full skill"] < mean["fixed skill"] < 0.6
    assert mean["full cue"] == mean["fixed cue"] == 1.0
    small = demo_truth.all_oracles(queries, clips, groups, size=60).filter(
        pl.col("sport") == "archery"
    )
    assert small.filter(pl.col("gallery") == "fixed")["value"].is_null().all()


def test_oracles_equal_a_simulation(run):
    """An oracle ranks a random one of the clips that it cannot tell apart first, and so on."""
    queries, clips, _, groups = run
    table = demo_truth.oracles(queries, clips, groups)
    test = clips.filter(pl.col("split") == "test").join(groups, on="clip_id")
    rng = np.random.default_rng(0)
    query = queries.filter(pl.col("sport") == "golf").row(0, named=True)
    own = test.row(by_predicate=pl.col("clip_id") == query["own"][0], named=True)
    alike = {
        "skill": test.filter((pl.col("sport") == "golf") & (pl.col("skill") == own["skill"])),
        "look": test.filter(pl.col("look") == own["look"]),
        "cue": test.filter(pl.col("group") == own["group"]),
    }
    for oracle, part in alike.items():
        names = part["clip_id"].to_list()
        hits = np.mean([own["clip_id"] in rng.permutation(names)[:10] for _ in range(3000)])
        value = table.filter(
            (pl.col("oracle") == oracle) & (pl.col("query_id") == query["query_id"])
        )["value"][0]
        assert value == pytest.approx(hits, abs=0.03)


@pytest.mark.parametrize("truth", [TRUTH, "", "nowhere"])
def test_without_the_truth_everything_is_empty_but_the_skill_oracle(run, workspace, truth):
    queries, clips, _, _ = run
    shutil.rmtree(workspace / TRUTH)
    groups = demo_truth.true_groups(truth, clips)
    assert groups.is_empty()
    assert demo_truth.relevant(queries, groups) == {}
    assert score(run, groups)[0].is_empty()
    table = demo_truth.oracles(queries, clips, groups)
    assert table["oracle"].unique().to_list() == ["skill"]
    assert table.height == queries.height


def test_a_clip_that_shows_nothing_known_has_no_group(run):
    queries, _, _, groups = run
    gone = queries.filter(pl.col("own").list.len() == 1).row(0, named=True)
    fewer = groups.filter(pl.col("clip_id") != gone["own"][0])
    scores = score(run, fewer)[0].filter(pl.col("system").str.contains("text_to_video"))
    assert gone["query_id"] not in scores["query_id"]
    assert scores["query_id"].n_unique() == queries.height - 1
