"""Runs of several seeds stacked into one table."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest

from sportskills_lib import config, tables
from sportskills_lib.evaluation import comparisons
from sportskills_lib.report import several_seeds
from sportskills_lib.runs import artifacts
from sportskills_lib.statistics import bootstrap


@pytest.fixture
def runs(tmp_path, monkeypatch):
    monkeypatch.setenv("SPORTSKILLS_HOME", str(tmp_path))
    (tmp_path / "notebooks").mkdir()
    (tmp_path / "notebooks" / "05_evaluation.ipynb").write_text('{"cells": []}')

    def write(run: str, shift: float, queries: int = 40) -> None:
        rows = [
            {
                "system": f"image/{arm}/text_to_video/within_sport",
                "query_id": f"q{query:02d}",
                "metric": "recall@10_single",
                "seed": 0,
                "value": float(np.clip(level + shift, 0, 1)),
                "chance": 0.1,
                "sport": "golf" if query % 2 else "judo",
                "cluster": f"v{query // 4}",
            }
            for arm, level in (("narrations", 0.5), ("activity_skill", 0.3))
            for query in range(queries)
        ]
        stage = artifacts.begin(run, "05_evaluation", config.EvaluationConfig())
        stage.save("recall", pl.DataFrame(rows), tables.Scores)
        stage.finish()

    return write


def test_the_headline_over_seeds_is_that_of_the_per_query_means(runs):
    for run, shift in (("a", 0.0), ("b", 0.1), ("c", 0.2)):
        runs(run, shift)
    stacked = several_seeds.stack_runs(["a", "b", "c"])
    headline = comparisons.headline(stacked, draws=100, seed=0)
    row = headline.row(by_predicate=pl.col("note") == "headline", named=True)
    assert (row["value"], row["n"], row["ci_excludes_zero"]) == (pytest.approx(0.2), 40, True)
    spread = (
        bootstrap.seed_spread(stacked)
        .filter(pl.col("system").str.contains("/narrations/"))
        .row(0, named=True)
    )
    assert spread["seeds"] == 3
    assert (spread["lowest"], spread["highest"]) == (pytest.approx(0.5), pytest.approx(0.7))


def test_runs_over_other_queries_are_refused(runs):
    runs("a", 0.0)
    runs("b", 0.0, queries=38)
    with pytest.raises(ValueError, match=r"runs 'a' and 'b' did not answer the same queries.*q38"):
        several_seeds.stack_runs(["a", "b"])
