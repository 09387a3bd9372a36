"""Negatives: what is masked by hand counts, what is mined from a first stage, and how kinds are
thinned.
"""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sportskills_lib.retrieval.supervision import negatives
from sportskills_lib.retrieval.supervision.negatives import (
    LIKE_POSITIVES,
    RANKED_LIKE_POSITIVES,
    TOO_ALIKE,
    Masks,
    NegativeChoice,
)

ALIKE = np.array([0.9, 0.65, 0.5, 0.2, 0.0])


@pytest.mark.parametrize(
    ("masks", "reasons"),
    [
        (Masks(), ["", "", "", "", ""]),
        (Masks(ceiling=0.65), [TOO_ALIKE, TOO_ALIKE, "", "", ""]),
        (
            Masks(against="mean", margin=0.1),
            [LIKE_POSITIVES, LIKE_POSITIVES, "", "", ""],
        ),  # 0.7 - 0.1
        (
            Masks(against="lowest", margin=0.1),
            [LIKE_POSITIVES, LIKE_POSITIVES, LIKE_POSITIVES, "", ""],
        ),  # 0.6 - 0.1
        (Masks(ceiling=0.8, against="lowest", margin=0.45), [TOO_ALIKE, *[LIKE_POSITIVES] * 3, ""]),
    ],
)
def test_masks_by_hand(masks: Masks, reasons: list[str]) -> None:
    eps = 1e-9 if masks.against == "lowest" else 0.0  # 0.5 is just above the level
    assert masks.reasons(ALIKE + eps, np.array([0.8, 0.6])) == reasons


def test_without_positives_only_the_ceiling_masks() -> None:
    masks = Masks(ceiling=0.6, against="mean", margin=0.5)
    assert masks.reasons(ALIKE, np.zeros(0)) == [TOO_ALIKE, TOO_ALIKE, "", "", ""]


def test_a_mask_costs_no_negative_and_is_told_only_where_it_stood_in_the_way() -> None:
    places = np.array([7, 2, 9, 4, 1])
    assert negatives.first_unmasked(places, ["", "a", "", "b", "a"], 2) == NegativeChoice(
        [7, 9], [(2, "a")]
    )
    assert negatives.first_unmasked(places, ["", "a", "", "b", ""], 3) == NegativeChoice(
        [1, 7, 9], [(2, "a"), (4, "b")]
    )
    assert negatives.first_unmasked(places, [""] * 5, 0) == NegativeChoice([], [])


def test_mined_are_the_first_stages_best_that_are_neither_positive_closed_nor_masked() -> None:
    ranked = np.array([0.9, 0.8, 0.7, 0.6, 0.5, 0.4])
    positive = np.array([False, True, False, False, False, False])
    closed = np.array([False, False, True, False, False, False])
    alike = np.array([0.1, 0.9, 0.1, 0.85, 0.1, 0.1])
    found = negatives.mine(ranked, alike, positive, closed, Masks(), count=2, depth=6)
    assert found == NegativeChoice([0, 3], [])
    assert negatives.mine(ranked, alike, positive, closed, Masks(), count=9, depth=4).rows == [
        0,
        3,
    ]  # of the best four
    strict = Masks(against="mean", margin=0.1)
    found = negatives.mine(ranked, alike, positive, closed, strict, count=9, depth=6)
    assert found == NegativeChoice([4, 5], [(0, RANKED_LIKE_POSITIVES), (3, LIKE_POSITIVES)])
    scaled = negatives.mine(1000 * ranked, alike, positive, closed, strict, count=9, depth=6)
    assert scaled == found  # any first stage's unit


@given(st.lists(st.sampled_from("abcd"), max_size=40), st.integers(0, 50))
def test_thinned_keeps_as_many_as_allowed_evenly_over_kinds(kinds: list[str], most: int) -> None:
    chosen = negatives.thin(kinds, most, np.random.default_rng(0))
    assert len(chosen) == len(set(chosen)) == min(most, len(kinds)) and chosen == sorted(chosen)
    counts = {kind: sum(kinds[place] == kind for place in chosen) for kind in set(kinds)}
    cut = [counts[kind] for kind in counts if counts[kind] < kinds.count(kind)]
    assert not cut or max(counts.values()) - min(cut) <= 1
