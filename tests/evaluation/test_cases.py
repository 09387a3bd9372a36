"""Which single retrievals are shown, and how right each retrieved clip is said to be."""

from __future__ import annotations

from typing import NamedTuple

import polars as pl
import pytest
import stage_outputs

from sportskills_lib.evaluation import demo_truth, recall
from sportskills_lib.report import cases
from sportskills_lib.runs import artifacts

SYSTEM = "image/narrations/text_to_video/within_sport"


class Scored(NamedTuple):
    """What 05 knows when it picks its cases."""

    clips: pl.DataFrame
    queries: pl.DataFrame
    scores: pl.DataFrame
    marked: pl.DataFrame


@pytest.fixture(scope="module")
def scored(_pristine) -> Scored:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SPORTSKILLS_HOME", str(_pristine))
        pairing = artifacts.open_stage(stage_outputs.RUN, "02_pairing")
        narrations = artifacts.open_stage(stage_outputs.RUN, "01_curation").table("narrations")
        vectors = artifacts.open_stage(stage_outputs.RUN, "03_encoder").table("embeddings")
        clips = pairing.table("clips").filter(pl.col("sport").is_in(["golf", "judo"]))
        queries, _ = recall.test_queries(clips, pairing.table("pairs"), narrations)
        scores, rankings = recall.score_all(vectors, queries, clips, min_gallery=50)
        marked = cases.retrieved(
            queries, rankings, clips, demo_truth.true_groups("data/raw/demo/truth", clips)
        )
    return Scored(clips, queries, scores, marked)


def test_marks_are_what_the_tables_say(scored) -> None:
    marks = scored.marked.filter(pl.col("system") == SYSTEM)
    own = {
        (query, clip)
        for query, clips in scored.queries.select("query_id", "own").rows()
        for clip in clips
    }
    skill = dict(scored.clips.select("clip_id", "skill").rows())
    asked = dict(scored.queries.select("query_id", "skill").rows())
    for query, clip, mark in marks.select("query_id", "clip_id", "mark").rows():
        assert (mark == cases.OWN) == ((query, clip) in own)
        assert (mark == cases.OTHER) == (skill[clip] != asked[query])
    assert set(marks["mark"]) >= {cases.OWN, cases.SAME_CUE, cases.SAME_SKILL}


def test_picks_are_good_typical_and_bad(scored) -> None:
    picked = cases.pick(scored.scores, SYSTEM, None, each=1)
    rank = dict(picked.select("kind", "own_rank").rows())
    all_ranks = cases.ranks(scored.scores, SYSTEM)["own_rank"]
    assert rank["good"] <= 10
    assert rank["bad"] == all_ranks.max()
    assert abs(rank["typical"] - all_ranks.median()) <= 1
    assert picked["query_id"].n_unique() == 3
    two = cases.pick(scored.scores, SYSTEM, SYSTEM.replace("narrations", "activity_skill"))
    assert two["kind"].to_list() == ["good", "good", "typical", "typical", "bad", "bad"]


def test_nothing_is_picked_where_nothing_was_asked(scored) -> None:
    assert cases.pick(scored.scores.head(0), SYSTEM, None).is_empty()


def test_the_default_system_is_within_sport_if_any_sport_is_evaluable(scored) -> None:
    assert cases.default_system(scored.scores) == SYSTEM
    null = scored.scores.with_columns(
        value=pl.when(~pl.col("system").str.ends_with("within_sport")).then(pl.col("value"))
    )
    assert cases.default_system(null) == SYSTEM.replace("within_sport", "across_sports")
