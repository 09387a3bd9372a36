"""The funnel explorer: counts against the tables, the way of one video, every key."""

from __future__ import annotations

from dataclasses import replace

import polars as pl
import pytest
from IPython.display import HTML
from keys import press

from sportskills_lib import tables
from sportskills_lib.viewing import funnel_view, inspection_widgets
from sportskills_lib.viewing.funnel_view import FunnelPosition

NARRATIONS = [  # id, start, text, actionable, reason
    ("v1:000000-002000", 0.0, "welcome back", False, "greeting"),
    ("v1:002000-004000", 2.0, "bend your knees", True, "imperative"),
    ("v1:004000-006000", 4.0, "keep the elbow in", True, "imperative"),
    ("v1:006000-008000", 6.0, "sort of like so", None, "undecided"),
    ("v2:000000-002000", 0.0, "turn the hip", True, "imperative"),
]


@pytest.fixture
def lost(tmp_path) -> funnel_view.Funnel:
    """Two videos: one gives a clip and loses two windows, the other loses its only one to a
    copy.
    """
    narrations = pl.DataFrame(
        NARRATIONS, schema=["narration_id", "start_s", "text", "actionable", "reason"], orient="row"
    ).with_columns(video_id=pl.col("narration_id").str.slice(0, 2))
    judged = pl.DataFrame(
        {
            "clip_id": [
                "v1:000000-002000",
                "v1:002000-004000",
                "v1:004000-006000",
                "v2:000000-002000",
            ],
            "narration_ids": [[row[0]] for row in (*NARRATIONS[:3], NARRATIONS[4])],
            "text": ["welcome back", "bend", "keep", "turn"],
            "said": ["none", "correct", "correct", "correct"],
            "demonstration": ["none", "correct", "none", "correct"],
            "score": [1.0, 0.9, 0.8, 0.9],
            "moved": [0.0, 0.2, 0.01, 0.3],
        }
    )
    clips = pl.DataFrame({"clip_id": ["v1:002000-004000"], "split": ["test"]})
    videos = pl.DataFrame(
        {
            "video_id": ["v1", "v2"],
            "title": ["a", "b"],
            "channel": ["c", "d"],
            "sport": ["judo"] * 2,
            "skill": ["throw"] * 2,
            "duration_s": [8.0, 2.0],
        }
    )
    dropped = {
        "01_curation": tables.dropped_rows([("video", "v3", "no_captions", "no v3.en.vtt")]),
        "02_pairing": tables.dropped_rows(
            [("clip", "v1:004000-006000", "no_demonstration", "none at 0.80"),
             ("clip", "v2:000000-002000", "duplicate", "copy of v1:002000-004000")]
        ),
    }  # fmt: skip
    return funnel_view.funnel(
        videos,
        narrations,
        judged,
        clips,
        dropped,
        {"v1": tmp_path / "1.mp4", "v2": tmp_path / "2.mp4"},
    )


def path_of(funnel: funnel_view.Funnel, video: str) -> str:
    return funnel.html(FunnelPosition(video=video), {})


def test_everything_that_did_not_go_on_is_counted_once(lost):
    assert lost.reasons.rows() == [
        ("01_curation", "sentence", "does_not_teach", 1),
        ("01_curation", "video", "no_captions", 1),
        ("01_curation", "sentence", "undecided", 1),
        ("02_pairing", "clip", "duplicate", 1),
        ("02_pairing", "clip", "no_demonstration", 1),
        ("02_pairing", "window", "words_do_not_teach", 1),
    ]
    assert [count for _, _, count in lost.steps] == [2, 5, 3, 4, 3, 1, 1]


def test_the_way_of_a_video_says_where_each_sentence_ended(lost):
    ended = dict(lost.sentences.sort("narration_id").select("narration_id", "ended").iter_rows())
    assert list(ended.values()) == [
        "no clip: the words do not teach",
        "clip v1:002000-004000 (test)",
        "dropped: no demonstration, none at 0.80",
        "no window around it",
        "dropped: duplicate, copy of v1:002000-004000",
    ]
    path = path_of(lost, "v1")
    assert (
        "4 sentences, 3 windows, 1 clips kept" in path
        and "none at 0.80; 1.0% moves" in path.replace("0.80;", "0.80;")
    )
    unkept, unknown = path_of(lost, "v3"), path_of(lost, "v9")
    assert "was not kept by 01" in unkept and "no v3.en.vtt" in unkept
    assert "is no video of this run" in unknown and "v1" in unknown
    assert (
        lost.emptied() == "v2"
        and lost.cases()[-1].video == "v2"
        and lost.cases("v1")[-1].video == "v1"
    )


def test_both_strips_of_a_copy_are_wanted_and_shown(lost):
    place = FunnelPosition(3)
    assert {span.name for span in lost.spans(place)} == {"v1:002000-004000", "v2:000000-002000"}
    assert lost.html(place, {span.name: b"strip" for span in lost.spans(place)}).count("<img") == 2
    assert [span.start_s for span in lost.spans(FunnelPosition(video="v1"))] == [0.0, 2.0, 4.0]


def test_every_key(lost):
    widget = inspection_widgets.FunnelWidget(lost, films=False)
    for key in "jjjknp":
        assert press(widget, key) == lost.html(widget.place, {})
    assert widget.place == FunnelPosition(2)
    press(widget, "j")
    assert "<b>" in press(widget, "1") and widget.place.video == "v2" and widget.video.value == "v2"
    press(widget, "Escape")
    press(widget, "5")  # no fifth example: nothing happens
    assert widget.place == FunnelPosition(3)
    widget.video.value = " v1 "
    assert widget.place.video == "v1" and "bend your knees" in widget.output.value


def test_a_long_video_is_shown_in_pages_that_stay_small(lost):
    """Three hours of talk: a page of it, its strips included, is below what a step may send."""
    one = lost.sentences.row(0, named=True) | {
        "video_id": "v1",
        "text": "bend your knees and look ahead " * 4,
    }
    rows = [
        one
        | {
            "narration_id": f"v1:{at:05d}",
            "start_s": 3.0 * at,
            "window": f"v1:{3000 * at:06d}-{3000 * at + 2000:06d}",
        }
        for at in range(3600)
    ]
    long = replace(lost, sentences=pl.DataFrame(rows, schema=lost.sentences.schema))
    widget = inspection_widgets.FunnelWidget(long, films=False)
    widget.video.value = "v1"
    strips = {span.name: b"x" * 12_000 for span in long.spans(widget.place)}
    assert len(strips) == funnel_view.SENTENCES and len(long.html(widget.place, strips)) < 1_000_000
    assert "1 to 40 are shown" in widget.output.value and "41 to 80 are shown" in press(widget, "n")
    assert long.spans(widget.place)[0].start_s == 120.0
    for _ in range(100):
        press(widget, "n")
    assert "3561 to 3600" in widget.output.value and "3521 to 3560" in press(widget, "p")
    assert press(widget, "Escape") == lost.html(FunnelPosition(), {})


def test_the_id_of_a_clip_or_a_sentence_asks_for_its_video(lost):
    widget = inspection_widgets.FunnelWidget(lost, films=False)
    for named in ("v1:004000-006000", "v1:000000-002000", "v1"):
        widget.video.value = named
        assert widget.place.video == "v1" and "4 sentences" in widget.output.value
    widget.video.value = "https://example.org/v7"
    assert "example.org/v7</bdi></b> is no video of this run" in widget.output.value


def test_what_04_dropped_is_no_video_that_01_left_out(lost):
    dropped = tables.dropped_rows(
        [
            ("learner", "take-1@2.5", "annotation_error", ("audio was cut off")),
            ("take", "take-1", "no_exo_view", "no camera"),
        ]
    )
    rows = dropped.select(pl.lit("04_retrieval").alias("stage"), *list(funnel_view.LOSSES)[1:])
    later = replace(lost, losses=pl.concat([lost.losses, rows]))
    assert later.video_of("take-1@2.5") == "take-1"
    path = path_of(later, "take-1")
    assert (
        "learner's take" in path and "01." not in path.split("but")[1] and "0 sentences" not in path
    )
    assert "audio was cut off" in path and "no camera" in path


def test_a_run_without_losses_opens(lost):
    empty = funnel_view.Funnel(
        lost.steps,
        lost.losses.head(0),
        lost.reasons.head(0),
        lost.videos,
        lost.sentences.head(0),
        {},
    )
    widget = inspection_widgets.FunnelWidget(empty, films=False)
    assert "nothing" in press(widget, "j") and press(widget, "n") and press(widget, "1")
    assert empty.cases() == [FunnelPosition()]


def test_headless_is_the_page(lost, monkeypatch, tmp_path):
    monkeypatch.delenv("JPY_SESSION_NAME", raising=False)
    monkeypatch.setenv("SPORTSKILLS_HOME", str(tmp_path))
    monkeypatch.setattr(inspection_widgets, "make_previews", lambda spans, **_: {})
    shown = inspection_widgets.explore_here(lost, keep=tmp_path / "funnel.html")
    assert isinstance(shown, HTML) and shown.data in (tmp_path / "funnel.html").read_text(
        encoding="utf-8"
    )
    assert "sentences that teach" in shown.data and "<bdi>turn the hip</bdi>" in shown.data
