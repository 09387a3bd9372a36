"""The dataset card: counts by hand, and strangers' text that stays text."""

from __future__ import annotations

import json
import re

import polars as pl

from sportskills_lib import tables
from sportskills_lib.pairing import dataset_card

HOSTILE = "CC | BY\n\n# Title <script>alert(1)</script> [a](javascript:x) ![b](c) `d` *e* \u202egpj"


def made(sport: str = "golf", licence: str | None = "CC BY") -> dataset_card.Card:
    videos = pl.DataFrame(
        {
            "video_id": ["a", "b", "c"],
            "licence": [licence, None, "unused"],
            "language": ["en", "en", None],
            "duration_s": [3600.0, 1800.0, 60.0],
        }
    )
    narrations = pl.DataFrame(
        {
            "narration_id": ["a1", "a2", "b1"],
            "video_id": ["a", "a", "b"],
            "text": ["Bend your knees.", "bend your knees.", "Hello there."],
            "judge": "rules-1",
            "transcription": ["manual", "automatic", "manual"],
            "actionable": [True, True, None],
        }
    )
    clips = pl.DataFrame(
        {
            "clip_id": ["A", "B", "C"],
            "video_id": ["a", "a", "b"],
            "channel": ["u", "u", "v"],
            "sport": [sport, sport, "judo"],
            "skill": ["swing", "putt", "throw"],
            "start_s": [0.0, 10.0, 0.0],
            "end_s": [10.0, 36.0, 36.0],
            "demonstration": ["correct", "incorrect", "correct"],
            "verifier": "rules-1",
            "split": ["train", "train", "test"],
        }
    )
    pairs = pl.DataFrame({"clip_id": ["A", "B"], "narration_id": ["a1", "a2"]})
    dropped = tables.dropped_rows(
        [("clip", "x", "duplicate", "copy of A"), ("clip", "y", "duplicate", "")]
    )
    links = pl.DataFrame({"verdict": ["copy", "same_pictures", "different", "different"]})
    return dataset_card.make_card(videos, narrations, clips, pairs, dropped, links, name="demo")


def test_counts_by_hand() -> None:
    one = made()
    assert one["counts"] == {
        "videos_read": 3,
        "videos_with_clips": 2,
        "channels": 2,
        "sports": 2,
        "skills": 3,
        "clips": 3,
        "pairs": 2,
        "hours_of_clips": 0.02,
        "hours_of_source_video": 1.5,
        "words": 6,
        "different_sentences": 1,
    }
    assert one["licences"] == [
        {"licence": "CC BY", "videos": 1, "clips": 2},
        {"licence": "unknown", "videos": 1, "clips": 1},
    ]
    assert one["languages"] == [{"language": "en", "videos": 2, "clips": 3}]
    assert [(row["sport"], row["train"], row["test"], row["minutes"]) for row in one["sports"]] == [
        ("golf", 2, 0, 0.6),
        ("judo", 0, 1, 0.6),
    ]
    assert {row["step"]: row["count"] for row in one["funnel"]}["sentences left undecided"] == 1
    assert one["dropped"] == [{"item_kind": "clip", "reason": "duplicate", "count": 2}]
    assert one["copies"] == {"different": 2, "copy": 1, "same_pictures": 1}
    assert json.loads(json.dumps(one)) == one


def test_weaknesses_are_said() -> None:
    text = " ".join(made()["weaknesses"])
    for words in (
        "33% of the clips are of videos whose licence",
        "golf, judo",
        "50% of the sentences",
        "rules-1",
    ):
        assert words in text
    assert "licence" not in " ".join(
        dataset_card.weaknesses(made() | {"licences": [{"licence": "x", "clips": 1}]})
    )


def test_the_page_shows_what_the_json_holds() -> None:
    page = dataset_card.to_markdown(made())
    assert "| golf | 2 | 1 | 1 | 2 | 2 | 0 | 0 | 1 | 1 | 0.6 |" in page
    assert "3 clips of 2 sports (3 skills)" in page
    for title in ("Splits", "Sports", "Licences", "Languages", "The funnel", "Known weaknesses"):
        assert re.search(f"^##+ {title}$", page, flags=re.MULTILINE)


def test_hostile_text_stays_text_on_one_line() -> None:
    page = dataset_card.to_markdown(made(sport=HOSTILE, licence=HOSTILE))
    assert "<script>" not in page and "\u202e" not in page
    assert "](" not in page.replace("\\](", "") and "![" not in page.replace("\\!\\[", "")
    rows = [line for line in page.splitlines() if "alert" in line and line.startswith("|")]
    assert len(rows) == 2
    assert sorted(len(re.findall(r"(?<!\\)\|", row)) for row in rows) == [4, 12]
    assert sum(line.startswith("# ") for line in page.splitlines()) == 1


def test_an_empty_run_has_a_card() -> None:
    one = made()
    empty = dataset_card.make_card(
        *(
            frame.head(0)
            for frame in (
                tables.Videos.create_empty(),
                tables.Narrations.create_empty(),
                tables.Clips.create_empty(),
                tables.Pairs.create_empty(),
                tables.Dropped.create_empty(),
                pl.DataFrame(schema={"verdict": pl.String}),
            )
        ),
        name="none",
    )  # fmt: skip
    assert empty["counts"]["clips"] == 0
    assert "nothing" in dataset_card.to_markdown(empty)
    assert one["counts"].keys() == empty["counts"].keys()
