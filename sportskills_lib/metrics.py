"""Retrieval metrics and their chance levels: one function each, used while training and in
evaluation.

Scores are arrays [Q, N]: Q queries, N gallery items, higher is better. The gallery's columns stand
in order of clip_id, so that "ties: score, then clip_id" is "the earlier column first"
(``tie="ascending"``); trec_eval breaks ties by document id descending (``tie="descending"``). NaN
never ranks: it is an error.

Two kinds of input: ``scores`` with the column of one positive, or ``ranked``, an array [Q, K] that
says of the items at rank 1 … K whether they are relevant (bool) or how much (gain). Every metric
returns one number per query, NaN where it is not defined (no relevant item); every ``chance_*``
returns the expectation under a random order, in closed form, and every ``fixed_gallery_*`` the
expectation over galleries of one size that are drawn from a larger one.
"""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

Tie = Literal["ascending", "descending"]
Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

# k of the headline metric. Names of metrics, columns, labels and sentences are derived from it by
# at_k; which other k recall is measured at is set by evaluation.recall_arrays.RECALL_AT.
HEADLINE_K = 10


def at_k(name: str, k: int = HEADLINE_K) -> str:
    """The name of a metric with its cutoff, ``name@k``: in tables as in labels."""
    return f"{name}@{k}"


def _checked(scores: ArrayLike) -> NDArray[Any]:
    array = np.asarray(scores)
    if array.ndim != 2:
        raise ValueError(f"scores have shape {array.shape}: give [queries, gallery items]")
    if np.isnan(array).any():
        query, item = np.argwhere(np.isnan(array))[0]
        raise ValueError(
            f"the score of query {query} and item {item} is NaN: a model that diverged cannot "
            "be ranked"
        )
    return array


# ------------------------------------------------------------------------------------------ ranking


def ranking(scores: ArrayLike, *, k: int | None = None, tie: Tie = "ascending") -> Ints:
    """Columns of the gallery, best first, [Q, k] (all by default); equal scores in column order, or
    reversed.
    """
    array = _checked(scores)
    width = array.shape[1]
    if tie == "descending":
        return width - 1 - ranking(array[:, ::-1], k=k)
    if k is None or k >= width:
        return np.argsort(-array, axis=1, kind="stable").astype(np.int64)
    # Everything from the k-th score up, in order of row, score and column: the first k of each row.
    kth = np.partition(array, width - k, axis=1)[:, width - k, None]
    rows, columns = np.nonzero(array >= kth)
    order = np.lexsort((columns, -array[rows, columns], rows))
    first = np.searchsorted(rows, np.arange(len(array)))
    return columns[order][first[:, None] + np.arange(k)].astype(np.int64)


def positive_ranks(scores: ArrayLike, positive: ArrayLike, *, tie: Tie = "ascending") -> Ints:
    """The rank (from 1) of one item for each query, [Q]: better scores, and equal ones that win the
    tie, come first.
    """
    array, column = _checked(scores), np.asarray(positive, dtype=np.int64)
    outside = column[(column < 0) | (column >= array.shape[1])]
    if len(outside):
        raise ValueError(
            f"a positive stands in column {outside[0]}; the gallery has {array.shape[1]} items"
        )
    own = np.take_along_axis(array, column[:, None], axis=1)
    index = np.arange(array.shape[1])[None, :]
    wins_tie = index < column[:, None] if tie == "ascending" else index > column[:, None]
    return 1 + ((array > own) | ((array == own) & wins_tie)).sum(axis=1).astype(np.int64)


# ------------------------------------------------------------------------------------------ metrics


def found_at_k(ranked: ArrayLike, n_relevant: ArrayLike, *, k: int = HEADLINE_K) -> Floats:
    """|top k ∩ P| / |P|: the textbook's (and trec_eval's) recall; cannot reach 1 where |P| > k."""
    return _ratio(_relevant(ranked)[:, :k].sum(axis=1), np.asarray(n_relevant, dtype=np.float64))


def recall_multi_at_k(ranked: ArrayLike, n_relevant: ArrayLike, *, k: int = HEADLINE_K) -> Floats:
    """recall@k_multi: |top k ∩ P| / min(k, |P|), so that a perfect ranking scores 1."""
    n_relevant = np.asarray(n_relevant, dtype=np.float64)
    return _ratio(_relevant(ranked)[:, :k].sum(axis=1), np.minimum(k, n_relevant))


def precision_at_k(ranked: ArrayLike, *, k: int = HEADLINE_K) -> Floats:
    """|top k ∩ P| / k, also where fewer than k items are ranked."""
    return _relevant(ranked)[:, :k].sum(axis=1) / float(k)


def hit_at_k(ranked: ArrayLike, n_relevant: ArrayLike, *, k: int = HEADLINE_K) -> Floats:
    """1 where any relevant item is among the top k, else 0: not recall, as soon as a query has two
    relevant items.
    """
    hits = _relevant(ranked)[:, :k].any(axis=1).astype(np.float64)
    return np.where(np.asarray(n_relevant) > 0, hits, np.nan)


def reciprocal_rank(ranked: ArrayLike, n_relevant: ArrayLike) -> Floats:
    """1 / rank of the first relevant item; 0 where there is one, but not among the ranked."""
    relevant = _relevant(ranked)
    first = np.where(relevant.any(axis=1), 1.0 / (1 + relevant.argmax(axis=1)), 0.0)
    return np.where(np.asarray(n_relevant) > 0, first, np.nan)


def ndcg_at_k(ranked_gains: ArrayLike, judged_gains: ArrayLike, *, k: int = HEADLINE_K) -> Floats:
    """DCG@k / ideal DCG@k with gain = grade and discount 1 / log2(rank + 1), as trec_eval's
    ndcg_cut.

    ``judged_gains`` [Q, J]: the gains of all judged items, ranked or not, padded with 0; negative
    grades count as 0.
    """
    ideal = -np.sort(-_gains(judged_gains), axis=1)
    return _ratio(_dcg(_gains(ranked_gains), k), _dcg(ideal, k))


def pairwise_auc(better: ArrayLike, worse: ArrayLike) -> Floats:
    """The share of pairs of a ``better`` and a ``worse`` item in which the better one is ranked
    higher (AUC); both bool [Q, K], by rank; NaN without a pair. Chance is one half.
    """
    upper, lower = _relevant(better), _relevant(worse)
    total = lower.sum(axis=1, keepdims=True)
    won = ((total - np.cumsum(lower, axis=1)) * upper).sum(axis=1)
    return _ratio(won, upper.sum(axis=1) * total[:, 0])


# -------------------------------------------------------------------- galleries of one size for all


def chance_of_room(
    better: ArrayLike, others: ArrayLike, drawn: ArrayLike, room: ArrayLike
) -> Floats:
    """P(X ≤ room), X of ``better`` among ``drawn`` items drawn without replacement from ``others``
    (hypergeometric).

    With ``better`` the number of items that a query ranks above its own, it is the chance that at
    most ``room`` of them stand in a gallery drawn at random. Arrays broadcast; NaN where more are
    drawn than there are; 0 for room < 0.
    """
    from scipy.stats import hypergeom

    others, drawn = np.broadcast_arrays(np.asarray(others), np.asarray(drawn))
    possible = (drawn >= 0) & (drawn <= others)
    # of none, nothing is drawn: scipy asks for at least one
    chance = hypergeom.cdf(room, np.maximum(others, 1), better, np.where(possible, drawn, 0))
    return np.where(possible, np.round(chance, 12), np.nan)


def fixed_gallery_recall(
    ranks: ArrayLike, n_gallery: ArrayLike, *, size: int, k: int = HEADLINE_K
) -> Floats:
    """The expected recall@k of an item in a gallery of ``size``: the item and size − 1 others drawn
    at random.

    ``ranks``: the item's rank among all ``n_gallery``. Exact: the mean over seeded draws tends to
    this number, and their noise is no part of it. NaN where the gallery has fewer than ``size``
    items.
    """
    return chance_of_room(np.asarray(ranks) - 1, np.asarray(n_gallery) - 1, size - 1, k - 1)


def fixed_gallery_rank(ranks: ArrayLike, n_gallery: ArrayLike, *, size: int) -> Floats:
    """The expected rank of the item in such a gallery: 1 + (rank − 1) (size − 1) / (n_gallery −
    1).
    """
    ranks, n_gallery = np.broadcast_arrays(
        np.asarray(ranks, np.float64), np.asarray(n_gallery, np.float64)
    )
    spread = 1 + (ranks - 1) * (size - 1) / np.maximum(n_gallery - 1, 1)
    return np.where(n_gallery >= size, spread, np.nan)


def fixed_gallery_recall_multi(
    ranked: ArrayLike, n_gallery: int, *, size: int, k: int = HEADLINE_K
) -> Floats:
    """Expected recall@k_multi in a gallery of ``size`` that holds all relevant items and others at
    random.

    ``ranked`` [Q, n_gallery]: whether the item at each rank is relevant. NaN without a relevant
    item, and where the gallery has fewer than ``size`` items or more relevant ones than ``size``.
    """
    relevant = _relevant(ranked)
    n_relevant = relevant.sum(axis=1)
    others, drawn = n_gallery - n_relevant, size - n_relevant
    query, place = np.nonzero(relevant)
    before = (np.cumsum(relevant, axis=1) - 1)[query, place]  # relevant items above
    found = chance_of_room(place - before, others[query], drawn[query], k - 1 - before)
    recall = _ratio(np.bincount(query, found, minlength=len(relevant)), np.minimum(k, n_relevant))
    return np.where((drawn < 0) | (n_gallery < size), np.nan, recall)


def fixed_gallery_hit(
    ranked: ArrayLike, n_gallery: int, *, size: int, k: int = HEADLINE_K
) -> Floats:
    """Expected hit@k in such a gallery (:func:`fixed_gallery_recall_multi`)."""
    relevant = _relevant(ranked)
    n_relevant = relevant.sum(axis=1)
    drawn = size - n_relevant
    first = chance_of_room(relevant.argmax(axis=1), n_gallery - n_relevant, drawn, k - 1)
    return np.where((drawn < 0) | (n_relevant == 0) | (n_gallery < size), np.nan, first)


def fixed_gallery_guess(
    alike: ArrayLike, n_gallery: ArrayLike, *, size: int, k: int = HEADLINE_K
) -> Floats:
    """The expected recall@k of one who knows the item's group of ``alike`` items and guesses among
    them.

    E min(1, k / (1 + X)), X: how many of the alike − 1 others stand in a gallery of ``size`` drawn
    as above.
    """
    from scipy.stats import hypergeom

    n_gallery, companions = np.asarray(n_gallery), np.asarray(alike) - 1
    x = np.arange(min(companions.max(initial=0), size - 1) + 1)[:, None]
    others = np.maximum(n_gallery - 1, max(size - 1, 1))
    chance = hypergeom.pmf(x, others, companions, size - 1)
    expected = (np.minimum(1.0, k / (1 + x)) * chance).sum(axis=0)
    return np.where(n_gallery >= size, np.round(expected, 12), np.nan)


# ------------------------------------------------------------------------------------ chance levels


def chance_recall(n_gallery: ArrayLike, *, k: int = HEADLINE_K) -> Floats:
    """k / N, the chance of recall@k_single and of :func:`found_at_k`; 1 where the gallery is
    smaller than k.
    """
    return np.minimum(1.0, k / np.asarray(n_gallery, dtype=np.float64))


def chance_recall_multi(
    n_relevant: ArrayLike, n_gallery: ArrayLike, *, k: int = HEADLINE_K
) -> Floats:
    """(k |P| / N) / min(k, |P|); NaN where the gallery cannot hold P."""
    n_relevant = np.asarray(n_relevant, dtype=np.float64)
    n_gallery = np.asarray(n_gallery, dtype=np.float64)
    expected = np.where(
        n_relevant <= n_gallery, np.minimum(k, n_gallery) * n_relevant / n_gallery, np.nan
    )
    return _ratio(expected, np.minimum(k, n_relevant))


def chance_hit(n_relevant: ArrayLike, n_gallery: ArrayLike, *, k: int = HEADLINE_K) -> Floats:
    """1 − C(N − |P|, k) / C(N, k): the hypergeometric chance that k draws without replacement meet
    P.
    """
    from scipy.stats import hypergeom

    n_relevant = np.asarray(n_relevant)
    hit = hypergeom.sf(0, n_gallery, n_relevant, np.minimum(k, n_gallery))
    return np.where(n_relevant > 0, hit, np.nan)


def chance_reciprocal_rank(n_relevant: ArrayLike, n_gallery: ArrayLike) -> Floats:
    """Σ 1/r · P(the first relevant item stands at rank r)."""
    n_relevant, n_gallery = np.broadcast_arrays(
        np.asarray(n_relevant, dtype=np.float64), np.asarray(n_gallery, dtype=np.float64)
    )
    none_yet, total = np.ones(n_relevant.shape), np.zeros(n_relevant.shape)
    for rank in range(1, int(n_gallery.max(initial=0)) + 1):
        left = np.maximum(n_gallery - rank + 1, 1.0)
        found = np.clip(n_relevant / left, 0.0, 1.0) * (rank <= n_gallery)
        total, none_yet = total + none_yet * found / rank, none_yet * (1 - found)
    return np.where((n_relevant > 0) & (n_relevant <= n_gallery), total, np.nan)


def chance_ndcg(judged_gains: ArrayLike, n_candidates: ArrayLike, *, k: int = HEADLINE_K) -> Floats:
    """Mean gain of a candidate × Σ discounts of the ranks filled, over the ideal DCG."""
    gains, n_candidates = _gains(judged_gains), np.asarray(n_candidates, dtype=np.int64)
    filled = np.concatenate([[0.0], np.cumsum(_discounts(k))])[np.minimum(k, n_candidates)]
    mean_gain = gains.sum(axis=1) / np.maximum(n_candidates, 1)
    return _ratio(mean_gain * filled, _dcg(-np.sort(-gains, axis=1), k))


def chance_rank(n_gallery: ArrayLike) -> Floats:
    """(N + 1) / 2: the expected (and median) rank of one positive."""
    return (np.asarray(n_gallery, dtype=np.float64) + 1) / 2


# ------------------------------------------------------------------------------------------ helpers


def _relevant(ranked: ArrayLike) -> NDArray[np.bool_]:
    array = np.asarray(ranked)
    if array.ndim != 2:
        raise ValueError(f"ranked relevance has shape {array.shape}: give [queries, ranks]")
    return array > 0


def _gains(gains: ArrayLike) -> Floats:
    array = np.asarray(gains, dtype=np.float64)
    if array.ndim != 2:
        raise ValueError(f"gains have shape {array.shape}: give [queries, items]")
    return np.maximum(array, 0.0)


def _discounts(k: int) -> Floats:
    return 1.0 / np.log2(np.arange(2, k + 2))


def _dcg(gains: Floats, k: int) -> Floats:
    top = gains[:, :k]
    return top @ _discounts(top.shape[1])


def _ratio(above: ArrayLike, below: ArrayLike) -> Floats:
    above, below = np.broadcast_arrays(
        np.asarray(above, dtype=np.float64), np.asarray(below, dtype=np.float64)
    )
    return np.divide(above, below, out=np.full(above.shape, np.nan), where=below > 0)
