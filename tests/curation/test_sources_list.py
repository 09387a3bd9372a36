"""A list of files: what becomes a lesson, and what each bad row and each bad list says."""

from __future__ import annotations

from pathlib import Path

import films
import polars as pl
import pytest

from sportskills_lib.config import CurationConfig
from sportskills_lib.curation.sources import find_lessons
from sportskills_lib.curation.stage import curate


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
        folder,
        "\ufeff"
        + head
        + "b.mp4,Football,Throw in,,,,,,x\na.mp4, judo ,Hip  throw,one,b.en.vtt,no,UC1,12.5,y\n",
    )
    lessons, dropped = find_lessons(path)
    assert dropped == []
    assert [(each.video_id, each.sport, each.skill, each.channel) for each in lessons] == [
        ("b", "soccer", "throw-in", "channel of b"), ("one", "judo", "hip throw", "UC1"),
    ]  # fmt: skip
    assert [(each.captions.name, each.manual, each.duration_s) for each in lessons] == [
        ("b.en.vtt", True, None), ("b.en.vtt", False, 12.5),
    ]  # fmt: skip
    table = folder / "list.parquet"
    pl.read_csv(path).write_parquet(table)
    assert find_lessons(table) == (lessons, dropped)


@pytest.mark.parametrize(
    ("row", "reason", "detail"),
    [
        (",judo,throw,,,", "missing_path", "row 2: path is empty: fill it in"),
        ("a.mp4,,throw,,,", "missing_sport", "row 2: sport is empty"),
        ("a.mp4,judo, ,,,", "missing_skill", "row 2: skill is empty"),
        ("x.mp4,judo,throw,,,", "missing_video", "row 2: path 'x.mp4' does not exist"),
        ("a.txt,judo,throw,,,", "unknown_format", "row 2: path 'a.txt' is not a video"),
        ("a.mp4,judo,throw,../x,,", "bad_id", "row 2: id '../x' is not safe"),
        ("b.mp4,judo,throw,,,", "duplicate_id", "row 2: 'b' is the id of b.mp4 too"),
        ("a.mp4,judo,throw,,x.vtt,", "no_captions", "row 2: captions 'x.vtt' does not exist"),
        (
            "a.mp4,judo,throw,,,soon",
            "bad_value",
            "row 2: duration_s 'soon' is not a number of seconds",
        ),
        ("a.mp4,judo,throw,,,nan", "bad_value", "row 2: duration_s 'nan'"),
        ("a\0.mp4,judo,throw,,,", "missing_video", "row 2: path 'a\\x00.mp4' does not exist"),
        (f"{'a' * 300}.mp4,judo,throw,,,", "missing_video", "row 2: path 'aaa"),
        (
            "a.mp4,judo,throw,,x\0.vtt,",
            "no_captions",
            "row 2: captions 'x\\x00.vtt' does not exist",
        ),
    ],
)
def test_a_bad_row_is_dropped_with_row_and_remedy(
    folder: Path, row: str, reason: str, detail: str
) -> None:
    lessons, dropped = find_lessons(
        written(
            folder, f"path,sport,skill,video_id,captions,duration_s\nb.mp4,golf,putt,,,\n{row}\n"
        )
    )
    assert [each.video_id for each in lessons] == ["b"]
    assert [each[2] for each in dropped] == [reason]
    assert dropped[0][3].startswith(detail)


def test_dropped_rows_name_the_video_by_its_stated_id(folder: Path) -> None:
    rows = "b.mp4,golf,putt,v1\nx.mp4,golf,putt,v2\na.mp4,,putt,v3\na.mp4,golf,putt,v1\n"
    dropped = find_lessons(written(folder, f"path,sport,skill,video_id\n{rows}x.mp4,,,"))[1]
    assert sorted(each[1:3] for each in dropped) == [
        ("row4", "duplicate_id"), ("row5", "missing_video"), ("v2", "missing_video"),
        ("v3", "missing_sport"),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("path,sport\na.mp4,judo\n", r"has no column skill \(it has path, sport\): add it"),
        ("", r"has no column path, sport, skill \(it has none\)"),
        ("path;sport\na.mp4;judo\n", r"has no column skill \(it has path, sport\)"),
        ("path,sport,skill\n", "has no rows"),
        (
            "path,sport,skill\na.mp4,judo,throw,more,and more\n",
            r"list.csv, line 2: 5 cells, where the header has 3: put",
        ),
        (
            'path,sport,skill\n"a.mp4,judo,throw\nb.mp4,golf,putt\n',
            "list.csv, line 2: unexpected end .* close each quote",
        ),
        ("path,Path,sport,skill\n", "cannot be read .*duplicate output name 'path'"),
    ],
)
def test_an_unusable_list_is_an_error(folder: Path, text: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        find_lessons(written(folder, text))


@pytest.mark.parametrize(
    ("text", "encoding"),
    [
        ("Path; SPORT ;Skill;\na.mp4;judo;Würfe, hoch;\n;;;\n", "utf-8"),
        ("sep=;\nPATH;Sport;skill\na.mp4;judo;Würfe, hoch\n", "cp1252"),
        ("path\tsport\tskill\r\na.mp4\tjudo\tWürfe, hoch\r\n\r\n", "utf-16"),
        ("\ufeffpath\tsport\tskill\na.mp4\tjudo\tWürfe, hoch\n", "utf-16-le"),
        ('sep=,\npath,sport,skill\na.mp4,judo,"Würfe, hoch"', "utf-8-sig"),
    ],
)
def test_a_list_is_read_as_spreadsheets_save_it(folder: Path, text: str, encoding: str) -> None:
    path = folder / "list.csv"
    path.write_bytes(text.encode(encoding))
    lessons, dropped = find_lessons(path)
    assert [(each.video_id, each.sport, each.skill) for each in lessons] == [
        ("a", "judo", "würfe, hoch")
    ]
    assert dropped == []


def test_films_of_ones_own_may_be_named_as_one_likes(folder: Path) -> None:
    names = ["Mein Wurf, links.mp4", "投げ.mp4", "line\nbreak.mp4", "sub/投げ.mp4"]
    (folder / "sub").mkdir()
    for name in names:
        (folder / name).write_bytes(b"film")
        (folder / name).with_suffix(".en.vtt").write_text("WEBVTT\n")
    path = written(
        folder, "path,sport,skill\n" + "".join(f'"{name}",judo,throw\n' for name in names)
    )
    lessons, dropped = find_lessons(path)
    assert dropped == []
    ids = [each.video_id for each in lessons]
    assert ids == [each.video_id for each in find_lessons(path)[0]] and len(set(ids)) == 4
    assert [each.rpartition("-")[0] for each in ids] == [
        "Mein_Wurf_links",
        "line_break",
        "video",
        "video",
    ]
    moved = folder.rename(folder.with_name("moved")) / "list.csv"
    assert [
        each.video_id for each in find_lessons(moved)[0]
    ] == ids  # an id is the same wherever the folder lies


@pytest.mark.parametrize(
    ("given", "kept"),
    [("20240229", "20240229"), ("2024-02-29", "20240229"), ("20230229", None), ("soon", None)],
)
def test_a_date_is_a_day_of_the_calendar(folder: Path, given: str, kept: str | None) -> None:
    lessons, dropped = find_lessons(
        written(folder, f"path,sport,skill,upload_date\na.mp4,judo,throw,{given}\n")
    )
    assert [each.upload_date for each in lessons] == ([kept] if kept else [])
    assert [each[3] for each in dropped] == (
        []
        if kept
        else [
            f"row 1: upload_date {given!r} is not a date as YYYYMMDD: correct it or leave it empty"
        ]
    )


def test_other_files_are_no_lists(folder: Path) -> None:
    with pytest.raises(ValueError, match=r"ends in '.mp4': name a .csv, .tsv, .parquet file"):
        find_lessons(folder / "a.mp4")
    (folder / "x.parquet").write_bytes(b"no parquet")
    with pytest.raises(ValueError, match=r"x.parquet cannot be read"):
        find_lessons(folder / "x.parquet")


def test_curation_reads_a_list(folder: Path) -> None:
    films.write_film(folder / "a.mp4", films.grey_steps(40))
    (folder / "a.en.vtt").write_text(
        "WEBVTT\n\n00:00.500 --> 00:03.000\nBend your knees and push your hips back.\n"
    )
    path = written(folder, "path,sport,skill\na.mp4,judo,hip throw\n")
    curated = curate(path, CurationConfig(workers=0))
    assert curated.headline() == {"videos": 1, "narrations": 1, "actionable": 1, "undecided": 0}
    assert path / curated.videos["path"][0] == folder / "a.mp4"  # 02 joins source and path
