"""Rankings of the library among unjudged clips, and the curve over depth."""

from __future__ import annotations

import polars as pl
import pytest

from sportskills_lib import tables
from sportskills_lib.evaluation import library_retrieval
from sportskills_lib.report import interval_figures
from sportskills_lib.report.save import optional


def ranking(system: str, *clips: str, learner: str = "L1") -> pl.DataFrame:
    rows = [(system, learner, rank, clip, -float(rank)) for rank, clip in enumerate(clips, start=1)]
    return pl.DataFrame(rows, schema=tables.Rankings.column_names(), orient="row")


def judgements(**grades: int) -> pl.DataFrame:
    rows = [("L1", clip, "r", grade, True) for clip, grade in grades.items()]
    return pl.DataFrame(rows, schema=tables.Judgements.column_names(), orient="row")


LEARNERS = pl.DataFrame(
    {"learner_id": ["L1"], "sport": ["golf"], "participant": ["p"], "split": ["test"]}
)


def test_unjudged_clips_are_counted_and_left_out():
    rankings = pl.concat([ranking("s", "x", "a", "y", "b"), ranking("t", "b", "a", "z")])
    short = library_retrieval.condensed(rankings, judgements(a=3, b=1, c=2))
    assert short.filter(pl.col("system") == "s").select("clip_id", "rank").rows() == [
        ("a", 1),
        ("b", 2),
    ]
    table = library_retrieval.library_table(
        rankings, judgements(a=3, b=1), LEARNERS, draws=10, seed=0
    )
    s, t = table.to_dicts()
    assert (s["judged@10"], s["grade_of_judged@10"], s["ranked"]) == (0.5, 2.0, 4.0)
    assert t["judged@10"] == pytest.approx(2 / 3)
    assert s["condensed_ndcg@10"] == 1.0 > t["condensed_ndcg@10"]


def test_depths_cost_seconds_and_weights_none():
    variants = pl.concat(
        [ranking(name, "a", "b") for name in ("depth 0", "depth 12", "alone 12", "weight 0.25")]
    )
    timings = pl.DataFrame(
        {
            "part": ["vlm_yes_no: scores", "encoder_narrations: learners' vectors"],
            "seconds": [2.0, 1.0],
            "items": [10, 10],
        }
    )
    table = library_retrieval.variants_table(
        variants, timings, judgements(a=3, b=1), LEARNERS, draws=10, seed=0
    )
    varied = [("alone", 12.0), ("depth", 0.0), ("depth", 12.0), ("weight", 0.25)]
    assert table.select("varied", "value").rows() == varied
    assert table["seconds_a_learner"].to_list() == [
        pytest.approx(2.5),
        pytest.approx(0.1),
        pytest.approx(2.5),
        None,
    ]
    assert set(optional("shortlist_depth", interval_figures.shortlist_depth, table)) == {
        "shortlist_depth"
    }


def test_nothing_ranked_is_an_empty_table():
    none, nobody = tables.Rankings.create_empty(), tables.Judgements.create_empty()
    timings = pl.DataFrame({"part": [], "seconds": [], "items": []})
    assert library_retrieval.library_table(none, nobody, LEARNERS, draws=10, seed=0).is_empty()
    assert library_retrieval.variants_table(
        none, timings, nobody, LEARNERS, draws=10, seed=0
    ).is_empty()
