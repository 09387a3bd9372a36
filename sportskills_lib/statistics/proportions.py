"""95 % intervals for shares that a stratified, weighted sample estimates.

Two cases. *Simple*: all items stand for equally many, or whole strata are inside the share's
denominator (a judge's precision on its own sample): Wilson's interval with Kish's effective number
of items, the square of the weights' sum over the sum of their squares. *Else* (recall: the
denominator is itself estimated, and mostly by a few misses out of a large stratum, where Wilson's
interval covers too little whatever number it is given): for each stratum a Dirichlet posterior with
Jeffreys' prior over what an item can be, on effective counts; the ratio of many draws; its 2.5 %
and 97.5 % points. Both shrink as more of the run is labelled (finite population correction). The
test of coverage simulates both.

Sources: Wilson (1927); Kish (1965), Survey Sampling; Brown, Cai, DasGupta (2001), Interval
Estimation for a Binomial Proportion; Franco, Little, Louis, Slud (2019), Comparative Study of
Confidence Intervals for Proportions in Complex Sample Surveys; for two judges Agresti, Min (2005),
Frequentist Performance of Bayesian Confidence Intervals for Comparing Proportions in 2 x 2
Contingency Tables.
"""

from __future__ import annotations

import math

import numpy as np

Z = 1.959964  # 95 %
PRIOR = 0.5  # of each thing that an item can be: Jeffreys
DRAWS, SEED = 4000, 20260101
Interval = tuple[float, float]


def wilson(share: float, n: float, *, z: float = Z) -> Interval:
    """Wilson's interval of a share of ``n`` trials (which may be an effective number): low,
    high.
    """
    middle, spread = (
        share + z * z / (2 * n),
        z * math.sqrt(share * (1 - share) / n + z * z / (4 * n * n)),
    )
    return max(0.0, (middle - spread) / (1 + z * z / n)), min(
        1.0, (middle + spread) / (1 + z * z / n)
    )


def effective(weight: np.ndarray) -> float:
    """How many items of equal weight tell as much; an item of weight 1 stands for itself alone, so
    all told is exact.

    ``weight`` [N] is how many items of the run each stands for.
    """
    unseen = 1 - len(weight) / weight.sum()
    return float(weight.sum() ** 2 / (weight**2).sum() / max(unseen, 1e-9))


def population_shares(
    weight: np.ndarray, stratum: np.ndarray, kind: np.ndarray, possible: np.ndarray
) -> np.ndarray:
    """Draws of how much of the run is of each kind, float64 [DRAWS, K]: always the same ones.

    Of N labelled items: ``weight`` [N]; ``stratum`` [N] int and ``kind`` [N] int < K; ``possible``
    [S, K] tells which kinds a stratum can hold at all (the judge's own sample holds no miss among
    what it kept).
    """
    rng = np.random.default_rng(SEED)
    total = np.zeros((DRAWS, possible.shape[1]))
    for number in np.unique(stratum):
        inside = stratum == number
        weighted = np.bincount(kind[inside], weights=weight[inside], minlength=possible.shape[1])
        counts = effective(weight[inside]) * weighted / weighted.sum()
        drawn = rng.standard_gamma(
            np.where(possible[number], counts + PRIOR, 0.0), (DRAWS, len(counts))
        )
        total += weighted.sum() * drawn / drawn.sum(1, keepdims=True)
    return total / weight.sum()


def of_ratio(
    weight: np.ndarray, stratum: np.ndarray, said: np.ndarray, true: np.ndarray, *, recall: bool
) -> Interval:
    """The interval of recall, else of precision, from what a judge said [N] and what is true [N]
    (bool).

    At least one item must be in the denominator. Where all are right the interval ends at 1, where
    none is, at 0.
    """
    among, hit = (true if recall else said), said & true
    whole = np.array(
        [among[stratum == number].all() or not among[stratum == number].any() for number in stratum]
    )
    value = float(weight[hit].sum() / weight[among].sum())
    if whole.all() or np.allclose(weight, weight[0]):
        return wilson(value, effective(weight[among]))
    own = all(len(np.unique(said[stratum == number])) == 1 for number in stratum)
    possible = np.ones((stratum.max() + 1, 4), bool)
    if own:
        possible[stratum] = np.stack([said, said, ~said, ~said], axis=1)
    kind = np.where(said, np.where(true, 0, 1), np.where(true, 2, 3))
    shares = population_shares(weight, stratum, kind, possible)
    ratios = shares[:, 0] / (shares[:, 0] + shares[:, 2 if recall else 1])
    low, high = np.quantile(ratios, [0.025, 0.975])
    return (0.0 if value == 0 else min(value, float(low))), (
        1.0 if value == 1 else max(value, float(high))
    )


def of_difference(
    weight: np.ndarray, stratum: np.ndarray, one: np.ndarray, other: np.ndarray
) -> Interval:
    """The interval of the share that the first judge has right less the share that the other has,
    paired item by item.

    ``one`` and ``other`` [N] tell who was right.
    """
    kind = np.where(one & ~other, 0, np.where(other & ~one, 1, 2))
    shares = population_shares(weight, stratum, kind, np.ones((stratum.max() + 1, 3), bool))
    low, high = np.quantile(shares[:, 0] - shares[:, 1], [0.025, 0.975])
    return float(low), float(high)
