from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import av
import numpy as np
import polars as pl
import pytest

from sportskills_lib.demo import coaches, learners, lessons, phrases
from sportskills_lib.demo.learners import Attempt, DemoTake
from sportskills_lib.demo.lessons import DemoLesson, DemoSegment
from sportskills_lib.demo.settings import DemoConfig
from sportskills_lib.demo.skills import SPORTS
from sportskills_lib.demo.world import learners_table


@pytest.fixture(scope="module")
def takes(full_config: DemoConfig) -> list[DemoTake]:
    return learners.plan_takes(full_config)


@pytest.fixture(scope="module")
def videos(full_config: DemoConfig) -> list[DemoLesson]:
    return list(lessons.plan_videos(full_config))


def test_each_fault_is_tried_as_often_as_planned(takes: list[DemoTake]) -> None:
    shown = Counter(
        (take.split, take.skill.sport, take.skill.name, attempt.fault.name)
        for take in takes
        for attempt in take.attempts
        if attempt.fault and take.has_video
    )
    assert sum(count for (split, *_), count in shown.items() if split == "val") == 72
    for sport in SPORTS:
        for skill in sport.skills:
            for fault in skill.faults:
                assert shown["train", sport.name, skill.name, fault.name] == 2
                assert shown["test", sport.name, skill.name, fault.name] == 1


def test_participants_do_not_cross_splits(takes: list[DemoTake]) -> None:
    splits: dict[int, set[str]] = {}
    for take in takes:
        splits.setdefault(take.participant_uid, set()).add(take.split)
    assert all(len(names) == 1 for names in splits.values())
    assert len(splits) < len(takes) / 2, "participants do several takes"


def test_comments_fall_into_their_attempts(takes: list[DemoTake], full_config: DemoConfig) -> None:
    table = learners_table(takes, full_config)
    inside = (pl.col("video_time") > pl.col("start_s") + 0.5) & (
        pl.col("video_time") < pl.col("end_s") - 0.5
    )
    assert table.select(inside.all()).item()
    assert table.select(pl.struct("take_uid", "video_time").is_unique().all()).item()
    assert (table["start_s"] >= 0.8).all()
    two = table.filter(pl.col("faults").list.len() == 2)["take_uid"].n_unique()
    assert 0.05 < two / len(takes) < 0.3


def test_annotations_have_ego_exo4d_s_shape(tiny_world: Path) -> None:
    folder = tiny_world / "learners"
    takes = {take["take_uid"]: take for take in json.loads((folder / "takes.json").read_text())}
    truth = pl.read_parquet(tiny_world / "truth" / "learners.parquet")
    seen = []
    for split in ("train", "val", "test"):
        commentary = json.loads(
            (folder / "annotations" / f"expert_commentary_{split}.json").read_text()
        )["annotations"]
        proficiency = json.loads(
            (folder / "annotations" / f"proficiency_demonstration_{split}.json").read_text()
        )
        assert {row["take_uid"] for row in proficiency["annotations"]} == set(commentary)
        for uid, (entry,) in commentary.items():
            assert (
                entry["take_name"] == takes[uid]["take_name"]
                and entry["task_name"] == takes[uid]["task_name"]
            )
            rows = [row for row in entry["commentary_data"] if not row["error"]]
            assert all(
                set(row) >= {"recording", "video_time", "text", "duration_approx"} for row in rows
            )
            seen += [(uid, row["video_time"], row["text"], split) for row in rows]
        for row in proficiency["annotations"]:
            moments = truth.filter(take_uid=row["take_uid"])
            assert len(row["good_executions"]) == moments.filter(execution="correct").height
            assert (
                len(row["tips_for_improvement"])
                == moments.filter(pl.col("execution") != "correct").height
            )
    assert sorted(seen) == sorted(
        truth.select("take_uid", "video_time", "comment", "split").iter_rows()
    )


def test_some_rows_carry_errors_and_some_views_are_lost(
    takes: list[DemoTake], full_config: DemoConfig
) -> None:
    document = learners.commentary_json(takes, "train", full_config)["annotations"]
    rows = [
        row
        for entries in document.values()
        for entry in entries
        for row in entry["commentary_data"]
    ]
    errors = [row for row in rows if row["error"]]
    assert 5 < len(errors) < 60 and all(row["_error_desc"] for row in errors)
    assert [take.split for take in takes if not take.has_video] == ["train", "train"]


def test_views_hold_what_takes_json_says(tiny_world: Path) -> None:
    folder = tiny_world / "learners"
    found = 0
    for take in json.loads((folder / "takes.json").read_text()):
        path = (
            folder / take["root_dir"] / take["frame_aligned_videos"]["cam01"]["0"]["relative_path"]
        )
        if path.is_file():
            found += 1
            with av.open(str(path)) as container:
                frames = sum(1 for _ in container.decode(video=0))
            assert frames == round(take["duration_sec"] * 10)
    truth = pl.read_parquet(tiny_world / "truth" / "learners.parquet")
    assert found == truth.filter("has_video")["take_uid"].n_unique() < truth["take_uid"].n_unique()


def test_grades_against_hand_made_cases() -> None:
    skill, other = SPORTS[0].skills[:2]
    config = DemoConfig()
    lesson = lessons.plan_lesson(lessons.sport_channels(SPORTS[0], config)[0], skill, config)
    fault, second = skill.faults[:2]
    take = DemoTake("u", "n", 1, "test", skill, (), (Attempt(fault, 0, 3, 1.5),))
    elsewhere = DemoTake("u", "n", 1, "test", other, (), (Attempt(other.faults[0], 0, 3, 1.5),))

    def grade(execution: str, cue: str, demonstration: str, of: DemoTake = take) -> int:
        shot = DemoSegment("demonstration", "demonstration", 30, "", execution, cue, demonstration)
        return coaches.true_grade(of, of.attempts[0].fault.name, lesson, shot)

    assert grade("correct", fault.name, "correct") == 3
    assert grade(fault.name, fault.name, "incorrect") == 2
    assert grade("correct", second.name, "correct") == 1
    assert grade(second.name, second.name, "incorrect") == 0
    assert grade("correct", other.faults[0].name, "correct", elsewhere) == 0


def test_pools_hold_every_grade_and_stay_in_their_split(
    takes: list[DemoTake], videos: list[DemoLesson], full_config: DemoConfig
) -> None:
    judged = coaches.relevance_table(takes, videos, full_config)
    take_of = {take.take_uid: take for take in takes}
    lesson_of = {video.video_id: video for video in videos}
    splits = {}
    for sport in SPORTS:
        names = [channel.channel_id for channel in lessons.sport_channels(sport, full_config)]
        splits |= zip(names, ["test"] * 4 + ["val"] + ["train"] * 4, strict=True)
    pools = judged.partition_by("take_uid", "video_time", as_dict=True, include_key=False)
    assert Counter(take_of[uid].split for uid, _ in pools) == {"test": 216, "val": 72}
    for (uid, _), pool in pools.items():
        take = take_of[uid]
        assert pool.select("video_id", "start_s").is_unique().all() and pool.height in (17, 44)
        rated = [lesson_of[video_id] for video_id in pool["video_id"]]
        assert {splits[lesson.channel.channel_id] for lesson in rated} == {take.split}
        grades = Counter(pool["grade"])
        channels = 4 if take.split == "test" else 1
        assert grades == {3: channels, 2: 2 * channels, 1: 2 * channels, 0: 4 * channels + 8}
        assert sum(lesson.skill == take.skill.name for lesson in rated) == 9 * channels


def test_a_fifth_of_the_wordings_is_said_in_the_test_split_alone(
    takes: list[DemoTake], videos: list[DemoLesson], full_config: DemoConfig
) -> None:
    every = [said for both in phrases.WORDINGS.values() for options in both for said in options]
    assert len(phrases.UNSEEN) / len(every) == pytest.approx(0.2, abs=0.01)
    seen = [said for said in every if said not in phrases.UNSEEN]
    assert not [(one, other) for one in phrases.UNSEEN for other in seen if one in other]
    shares = {"train": list[bool](), "val": list[bool](), "test": list[bool]()}
    for video in videos:
        shares[video.channel.split] += [
            any(said in shot.text.lower() for said in phrases.UNSEEN)
            for shot in video.segments
            if shot.cue and video.kind == "lesson"
        ]
    for take in takes:
        shares[take.split] += [
            any(said in text.lower() for said in phrases.UNSEEN)
            for text in (learners.comment(take, at, full_config) for at in take.attempts)
        ]
    assert not any(shares["train"] + shares["val"])
    assert np.mean(shares["test"]) == pytest.approx(0.2, abs=0.02)


def test_noise_is_what_is_documented() -> None:
    rng = np.random.default_rng(0)
    generous = np.array([coaches.grade_with_noise(1, +1, rng) for _ in range(20_000)])
    plain = np.array([coaches.grade_with_noise(1, 0, rng) for _ in range(20_000)])
    assert abs((plain != 1).mean() - coaches.SLIP_P) < 0.01 and abs(plain.mean() - 1) < 0.01
    assert abs(generous.mean() - 1 - coaches.LEANING_P) < 0.015
    assert set(
        np.unique([coaches.grade_with_noise(g, 1, rng) for g in (0, 3) for _ in range(500)])
    ) <= {
        0,
        1,
        2,
        3,
    }


def test_experts_and_coaches_do_not_share_words_by_construction(
    takes: list[DemoTake], full_config: DemoConfig
) -> None:
    """A comment is no lesson's sentence: matching strings cannot stand in for seeing."""
    said = {
        segment.text for video in lessons.plan_videos(full_config) for segment in video.segments
    }
    comments = {
        learners.comment(take, attempt, full_config) for take in takes for attempt in take.attempts
    }
    assert not said & comments and len(phrases.ADVICE) == len(phrases.MISTAKES) == 9
