"""The search in single precision equals multiplying everything in double precision, whatever the
vectors are like.
"""

from __future__ import annotations

import numpy as np
import pytest
import torch

from sportskills_lib.retrieval.ranking import exact_search


def unit(vectors):
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def worlds():
    rng = np.random.default_rng(0)
    plain = rng.normal(size=(60, 48)), rng.normal(size=(1003, 48))
    yield "random", *plain
    yield "unit, single precision", *(unit(part).astype(np.float32) for part in plain)
    cone = rng.normal(size=48) * 4
    yield "narrow cone", *(unit(part + cone) for part in plain)
    yield "negative only", unit(plain[0] + cone), -unit(plain[1] + cone)
    twins = (
        rng.integers(-2, 3, (60, 5)).astype(np.float32),
        rng.integers(-2, 3, (1003, 5)).astype(np.float32),
    )
    yield "many ties", *twins
    yield "all alike", np.ones((60, 48)), np.ones((1003, 48))
    yield "nothing", np.zeros((60, 48)), plain[1]
    near = unit(plain[1][:1]) + 1e-7 * rng.normal(size=(1003, 48))
    yield "apart in the eighth place", plain[0], near
    scale = 10.0 ** rng.integers(-6, 7, 1003)
    yield "of all lengths", plain[0], plain[1] * scale[:, None]
    yield "too large for single precision", plain[0], plain[1] * 1e40


@pytest.fixture(scope="module", params=worlds(), ids=lambda world: world[0])
def world(request):
    return request.param[1:]


@pytest.mark.parametrize("precision", ["highest", "medium"])
@pytest.mark.parametrize(("k", "block"), [(1, 64), (10, 128), (10, 1003), (40, 8)])
def test_equals_double_precision(world, precision, k, block, monkeypatch):
    monkeypatch.setattr(exact_search, "CHUNK", 25)
    monkeypatch.setattr(exact_search, "DENSE_PAIRS", 64)
    monkeypatch.setattr(torch, "get_float32_matmul_precision", lambda: precision)
    scores = np.round(world[0].astype(np.float64) @ world[1].astype(np.float64).T, 9)
    wanted = np.argsort(-scores, axis=1, kind="stable")[:, :k]
    rows, found = exact_search.top_k(*world, k, block=block, single=True)
    clear = (
        np.abs(scores).max() < 1e3
    )  # else the ninth place is below what double precision resolves
    if clear:
        np.testing.assert_array_equal(rows, wanted)
    np.testing.assert_allclose(
        found, np.take_along_axis(scores, wanted, 1), rtol=1e-12, atol=1e-9 if clear else 1e-3
    )


def test_few_pairs_are_summed_again(monkeypatch):
    rng, counts = np.random.default_rng(1), []
    monkeypatch.setattr(exact_search, "CHUNK", 100)
    sum_again = exact_search._sum_again
    monkeypatch.setattr(
        exact_search, "_sum_again", lambda *args: (counts.append(len(args[2])), sum_again(*args))[1]
    )
    queries, gallery = (unit(rng.normal(size=(count, 64))) for count in (200, 8000))
    exact_search.top_k(queries, gallery, 10, block=500, single=True)
    assert len(counts) == 2 * 16 and sum(counts) < 0.03 * 200 * 8000


@pytest.mark.parametrize("single", [True, False])
def test_nan_is_an_error_and_names_the_place(single):
    queries, gallery = np.ones((3, 4)), np.ones((20, 4))
    gallery[7, 2] = np.nan
    with pytest.raises(ValueError, match="item 7 is NaN"):
        exact_search.top_k(queries, gallery, 2, single=single)


def test_small_searches_load_no_torch(monkeypatch):
    monkeypatch.setattr(exact_search, "_Prefilter", None)
    exact_search.top_k(np.ones((700, 2)), np.ones((700, 2)), 1)
    with pytest.raises(TypeError):
        exact_search.top_k(np.ones((1000, 2)), np.ones((10_000, 2)), 1)
