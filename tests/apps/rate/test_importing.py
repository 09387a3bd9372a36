"""Judgements in an untidy table of somebody else, by a mapping of its columns."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest
from typer.testing import CliRunner

from sportskills_lib import tables
from sportskills_lib.apps.rate import commands, ratings_import
from sportskills_lib.evaluation import feedback

MAPPING = """
table = "CoachGT.csv"

[columns]
take_uid = "attempt"
video_time = "second"
video_id = "lesson"
start_s = "from"
end_s = "to"
rater = "Coach"
grade = "verdict"

[grades]
"shows the fix" = 3
"helps" = 2
"same skill" = 1
"no" = 0
"""
# a byte order mark, semicolons, decimal commas, more columns than are read, rows twice
TABLE = """\ufeffid;attempt;second;lesson;from;to;Coach;verdict;remark
1;t1; 2,5 ;v1;1;3.5;Ann;shows the fix;"good; short"
2;t1;2.5;v1;1.0;3.5;Ben;helps;
3;t1;2.5;v1;1;3.5;Ann;shows the fix;again
4;t1;2.5;v2;0;2;Ann;no;
5;t1;2.5;v2;0;2;Ann;helps;on second thoughts
6;t1;2.5;v1;1;3.5;Eve;superb;
7;t1;soon;v1;1;3.5;Eve;no;
8;t1;2.5;v1;3.5;1;Eve;no;
9;;2.5;v1;1;3.5;Eve;no;
10;t9;2.5;v1;1;3.5;Eve;same skill;a learner that nobody knows
11;t1;2.5;v9;1;3.5;Eve;same skill;a video that nobody knows
12;t1;2.5
"""


def write(folder: Path, mapping: str = MAPPING, table: str = TABLE) -> Path:
    (folder / "CoachGT.csv").write_text(table, encoding="utf-8")
    (folder / "coaches.toml").write_text(mapping)
    return folder / "coaches.toml"


def test_rows_become_ratings_or_are_dropped_with_the_reason(tmp_path: Path) -> None:
    rated, dropped = ratings_import.read(write(tmp_path))
    assert rated.columns == list(feedback.RATINGS)
    assert rated.select("take_uid", "video_time", "end_s", "rater", "grade").rows() == [
        ("t1", 2.5, 3.5, "Ann", 3),
        ("t1", 2.5, 3.5, "Ben", 2),
        ("t9", 2.5, 3.5, "Eve", 1),
        ("t1", 2.5, 3.5, "Eve", 1),
    ]
    assert dict(dropped.select("item_id", "reason").iter_rows()) == {
        "row3": "doubled",
        "row4": "contradictory",
        "row5": "contradictory",
        "row6": "unknown_grade",
        "row7": "bad_time",
        "row8": "bad_time",
        "row9": "empty",
        "row12": "empty",
    }
    assert "superb" in dropped.filter(item_id="row6")["detail"].item()


def test_the_command_writes_what_05_reads_and_05_drops_unknown_ids(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SPORTSKILLS_HOME", str(tmp_path))
    said = CliRunner().invoke(commands.app, ["import", str(write(tmp_path))])
    assert said.exit_code == 0 and "4 rows ratings" in said.output
    assert "8 rows dropped" in said.output
    clip = {"clip_id": "v1:001000-003500", "video_id": "v1", "start_s": 1.0, "end_s": 3.5}
    learner = {"learner_id": "t1:000000-005000", "take_id": "t1", "start_s": 0.0, "end_s": 5.0}
    judged, left_out = feedback.judgements(
        feedback.read_ratings("coaches_ratings.csv"),
        pl.DataFrame([clip | {"split": "test"}]),
        pl.DataFrame([learner | {"split": "test"}]),
    )
    assert judged.select("rater", "grade", "simulated").rows() == [
        ("Ann", 3, False),
        ("Ben", 2, False),
    ]
    assert sorted(left_out["reason"]) == ["no_clip", "no_learner"]
    assert pl.read_csv(tmp_path / "coaches_dropped.csv").columns == tables.Dropped.column_names()


def test_grades_as_numbers_and_what_is_the_same_in_all_rows(tmp_path: Path) -> None:
    head = MAPPING.partition("[grades]")[0].replace('rater = "Coach"\n', 'learner_id = "id"\n')
    fixed = '[fixed]\nrater = "panel"\nsimulated = "true"\n'
    table = TABLE.replace("helps", "2").replace("shows the fix", " 3 ")
    rated, _ = ratings_import.read(write(tmp_path, head + fixed, table))
    assert set(rated["rater"]) == {"panel"} and set(rated["simulated"]) == {"true"}
    assert rated.select("learner_id", "grade").rows() == [("1", 3), ("2", 2), ("3", 3), ("5", 2)]


@pytest.mark.parametrize(
    ("old", "new", "why"),
    [
        ('"Coach"', '"coach"', r"no column coach \(it has id, attempt.*correct its name under"),
        ('grade = "verdict"\n', "", "does not say which column is grade: add it to .columns."),
        ('"no" = 0', '"no" = 7', "grades.no"),
        ("[grades]", "[marks]", "marks"),
        ("CoachGT", "Coach", "No such file"),
        ("[columns]", "[columns", "cannot be read"),
    ],
)
def test_a_mapping_that_does_not_fit_is_one_line(
    tmp_path: Path, old: str, new: str, why: str
) -> None:
    with pytest.raises(ValueError, match=why) as found:
        ratings_import.read(write(tmp_path, MAPPING.replace(old, new)))
    assert "\n" not in str(found.value)
