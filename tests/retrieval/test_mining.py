"""Negatives: what is masked by hand counts, and what is mined from a first stage."""

from __future__ import annotations

import numpy as np
import pytest

from sportskills_lib.config import RetrievalConfig
from sportskills_lib.retrieval.supervision import labelling
from sportskills_lib.retrieval.supervision.labelling import LIKE_POSITIVES, RANKED_LIKE_POSITIVES

ALIKE = np.array([0.9, 0.65, 0.5, 0.2, 0.0])
OFF = RetrievalConfig(mask_against="none")


@pytest.mark.parametrize(
    ("config", "masked"),
    [
        (OFF, [False] * 5),
        (RetrievalConfig(mask_margin=0.1), [True, True, False, False, False]),  # 0.7 - 0.1
        (RetrievalConfig(mask_margin=0.6), [True, True, True, True, False]),
    ],
)
def test_masks_by_hand(config: RetrievalConfig, masked: list[bool]) -> None:
    positives = np.array([0.8, 0.6])
    assert labelling.near_positives(ALIKE, positives, config).tolist() == masked


def test_without_positives_nothing_is_masked() -> None:
    assert not labelling.near_positives(ALIKE, np.zeros(0), RetrievalConfig()).any()


def test_a_mask_costs_no_negative_and_is_told_only_where_it_stood_in_the_way() -> None:
    places, masked = np.array([7, 2, 9, 4, 1]), np.array(["", "a", "", "b", "a"])
    assert labelling.first_unmasked(places, masked, 2) == [
        (7, 0.0, ""),
        (2, None, "a"),
        (9, 0.0, ""),
    ]
    masked = np.array(["", "a", "", "b", ""])
    assert sorted(place for place, *_ in labelling.first_unmasked(places, masked, 3)) == [
        1,
        2,
        4,
        7,
        9,
    ]
    assert labelling.first_unmasked(places, np.array([""] * 5), 0) == []


def test_mined_are_the_first_stages_best_that_are_neither_positive_closed_nor_masked() -> None:
    ranked = np.array([0.9, 0.8, 0.7, 0.6, 0.5, 0.4])
    positive = np.array([False, True, False, False, False, False])
    closed = np.array([False, False, True, False, False, False])
    alike = np.array([0.1, 0.9, 0.1, 0.85, 0.1, 0.1])

    def mine(scores: np.ndarray, against: str, count: int, depth: int) -> list[tuple]:
        config = RetrievalConfig(mask_against=against, mined_negatives=count, mined_depth=depth)
        return labelling.mine(scores, alike, positive, closed, config)

    assert mine(ranked, "none", 2, 6) == mine(ranked, "none", 9, 4) == [(0, 0.0, ""), (3, 0.0, "")]
    found = mine(ranked, "mean", 9, 6)
    assert found == [
        (0, None, RANKED_LIKE_POSITIVES), (3, None, LIKE_POSITIVES), (4, 0.0, ""), (5, 0.0, "")
    ]  # fmt: skip
    assert mine(1000 * ranked, "mean", 9, 6) == found  # any first stage's unit
