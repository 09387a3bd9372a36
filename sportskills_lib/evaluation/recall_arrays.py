"""From similarities to per-query values, in arrays: the part of recall that costs time.

A task's layout (which items are whose, in which sport) is the same for every arm, so it is laid out
once; then each arm is a matrix of similarities, taken in chunks of queries. Within-sport galleries
are columns of the same matrix. Legend: Q queries, N gallery items, P pairs of a query and one of
its own items, C queries of a chunk.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from sportskills_lib import metrics
from sportskills_lib.metrics import HEADLINE_K

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
# The k of the recall metrics. A further one, such as 20, adds its rows to the tables of recall;
# figures and sentences stay at the headline's k.
RECALL_AT = (1, 5, HEADLINE_K)
CHUNK = 1024  # queries scored at once, at most
CELLS = 4_000_000  # similarities in memory, as far as one row fits
WITHIN, FIXED, ACROSS = "within_sport", "within_sport_fixed", "across_sports"


def recall_names(kind: Literal["single", "multi"]) -> dict[int, str]:
    """The names of recall by k of :data:`RECALL_AT`, ``recall@k_single``.

    ``single`` counts a query's own items, ``multi`` all relevant ones.
    """
    return {k: f"{metrics.at_k('recall', k)}_{kind}" for k in RECALL_AT}


RANK, HIT = "rank", metrics.at_k("hit")
SINGLE, MULTI = recall_names("single")[HEADLINE_K], recall_names("multi")[HEADLINE_K]


@dataclass(frozen=True)
class Metric:
    """How a metric is computed: in a whole gallery, expected in galleries of one size, by chance.

    Of a query's own items (:func:`own_metrics`): ``value(ranks)``, ``fixed(ranks, n_gallery,
    size=…)``. Of all relevant items (:func:`relevant_metrics`): ``value(flags, n_relevant)``,
    ``fixed(flags, n_gallery, size=…)``, flags [Q, rank]. ``chance(n_relevant, n_gallery)``.
    """

    value: Callable[..., NDArray[Any]]
    fixed: Callable[..., Floats]
    chance: Callable[[Ints, Ints], Floats]


def own_metrics() -> dict[str, Metric]:
    """The metrics of a query's own items, a mean over them, by name."""
    return {
        name: Metric(
            value=partial(np.greater_equal, k),
            fixed=partial(metrics.fixed_gallery_recall, k=k),
            chance=partial(_chance_own, k=k),
        )
        for k, name in recall_names("single").items()
    }


def _chance_own(_: Ints, n_gallery: Ints, *, k: int) -> Floats:
    return metrics.chance_recall(n_gallery, k=k)


def relevant_metrics() -> dict[str, Metric]:
    """The metrics of all that is relevant for a query, by name."""
    recalls = {
        name: Metric(
            value=partial(metrics.recall_multi_at_k, k=k),
            fixed=partial(metrics.fixed_gallery_recall_multi, k=k),
            chance=partial(metrics.chance_recall_multi, k=k),
        )
        for k, name in recall_names("multi").items()
    }
    return recalls | {HIT: Metric(metrics.hit_at_k, metrics.fixed_gallery_hit, metrics.chance_hit)}


RANKS = Metric(
    value=lambda ranks: ranks.astype(np.float64),
    fixed=metrics.fixed_gallery_rank,
    chance=lambda _, n_gallery: metrics.chance_rank(n_gallery),
)


@dataclass(frozen=True)
class Layout:
    """Who asks, who is asked for: sports as codes, pairs as (query row, gallery column), by query,
    then column.
    """

    sport_Q: Ints
    sport_N: Ints
    own_P2: Ints
    relevant_P2: Ints  # without a row where nobody knows what else is relevant

    @property
    def gallery_Q(self) -> Ints:
        """How many gallery items each query's sport has."""
        return np.bincount(self.sport_N, minlength=int(self.sport_Q.max(initial=0)) + 1)[
            self.sport_Q
        ]


@dataclass(frozen=True)
class Scored:
    """What one arm reached: ``values[scope, metric]`` [Q], and the best items by scope,
    [Q, HEADLINE_K], −1 where none is left.

    A value is NaN where it is not defined: no relevant item is known, or the gallery is smaller
    than the fixed size.
    """

    values: dict[tuple[str, str], Floats]
    tops: dict[str, Ints] = field(default_factory=dict)
    best: dict[str, Floats] = field(default_factory=dict)


def similarity(one: Floats, two: Floats) -> Floats:
    """Cosines, rounded to 1e-9: equal vectors then tie exactly, whatever order the processor adds
    in.
    """
    return np.round(one @ two.T, 9)


def score(asked_QD: Floats, offered_ND: Floats, layout: Layout, size: int) -> Scored:
    """Every metric of one arm in every scope, for all queries; chunks of queries change nothing.

    ``size``: of the equal-sized galleries.
    """
    values: dict[tuple[str, str], Floats] = {}
    tops = {
        scope: np.full((len(asked_QD), HEADLINE_K), -1, dtype=np.int64)
        for scope in (WITHIN, ACROSS)
    }
    best = {scope: np.full((len(asked_QD), HEADLINE_K), np.nan) for scope in (WITHIN, ACROSS)}
    # In order of sport, so that a chunk holds few sports; the order does not enter any value.
    order = np.argsort(layout.sport_Q, kind="stable")
    step = max(1, min(CHUNK, CELLS // max(1, len(offered_ND))))
    for start in range(0, len(order), step):
        rows_C = order[start : start + step]
        part = Chunk(similarity(asked_QD[rows_C], offered_ND), rows_C, layout)
        for key, value in (*part.single(size), *part.ranked(tops, best, size)):
            values.setdefault(key, np.full(len(asked_QD), np.nan))[rows_C] = value
    return Scored(values, tops, best)


@dataclass(frozen=True)
class Chunk:
    """Some queries of a task with their similarities to the whole gallery."""

    scores_CN: Floats
    rows_C: Ints
    layout: Layout

    def single(self, size: int) -> Iterator[tuple[tuple[str, str], Floats]]:
        """Mean over a query's own items of whether (or how likely) each stands in the top k; the
        rank of the first.
        """
        query_P, column_P = _pairs_of(self.rows_C, self.layout.own_P2)
        scores_PN = self.scores_CN[query_P]
        own_P = np.take_along_axis(scores_PN, column_P[:, None], axis=1)
        above_PN = scores_PN > own_P
        tied_PN = scores_PN == own_P
        if tied_PN.sum() > len(column_P):  # beside each with itself
            above_PN |= tied_PN & (np.arange(scores_PN.shape[1]) < column_P[:, None])
        same_PN = self.layout.sport_N == self.layout.sport_Q[self.rows_C][query_P][:, None]
        gallery_P = self.layout.gallery_Q[self.rows_C][query_P]
        ranks = {ACROSS: 1 + above_PN.sum(axis=1), WITHIN: 1 + (above_PN & same_PN).sum(axis=1)}
        count_C = np.maximum(np.bincount(query_P, minlength=len(self.rows_C)), 1)
        first_C = np.searchsorted(query_P, np.arange(len(self.rows_C)))
        own = own_metrics()
        values = {(scope, name): metric.value(rank_P) for scope, rank_P in ranks.items()
                  for name, metric in own.items()}  # fmt: skip
        values |= {
            (FIXED, name): metric.fixed(ranks[WITHIN], gallery_P, size=size)
            for name, metric in own.items()
        }
        for key, value_P in values.items():
            yield key, np.bincount(query_P, value_P, minlength=len(count_C)) / count_C
        for scope, rank_P in ranks.items():
            yield (scope, RANK), RANKS.value(rank_P[first_C])
        yield (FIXED, RANK), RANKS.fixed(ranks[WITHIN], gallery_P, size=size)[first_C]

    def ranked(
        self, tops: dict[str, Ints], best: dict[str, Floats], size: int
    ) -> Iterator[tuple[tuple[str, str], Floats]]:
        """Fill in the best items of each query; yield what counts all relevant items, where any are
        known.
        """
        relevant_CN = np.zeros(self.scores_CN.shape, dtype=bool)
        query_P, column_P = _pairs_of(self.rows_C, self.layout.relevant_P2)
        relevant_CN[query_P, column_P] = True
        deepest = max(RECALL_AT)
        top_CK = metrics.ranking(self.scores_CN, k=deepest)
        self._keep(ACROSS, slice(None), top_CK[:, :HEADLINE_K], tops, best)
        size_C = relevant_CN.sum(axis=1)
        for name, value in _counted(np.take_along_axis(relevant_CN, top_CK, axis=1), size_C):
            yield (ACROSS, name), value
        found: dict[tuple[str, str], Floats] = {}
        for sport in np.unique(self.layout.sport_Q[self.rows_C]):
            at = np.flatnonzero(self.layout.sport_Q[self.rows_C] == sport)
            columns = np.flatnonzero(self.layout.sport_N == sport)
            order = metrics.ranking(self.scores_CN[np.ix_(at, columns)])
            self._keep(WITHIN, at, columns[order[:, :HEADLINE_K]], tops, best)
            flags = np.take_along_axis(relevant_CN[np.ix_(at, columns)], order, axis=1)
            pages = [(WITHIN, *one) for one in _counted(flags[:, :deepest], size_C[at])]
            for name, metric in relevant_metrics().items() if len(query_P) else ():
                pages.append((FIXED, name, metric.fixed(flags, len(columns), size=size)))
            for scope, name, value in pages:
                found.setdefault((scope, name), np.full(len(self.rows_C), np.nan))[at] = value
        yield from found.items()

    def _keep(
        self,
        scope: str,
        at: slice | Ints,
        top: Ints,
        tops: dict[str, Ints],
        best: dict[str, Floats],
    ) -> None:
        tops[scope][self.rows_C[at], : top.shape[1]] = top
        best[scope][self.rows_C[at], : top.shape[1]] = np.take_along_axis(
            self.scores_CN[at], top, axis=1
        )


def _pairs_of(rows_C: Ints, pairs_P2: Ints) -> tuple[Ints, Ints]:
    """The pairs of these queries, as (place in the chunk, column), in the chunk's order."""
    place = np.full(int(max(rows_C.max(initial=-1), pairs_P2[:, 0].max(initial=-1))) + 1, -1)
    place[rows_C] = np.arange(len(rows_C))
    at_P = place[pairs_P2[:, 0]]
    mine = np.flatnonzero(at_P >= 0)
    mine = mine[np.argsort(at_P[mine], kind="stable")]
    return at_P[mine], pairs_P2[mine, 1]


def _counted(flags: NDArray[np.bool_], n_relevant: Ints) -> Iterator[tuple[str, Floats]]:
    if n_relevant.any():
        for name, metric in relevant_metrics().items():
            yield name, metric.value(flags, n_relevant)
