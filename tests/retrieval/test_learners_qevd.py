"""QEVD-FIT-COACH: labels in words and feedback sentences as learners, and untidy files."""

from __future__ import annotations

import polars as pl
import pytest
from learner_files import copy_video, labelled, reasons, write_qevd

from sportskills_lib import tables
from sportskills_lib.learner_data import read_learner_frames, read_learners


def read(source, **more):
    return read_learners(source, span_s=2.0, **({"sports": ["calisthenics"]} | more))


def test_a_label_names_the_mistake_and_the_coach_adds_words(tmp_path, six_seconds):
    rows = [
        labelled("00000000", "pushups - hips too low"),
        labelled("00000001", "Pushups - No Obvious Issue", split="test"),
        labelled("00000002", "squats - slow", "squats - not deep"),
        labelled("00000003", "squats - average"),
    ]
    said = {"00000000": ["Lift your hips!", " "], "00000003": "Push the knees out."}
    source = write_qevd(tmp_path, rows, feedback=said, workers={"00000000": 17, "00000001": 4})
    copy_video(six_seconds, *(tmp_path / f"short_clips/0000000{i}.mp4" for i in range(4)))
    learners, dropped = read(source)
    assert dropped.is_empty()
    told = learners.select("skill", "comment", "is_mistake").rows()
    assert told == [
        ("pushups", "Hips too low. Lift your hips!", True),
        ("pushups", "No obvious issue.", False),
        ("squats", "Not deep.", True),
        ("squats", "Average. Push the knees out.", True),  # nobody says that it is done well
    ]
    assert learners["split"].to_list()[1] == "test" and learners["end_s"].to_list() == [6.0] * 4
    assert learners["participant"].to_list()[:2] == ["worker 17", "worker 4"]
    assert read_learner_frames(source, learners, frames=2, size_px=16, workers=0)[2].is_empty()


def test_a_tenth_of_the_training_people_is_val(tmp_path, six_seconds):
    names = [f"{i:08d}" for i in range(60)]
    rows = [labelled(name, "squats - too high", split="test" if i < 6 else "train")
            for i, name in enumerate(names)]  # fmt: skip
    people = {name: 100 + i // 2 for i, name in enumerate(names)}
    copy_video(six_seconds, *(tmp_path / f"{name}.mp4" for name in names))  # no short_clips here
    learners, dropped = read(write_qevd(tmp_path, rows, workers=people))
    by_split = dict(learners["split"].cast(pl.String).value_counts().iter_rows())
    assert dropped.is_empty() and by_split == {"test": 6, "val": 6, "train": 48}


def workout(name, said, leads):
    frames = []
    for at_s, sentence in said:
        frames += [""] * (round(30 * at_s) - len(frames)) + [sentence] * 10
    return {
        "long_range_video_file": f"./long_range_videos/{name}.mp4",
        "video_timestamps": f"./long_range_videos/{name}_timestamps.npy",
        "feedbacks": frames,
        "feedback_timestamps": [0.0] * len(said),
        "is_transition": leads,
    }


def test_a_sentence_is_about_the_seconds_before_it(tmp_path, six_seconds):
    said = [(0.5, "First up are squats!"), (2.5, "Push your knees out."), (3.5, "Great job!")]
    said += [(4.0, "Moving on to high knees!"), (5.0, "Your back is too round.")]
    copy_video(six_seconds, tmp_path / "long_range_videos/0000.mp4")
    row = workout("0000", said, [True, False, False, True, False])
    learners, dropped = read(write_qevd(tmp_path, None, workouts=[row]))
    assert learners.select("skill", "comment", "start_s", "end_s").rows() == [
        ("squats", "Push your knees out.", 0.5, 2.5),
        ("high knees", "Your back is too round.", 3.0, 5.0),
    ]
    assert dropped.select("item_id", "reason").rows() == [
        ("long_range_videos-0000-mp4-" + dropped["item_id"][0][-13:], "no_comment")
    ]
    assert learners["is_mistake"].all() and learners["take_id"].n_unique() == 1


def test_each_bad_row_costs_itself(tmp_path, six_seconds):
    rows = [
        labelled("a", "squats - too high"),
        labelled("b", "squats - slow"),
        labelled("c"),
        labelled("d", None, 7, {}),
        labelled("e", "squats - too high", "lunges - too fast"),
        labelled("f", "squats - too high", split="holdout"),
        labelled("lost", "squats - too high"),
        labelled("x", "squats - too high", video_path="../../outside.mp4"),
        labelled("y", "squats - too high", video_path=None),
        labelled("a", "squats - perfect"),
        labelled("broken", "squats - too high", labels="SQUATS - TOO HIGH"),
        "no object",
        None,
    ]
    copy_video(six_seconds, *(tmp_path / f"short_clips/{name}.mp4" for name in "abcdef"))
    (tmp_path / "short_clips/broken.mp4").write_bytes(b"no video")
    source = write_qevd(tmp_path, rows, feedback={"b": None, "q": [1, None]}, workers={"a": None})
    learners, dropped = read(source)
    assert learners.is_empty()
    said = {(row[1], row[2]) for row in dropped.rows()}
    assert said == {
        ("a.mp4", "contradictory"),
        ("b.mp4", "no_comment"),
        ("c.mp4", "empty_comment"),
        ("d.mp4", "empty_comment"),
        ("e.mp4", "contradictory"),
        ("f.mp4", "bad_value"),
        ("lost.mp4", "missing_video"),
        ("../../outside.mp4", "view_outside_folder"),
        ("row9", "missing_video"),
        ("broken.mp4", "unreadable"),
        ("row12", "bad_row"),
        ("row13", "bad_row"),
    }


def test_bad_workouts_cost_themselves(tmp_path, six_seconds):
    copy_video(six_seconds, *(tmp_path / f"long_range_videos/{name}.mp4" for name in "abc"))
    rows = [
        workout("a", [(1.0, "Bend your knees.")], [False, True]),
        workout("b", [(1.0, "Bend your knees.")], None),
        workout("c", [(40.0, "Bend your knees.")], [False]),
        workout("../../x", [(1.0, "Bend your knees.")], [False]),
        workout("lost", [(1.0, "Bend your knees.")], [False]),
        "no object",
    ]
    learners, dropped = read(write_qevd(tmp_path, [], workouts=rows))
    assert learners.is_empty()
    assert reasons(dropped) == {
        "bad_row": 1,
        "contradictory": 1,
        "missing_field": 1,
        "missing_video": 1,
        "outside_video": 1,
        "view_outside_folder": 1,
    }


@pytest.mark.parametrize("content", [{"00000000": {}}, "x", 3])
def test_a_file_of_another_structure_ends_the_stage_with_one_line(tmp_path, content):
    with pytest.raises(ValueError, match="not a list: fetch it again"):
        read(write_qevd(tmp_path, content))


def test_splits_are_those_of_the_file(tmp_path, six_seconds):
    copy_video(six_seconds, tmp_path / "a.mp4", tmp_path / "b.mp4")
    rows = [labelled("a", "squats - too high", split="TEST"), labelled("b", "x - bad", split=None)]
    learners, _ = read(write_qevd(tmp_path, rows, workers={"a": 1, "b": 1}))
    assert learners["split"].to_list() == ["test", "test"]  # one person
    assert set(learners["split"]) <= set(tables.SPLITS)
