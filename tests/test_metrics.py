"""Every metric against a naive version with ties, every chance level against enumeration, and all
against trec_eval.
"""

from __future__ import annotations

import itertools
import math
import os
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sportskills_lib import metrics

TREC = (
    Path(os.environ.get("SPORTSKILLS_REAL_DATA", Path(__file__).parents[2] / "shared" / "real"))
    / "trec_eval"
)


def naive_order(row, tie):
    """Column indices best first, by sorting pairs: the definition, word for word."""
    sign = 1 if tie == "ascending" else -1
    return [
        column
        for _, _, column in sorted(
            (-score, sign * column, column) for column, score in enumerate(row)
        )
    ]


scores_with_ties = st.integers(1, 6).flatmap(
    lambda queries: st.integers(1, 12).flatmap(
        lambda items: st.lists(
            st.lists(st.sampled_from([-1.0, 0.0, 0.5, 2.0]), min_size=items, max_size=items),
            min_size=queries,
            max_size=queries,
        )
    )
)
ties = st.sampled_from(["ascending", "descending"])


@given(scores_with_ties, ties, st.integers(1, 14))
@settings(deadline=None)
def test_ranking_is_the_naive_order_with_ties(scores, tie, k):
    expected = [naive_order(row, tie) for row in scores]
    np.testing.assert_array_equal(metrics.ranking(scores, tie=tie), expected)
    np.testing.assert_array_equal(
        metrics.ranking(scores, k=k, tie=tie), [row[:k] for row in expected]
    )


@given(scores_with_ties, ties, st.randoms(use_true_random=False))
@settings(deadline=None)
def test_the_rank_of_a_single_positive_equals_the_naive_one(scores, tie, random):
    positive = [random.randrange(len(scores[0])) for _ in scores]
    ranks = [
        naive_order(row, tie).index(column) + 1
        for row, column in zip(scores, positive, strict=True)
    ]
    np.testing.assert_array_equal(metrics.positive_ranks(scores, positive, tie=tie), ranks)


@given(scores_with_ties, st.integers(1, 12), st.randoms(use_true_random=False))
@settings(deadline=None)
def test_set_metrics_equal_the_naive_ones(scores, k, random):
    gains = [[random.choice([0, 0, 1, 2, 3]) for _ in row] for row in scores]
    order = metrics.ranking(scores)
    ranked = np.take_along_axis(np.array(gains), order, axis=1)
    n_relevant = (np.array(gains) > 0).sum(axis=1)
    results = {
        "multi": metrics.recall_multi_at_k(ranked > 0, n_relevant, k=k),
        "found": metrics.found_at_k(ranked > 0, n_relevant, k=k),
        "hit": metrics.hit_at_k(ranked > 0, n_relevant, k=k),
        "reciprocal": metrics.reciprocal_rank(ranked > 0, n_relevant),
        "ndcg": metrics.ndcg_at_k(ranked, gains, k=k),
    }
    for query, (row, gain) in enumerate(zip(scores, gains, strict=True)):
        best = naive_order(row, "ascending")
        relevant = {column for column, value in enumerate(gain) if value > 0}
        if not relevant:
            assert all(math.isnan(values[query]) for values in results.values())
            continue
        top = set(best[:k])
        dcg = sum(gain[column] / math.log2(rank + 2) for rank, column in enumerate(best[:k]))
        ideal = sum(
            value / math.log2(rank + 2) for rank, value in enumerate(sorted(gain, reverse=True)[:k])
        )
        assert results["multi"][query] == pytest.approx(len(top & relevant) / min(k, len(relevant)))
        assert results["found"][query] == pytest.approx(len(top & relevant) / len(relevant))
        assert results["hit"][query] == float(bool(top & relevant))
        assert results["reciprocal"][query] == pytest.approx(
            1 / (1 + min(best.index(c) for c in relevant))
        )
        assert results["ndcg"][query] == pytest.approx(dcg / ideal)


@pytest.mark.parametrize(
    ("n", "relevant", "k"), [(5, 1, 2), (5, 2, 2), (6, 3, 4), (6, 6, 2), (4, 1, 10), (5, 4, 3)]
)
def test_chance_levels_equal_the_mean_over_all_orders(n, relevant, k):
    gains = np.array([3, 1, 2, 1, 3, 1][:relevant] + [0] * (n - relevant))
    orders = np.array(list(itertools.permutations(range(n))))
    ranked = gains[orders]
    count = np.full(len(orders), relevant)

    def close(chance, values):
        np.testing.assert_allclose(np.ravel(chance)[0], values.mean(), atol=1e-12)

    close(
        metrics.chance_recall_multi(relevant, n, k=k), metrics.recall_multi_at_k(ranked, count, k=k)
    )
    close(metrics.chance_recall(n, k=k), metrics.found_at_k(ranked, count, k=k))
    close(metrics.chance_hit(relevant, n, k=k), metrics.hit_at_k(ranked, count, k=k))
    close(metrics.chance_reciprocal_rank(relevant, n), metrics.reciprocal_rank(ranked, count))
    judged = np.broadcast_to(gains, ranked.shape)
    close(metrics.chance_ndcg(gains[None], [n], k=k), metrics.ndcg_at_k(ranked, judged, k=k))
    if relevant == 1:
        close(metrics.chance_rank(n), ranked.argmax(axis=1) + 1)


def test_a_score_that_is_no_number_is_an_error():
    with pytest.raises(ValueError, match=r"query 1 and item 0 is NaN"):
        metrics.positive_ranks([[0.1, 0.2], [np.nan, 0.3]], [0, 0])
    with pytest.raises(ValueError, match="the gallery has 2 items"):
        metrics.positive_ranks([[0.1, 0.2]], [2])


def test_a_constant_score_is_chance_only_through_the_tie_rule():
    """A collapsed model gets what the order of ids gives it: the first ten, never all of them."""
    scores, positive = np.zeros((100, 100)), np.arange(100)
    assert (metrics.positive_ranks(scores, positive) <= 10).mean() == metrics.chance_recall(100)


# ---------------------------------------------------------------------------------------- trec_eval


@pytest.fixture(scope="module")
def trec():
    if not TREC.is_dir():
        pytest.skip(
            f"trec_eval's example is not at {TREC}: set SPORTSKILLS_REAL_DATA to compare with it"
        )
    qrels: dict[str, dict[str, int]] = {}
    run: dict[str, dict[str, float]] = {}
    expected: dict[tuple[str, str], float] = {}
    for topic, _, document, grade in map(str.split, (TREC / "qrels.test").read_text().splitlines()):
        qrels.setdefault(topic, {})[document] = int(grade)
    for topic, _, document, _, score, _ in map(
        str.split, (TREC / "results.test").read_text().splitlines()
    ):
        run.setdefault(topic, {})[document] = float(np.float32(score))
    for name, topic, value in map(str.split, (TREC / "out.test.aq").read_text().splitlines()):
        if name.startswith(("recall_", "P_", "ndcg_cut_", "recip_rank")):
            expected[name, topic] = float(value)
    return qrels, run, expected


def our_trec_scores(qrels, run):
    ours = {}
    for topic, retrieved in run.items():
        documents = sorted(retrieved)
        order = metrics.ranking([[retrieved[name] for name in documents]], tie="descending")[0]
        ranked = np.array([[qrels[topic].get(documents[column], 0) for column in order]])
        judged = np.array([list(qrels[topic].values())])
        n_relevant = (judged > 0).sum(axis=1)
        ours["recip_rank", topic] = metrics.reciprocal_rank(ranked, n_relevant)[0]
        for k in (5, 10, 15, 20, 30, 100, 200, 500, 1000):
            ours[f"recall_{k}", topic] = metrics.found_at_k(ranked, n_relevant, k=k)[0]
            ours[f"P_{k}", topic] = metrics.precision_at_k(ranked, k=k)[0]
            ours[f"ndcg_cut_{k}", topic] = metrics.ndcg_at_k(ranked, judged, k=k)[0]
    return ours


@pytest.mark.real
def test_agrees_with_trec_eval_at_every_cut(trec):
    qrels, run, expected = trec
    ours = our_trec_scores(qrels, run)
    topics = sorted(run)
    assert [round(float(ours["recall_10", topic]), 4) for topic in topics] == [0.0042, 0.0909, 0.0]
    compared = 0
    for (name, topic), value in expected.items():
        got = (
            np.mean([ours[name, each] for each in topics]) if topic == "all" else ours[name, topic]
        )
        assert got == pytest.approx(value, abs=5.1e-5), (name, topic)
        compared += 1
    assert compared >= 100


@pytest.mark.real
def test_the_tie_rule_matters_on_trec_data(trec):
    """Were there no ties in the example, agreement would prove nothing about them."""
    run = trec[1]
    assert any(len(set(scores.values())) < len(scores) for scores in run.values())


# -------------------------------------------------------------------- galleries of one size for all


def every_gallery(n_gallery: int, size: int, kept: tuple[int, ...]):
    """All galleries of ``size`` that hold the items at the ranks ``kept`` (from 0), as sorted
    ranks.
    """
    others = [rank for rank in range(n_gallery) if rank not in kept]
    for drawn in itertools.combinations(others, size - len(kept)):
        yield sorted((*kept, *drawn))


@given(st.integers(1, 9), st.integers(1, 9), st.integers(1, 5), st.randoms(use_true_random=False))
@settings(deadline=None, max_examples=60)
def test_fixed_galleries_equal_the_mean_over_all_galleries(n_gallery, size, k, random):
    size = min(size, n_gallery)
    own = random.randrange(n_gallery)
    drawn = [gallery.index(own) + 1 for gallery in every_gallery(n_gallery, size, (own,))]
    assert metrics.fixed_gallery_recall([own + 1], [n_gallery], size=size, k=k)[0] == pytest.approx(
        np.mean([rank <= k for rank in drawn])
    )
    assert metrics.fixed_gallery_rank([own + 1], [n_gallery], size=size)[0] == pytest.approx(
        np.mean(drawn)
    )
    relevant = tuple(sorted(random.sample(range(n_gallery), random.randint(1, size))))
    tops = [gallery[:k] for gallery in every_gallery(n_gallery, size, relevant)]
    hits = [len(set(top) & set(relevant)) for top in tops]
    flags = [[rank in relevant for rank in range(n_gallery)]]
    recall, hit = (
        value(flags, n_gallery, size=size, k=k)
        for value in (metrics.fixed_gallery_recall_multi, metrics.fixed_gallery_hit)
    )
    assert recall[0] == pytest.approx(np.mean(hits) / min(k, len(relevant)))
    assert hit[0] == pytest.approx(np.mean([found > 0 for found in hits]))
    others = every_gallery(n_gallery, size, relevant[:1])
    guess = [min(1.0, k / len(set(gallery) & set(relevant))) for gallery in others]
    assert metrics.fixed_gallery_guess([len(relevant)], [n_gallery], size=size, k=k)[
        0
    ] == pytest.approx(np.mean(guess))


def test_a_random_ranking_reaches_the_chance_level_of_a_fixed_gallery():
    """Every rank equally likely: the mean over ranks is k / size, for whatever full gallery."""
    for n_gallery in (100, 101, 108, 5000):
        ranks = np.arange(1, n_gallery + 1)
        for k in (1, 5, 10):
            value = metrics.fixed_gallery_recall(ranks, n_gallery, size=100, k=k).mean()
            assert value == pytest.approx(metrics.chance_recall(100, k=k)), (n_gallery, k)
        assert metrics.fixed_gallery_rank(ranks, n_gallery, size=100).mean() == pytest.approx(
            metrics.chance_rank(100)
        )


def test_a_gallery_smaller_than_the_fixed_size_has_no_value():
    assert np.isnan(metrics.fixed_gallery_recall([1], [99], size=100))[0]
    assert np.isnan(metrics.fixed_gallery_rank([1], [99], size=100))[0]
    assert np.isnan(metrics.fixed_gallery_guess([1], [99], size=100))[0]
    for value in (metrics.fixed_gallery_recall_multi, metrics.fixed_gallery_hit):
        assert np.isnan(value([[True] * 5], 5, size=6)).all()
        assert np.isnan(value([[False] * 5], 5, size=5)).all()
        assert np.isnan(value([[True] * 5], 5, size=4)).all()
    assert metrics.fixed_gallery_recall([7], [100], size=100)[0] == pytest.approx(1.0)
