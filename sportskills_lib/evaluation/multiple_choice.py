"""Choosing among few, in closed form: how likely is it that the right one wins, over all ways to
draw the others?

Drawing one set of wrong answers for each question adds noise that is no part of the model. The
chance that the right answer scores highest needs only the share of wrong answers below it and level
with it; ties are decided by lot. Legend: I items, J groups of wrong answers.
"""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike, NDArray

from sportskills_lib.learner_data import exact

Floats = NDArray[np.float64]
_NODES, _WEIGHTS = np.polynomial.legendre.leggauss(
    8
)  # exact up to degree 15: for up to 15 wrong answers


def one_of_each(below_IJ: ArrayLike, level_IJ: ArrayLike) -> Floats:
    """P(the right answer wins) when one wrong answer is drawn from each group, [I].

    ``below``: the share of a group that scores below the right answer, ``level``: as high. With T
    ties the lot decides, 1 / (1 + T); its mean is the integral of the product of (below + level x)
    over x from 0 to 1.
    """
    below, level = np.asarray(below_IJ, dtype=np.float64), np.asarray(level_IJ, dtype=np.float64)
    if below.shape[1] > 15:
        raise ValueError(
            f"{below.shape[1]} groups of wrong answers: the closed form is exact for up to 15"
        )
    x = (_NODES + 1) / 2
    return (below[:, :, None] + level[:, :, None] * x).prod(axis=1) @ (_WEIGHTS / 2)


def some_of_all(
    below_I: ArrayLike, level_I: ArrayLike, n_I: ArrayLike, *, wrong: int = 4
) -> Floats:
    """P(the right answer wins) when ``wrong`` answers are drawn from ``n`` without replacement,
    [I].

    ``below`` and ``level`` are counts here; NaN where there are fewer than ``wrong``.
    """
    below, level, n = (np.asarray(a, dtype=np.int64) for a in (below_I, level_I, n_I))
    found = np.zeros(below.shape)
    for ties in range(wrong + 1):
        ways = [
            math.comb(int(e), ties) * math.comb(int(b), wrong - ties)
            for b, e in zip(below, level, strict=True)
        ]
        found += np.array(ways, dtype=np.float64) / (1 + ties)
    all_ways = np.array([math.comb(int(size), wrong) for size in n], dtype=np.float64)
    return np.divide(found, all_ways, out=np.full(found.shape, np.nan), where=all_ways > 0)


def chosen_right(similarities_IA: ArrayLike, answers_I: ArrayLike) -> Floats:
    """Whether the answer scores highest among the alternatives, [I]; ties by lot: 1 / (number that
    share the top).
    """
    scores, answers = (
        np.asarray(similarities_IA, dtype=np.float64),
        np.asarray(answers_I, dtype=np.int64),
    )
    if np.isnan(scores).any():
        raise ValueError("a similarity is NaN: a model that diverged cannot choose")
    own, top = scores[np.arange(len(scores)), answers], scores.max(axis=1)
    return np.where(own == top, 1.0 / (scores == top[:, None]).sum(axis=1), 0.0)


def read_exact(
    path: str | Path, *, split: str | None = None, takes: Path | None = None
) -> list[exact.ExActItem]:
    """The items of ExAct's metadata.jsonl, all or those of a ``split``; ValueError names the first
    that is no question.

    To score: embed each clip and its options, and give the similarities to :func:`chosen_right`;
    group by
    ``take_name`` for intervals. The splits are those of the learners in 04: Ego-Exo4D's own where
    takes.json and splits.json lie in ``takes`` or beside the file, else by participant.
    """
    path = Path(path)
    items, drops = exact.read_items(path)
    for item in items:
        if len(item.negatives) != exact.WRONG:
            detail = f"line {item.line}: {len(item.negatives)} negative_comments, not {exact.WRONG}"
            drops.append(("learner", item.item_id, "no_choice", detail))
    if drops:
        raise ValueError(f"{path}, {drops[0][3]}: give ExAct's metadata.jsonl as it was published")
    if split is None:
        return items
    splits = exact.item_splits(items, path, takes)
    return [item for item in items if splits.get(item.item_id, ("", ""))[1] == split]
