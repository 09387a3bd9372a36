"""What 04 says is wrong, held against the demo's truth."""

from __future__ import annotations

import polars as pl
import pytest

from sportskills_lib.evaluation import demo_truth, feedback

LEARNERS = pl.DataFrame(
    {
        "learner_id": ["seen", "a", "b", "c"],
        "take_id": ["t0", "t1", "t2", "t3"],
        "participant": ["p0", "p1", "p1", "p2"],
        "sport": ["golf"] * 4,
        "split": ["train", "test", "test", "test"],
        "is_mistake": [True] * 4,
        "start_s": [0.0] * 4,
        "end_s": [2.0] * 4,
    }
)
CLIPS = pl.DataFrame(
    {
        "clip_id": ["k"],
        "video_id": ["v"],
        "start_s": [0.0],
        "end_s": [3.0],
        "split": ["train"],
        "sport": ["golf"],
        "demonstration": ["incorrect"],
    }
)
NAMED = pl.DataFrame(
    {
        "learner_id": ["a", "a", "b", "c"],
        "rank": [1, 2, 1, 1],
        "mistake_id": ["seen", "k", "k", "k"],
        "comment": ["x"] * 4,
        "score": [2.0, 1.0, 1.0, 1.0],
        "probability": [0.9, 0.1, 0.5, 0.7],
    }
)


@pytest.fixture
def truth(tmp_path, monkeypatch) -> str:
    monkeypatch.setattr(demo_truth.artifacts, "workspace", lambda: tmp_path)
    faults = {"take_uid": ["t0", "t1", "t2", "t3"], "execution": ["knee", "knee", "arm", "knee"]}
    pl.DataFrame(faults | {"video_time": [1.0] * 4}).write_parquet(tmp_path / "learners.parquet")
    shown = {"video_id": ["v"], "start_s": [0.0], "end_s": [3.0], "sport": ["golf"]}
    pl.DataFrame(shown | {"skill": ["putt"], "execution": ["arm"], "cue": ["c"]}).write_parquet(
        tmp_path / "segments.parquet"
    )
    return "."


def test_a_first_name_is_right_where_its_mistake_is_the_learners_fault(truth: str) -> None:
    scores = demo_truth.name_scores(truth, NAMED, LEARNERS, CLIPS)
    right = scores.filter(metric="right").select("query_id", "value").sort("query_id")
    assert right.rows() == [("a", 1.0), ("b", 1.0), ("c", 0.0)]
    table = feedback.table(scores, draws=50, seed=0)
    assert dict(table.select("metric", "value").rows()) == pytest.approx(
        {"probability": 0.7, "right": 2 / 3, "right_by_chance": 0.5}
    )


def test_without_a_truth_nothing_is_said(truth: str) -> None:
    assert demo_truth.name_scores("", NAMED, LEARNERS, CLIPS).is_empty()
    assert feedback.table(
        demo_truth.name_scores("", NAMED, LEARNERS, CLIPS), draws=9, seed=0
    ).is_empty()
