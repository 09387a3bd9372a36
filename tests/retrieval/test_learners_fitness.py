"""EgoExo-Fitness: executions as learners, mistakes with names, graded relevance of verdicts, and
untidy files.
"""

from __future__ import annotations

import json

import numpy as np
import polars as pl
import pytest
from learner_files import judged, reasons, write_fitness

from sportskills_lib import tables
from sportskills_lib.evaluation import feedback
from sportskills_lib.learner_data import fitness, read_learner_frames, read_learners
from sportskills_lib.retrieval.ranking import judged_pools

BACK, FEET = "Keep your back straight.", "Cross your feet."
ACTORS = {"recA": "0925-Jianan", "recB": "0927-Huiwen", "recC": "1019-Jianan"}


def read(source, **more):
    return read_learners(source, span_s=3.0, **({"sports": ["fitness"]} | more))


def test_a_false_key_point_is_a_mistake_and_all_true_is_a_good_execution(tmp_path):
    entries = {
        "recA_action_1": judged(
            record="recA", one={BACK: False, FEET: True}, two={BACK: "FALSE ", FEET: False}
        ),
        "recB_action_1": judged(record="recB", one={BACK: True, FEET: True}),
    }
    learners, dropped = read(write_fitness(tmp_path, entries, ACTORS))
    assert dropped.is_empty() and learners["skill"].to_list() == ["push-ups"] * 2
    wrong, right = learners.to_dicts()
    # the feet are disputed (one of two says False): no mistake
    assert (wrong["comment"], wrong["is_mistake"]) == (BACK, True)
    assert (right["comment"], right["is_mistake"]) == (f"{BACK} {FEET}", False)
    assert wrong["path"] == "frames_open/recA/exo_m" and wrong["participant"] == "jianan"
    assert (wrong["start_s"], wrong["end_s"]) == (31 / 30, 4.0)
    assert wrong["learner_id"] == "recA_action_1:001033-004000"
    _, frames, unread = read_learner_frames(tmp_path, learners, frames=3, size_px=16, workers=0)
    assert unread.is_empty()
    assert np.abs(frames[0, :, 8, 8, 0] - 2.0 * np.array([45, 75, 105])).max() <= 3


def test_a_person_filmed_on_two_days_stays_in_one_split(tmp_path):
    actors = {f"rec{i}": f"{900 + i}-Person{i % 7}" for i in range(14)}
    entries = {f"{name}_action_2": judged(record=name, a={BACK: False}) for name in actors}
    learners, _ = read(write_fitness(tmp_path, entries, actors, numbers=range(28, 124)))
    assert learners.group_by("participant").agg(pl.col("split").n_unique())["split"].max() == 1
    assert learners["participant"].n_unique() == 7
    assert set(learners["split"]) == set(tables.SPLITS)


def test_without_records_each_record_is_a_person(tmp_path):
    write_fitness(tmp_path, {"recA_action_1": judged(record="recA", a={BACK: 0})}, ACTORS)
    (tmp_path / "raw_annotations/meta_records.json").unlink()
    assert read(tmp_path)[0]["participant"].to_list() == ["record reca"]


def untidy(folder):
    verdict = {BACK: False}
    entries = {
        "recA_action_1": judged(record="recA", a=verdict, b=[["odd"], [FEET, "maybe"], [BACK, 0]]),
        "recA_action_2": judged(record="recA", a=verdict, frames=(100, 10)),
        "recA_action_3": judged(record="recA", a=verdict, frames=(float("nan"), 20)),
        "recA_action_4": judged(record="recA", a=verdict, frames="31-120"),
        "recA_action_5": judged(record="recA", a=verdict, frames=(31, 9000)),
        "recA_action_6": judged(record="recA"),
        "recA_action_7": judged(record="recA", a=[]),
        "recA_action_8": judged(record="recA", action=" ", a=verdict),
        "recA_action_9": "gone",
        "recA_action_10": judged(record="recA", a=verdict) | {"annotations": None, "more": 1},
        "recB_action_1": judged(record="../../etc", a=verdict),
        "recB_action_2": judged(record="nobody", a=verdict),
        "../recB_action_3": judged(record="recB", a=verdict),
        "recB": judged(record="recB", a=verdict),
        "recB_action_4": judged(record="recB", a=[[BACK, "True"], [BACK, "False"], [FEET, "no"]]),
        "recB_action_5": judged(record="recB", a=verdict) | {"frame_root": ["frames_open/recB"]},
    }
    two = judged(record="recA", a=verdict)["annotations"]
    two += judged(record="recA", action="Sit-ups", b=verdict)["annotations"]
    entries["recA_action_11"] = judged(record="recA") | {"annotations": [*two, None]}
    return write_fitness(folder, entries, ACTORS)


def test_each_bad_entry_costs_itself(tmp_path):
    learners, dropped = read(untidy(tmp_path))
    assert learners["take_id"].to_list() == ["recA_action_1", "recB_action_4"]
    assert learners["comment"].to_list() == [BACK, FEET]
    said = dict(dropped.filter(item_kind="learner").select("item_id", "reason").iter_rows())
    assert said == {
        "recA_action_2": "bad_span",
        "recA_action_3": "bad_span",
        "recA_action_4": "bad_span",
        "recA_action_5": "outside_video",
        "recA_action_6": "empty_comment",
        "recA_action_7": "empty_comment",
        "recA_action_8": "missing_field",
        "recA_action_9": "bad_row",
        "recA_action_10": "empty_comment",
        "recA_action_11": "contradictory",
        "recB_action_1": "view_outside_folder",
        "recB_action_2": "missing_video",
        "../recB_action_3": "bad_id",
        "recB": "bad_id",
        "recB_action_5": "missing_video",
    }
    verdicts = dropped.filter(item_kind="verdict")
    assert reasons(verdicts) == {"bad_row": 2, "bad_value": 2, "contradictory": 1}


def test_gaps_and_broken_pictures_cost_the_executions_that_need_them(tmp_path):
    numbers = [n for n in range(1, 400) if not 140 < n < 190 and n != 62]
    entries = {
        f"recA_action_{i}": judged(record="recA", frames=span, a={BACK: False})
        for i, span in enumerate([(31, 91), (121, 211), (241, 301)])
    }
    source = write_fitness(tmp_path, entries, {"recA": "0925-Jianan"}, numbers=numbers)
    (source / "frames_open/recA/exo_m/frame_0000000271.jpg").write_bytes(b"\xff\xd8 cut")
    learners, dropped = read(source)
    assert learners.height == 3 and dropped.is_empty()
    kept, frames, unread = read_learner_frames(source, learners, frames=3, size_px=16, workers=0)
    assert kept["take_id"].to_list() == ["recA_action_0"] and frames.shape == (1, 3, 16, 16, 3)
    assert unread["reason"].to_list() == ["unreadable", "unreadable"]


@pytest.mark.parametrize("content", ["[]", "{broken", '"x"', ""])
def test_a_file_of_another_structure_ends_the_stage_with_one_line(tmp_path, content):
    with pytest.raises(ValueError, match="fetch it again"):
        read(write_fitness(tmp_path, content, ACTORS))


def test_a_key_named_twice_is_contradictory(tmp_path):
    one, two = (json.dumps(judged(record="recA", a={BACK: kept})) for kept in (False, True))
    content = f'{{"recA_action_1": {one}, "recA_action_1": {two}}}'
    learners, dropped = read(write_fitness(tmp_path, content, ACTORS))
    assert learners.is_empty() and reasons(dropped) == {"contradictory": 2}


def graded(tmp_path):
    """Four people of one split: one does the back wrong, one both, two judged by two annotators."""
    entries = {
        "recA_action_1": judged(record="recA", ann={BACK: False, FEET: True}),
        "recB_action_1": judged(record="recB", ann={BACK: False, FEET: False}),
        "recC_action_1": judged(record="recC", ann={BACK: True, FEET: True}, ben={BACK: False}),
        "recD_action_1": judged(record="recD", ben={BACK: "true", FEET: False}),
        "recD_action_2": judged("Sit-ups", record="recD", ben={BACK: True}),
    }
    source = write_fitness(tmp_path, entries, {f"rec{x}": f"1-P{x}" for x in "ABCD"})
    learners, _ = read(source)
    return source, learners.with_columns(split=pl.lit("test").cast(learners["split"].dtype))


def test_verdicts_grade_the_executions_of_others(tmp_path):
    source, learners = graded(tmp_path)
    rows = fitness.ratings(source, learners)
    assert set(feedback.RATINGS) | {"learner_id"} == set(rows.columns)
    found = {(a[3], c[3], rater): grade for a, c, rater, grade in
             rows.select("take_uid", "video_id", "rater", "grade").iter_rows()}  # fmt: skip
    assert found == {
        ("A", "B", "ann"): 1,  # the same mistake
        ("A", "C", "ann"): 3,
        ("A", "C", "ben"): 1,
        ("A", "D", "ben"): 3,  # the feet are not A's mistake
        ("B", "A", "ann"): 2,  # one of two mistakes is done right
        ("B", "C", "ann"): 3,  # ben says nothing of the feet: no grade
        ("B", "D", "ben"): 2,
        ("D", "A", "ann"): 3,
        ("D", "B", "ann"): 1,
        ("D", "C", "ann"): 3,
    }
    assert not rows["simulated"].any()


def test_04_and_05_read_these_ratings(tmp_path, monkeypatch):
    monkeypatch.setenv("SPORTSKILLS_HOME", str(tmp_path))
    source, learners = graded(tmp_path)
    fitness.ratings(source, learners).write_csv(tmp_path / "ratings.csv")
    clips = learners.select("start_s", "end_s", "split", clip_id="learner_id", video_id="take_id")
    pools, lost = judged_pools.read_pools(tmp_path / "ratings.csv", learners, clips)
    judgements, unmatched = feedback.judgements(
        feedback.read_ratings("ratings.csv"), clips, learners
    )
    assert lost.is_empty() and unmatched.is_empty()
    assert pools.height == 9 and judgements.height == 10


def test_no_pair_leaves_a_split_and_training_learners_are_not_rated(tmp_path):
    source, learners = graded(tmp_path)
    for splits, pairs in ((("val", "test", "test", "test", "test"), 4), (("train",) * 5, 0)):
        told = learners.with_columns(split=pl.Series(splits).cast(learners["split"].dtype))
        rows = fitness.ratings(source, told)
        assert len(set(rows.select("take_uid", "video_id").rows())) == pairs
