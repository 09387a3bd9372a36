"""Linear probes on frozen embeddings: what of a clip can be read off with a straight line, skill by
skill.

What is wrong in one skill is right in another, so there is a probe for each skill. A probe is a
ridge classifier (least squares to ±1 for each class, classes weighted to count alike:
scikit-learn's RidgeClassifier with ``class_weight="balanced"``), in closed form for all penalties
at once. The penalty is one for all skills of an arm, the best on validation clips. Train clips
teach, test clips are scored.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
PENALTIES = np.logspace(-3, 2, 11)


def ridge_scores(
    train_ND: Floats, labels_N: Ints, asked_MD: Floats, classes: int, penalties_P: Floats
) -> Floats:
    """The decision values of every penalty, [P, M, classes]; solved in clips, not dimensions, since
    few clips teach.
    """
    weight_N = len(labels_N) / (
        np.bincount(labels_N, minlength=classes)[labels_N] * len(np.unique(labels_N))
    )
    targets_NC = np.where(labels_N[:, None] == np.arange(classes), 1.0, -1.0)
    centre_D, level_C = (
        np.average(train_ND, axis=0, weights=weight_N),
        np.average(targets_NC, axis=0, weights=weight_N),
    )
    root_N1 = np.sqrt(weight_N)[:, None]
    rows_ND, wanted_NC = root_N1 * (train_ND - centre_D), root_N1 * (targets_NC - level_C)
    values_N, vectors_NN = np.linalg.eigh(rows_ND @ rows_ND.T)
    across_MN = (asked_MD - centre_D) @ rows_ND.T @ vectors_NN
    turned_NC = vectors_NN.T @ wanted_NC
    shrunk_PN = 1.0 / (np.maximum(values_N, 0.0) + penalties_P[:, None])
    return np.einsum("mn,pn,nc->pmc", across_MN, shrunk_PN, turned_NC, optimize=True) + level_C


def probe(
    vectors_ND: Floats, label_N: Ints, group_N: Ints, split_N: NDArray[np.str_]
) -> tuple[Floats, float]:
    """Whether the probe of its group names each test clip's class right, [N] (NaN elsewhere), and
    the penalty chosen.

    ``label_N``: a class from 0 within the group, −1: not asked. A group needs two classes among its
    train clips, and validation clips choose the penalty by balanced accuracy over all groups (the
    middle one where there are none).
    """
    right_PN = np.full((len(PENALTIES), len(label_N)), np.nan)
    for group in np.unique(group_N):
        rows = np.flatnonzero((group_N == group) & (label_N >= 0))
        train, asked = rows[split_N[rows] == "train"], rows[split_N[rows] != "train"]
        if len(np.unique(label_N[train])) < 2 or not len(asked):
            continue
        classes = int(label_N[rows].max()) + 1
        scores = ridge_scores(
            vectors_ND[train], label_N[train], vectors_ND[asked], classes, PENALTIES
        )
        scores[:, :, ~np.isin(np.arange(classes), label_N[train])] = -np.inf  # nobody taught these
        right_PN[:, asked] = scores.argmax(axis=2) == label_N[asked]
    val = (split_N == "val") & ~np.isnan(right_PN[0])
    weight_N = balance(label_N, group_N, val)
    chosen = (
        int((right_PN[:, val] * weight_N[val]).sum(axis=1).argmax())
        if val.any()
        else len(PENALTIES) // 2
    )
    return np.where(split_N == "test", right_PN[chosen], np.nan), float(PENALTIES[chosen])


def balance(label_N: Ints, group_N: Ints, asked_N: NDArray[np.bool_]) -> Floats:
    """Weights [N] whose mean over a group's asked clips is 1, so that each of its classes counts
    alike; 0 elsewhere.
    """
    weight_N = np.zeros(len(label_N))
    for group in np.unique(group_N[asked_N]):
        rows = np.flatnonzero(asked_N & (group_N == group))
        _, place, count = np.unique(label_N[rows], return_inverse=True, return_counts=True)
        weight_N[rows] = len(rows) / (len(count) * count[place])
    return weight_N
