"""The audit's counts against a confusion matrix made by hand."""

from __future__ import annotations

import polars as pl
import pytest

from sportskills_lib.apps.audit.judge_vs_spans import audit_demonstrations


def table(rows: list[tuple[str, float, float, str]]) -> pl.DataFrame:
    return pl.DataFrame(
        rows, schema=["video_id", "start_s", "end_s", "demonstration"], orient="row"
    )


def test_counts_by_hand() -> None:
    truth = table(
        [
            ("a", 0, 4, "correct"),  # found, 0.5 s late
            ("a", 4, 8, "incorrect"),  # called correct
            ("a", 8, 12, "incorrect"),  # found
            ("a", 12, 16, "correct"),  # covered by less than half: none
            ("b", 0, 4, "none"),  # called incorrect
            ("b", 4, 8, "none"),  # right
            ("c", 0, 4, "correct"),  # no window at all
        ]
    )
    judged = table(
        [
            ("a", 0.5, 4.0, "correct"),
            ("a", 4, 8, "correct"),
            ("a", 8, 12, "incorrect"),
            ("a", 12, 13.5, "correct"),
            ("a", 12, 16, "none"),
            ("b", 0, 4, "incorrect"),
        ]
    )
    audit = audit_demonstrations(judged, truth)
    assert audit.confusion().rows() == [
        ("correct", 1, 0, 2),
        ("incorrect", 1, 1, 0),
        ("none", 0, 1, 1),
    ]
    scores = {row["question"]: row for row in audit.scores().iter_rows(named=True)}
    found = scores["demonstration"]
    assert (found["precision"], found["recall"], found["hits"]) == (3 / 4, 3 / 5, 3)
    assert scores["correct, of demonstrations found"]["precision"] == 1 / 2
    assert scores["incorrect, of demonstrations found"]["recall"] == 1 / 2
    assert audit.macro_f1() == pytest.approx((2 / 5 + 2 / 4 + 2 / 5) / 3)
    assert audit.boundaries()["median_s"].to_list() == [0.0, 0.0]
    assert audit_demonstrations(judged.head(1), truth).boundaries()["median_s"].to_list() == [
        0.5,
        0.0,
    ]
    edges = {row["edge"]: row for row in audit.boundaries().iter_rows(named=True)}
    assert (edges["start"]["clips"], edges["start"]["near"], edges["start"]["outside"]) == (
        3,
        1.0,
        0.0,
    )


def test_an_undecided_window_counts_as_none() -> None:
    truth = table([("a", 0, 4, "correct")])
    judged = table([("a", 0, 4, "correct")])
    assert audit_demonstrations(judged.with_columns(undecided=True), truth).macro_f1() == 0
    assert audit_demonstrations(judged.with_columns(undecided=False), truth).macro_f1() == 1
