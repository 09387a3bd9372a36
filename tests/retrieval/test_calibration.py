"""Calibration: the least log-likelihood, error before and after against hand counts, and what it
refuses.
"""

from __future__ import annotations

import json

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import expit

from sportskills_lib.retrieval import figures
from sportskills_lib.retrieval.relevance import calibration


def pairs(temperature, bias, count=6000, seed=0):
    """Scores of an over- or under-confident model whose true probabilities are known."""
    rng = np.random.default_rng(seed)
    scores = rng.normal(0, 3, count)
    truth = expit(scores / temperature + bias)
    return scores, (rng.random(count) < truth).astype(float)


@pytest.mark.parametrize(("temperature", "bias"), [(4.0, -1.5), (0.5, 0.3), (1.0, 0.0)])
def test_the_true_temperature_and_bias_are_found(temperature, bias):
    scores, labels = pairs(temperature, bias)
    found = calibration.fit(scores, labels)
    assert found.temperature == pytest.approx(temperature, rel=0.12)
    assert found.bias == pytest.approx(bias, abs=0.15)
    assert found.nll_after <= found.nll_before + 1e-12
    assert found.ece_after < 0.03 and found.ece_after <= found.ece_before + 0.01


def test_the_fit_is_the_least_of_a_fine_grid():
    scores, labels = pairs(3.0, -1.0, count=300)
    found = calibration.fit(scores, labels)
    grid = [
        calibration.nll(scores / temperature + bias, labels)
        for temperature in np.geomspace(0.5, 20, 60)
        for bias in np.linspace(-3, 3, 61)
    ]
    assert found.nll_after <= min(grid) + 1e-9


def test_what_is_measured_was_left_out_of_the_fit():
    """Labels follow the participant, not the score: a fit on the own pairs flatters itself,
    held-out ones do not.
    """
    rng = np.random.default_rng(5)
    who = np.repeat([f"p{i}" for i in range(6)], 5)
    scores, labels = rng.normal(0, 1, 30), np.repeat([0.0, 1.0, 0.0, 1.0, 1.0, 0.0], 5)
    own, held = calibration.fit(scores, labels), calibration.fit(scores, labels, groups=list(who))
    assert (own.temperature, own.bias) == (held.temperature, held.bias)
    assert (own.groups, held.groups) == (0, 6)
    assert held.nll_after > own.nll_after + 0.01
    one_sided = [
        f"{label}" for label in labels
    ]  # the rest of each fold has one kind of label: nothing to fit on
    assert calibration.fit(scores, labels, groups=one_sided).groups == 0


@settings(max_examples=30, deadline=None)
@given(st.lists(st.tuples(st.floats(-50, 50), st.floats(0, 1)), min_size=2, max_size=30))
def test_no_ranking_changes(rows):
    scores, labels = np.array(rows).T
    if labels.min() == labels.max():
        return
    found = calibration.fit(scores, labels)
    assert found.temperature > 0 and np.isfinite([found.temperature, found.bias]).all()
    p = found.probability(np.sort(scores))
    assert (np.diff(p) >= 0).all() and (p >= 0).all() and (p <= 1).all()


@pytest.mark.parametrize("sign", [1, -1])
def test_scores_that_part_the_labels_or_turn_them_round_stop_at_the_bound(sign):
    scores = sign * np.arange(-10.0, 10.0)
    labels = (np.arange(-10, 10) >= 0).astype(float)
    found = calibration.fit(scores, labels)
    low, high = calibration.TEMPERATURES
    assert low * 0.999 <= found.temperature <= high * 1.001 and np.isfinite(found.bias)
    if sign < 0:  # scores say nothing of use: the share of helpful pairs is all that is left
        np.testing.assert_allclose(found.probability(scores), 0.5, atol=0.01)


def test_error_and_table_against_hand_counts():
    said = np.array([0.05, 0.15, 0.17, 0.95, 1.0, 0.5])
    helped = np.array([0.0, 1.0, 0.0, 1.0, 1.0, 0.6])
    table = calibration.reliability(said, helped, when="after")
    assert table.select("low", "pairs").rows() == [
        (0.0, 1), (pytest.approx(0.1), 2), (0.5, 1), (pytest.approx(0.9), 2),
    ]  # fmt: skip
    expected = (0.05 * 1 + abs(0.16 - 0.5) * 2 + abs(0.5 - 0.6) * 1 + abs(0.975 - 1) * 2) / 6
    assert calibration.ece(said, helped) == pytest.approx(expected)


@pytest.mark.parametrize(("scores", "labels"), [([], []), ([1, 2], [1, 1]), ([1, np.nan], [0, 1])])
def test_what_cannot_be_calibrated_on_is_an_error(scores, labels):
    with pytest.raises(ValueError, match="nothing to calibrate on"):
        calibration.fit(scores, labels)


def test_it_is_saved_and_loaded(tmp_path):
    found = calibration.fit(*pairs(2.0, -0.5, count=400))
    assert calibration.load(tmp_path) is None
    calibration.save(found, tmp_path)
    again = calibration.load(tmp_path)
    assert again is not None and again.bins.equals(found.bins)
    np.testing.assert_array_equal(again.probability([-1, 0, 3]), found.probability([-1, 0, 3]))
    (tmp_path / calibration.FILE).write_text(json.dumps({"temperature": 1}))
    with pytest.raises(ValueError, match="rerun 04_retrieval"):
        calibration.load(tmp_path)


def test_the_figure_shows_both_curves():
    found = calibration.fit(*pairs(4.0, -1.0, count=400))
    figure = figures.reliability(found)
    _, counts = figure.axes
    texts = [text.get_text() for text in figure.legends[0].get_texts()]
    assert texts == [
        f"before calibration, ECE {found.ece_before:.3f}",
        f"after, by the fit's own pairs, ECE {found.ece_after:.3f}",
    ]
    assert len(counts.patches) == found.bins.height == found.bins.filter(pl.col("pairs") > 0).height


def test_probabilities_hold_for_the_first_clips_of_new_learners() -> None:
    """As for the first stage's score in 04: fitted on every pair, read off the best of a ranking."""
    rng = np.random.default_rng(3)

    def directions(count: int) -> np.ndarray:
        vectors = rng.normal(size=(count, 6))
        return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)

    clips, people, later = directions(300), directions(60), directions(200)

    def helps(scores: np.ndarray) -> np.ndarray:  # the truth: the nearer, the likelier
        return rng.random(scores.shape) < 1 / (1 + np.exp(3 - 6 * scores))

    scores = people @ clips.T
    labels = helps(scores).astype(float)
    groups = np.repeat(np.arange(60), 300)
    fitted = calibration.fit(scores.ravel(), labels.ravel(), groups=groups)
    order = np.argsort(-(later @ clips.T), axis=1)[:, :5]
    best = np.take_along_axis(later @ clips.T, order, 1)
    truth, stated = helps(best), fitted.probability(best.ravel()).reshape(best.shape)
    assert (np.diff(stated, axis=1) <= 0).all()  # the first clip is the likeliest
    assert stated.mean() == pytest.approx(truth.mean(), abs=0.04)
    assert truth.mean() > 2 * labels.mean()
