"""Weak supervision and pools: what is paired with what, why, and what is never read."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest

from sportskills_lib import tables
from sportskills_lib.retrieval.pools import read_pools
from sportskills_lib.retrieval.supervision import (
    ADVICE,
    MISTAKE,
    OTHER_CUE,
    OTHER_SKILL,
    RANDOM,
    build_lesson_supervision,
    build_supervision,
    clip_texts,
    expanded_similarity,
    tfidf_similarity,
)


def clip(number, text, *, sport="tennis", skill="serve", demonstration="correct", split="train"):
    row = {
        "clip_id": f"v{number}:000000-003000", "video_id": f"v{number}", "start_s": 0.0, "end_s": 3.0, "channel": "c",
        "sport": sport, "skill": skill, "demonstration": demonstration, "verifier": "t", "score": 1.0, "split": split,
    }  # fmt: skip
    return row, text


def learner(number, comment, *, sport="tennis", skill="serve", split="train", is_mistake=True):
    return {
        "learner_id": f"t{number}:000000-003000", "start_s": 0.0, "end_s": 3.0, "take_id": f"t{number}",
        "participant": str(number), "path": "x.mp4", "sport": sport, "skill": skill, "comment": comment,
        "is_mistake": is_mistake, "split": split,
    }  # fmt: skip


@pytest.fixture
def world():
    rows = [
        clip(1, "reach for the far wall on the serve"),
        clip(2, "the broken wing spoils it", demonstration="incorrect"),
        clip(3, "light the torch in front"),
        clip(4, "reach for the far wall", skill="forehand"),
        clip(5, "roll like a ball", sport="judo", skill="fall"),
        clip(6, "reach for the far wall", split="test"),
        clip(7, "reach for the far wall", split="val"),
    ]
    clips = tables.Clips.validate(pl.DataFrame([row for row, _ in rows]), cast=True)
    people = [
        learner(1, "The broken wing spoils it. Next time reach for the far wall."),
        learner(2, "all is well", is_mistake=False),
        learner(3, "the broken wing", split="test"),
        learner(4, "reach for the far wall", split="val"),
    ]
    learners = tables.Learners.validate(pl.DataFrame(people), cast=True)
    return learners, clips, {row["clip_id"]: text for row, text in rows}


def reasons(table, learner_id="t1:000000-003000"):
    rows = table.filter(pl.col("learner_id") == learner_id)
    return {clip_id.split(":")[0]: (label, reason) for clip_id, label, reason in rows.drop("learner_id").iter_rows()}


def test_every_row_has_its_label_and_its_reason(world):
    table = build_supervision(*world, mistake_label=0.6)
    assert reasons(table) == {
        "v1": (1.0, ADVICE),
        "v2": (0.6, MISTAKE),
        "v3": (0.0, OTHER_CUE),
        "v4": (0.0, OTHER_SKILL),
        "v5": (0.0, RANDOM),
    }


def test_test_learners_and_test_clips_are_never_used(world):
    learners, clips, texts = world
    table = build_supervision(learners, clips, texts)
    assert set(table["learner_id"]) == {"t1:000000-003000", "t4:000000-003000"}
    assert reasons(table, "t4:000000-003000") == {"v7": (1.0, ADVICE)}
    changed = learners.with_columns(
        comment=pl.when(pl.col("split") == "test").then(pl.lit("another word")).otherwise("comment")
    )
    assert build_supervision(changed, clips, texts).equals(table)


def test_what_lies_between_the_thresholds_is_left_out(world):
    learners, clips, texts = world

    def similarity(queries, found):
        return np.tile([1.0, 0.5, 0.1][: len(found)], (len(queries), 1))

    table = build_supervision(learners, clips, texts, similarity=similarity, positive_share=0.8, negative_share=0.2)
    assert set(reasons(table)) == {"v1", "v3", "v4", "v5"}


def test_the_same_seed_draws_the_same_negatives(world):
    assert build_supervision(*world, seed=1).equals(build_supervision(*world, seed=1))


def test_mistakes_in_training_lessons_teach_like_learners_but_never_themselves(world):
    table = build_lesson_supervision(*world)
    assert reasons(table, "v2:000000-003000")["v1"] == (1.0, ADVICE)
    assert set(table["learner_id"]) == {"v2:000000-003000"} and "v2:000000-003000" not in set(table["clip_id"])
    assert build_lesson_supervision(world[0].clear(), *world[1:]).height == 0


def test_nobody_to_learn_from_gives_an_empty_table(world):
    learners, clips, texts = world
    assert build_supervision(learners.clear(), clips, texts).height == 0


def test_phrases_that_experts_say_together_lend_each_other_clips():
    comments = ["the broken wing again, reach for the far wall", "light the torch, the flag is down"]
    similarity = expanded_similarity(comments, ["serve"])
    scores = similarity(["here the broken wing"], ["reach for the far wall", "the flag is down", "nothing alike"])
    assert scores[0, 0] > 0 and scores[0, 1] == 0 and scores[0, 2] == 0
    assert tfidf_similarity([], ["a text"]).shape == (0, 1)


def test_texts_of_a_clip_are_joined_in_order_of_time():
    clips = pl.DataFrame({"clip_id": ["a", "b"]})
    pairs = pl.DataFrame({"clip_id": ["a", "a"], "narration_id": ["n2", "n1"]})
    narrations = pl.DataFrame({"narration_id": ["n1", "n2"], "text": ["first", "second"], "start_s": [0.0, 1.0]})
    assert clip_texts(clips, pairs, narrations) == {"a": "first second", "b": ""}


def test_pools_hold_the_judged_clips_and_no_grade(world, tmp_path):
    learners, clips, _ = world
    header = "take_uid,video_time,video_id,start_s,end_s,rater,grade,simulated\n"
    rows = [
        "t3,1.4,v6,0.2,3.1,a,3,True", "t3,1.4,v6,0.2,3.1,b,0,True",  # one candidate, two raters
        "t3,1.4,v1,0.0,3.0,a,1,True",  # a training clip
        "t3,1.4,v6,2.5,5.5,a,1,True",  # overlaps no clip by half
        "t9,1.4,v6,0.0,3.0,a,1,True",  # nobody's take
        "t3,9.0,v6,0.0,3.0,a,1,True",  # no learner at that moment
    ]  # fmt: skip
    path = tmp_path / "ratings.csv"
    path.write_text(header + "\n".join(rows) + "\n")
    pools, dropped = read_pools(path, learners, clips)
    assert pools.rows() == [("t3:000000-003000", "v6:000000-003000")]
    counts = dict(dropped["reason"].value_counts().iter_rows())
    assert counts == {"other_split": 1, "no_clip": 1, "no_learner": 2}
    path.write_text(header + "\n".join(row.replace(",3,True", ",0,True") for row in rows) + "\n")
    assert read_pools(path, learners, clips)[0].equals(pools)
    assert read_pools(None, learners, clips)[0].height == 0


def test_a_bad_row_of_ratings_costs_itself_and_a_bad_file_is_named(world, tmp_path):
    learners, clips, _ = world
    path = tmp_path / "ratings.csv"
    head = "take_uid,video_time,video_id,start_s,end_s,rater\n"
    rows = [
        "t3,1.4,v6,0.2,3.1,a",
        "t3,soon,v6,0.2,3.1,a",
        "t3,1.4,v6,nan,3.1,a",
        "t3,1.4,,0.2,3.1,a",
        "t3,inf,v6,0,3,b",
    ]
    path.write_text(head + "\n".join(rows) + "\n")
    pools, dropped = read_pools(path, learners, clips)
    assert pools.height == 1 and dropped["reason"].to_list() == ["bad_row"] * 4
    assert dropped["item_id"][0] == "t3@soon"
    path.write_text("take_uid,video_id\n")
    with pytest.raises(ValueError, match=r"ratings\.csv has no column video_time, start_s, end_s"):
        read_pools(path, learners, clips)
    path.write_bytes(b"")
    with pytest.raises(ValueError, match=r"ratings\.csv cannot be read"):
        read_pools(path, learners, clips)
