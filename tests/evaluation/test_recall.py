"""Recall of every arm against the definitions written out, query by query."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest
import stage_outputs

from sportskills_lib import metrics, tables
from sportskills_lib.evaluation import recall, recall_arrays, summary
from sportskills_lib.runs import artifacts


def score_in(task, vectors, scope, *, min_gallery=50, size=100):
    """One arm on one task, in one scope."""
    parts = recall.score_task(
        task, vectors, recall.lay_out(task), min_gallery=min_gallery, size=size
    )
    return [part.filter(pl.col("scope") == scope) for part in parts]


@pytest.fixture
def data(workspace):
    stages = {
        "clips": "02_pairing",
        "pairs": "02_pairing",
        "narrations": "01_curation",
        "embeddings": "03_encoder",
    }
    return {
        name: artifacts.open_stage(stage_outputs.RUN, stage).table(name)
        for name, stage in stages.items()
    }


@pytest.fixture
def queries(data):
    return recall.test_queries(data["clips"], data["pairs"], data["narrations"])[0]


def test_equal_texts_count_once_with_all_their_clips(data, queries):
    """The third channel says the same over both takes of a fault: 9 fault texts of 18 clips in a
    channel.
    """
    clips = data["clips"].filter((pl.col("split") == "test") & (pl.col("sport") == "golf"))
    golf = queries.filter(pl.col("sport") == "golf")
    assert golf["text"].n_unique() == golf.height
    assert sorted(golf.explode("own")["own"]) == sorted(clips["clip_id"])
    folded = golf.filter(pl.col("own").list.len() > 1)
    assert folded.height == 9
    assert folded["cluster"].to_list() == [own[0].split(":")[0] for own in folded["own"].to_list()]


def test_what_is_not_asked_is_listed(data):
    seen = data["narrations"].filter(pl.col("narration_id").str.starts_with("golf0"))["text"][0]
    first = (
        data["narrations"]
        .filter(pl.col("narration_id").str.starts_with("golf6"))["narration_id"]
        .sort()[0]
    )
    said = data["narrations"].with_columns(
        text=pl.when(pl.col("narration_id") == first)
        .then(pl.lit(seen.upper() + " !"))
        .otherwise("text")
    )
    queries, left_out = recall.test_queries(data["clips"], data["pairs"], said)
    assert first not in queries["query_id"]
    assert left_out.filter(pl.col("reason") == "text_seen_in_training")["item_id"].to_list() == [
        first
    ]
    assert left_out.filter(pl.col("reason") == "equal_text").height == 4 * 9
    test = data["clips"].filter(pl.col("split") == "test").height
    assert queries.height + left_out.height == test


@pytest.mark.parametrize("scope", ["within_sport", "across_sports"])
def test_text_to_video_equals_the_definition(data, queries, scope):
    vectors = data["embeddings"].filter(pl.col("model_id") == "image:activity_skill")
    scores, top = score_in(recall.text_to_video(queries, data["clips"]), vectors, scope)
    value = {(q, m): v for q, m, v in scores.select("query_id", "metric", "value").rows()}
    known = {
        (kind, item): np.array(v)
        for kind, item, v in vectors.select("item_kind", "item_id", "vector").rows()
    }
    test = data["clips"].filter(pl.col("split") == "test")
    for query in queries.sample(40, seed=1).iter_rows(named=True):
        gallery = (
            test if scope == "across_sports" else test.filter(pl.col("sport") == query["sport"])
        )
        asked = known["narration", query["query_id"]].astype(float)
        asked = asked / np.linalg.norm(asked)
        scored = []
        for clip in gallery["clip_id"]:
            vector = known["clip", clip].astype(float)
            scored.append((-round(float(asked @ (vector / np.linalg.norm(vector))), 9), clip))
        order = [clip for _, clip in sorted(scored)]
        assert value[query["query_id"], recall.RANK] == order.index(query["own"][0]) + 1
        for k in (1, 5, 10):
            found = np.mean([clip in order[:k] for clip in query["own"]])
            wanted = pytest.approx(found) if gallery.height >= 50 else None
            assert value[query["query_id"], f"recall@{k}_single"] == wanted
        got = top.filter(pl.col("query_id") == query["query_id"]).sort("rank")["clip_id"].to_list()
        assert got == order[:10]


def test_video_to_text_asks_each_clip_for_its_own_texts(data, queries):
    task = recall.video_to_text(queries, data["clips"])
    vectors = data["embeddings"].filter(pl.col("model_id") == "image:narrations")
    scores, _ = score_in(task, vectors, "within_sport")
    golf = scores.filter((pl.col("sport") == "golf") & (pl.col("metric") == recall.SINGLE))
    texts = queries.filter(pl.col("sport") == "golf").height
    assert golf.height == 108
    assert golf["chance"].unique().to_list() == [pytest.approx(10 / texts)]
    assert golf["value"].mean() > 0.9


def test_arms_that_know_nothing_score_at_chance_and_the_skill_arm_at_its_oracle(data, queries):
    scores, _ = recall.score_all(data["embeddings"], queries, data["clips"], min_gallery=50)
    tables.Scores.validate(scores, cast=True)
    split = recall.split_system(scores.filter(pl.col("metric") == recall.SINGLE))
    split = split.filter(pl.col("encoder") == "image")
    text = split.filter(
        (pl.col("direction") == "text_to_video") & (pl.col("scope") == "within_sport")
    )
    mean = dict(text.group_by("training").agg(pl.col("value").mean()).rows())
    chance = text["chance"].filter(text["value"].is_not_null()).mean()
    oracle = (
        recall.skill_oracle(queries, data["clips"])
        .filter(pl.col("sport") != "archery")["value"]
        .mean()
    )
    assert chance == pytest.approx(10 / 108)
    assert mean["activity_sport"] == pytest.approx(chance, abs=0.05)
    assert mean["activity_skill"] == pytest.approx(oracle, abs=0.1)
    assert mean["narrations"] > oracle + 0.3
    assert set(mean) == set(stage_outputs.ARMS)


def test_a_small_sport_has_its_chance_level_and_no_value(data, queries):
    scores, _ = recall.score_all(data["embeddings"], queries, data["clips"], min_gallery=50)
    archery = scores.filter((pl.col("sport") == "archery") & (pl.col("metric") == recall.SINGLE))
    within = archery.filter(pl.col("system").str.ends_with("text_to_video/within_sport"))
    assert within["value"].is_null().all()
    assert within["chance"].unique().to_list() == [pytest.approx(10 / 27)]
    assert (
        archery.filter(pl.col("system").str.ends_with("across_sports"))["value"].is_not_null().all()
    )


def test_all_rankings_obey_the_tie_rule_even_for_a_collapsed_model(data, queries):
    flat = data["embeddings"].with_columns(
        vector=pl.when(pl.col("model_id") == "image:narrations")
        .then(pl.lit([1.0] * 32))
        .otherwise("vector")
    )
    _, rankings = recall.score_all(flat, queries, data["clips"], min_gallery=50)
    tables.check_rankings(rankings)
    system = recall.system_name("image", "narrations", "text_to_video", "within_sport")
    golf = rankings.filter(
        (pl.col("system") == system) & pl.col("query_id").str.starts_with("golf")
    )
    first = (
        data["clips"]
        .filter((pl.col("split") == "test") & (pl.col("sport") == "golf"))["clip_id"]
        .sort()[:10]
    )
    assert golf["clip_id"].unique().sort().to_list() == first.to_list()


def test_chunks_do_not_change_anything(data, queries, monkeypatch):
    whole = recall.score_all(data["embeddings"], queries, data["clips"], min_gallery=50)
    monkeypatch.setattr(recall_arrays, "CHUNK", 7)
    parts = recall.score_all(data["embeddings"], queries, data["clips"], min_gallery=50)
    for one, two in zip(whole, parts, strict=True):
        assert one.equals(two)


def test_a_missing_vector_is_named(data, queries):
    gone = queries["query_id"][3]
    fewer = data["embeddings"].filter(pl.col("item_id") != gone)
    with pytest.raises(
        ValueError, match=rf"no vector for 1 narrations, first '{gone}': rerun 03_encoder"
    ):
        recall.score_all(fewer, queries, data["clips"], min_gallery=50)


def test_seeds_are_read_from_the_model_id():
    frame = pl.DataFrame({"model_id": ["image:narrations:seed2", "video:both", "image:narrations"]})
    assert recall.arms(frame) == [
        ("image:narrations", "image", "narrations", 0),
        ("image:narrations:seed2", "image", "narrations", 2),
        ("video:both", "video", "both", 0),
    ]


def test_no_query_at_all_is_no_error(data, queries):
    scores, rankings = recall.score_all(
        data["embeddings"], queries.head(0), data["clips"], min_gallery=50
    )
    assert scores.is_empty()
    assert rankings.is_empty()


def test_a_gallery_of_one_size_is_the_expectation_over_draws_of_whole_galleries(data, queries):
    """Recall in galleries that are really drawn, query by query, for a mean of many; and chance is
    k over the size.
    """
    vectors = data["embeddings"].filter(pl.col("model_id") == "image:narrations_shuffled")
    task = recall.text_to_video(queries, data["clips"])
    size = 60
    exact, _ = score_in(task, vectors, recall.FIXED, size=size)
    golf = exact.filter((pl.col("sport") == "golf") & (pl.col("metric") == recall.SINGLE)).sort(
        "query_id"
    )
    assert golf["chance"].unique().to_list() == [pytest.approx(10 / 60)]
    rows = task.queries.filter(pl.col("sport") == "golf").sort("query_id")
    gallery = task.gallery.filter(pl.col("sport") == "golf")
    scores = recall_arrays.similarity(
        recall.matrix(vectors, "narration", rows),
        recall.matrix(vectors, "clip", gallery.rename({"sport": "s"})),
    )
    rng = np.random.default_rng(0)
    place = {clip: row for row, clip in enumerate(gallery["gallery_id"])}
    drawn = []
    for row, own in enumerate(rows["own"].to_list()):
        found = []
        for clip in own:
            others = np.delete(np.arange(gallery.height), place[clip])
            for _ in range(400):
                chosen = np.sort(
                    np.append(rng.choice(others, size - 1, replace=False), place[clip])
                )
                at = int(np.searchsorted(chosen, place[clip]))
                found.append(metrics.positive_ranks(scores[row : row + 1, chosen], [at])[0] <= 10)
        drawn.append(np.mean(found))
    np.testing.assert_allclose(golf["value"], drawn, atol=0.1)
    assert golf["value"].mean() == pytest.approx(np.mean(drawn), abs=0.01)


def test_the_whole_gallery_is_the_gallery_of_its_own_size_and_smaller_sports_have_no_value(
    data, queries
):
    vectors = data["embeddings"].filter(pl.col("model_id") == "video:narrations")
    task = recall.text_to_video(queries, data["clips"])
    parts = [
        score_in(task, vectors, scope, size=108)[0] for scope in ("within_sport", recall.FIXED)
    ]
    full, fixed = (part.sort("query_id", "metric") for part in parts)
    large = pl.col("sport") != "archery"
    np.testing.assert_allclose(full.filter(large)["value"], fixed.filter(large)["value"])
    assert fixed.filter(~large)["value"].is_null().all()
    assert fixed.filter(pl.col("metric") == recall.SINGLE)["chance"].unique().to_list() == [
        pytest.approx(10 / 108)
    ]


def test_a_further_k_of_recall_is_one_line_and_leaves_the_headline_at_ten(
    data, queries, monkeypatch
):
    def scored():
        task = recall.text_to_video(queries, data["clips"])
        vectors = data["embeddings"].filter(pl.col("model_id") == "image:narrations")
        relevant = task.queries.select("query_id", gallery_id="own").explode("gallery_id")
        layout = recall.lay_out(task, relevant)
        return recall.score_task(task, vectors, layout, min_gallery=50, size=60)

    before, top = scored()
    monkeypatch.setattr(recall_arrays, "RECALL_AT", (1, 5, 10, 20))
    after, same_top = scored()
    further = ("recall@20_single", "recall@20_multi")
    added = after.filter(pl.col("metric").is_in(further))
    assert set(added["metric"]) == set(further)
    assert set(added["scope"]) == {recall.WITHIN, recall.FIXED, recall.ACROSS}
    assert after.filter(~pl.col("metric").is_in(further)).equals(before)
    assert same_top.equals(top) and top["rank"].max() == metrics.HEADLINE_K == 10
    within = added.filter(pl.col("scope") == recall.WITHIN).filter(pl.col("sport") == "golf")
    chance = within.filter(pl.col("metric") == further[0])["chance"].unique().to_list()
    assert chance == [pytest.approx(20 / 108)]
    for name in further:  # ten more places can only help
        deep = within.filter(pl.col("metric") == name)["value"].mean()
        near = before.filter(
            (pl.col("scope") == recall.WITHIN)
            & (pl.col("sport") == "golf")
            & (pl.col("metric") == name.replace("20", "10"))
        )["value"].mean()
        assert deep >= near
    arm = "image/narrations/text_to_video/within_sport"
    scores = (
        after.filter(pl.col("scope") == recall.WITHIN)
        .drop("scope")
        .with_columns(system=pl.lit(arm), seed=pl.lit(0, dtype=pl.Int64))
    )
    table = summary.per_sport_recall(scores, draws=50, seed=0)
    assert set(further) <= set(table["metric"])
    assert set(summary.of_figure(table)["metric"]) == {"recall@10_single"}
