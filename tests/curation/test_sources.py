"""A folder in yt-dlp's layout: what is found, what is dropped, and what an empty folder says."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from sportskills_lib.curation.sources import find_lessons, sport_and_skill
from sportskills_lib.tables import dropped_rows


def put(
    folder: Path,
    stem: str,
    *,
    info: Any = (),
    captions: tuple[str, ...] = ("en",),
    video: bool = True,
) -> None:
    """Files of one video; ``info`` overrides the sidecar, None leaves it out."""
    if video:
        (folder / f"{stem}.mp4").write_bytes(b"film")
    if info is not None:
        usual = {
            "id": stem,
            "channel_id": "UCx",
            "language": "en",
            "tags": ["golf", "putt"],
            "subtitles": {"en": []},
        }
        text = info if isinstance(info, str) else json.dumps(usual | dict(info))
        (folder / f"{stem}.info.json").write_text(text)
    for language in captions:
        (folder / f"{stem}.{language}.vtt").write_text("WEBVTT\n")


def reasons(folder: Path) -> dict[str, str]:
    return {item_id: reason for _, item_id, reason, _ in find_lessons(folder)[1]}


def test_a_missing_or_empty_folder_says_what_it_needs(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="does not exist: name an existing folder"):
        find_lessons(tmp_path / "nowhere")
    with pytest.raises(ValueError, match=r"contains no video: it needs <id>\.mp4"):
        find_lessons(tmp_path)


def test_everything_is_a_lesson_or_dropped_with_a_reason(tmp_path: Path) -> None:
    put(tmp_path, "good")
    put(tmp_path, "nosidecar", info=None)
    put(tmp_path, "badsidecar", info="{not json")
    put(tmp_path, "listsidecar", info="[1, 2]")
    put(tmp_path, "nocaptions", captions=())
    put(tmp_path, "othercaptions", captions=("fr",))
    put(tmp_path, "foreign", info={"language": "es"})
    put(tmp_path, "nosport", info={"tags": []})
    put(tmp_path, "noskill", info={"tags": [], "playlist_title": "golf tutorial"})
    put(tmp_path, "evil", info={"id": "../../etc/passwd"})
    put(tmp_path, "twin", info={"id": "good"})
    put(tmp_path, "novideo", video=False)
    (tmp_path / "half.mp4.part").write_bytes(b"")
    lessons, _ = find_lessons(tmp_path)
    assert [lesson.video_id for lesson in lessons] == ["good"]
    assert reasons(tmp_path) == {
        "nosidecar": "missing_sidecar",
        "badsidecar": "unreadable_sidecar",
        "listsidecar": "unreadable_sidecar",
        "nocaptions": "no_captions",
        "othercaptions": "no_captions",
        "foreign": "foreign_language",
        "nosport": "missing_sport",
        "noskill": "missing_skill",
        "evil": "bad_id",
        "twin": "duplicate_id",
        "novideo": "missing_video",
        "half.mp4.part": "unfinished_download",
    }


def test_dropped_rows_name_the_video_by_its_id(tmp_path: Path) -> None:
    put(tmp_path, "a", info={"id": "one"})
    put(tmp_path, "b", info={"id": "one"})
    put(tmp_path, "c", info={"id": "two"}, captions=())
    put(tmp_path, "d", info={"id": "../x"})
    assert reasons(tmp_path) == {"b": "duplicate_id", "two": "no_captions", "d": "bad_id"}


def test_captions_of_a_named_track_are_found(tmp_path: Path) -> None:
    put(tmp_path, "a", captions=("en-eEY6O_papPo",))
    assert [each.captions for each in find_lessons(tmp_path)[0]] == [
        tmp_path / "a.en-eEY6O_papPo.vtt"
    ]


def test_half_a_character_and_an_absurd_length_cost_no_video(tmp_path: Path) -> None:
    put(
        tmp_path,
        "half",
        info={
            "title": "bad \ud800 title",
            "channel_id": "UC\udfff",
            "tags": ["golf", "putt\ud83d"],
        },
    )
    put(tmp_path, "long", info={"duration": 10**400})
    put(tmp_path, "endless", info={"duration": float("inf")})
    lessons, dropped = find_lessons(tmp_path)
    assert [lesson.video_id for lesson in lessons] == ["endless", "half", "long"] and not dropped
    assert [lesson.duration_s for lesson in lessons] == [None, None, None]
    assert (
        lessons[1].title == "bad ? title"
        and lessons[1].channel == "UC?"
        and lessons[1].sport == "golf"
    )


def test_a_name_that_is_no_id_gets_one_and_a_stated_one_is_refused(tmp_path: Path) -> None:
    put(tmp_path, "Hip throw, part 2", info={"id": None})
    put(tmp_path, "stated", info={"id": "Hip throw, part 2"})
    lessons, dropped = find_lessons(tmp_path)
    assert [each.video_id.rpartition("-")[0] for each in lessons] == ["Hip_throw_part_2"]
    assert [each[2] for each in dropped] == ["bad_id"]


def test_films_without_sidecars_are_told_of_the_list(tmp_path: Path) -> None:
    put(tmp_path, "own\nfilm", info=None)
    assert [(each[1], each[2]) for each in find_lessons(tmp_path)[1]] == [
        ("own\\nfilm", "missing_sidecar")
    ]
    assert "CSV list with the columns path, sport, skill" in find_lessons(tmp_path)[1][0][3]


def test_a_name_in_another_encoding_costs_its_video(tmp_path: Path) -> None:
    put(tmp_path, "good")
    put(tmp_path, os.fsdecode(b"caf\xe9"))
    lessons, dropped = find_lessons(tmp_path)
    assert [each.video_id for each in lessons] == ["good"]
    assert [each[1:3] for each in dropped] == [("caf\\udce9", "bad_name")]
    dropped_rows(dropped)


@pytest.mark.parametrize(
    ("given", "kept"),
    [("20240229", "20240229"), ("20230229", None), ("2024-02-29", "20240229"), ("soon", None)],
)
def test_only_days_of_the_calendar_are_kept(given: str, kept: str | None, tmp_path: Path) -> None:
    put(tmp_path, "one", info={"upload_date": given})
    assert find_lessons(tmp_path)[0][0].upload_date == kept


def test_captions_that_a_person_made_come_first(tmp_path: Path) -> None:
    sidecar = {"subtitles": {"en-GB": []}, "automatic_captions": {"en": [], "en-orig": []}}
    put(tmp_path, "a [b]", info=sidecar | {"id": "ab"}, captions=("en", "en-orig", "en-GB", "de"))
    lesson = find_lessons(tmp_path)[0][0]
    assert lesson.captions is not None
    assert (lesson.captions.name, lesson.manual) == ("a [b].en-GB.vtt", True)


def test_language_then_format_decide_between_files_of_a_kind(tmp_path: Path) -> None:
    put(tmp_path, "one", captions=("en-GB",))
    for suffix in ("en.json3", "en.srt", "srt", "en.txt", "info.txt"):
        (tmp_path / f"one.{suffix}").write_text("1")
    chosen = []
    while found := find_lessons(tmp_path)[0]:
        assert found[0].captions is not None
        chosen.append(found[0].captions.name)
        found[0].captions.unlink()
    assert chosen == ["one.en.srt", "one.en.json3", "one.en.txt", "one.en-GB.vtt", "one.srt"]


def test_a_video_without_a_channel_is_one_of_its_own(tmp_path: Path) -> None:
    put(tmp_path, "one", info={"channel_id": None})
    put(tmp_path, "two", info={"channel_id": None})
    assert len({lesson.channel for lesson in find_lessons(tmp_path)[0]}) == 2


@pytest.mark.parametrize(
    ("info", "expected"),
    [
        ({"tags": ["Tennis", "Rally Footwork"]}, ("tennis", "rally footwork")),
        ({"tags": [], "playlist_title": "tennis second serve tutorial for beginners"}, ("tennis", ("second serve"))),
        ({"tags": ["fun", "ice dance", "x"], "playlist_title": "ice dance twizzle drills"}, ("ice dance", "twizzle")),
        ({"tags": "nonsense", "playlist_title": 7}, (None, None)),
        ({}, (None, None)),
    ],
)  # fmt: skip
def test_sport_and_skill_come_from_tags_or_the_search_term(
    info: dict[str, Any], expected: tuple[str, str]
) -> None:
    assert sport_and_skill(info) == expected
