"""WebVTT into words: rolling captions, word times, malformed files."""

from __future__ import annotations

import itertools
import json

import pytest
from films import REAL, needs_real
from hypothesis import given
from hypothesis import strategies as st

from sportskills_lib.curation.captions import parse_webvtt, read_webvtt

ROLLING = """WEBVTT
Kind: captions
Language: en

00:00:01.000 --> 00:00:02.500 align:start position:0%
 
bend<00:00:01.400><c> your</c><00:00:01.800><c> knees</c>

00:00:02.500 --> 00:00:02.510 align:start position:0%
bend your knees
 

00:00:02.510 --> 00:00:03.500 align:start position:0%
bend your knees
again

00:00:03.500 --> 00:00:03.510 align:start position:0%
again
 

00:00:05.000 --> 00:00:06.000 align:start position:0%
again
again<00:00:05.500><c> please</c>
"""


def said(text: str) -> str:
    return " ".join(word.text for word in parse_webvtt(text).words)


def vtt(*cues: str) -> str:
    return "WEBVTT\n\n" + "\n\n".join(cues) + "\n"


def test_rolling_captions_are_said_once_with_their_word_times() -> None:
    captions = parse_webvtt(ROLLING)
    assert captions.automatic
    assert said(ROLLING) == "bend your knees again again please"  # said twice, by two people or one
    starts = [(word.text, word.start_s) for word in captions.words]
    assert starts == [
        ("bend", 1.0), ("your", 1.4), ("knees", 1.8), ("again", 2.51), ("again", 5.0), ("please", 5.5),
    ]  # fmt: skip
    assert captions.dropped == ()


def test_manual_captions_may_repeat_themselves() -> None:
    text = vtt("00:01.000 --> 00:02.000\nAgain.", "00:02.000 --> 00:03.000\nAgain.")
    assert said(text) == "Again. Again."
    assert not parse_webvtt(text).automatic


def test_words_without_tags_share_their_cue_by_length() -> None:
    words = parse_webvtt(vtt("00:01.000 --> 00:02.000\nI am strong")).words
    assert [word.start_s for word in words] == pytest.approx([1.0, 1 + 3 / 15, 1 + 7 / 15])
    assert words[-1].end_s == pytest.approx(2.0)


def test_entities_tags_sounds_speakers_and_a_byte_order_mark() -> None:
    text = "\ufeff" + vtt(
        "NOTE a remark --- of the author",
        "intro\n00:01.000 --> 00:02.000 line:0\n<v Ann>knees &amp; <i>hips</i>&nbsp;low&#39;s",
        "2\n00:02.000 --> 00:03.000\n[Music]\n&gt;&gt; keep going (applause) ♪ la ♪",
    )
    assert said(text) == "knees & hips low's keep going la"
    assert [word.text for word in parse_webvtt(text).words if word.breaks] == ["keep", "la"]


def test_impossible_times_become_dropped_rows() -> None:
    text = vtt(
        "00:05.000 --> 00:04.000\nbackwards",
        "00:06.000 --> 00:06.000\nno length",
        "00:61.000 --> 01:02.000\nno such second",
        "00:0x.000 --> 00:09.000\nno number",
        "09:59:58.000 --> 09:59:59.000\nafter the end",
        "00:10.000 --> 00:40.000\nkept",
    )
    captions = parse_webvtt(text, duration_s=20)
    assert [(line, reason) for line, reason, _ in captions.dropped] == [
        (3, "impossible_times"), (6, "impossible_times"), (9, "impossible_times"), (12, "impossible_times"),
        (15, "outside_video"),
    ]  # fmt: skip
    assert [(word.text, word.start_s, word.end_s) for word in captions.words] == [("kept", 10, 20)]


def test_encodings_that_are_no_utf8(tmp_path) -> None:
    text = vtt("00:01.000 --> 00:02.000\ncafé")
    for encoding in ("utf-8", "utf-8-sig", "utf-16", "cp1252"):
        path = tmp_path / f"{encoding}.vtt"
        path.write_bytes(text.encode(encoding))
        assert [word.text for word in read_webvtt(path).words] == ["café"]


@given(st.text(alphabet="0123456789:.-> \n<>c/[]&;WEBVT\u2028abc", max_size=300))
def test_no_text_raises_and_words_are_in_order(text: str) -> None:
    words = parse_webvtt("WEBVTT\n\n00:00.000 --> 00:09.000\n" + text, duration_s=50).words
    assert all(a.start_s <= a.end_s <= b.start_s for a, b in itertools.pairwise(words))


@needs_real
@pytest.mark.real
def test_files_of_other_parsers_are_read_or_explained() -> None:
    for path in sorted((REAL / "captions" / "webvtt").glob("*.vtt")):
        captions = read_webvtt(path)
        assert captions.words or captions.dropped, path.name
    rolling = read_webvtt(REAL / "captions" / "rolling_excerpt.en.vtt")
    assert " ".join(word.text for word in rolling.words).count("uipath is the most advanced RPA tool") == 1


@needs_real
@pytest.mark.real
def test_lessons_captions_say_what_was_spoken() -> None:
    spoken: dict[str, str] = {}
    for line in (REAL / "lessons" / "segments.jsonl").read_text().splitlines():
        row = json.loads(line)
        spoken[row["video_id"]] = f"{spoken.get(row['video_id'], '')} {row['narration']}"
    for video_id, text in spoken.items():
        words = read_webvtt(REAL / "lessons" / f"{video_id}.en.vtt").words
        heard = " ".join(word.text for word in words)
        assert plain(heard) == plain(text), video_id


def plain(text: str) -> str:
    return " ".join(text.lower().replace(",", "").replace(".", "").replace("-", " ").split())
