"""Who grades what: everybody has a fair share, each pair its raters, and nobody the order of
another.
"""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sportskills_lib.apps.rate import candidate_draw

SIZES = st.dictionaries(
    st.text("abcdef", min_size=1, max_size=4), st.integers(1, 40), min_size=1, max_size=60
)


@given(SIZES, st.integers(1, 7), st.data(), st.floats(0, 1), st.integers(0, 9))
def test_each_block_has_its_raters_and_loads_are_even(
    sizes, count: int, data, share: float, seed: int
) -> None:
    raters = [f"r{i}" for i in range(count)]
    overlap = data.draw(st.integers(1, count))
    given_ = candidate_draw.assign(sizes, raters, overlap=overlap, share_by_all=share, seed=seed)
    assert given_ == candidate_draw.assign(
        sizes, raters, overlap=overlap, share_by_all=share, seed=seed
    )
    assert set(given_) == set(sizes)
    by_all = sum(len(names) == count for names in given_.values())
    assert all(
        len(set(names)) == len(names) and len(names) in (overlap, count)
        for names in given_.values()
    )
    if overlap < count:
        assert share * len(sizes) - 1e-6 <= by_all < share * len(sizes) + 1
    loads = [
        sum(sizes[name] for name, names in given_.items() if rater in names) for rater in raters
    ]
    assert max(loads) - min(loads) <= 2 * max(sizes.values())


def test_every_two_raters_meet_as_often() -> None:
    sizes = {f"learner{i}": 12 + i % 9 for i in range(90)}
    raters = [f"r{i}" for i in range(6)]
    given_ = candidate_draw.assign(sizes, raters, overlap=2, share_by_all=0.1, seed=1)
    met = [
        sum({one, other} <= set(names) for names in given_.values())
        for place, one in enumerate(raters)
        for other in raters[place + 1 :]
    ]
    assert sum(met) == 9 * 15 + 81  # nine learners by all six, 81 by two each
    assert max(met) - min(met) <= 2


def test_an_order_keeps_learners_together_and_differs_between_raters() -> None:
    blocks = {
        name: list(range(start, start + 10)) for name, start in (("x", 0), ("y", 10), ("z", 20))
    }
    one, other = (
        candidate_draw.order(blocks, "ann", seed=0),
        candidate_draw.order(blocks, "ben", seed=0),
    )
    assert sorted(one) == sorted(other) == list(range(30)) and one != other
    assert (
        one
        == candidate_draw.order(blocks, "ann", seed=0)
        != candidate_draw.order(blocks, "ann", seed=1)
    )
    assert all(len({item // 10 for item in one[at : at + 10]}) == 1 for at in (0, 10, 20))


@pytest.mark.parametrize(
    ("raters", "overlap", "share", "message"),
    [
        ([], 1, 0.0, "between 1 and 0"),
        (["a", "a"], 1, 0.0, "duplicate rater"),
        (["a", "b"], 3, 0.0, "between 1 and 2"),
    ],
)
def test_a_design_that_nobody_could_follow_is_refused(raters, overlap, share, message) -> None:
    with pytest.raises(ValueError, match=message):
        candidate_draw.assign({"x": 1}, raters, overlap=overlap, share_by_all=share, seed=0)
