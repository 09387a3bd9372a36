"""The closed forms of chance against simulation: models that know nothing, through the whole of
scoring.
"""

from __future__ import annotations

import numpy as np
import pytest

from sportskills_lib import metrics
from sportskills_lib.evaluation import recall, recall_arrays

SPORTS, SIZE, TRIALS = (70, 90), 60, 400


@pytest.fixture(scope="module")
def layout():
    """Two sports; queries with one to three own clips, of one to fourteen that are relevant."""
    rng = np.random.default_rng(0)
    sport_N = np.repeat([0, 1], SPORTS)
    sport_Q = np.repeat([0, 1], 12)
    own, relevant = [], []
    for query, sport in enumerate(sport_Q):
        inside = rng.permutation(np.flatnonzero(sport_N == sport))
        own += [(query, column) for column in sorted(inside[: 1 + query % 3])]
        relevant += [(query, column) for column in sorted(inside[: 3 + query % 12])]
    return recall_arrays.Layout(sport_Q, sport_N, np.array(own), np.array(relevant))


def test_a_model_that_knows_nothing_reaches_chance_in_every_scope_and_metric(layout):
    rng, every = np.random.default_rng(1), recall_arrays.own_metrics()
    every |= recall_arrays.relevant_metrics() | {recall.RANK: recall_arrays.RANKS}
    sums: dict[tuple[str, str], list[np.ndarray]] = {}
    for _ in range(TRIALS):
        vectors = (
            rng.normal(size=(count, 8)) for count in (len(layout.sport_Q), len(layout.sport_N))
        )
        for key, value in recall_arrays.score(*vectors, layout, SIZE).values.items():
            sums.setdefault(key, []).append(value)
    assert len(sums) == 3 * len(every)
    size_Q = np.bincount(layout.relevant_P2[:, 0])
    sizes = {
        recall.WITHIN: layout.gallery_Q,
        recall.FIXED: np.full(len(size_Q), SIZE),
        recall.ACROSS: np.full(len(size_Q), sum(SPORTS)),
    }
    for (scope, metric), values in sums.items():
        chance = every[metric].chance(size_Q, sizes[scope]).mean()
        means = np.array(values).mean(axis=1)
        error = means.std(ddof=1) / np.sqrt(TRIALS)
        assert abs(means.mean() - chance) < 4.5 * error + 1e-12, (
            scope,
            metric,
            means.mean(),
            chance,
        )


def test_more_relevant_items_than_the_gallery_holds_have_no_chance_level():
    assert np.isnan(metrics.chance_recall_multi([61], [60]))[0]
    assert np.isnan(metrics.chance_hit([61], [60]))[0]
    assert np.isnan(metrics.chance_reciprocal_rank([61], [60]))[0]
    assert (
        metrics.chance_recall_multi([60], [60], k=10)[0] == metrics.chance_hit([60], [60])[0] == 1.0
    )
