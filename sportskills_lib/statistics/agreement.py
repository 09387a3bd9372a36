"""Do raters agree? Krippendorff's alpha, weighted kappa, each rater's bias, and the panel without
that rater.

Alpha takes any number of raters and missing grades: 1 − (observed / expected disagreement), 1 is
perfect, 0 is what chance gives (Krippendorff, Computing Krippendorff's Alpha-Reliability, 2011). It
is a ratio of sums over items, so its interval resamples whole learners by weighing each learner's
sums. Items that one rater alone graded say nothing of agreement and are not counted.

Legend: U items (a learner and a clip), R raters, V different grades, C clusters (learners), D
draws.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np
import polars as pl
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]
Level = Literal["nominal", "ordinal", "interval"]
LEVELS: tuple[Level, ...] = ("nominal", "ordinal", "interval")
ITEM = ("learner_id", "clip_id")
# quantiles of a 95 % interval; not 0.025, whose last bit would change every table of 05
TAILS = ((1 - 0.95) / 2, 0.975)
ALPHA = {
    "level": pl.String, "alpha": pl.Float64, "low": pl.Float64, "high": pl.Float64,
    "items": pl.Int64, "learners": pl.Int64, "raters": pl.Int64,
}  # fmt: skip


def coincidences(grades_UR: ArrayLike) -> tuple[Floats, Floats]:
    """The different grades [V] and, for each item, how often each two of them met [U, V, V]; NaN:
    not graded.

    An item with m grades counts each ordered pair 1 / (m − 1) times, so that it weighs m; with m <
    2, nothing.
    """
    grades = np.asarray(grades_UR, np.float64)
    values = np.unique(grades[~np.isnan(grades)])
    counts_UV = (grades[:, :, None] == values).sum(axis=1).astype(np.float64)
    pairs = counts_UV[:, :, None] * counts_UV[:, None, :] - counts_UV[:, :, None] * np.eye(
        len(values)
    )
    several = counts_UV.sum(axis=1) - 1
    return values, pairs / np.where(several > 0, several, np.inf)[:, None, None]


def alphas(values: Floats, met_DVV: Floats, level: Level) -> Floats:
    """Krippendorff's alpha [D] from summed coincidences [D, V, V]; NaN where all grades are one and
    the same.
    """
    marginal_DV = met_DVV.sum(axis=2)
    total_D = marginal_DV.sum(axis=1)
    expected_DVV = marginal_DV[:, :, None] * marginal_DV[:, None, :] - marginal_DV[
        :, :, None
    ] * np.eye(len(values))
    if level == "nominal":
        distance: Floats = 1 - np.eye(len(values))
    elif level == "interval":
        distance = (values[:, None] - values[None, :]) ** 2
    else:  # how many grades lie between two, each end counted by half
        middle_DV = np.cumsum(marginal_DV, axis=1) - marginal_DV / 2
        distance = (middle_DV[:, :, None] - middle_DV[:, None, :]) ** 2
    with np.errstate(divide="ignore", invalid="ignore"):
        observed = (met_DVV * distance).sum(axis=(1, 2))
        expected = (expected_DVV * distance).sum(axis=(1, 2)) / (total_D - 1)
        return np.where(expected > 0, 1 - observed / expected, np.nan)


def krippendorff(grades_UR: ArrayLike, level: Level) -> float:
    """Krippendorff's alpha of grades [U, R]; NaN: not graded."""
    values, met_UVV = coincidences(grades_UR)
    return float(alphas(values, met_UVV.sum(axis=0, keepdims=True), level)[0])


def weighted_kappa(one: Sequence[int], two: Sequence[int]) -> float:
    """Cohen's kappa of two raters over the same items with quadratic weights; NaN where it is not
    defined.

    A disagreement weighs the squared difference of the grades, also where nobody gave a grade
    between the two.
    """
    from sklearn.metrics import cohen_kappa_score

    given = set(one) | set(two)
    if len(given) < 2:
        return float("nan")
    grades = list(range(min(given), max(given) + 1))  # scikit-learn weighs by place in this list
    return float(cohen_kappa_score(list(one), list(two), labels=grades, weights="quadratic"))


def grade_table(judged: pl.DataFrame) -> tuple[pl.DataFrame, list[str]]:
    """One row for each item and one column for each rater (null: not graded), and the raters in
    order of name.
    """
    raters = sorted(judged["rater"].unique())
    wide = judged.pivot("rater", index=list(ITEM), values="grade").sort(ITEM)
    return wide.select(*ITEM, *(pl.col(name).cast(pl.Float64) for name in raters)), raters


def agreement(judged: pl.DataFrame, *, draws: int, seed: int) -> pl.DataFrame:
    """Alpha at each level of measurement, its interval from resampling learners, and how much it
    rests on.

    ``judged``: tables.Judgements. Grades are ordered, so ``ordinal`` is the one to quote. No rows
    where no item has two grades; null where all grades are the same. Bounds are percentiles of the
    draws.
    """
    wide, raters = grade_table(judged)
    shared = wide.filter(pl.sum_horizontal(pl.col(raters).is_not_null()) > 1) if raters else wide
    if not shared.height:
        return pl.DataFrame(schema=ALPHA)
    values, met_UVV = coincidences(shared.select(raters).to_numpy())
    learners, place_U = np.unique(shared["learner_id"].to_numpy(), return_inverse=True)
    met_CVV = np.zeros((len(learners), len(values), len(values)))
    np.add.at(met_CVV, place_U, met_UVV)
    even = np.full(len(learners), 1 / len(learners))
    weights_DC = np.random.default_rng([seed, 71]).multinomial(len(learners), even, size=draws)
    met_DVV = np.einsum("dc,cvw->dvw", weights_DC, met_CVV, optimize=True)
    sizes = (shared.height, len(learners), len(raters))
    rows = []
    for level in LEVELS:
        drawn_D = alphas(values, met_DVV, level)
        sure = len(learners) > 1 and np.isfinite(drawn_D).any()
        low, high = np.nanquantile(drawn_D, TAILS) if sure else (None, None)
        value = alphas(values, met_CVV.sum(axis=0, keepdims=True), level)[0]
        rows.append((level, value, low, high, *sizes))
    return pl.DataFrame(rows, schema=ALPHA, orient="row").fill_nan(None)


def biases(judged: pl.DataFrame) -> pl.DataFrame:
    """Each rater's grades: rater, simulated, n, shared (with another rater), mean, and bias, in
    order of raters.

    Bias: own grade minus the mean of the others', over shared items; positive is generous.
    """
    grade, raters = pl.col("grade"), pl.len().over(ITEM)
    others = (grade.sum().over(ITEM) - grade) / (raters - 1)
    return (
        judged.with_columns(apart=pl.when(raters > 1).then(grade - others))
        .group_by("rater", "simulated")
        .agg(
            n=pl.len(),
            shared=pl.col("apart").count(),
            mean=grade.mean(),
            bias=pl.col("apart").mean(),
        )
        .sort("rater")
    )


def by_rater(judged: pl.DataFrame) -> pl.DataFrame:
    """:func:`biases`, weighted_kappa against the others' rounded mean, and alpha_without: ordinal,
    the others' alone.

    An alpha that rises much without a rater says whom to ask what the scale means.
    """
    wide, raters = grade_table(judged)
    rows = []
    for rater in raters:
        others = [name for name in raters if name != rater]
        mean = pl.mean_horizontal(others) if others else pl.lit(None, pl.Float64)
        both = wide.select(own=rater, others=mean).drop_nulls()
        kappa = weighted_kappa(*(grades.round().cast(pl.Int64).to_list() for grades in both))
        rest = wide.select(others).to_numpy() if len(others) > 1 else None
        rows.append((rater, kappa, None if rest is None else krippendorff(rest, "ordinal")))
    columns = {"rater": pl.String, "weighted_kappa": pl.Float64, "alpha_without": pl.Float64}
    more = pl.DataFrame(rows, schema=columns, orient="row").fill_nan(None)
    return biases(judged).join(more, on="rater", maintain_order="left")
