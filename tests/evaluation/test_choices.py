"""Choosing among few against enumeration, and ExAct's items as they are published."""

from __future__ import annotations

import itertools
import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sportskills_lib.evaluation import multiple_choice

LEVELS = st.sampled_from([-1.0, 0.0, 1.0])


def lot(own: float, others: tuple[float, ...]) -> float:
    """P(own wins) against these: 0 below any, else shared with those that are level."""
    return 0.0 if max(others, default=-9) > own else 1 / (1 + sum(other == own for other in others))


@given(LEVELS, st.lists(st.lists(LEVELS, min_size=1, max_size=4), min_size=1, max_size=4))
@settings(deadline=None)
def test_one_of_each_group_is_the_mean_over_all_draws(own, groups):
    wanted = np.mean([lot(own, drawn) for drawn in itertools.product(*groups)])
    below = [[np.mean([score < own for score in group]) for group in groups]]
    level = [[np.mean([score == own for score in group]) for group in groups]]
    assert multiple_choice.one_of_each(below, level)[0] == pytest.approx(wanted)


@given(LEVELS, st.lists(LEVELS, min_size=0, max_size=8), st.integers(1, 4))
@settings(deadline=None)
def test_some_of_all_is_the_mean_over_all_subsets(own, others, wrong):
    below, level = sum(score < own for score in others), sum(score == own for score in others)
    value = multiple_choice.some_of_all([below], [level], [len(others)], wrong=wrong)[0]
    drawn = list(itertools.combinations(others, wrong))
    if drawn:
        assert value == pytest.approx(np.mean([lot(own, subset) for subset in drawn]))
    else:
        assert np.isnan(value)


def test_more_groups_than_the_closed_form_bears_are_refused():
    with pytest.raises(ValueError, match="16 groups of wrong answers"):
        multiple_choice.one_of_each(np.zeros((1, 16)), np.zeros((1, 16)))
    assert multiple_choice.one_of_each(np.zeros((1, 15)), np.ones((1, 15)))[0] == pytest.approx(
        1 / 16
    )


def test_the_highest_wins_and_ties_share():
    scores = [[0.1, 0.9, 0.2], [0.5, 0.5, 0.1], [0.3, 0.2, 0.4]]
    np.testing.assert_allclose(multiple_choice.chosen_right(scores, [1, 0, 0]), [1.0, 0.5, 0.0])
    with pytest.raises(ValueError, match="NaN"):
        multiple_choice.chosen_right([[float("nan"), 1.0]], [0])


def exact_row(number: int, **changed) -> dict:
    row = {
        "file_name": f"videos/{number}.mp4",
        "id": number,
        "domain": "Soccer",
        "is_ge": number % 2 == 0,
        "groundTruth": f"right {number}",
        "negative_comments": [f"wrong {number}-{i}" for i in range(4)],
        "take_name": f"take {number // 3}",
        "video_time": 3.2,
        "task_name": "Dribbling",
    }
    return row | changed


def test_items_of_exact_are_read_and_scored(tmp_path):
    path = tmp_path / "metadata.jsonl"
    path.write_text("".join(json.dumps(exact_row(number)) + "\n" for number in range(60)) + "\n")
    items = multiple_choice.read_exact(path)
    assert len(items) == 60
    assert all(item.options[item.answer] == f"right {item.item_id}" for item in items)
    assert {item.answer for item in items} == set(range(5))  # no place gives the answer away
    assert (items[2].good, items[3].good, items[3].domain, items[3].take_name) == (
        True,
        False,
        "Soccer",
        "take 1",
    )
    similar = np.array(
        [[float(text.startswith("right")) for text in item.options] for item in items]
    )
    assert multiple_choice.chosen_right(similar, [item.answer for item in items]).mean() == 1.0
    assert multiple_choice.chosen_right(
        np.zeros((60, 5)), [item.answer for item in items]
    ).mean() == pytest.approx(0.2)


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        ({"negative_comments": ["a"]}, "1 negative_comments, not 4"),
        ({"groundTruth": None}, "groundTruth has no text"),
        (None, "no groundTruth"),
    ],
)
def test_a_line_that_is_not_exacts_is_named(tmp_path, changed, told):
    row = exact_row(0, **(changed or {}))
    if changed is None:
        del row["groundTruth"]
    path = tmp_path / "metadata.jsonl"
    path.write_text(json.dumps(exact_row(1)) + "\n" + json.dumps(row) + "\n")
    with pytest.raises(ValueError, match=rf"line 2: {told}"):
        multiple_choice.read_exact(path)
