"""The audit's counts against a confusion matrix made by hand."""

from __future__ import annotations

import polars as pl
import pytest

from sportskills_lib.apps.audit.judge_vs_spans import (
    audit_demonstrations,
    by_evidence,
    reliability,
    shuffle_words,
)
from sportskills_lib.pairing.rules_judge import RulesJudge


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


def test_an_undecided_window_counts_as_none_unless_forced() -> None:
    truth = table([("a", 0, 4, "correct")])
    judged = table([("a", 0, 4, "correct")]).with_columns(undecided=True)
    assert audit_demonstrations(judged, truth).macro_f1() == 0
    assert audit_demonstrations(judged, truth, forced=True).macro_f1() == 1


def lessons(count: int) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Windows of ``count`` lessons, each with advice, a fault, talk over a swing, advice over a
    still; their truth.
    """
    said = [
        ("correct", "Bend your knees and stay low.", 0.2, "correct"),
        ("incorrect", "Never lock the elbow at the top.", 0.2, "incorrect"),
        ("none", "Last summer we filmed this.", 0.2, "none"),
        ("correct", "Keep your chin over the shoulder.", 0.0, "none"),
    ]
    rows = [
        (
            f"v{lesson}:{place}",
            f"v{lesson}",
            4.0 * place,
            4.0 * place + 4,
            kind,
            text,
            moved,
            "",
            truth,
        )
        for lesson in range(count)
        for place, (kind, text, moved, truth) in enumerate(said)
    ]
    names = [
        "clip_id",
        "video_id",
        "start_s",
        "end_s",
        "said",
        "text",
        "moved",
        "topic",
        "demonstration",
    ]
    both = pl.DataFrame(rows, schema=names, orient="row")
    return both.drop("demonstration"), both.select("video_id", "start_s", "end_s", "demonstration")


def test_words_of_other_lessons_change_all_but_pixels() -> None:
    windows, truth = lessons(12)
    scores = by_evidence(windows, truth, RulesJudge(), min_confidence=0.5)
    value = {(row["evidence"], row["words"]): row for row in scores.iter_rows(named=True)}
    assert value["both", "own"]["macro_f1"] == 1
    assert (
        value["text", "own"]["macro_f1"] < 1
    )  # it takes advice over a still picture for a demonstration
    assert value["both", "shuffled"]["macro_f1"] < 0.7
    assert value["text", "shuffled"]["macro_f1"] < value["text", "own"]["macro_f1"]
    assert value["pixels", "shuffled"]["changed"] == 0
    assert value["pixels", "shuffled"]["macro_f1"] == value["pixels", "own"]["macro_f1"]


def test_no_window_keeps_words_of_its_own_lesson() -> None:
    windows, _ = lessons(3)
    marked = windows.with_columns(text=pl.col("video_id"))
    mixed = shuffle_words(marked)
    assert (mixed["text"] != mixed["video_id"]).all()
    assert sorted(mixed["text"]) == sorted(marked["text"])
    assert mixed.drop("text", "said").equals(marked.drop("text", "said"))
    with pytest.raises(ValueError, match="audit more lessons"):
        shuffle_words(windows.head(4))


def test_reliability_sets_stated_against_right() -> None:
    truth = table([("a", 0, 4, "correct"), ("a", 4, 8, "none")])
    judged = pl.DataFrame(
        {
            "clip_id": ["x", "y", "z"],
            "video_id": ["a"] * 3,
            "start_s": [0.0, 4, 20],
            "end_s": [4.0, 8, 24],
            "demonstration": ["correct", "correct", "none"],
            "score": [0.98, 0.97, 0.65],
        }
    )
    assert reliability(judged, truth).rows() == [(1, 0.65, 1.0), (2, 0.975, 0.5)]
