"""The schemas and the rules between tables: what is right passes, what is wrong is named with the
remedy.
"""

from __future__ import annotations

import dataframely as dy
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sportskills_lib import tables
from sportskills_lib.tables import (
    check_keys,
    check_no_straddling,
    check_rankings,
    check_spans,
    span_id,
)

CLIP = {
    "clip_id": "v1:000000-002000",
    "video_id": "v1",
    "start_s": 0.0,
    "end_s": 2.0,
    "channel": "c1",
    "sport": "tennis",
    "skill": "serve",
    "demonstration": "correct",
    "verifier": "motion",
    "score": 0.9,
    "split": "train",
}


def frame(*rows: dict) -> pl.DataFrame:
    return pl.DataFrame(list(rows))


def test_a_good_row_passes_and_is_cast() -> None:
    checked = tables.Clips.validate(frame(CLIP), cast=True)
    assert checked.height == 1 and checked["split"].to_list() == ["train"]


@pytest.mark.parametrize(
    "wrong",
    [
        {"end_s": 0.0},
        {"start_s": -1.0},
        {"clip_id": "../etc"},
        {"clip_id": ".hidden"},
        {"clip_id": "a/b"},
        {"video_id": None},
        {"demonstration": "maybe"},
        {"split": "dev"},
    ],
)
def test_a_wrong_row_is_refused_and_filtered_with_its_rule(wrong: dict) -> None:
    rows = frame(CLIP | {"clip_id": "ok"}, CLIP | wrong)
    with pytest.raises((dy.exc.ValidationError, pl.exceptions.PolarsError, dy.exc.SchemaError)):
        tables.Clips.validate(rows, cast=True)
    if "demonstration" not in wrong and "split" not in wrong:
        good, failed = tables.Clips.filter(rows, cast=True)
        assert good["clip_id"].to_list() == ["ok"] and sum(failed.counts().values()) >= 1


def test_a_key_stands_once() -> None:
    with pytest.raises(dy.exc.ValidationError, match="primary_key"):
        tables.Clips.validate(frame(CLIP, CLIP), cast=True)


def test_undecided_is_allowed_and_unknown_values_are_not() -> None:
    row = {
        "narration_id": "n1",
        "video_id": "v1",
        "start_s": 0.0,
        "end_s": 1.0,
        "text": "bend your knees",
        "transcription": "manual",
        "actionable": None,
        "judge": "rules",
        "reason": "no evidence",
    }
    schema = {"actionable": pl.Boolean}
    assert (
        tables.Narrations.validate(pl.DataFrame([row], schema_overrides=schema), cast=True).height
        == 1
    )
    with pytest.raises(dy.exc.ValidationError):
        tables.Narrations.validate(
            pl.DataFrame([row | {"text": ""}], schema_overrides=schema), cast=True
        )


def test_grades_run_from_0_to_3() -> None:
    row = {"learner_id": "l", "clip_id": "c", "rater": "a", "grade": 3, "simulated": True}
    assert tables.Judgements.validate(frame(row), cast=True).height == 1
    for grade in (-1, 4):
        with pytest.raises(dy.exc.ValidationError):
            tables.Judgements.validate(frame(row | {"grade": grade}), cast=True)


def test_ids_come_from_content() -> None:
    assert span_id("v17", 12.4, 15.9) == "v17:012400-015900"


@given(st.floats(0, 36_000), st.floats(0.001, 600))
def test_ids_are_safe_file_names_and_tell_spans_apart(start_s: float, length_s: float) -> None:
    name = span_id("v17", start_s, start_s + length_s)
    assert "/" not in name and not name.startswith(".")
    assert name != span_id("v17", start_s, start_s + length_s + 0.002)
    row = CLIP | {"clip_id": name}
    assert tables.Clips.validate(frame(row), cast=True).height == 1


def test_dropped_rows_make_a_table_even_when_nothing_is_dropped() -> None:
    assert tables.dropped_rows([]).height == 0
    assert tables.dropped_rows([("video", "a", "unreadable", "no frame")])["reason"].to_list() == [
        "unreadable"
    ]


def test_an_orphan_is_named() -> None:
    parents, children = frame({"video_id": "a"}), frame({"video_id": "a"}, {"video_id": "b"})
    check_keys(parents, "video_id", children, child_name="clips", parent_name="videos")
    with pytest.raises(
        ValueError,
        match="clips: 1 rows name a video_id that videos does not have, first 'b': rerun",
    ):
        check_keys(children, "video_id", parents, child_name="clips", parent_name="videos")


def test_a_span_that_ends_after_its_video_is_named() -> None:
    videos = frame({"video_id": "v1", "duration_s": 15.2})
    fine = frame(CLIP | {"end_s": 15.24})
    check_spans(fine, videos, key="clip_id")
    with pytest.raises(
        ValueError,
        match=r"clip_id v1:000000-002000 ends at 15\.90 s; its video lasts 15\.20 s: rerun",
    ):
        check_spans(frame(CLIP | {"end_s": 15.9}), videos, key="clip_id")


def test_a_planted_leak_is_named() -> None:
    rows = [CLIP | {"clip_id": str(i), "channel": "c1", "split": "train"} for i in range(3)]
    check_no_straddling(frame(*rows), "channel")
    with pytest.raises(ValueError, match=r"channel 'c1' is in the splits test, train"):
        check_no_straddling(frame(*rows, CLIP | {"clip_id": "9", "split": "test"}), "channel")


def ranking(*rows: tuple[int, str, float]) -> pl.DataFrame:
    return frame(
        *[{"system": "s", "query_id": "q", "rank": r, "clip_id": c, "score": x} for r, c, x in rows]
    )


def test_rankings_in_order_pass() -> None:
    check_rankings(ranking((1, "a", 2.0), (2, "b", 1.0), (3, "c", 1.0)))
    two = pl.concat(
        [ranking((1, "a", 1.0)), ranking((1, "z", 9.0)).with_columns(query_id=pl.lit("r"))]
    )
    check_rankings(two)


@pytest.mark.parametrize(
    "rows",
    [
        [(1, "a", 1.0), (3, "b", 0.5)],
        [(2, "a", 1.0)],
        [(1, "a", 1.0), (2, "b", 2.0)],
        [(1, "b", 1.0), (2, "a", 1.0)],
    ],
    ids=["gap", "from 2", "rising", "tie out of order"],
)
def test_rankings_out_of_order_are_named(rows: list[tuple[int, str, float]]) -> None:
    with pytest.raises(
        ValueError, match=r"rankings of s, query q: rank \d \(\w\) breaks the order"
    ):
        check_rankings(ranking(*rows))
