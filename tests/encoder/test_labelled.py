"""Lists of labelled videos, good rows and bad."""

from __future__ import annotations

from pathlib import Path

import pytest

from sportskills_lib.encoder.activity_data import read_lists

HEAD = "label,youtube_id,time_start,time_end,split\n"


def _touch(folder: Path, *names: str) -> None:
    (folder / "videos").mkdir(parents=True, exist_ok=True)
    for name in names:
        (folder / "videos" / name).write_bytes(b"x")


def test_kinetics_rows_name_spans_of_whole_and_of_cut_files(tmp_path: Path) -> None:
    _touch(tmp_path, "aaaaaaaaaaa.mp4", "-bb_bbbbbbb_000012_000022.webm")
    rows = "playing tennis,aaaaaaaaaaa,3,13,train\njuggling,-bb_bbbbbbb,12,22,train\n"
    (tmp_path / "train.csv").write_text(HEAD + rows)
    (tmp_path / "notes.csv").write_text("a,b\n1,2\n")
    (whole, cut), dropped = read_lists(tmp_path)
    assert (whole.clip_id, whole.label, whole.start_s, whole.end_s) == (
        "aaaaaaaaaaa:003000-013000",
        "playing tennis",
        3,
        13,
    )
    assert (cut.video_id, cut.start_s, cut.end_s, cut.path.suffix) == (
        "-bb_bbbbbbb",
        0.0,
        None,
        ".webm",
    )
    assert dropped == []


@pytest.mark.parametrize(
    ("row", "reason", "said"),
    [
        ("tennis,gone,0,10,train", "no_video", "neither gone nor gone_000000_000010"),
        ("tennis,here,ten,20,train", "bad_row", "'here' from 'ten' to '20'"),
        ("tennis,here,20,10,train", "bad_row", "from '20' to '10'"),
        ("tennis,here,0,inf,train", "bad_row", "to 'inf'"),
        ("tennis,here,nan,3,train", "bad_row", "from 'nan'"),
        ("tennis,here,-1,3,train", "bad_row", "from '-1'"),
        ("tennis,here", "bad_row", "from '' to ''"),
        (",here,0,10,train", "bad_row", "'' in 'here'"),
        ("tennis,../here,0,10,train", "bad_row", "'../here'"),
        ("tennis,here,0,10,validate", "other_split", "'validate'"),
        ("tennis,here,1,4,train\nvolley,here,1,4,train", "duplicate_row", "'volley'"),
    ],
)
def test_a_bad_row_is_dropped_with_its_reason(
    tmp_path: Path, row: str, reason: str, said: str
) -> None:
    _touch(tmp_path, "here.mp4")
    (tmp_path / "list.csv").write_text("\ufeff" + HEAD + "golf,here,5,6,train\n" + row + "\n")
    kept, dropped = read_lists(tmp_path)
    assert [one.label for one in kept] == ["golf"] + (
        ["tennis"] if reason == "duplicate_row" else []
    )
    ((_, _, why, detail),) = dropped
    assert why == reason and said in detail


def test_a_folder_without_a_list_says_so(tmp_path: Path) -> None:
    with pytest.raises(
        ValueError, match="no list of labels: a CSV with the columns label, youtube_id"
    ):
        read_lists(tmp_path)
    with pytest.raises(ValueError, match="is no folder"):
        read_lists(tmp_path / "no")
