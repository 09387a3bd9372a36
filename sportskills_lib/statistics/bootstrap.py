"""Intervals for means of per-query scores, honest about clustering and pairing.

Clips of one video are not independent, so the bootstrap draws whole clusters (source videos, or
participants) with replacement, within each stratum (sport). All systems see the same draws, so that
differences are paired; the macro mean over strata and the ratio of macro means are taken inside
each draw. Seeds are averaged per query first; their spread is reported separately.

An interval is the *expanded* percentile: plain ones (2.5 % and 97.5 % of the draws) are too narrow
for few clusters, since a bootstrap's variance is (C − 1) / C of the true one, less where clusters
are of uneven size (:func:`shrinkage`), and its tails are a normal's. Both are corrected
(Hesterberg, What Teachers Should Know about the Bootstrap, 2015; the unevenness is ours). No draw
lies beyond the lowest and the highest cluster; of two clusters these hold the truth in half of all
cases, of five in nine of ten: there Student's t takes its place. ``benchmarks/intervals.py``
measures what both kinds of percentile cover, and ``benchmarks/README.md`` holds the last run.

Everything is sums: a draw is a row of weights over clusters [D, C], a stratum's draw of all means
is one product of weights and per-cluster sums [C, A]. 24 sports × 5 systems × 2,000 draws take well
under a second. Legend: A systems, S strata, C clusters of a stratum, D draws.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import polars as pl
from numpy.typing import NDArray
from scipy.special import ndtr, stdtrit

Floats = NDArray[np.float64]
KEY = ("system", "query_id", "metric")
UPPER = 0.975  # the quantile of a 95 % interval's upper end
NOTHING = 1e-18  # a variance that is the rounding of equal numbers
# of the tail: where the most extreme draw is likelier, draws bound nothing (one stratum: 5
# clusters); ours
FEW = 0.1


class Interval(NamedTuple):
    """A number and its interval; low and high are None where one cluster gives nothing to resample,
    or it is NaN.
    """

    value: float
    low: float | None
    high: float | None

    def excludes(self, number: float) -> bool | None:
        """Whether ``number`` lies outside; None without an interval."""
        return (
            None if self.low is None or self.high is None else not self.low <= number <= self.high
        )


@dataclass(frozen=True)
class Statistic:
    """A number, its value in each draw, and how strongly each cluster pulls on it (its influence,
    summing to 0).
    """

    value: float
    drawn_D: Floats
    pull_C: Floats

    def __sub__(self, other: Statistic) -> Statistic:
        return Statistic(
            self.value - other.value, self.drawn_D - other.drawn_D, self.pull_C - other.pull_C
        )

    def __truediv__(self, other: Statistic) -> Statistic:
        """The ratio; inf over 0, NaN for 0 over 0, and 1 where a draw has that."""
        with np.errstate(divide="ignore", invalid="ignore"):
            value = float(np.float64(self.value) / other.value)
            drawn_D = np.nan_to_num(
                self.drawn_D / other.drawn_D, nan=1.0, posinf=np.inf, neginf=-np.inf
            )
            pull_C = (self.pull_C - value * other.pull_C) / other.value
        return Statistic(value, drawn_D, pull_C)


@dataclass(frozen=True)
class Resampled:
    """The means of all systems in all strata, as measured and in each draw; the same clusters for
    every system.
    """

    systems: tuple[str, ...]
    strata: tuple[str, ...]
    measured_SA: Floats
    drawn_SAD: Floats
    queries_S: NDArray[np.int64]
    clusters_S: NDArray[np.int64]
    pulls_S: tuple[Floats, ...]  # by stratum, [C, A]
    shrinkage_S: Floats

    def stratum(self, system: str, stratum: str) -> Interval:
        """The system's mean in one stratum, with its interval; without one when there is a single
        cluster.
        """
        return self._interval(self._mean(system, stratum), stratum)

    def macro(self, system: str) -> Interval:
        """The mean over strata of the stratum's mean: every sport counts once."""
        return self._interval(self._mean(system, None), None)

    def difference(self, system: str, baseline: str, *, stratum: str | None = None) -> Interval:
        """``system`` minus ``baseline``, paired: of the macro means, or within one stratum."""
        return self._interval(self._mean(system, stratum) - self._mean(baseline, stratum), stratum)

    def ratio(self, system: str, baseline: str, *, stratum: str | None = None) -> Interval:
        """Macro mean over macro mean (never a mean of per-stratum ratios), or within one stratum;
        inf over 0.
        """
        return self._interval(self._mean(system, stratum) / self._mean(baseline, stratum), stratum)

    def share(self, system: str, low: str, high: str) -> Interval:
        """How far ``system`` is on the way from ``low`` to ``high``, of macro means: 0 at ``low``,
        1 at ``high``.
        """
        here, start, end = (self._mean(name, None) for name in (system, low, high))
        return self._interval((here - start) / (end - start), None)

    def _rows(self, stratum: str | None) -> slice:
        first = 0 if stratum is None else self.strata.index(stratum)
        return slice(first, len(self.strata) if stratum is None else first + 1)

    def _mean(self, system: str, stratum: str | None) -> Statistic:
        column, rows = self.systems.index(system), self._rows(stratum)
        pulls = [pull_CA[:, column] for pull_CA in self.pulls_S[rows]]
        return Statistic(
            float(self.measured_SA[rows, column].mean()),
            self.drawn_SAD[rows, column].mean(axis=0),
            np.concatenate(pulls) / len(pulls) if pulls else np.zeros(0),
        )

    def _interval(self, statistic: Statistic, stratum: str | None) -> Interval:
        rows = self._rows(stratum)
        clusters_S = self.clusters_S[rows]
        if not (clusters_S > 1).all() or np.isnan(statistic.value):
            return Interval(statistic.value, None, None)
        shrinkage = float(self.shrinkage_S[rows].mean())
        quantile = float(stdtrit((clusters_S - 1).sum(), UPPER))
        tail = ndtr(-quantile / np.sqrt(shrinkage))
        # the chance of the draw of one cluster alone in every stratum: nothing lies beyond it
        extreme = np.exp(-(clusters_S * np.log(clusters_S)).sum())
        if FEW * tail < extreme:
            return _student(statistic, quantile, shrinkage)
        drawn_D = statistic.drawn_D
        # nothing lies between a number and infinity
        how = "linear" if np.isfinite(drawn_D).all() else "nearest"
        ends = [tail, ndtr(quantile / np.sqrt(shrinkage))]
        low, high = np.quantile(drawn_D, ends, method=how)  # type: ignore[call-overload]
        return Interval(statistic.value, float(low), float(high))


def shrinkage(counts_C: Floats) -> float:
    """Resampled variance of a mean over the true one, for clusters with so many queries; 0 for a
    single one.

    With shares w it is Σ w² (1 − 2 w + Σ w²) / Σ w², exact where queries of a cluster are alike: (C
    − 1) / C for equal ones, and less where a few hold most queries, since their own share hides in
    the mean that they are compared with.
    """
    shares = counts_C / counts_C.sum()
    squares = shares**2
    return float((squares * (1 - 2 * shares + squares.sum())).sum() / squares.sum())


def _student(statistic: Statistic, quantile: float, shrinkage: float) -> Interval:
    """Value ± ``quantile`` standard errors, from the pulls of the clusters; without bounds where a
    pull is not finite.

    Nor where so few clusters happen to agree: that is no certainty, unless they say that nothing
    differs.
    """
    spread = float((statistic.pull_C**2).sum()) / shrinkage
    if not np.isfinite(spread) or (spread < NOTHING and statistic.value != 0):
        return Interval(statistic.value, None, None)
    reach = quantile * float(np.sqrt(spread))
    return Interval(statistic.value, statistic.value - reach, statistic.value + reach)


def average_seeds(scores: pl.DataFrame) -> pl.DataFrame:
    """One row for each system, query and metric: the mean over seeds. A query that lacks a seed is
    an error.
    """
    averaged = scores.group_by(*KEY).agg(
        pl.col("value").mean(),
        pl.col("chance").mean(),
        pl.col("sport").first(),
        pl.col("cluster").first(),
        seeds=pl.col("seed").n_unique(),
    )
    uneven = (
        averaged.group_by("system", "metric")
        .agg(pl.col("seeds").n_unique())
        .filter(pl.col("seeds") > 1)
    )
    if uneven.height:
        row = uneven.sort("system", "metric").row(0, named=True)
        raise ValueError(
            f"{row['system']}: some queries of {row['metric']} lack a seed that others have: "
            "rerun the stage that "
            "scored them, so that every query has every seed"
        )
    return averaged.drop("seeds").sort(*KEY)


def resample(
    scores: pl.DataFrame, *, draws: int, seed: int, stratum: str | None = "sport"
) -> Resampled:
    """Bootstrap one metric over clusters within strata (``stratum=None``: one stratum of all
    queries, named ``all``).

    ``scores``: rows of Scores of a single metric; rows without a value are left out. All systems
    must have answered the same queries, else the comparison would not be paired: ValueError names
    what is missing. A stratum's draws depend on
    ``seed`` and its own name only, so adding a sport changes no other sport's interval.
    """
    rows = average_seeds(scores).filter(pl.col("value").is_not_null())
    if rows["metric"].n_unique() > 1:
        raise ValueError(
            f"resample takes one metric at a time, not {', '.join(sorted(rows['metric'].unique()))}"
        )
    rows = rows.with_columns(stratum=pl.lit("all") if stratum is None else pl.col(stratum))
    systems = tuple(sorted(rows["system"].unique()))
    parts = []
    for name, sums_CA, counts_C in _strata(rows, systems):
        queries = counts_C.sum()
        weights_DC = _weights(len(counts_C), draws=draws, seed=seed, name=name)
        mean_A = sums_CA.sum(axis=0) / queries
        drawn_AD = ((weights_DC @ sums_CA) / (weights_DC @ counts_C)[:, None]).T
        pull_CA = (sums_CA - mean_A * counts_C[:, None]) / queries
        sizes = (int(queries), len(counts_C))
        parts.append((name, mean_A, drawn_AD, *sizes, pull_CA, shrinkage(counts_C)))
    names, means, drawn, counts, clusters, pulls, shrunk = (
        zip(*parts, strict=True) if parts else [()] * 7
    )
    shape = (len(names), len(systems))
    return Resampled(
        systems,
        tuple(names),
        np.array(means).reshape(shape),
        np.array(drawn).reshape(*shape, draws),
        np.array(counts, dtype=np.int64),
        np.array(clusters, dtype=np.int64),
        tuple(pulls),
        np.array(shrunk),
    )


def _strata(rows: pl.DataFrame, systems: tuple[str, ...]) -> Iterator[tuple[str, Floats, Floats]]:
    """For each stratum: its name, the sums of scores by cluster and system [C, A], the queries by
    cluster [C].
    """
    wide = rows.pivot("system", index=["stratum", "cluster", "query_id"], values="value").sort(
        "stratum", "cluster", "query_id"
    )
    for system in systems:
        missing = wide.filter(pl.col(system).is_null())
        if missing.height:
            raise ValueError(
                f"{system} has no score for {missing.height} queries that others answered, first "
                f"{missing['query_id'][0]!r}: differences must be paired; score all systems on "
                "the same queries"
            )
    summed = wide.group_by("stratum", "cluster", maintain_order=True).agg(
        pl.col(systems).sum(), count=pl.len()
    )
    for (name,), part in summed.group_by("stratum", maintain_order=True):
        yield (
            str(name),
            part.select(systems).to_numpy().astype(np.float64),
            part["count"].to_numpy().astype(np.float64),
        )


def _weights(clusters: int, *, draws: int, seed: int, name: str) -> Floats:
    """How often each cluster is drawn, [D, C]; each row sums to C."""
    return (
        np.random.default_rng([seed, *name.encode()])
        .multinomial(clusters, np.full(clusters, 1 / clusters), size=draws)
        .astype(np.float64)
    )


def randomisation_p(
    differences: np.ndarray, clusters: Sequence[str], *, flips: int = 10_000, seed: int = 0
) -> float | None:
    """Two-sided p of a mean paired difference: how often whole clusters with random signs give one
    as far from 0.

    If the systems were alike, either could have been called the first, for each cluster
    (participant) by itself. "Far" is in clustered standard errors of the flipped differences: the
    order of plain means where clusters are even, and finer where they are not, so that whole
    numbers of hits do not tie by the hundred. Where there are no more than
    ``flips`` patterns of signs, all are tried, and p is exact: a multiple of 1 / 2^(C − 1) with C
    clusters, so that five cannot give less than 0.0625. Otherwise they are drawn, and the measured
    signs count as one of the draws: at least 1 / (flips + 1). None for one cluster.
    """
    names, places = np.unique(np.asarray(clusters), return_inverse=True)
    if len(names) < 2:
        return None
    counts_C, sums_C = np.bincount(places), np.bincount(places, np.asarray(differences, np.float64))
    free = len(names) - 1
    if 2**free <= flips:  # the first sign stays: turning all gives the same distance
        signs_FC = np.ones((2**free, len(names)))
        signs_FC[:, 1:] -= 2 * (np.arange(2**free)[:, None] >> np.arange(free) & 1)
    else:
        signs_FC = (
            np.random.default_rng([seed, 59]).integers(0, 2, (flips + 1, len(names)), dtype=np.int8)
            * 2.0
            - 1
        )
        signs_FC[0] = 1
    mean_F, squares = signs_FC @ sums_C / counts_C.sum(), float((sums_C**2).sum())
    left_F = (
        squares - 2 * mean_F * (signs_FC @ (sums_C * counts_C)) + mean_F**2 * (counts_C**2).sum()
    )
    far_F = np.abs(mean_F) / np.sqrt(np.maximum(left_F, 1e-12 * squares + 1e-300))
    return float((far_F >= far_F[0] * (1 - 1e-9)).mean())


def holm(p_values: Sequence[float | None]) -> list[float | None]:
    """Holm's adjusted p, in order: claim those up to 0.05, and any false claim among them is no
    likelier than that.

    The smallest is multiplied by their number m, the next by m − 1, …, none below the one before,
    none above 1 (Holm, A Simple Sequentially Rejective Multiple Test Procedure, 1979). It needs no
    independence. None is no test and counts for nothing.
    """
    tested = sorted((p, place) for place, p in enumerate(p_values) if p is not None)
    raised = np.array([p for p, _ in tested]) * np.arange(len(tested), 0, -1)
    highest = np.minimum(np.maximum.accumulate(raised), 1.0).tolist()
    adjusted = {place: p for (_, place), p in zip(tested, highest, strict=True)}
    return [adjusted.get(place) for place in range(len(p_values))]


def with_holm(table: pl.DataFrame, *family: str, tested: pl.Expr | bool = True) -> pl.DataFrame:
    """The table with p_holm: its p, corrected (:func:`holm`) for the ``tested`` rows that share the
    columns ``family``. Rows of one family stand together.
    """
    parts = table.with_columns(pl.when(tested).then("p")).partition_by(family, maintain_order=True)
    adjusted = [p for part in parts for p in holm(part["p"].to_list())]
    return table.with_columns(p_holm=pl.Series(adjusted, dtype=pl.Float64))


def paired_differences(scores: pl.DataFrame, system: str, baseline: str) -> pl.DataFrame:
    """query_id, sport, cluster, difference of one metric, seeds averaged, for queries that both
    answered, in order.
    """
    wide = (
        average_seeds(scores.filter(pl.col("system").is_in([system, baseline])))
        .filter(pl.col("value").is_not_null())
        .pivot("system", index=["query_id", "sport", "cluster"], values="value")
    )
    if not {system, baseline} <= set(wide.columns):
        return wide.select("query_id", "sport", "cluster", difference=pl.lit(0.0)).clear()
    gap = pl.col(system) - pl.col(baseline)
    return wide.drop_nulls().sort("query_id").select("query_id", "sport", "cluster", difference=gap)


def paired_p(scores: pl.DataFrame, system: str, baseline: str, *, seed: int = 0) -> float | None:
    """:func:`randomisation_p` of one metric's scores, seeds averaged per query, over the queries
    that both answered.
    """
    gaps = paired_differences(scores, system, baseline)
    return randomisation_p(gaps["difference"].to_numpy(), gaps["cluster"].to_list(), seed=seed)


def seed_spread(scores: pl.DataFrame) -> pl.DataFrame:
    """Macro means by seed: system, metric, seeds, mean, sd, lowest, highest (sd is null for one
    seed).
    """
    keys = ["system", "metric", "seed", "sport"]
    mean = pl.col("value").mean()
    return (
        scores.filter(pl.col("value").is_not_null())
        .group_by(keys)
        .agg(mean)
        .sort(keys)
        .group_by(keys[:3], maintain_order=True)  # in order: sums repeat
        .agg(mean)
        .group_by("system", "metric", maintain_order=True)
        .agg(
            seeds=pl.len(),
            mean=pl.col("value").mean(),
            sd=pl.col("value").std(),
            lowest=pl.col("value").min(),
            highest=pl.col("value").max(),
        )
        .sort("metric", "system")
    )
