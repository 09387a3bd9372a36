"""Weak supervision and pools: what is paired with what, why, and what is never read."""

from __future__ import annotations

import functools
import zlib

import numpy as np
import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sportskills_lib import tables
from sportskills_lib.config import RetrievalConfig
from sportskills_lib.retrieval.ranking.judged_pools import read_pools
from sportskills_lib.retrieval.supervision import build, labelling
from sportskills_lib.retrieval.supervision.labelling import (
    ADVICE,
    BETWEEN,
    LIKE_POSITIVES,
    MISTAKE,
    OTHER_ADVICE,
    OTHER_CUE,
    OTHER_SKILL,
    RANDOM,
    check_splits,
    clip_texts,
)
from sportskills_lib.retrieval.supervision.text_similarity import (
    WidenedWords,
)


def clip(number, text, *, sport="tennis", skill="serve", demonstration="correct", split="train"):
    row = {
        "clip_id": f"v{number}:000000-003000",
        "video_id": f"v{number}",
        "start_s": 0.0,
        "end_s": 3.0,
        "channel": "c",
        "sport": sport,
        "skill": skill,
        "demonstration": demonstration,
        "verifier": "t",
        "score": 1.0,
        "split": split,
    }
    return row, text


def with_config(build, *world, similarity=None, masking=None, first_stage=None, **changes):
    """The table of ``build`` under a config without masks, but for its ``changes``."""
    config = RetrievalConfig(**({"mask_against": "none"} | changes))
    readers = {"similarity": similarity, "masking": masking, "first_stage": first_stage}
    return build(*world, config, **readers)


build_supervision = functools.partial(with_config, labelling.build_supervision)
build_lesson_supervision = functools.partial(with_config, build.build_lesson_supervision)


def learner(number, comment, *, sport="tennis", skill="serve", split="train", is_mistake=True):
    return {
        "learner_id": f"t{number}:000000-003000",
        "start_s": 0.0,
        "end_s": 3.0,
        "take_id": f"t{number}",
        "participant": str(number),
        "path": "x.mp4",
        "sport": sport,
        "skill": skill,
        "comment": comment,
        "is_mistake": is_mistake,
        "split": split,
    }


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
    return {
        clip_id.split(":")[0]: (label, reason)
        for clip_id, label, reason in rows.select("clip_id", "label", "reason").iter_rows()
    }


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


def test_the_same_seed_draws_the_same_negatives(world):
    assert build_supervision(*world, seed=1).equals(build_supervision(*world, seed=1))


def test_mistakes_in_training_lessons_teach_like_learners_but_never_themselves(world):
    table = build_lesson_supervision(*world)
    assert reasons(table, "v2:000000-003000")["v1"] == (1.0, ADVICE)
    assert set(table["learner_id"]) == {"v2:000000-003000"} and "v2:000000-003000" not in set(
        table["clip_id"]
    )
    assert build_lesson_supervision(world[0].clear(), *world[1:]).height == 0


def test_nobody_to_learn_from_gives_an_empty_table(world):
    learners, clips, texts = world
    assert build_supervision(learners.clear(), clips, texts).height == 0


def test_a_masked_row_has_no_label_its_reason_and_its_similarity(world):
    learners, clips, texts = world

    def similarity(queries, found):
        return np.tile([1.0, 0.5, 0.1, 0.7, 0.0, 0.0][: len(found)], (len(queries), 1))

    table = build_supervision(
        learners, clips, texts, similarity=similarity, positive_share=0.8, negative_share=0.2
    )
    assert reasons(table)["v2"] == (None, BETWEEN)
    assert {
        name: label for name, (label, _) in reasons(table).items() if label is not None
    }.keys() == {
        "v1",
        "v3",
        "v4",
        "v5",
    }
    alike = dict(
        table.filter(pl.col("learner_id").str.starts_with("t1"))
        .select("clip_id", "similarity")
        .iter_rows()
    )
    assert [alike[f"v{i}:000000-003000"] for i in (1, 2, 3, 4)] == [1.0, 0.5, 0.1, 0.7]


@pytest.mark.parametrize(
    ("changes", "masked"),
    [
        ({}, {}),
        ({"mask_against": "mean", "mask_margin": -0.1}, {}),
        (
            {"mask_against": "mean", "mask_margin": 0.2},
            {"v4": LIKE_POSITIVES},
        ),  # the positives' mean is 0.75
        (
            {"mask_against": "mean", "mask_margin": 0.7},
            {"v3": LIKE_POSITIVES, "v4": LIKE_POSITIVES},
        ),
    ],
)
def test_negatives_too_alike_are_masked(world, changes, masked):
    def similarity(queries, found):
        by_text = {"reach for the far wall on the serve": 1.0, "the broken wing spoils it": 0.5,
                   "light the torch in front": 0.1, "reach for the far wall": 0.7}  # fmt: skip
        return np.tile([by_text.get(text, 0.0) for text in found], (len(queries), 1))

    table = build_supervision(
        *world, similarity=similarity, positive_share=0.5, negative_share=0.2, **changes
    )
    got = reasons(table)
    assert {name: reason for name, (label, reason) in got.items() if label is None} == masked
    assert {name for name, (label, _) in got.items() if label == 0} == {
        "v3",
        "v4",
        "v5",
    } - masked.keys()


def test_another_reading_masks_what_the_first_one_missed(world):
    def other(queries, found):
        return np.tile(
            [0.9 if "torch" in text or "wing" in text else 0.2 for text in found], (len(queries), 1)
        )

    table = build_supervision(*world, masking=other, mask_against="mean", mask_margin=0.1)
    assert reasons(table)["v3"] == (None, LIKE_POSITIVES) and reasons(table)["v1"] == (1.0, ADVICE)


def test_a_learner_without_skill_is_compared_with_its_whole_sport(world):
    learners, clips, texts = world
    unknown = learners.with_columns(skill=pl.lit(None, dtype=pl.String))
    got = reasons(build_supervision(unknown, clips, texts))
    assert (
        got["v4"] == (1.0, ADVICE)
        and got["v3"] == (0.0, OTHER_ADVICE)
        and got["v5"] == (0.0, RANDOM)
    )
    assert OTHER_SKILL not in {reason for _, reason in got.values()}


def test_a_clip_without_words_and_a_learner_without_a_comment_are_paired_with_nobody(world):
    learners, clips, texts = world
    table = build_supervision(
        learners,
        clips,
        texts | {"v3:000000-003000": ""},
        similarity=lambda a, b: np.ones((len(a), len(b))),
    )
    assert set(reasons(table)) == {"v1", "v2", "v4", "v5"}
    assert build_supervision(learners.with_columns(comment=pl.lit("")), clips, texts).height == 0


def test_a_learner_whose_best_match_is_too_weak_has_no_row_of_its_skill(world):
    table = build_supervision(*world, similarity_floor=2.0)
    assert set(table["reason"]) == {OTHER_SKILL, RANDOM}


@pytest.fixture
def crowd():
    """Six learners with and without skill in each split; sixty clips of two sports with two skills
    each.
    """
    rng = np.random.default_rng(0)
    said = [
        "reach for the far wall",
        "light the torch in front",
        "the broken wing spoils it",
        "sit on a low chair",
    ]
    rows, people = [], []
    for number in range(60):
        sport = ("tennis", "judo")[number % 2]
        row, text = clip(
            number,
            said[rng.integers(4)],
            sport=sport,
            skill=f"{sport}{number // 2 % 2}",
            demonstration=("correct", "incorrect")[number % 3 == 0],
            split=("train", "val", "test")[number % 3],
        )
        rows.append((row, text))
    for number in range(18):
        sport = ("tennis", "judo")[number % 2]
        skill = None if number % 5 == 0 else f"{sport}{number // 2 % 2}"
        people.append(
            learner(
                number,
                f"{said[number % 4]} so {said[(number + 1) % 4]}",
                sport=sport,
                skill=skill,
                split=("train", "val", "test")[number // 2 % 3],
            )
        )
    clips = tables.Clips.validate(pl.DataFrame([row for row, _ in rows]).sort("clip_id"), cast=True)
    learners = tables.Learners.validate(
        pl.DataFrame(people, infer_schema_length=None).sort("learner_id"), cast=True
    )
    return learners, clips, {row["clip_id"]: text for row, text in rows}


def first_stage(learner_ids, clip_ids):
    """Similarities that depend on the names alone."""
    return np.array(
        [[zlib.crc32(f"{a}{b}".encode()) / 2**32 for b in clip_ids] for a in learner_ids]
    )


@settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    splits=st.lists(st.sampled_from(tables.SPLITS), min_size=78, max_size=78),
    mined=st.integers(0, 6),
    against=st.sampled_from(["none", "mean"]),
)
def test_no_pair_crosses_splits_and_none_is_of_the_test_split(crowd, splits, mined, against):
    learners, clips, texts = crowd
    kind = pl.Enum(tables.SPLITS)
    learners = learners.with_columns(split=pl.Series(splits[: learners.height], dtype=kind))
    clips = clips.with_columns(split=pl.Series(splits[learners.height :], dtype=kind))
    changes = {"mined_negatives": mined, "mask_against": against}
    own = build_supervision(learners, clips, texts, first_stage=first_stage, **changes)
    lessons = build_lesson_supervision(learners, clips, texts, first_stage=first_stage, **changes)
    side = dict(learners.select("learner_id", pl.col("split").cast(pl.String)).iter_rows())
    side |= dict(clips.select("clip_id", pl.col("split").cast(pl.String)).iter_rows())
    for learner_id, clip_id in (
        pl.concat([own, lessons]).select("learner_id", "clip_id").iter_rows()
    ):
        assert side[learner_id] == side[clip_id] != "test" and learner_id != clip_id
    assert not pl.concat([own, lessons]).select("learner_id", "clip_id").is_duplicated().any()
    assert own["reason"].null_count() == own["similarity"].null_count() == 0


def test_a_pair_across_splits_is_refused_by_name(world):
    learners, clips, _ = world
    row = {"learner_id": "t1:000000-003000", "clip_id": "v6:000000-003000"}
    with pytest.raises(
        ValueError,
        match=r"t1:000000-003000 \(train\) is paired with clip v6:000000-003000 \(test\)",
    ):
        check_splits(pl.DataFrame([row]), learners, clips)


def test_phrases_that_experts_say_together_lend_each_other_clips():
    comments = [
        "the broken wing again, reach for the far wall",
        "light the torch, the flag is down",
    ]
    similarity = WidenedWords(comments, ["serve"])
    scores = similarity(
        ["here the broken wing"], ["reach for the far wall", "the flag is down", "nothing alike"]
    )
    assert scores[0, 0] > 0 and scores[0, 1] == 0 and scores[0, 2] == 0
    chain = [
        "the broken wing, so pour the tea",
        "pour the tea or reach for the far wall",
        "something else entirely",
    ]
    reached = [
        WidenedWords(chain, [], floors=floors)(["a broken wing"], [("reach for the far wall")])[
            0, 0
        ]
        for floors in ((0.1,), (0.1, 0.1))
    ]
    assert reached[0] == 0 < reached[1]  # no comment joins the two directly
    assert WidenedWords(["wing", "wall"], [])(["wing"], ["wing"]).tolist() == [
        [0.0]
    ]  # no two words in a row


def test_texts_of_a_clip_are_joined_in_order_of_time():
    clips = pl.DataFrame({"clip_id": ["a", "b"]})
    pairs = pl.DataFrame({"clip_id": ["a", "a"], "narration_id": ["n2", "n1"]})
    narrations = pl.DataFrame(
        {"narration_id": ["n1", "n2"], "text": ["first", "second"], "start_s": [0.0, 1.0]}
    )
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
