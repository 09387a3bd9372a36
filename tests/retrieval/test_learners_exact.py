"""ExAct's clips as learners: what is kept, what is dropped and why, and whose splits they
follow.
"""

from __future__ import annotations

import json

import numpy as np
import polars as pl
import pytest
from learner_files import copy_video, question, reasons, remark, take, write_egoexo, write_exact

from sportskills_lib.learner_data import exact, read_learner_frames, read_learners


def test_a_clip_is_a_learner_as_a_whole(tmp_path, six_seconds):
    source = write_exact(tmp_path, [question(1), question(2, good=True)], six_seconds)
    learners, dropped = read_learners(source, span_s=3.0, sports=["basketball"])
    assert dropped.height == 0
    ids = ["basketball_ge_unc_basketball_002_2_2.5", "basketball_tips_unc_basketball_001_1_2.5"]
    assert learners["take_id"].to_list() == ids
    assert learners["learner_id"].to_list() == [f"{name}:000000-006000" for name in ids]
    assert learners["path"].to_list() == [f"{name}.mp4" for name in ids]
    assert learners["comment"].to_list() == ["the elbow is right 2", "the elbow is right 1"]
    assert learners.select("sport", "skill", "is_mistake").rows() == [
        ("basketball", "mikan layup", False), ("basketball", "mikan layup", True),
    ]  # fmt: skip
    np.testing.assert_allclose(learners["end_s"], 6.0)
    kept, frames, unread = read_learner_frames(source, learners, frames=2, size_px=32, workers=0)
    assert kept.height == len(frames) == 2 and unread.height == 0


@pytest.mark.parametrize("below", ["", "data"])
def test_the_folder_may_be_named_as_it_is_published(tmp_path, six_seconds, below):
    write_exact(tmp_path / below, [question(1)], six_seconds)
    learners, _ = read_learners(tmp_path, span_s=3.0)
    assert (tmp_path / learners["path"][0]).is_file()
    assert read_learner_frames(tmp_path, learners, frames=2, size_px=32, workers=0)[0].height == 1


# ------------------------------------------------------------------------------------------- splits


def test_takes_of_one_capture_stand_in_one_split_whatever_is_there(tmp_path, six_seconds):
    rows = [question(number, capture=number // 3) for number in range(30)]
    source = write_exact(tmp_path, rows, six_seconds)
    learners, _ = read_learners(source, span_s=3.0)
    assert learners["participant"].n_unique() == 10
    by_person = learners.group_by("participant").agg(pl.col("split").n_unique())
    assert by_person["split"].to_list() == [1] * 10
    sizes = dict(learners.group_by("split").agg(pl.col("participant").n_unique()).iter_rows())
    assert sizes == {"test": 3, "val": 1, "train": 6}
    (tmp_path / rows[0]["file_name"]).unlink()  # one clip less moves no other
    fewer, dropped = read_learners(source, span_s=3.0)
    assert fewer.equals(learners.filter(pl.col("path") != rows[0]["file_name"])) and reasons(
        dropped
    ) == {"missing_video": 1}


def official(folder, rows, splits, people=None):
    """takes.json and splits.json of Ego-Exo4D for ExAct's rows: take i is in splits[i], by person
    people[i].
    """
    takes = [take(row["take_name"], (people or {}).get(at, at)) for at, row in enumerate(rows)]
    (folder / "takes.json").write_text(json.dumps(takes))
    (folder / "annotations").mkdir(parents=True, exist_ok=True)
    named = {f"uid-{rows[at]['take_name']}": split for at, split in splits.items()}
    (folder / "annotations" / "splits.json").write_text(json.dumps({"take_uid_to_split": named}))


@pytest.mark.parametrize("where", ["beside", "above", "named"])
def test_the_official_splits_are_followed_where_they_are_there(tmp_path, six_seconds, where):
    rows = [question(number) for number in range(4)]
    source = write_exact(tmp_path / "exact" / "data", rows, six_seconds)
    folder = {"beside": source.parent, "above": source.parent.parent, "named": tmp_path / "egoexo"}[
        where
    ]
    folder.mkdir(exist_ok=True)
    official(folder, rows, {0: "train", 1: "val", 2: "test"})
    learners, dropped = read_learners(
        source, span_s=3.0, takes=folder if where == "named" else None
    )
    found = dict(learners.select("take_id", "split").iter_rows())
    assert found == {rows[0]["id"]: "train", rows[1]["id"]: "val", rows[2]["id"]: "test"}
    assert learners["participant"].sort().to_list() == ["0", "1", "2"]
    assert dropped.select("item_id", "reason").rows() == [(rows[3]["id"], "no_split")]


def test_a_participant_whom_the_official_splits_tear_apart_stays_held_out(tmp_path, six_seconds):
    rows = [question(number) for number in range(2)]
    source = write_exact(tmp_path, rows, six_seconds)
    official(tmp_path, rows, {0: "train", 1: "test"}, people={0: 9, 1: 9})
    learners, dropped = read_learners(source, span_s=3.0)
    assert learners["split"].to_list() == ["test"] and reasons(dropped) == {
        "participant_in_two_splits": 1
    }


def test_clips_and_takes_of_one_person_agree_with_the_other_reader(tmp_path, six_seconds):
    """A model finetuned on Ego-Exo4D's learners meets none of their people among ExAct's test
    clips.
    """
    rows = [question(number) for number in range(6)]
    people, splits = (
        {0: 1, 1: 1, 2: 2, 3: 2, 4: 3, 5: 3},
        {0: "train", 2: "test", 3: "test", 1: "train", 4: "val", 5: "val"},
    )
    folder, source = tmp_path / "egoexo", write_exact(tmp_path / "exact", rows, six_seconds)
    remarks = {split: {} for split in ("train", "val", "test")}
    for at, row in enumerate(rows):
        copy_video(
            six_seconds, folder / "takes" / row["take_name"] / "frame_aligned_videos/cam01.mp4"
        )
        remarks[splits[at]][row["take_name"]] = [remark(2.0, "words")]
    write_egoexo(
        folder, [take(row["take_name"], people[at]) for at, row in enumerate(rows)], remarks
    )
    official(folder, rows, splits, people)
    takes, _ = read_learners(folder, span_s=3.0)
    clips, _ = read_learners(source, span_s=3.0, takes=folder)
    of_takes, of_clips = (
        dict(table.select("participant", "split").unique().iter_rows()) for table in (takes, clips)
    )
    assert of_takes == of_clips == {"1": "train", "2": "test", "3": "val"}


def test_splits_without_takes_that_name_their_uids_are_refused(tmp_path, six_seconds):
    source = write_exact(tmp_path, [question(1)], six_seconds)
    (tmp_path / "splits.json").write_text(json.dumps({"take_uid_to_split": {"some-uid": "train"}}))
    with pytest.raises(ValueError, match=r"put Ego-Exo4D's takes\.json beside it"):
        read_learners(source, span_s=3.0)
    (tmp_path / "splits.json").write_text(
        json.dumps({question(1)["take_name"]: "val"})
    )  # by name, without a level
    assert read_learners(source, span_s=3.0)[0]["split"].to_list() == ["val"]


# ----------------------------------------------------------------------------------- rows and files


ROWS = [
    ({"id": "../up"}, "bad_id"),
    ({"id": "x" * 300}, "bad_id"),
    ({"id": {"a": 1}}, "bad_id"),
    ({"id": 10**30}, "bad_id"),
    ({"id": 17}, None),
    ({"is_ge": "maybe"}, "bad_value"),
    ({"is_ge": None}, "bad_value"),
    ({"is_ge": "True"}, None),
    ({"groundTruth": None}, "empty_comment"),
    ({"groundTruth": "\ud800"}, None),
    ({"groundTruth": ["a"]}, "empty_comment"),
    ({"video_time": "NaN"}, "bad_time"),
    ({"video_time": float("inf")}, "bad_time"),
    ({"video_time": -3}, "bad_time"),
    ({"video_time": None}, None),
    ({"negative_comments": "none"}, None),
    ({"file_name": "lost.mp4"}, "missing_video"),
    ({"file_name": None}, "missing_video"),
    ({"file_name": ["a.mp4"]}, "missing_video"),
    ({"file_name": "."}, "missing_video"),
    ({"file_name": "a\0.mp4"}, "missing_video"),
    ({"file_name": "../outside.mp4"}, "view_outside_folder"),
    ({"file_name": "/etc/hostname"}, "view_outside_folder"),
    ({"domain": "cooking", "task_name": "Making eggs"}, "unknown_sport"),
    ({"domain": None, "task_name": None}, "unknown_sport"),
    ({"take_name": "other", "id": "basketball_tips_unc_basketball_001_1_2.5"}, "contradictory"),
]


@pytest.mark.parametrize(("changed", "reason"), ROWS, ids=range(len(ROWS)))
def test_one_bad_row_costs_itself_alone(tmp_path, six_seconds, changed, reason):
    folder = tmp_path / "exact"
    write_exact(folder, [question(1), question(2)], six_seconds)
    copy_video(six_seconds, tmp_path / "outside.mp4")
    changed_row = question(2) | changed
    source = write_exact(folder, [question(1), changed_row])
    learners, dropped = read_learners(source, span_s=3.0, sports=["basketball"])
    lost = {reason: 2 if reason == "contradictory" else 1} if reason else {}
    assert reasons(dropped) == lost
    assert learners.height == 2 - sum(lost.values())
    assert all("line " in detail for detail in dropped["detail"])


def test_doubled_and_contradictory_rows(tmp_path, six_seconds):
    twice, again = question(1), question(2)
    good, bad = question(3, good=True), question(3)  # one take, one moment
    rows = [twice, twice, again, again | {"id": "another_id"}, good, bad, question(4)]
    learners, dropped = read_learners(write_exact(tmp_path, rows, six_seconds), span_s=3.0)
    assert (
        learners["take_id"].to_list() == [again["id"], question(4)["id"], twice["id"]]
        or learners.height == 3
    )
    assert reasons(dropped) == {"contradictory": 2, "doubled": 2}
    told = dropped.filter(pl.col("reason") == "contradictory")["detail"].to_list()
    assert told[0] == f"a good execution here, a tip in {bad['id']}: the same moment"


def test_lines_that_are_no_objects_cost_themselves_alone(tmp_path, six_seconds):
    source = write_exact(tmp_path, [question(1)], six_seconds)
    said = question(2, groundTruth="a line\u2028in two")
    copy_video(six_seconds, tmp_path / said["file_name"])
    lines = [
        b"{",
        b"[]",
        b"null",
        b"\xff\xfe",
        b"[" * 50_000,
        b"",
        b"9" * 6000,
        json.dumps({"id": 3}).encode(),
    ]
    text = (
        source.read_bytes()
        + b"\n".join(lines)
        + b"\n"
        + json.dumps(said, ensure_ascii=False).encode()
    )
    source.write_bytes(b"\xef\xbb\xbf" + text)
    learners, dropped = read_learners(source, span_s=3.0)
    assert learners["comment"].to_list() == ["the elbow is right 1", "a line in two"]
    assert reasons(dropped) == {"bad_row": 6, "missing_field": 1}


@pytest.mark.parametrize(
    "content", [b"", b"\n\n", b"[{}]", b"not json", b'{"a": 1}\n{"b": 2}', b"\xff" * 100]
)
def test_another_file_is_refused_with_the_remedy(tmp_path, content):
    (tmp_path / "metadata.jsonl").write_bytes(content)
    with pytest.raises(
        ValueError, match=r"metadata\.jsonl has no line with file_name, id, .*as published"
    ):
        read_learners(tmp_path, span_s=3.0)


def test_an_unreadable_clip_is_dropped(tmp_path, six_seconds):
    source = write_exact(tmp_path, [question(1), question(2)], six_seconds)
    (tmp_path / question(2)["file_name"]).write_bytes(b"no video")
    learners, dropped = read_learners(source, span_s=3.0)
    assert learners.height == 1 and reasons(dropped) == {"unreadable": 1}


def test_the_capture_is_the_takes_name_without_its_number():
    assert exact.capture_of("upenn_0713_Dance_4_4") == "upenn_0713_Dance_4"
    assert exact.capture_of("cmu_bike19_3") == "cmu_bike19" and exact.capture_of("alone") == "alone"
