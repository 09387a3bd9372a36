"""Intervals for means of per-query scores, honest about clustering and pairing.

Clips of one video are not independent, so the bootstrap draws whole clusters (source videos, or participants) with
replacement, within each stratum (sport). All systems see the same draws, so that differences are paired; the macro mean
over strata and the ratio of macro means are taken inside each draw. Seeds are averaged per query first; their spread is
reported apart. Intervals are percentiles (2.5 % and 97.5 % by default); two systems are "apart" when the interval of
their paired difference excludes 0.

Everything is sums: a draw is a row of weights over clusters [D, C], a stratum's draw of all means is one product of
weights and per-cluster sums [C, A]. 24 sports × 5 systems × 2,000 draws take well under a second.
Legend: A systems, S strata, C clusters of a stratum, D draws.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import polars as pl
from numpy.typing import NDArray

Floats = NDArray[np.float64]
KEY = ("system", "query_id", "metric")


@dataclass(frozen=True)
class Interval:
    """A number and its percentile interval; low and high are None where one cluster gives nothing to resample."""

    value: float
    low: float | None
    high: float | None

    def excludes(self, number: float) -> bool | None:
        """Whether ``number`` lies outside; None without an interval."""
        return None if self.low is None or self.high is None else not self.low <= number <= self.high


@dataclass(frozen=True)
class Resampled:
    """The means of all systems in all strata, as measured and in each draw; the same clusters for every system."""

    systems: tuple[str, ...]
    strata: tuple[str, ...]
    measured_SA: Floats
    drawn_SAD: Floats
    queries_S: NDArray[np.int64]
    clusters_S: NDArray[np.int64]
    level: float = 0.95

    def stratum(self, system: str, stratum: str) -> Interval:
        """The system's mean in one stratum, with its interval; without one when there is a single cluster."""
        row, column = self.strata.index(stratum), self.systems.index(system)
        value = float(self.measured_SA[row, column])
        if not self.clusters_S[row] > 1:
            return Interval(value, None, None)
        low, high = self._bounds_SA[:, row, column]
        return Interval(value, float(low), float(high))

    @cached_property
    def _bounds_SA(self) -> Floats:
        """The percentiles of every system in every stratum at once, [2, S, A]."""
        tail = (1 - self.level) / 2
        return np.quantile(self.drawn_SAD, [tail, 1 - tail], axis=2)

    def macro(self, system: str) -> Interval:
        """The mean over strata of the stratum's mean: every sport counts once."""
        column = self.systems.index(system)
        return self._macro(self.measured_SA[:, column], self.drawn_SAD[:, column])

    def difference(self, system: str, baseline: str, *, stratum: str | None = None) -> Interval:
        """``system`` minus ``baseline``, paired: of the macro means, or within one stratum."""
        one, two = self.systems.index(system), self.systems.index(baseline)
        measured = self.measured_SA[:, one] - self.measured_SA[:, two]
        drawn = self.drawn_SAD[:, one] - self.drawn_SAD[:, two]
        if stratum is None:
            return self._macro(measured, drawn)
        row = self.strata.index(stratum)
        return self._interval(measured[row], drawn[row], bool(self.clusters_S[row] > 1))

    def ratio(self, system: str, baseline: str, *, stratum: str | None = None) -> Interval:
        """Macro mean over macro mean (never a mean of per-stratum ratios), or within one stratum; inf over 0."""
        rows = self._rows(stratum)
        return self._quotient(self._means(system, rows), self._means(baseline, rows), rows)

    def share(self, system: str, low: str, high: str) -> Interval:
        """How far ``system`` is on the way from ``low`` to ``high``, of macro means: 0 at ``low``, 1 at ``high``."""
        rows = self._rows(None)
        (here, drawn_D), (start, starts_D), (end, ends_D) = (self._means(name, rows) for name in (system, low, high))
        return self._quotient((here - start, drawn_D - starts_D), (end - start, ends_D - starts_D), rows)

    def _rows(self, stratum: str | None) -> slice:
        first = 0 if stratum is None else self.strata.index(stratum)
        return slice(first, len(self.strata) if stratum is None else first + 1)

    def _means(self, system: str, rows: slice) -> tuple[float, Floats]:
        column = self.systems.index(system)
        return float(self.measured_SA[rows, column].mean()), self.drawn_SAD[rows, column].mean(axis=0)

    def _quotient(self, above: tuple[float, Floats], below: tuple[float, Floats], rows: slice) -> Interval:
        with np.errstate(divide="ignore", invalid="ignore"):
            measured, drawn_D = np.float64(above[0]) / below[0], above[1] / below[1]
        drawn_D = np.nan_to_num(drawn_D, nan=1.0, posinf=np.inf, neginf=-np.inf)
        return self._interval(measured, drawn_D, bool((self.clusters_S[rows] > 1).all()))

    def _macro(self, measured_S: Floats, drawn_SD: Floats) -> Interval:
        return self._interval(measured_S.mean(), drawn_SD.mean(axis=0), bool((self.clusters_S > 1).all()))

    def _interval(self, value: float, drawn_D: Floats, enough: bool) -> Interval:
        if not enough:
            return Interval(float(value), None, None)
        tail = (1 - self.level) / 2
        how = "linear" if np.isfinite(drawn_D).all() else "nearest"  # nothing lies between a number and infinity
        low, high = np.quantile(drawn_D, [tail, 1 - tail], method=how)  # type: ignore[call-overload]
        return Interval(float(value), float(low), float(high))


def average_seeds(scores: pl.DataFrame) -> pl.DataFrame:
    """One row for each system, query and metric: the mean over seeds. A query that lacks a seed is an error."""
    averaged = scores.group_by(*KEY).agg(
        pl.col("value").mean(),
        pl.col("chance").mean(),
        pl.col("sport").first(),
        pl.col("cluster").first(),
        seeds=pl.col("seed").n_unique(),
    )
    uneven = averaged.group_by("system", "metric").agg(pl.col("seeds").n_unique()).filter(pl.col("seeds") > 1)
    if uneven.height:
        row = uneven.sort("system", "metric").row(0, named=True)
        raise ValueError(
            f"{row['system']}: some queries of {row['metric']} lack a seed that others have: rerun the stage that "
            "scored them, so that every query has every seed"
        )
    return averaged.drop("seeds").sort(*KEY)


def resample(
    scores: pl.DataFrame, *, draws: int, seed: int, stratum: str | None = "sport", level: float = 0.95
) -> Resampled:
    """Bootstrap one metric over clusters within strata (``stratum=None``: one stratum of all queries, named ``all``).

    ``scores``: rows of Scores of a single metric; rows without a value are left out. All systems must have answered the
    same queries, else the comparison would not be paired: ValueError names what is missing. A stratum's draws depend on
    ``seed`` and its own name only, so adding a sport changes no other sport's interval.
    """
    rows = average_seeds(scores).filter(pl.col("value").is_not_null())
    if rows["metric"].n_unique() > 1:
        raise ValueError(f"resample takes one metric at a time, not {', '.join(sorted(rows['metric'].unique()))}")
    rows = rows.with_columns(stratum=pl.lit("all") if stratum is None else pl.col(stratum))
    systems = tuple(sorted(rows["system"].unique()))
    measured, drawn, queries, clusters, names = [], [], [], [], []
    for name, sums_CA, counts_C in _strata(rows, systems):
        weights_DC = _weights(len(counts_C), draws=draws, seed=seed, name=name)
        names.append(name)
        measured.append(sums_CA.sum(axis=0) / counts_C.sum())
        drawn.append(((weights_DC @ sums_CA) / (weights_DC @ counts_C)[:, None]).T)
        queries.append(int(counts_C.sum()))
        clusters.append(len(counts_C))
    shape = (0, len(systems))
    return Resampled(
        systems,
        tuple(names),
        np.array(measured) if names else np.zeros(shape),
        np.array(drawn) if names else np.zeros((*shape, draws)),
        np.array(queries, dtype=np.int64),
        np.array(clusters, dtype=np.int64),
        level,
    )


def _strata(rows: pl.DataFrame, systems: tuple[str, ...]) -> Iterator[tuple[str, Floats, Floats]]:
    """For each stratum: its name, the sums of scores by cluster and system [C, A], the queries by cluster [C]."""
    wide = rows.pivot("system", index=["stratum", "cluster", "query_id"], values="value").sort(
        "stratum", "cluster", "query_id"
    )
    for system in systems:
        missing = wide.filter(pl.col(system).is_null())
        if missing.height:
            raise ValueError(
                f"{system} has no score for {missing.height} queries that others answered, first "
                f"{missing['query_id'][0]!r}: differences must be paired; score all systems on the same queries"
            )
    summed = wide.group_by("stratum", "cluster", maintain_order=True).agg(pl.col(systems).sum(), count=pl.len())
    for (name,), part in summed.group_by("stratum", maintain_order=True):
        yield str(name), part.select(systems).to_numpy().astype(np.float64), part["count"].to_numpy().astype(np.float64)


def _weights(clusters: int, *, draws: int, seed: int, name: str) -> Floats:
    """How often each cluster is drawn, [D, C]; each row sums to C."""
    generator = np.random.default_rng([seed, *name.encode()])
    return generator.multinomial(clusters, np.full(clusters, 1 / clusters), size=draws).astype(np.float64)


def randomisation_p(
    differences: np.ndarray, clusters: Sequence[str], *, flips: int = 10_000, seed: int = 0
) -> float | None:
    """Two-sided p of a mean paired difference: how often whole clusters with random signs give one as far from 0.

    If the systems were alike, either could have been called the first, for each cluster (participant) by itself.
    The measured signs count as one of the draws, so p is never 0: at least 1 / (flips + 1). None for one cluster.
    """
    names, places = np.unique(np.asarray(clusters), return_inverse=True)
    if len(names) < 2:
        return None
    sums_C = np.bincount(places, np.asarray(differences, np.float64))
    signs_FC = np.random.default_rng([seed, 59]).integers(0, 2, (flips, len(names)), dtype=np.int8) * 2 - 1
    as_far = np.abs(signs_FC @ sums_C) >= abs(sums_C.sum()) - 1e-9
    return float((1 + as_far.sum()) / (1 + flips))


def mean_interval(
    values: np.ndarray, clusters: Sequence[str], *, draws: int, seed: int, level: float = 0.95
) -> tuple[float | None, float | None]:
    """Percentile bounds of the mean of ``values``, whole clusters drawn; (None, None) for one cluster."""
    names, places = np.unique(np.asarray(clusters), return_inverse=True)
    if len(names) < 2:
        return None, None
    weights_DC = _weights(len(names), draws=draws, seed=seed, name="all")
    means_D = (weights_DC @ np.bincount(places, np.asarray(values, np.float64))) / (weights_DC @ np.bincount(places))
    low, high = np.quantile(means_D, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


def paired_p(scores: pl.DataFrame, system: str, baseline: str, *, seed: int = 0) -> float | None:
    """:func:`randomisation_p` of one metric's scores, seeds averaged per query, over the queries that both answered."""
    rows = average_seeds(scores.filter(pl.col("system").is_in([system, baseline]))).filter(
        pl.col("value").is_not_null()
    )
    wide = rows.pivot("system", index=["query_id", "cluster"], values="value").drop_nulls().sort("query_id")
    return randomisation_p((wide[system] - wide[baseline]).to_numpy(), wide["cluster"].to_list(), seed=seed)


def seed_spread(scores: pl.DataFrame) -> pl.DataFrame:
    """Macro means by seed: system, metric, seeds, mean, sd, lowest, highest (sd is null for one seed)."""
    keys = ["system", "metric", "seed", "sport"]
    by_sport = scores.filter(pl.col("value").is_not_null()).group_by(keys).agg(pl.col("value").mean()).sort(keys)
    by_seed = by_sport.group_by(keys[:3], maintain_order=True).agg(pl.col("value").mean())  # in order: sums repeat
    return (
        by_seed.group_by("system", "metric", maintain_order=True)
        .agg(
            seeds=pl.len(),
            mean=pl.col("value").mean(),
            sd=pl.col("value").std(),
            lowest=pl.col("value").min(),
            highest=pl.col("value").max(),
        )
        .sort("metric", "system")
    )
