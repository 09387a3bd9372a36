"""Stage 01 as a whole: a small folder with damage, any number of workers, the real lessons."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import polars as pl
import pytest
from films import REAL, needs_real, write_lesson

from sportskills_lib.config import CurationConfig
from sportskills_lib.curation import figures, stage
from sportskills_lib.curation.stage import CurationTables, curate

SHOTS = [
    ("Hello and welcome to my channel.", False),
    ("Bend your knees and drop the hips.", True),
    ("Okay.", False),
]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    lessons = tmp_path / "lessons"
    for name in ("good", "cut", "late", "bare"):
        write_lesson(lessons, name, SHOTS)
    whole = (lessons / "cut.mp4").read_bytes()
    (lessons / "cut.mp4").write_bytes(whole[: len(whole) // 2])
    (lessons / "bare.info.json").unlink()
    with (lessons / "late.en.vtt").open("a") as file:
        file.write(
            "\n99:00:01.000 --> 99:00:02.000\nToo late.\n\n00:05.000 --> 00:02.000\nBackwards.\n"
        )
    return lessons


def test_damage_costs_its_own_video_or_cue(folder: Path) -> None:
    curated = curate(folder, CurationConfig(workers=2))
    assert curated.videos["video_id"].to_list() == ["good", "late"]
    assert curated.headline() == {"videos": 2, "narrations": 4, "actionable": 2, "undecided": 0}
    assert sorted(curated.dropped.select("item_kind", "item_id", "reason").rows()) == [
        ("cue", "late:line12", "outside_video"),
        ("cue", "late:line15", "impossible_times"),
        ("narration", "good:006300-008600", "too_short"),
        ("narration", "late:006300-008600", "too_short"),
        ("video", "bare", "missing_sidecar"),
        ("video", "cut", "unreadable"),
    ]
    row = curated.narrations.filter(pl.col("actionable")).row(0, named=True)
    assert (row["narration_id"], row["text"], row["transcription"]) == (
        "good:003300-005600",
        SHOTS[1][0],
        "manual",
    )


def test_tables_do_not_depend_on_the_number_of_workers(folder: Path, tmp_path: Path) -> None:
    one: CurationTables = curate(folder, CurationConfig(workers=0))
    two: CurationTables = curate(folder, CurationConfig(workers=3), shards=tmp_path / "shards")
    again: CurationTables = curate(folder, CurationConfig(workers=3), shards=tmp_path / "shards")
    for other in (two, again):
        assert one.videos.equals(other.videos)
        assert one.narrations.equals(other.narrations)
        assert one.dropped.equals(other.dropped)


def test_what_is_kept_of_a_part_is_one_piece_of_memory(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write, kept = stage._write_part, list[pl.DataFrame]()

    def noted(*arguments: Any) -> tuple[pl.DataFrame, pl.DataFrame]:
        kept.extend(written := write(*arguments))
        return written

    monkeypatch.setattr(stage, "_write_part", noted)
    curate(folder, CurationConfig(workers=0))
    assert [(table.height, table.n_chunks()) for table in kept] == [(2, 1), (5, 1)]


def test_a_folder_with_nothing_usable_is_an_error_that_counts_reasons(folder: Path) -> None:
    for name in ("good", "late"):
        (folder / f"{name}.en.vtt").unlink()
    with pytest.raises(
        ValueError, match=r"usable \(missing_sidecar 1, no_captions 2, unreadable 1\)"
    ):
        curate(folder, CurationConfig(workers=0))


def test_the_funnel_holds_the_tables_counts(folder: Path) -> None:
    curated = curate(folder, CurationConfig(workers=0))
    figure = figures.funnel(curated)
    drawn = {text.get_text() for axes in figure.axes for text in axes.texts}
    assert {"4", "2  (50%)", "6", "4  (67%)"} <= drawn
    assert figures.per_sport(curated.videos, curated.scan()).row(0) == ("tennis", 2, 1, 0.0, 4, 2)


@needs_real
@pytest.mark.real
def test_real_lessons() -> None:
    curated = curate(REAL / "lessons", CurationConfig(workers=2))
    assert curated.headline() == {"videos": 40, "narrations": 143, "actionable": 64, "undecided": 0}
    taught = set(curated.narrations.filter(pl.col("actionable"))["video_id"])
    assert not taught & {"handWash000", "tennisTalk0"}


def test_examples_are_of_as_many_reasons_as_there_are() -> None:
    reasons = ["greeting"] * 40 + ["story: of the club", "sponsor"]
    rows = {
        "narration_id": [f"n{i}" for i in range(42)],
        "text": "…",
        "reason": reasons,
        "video_id": "v",
        "start_s": 0.0,
    }
    said = pl.DataFrame(rows).with_columns(actionable=pl.lit(False))
    shown = figures.examples(said.lazy(), actionable=False)
    assert shown.height == 6 and set(reasons) == set(shown["reason"])
    assert shown.equals(figures.examples(said.reverse(), actionable=False))
    assert figures.examples(said, actionable=True).is_empty()
