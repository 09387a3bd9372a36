"""Ratings to judgements to scores, by hand counts."""

from __future__ import annotations

import math

import polars as pl
import pytest
import stage_outputs

from sportskills_lib import tables
from sportskills_lib.evaluation import checks, feedback, further_comparisons
from sportskills_lib.report import interval_figures
from sportskills_lib.retrieval.ranking import judged_pools
from sportskills_lib.runs import artifacts
from sportskills_lib.statistics import agreement, bootstrap


def clips() -> pl.DataFrame:
    rows = [
        ("a", "v1", 0.0, 3.0, "test"),
        ("b", "v1", 5.0, 8.0, "test"),
        ("c", "v2", 0.0, 4.0, "test"),
        ("d", "v2", 6.0, 9.0, "train"),
    ]
    return pl.DataFrame(
        rows, schema=["clip_id", "video_id", "start_s", "end_s", "split"], orient="row"
    )


def learners() -> pl.DataFrame:
    rows = [
        ("L1", "take1", "p1", 2.0, 5.0),
        ("L2", "take1", "p1", 4.0, 9.0),
        ("L3", "take2", "p2", 0.0, 3.0),
    ]
    frame = pl.DataFrame(
        rows, schema=["learner_id", "take_id", "participant", "start_s", "end_s"], orient="row"
    )
    return frame.with_columns(sport=pl.lit("golf"), split=pl.lit("test"))


def rating(take="take1", at=3.0, video="v1", start=0.2, end=3.1, rater="r1", grade=3):
    return (take, at, video, start, end, rater, grade, True)


def ratings(*rows) -> pl.DataFrame:
    return pl.DataFrame(list(rows), schema=feedback.RATINGS, orient="row")


def test_a_rating_goes_to_the_learner_whose_middle_is_nearest_and_the_clip_that_it_overlaps():
    judged, left = feedback.judgements(
        ratings(rating(), rating(at=4.6, start=5.1, end=8.4)), clips(), learners()
    )
    assert judged.select("learner_id", "clip_id", "grade").rows() == [
        ("L1", "a", 3),
        ("L1", "b", 3),
    ]
    assert left.is_empty()
    judged, _ = feedback.judgements(ratings(rating(at=4.9)), clips(), learners())
    assert judged["learner_id"].to_list() == ["L1"]  # 3.5 is nearer to 4.9 than 6.5
    judged, _ = feedback.judgements(ratings(rating(at=5.5)), clips(), learners())
    assert judged["learner_id"].to_list() == ["L2"]


def test_of_two_learners_with_one_middle_the_named_one_is_meant(tmp_path, monkeypatch):
    """A whole try and a detail in its middle: without a name, grades of one would be taken for the
    other's.
    """
    people = learners().with_columns(
        start_s=pl.Series([0.0, 2.0, 0.0]), end_s=pl.Series([8.0, 6.0, 3.0])
    )
    rows = [rating(at=4.0), rating(at=4.0, start=5.1, end=8.4)]
    unnamed, _ = feedback.judgements(ratings(*rows), clips(), people)
    assert set(unnamed["learner_id"]) == {"L1"}
    ratings(rows[0], rows[0], rows[1]).with_columns(
        learner_id=pl.Series(["L1", "L2", None])
    ).write_csv(tmp_path / "named.csv")
    monkeypatch.setenv("SPORTSKILLS_HOME", str(tmp_path))
    judged, left = feedback.judgements(feedback.read_ratings("named.csv"), clips(), people)
    assert left.is_empty()
    assert judged.select("learner_id", "clip_id").rows() == [("L1", "a"), ("L1", "b"), ("L2", "a")]
    pooled, lost = judged_pools.read_pools(tmp_path / "named.csv", people, clips())
    assert pooled.rows() == [("L1", "a"), ("L1", "b"), ("L2", "a")] and lost.is_empty()


def test_every_rating_that_is_left_out_says_why():
    rows = ratings(
        rating(),
        rating(start=0.0, end=3.2),  # the same clip under another span
        rating(take="unknown"),
        rating(at=20.0),
        rating(video="v1", start=3.0, end=5.0),  # between two clips
        rating(video="v2", start=6.0, end=9.0),  # a training clip
        rating(rater="r2", grade=0),
    )
    judged, left = feedback.judgements(rows, clips(), learners())
    assert judged.height + left.height == rows.height
    assert dict(left["reason"].value_counts().sort("reason").rows()) == {
        "clip_rated_already": 1,
        "no_clip": 1,
        "no_learner": 2,
        "other_split": 1,
    }
    assert judged.select("rater", "grade").rows() == [("r1", 3), ("r2", 0)]


def test_scores_by_hand():
    """Gains are means over raters: a 2.5, b 2, c 0. The system ranks c, a, b."""
    grades = {
        ("a", "r1"): 3,
        ("a", "r2"): 2,
        ("b", "r1"): 2,
        ("b", "r2"): 2,
        ("c", "r1"): 0,
        ("c", "r2"): 0,
    }
    judged = pl.DataFrame(
        [("L1", clip, rater, grade, True) for (clip, rater), grade in grades.items()],
        schema=tables.Judgements.column_names(),
        orient="row",
    )
    rankings = pl.DataFrame(
        [("s", "L1", rank, clip, -float(rank)) for rank, clip in enumerate("cab", start=1)],
        schema=tables.Rankings.column_names(),
        orient="row",
    )
    scores = feedback.score(rankings, judged, learners())
    value = dict(scores.select("metric", "value").rows())
    dcg = 2.5 / math.log2(3) + 2 / math.log2(4)
    assert value[feedback.NDCG] == pytest.approx(dcg / (2.5 + 2 / math.log2(3)))
    assert value[feedback.MRR] == 0.5
    assert value[feedback.RECALL] == 1.0
    assert scores["cluster"].unique().to_list() == ["p1"]


def test_a_learner_whom_nothing_helps_has_no_reciprocal_rank():
    judged = pl.DataFrame(
        [("L1", "a", "r", 1, False)], schema=tables.Judgements.column_names(), orient="row"
    )
    rankings = pl.DataFrame(
        [("s", "L1", 1, "a", 0.0)], schema=tables.Rankings.column_names(), orient="row"
    )
    scores = feedback.score(rankings, judged, learners())
    value = dict(scores.select("metric", "value").rows())
    assert value["ndcg@10"] == value["grade@1"] == 1.0 and value["precision_helpful@5"] == 0.0
    assert value["recall_helpful@5"] is value["recall_helpful@10"] is value["mrr"] is None
    table = feedback.table(scores, draws=10, seed=0)
    assert set(table["metric"]) == {
        "ndcg@10",
        "ndcg@5",
        "precision_helpful@5",
        "grade@1",
        "grade@5",
    }
    assert not judged["simulated"].any()


def test_random_ranking_of_the_pool_is_at_chance(workspace):
    stage = artifacts.open_stage(stage_outputs.RUN, "04_retrieval")
    people = stage.table("learners")
    found = feedback.read_ratings("data/raw/demo/ratings.csv")
    all_clips = artifacts.open_stage(stage_outputs.RUN, "02_pairing").table("clips")
    judged, left = feedback.judgements(found, all_clips, people)
    assert left.is_empty()
    assert judged.height == found.height == people.height * 24 * 3
    scores = feedback.score(stage.table("rankings"), judged, people)
    table = feedback.table(scores, draws=300, seed=0)
    assert table.columns == ["system", "metric", "value", "low", "high", "n"]
    random = table.filter((pl.col("system") == "random") & (pl.col("metric") == feedback.NDCG)).row(
        0, named=True
    )
    chance = scores.filter(pl.col("metric") == feedback.NDCG)["chance"].mean()
    pools = {"same_skill": scores}
    named = feedback.of_pools(feedback.table, pools, draws=300, seed=0)
    assert named.columns == ["pool", *table.columns]
    drawn = interval_figures.feedback_pages(named, pools, simulated=True)["feedback"].data
    level = drawn.filter((pl.col("system") == "random") & (pl.col("metric") == feedback.NDCG))[
        "chance"
    ]
    assert level.to_list() == [pytest.approx(chance)]  # the line of the figure is in its rows
    assert random["value"] == pytest.approx(chance, abs=0.08)
    gaps = feedback.differences(scores, draws=300, seed=0)
    gap = gaps.filter(system="relevance", baseline="encoder_narrations", metric=feedback.NDCG).row(
        0, named=True
    )
    assert gap["ci_excludes_zero"]
    family = gaps.filter(pl.col("metric") == feedback.NDCG)
    assert family["p_holm"].to_list() == bootstrap.holm(family["p"].to_list())
    assert judged["simulated"].any()


def test_no_ratings_and_no_learners_are_no_error(workspace):
    assert feedback.read_ratings("").is_empty()
    assert feedback.read_ratings("missing.csv").is_empty()
    nobody = tables.Learners.create_empty()
    judged, left = feedback.judgements(feedback.read_ratings(""), clips(), nobody)
    assert judged.is_empty() and left.is_empty()
    scores = feedback.score(tables.Rankings.create_empty(), judged, nobody)
    assert feedback.table(scores, draws=10, seed=0).is_empty()
    assert feedback.differences(scores, draws=10, seed=0).is_empty()
    assert agreement.by_rater(judged).is_empty()


def test_a_ratings_file_without_a_column_is_named(workspace):
    (workspace / "bad.csv").write_text("take_uid,grade\nx,1\n")
    with pytest.raises(ValueError, match=r"bad.csv lacks the columns end_s, rater, simulated"):
        feedback.read_ratings("bad.csv")


def two_systems() -> pl.DataFrame:
    """Scores of two systems for four learners of two participants: one win, one loss, two ties at
    first.
    """
    rows = []
    for system, first, five in (
        ("vlm_yes_no", [3.0, 1.0, 2.0, 2.0], [1.0] * 4),
        ("encoder_narrations", [2.0] * 4, [0.5] * 4),
    ):
        for metric, values in (
            ("grade@1", first),
            ("grade@5", five),
            ("ndcg@10", [v / 3 for v in first]),
        ):
            for i, value in enumerate(values):
                rows.append((system, f"L{i}", metric, 0, value, 0.5, "golf", f"p{i // 2}"))
    return pl.DataFrame(rows, schema=tables.Scores.column_names(), orient="row")


def test_wins_ties_and_losses_by_hand():
    wins = (
        further_comparisons.win_rates(two_systems(), draws=50, seed=0)
        .filter(pl.col("k") == 1)
        .row(0, named=True)
    )
    assert (wins["wins"], wins["ties"], wins["losses"], wins["rate"]) == (1, 2, 1, 0.5) and wins[
        "p"
    ] == 1.0
    five = (
        further_comparisons.win_rates(two_systems(), draws=50, seed=0)
        .filter(pl.col("k") == 5)
        .row(0, named=True)
    )
    assert (five["wins"], five["rate"], five["low"], five["high"]) == (
        4,
        1.0,
        None,
        None,
    )  # two are no certainty
    assert five["p"] == pytest.approx(
        0.5, abs=0.02
    )  # two participants: one of two sign patterns is as far off


def test_what_mends_a_mistake_and_what_shows_it_by_hand():
    """In order of rank: another cue (1), the fix (3), another fault (0), the same fault (2), the
    other fix (2.5 of two raters).
    """
    grades = {"a": (1, 1), "b": (3, 3), "c": (0, 0), "d": (2, 2), "e": (2, 3)}
    rows = [
        ("L1", clip, f"r{i}", grade, True)
        for clip, two in grades.items()
        for i, grade in enumerate(two)
    ]
    judged = pl.DataFrame(rows, schema=tables.Judgements.column_names(), orient="row")
    ranked = [("s", "L1", rank, clip, -float(rank)) for rank, clip in enumerate("abcde", start=1)]
    rankings = pl.DataFrame(ranked, schema=tables.Rankings.column_names(), orient="row")
    scores = feedback.score(rankings, judged, learners())
    value = dict(scores.select("metric", "value").rows())
    chance = dict(scores.select("metric", "chance").rows())
    assert value[feedback.MENDS_FIRST] == 0 and chance[feedback.MENDS_FIRST] == 0.4
    assert value["mrr_mends"] == 0.5 and value["auc_fix"] == 0 and value["auc_mistake"] == 0
    assert chance["auc_fix"] == chance["auc_mistake"] == 0.5
    turned = rankings.with_columns(clip_id=pl.col("clip_id").reverse())
    value = dict(feedback.score(turned, judged, learners()).select("metric", "value").rows())
    assert value[feedback.MENDS_FIRST] == value["auc_fix"] == value["auc_mistake"] == 1
    without = judged.filter(pl.col("clip_id").is_in(["a", "c"]))
    value = dict(feedback.score(rankings, without, learners()).select("metric", "value").rows())
    assert value[feedback.MENDS_FIRST] is value["mrr_mends"] is value["auc_fix"] is None


def test_controls_take_the_ranking_of_another_learner():
    people = pl.DataFrame(
        {
            "learner_id": ["x", "y", "z"],
            "participant": ["p", "q", "r"],
            "sport": ["golf"] * 3,
            "skill": ["putt"] * 3,
            "split": ["test"] * 3,
        }
    )
    faults = pl.DataFrame({"learner_id": ["x", "y", "z"], "fault": ["bent", "bent", "low"]})
    rows = [("relevance", who, 1, f"first of {who}", 0.0) for who in "xyz"]
    rankings = pl.DataFrame(rows, schema=tables.Rankings.column_names(), orient="row")
    made = checks.with_controls(rankings, people, faults)
    first = {(row[0], row[1]): row[3] for row in made.rows()}
    assert first["relevance_same_fault", "x"] == "first of y"
    assert first["relevance_same_fault", "y"] == "first of x"
    assert ("relevance_same_fault", "z") not in first
    assert first["relevance_other_fault", "x"] == "first of z"
    assert first["relevance_other_fault", "z"] in ("first of x", "first of y")
    alone = people.with_columns(participant=pl.lit("p"))  # nobody is shown their own other try
    assert checks.with_controls(rankings, alone, faults).height == 3
    assert checks.with_controls(rankings, people, faults.clear()).height == 3


def test_only_fixes_of_one_kind_of_words_are_left():
    rows = [("L1", clip, "r", grade, True) for clip, grade in (("a", 3), ("b", 3), ("c", 1))]
    judged = pl.DataFrame(rows, schema=tables.Judgements.column_names(), orient="row")
    ranked = [("s", "L1", rank, clip, -float(rank)) for rank, clip in enumerate("acb", start=1)]
    rankings = pl.DataFrame(ranked, schema=tables.Rankings.column_names(), orient="row")
    seen = pl.DataFrame({"clip_id": ["a", "b", "c"], "seen_wording": [True, False, True]})
    scored = checks.by_wording(rankings, judged, seen, learners())
    first = {
        name: scores.filter(metric=feedback.MENDS_FIRST)["value"].item()
        for name, scores in scored.items()
    }
    assert first == {"seen": 1.0, "unseen": 0.0}
    assert checks.by_wording(rankings, judged, seen.clear(), learners()) == {}


def test_a_strict_rater_is_centred():
    """Rater b grades a grade lower than a: pairs that only b saw are raised, those of a lowered."""
    rows = [
        ("L1", "x", "a", 3, True),
        ("L1", "x", "b", 2, True),
        ("L1", "y", "b", 1, True),
        ("L1", "z", "a", 2, True),
    ]
    judged = pl.DataFrame(rows, schema=tables.Judgements.column_names(), orient="row")
    assert feedback.gains(judged)["gain"].to_list() == [2.5, 1.0, 2.0]
    assert feedback.gains(judged, centred=True)["gain"].to_list() == [2.5, 2.0, 1.0]


def test_every_rater_alone(workspace):
    stage = artifacts.open_stage(stage_outputs.RUN, "04_retrieval")
    people, rankings = stage.table("learners"), stage.table("rankings")
    found = feedback.read_ratings("data/raw/demo/ratings.csv")
    all_clips = artifacts.open_stage(stage_outputs.RUN, "02_pairing").table("clips")
    judged, _ = feedback.judgements(found, all_clips, people)
    table = further_comparisons.by_rater(rankings, judged, people)
    assert table.columns == ["system", *sorted(judged["rater"].unique())]
    assert (
        table["system"][0] == "random"
        and not table.select(pl.exclude("system")).to_numpy().min() < 0
    )
    assert further_comparisons.by_rater(rankings, judged.clear(), people).is_empty()


def test_the_wide_table_has_a_line_a_system() -> None:
    rows = [
        ("p", "a", feedback.NDCG, 0.5, 0.4, 0.6, 9),
        ("p", "b", feedback.NDCG, 0.25, None, None, 9),
        ("p", "b", feedback.MENDS_FIRST, 1, None, None, 7),
        ("p", "a", "mrr", 1, 1, 1, 9),
    ]
    columns = ["pool", "system", "metric", "value", "low", "high", "n"]
    table = pl.DataFrame(rows, schema=columns, orient="row", strict=False)
    known = {"pool": "p", "n": 9, feedback.NDCG: "0.50 [0.40, 0.60]"}
    assert feedback.wide(table).to_dicts() == [
        known | {"system": "a", feedback.MENDS_FIRST: None},
        known | {"system": "b", feedback.NDCG: "0.25", feedback.MENDS_FIRST: "1.00"},
    ]
    assert feedback.wide(table.clear()).is_empty()
