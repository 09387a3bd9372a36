"""recall@10_multi, hit@10 and the oracles against sets written out, and the run without any truth."""

from __future__ import annotations

import shutil

import numpy as np
import polars as pl
import pytest
import stage_outputs

from sportskills_lib import artifacts, metrics
from sportskills_lib.evaluation import audit, recall

TRUTH = "data/raw/demo/truth"


@pytest.fixture
def run(workspace):
    stages = {"clips": "02_pairing", "pairs": "02_pairing", "narrations": "01_curation", "embeddings": "03_encoder"}
    data = {name: artifacts.open_stage(stage_outputs.RUN, stage).table(name) for name, stage in stages.items()}
    queries, _ = recall.test_queries(data["clips"], data["pairs"], data["narrations"])
    _, rankings = recall.score_all(data["embeddings"], queries, data["clips"], min_gallery=50)
    return queries, data["clips"], rankings


def test_groups_are_what_the_truth_says(run):
    _, clips, _ = run
    groups = audit.true_groups(TRUTH, clips)
    assert sorted(groups["clip_id"]) == sorted(clips.filter(pl.col("split") == "test")["clip_id"])
    sizes = groups.filter(pl.col("group").str.starts_with("golf|")).group_by("group", "execution").len()
    assert set(sizes.filter(pl.col("execution") == "correct")["len"]) == {4}
    assert set(sizes.filter(pl.col("execution") != "correct")["len"]) == {8}


def test_multi_and_hit_equal_the_sets_written_out(run):
    queries, clips, rankings = run
    groups = audit.true_groups(TRUTH, clips)
    scores = audit.audit_scores(queries, clips, rankings, groups, min_gallery=50)
    group = dict(groups.select("clip_id", "group").rows())
    own = dict(queries.select("query_id", "own").rows())
    tops = rankings.group_by("system", "query_id").agg(pl.col("clip_id"))
    top = {(system, query): set(names) for system, query, names in tops.rows()}
    checked = 0
    for row in scores.sample(400, seed=0).iter_rows(named=True):
        relevant = {clip for clip, name in group.items() if name in {group[mine] for mine in own[row["query_id"]]}}
        found = len(relevant & top[row["system"], row["query_id"]])
        if row["value"] is None:
            assert row["sport"] == "archery" and row["system"].endswith("within_sport")
            continue
        n = 108 if row["system"].endswith("within_sport") else 27 + 3 * 108
        if row["metric"] == audit.MULTI:
            assert row["value"] == pytest.approx(found / min(10, len(relevant)))
            assert row["chance"] == pytest.approx(10 * len(relevant) / n / min(10, len(relevant)))
        else:
            assert row["value"] == float(found > 0)
            assert row["chance"] == pytest.approx(float(metrics.chance_hit(len(relevant), n)))
        checked += 1
    assert checked > 300


def test_oracles_equal_a_simulation(run):
    """An oracle ranks a random one of the clips that it cannot tell apart first, and so on."""
    queries, clips, _ = run
    groups = audit.true_groups(TRUTH, clips)
    table = audit.oracles(queries, clips, groups)
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
        value = table.filter((pl.col("oracle") == oracle) & (pl.col("query_id") == query["query_id"]))["value"][0]
        assert value == pytest.approx(hits, abs=0.03)


@pytest.mark.parametrize("truth", [TRUTH, "", "nowhere"])
def test_without_the_truth_everything_is_empty_but_the_skill_oracle(run, workspace, truth):
    queries, clips, rankings = run
    shutil.rmtree(workspace / TRUTH)
    groups = audit.true_groups(truth, clips)
    assert groups.is_empty()
    assert audit.audit_scores(queries, clips, rankings, groups, min_gallery=50).is_empty()
    table = audit.oracles(queries, clips, groups)
    assert table["oracle"].unique().to_list() == ["skill"]
    assert table.height == queries.height


def test_a_clip_that_shows_nothing_known_has_no_group(run):
    queries, clips, rankings = run
    groups = audit.true_groups(TRUTH, clips)
    gone = queries.filter(pl.col("own").list.len() == 1).row(0, named=True)
    fewer = groups.filter(pl.col("clip_id") != gone["own"][0])
    scores = audit.audit_scores(queries, clips, rankings, fewer, min_gallery=50)
    assert gone["query_id"] not in scores["query_id"]
    assert scores["query_id"].n_unique() == queries.height - 1
