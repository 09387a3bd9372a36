"""Choosing among few against enumeration, and ExAct's items as they are published."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sportskills_lib.evaluation import understanding

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
    assert understanding.one_of_each(below, level)[0] == pytest.approx(wanted)


@given(LEVELS, st.lists(LEVELS, min_size=0, max_size=8), st.integers(1, 4))
@settings(deadline=None)
def test_some_of_all_is_the_mean_over_all_subsets(own, others, wrong):
    below, level = sum(score < own for score in others), sum(score == own for score in others)
    value = understanding.some_of_all([below], [level], [len(others)], wrong=wrong)[0]
    drawn = list(itertools.combinations(others, wrong))
    if drawn:
        assert value == pytest.approx(np.mean([lot(own, subset) for subset in drawn]))
    else:
        assert np.isnan(value)


def test_more_groups_than_the_closed_form_bears_are_refused():
    with pytest.raises(ValueError, match="16 groups of wrong answers"):
        understanding.one_of_each(np.zeros((1, 16)), np.zeros((1, 16)))
    assert understanding.one_of_each(np.zeros((1, 15)), np.ones((1, 15)))[0] == pytest.approx(
        1 / 16
    )
