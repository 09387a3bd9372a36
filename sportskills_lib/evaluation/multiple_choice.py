"""Choosing among few, in closed form: how likely is it that the right one wins, over all ways to
draw the others?

Drawing one set of wrong answers for each question adds noise that is no part of the model. The
chance that the right answer scores highest needs only the share of wrong answers below it and level
with it; ties are decided by lot. Legend: I items, J groups of wrong answers.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]
# exact up to degree 15: for up to 15 wrong answers
_NODES, _WEIGHTS = np.polynomial.legendre.leggauss(8)


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
