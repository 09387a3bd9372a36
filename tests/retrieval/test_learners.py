"""The reader of Ego-Exo4D's layout, on small folders written here: what is kept, what is dropped
and why.
"""

from __future__ import annotations

import json

import numpy as np
import polars as pl
import pytest
from learner_files import (
    copy_video,
    item,
    proficiency,
    reasons,
    remark,
    take,
    write_egoexo,
    write_video,
)

from sportskills_lib import tables
from sportskills_lib.config import RetrievalConfig
from sportskills_lib.formats.untrusted_json import UnusableRow
from sportskills_lib.learner_data import (
    learners_source,
    read_learner_frames,
    read_learners,
)
from sportskills_lib.learner_data.takes import exo_view, sport_and_skill
from sportskills_lib.retrieval import figures, stage
from sportskills_lib.video.frame_reader import clip_times


@pytest.fixture
def folder(tmp_path, six_seconds):
    takes = [
        take("a", 1),
        take("b", 2, task="Judo - osoto sweep"),
        take("c", 3),
        take("lost", 4),
        take("d", 5),
    ]
    copy_video(
        six_seconds,
        *(tmp_path / "takes" / name / "frame_aligned_videos" / "cam01.mp4" for name in "abcd"),
    )
    (tmp_path / "takes" / "d" / "frame_aligned_videos" / "cam01.mp4").write_bytes(
        b"no video at all"
    )
    remarks = {
        "train": {
            "a": [
                remark(1.0, "your elbow folds up"),
                remark(1.0, "and the knees are stiff"),
                remark(4.5, "nice serve"),
                remark(3.0, "uh", error=True, _error_desc="audio was cut off"),
                remark(60.0, "too late"),
                remark(2.0, "   "),
            ],
            "lost": [remark(1.0, "never seen")],
        },
        "val": {"b": [remark(3.0, "the back leans")]},
        "test": {"c": [remark(5.9, "the arm drops")], "d": [remark(3.0, "unreadable")]},
    }
    good = {"take_uid": "uid-a", "good_executions": [{"video_time": 4.4, "text": "great"}]}
    tips = {
        "tips_for_improvement": [
            {"video_time": 1.2, "text": "extend it"},
            {"video_time": 4.9, "text": "no"},
        ]
    }
    return write_egoexo(tmp_path, takes, remarks, {"train": [good | tips]})


@pytest.fixture
def one_take(tmp_path, six_seconds):
    """A folder with one take; the test writes its annotations."""
    copy_video(six_seconds, tmp_path / "takes/a/frame_aligned_videos/cam01.mp4")

    def write(remarks, moments=None, **more):
        return write_egoexo(tmp_path, [take("a", 1, **more)], remarks, moments)

    return write


def test_what_is_kept_and_what_is_dropped(folder):
    learners, dropped = read_learners(folder, span_s=3.0)
    rows = {row["learner_id"]: row for row in learners.iter_rows(named=True)}
    assert list(rows) == sorted(
        [
            "uid-a:000000-002500",
            "uid-a:003000-006000",
            "uid-b:001500-004500",
            "uid-c:004400-006000",
            "uid-d:001500-004500",
        ]
    )
    first = rows["uid-a:000000-002500"]
    assert first["comment"] == "your elbow folds up extend it and the knees are stiff"
    assert (first["sport"], first["skill"], first["participant"], first["split"]) == (
        "tennis",
        "serve",
        "1",
        "train",
    )
    assert first["is_mistake"] and not rows["uid-a:003000-006000"]["is_mistake"]
    assert first["path"] == "takes/a/frame_aligned_videos/cam01.mp4"
    assert reasons(dropped) == {
        "annotation_error": 1,
        "doubled": 1,
        "empty_comment": 1,
        "no_exo_view": 1,
        "no_take": 1,
        "outside_take": 1,
    }
    assert (
        dropped.filter(pl.col("reason") == "annotation_error")["detail"][0] == "audio was cut off"
    )


def test_frames_are_those_of_the_span_and_an_unreadable_video_is_dropped(folder):
    learners, _ = read_learners(folder, span_s=3.0)
    kept, frames, dropped = read_learner_frames(folder, learners, frames=4, size_px=32, workers=0)
    assert kept["learner_id"].to_list() == [
        x for x in learners["learner_id"].to_list() if not x.startswith("uid-d")
    ]
    assert frames.shape == (4, 4, 32, 32, 3) and frames.dtype == np.uint8
    assert dropped["reason"].to_list() == ["unreadable"]
    times_s = clip_times(1.5, 4.5, 4)
    np.testing.assert_allclose(times_s, [1.875, 2.625, 3.375, 4.125])
    shown = frames[kept["learner_id"].to_list().index("uid-b:001500-004500")].mean((1, 2, 3)) / 4
    np.testing.assert_allclose(shown, np.floor(times_s * 10), atol=1.0)


def test_a_span_that_its_video_does_not_have_is_dropped_when_the_frames_are_read(one_take):
    """takes.json says 60 s, the video has 6."""
    folder = one_take(
        {"train": {"a": [remark(3.0, "here"), remark(40.0, "nowhere")]}}, duration_sec=60.0
    )
    learners, dropped = read_learners(folder, span_s=3.0)
    assert learners.height == 2 and dropped.height == 0
    kept, frames, unread = read_learner_frames(folder, learners, frames=2, size_px=32, workers=0)
    assert kept["learner_id"].to_list() == ["uid-a:001500-004500"] and len(frames) == 1
    assert unread.row(0)[2:] == (
        "outside_video",
        "the span 38.50 to 41.50 s; the video lasts 6.00 s",
    )


# -------------------------------------------------------------------------------------- proficiency


def test_tips_and_good_executions_without_a_remark_are_learners_of_their_own(one_take):
    good, tips = (
        [item(0.5, "quick feet")],
        [item(3.0, "bend the knees"), item(5.5, "follow through")],
    )
    learners, dropped = read_learners(
        one_take({}, {"val": [proficiency("a", good, tips)]}), span_s=1.0
    )
    rows = learners.select("learner_id", "comment", "is_mistake", "split").rows()
    assert rows == [
        ("uid-a:000000-001000", "quick feet", False, "val"),
        ("uid-a:002500-003500", "bend the knees", True, "val"),
        ("uid-a:005000-006000", "follow through", True, "val"),
    ]
    assert dropped.height == 0


def test_a_moment_inside_a_remarks_span_is_no_second_learner(one_take):
    moments = [
        proficiency(
            "a",
            tips=[
                item(4.2, "the wrist"),
                item(2.1, "the knee"),
                item(5.9, "the end"),
                item(9, "?"),
            ],
        )
    ]
    folder = one_take({"train": {"a": [remark(3.0, "the elbow")]}}, {"train": moments})
    learners, dropped = read_learners(folder, span_s=3.0)
    assert learners["comment"].to_list() == ["the elbow the knee", "the end"]
    assert reasons(dropped) == {"outside_take": 1, "told_already": 1}
    assert "uid-a:001500-004500" in dropped.filter(pl.col("reason") == "told_already")["detail"][0]


def test_a_moment_called_good_and_bad_is_dropped_from_both_lists(one_take):
    moments = [
        proficiency(
            "a", [item(1.0, "good"), item(5.0, "fine"), item(5.0, "fine")], [item(1.05, "bad")]
        )
    ]
    folder = one_take({"train": {"a": [remark(1.0, "hm")]}}, {"train": moments})
    learners, dropped = read_learners(folder, span_s=1.0)
    assert reasons(dropped) == {"contradictory": 2, "doubled": 1}
    assert learners.select("comment", "is_mistake").rows() == [("hm", True), ("fine", False)]


@pytest.mark.parametrize(
    ("published", "words"),
    [
        ("['the chin stays up']", "the chin stays up"),
        ("[\"it's late\", 'so am I']", "it's late so am I"),
        (["one", "two"], "one two"),
        ("plain words", "plain words"),
        ("[not closed", "[not closed"),
    ],
)
def test_the_published_text_of_a_list_is_read(one_take, published, words):
    row = {"video_time": 3.0, "list": published}
    learners, _ = read_learners(one_take({}, {"train": [proficiency("a", tips=[row])]}), span_s=1.0)
    assert learners["comment"].to_list() == [words]


# -------------------------------------------------------------------------------------------- takes


def test_a_take_that_cannot_be_used_is_dropped_with_its_remarks(tmp_path, six_seconds):
    names = ("good", "withdrawn", "endless", "twice", "torn", "silent", "cooking")
    copy_video(
        six_seconds, *(tmp_path / f"takes/{name}/frame_aligned_videos/cam01.mp4" for name in names)
    )
    takes = [
        take("good", 1),
        take("withdrawn", 2, is_dropped=True),
        take("endless", 3, duration_sec="NaN"),
        take("twice", 4),
        take("twice", 4),
        take("torn", 5),
        take("torn", 6),
        take("silent", 7),
        take("cooking", 8, task="Cooking an Omelet"),
        "no take",
        {"take_uid": "../up"},
        {"take_uid": ["x"]},
    ]
    remarks = {name: [remark(3.0, "words")] for name in (*names, "unknown") if name != "silent"}
    folder = write_egoexo(tmp_path, takes, {"train": remarks})
    learners, dropped = read_learners(folder, span_s=3.0, sports=["tennis"])
    assert learners["take_id"].to_list() == ["uid-good", "uid-twice"]
    by_take = dropped.filter(pl.col("item_kind") == "take")
    assert reasons(by_take) == {
        "bad_id": 2,
        "bad_row": 1,
        "contradictory": 1,
        "doubled": 1,
        "dropped_take": 1,
        "no_comment": 1,
        "no_duration": 1,
        "unknown_sport": 1,
    }
    told = dict(
        dropped.filter(pl.col("reason") == "no_take").select("item_id", "detail").iter_rows()
    )
    assert told["uid-torn@3.0"] == "its take was not kept (contradictory)"
    assert told["uid-unknown@3.0"].endswith("(takes.json has no such take)")
    unknown = by_take.filter(pl.col("reason") == "unknown_sport")["detail"][0]
    assert unknown == "the library has no sport 'cooking' (it has tennis)"


@pytest.mark.parametrize(
    ("task", "parent", "sports", "expected"),
    [
        (
            "Basketball Drills - Mikan Layup",
            "Basketball",
            ["basketball", "judo"],
            ("basketball", "mikan layup"),
        ),
        ("Push-Up - incline", None, ["push up"], ("push up", "incline")),
        ("Tennis - serve", "Tennis", None, ("tennis", "serve")),
    ],
)
def test_the_librarys_name_of_a_sport_is_taken(one_take, task, parent, sports, expected):
    folder = one_take({"train": {"a": [remark(3.0, "words")]}}, task=task, parent_task_name=parent)
    learners, _ = read_learners(folder, span_s=3.0, sports=sports)
    assert learners.select("sport", "skill").rows() == [expected]


@pytest.mark.parametrize(
    ("task", "parent", "expected"),
    [
        ("Tennis - serve", "Tennis", ("tennis", "serve")),
        (
            "Basketball Drills - Mikan Layup - left",
            "Basketball",
            ("basketball drills", "mikan layup - left"),
        ),
        ("Dance", None, ("dance", None)),
        ("Freeform", "Soccer", ("soccer", None)),
        (" - serve", "Tennis", ("tennis", "serve")),
        ("", None, ("unknown", None)),
    ],
)
def test_sport_and_skill_come_from_the_task(task, parent, expected):
    assert sport_and_skill(task, parent) == expected


def test_the_view_is_the_best_camera_on_disk_and_never_outside_the_folder(tmp_path):
    small = tmp_path / "takes/x/frame_aligned_videos/downscaled/448"
    small.mkdir(parents=True)
    for name in ("cam03", "cam04", "cam05"):
        (small / f"{name}.mp4").touch()
    (tmp_path.parent / "outside.mp4").touch()
    (tmp_path / "takes/x/linked.mp4").symlink_to(tmp_path.parent / "outside.mp4")

    def of(root, entry):
        try:
            return exo_view(tmp_path, root, entry), ""
        except UnusableRow as why:
            return None, why.reason

    def view(**more):
        return of("takes/x", take("x", 1, cameras=("cam02", "cam03", "cam04")) | more)

    def only(path):
        return {"frame_aligned_videos": {"cam01": {"0": {"relative_path": path}}}}

    below = "takes/x/frame_aligned_videos/downscaled/448"
    assert view() == (f"{below}/cam03.mp4", "")
    assert view(best_exo="cam04") == (f"{below}/cam04.mp4", "")
    assert view(best_exo="cam02") == (f"{below}/cam03.mp4", "")  # its file is not there
    assert view(capture={"cameras": [{"cam_id": "cam03", "is_ego": True}, 3]}) == (
        f"{below}/cam04.mp4",
        "",
    )
    for path in ("../../../outside.mp4", "linked.mp4"):
        assert view(**only(path)) == (None, "view_outside_folder")
    for path in (
        str(tmp_path.parent / "outside.mp4"),
        "a\0b.mp4",
        "x" * 5000,
        "\ud800.mp4",
        None,
        7,
        "",
    ):
        assert view(**only(path)) == (None, "no_exo_view")
    for cameras in (
        None,
        [],
        "cam01",
        {"cam01": []},
        {"cam01": {"0": None}},
        {"aria01": {"0": {}}},
        {"cam99": {}},
    ):
        assert view(frame_aligned_videos=cameras) == (None, "no_exo_view")
    assert of(str(tmp_path.parent), take("x", 1))[1] == "view_outside_folder"


# ------------------------------------------------------------------------------------------- splits


def test_who_stands_in_two_splits_stays_in_the_most_held_out(folder):
    takes = json.loads((folder / "takes.json").read_text())
    takes[2]["participant_uid"] = 1  # take c (test) by the participant of take a (train)
    (folder / "takes.json").write_text(json.dumps(takes))
    learners, dropped = read_learners(folder, span_s=3.0)
    assert dict(learners.select("take_id", "split").iter_rows()) == {
        "uid-b": "val",
        "uid-c": "test",
        "uid-d": "test",
    }
    lost = dropped.filter(pl.col("reason") == "participant_in_two_splits")
    assert lost["item_id"].to_list() == ["uid-a@1.0", "uid-a@4.5"]
    assert lost["detail"][0] == "participant '1' is in train and test; only test is kept"


def test_a_take_in_two_files_or_against_splits_json_is_dropped_with_that_reason(
    tmp_path, six_seconds
):
    copy_video(
        six_seconds, *(tmp_path / f"takes/{name}/frame_aligned_videos/cam01.mp4" for name in "ab")
    )
    takes = [take("a", 1), take("b", 2)]
    words = [remark(3.0, "words")]
    folder = write_egoexo(
        tmp_path, takes, {"train": {"a": words, "b": words}, "val": {"a": [remark(1.0, "more")]}}
    )
    learners, dropped = read_learners(folder, span_s=1.0)
    assert learners.select("take_id", "split").rows() == [("uid-a", "val"), ("uid-b", "train")]
    assert reasons(dropped) == {"participant_in_two_splits": 1}
    splits = {"take_uid_to_split": {"uid-a": "val", "uid-b": "test"}, "split_to_take_uids": {}}
    (folder / "annotations/splits.json").write_text(json.dumps(splits))
    learners, dropped = read_learners(folder, span_s=1.0)
    assert learners.select("take_id", "split").rows() == [("uid-a", "val")]
    assert reasons(dropped) == {"take_in_two_splits": 2}
    assert "splits.json says test" in dropped.sort("item_id")["detail"][1]


def test_one_view_of_two_takes_stands_in_one_split(tmp_path, six_seconds):
    copy_video(six_seconds, tmp_path / "takes/a/frame_aligned_videos/cam01.mp4")
    takes = [take("a", 1), take("b", 2, root_dir="takes/a")]
    words = [remark(3.0, "words")]
    learners, dropped = read_learners(
        write_egoexo(tmp_path, takes, {"train": {"a": words}, "test": {"b": words}}), span_s=1.0
    )
    assert learners["take_id"].to_list() == ["uid-b"] and reasons(dropped) == {
        "video_in_two_splits": 1
    }


# ------------------------------------------------------------------------- rows and files to refuse


HOSTILE = [
    (remark("3.0", "a text that is a number"), None),
    (remark(float("nan"), "x"), "bad_time"),
    (remark(float("inf"), "x"), "bad_time"),
    (remark("three", "x"), "bad_time"),
    (remark("１", "x"), "bad_time"),
    (remark(True, "x"), "bad_time"),
    (remark([1], "x"), "bad_time"),
    (remark(10**400, "x"), "bad_time"),
    (remark(-1, "x"), "outside_take"),
    (remark(None, "x"), "empty_comment"),
    (remark(3.0, {"a": 1}), "empty_comment"),
    (remark(3.0, "\x00\x07 \u0085"), "empty_comment"),
    (remark(3.0, "half \ud800 and null\0"), None),
    (remark(3.0, "x", error="true"), "annotation_error"),
    (remark(3.0, "x", error="false"), None),
    (remark(3.0, "x", error={"code": 1}, _error_desc=["y"]), "annotation_error"),
    ("no remark", "bad_row"),
    (None, "bad_row"),
    ([[[]]], "bad_row"),
]


@pytest.mark.parametrize(
    ("row", "reason"),
    HOSTILE,
    ids=lambda value: str(value)[:40].encode("ascii", "replace").decode(),
)
def test_one_bad_row_costs_itself_alone(one_take, tmp_path, row, reason):
    learners, dropped = read_learners(
        one_take({"train": {"a": [remark(1.0, "kept"), row]}}), span_s=1.0
    )
    assert learners.height == (1 if reason else 2)
    assert reasons(dropped) == ({reason: 1} if reason else {})
    learners.write_parquet(tmp_path / "learners.parquet")
    dropped.write_parquet(tmp_path / "dropped.parquet")


def test_rows_of_the_wrong_shape_cost_no_other(one_take):
    folder = one_take({"train": {"a": [remark(1.0, "kept")]}}, {"train": [proficiency("a")]})
    path = folder / "annotations/expert_commentary_train.json"
    document = json.loads(path.read_text())
    document["annotations"]["uid-a"] += [
        "no expert",
        {"commentary_data": {"0": 1}},
        {},
        {"take_uid": "uid-b", "commentary_data": [remark(2.0, "of another")]},
    ]
    document["annotations"]["uid-z"] = {"commentary_data": []}
    document["annotations"]["../etc"] = [{"commentary_data": [remark(1.0, "x")]}]
    document["annotations"]["i" * 500] = []
    path.write_text(json.dumps(document))
    other = folder / "annotations/proficiency_demonstration_train.json"
    rows = [
        "x",
        {},
        {"take_uid": 5, "good_executions": 7},
        proficiency("a", ["y", {"video_time": "z"}]),
    ]
    other.write_text(json.dumps({"annotations": rows}))
    learners, dropped = read_learners(folder, span_s=1.0)
    assert learners["comment"].to_list() == ["kept"]
    assert reasons(dropped) == {"bad_id": 2, "bad_row": 7, "bad_time": 1, "contradictory": 1}


def test_a_key_named_twice_loses_nothing(one_take):
    folder = one_take({"train": {"a": []}})
    rows = [json.dumps([{"commentary_data": [remark(at, f"at {at}")]}]) for at in (1.0, 5.0)]
    torn = '[{"commentary_data": [{"video_time": 3.0, "video_time": 4.0, "text": "when?"}]}]'
    text = f'{{"annotations": {{"uid-a": {rows[0]}, "uid-a": {rows[1]}, "uid-a": {torn}}}}}'
    (folder / "annotations/expert_commentary_train.json").write_text(text)
    learners, dropped = read_learners(folder, span_s=1.0)
    assert learners["comment"].to_list() == ["at 1.0", "at 5.0"]
    assert dropped.select("reason", "detail").rows() == [
        ("contradictory", "names video_time twice")
    ]


NOT_JSON = [
    b"{",
    b"",
    b"\xff\xfe\x00",
    b"[" * 100_000,
    b"\x89PNG\r\n\x1a\n",
    '{"a": "ü"}'.encode("utf-16"),
]
WRONG_SHAPES = (
    [("takes.json", {"a": 1}, "not a list"), ("takes.json", "x", ("not a list"))]
    + [
        (f"annotations/expert_commentary_{split}.json", value, 'no object "annotations"')
        for split, value in (
            ("train", []),
            ("val", {"annotations": []}),
            ("test", None),
            ("test", {"annotation": {}}),
        )
    ]
    + [
        (
            "annotations/proficiency_demonstration_train.json",
            {"annotations": {}},
            ('no list "annotations"'),
        ),
        ("annotations/splits.json", [], "take_uid_to_split"),
        (
            "annotations/splits.json",
            {"take_uid_to_split": {"a": "spring"}},
            ("names no take of train, val, test"),
        ),
    ]
)


@pytest.mark.parametrize(
    "name", ["takes.json", "annotations/expert_commentary_train.json", "annotations/splits.json"]
)
@pytest.mark.parametrize("content", NOT_JSON, ids=range(len(NOT_JSON)))
def test_a_file_that_is_no_json_is_named_with_the_remedy(one_take, name, content):
    folder = one_take({"train": {"a": [remark(1.0, "kept")]}})
    (folder / name).write_bytes(content)
    with pytest.raises(ValueError, match=rf"{name} is not readable JSON .*: fetch it again"):
        read_learners(folder, span_s=1.0)


@pytest.mark.parametrize(("name", "value", "told"), WRONG_SHAPES)
def test_json_of_the_wrong_shape_is_named_with_the_remedy(one_take, name, value, told):
    folder = one_take({"train": {"a": [remark(1.0, "kept")]}})
    (folder / name).write_text(json.dumps(value))
    with pytest.raises(ValueError, match=rf"{name} .*{told}.*: "):
        read_learners(folder, span_s=1.0)


def test_what_no_reader_knows_is_refused_with_the_formats(tmp_path):
    with pytest.raises(ValueError, match=r"give a folder with Ego-Exo4D's takes\.json"):
        read_learners(tmp_path, span_s=3.0)
    (tmp_path / "mine.csv").touch()
    with pytest.raises(ValueError, match=r"it has mine\.csv: name the table itself"):
        read_learners(tmp_path, span_s=3.0)
    (tmp_path / "notes.txt").touch()
    with pytest.raises(ValueError, match=r"ends in '\.txt'"):
        read_learners(tmp_path / "notes.txt", span_s=3.0)
    write_egoexo(tmp_path, [take("a", 1)], {})
    with pytest.raises(ValueError, match="neither expert_commentary"):
        read_learners(tmp_path / "takes.json", span_s=3.0)
    (tmp_path / "takes.json").unlink()
    (tmp_path / "takes.json").mkdir()
    (tmp_path / "mine.csv").unlink()
    with pytest.raises(ValueError, match="contains no readable learners"):
        read_learners(tmp_path, span_s=3.0)


# ---------------------------------------------------------------------------------------- the stage


def test_no_learners_give_empty_tables(monkeypatch, tmp_path):
    monkeypatch.setenv("SPORTSKILLS_HOME", str(tmp_path))
    assert learners_source("") is None and learners_source("data/nowhere") is None
    learners, dropped = read_learners(None, span_s=3.0)
    assert learners.height == dropped.height == 0
    assert set(learners.columns) == set(tables.Learners.column_names())
    assert figures.dropped_summary(dropped).height == 0
    kept, frames, _ = read_learner_frames(None, learners, frames=8, size_px=64, workers=2)
    assert kept.height == 0 and frames.shape == (0, 8, 64, 64, 3)


def test_a_tables_videos_are_sources_of_the_stage_too(monkeypatch, tmp_path):
    monkeypatch.setenv("SPORTSKILLS_HOME", str(tmp_path))
    (tmp_path / "raw/mine").mkdir(parents=True)
    (tmp_path / "raw/mine/tries.csv").touch()
    config = RetrievalConfig(learners="raw/mine/tries.csv", ratings="", model="nowhere")
    assert stage.sources(config) == ["raw/mine/tries.csv", "raw/mine"]
    assert stage.sources(config.model_copy(update={"learners": "raw/mine"})) == ["raw/mine"]
    assert stage.sources(config.model_copy(update={"learners": "raw/none.csv"})) == []


def test_the_summary_counts_what_was_dropped(folder):
    _, dropped = read_learners(folder, span_s=3.0)
    summary = figures.dropped_summary(
        pl.concat([dropped, dropped.filter(pl.col("reason") == "doubled")])
    )
    assert summary.columns == ["reason", "item_kind", "rows", "first"]
    assert summary.row(0) == (
        "doubled",
        "learner",
        2,
        "uid-a@1.0: same moment as uid-a:000000-002500",
    )
    assert summary["rows"].sum() == dropped.height + 1


def test_reading_twice_gives_the_same(folder, tmp_path_factory):
    first, again = read_learners(folder, span_s=3.0), read_learners(folder, span_s=3.0)
    assert first[0].equals(again[0]) and first[1].equals(again[1])
    write_video(
        tmp_path_factory.mktemp("x") / "y.mp4", frames=3
    )  # a video elsewhere changes nothing
    assert read_learners(folder, span_s=3.0)[0].equals(first[0])
