"""Rankings and choices: order, ties, chance, and what a system may look at."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest
from sklearn.feature_extraction.text import TfidfVectorizer

from sportskills_lib import learner_data as reading
from sportskills_lib import tables
from sportskills_lib.config import RetrievalConfig
from sportskills_lib.retrieval import figures, ranked_systems
from sportskills_lib.retrieval import stage as retrieval_stage
from sportskills_lib.retrieval.ranking import baselines, first_stage, systems, two_stage
from sportskills_lib.retrieval.supervision.labelling import SCHEMA


def tfidf_similarity(queries: list[str], texts: list[str]) -> np.ndarray:
    """Cosine of TF-IDF vectors (words and word pairs), fitted on the texts given: words that all
    share count least.
    """
    vectors = TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True, token_pattern=r"(?u)\b\w+\b")
    vectors.fit([*queries, *texts])
    return (vectors.transform(queries) @ vectors.transform(texts).T).toarray()


POOLS = pl.DataFrame(
    [(learner, f"clip{i}") for learner in ("l1", "l2") for i in range(4)],
    schema=["learner_id", "clip_id"],
    orient="row",
)
LEARNERS = pl.DataFrame(
    {
        "learner_id": ["l1", "l2", "l3"],
        "sport": ["tennis"] * 3,
        "skill": ["serve", "serve", None],
        "split": ["test"] * 3,
        "comment": ["the wing is broken", "light the torch", "x"],
    }
)
CLIPS = pl.DataFrame(
    {"clip_id": [f"clip{i}" for i in range(4)], "skill": ["serve", "volley", "serve", "volley"]}
)


def test_a_ranking_is_ordered_and_ties_stand_by_clip():
    scores = np.array([0.0, 1.0, 1.0, 2.0, 5.0, 5.0, 5.0, 5.0])
    table = two_stage.rank(POOLS, {"s": scores})
    assert table.filter(pl.col("query_id") == "l1")["clip_id"].to_list() == [
        "clip3",
        "clip1",
        "clip2",
        "clip0",
    ]
    assert table.filter(pl.col("query_id") == "l2")["clip_id"].to_list() == [
        f"clip{i}" for i in range(4)
    ]
    both = two_stage.rank(POOLS, {"s": scores, "t": np.zeros(8)})
    assert both.filter(system="s").equals(table)
    assert both.height == 16 and tables.Rankings.is_valid(both)
    with pytest.raises(ValueError, match="s: the score of clip clip2 for learner l1 is NaN"):
        two_stage.rank(POOLS, {"s": np.array([0, 0, np.nan, 0, 0, 0, 0, 0.0])})


def test_random_scores_depend_on_names_and_seed_alone():
    scores = baselines.random_scores(POOLS, 0)
    np.testing.assert_array_equal(baselines.random_scores(POOLS.reverse(), 0)[::-1], scores)
    assert (baselines.random_scores(POOLS, 1) != scores).all() and (
        (scores >= 0) & (scores < 1)
    ).all()


def test_clips_of_the_learners_skill_come_first():
    scores = baselines.same_skill_scores(POOLS, LEARNERS, CLIPS, 0)
    top = two_stage.rank(POOLS, {"s": scores}).filter(pl.col("rank") <= 2)["clip_id"]
    assert set(top) == {"clip0", "clip2"}
    unknown = baselines.same_skill_scores(
        POOLS.with_columns(learner_id=pl.lit("l3")), LEARNERS, CLIPS, 0
    )
    assert (unknown < 1).all()


def test_the_oracle_reads_the_comment():
    texts = {
        "clip0": "nothing",
        "clip1": "light the torch now",
        "clip2": "the wing is broken",
        "clip3": "all",
    }
    best = two_stage.rank(
        POOLS, {"o": baselines.oracle_scores(POOLS, LEARNERS, texts, tfidf_similarity)}
    ).filter(pl.col("rank") == 1)
    assert best["clip_id"].to_list() == ["clip2", "clip1"]


def test_similarities_are_cosines_and_a_clip_without_a_vector_scores_nothing():
    learners = {"l1": np.array([1.0, 0.0]), "l2": np.array([0.6, 0.8])}
    clips = {"clip0": np.array([1.0, 0.0]), "clip1": np.array([0.0, 1.0])}
    np.testing.assert_allclose(
        first_stage.cosine(POOLS, learners, clips), [1, 0, 0, 0, 0.6, 0.8, 0, 0]
    )
    said = first_stage.narration_vectors(
        pl.DataFrame({"clip_id": ["a", "a", "b"], "narration_id": ["n1", "n2", "gone"]}),
        {"n1": np.array([1.0, 0.0]), "n2": np.array([0.0, 1.0])},
    )
    np.testing.assert_allclose(said["a"], [2**-0.5] * 2)
    assert "b" not in said


def test_missing_embeddings_name_the_remedy():
    empty = pl.DataFrame(
        {"model_id": ["image:x"], "item_kind": ["clip"], "item_id": ["a"], "vector": [[1.0]]}
    )
    with pytest.raises(
        ValueError, match=r"no clip embeddings of 'image:narrations' \(there are: image:x\)"
    ):
        first_stage.vectors(empty, "image:narrations", "clip")


def test_scores_are_standardised_within_a_learner():
    scores = first_stage.standardised(POOLS, np.array([1.0, 2, 3, 4, 7, 7, 7, 7]))
    assert (
        abs(scores[:4].mean()) < 1e-12
        and abs(scores[:4].std() - 1) < 1e-12
        and (scores[4:] == 0).all()
    )


def test_the_weight_is_chosen_on_weak_labels():
    lists = POOLS.with_columns(label=pl.Series([1.0, 0, 0, 0, 0, 0, 0, 1.0]))
    right, wrong = np.array([9.0, 1, 2, 3, 1, 2, 3, 9]), np.array([0.0, 1, 2, 3, 3, 2, 1, 0])
    assert (
        first_stage.choose_weight(lists, wrong, right).weight == 0.6
    )  # as good as 1.0, and smaller
    assert first_stage.choose_weight(lists, right, wrong).weight == 0.0
    assert first_stage.choose_weight(lists.clear(), right[:0], wrong[:0]).weight == 0.5
    assert first_stage.weak_score(lists, right) == pytest.approx(1.0)


def test_a_costly_score_counts_only_where_its_gain_is_above_two_standard_errors():
    rng = np.random.default_rng(0)
    lists = pl.DataFrame(
        {
            "learner_id": np.repeat([f"l{i}" for i in range(60)], 6),
            "clip_id": np.tile([f"c{i}" for i in range(6)], 60),
            "label": np.tile([1.0, 0.5, 0, 0, 0, 0], 60),
        }
    )
    signal = lists["label"].to_numpy()
    good = signal + rng.normal(0, 0.3, len(signal))
    for noise in (rng.normal(size=len(signal)) for _ in range(20)):
        proven = first_stage.choose_weight(lists, good, noise, needs_proof=True)
        free = first_stage.choose_weight(lists, good, noise)
        assert proven.weight in (0.0, free.weight) and proven.values == free.values
        assert proven.weight == 0.0
    assert first_stage.choose_weight(lists, noise, good, needs_proof=True).weight > 0.5
    alone = lists[:6], noise[:6], signal[:6]
    assert first_stage.choose_weight(*alone, needs_proof=True).weight == 0.0
    nobody = lists.clear(), signal[:0], signal[:0]
    assert first_stage.choose_weight(*nobody, needs_proof=True).weight == 0.0
    assert first_stage.choose_weight(*nobody).weight == first_stage.UNCHOSEN


def test_clips_of_the_learners_own_skill_are_found_and_an_unknown_skill_has_none():
    clips = CLIPS.with_columns(sport=pl.lit("tennis"))
    assert baselines.same_skill(POOLS, LEARNERS, clips).tolist() == [0, 2, 4, 6]
    unknown = POOLS.with_columns(learner_id=pl.lit("l3"))
    assert not len(baselines.same_skill(unknown, LEARNERS, clips))
    other = clips.with_columns(sport=pl.lit("golf"))
    assert not len(baselines.same_skill(POOLS, LEARNERS, other))


def test_words_are_borrowed_from_the_mistakes_that_look_alike():
    """l1 looks like m1, l2 like m2; m3 is of another skill, however near it lies."""
    mistakes = pl.DataFrame(
        {
            "learner_id": ["m1", "m2", "m3"],
            "sport": ["tennis"] * 3,
            "skill": ["serve", "serve", "volley"],
            "comment": ["the wing is broken", "light the torch", "all"],
        }
    )
    vectors = {"l1": [1.0, 0.1], "l2": [0.1, 1.0], "m1": [1.0, 0.0], "m2": [0.0, 1.0]}
    vectors = {name: np.array(value) for name, value in vectors.items()} | {"m3": np.ones(2) * 9}
    texts = {
        "clip0": "mend the broken wing",
        "clip1": "light the torch",
        "clip2": "",
        "clip3": "all",
    }

    def borrowed(nearest: int, pairs: pl.DataFrame = POOLS) -> np.ndarray:
        return baselines.borrowed_words(
            pairs, LEARNERS, mistakes, vectors, texts, tfidf_similarity, nearest=nearest
        )

    one = borrowed(1)
    assert one[:4].argmax() == 0 and one[4:].argmax() == 1 and one[3] == one[7] == 0
    both = borrowed(2)
    np.testing.assert_allclose(both[:4], both[4:])  # of two, each lends half
    assert not borrowed(1, POOLS.with_columns(learner_id=pl.lit("l3"))).any()


def test_a_weight_that_is_chosen_is_used_for_every_pair():
    clips = CLIPS.with_columns(demonstration=pl.Series(["correct", "incorrect"] * 2))
    lists = POOLS.with_columns(label=pl.Series([1.0, 0, 0, 0, 1, 0, 0, 0]))
    made = systems.Systems(lists)
    made.add("noise", lambda pairs: np.arange(pairs.height) % 4 * 1.0)
    made.add("correct", lambda pairs: baselines.correct_scores(pairs, clips))
    weight = made.blend("both", "noise", "correct")
    assert weight > 0 and {row[0] for row in made.rows} == {"both: correct against noise"}
    found = made.blended(POOLS, made.scores(POOLS))
    assert list(found) == ["noise", "both"]  # the label alone is no system
    np.testing.assert_allclose(found["both"], made.of_lists("both"))


def test_without_learners_everything_is_empty_and_no_model_is_loaded(monkeypatch, tmp_path):
    monkeypatch.setenv("SPORTSKILLS_HOME", str(tmp_path))
    config = RetrievalConfig(learners="", ratings="", model="nowhere")
    assert retrieval_stage.sources(config) == [] and retrieval_stage.ratings_file(config) is None
    learners, _ = reading.read_learners(None, span_s=3.0)
    frames = np.zeros((0, 8, 64, 64, 3), np.uint8)
    scorer = retrieval_stage.open_scorer(learners, frames, None, {}, config)
    supervision, pools = (
        pl.DataFrame(schema=SCHEMA),
        pl.DataFrame(schema={"learner_id": pl.String, "clip_id": pl.String}),
    )
    asked = retrieval_stage.candidates(pools, supervision, learners)
    curves = retrieval_stage.finetune_scorer(
        scorer, supervision, supervision, learners, None, config
    )
    scorer.save(tmp_path / "adapter")
    ranked = ranked_systems.rank_all(
        asked, learners, {}, None, scorer, scorer.scores(pools), config
    )
    rankings = ranked.rankings
    assert (
        rankings.height == ranked.choices.height == curves.height == 0
        and not (tmp_path / "adapter").exists()
    )
    assert ranked.library.height == ranked.variants.height == ranked.timings.height == 0
    figures.reliability(ranked.calibration)
    assert figures.finding(ranked.choices, pl.DataFrame()) == "Nothing was ranked."
    assert "There are no learners (the setting is empty)" in figures.notice(learners, config)
    assert figures.top_overlap(rankings).height == figures.pool_summary(pools, learners).height == 0
    assert figures.supervision_summary(supervision, learners).height == 0
    assert figures.supervision_examples(supervision, learners, {}, seed=0).height == 0
    assert retrieval_stage.headline(learners, supervision, curves)["learners"] == 0


def test_the_first_stage_is_one_inner_product_in_both_stages():
    """The weight of narrations lies in the clip's vector: what ranks a pool is what the search
    finds.
    """
    lists = POOLS.with_columns(label=pl.Series([1.0, 0, 0, 0, 0, 0, 0, 1.0]))
    rng = np.random.default_rng(3)
    learners = {name: rng.normal(size=6) for name in ("l1", "l2")}
    clips, said = ({f"clip{i}": rng.normal(size=6) for i in range(4)} for _ in range(2))
    del said["clip2"]
    vectors = first_stage.EncoderVectors(learners, clips, said)
    blend, choice = vectors.blend(lists)
    stage = vectors.first_stage(blend)
    scores = stage.scores(POOLS)
    found = two_stage.TwoStage(stage, None, 0.0).shortlist(["l1", "l2"], CLIPS["clip_id"], depth=4)
    by_pair = {row[:2]: row[2] for row in found.iter_rows()}
    np.testing.assert_allclose([by_pair[row] for row in POOLS.iter_rows()], scores, atol=1e-9)
    if choice.weight == 0:
        np.testing.assert_allclose(
            np.argsort(scores[:4]),
            np.argsort([learners["l1"] @ clips[f"clip{i}"] for i in range(4)]),
        )
    empty, choice = vectors.blend(lists.clear())
    assert empty == first_stage.Blend(0.5, 1.0, 1.0) and choice.weight == 0.5
    assert len(vectors.first_stage(empty).gallery) == 4


def test_a_shortlist_stands_above_the_rest_in_the_fused_order():
    first, second = np.array([3.0, 2, 1, 0, 0, 1, 2, 3]), np.array([0.0, 5, 9, 9, 1, 1, 1, 1])
    scores = two_stage.reranked(POOLS, first, second, 1.0, 2)
    order = (
        two_stage.rank(POOLS, {"s": scores}).filter(pl.col("query_id") == "l1")["clip_id"].to_list()
    )
    assert order == ["clip1", "clip0", "clip2", "clip3"]


def test_the_weight_that_was_taken_is_marked_and_told() -> None:
    choice = first_stage.Choice(0.5, {0.0: 0.5, 0.5: 0.7, 1.0: 0.7})
    assert choice.rows("a")[1] == ("a", 0.5, 0.7, True)
    assert [row[3] for row in choice.rows("a")] == [False, True, False]
    curves = pl.DataFrame(
        {
            "arm": ["text_warm_up", "vlm_dual", "vlm_dual"],
            "step": [0, 5, 9],
            "val_ndcg@10": [0.4, 0.55, float("nan")],
            "loss": [None, 1.0, 1.0],  # a curve starts before the first step
        }
    )
    rows = [
        ("vlm_dual_correct: correct against vlm_dual", 0.2, 0.6, False),
        ("vlm_dual_correct: correct against vlm_dual", 0.3, 0.7, True),
        ("relevance: b", 0.0, 0.6, True),
    ]
    names = ["choice", "weight", "weak_score", "chosen"]
    taken = pl.DataFrame(rows, schema=names, orient="row")
    told = figures.finding(taken, curves)
    assert "`text_warm_up` 0.40, `vlm_dual` 0.55" in told
    assert "`vlm_dual_correct` 0.3 of 02's label, `relevance` 0 of yes/no" in told
