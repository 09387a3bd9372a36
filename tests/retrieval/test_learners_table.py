"""Learners from a plain table: what is kept, what is dropped and why, and how splits are dealt
out.
"""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest
from learner_files import COLUMNS, copy_video, reasons, tried, write_csv

from sportskills_lib.learner_data import read_learner_frames, read_learners
from sportskills_lib.learner_data.plain_table import NEEDED


@pytest.fixture
def table(tmp_path, six_seconds):
    """Write rows as a table beside ``a.mp4`` … ``e.mp4`` and read it."""
    copy_video(six_seconds, *(tmp_path / f"{name}.mp4" for name in "abcde"))

    def read(*rows, name="tries.csv", columns=COLUMNS, **options):
        if name.endswith(".parquet"):
            pl.DataFrame(list(rows), infer_schema_length=None).write_parquet(tmp_path / name)
        else:
            write_csv(tmp_path / name, list(rows), columns)
        return read_learners(tmp_path / name, span_s=3.0, **options)

    return read


@pytest.mark.parametrize("name", ["tries.csv", "tries.parquet"])
def test_a_row_is_a_learner_over_its_own_span(table, tmp_path, name):
    rows = [
        tried("a.mp4", 0.5, 2.5, participant="Ann ", split="train", is_mistake="no"),
        tried("b.mp4", "3", "6.3", participant="Bo", split="Test", sport="Push-Up", skill=""),
    ]
    if name.endswith(".parquet"):
        rows[1] |= {"start": 3.0, "end": 6.3}
    learners, dropped = table(*rows, name=name, sports=["tennis", "push up"])
    assert dropped.height == 0
    first, second = learners.to_dicts()
    assert first == {
        "learner_id": "a.mp4:000500-002500",
        "start_s": 0.5,
        "end_s": 2.5,
        "take_id": "a.mp4",
        "participant": "ann",
        "path": "a.mp4",
        "sport": "tennis",
        "skill": "serve",
        "comment": "elbow up",
        "is_mistake": False,
        "split": "train",
    }
    assert (second["sport"], second["skill"], second["is_mistake"], second["split"]) == (
        "push up",
        None,
        True,
        "test",
    )
    assert second["end_s"] == pytest.approx(6.0)  # clipped to the video
    kept, frames, _ = read_learner_frames(
        tmp_path / name, learners, frames=2, size_px=32, workers=0
    )
    assert kept.height == 2
    np.testing.assert_allclose(frames[0].mean((1, 2, 3)) / 4, [10, 20], atol=1.0)


ROWS = [
    (tried("lost.mp4"), "missing_video"),
    (tried(""), "missing_video"),
    (tried("."), "missing_video"),
    (tried("a\0.mp4"), "missing_video"),
    (tried("x" * 5000 + ".mp4"), "missing_video"),
    (tried("../outside.mp4"), "view_outside_folder"),
    (tried("/etc/hostname"), "view_outside_folder"),
    (tried(start="NaN"), "bad_time"),
    (tried(start="one"), "bad_time"),
    (tried(end="inf"), "bad_time"),
    (tried(end="1e999"), "bad_time"),
    (tried(end="0:04"), "bad_time"),
    (tried(end="3,5"), "bad_time"),
    (tried(end=""), "bad_time"),
    (tried(start=3, end=1), "bad_span"),
    (tried(start=3, end=3), "bad_span"),
    (tried(start=-1), "bad_span"),
    (tried(end=60), "outside_video"),
    (tried(start=50, end=60), "outside_video"),
    (tried(start=5.95, end=6.4), "outside_video"),
    (tried(comment=" "), "empty_comment"),
    (tried(sport=""), "unknown_sport"),
    (tried(sport="tenis"), "unknown_sport"),
    (tried(split="dev"), "bad_value"),
    (tried(is_mistake="perhaps"), "bad_value"),
    (tried("broken.mp4"), "unreadable"),
    (tried(comment="null\0, half \udcff, and ünïcode"), None),
    (tried(participant="p" * 4000), None),
]


@pytest.mark.parametrize(("row", "reason"), ROWS, ids=range(len(ROWS)))
def test_one_bad_row_costs_itself_alone(table, tmp_path, row, reason):
    (tmp_path / "broken.mp4").write_bytes(b"no video")
    learners, dropped = table(tried("b.mp4", 2, 5), row, tried("c.mp4", 2, 5), sports=["tennis"])
    assert learners.height == (2 if reason else 3)
    assert dropped.select("item_id", "reason").rows() == ([("row2", reason)] if reason else [])
    if reason == "unknown_sport" and row["sport"]:
        assert "is 'tennis' meant?" in dropped["detail"][0]


def test_doubled_and_contradictory_rows(table):
    learners, dropped = table(
        tried("a.mp4", comment="elbow up"),
        tried("a.mp4", comment="and look at it"),
        tried("a.mp4", comment="elbow"),
        tried("b.mp4", is_mistake="yes"),
        tried("b.mp4", is_mistake="no"),
        tried("c.mp4"),
        tried("c.mp4", sport="judo"),
        tried("d.mp4", split="train"),
        tried("d.mp4", split="test"),
        tried("e.mp4", is_mistake="no"),
        tried("e.mp4", is_mistake=""),
    )
    assert learners.select("path", "comment", "is_mistake").rows() == [
        ("a.mp4", "elbow up and look at it", True), ("e.mp4", "elbow up", False),
    ]  # fmt: skip
    assert reasons(dropped) == {"contradictory": 6, "doubled": 3}
    told = (
        dropped.filter(pl.col("reason") == "contradictory")["detail"]
        .unique(maintain_order=True)
        .to_list()
    )
    assert told == [
        "b.mp4:001000-004000 is called well done (row5) and a mistake (row4)",
        "c.mp4:001000-004000 has the sport 'tennis' (row6) and 'judo' (row7)",
        "d.mp4:001000-004000 has the split 'train' (row8) and 'test' (row9)",
    ]


# ------------------------------------------------------------------------------------------- splits


def splits_of(learners):
    return dict(learners.select("learner_id", "split").iter_rows())


def test_splits_that_are_not_said_keep_participants_and_videos_whole(table, tmp_path, six_seconds):
    copy_video(six_seconds, *(tmp_path / f"v{number}.mp4" for number in range(20)))
    rows = [
        tried(f"v{number}.mp4", at, at + 2, participant=f"p{number // 2}")
        for number in range(20)
        for at in (0, 3)
    ]
    rows.append(
        tried("v1.mp4", 1.5, 3.5, participant="p1")
    )  # p0's film shows p1 too: they belong together
    learners, dropped = table(*rows)
    assert learners.height == 41 and dropped.height == 0
    for group in ("participant", "path"):
        assert learners.group_by(group).agg(pl.col("split").n_unique())["split"].max() == 1
    sizes = dict(learners.group_by("split").agg(pl.col("participant").n_unique()).iter_rows())
    assert (
        set(sizes) == {"train", "val", "test"} and sizes["train"] >= sizes["test"] >= sizes["val"]
    )
    assert splits_of(table(*reversed(rows))[0]) == splits_of(learners)


def test_who_has_no_split_follows_the_rest_of_the_group(table):
    learners, dropped = table(
        tried("a.mp4", participant="Ann", split="val"),
        tried("b.mp4", participant="ann"),
        tried("b.mp4", 0, 3),
    )
    assert set(splits_of(learners).values()) == {"val"} and dropped.height == 0


def test_who_stands_in_two_splits_stays_in_the_most_held_out(table):
    learners, dropped = table(
        tried("a.mp4", participant="ann", split="train"),
        tried("b.mp4", participant="Ann", split="test"),
        tried("c.mp4", participant="bo", split="train"),
        tried("c.mp4", 0, 2, participant="cy", split="val"),
        tried("d.mp4", participant="bo", split="train"),
    )
    assert splits_of(learners) == {
        "b.mp4:001000-004000": "test", "c.mp4:000000-002000": "val", "d.mp4:001000-004000": "train",
    }  # fmt: skip
    assert dropped.select("item_id", "reason").rows() == [
        ("row1", "participant_in_two_splits"), ("row3", "take_in_two_splits"),
    ]  # fmt: skip


def test_two_films_by_one_name_are_two_takes(table, tmp_path, six_seconds):
    copy_video(
        six_seconds, tmp_path / "x/my serve.mp4", tmp_path / "y/my serve.mp4", tmp_path / "зал.mp4"
    )
    learners, _ = table(
        tried("x/my serve.mp4"), tried("y/my serve.mp4"), tried("зал.mp4"), tried("./x/../a.mp4")
    )
    assert (
        learners["take_id"].n_unique() == 4
        and learners["path"].is_in(["a.mp4", "зал.mp4"]).sum() == 2
    )
    assert all(take.isascii() and "/" not in take for take in learners["take_id"])


# -------------------------------------------------------------------------------------------- files


def test_a_quote_that_is_not_closed_costs_its_own_line(table, tmp_path):
    head = ",".join(NEEDED)
    lines = [
        head,
        'a.mp4,1,4,tennis,serve,"open',
        "b.mp4,1,4,tennis,serve,ok",
        ('c.mp4,1,4,tennis,serve,"fine, ""too"""'),
        "d.mp4,1,4,tennis",
        "",
        'e.mp4,1,4,tennis,serve,"in',
        'two lines"',
        "e.mp4,2,5,tennis,serve,x,y",
    ]
    (tmp_path / "tries.csv").write_bytes(
        b"\xef\xbb\xbf" + "\r\n".join(lines).encode() + b"\r\nb.mp4,2,5,tennis,,\xff"
    )
    learners, dropped = read_learners(tmp_path / "tries.csv", span_s=3.0)
    assert sorted(learners["comment"]) == ['fine, "too"', "in two lines", "ok", "\ufffd"]
    assert dropped.select("item_id", "reason").rows() == [
        ("row1", "bad_row"),
        ("row4", "bad_row"),
        ("row6", "bad_row"),
    ]
    assert dropped["detail"][1] == "line 5: 4 values, the header has 6"


def test_a_row_without_values_is_counted_and_a_blank_line_is_not(table, tmp_path):
    lines = ["", ",,,,,", "  ", "b.mp4,1,4,tennis,serve,"]
    (tmp_path / "tries.csv").write_text("\n".join([",".join(NEEDED), *lines]))
    dropped = read_learners(tmp_path / "tries.csv", span_s=3.0)[1]
    assert dropped.select("item_id", "reason").rows() == [
        ("row1", "missing_video"),
        ("row2", "empty_comment"),
    ]


def test_a_field_without_end_costs_its_own_line(table):
    learners, dropped = table(tried(comment="x" * 200_000), tried("b.mp4"))
    assert learners["path"].to_list() == ["b.mp4"] and reasons(dropped) == {"bad_row": 1}


def test_columns_are_found_by_name_and_others_not_read(table):
    columns = ("Comment", "extra", *(name for name in NEEDED if name != "comment"))
    learners, _ = table(tried() | {"Comment": "from the right", "extra": "?"}, columns=columns)
    assert learners["comment"].to_list() == ["from the right"]


def test_a_parquet_table_of_any_types_costs_rows_only(table):
    rows = [tried("a.mp4", 1.0, 4.0), tried("b.mp4", None, 4.0), tried("c.mp4", float("nan"), 4.0)]
    learners, dropped = table(*rows, name="tries.parquet")
    assert learners.height == 1 and reasons(dropped) == {"bad_time": 2}
    odd = [
        tried(participant=None, split=None, is_mistake=None)
        | {"comment": ["a", "b"], "start": "1", "end": "4"}
    ]
    learners, dropped = table(*odd, name="odd.parquet")
    assert learners.height == 0 and reasons(dropped) == {"empty_comment": 1}
    learners, dropped = table(tried(is_mistake=True, participant=7), name="typed.parquet")
    assert learners.select("participant", "is_mistake").rows() == [("7", True)]


@pytest.mark.parametrize(
    ("name", "content", "told"),
    [
        ("t.csv", b"", "has no column video, start, end, sport, skill, comment"),
        ("t.csv", b"video;start;end;sport;skill;comment\n", "columns are parted by commas"),
        ("t.csv", b"video,start,end,sport,skill\n", "has no column comment"),
        ("t.csv", b"video,start,end,sport,skill,comment,Video\n", "has the column video twice"),
        ("t.csv", "video,start,end,sport,skill,comment".encode("utf-16"), "has no column"),
        ("t.csv", b"\x89PNG\r\n\x1a\n\0\0", "has no column"),
        ("t.parquet", b"", "cannot be read"),
        ("t.parquet", b"PAR1" + b"x" * 100 + b"PAR1", "cannot be read"),
    ],
)
def test_a_file_that_is_no_table_is_named_with_the_remedy(tmp_path, name, content, told):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ValueError, match=rf"learners .*{name.replace('.', '[.]')} .*{told}"):
        read_learners(tmp_path / name, span_s=3.0)


def test_a_table_without_rows_has_no_learners(table):
    learners, dropped = table()
    assert learners.height == dropped.height == 0
