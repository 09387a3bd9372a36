"""The figures and tables of two seeds, from runs of 05 that differ in the encoder alone."""

from __future__ import annotations

import shutil

import polars as pl
import pytest
import stage_outputs

from sportskills_lib import config, tables
from sportskills_lib.evaluation import demo_truth, further_comparisons, recall, understanding
from sportskills_lib.report import several_seeds
from sportskills_lib.runs import artifacts


@pytest.fixture
def evaluated(workspace):
    """The tables that 05 saves, for two runs; the second has other vectors."""
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
    clips = data["clips"]
    queries, _ = recall.test_queries(clips, data["pairs"], data["narrations"])
    every = demo_truth.true_groups("data/raw/demo/truth", clips, splits=tables.SPLITS)
    groups = every.filter(
        pl.col("clip_id").is_in(clips.filter(pl.col("split") == "test")["clip_id"].implode())
    )
    other = data["embeddings"].with_columns(pl.col("vector").list.eval(pl.element() + 0.02))
    for run, vectors in (("s0", data["embeddings"]), ("s1", other)):
        stage = artifacts.begin(run, "05_evaluation", config.EvaluationConfig())
        known = demo_truth.relevant(queries, groups)
        scores, _ = recall.score_all(vectors, queries, clips, min_gallery=50, relevant=known)
        stage.save("recall", scores, tables.Scores)
        stage.save(
            "understanding", understanding.score_all(vectors, queries, clips, every), tables.Scores
        )
        stage.save("galleries", recall.galleries(clips, queries))
        stage.save("oracles", demo_truth.all_oracles(queries, clips, groups, size=100))
        stage.save("kinds", further_comparisons.kinds_of(queries, groups))
        stage.finish()
    return workspace


def test_seeds_are_averaged_and_everything_is_written(evaluated, tmp_path):
    written = {path.name for path in several_seeds.write(["s0", "s1"], tmp_path / "docs", draws=50)}
    figures = (
        "per_sport_recall",
        "per_sport_recall_fixed",
        "encoders",
        "macro_means",
        "differences",
        "understanding",
    )
    for name in (*figures, "cue_kinds"):
        assert {f"{name}.{suffix}" for suffix in ("png", "svg", "pdf", "csv", "tex")} <= written, (
            name
        )
    assert {
        "headline.csv",
        "ratios_by_sport.tex",
        "seeds.csv",
        "understanding_differences.csv",
    } <= written
    assert all((tmp_path / "docs" / name).stat().st_size > 50 for name in written)
    assert "per_sport_recall_all.csv" in written
    committed = {
        path.name
        for path in several_seeds.write(
            ["s0", "s1"], tmp_path / "for_docs", draws=50, for_docs=True
        )
    }
    assert committed == {
        name for name in written if not name.endswith((".svg", ".pdf")) and "_all" not in name
    }
    both = pl.read_csv(tmp_path / "docs" / "headline.csv")
    row = pl.col("note") == "headline"
    one = [
        several_seeds.comparisons.headline(
            artifacts.open_stage(run, "05_evaluation").table("recall"), draws=50, seed=0
        ).row(
            by_predicate=row & (pl.col("encoder") == "image") & (pl.col("gallery") == "full"),
            named=True,
        )["value"]
        for run in ("s0", "s1")
    ]
    mean = both.row(
        by_predicate=row & (pl.col("encoder") == "image") & (pl.col("gallery") == "full"),
        named=True,
    )
    assert mean["value"] == pytest.approx(sum(one) / 2)
    spread = pl.read_csv(tmp_path / "docs" / "seeds.csv")
    assert spread["seeds"].unique().to_list() == [2]


def test_runs_with_other_arms_are_no_seeds_of_one_another(evaluated):
    shutil.copytree(artifacts.run_folder("s0"), artifacts.run_folder("s2"))
    stage = artifacts.begin("s3", "05_evaluation", config.EvaluationConfig())
    scores = artifacts.open_stage("s0", "05_evaluation").table("recall")
    stage.save("recall", scores.filter(pl.col("system").str.starts_with("image")), tables.Scores)
    stage.finish()
    with pytest.raises(ValueError, match="'s0' and 's3' have different arms, first 'video/"):
        several_seeds.stack_runs(["s0", "s3"])
