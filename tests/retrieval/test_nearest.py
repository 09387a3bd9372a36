"""The blocked search against the naive one, with ties."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest

from sportskills_lib.retrieval.ranking import exact_search, two_stage
from sportskills_lib.retrieval.ranking.first_stage import FirstStage


def naive(queries, gallery, k):
    """The whole matrix, sorted: what the blocked search must equal."""
    scores = np.round(queries.astype(np.float64) @ gallery.astype(np.float64).T, 9)
    rows = np.argsort(-scores, axis=1, kind="stable")[:, :k]
    return rows, np.take_along_axis(scores, rows, 1)


@pytest.mark.parametrize("block", [1, 2, 7, 64, 1000])
@pytest.mark.parametrize("k", [1, 5, 70])
def test_blocks_find_what_the_whole_matrix_finds_with_ties(block, k):
    rng = np.random.default_rng(block * 100 + k)
    queries, gallery = rng.integers(-2, 3, (11, 4)), rng.integers(-2, 3, (64, 4))
    gallery[40:50] = gallery[:10]  # the same vectors again, in other blocks
    for q, g in ((queries, gallery), (queries / 3.0, (gallery / 7.0).astype(np.float32))):
        rows, scores = exact_search.top_k(q, g, k, block=block)
        wanted_rows, wanted_scores = naive(q, g, k)
        np.testing.assert_array_equal(rows, wanted_rows)
        np.testing.assert_array_equal(scores, wanted_scores)


def test_random_vectors_and_an_empty_gallery():
    rng = np.random.default_rng(0)
    queries, gallery = (
        rng.normal(size=(20, 32)).astype(np.float32),
        rng.normal(size=(500, 32)).astype(np.float32),
    )
    rows, _ = exact_search.top_k(queries, gallery, 25, block=33)
    np.testing.assert_array_equal(rows, naive(queries, gallery, 25)[0])
    rows, scores = exact_search.top_k(queries, gallery[:0], 5)
    assert rows.shape == scores.shape == (20, 0)
    assert exact_search.top_k(queries[:0], gallery, 5)[0].shape == (0, 5)


def test_a_shortlist_holds_clips_of_the_learners_split_and_sport():
    learners = pl.DataFrame(
        {"learner_id": ["a", "b", "c"], "split": ["test", "val", "test"], "sport": ["x", "x", "y"]}
    )
    clips = pl.DataFrame(
        {
            "clip_id": ["c4", "c3", "c2", "c1", "c0"],
            "split": ["test", "test", "test", "val", "test"],
            "sport": ["x", "x", "y", "x", "x"],
        }
    )
    vectors = {"c4": [1.0, 0], "c3": [1.0, 0], "c2": [1.0, 0], "c1": [0.0, 1]}  # c0 has none
    people = {name: np.array([1.0, 0.5]) for name in "abc"}
    gallery = {name: np.array(vector) for name, vector in vectors.items()}
    stages = two_stage.TwoStage(FirstStage(people, gallery), None, 0.0)

    def shortlists(learners, *, same_sport=True):
        return two_stage.shortlists(stages, learners, clips, depth=2, same_sport=same_sport)

    found = [("a", "c3", 1.0), ("a", "c4", 1.0), ("b", "c1", 0.5), ("c", "c2", 1.0)]
    assert shortlists(learners).rows() == found
    wide = shortlists(learners, same_sport=False)
    assert wide.filter(pl.col("learner_id") == "c")["clip_id"].to_list() == ["c2", "c3"]
    assert shortlists(learners.clear()).is_empty()
