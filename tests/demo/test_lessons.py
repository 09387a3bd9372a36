from __future__ import annotations

from collections import Counter
from itertools import pairwise

import polars as pl
import pytest

from sportskills_lib.demo import lessons
from sportskills_lib.demo.lessons import DemoLesson
from sportskills_lib.demo.settings import DemoConfig, generator
from sportskills_lib.demo.world import segments_table
from sportskills_lib.group_splits import assign_splits
from sportskills_lib.tables import ID_PATTERN


@pytest.fixture(scope="module")
def videos(full_config: DemoConfig) -> list[DemoLesson]:
    return list(lessons.plan_videos(full_config))


def test_every_lesson_shows_each_cue_once_and_each_fault_twice(videos: list[DemoLesson]) -> None:
    taught = [video for video in videos if video.kind == "lesson"]
    assert len(taught) == 24 * 9 * 3
    for video in taught:
        faults = [fault.name for fault in lessons.find_skill(video.sport, video.skill).faults]
        shown = Counter(
            (s.demonstration, s.execution, s.cue)
            for s in video.segments
            if s.demonstration != "none"
        )
        cues = {("correct", "correct", fault): 1 for fault in faults}
        assert shown == cues | {("incorrect", fault, fault): 2 for fault in faults}


def test_traps_part_words_from_pictures(videos: list[DemoLesson]) -> None:
    segments = [segment for video in videos for segment in video.segments]
    words = [segment for segment in segments if segment.kind == "trap_words"]
    pictures = [segment for segment in segments if segment.kind == "trap_pictures"]
    assert min(len(words), len(pictures)) > 150
    assert all(shot.demonstration == "none" for shot in (*words, *pictures))
    assert all(shot.actionable and shot.execution is None for shot in words)
    assert {shot.picture for shot in words} == {"talk", "broll", "sponsor"}
    assert all(shot.actionable is False and shot.execution for shot in pictures)


def test_words_keep_order_pauses_and_their_video(
    videos: list[DemoLesson], full_config: DemoConfig
) -> None:
    for video in videos:
        said = [(s.said_start_s, s.said_end_s) for s in video.segments if s.text]
        spans = [(a, b) for a, b in said if a is not None and b is not None]
        assert len(spans) == len(said)
        assert all(b - a > 0.75 for a, b in spans)
        assert all(later[0] - earlier[1] > 0.3 for earlier, later in pairwise(spans)), (
            video.video_id
        )
        assert not spans or (
            spans[0][0] >= 0.05 and spans[-1][1] <= video.duration_s(full_config.fps)
        )


def test_words_lag_in_automatic_captions_only(
    videos: list[DemoLesson], full_config: DemoConfig
) -> None:
    table = segments_table(videos, full_config).filter(
        pl.col("video_kind") == "lesson", pl.col("demonstration") != "none"
    )
    middle = (
        pl.col("said_start_s") + pl.col("said_end_s") - pl.col("start_s") - pl.col("end_s")
    ) / 2
    lags = table.group_by("video_id", "caption_form").agg(lag=middle.median(), spread=middle.std())
    manual, automatic = (lags.filter(caption_form=form) for form in ("manual", "automatic"))
    assert 0.4 < automatic.height / lags.height < 0.6
    assert manual["lag"].abs().max() < 0.35 and automatic["lag"].abs().max() < 1.05
    assert (automatic["lag"] > 0.2).mean() > 0.3 and (automatic["lag"] < -0.3).mean() > 0.3
    assert lags["spread"].max() < 0.4


def test_ids_are_names_and_unique(videos: list[DemoLesson]) -> None:
    ids = [video.video_id for video in videos]
    assert len(set(ids)) == len(ids)
    assert all(len(id_) == 11 and id_[0] not in "-_" for id_ in ids)
    assert pl.Series(ids).str.contains(ID_PATTERN).all()


def test_a_style_stands_in_one_split_only(videos: list[DemoLesson]) -> None:
    """Under 02_pairing's own rule, with the stray channels among them."""
    rows = {(video.sport, video.channel.channel_id) for video in videos if video.kind != "foreign"}
    clips = pl.DataFrame(sorted(rows), schema=["sport", "channel"], orient="row")
    splits, small = assign_splits(clips, test_fraction=0.44, val_fraction=0.11)
    assert not small
    styles: dict[int, set[str]] = {}
    for video in videos:
        if video.kind == "lesson":
            styles.setdefault(video.channel.style, set()).add(splits[video.channel.channel_id])
    assert {style: "".join(names) for style, names in styles.items()} == dict(
        enumerate(["test"] * 4 + ["val"] + ["train"] * 4)
    )


def test_no_sentence_is_said_in_two_splits(
    videos: list[DemoLesson], full_config: DemoConfig
) -> None:
    table = segments_table(videos, full_config).filter(
        pl.col("video_kind") == "lesson", pl.col("demonstration") != "none"
    )
    assert table.group_by("text").agg(pl.col("style").n_unique())["style"].max() == 1


def test_titles_tell_no_fault(videos: list[DemoLesson]) -> None:
    for video in videos:
        words = set(video.title.lower().replace("_", " ").split())
        faults = {
            word
            for fault in lessons.find_skill(video.sport, video.skill).faults
            for word in fault.name.split("_")
        }
        named = set(f"{video.skill} {video.sport}".split())
        assert not words & (faults - named), video.title


def test_draws_do_not_depend_on_other_items(
    full_config: DemoConfig, videos: list[DemoLesson]
) -> None:
    fewer = full_config.model_copy(update={"sports": 5})
    again = {
        video.video_id: video for video in lessons.plan_videos(fewer) if video.kind == "lesson"
    }
    assert len(again) == 5 * 9 * 3
    assert all(video == again[video.video_id] for video in videos if video.video_id in again)
    first, second = generator(0, "a", "b").integers(2**60), generator(0, "a", "c").integers(2**60)
    assert first != second
