"""Probes against scikit-learn's ridge classifier, and on data where the answer is known."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.linear_model import RidgeClassifier

from sportskills_lib.evaluation import probes


@pytest.mark.parametrize("classes", [2, 3])
def test_every_penalty_equals_scikit_learns_ridge_classifier(classes):
    rng = np.random.default_rng(classes)
    labels = rng.integers(classes, size=30) * (rng.random(30) < 0.8)
    labels[:classes] = np.arange(classes)
    train, asked = rng.normal(size=(30, 12)) + labels[:, None], rng.normal(size=(9, 12))
    scores = probes.ridge_scores(train, labels, asked, classes, probes.PENALTIES)
    for penalty, found in zip(probes.PENALTIES, scores, strict=True):
        oracle = RidgeClassifier(alpha=penalty, class_weight="balanced").fit(train, labels)
        wanted = oracle.decision_function(asked)
        np.testing.assert_allclose(found[:, 1] if classes == 2 else found, wanted, atol=1e-8)


def world(rng, shift):
    """Two skills in which the same direction means opposite classes: no probe over both could tell
    them.
    """
    group, label = np.repeat([0, 1], 60), np.tile([0, 1], 60)
    split = np.tile(np.repeat(["train", "val", "test"], 20), 2)
    vectors = rng.normal(size=(120, 16))
    vectors[:, 0] += shift * np.where(label == group, 1, -1)
    return vectors, label, group, split


def test_a_probe_a_skill_finds_what_is_there_and_nothing_where_nothing_is():
    rng = np.random.default_rng(0)
    for shift, low, high in ((4.0, 0.95, 1.0), (0.0, 0.2, 0.8)):
        vectors, label, group, split = world(rng, shift)
        right, penalty = probes.probe(vectors, label, group, split)
        assert np.isnan(right[split != "test"]).all()
        assert low <= np.nanmean(right) <= high
        assert penalty in probes.PENALTIES


def test_test_clips_choose_nothing():
    vectors, label, group, split = world(np.random.default_rng(1), 1.0)
    turned = np.where(split == "test", 1 - label, label)
    assert (
        probes.probe(vectors, label, group, split)[1]
        == probes.probe(vectors, turned, group, split)[1]
    )


def test_a_class_that_nobody_taught_and_a_skill_with_one_class():
    vectors, label, group, split = world(np.random.default_rng(2), 4.0)
    label[(group == 0) & (split == "test")] = 2
    right, _ = probes.probe(vectors, label, group, split)
    assert (right[(group == 0) & (split == "test")] == 0).all()  # never named, so never right
    label[(group == 1) & (split == "train")] = 0
    right, _ = probes.probe(vectors, label, group, split)
    assert np.isnan(right[group == 1]).all()


def test_classes_count_alike():
    label, group = np.array([0, 0, 0, 1, 0, 1]), np.array([0, 0, 0, 0, 1, 1])
    weight = probes.balance(label, group, np.ones(6, dtype=bool))
    np.testing.assert_allclose(weight, [2 / 3, 2 / 3, 2 / 3, 2, 1, 1])
    assert probes.balance(label, group, np.zeros(6, dtype=bool)).sum() == 0
