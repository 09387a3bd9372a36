"""Windows: the lag between words and pictures, shots, and sentences that share one."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sportskills_lib.pairing.windows import TimedSentence, estimate_lag, make_shots, make_windows

SHOTS = make_shots([(cut, cut) for cut in (3.0, 6.0, 9.0, 12.0)], 15.0)


def sentences(lag_s: float = 0.0, kinds: str = "ccccc") -> list[TimedSentence]:
    names = {"c": "correct", "i": "incorrect", "n": "none"}
    return [
        TimedSentence(f"s{i}", 3 * i + 0.2 - lag_s, 3 * i + 2.8 - lag_s, names[kind])
        for i, kind in enumerate(kinds)
    ]


def spans(
    said: list[TimedSentence], shots: list[tuple[float, float]] = SHOTS, **options: float
) -> list[tuple[float, float, str]]:
    settings = {"lag_s": 0.0, "min_clip_s": 1.0, "max_clip_s": 10.0} | options
    return [
        (round(w.start_s, 2), round(w.end_s, 2), " ".join(w.narration_ids))
        for w in make_windows(said, shots, **settings)[0]
    ]


@pytest.mark.parametrize("lag_s", [-0.9, -0.5, 0.0, 0.6, 1.0])
def test_the_lag_is_found_within_a_quarter_of_a_second(lag_s: float) -> None:
    assert estimate_lag(sentences(lag_s), SHOTS, max_lag_s=1.2) == pytest.approx(lag_s, abs=0.25)


def test_no_lag_is_told_from_too_little() -> None:
    assert estimate_lag(sentences(0.8)[:2], SHOTS, max_lag_s=1.2) == 0
    assert estimate_lag(sentences(0.8), SHOTS[:2], max_lag_s=1.2) == 0


def test_a_dissolve_belongs_to_no_shot() -> None:
    assert make_shots([(3.0, 3.3), (6.0, 6.0)], 9.0) == [(0.0, 3.0), (3.3, 6.0), (6.0, 9.0)]


def test_a_short_shot_is_taken_whole() -> None:
    assert spans(sentences(0.5), lag_s=0.5) == [(3.0 * i, 3.0 * i + 3, f"s{i}") for i in range(5)]


def test_sentences_of_one_kind_share_a_short_shot_and_others_part_it() -> None:
    two = [TimedSentence("a", 3.2, 4.2, "correct"), TimedSentence("b", 4.4, 5.6, "correct")]
    assert spans(two) == [(3.0, 6.0, "a b")]
    parted = [two[0], TimedSentence("b", 4.8, 5.9, "incorrect")]
    assert spans(parted, min_clip_s=0.5) == [(3.0, 4.5, "a"), (4.5, 6.0, "b")]


def test_a_window_in_a_long_shot_runs_around_its_sentence() -> None:
    shots = make_shots([], 60.0)
    said = [
        TimedSentence("a", 10, 13, "correct"),
        TimedSentence("b", 14, 16, "none"),
        TimedSentence("c", 30, 50, "correct"),
    ]
    assert spans(said, shots) == [(9.7, 13.7, "a"), (13.7, 18.0, "b"), (29.7, 39.7, "c")]


def test_what_gets_no_window_is_given_back_with_the_reason() -> None:
    said = [TimedSentence("short", 3.1, 3.2, "correct"), TimedSentence("late", 99, 100, "correct")]
    windows, lost = make_windows(
        said, make_shots([(3.0, 3.0), (3.5, 3.5)], 9.0), lag_s=0, min_clip_s=1, max_clip_s=10
    )
    assert windows == []
    assert [(item.narration_id, reason) for item, reason in lost] == [
        ("short", "too_short"),
        ("late", "outside_video"),
    ]


@given(
    cuts=st.lists(st.floats(0.5, 59.5), max_size=12),
    said=st.lists(
        st.tuples(
            st.floats(0, 58), st.floats(0.2, 8), st.sampled_from(["correct", "incorrect", "none"])
        ),
        max_size=8,
    ),
    lag_s=st.floats(-1, 1),
)
def test_windows_lie_in_one_shot_with_the_wanted_length(
    cuts: list[float], said: list[tuple[float, float, str]], lag_s: float
) -> None:
    shots = make_shots([(cut, cut) for cut in sorted(cuts)], 60.0)
    items = [
        TimedSentence(f"s{i}", start, start + length, kind)
        for i, (start, length, kind) in enumerate(sorted(said))
    ]
    windows, lost = make_windows(items, shots, lag_s=lag_s, min_clip_s=1.0, max_clip_s=10.0)
    for window in windows:
        assert 1.0 <= window.end_s - window.start_s <= 10.0 + 1e-9
        assert any(a - 1e-9 <= window.start_s and window.end_s <= b + 1e-9 for a, b in shots)
    named = [name for window in windows for name in window.narration_ids]
    assert sorted(named + [item.narration_id for item, _ in lost]) == sorted(
        item.narration_id for item in items
    )
