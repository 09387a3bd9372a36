"""A list of files: what becomes a lesson, and what each bad row and each bad list says."""

from __future__ import annotations

from pathlib import Path

import films
import polars as pl
import pytest

from sportskills_lib.config import CurationConfig
from sportskills_lib.curation.narrations import curate
from sportskills_lib.curation.sources_list import find_sources, read_list


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("a", "b"):
        (tmp_path / f"{name}.mp4").write_bytes(b"film")
        (tmp_path / f"{name}.en.vtt").write_text("WEBVTT\n")
    return tmp_path


def written(folder: Path, text: str) -> Path:
    path = folder / "list.csv"
    path.write_text(text)
    return path


def test_rows_become_lessons(folder: Path) -> None:
    head = "path,sport,skill,video_id,captions,manual,channel,duration_s,note\n"
    path = written(
        folder, "\ufeff" + head + "b.mp4,Football,Throw in,,,,,,x\na.mp4, judo ,Hip  throw,one,b.en.vtt,no,UC1,12.5,y\n"
    )
    lessons, dropped = find_sources(path)
    assert dropped == []
    assert [(each.video_id, each.sport, each.skill, each.channel) for each in lessons] == [
        ("b", "soccer", "throw-in", "channel of b"), ("one", "judo", "hip throw", "UC1"),
    ]  # fmt: skip
    assert [(each.captions.name, each.manual, each.duration_s) for each in lessons] == [
        ("b.en.vtt", True, None), ("b.en.vtt", False, 12.5),
    ]  # fmt: skip
    table = folder / "list.parquet"
    pl.read_csv(path).write_parquet(table)
    assert read_list(table) == (lessons, dropped)


@pytest.mark.parametrize(
    ("row", "reason", "detail"),
    [
        (",judo,throw,,,", "missing_path", "row 2: path is empty: fill it in"),
        ("a.mp4,,throw,,,", "missing_sport", "row 2: sport is empty"),
        ("a.mp4,judo, ,,,", "missing_skill", "row 2: skill is empty"),
        ("x.mp4,judo,throw,,,", "missing_video", "row 2: path 'x.mp4' does not exist: mend it"),
        ("a.txt,judo,throw,,,", "unknown_format", "row 2: path 'a.txt' is no video"),
        ("a.mp4,judo,throw,../x,,", "bad_id", "row 2: id '../x' is not safe"),
        ("b.mp4,judo,throw,,,", "duplicate_id", "row 2: 'b' is the id of row 1 too"),
        ("a.mp4,judo,throw,,x.vtt,", "no_captions", "row 2: captions 'x.vtt' do not exist"),
        ("a.mp4,judo,throw,,,soon", "bad_value", "row 2: duration_s 'soon' is no number of seconds"),
        ("a.mp4,judo,throw,,,nan", "bad_value", "row 2: duration_s 'nan'"),
    ],
)
def test_a_bad_row_is_dropped_with_row_and_remedy(folder: Path, row: str, reason: str, detail: str) -> None:
    lessons, dropped = read_list(
        written(folder, f"path,sport,skill,video_id,captions,duration_s\nb.mp4,golf,putt,,,\n{row}\n")
    )
    assert [each.video_id for each in lessons] == ["b"]
    assert [each[2] for each in dropped] == [reason]
    assert dropped[0][3].startswith(detail)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("path,sport\na.mp4,judo\n", r"has no column skill \(it has path, sport\): add it"),
        ("", "cannot be read"),
        ("path,sport,skill\n", "has no rows"),
        ("path,sport,skill\na.mp4,judo,throw,more,and more\n", "cannot be read"),
    ],
)
def test_an_unusable_list_is_an_error(folder: Path, text: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        read_list(written(folder, text))


def test_other_files_are_no_lists(folder: Path) -> None:
    with pytest.raises(ValueError, match=r"ends in '.mp4': name a .csv or .parquet file"):
        read_list(folder / "a.mp4")
    (folder / "x.parquet").write_bytes(b"no parquet")
    with pytest.raises(ValueError, match=r"x.parquet cannot be read"):
        read_list(folder / "x.parquet")


def test_curation_reads_a_list(folder: Path) -> None:
    films.write_film(folder / "a.mp4", films.grey_steps(40))
    (folder / "a.en.vtt").write_text("WEBVTT\n\n00:00.500 --> 00:03.000\nBend your knees and push your hips back.\n")
    path = written(folder, "path,sport,skill\na.mp4,judo,hip throw\n")
    curated = curate(path, CurationConfig(workers=0))
    assert curated.headline() == {"videos": 1, "narrations": 1, "actionable": 1, "undecided": 0}
    assert path / curated.videos["path"][0] == folder / "a.mp4"  # 02 joins source and path
