"""Caption files into words: formats, rolling captions, word times, malformed files, any bytes."""

from __future__ import annotations

import collections
import itertools
import json

import pytest
from films import REAL, needs_real
from hypothesis import given
from hypothesis import strategies as st

from sportskills_lib.curation.captions.caption_reader import READERS, parse_captions, read_captions
from sportskills_lib.curation.sentences import build_sentences

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
    return " ".join(word.text for word in parse_captions(text).words)


def vtt(*cues: str) -> str:
    return "WEBVTT\n\n" + "\n\n".join(cues) + "\n"


def test_rolling_captions_are_said_once_with_their_word_times() -> None:
    captions = parse_captions(ROLLING)
    assert captions.automatic
    assert said(ROLLING) == "bend your knees again again please"  # said twice, by two people or one
    starts = [(word.text, word.start_s) for word in captions.words]
    assert starts == [
        ("bend", 1.0),
        ("your", 1.4),
        ("knees", 1.8),
        ("again", 2.51),
        ("again", 5.0),
        ("please", 5.5),
    ]
    assert captions.dropped == ()


def test_manual_captions_may_repeat_themselves() -> None:
    text = vtt("00:01.000 --> 00:02.000\nAgain.", "00:02.000 --> 00:03.000\nAgain.")
    assert said(text) == "Again. Again."
    assert not parse_captions(text).automatic


def test_words_without_tags_share_their_cue_by_length() -> None:
    words = parse_captions(vtt("00:01.000 --> 00:02.000\nI am strong")).words
    assert [word.start_s for word in words] == pytest.approx([1.0, 1 + 3 / 15, 1 + 7 / 15])
    assert words[-1].end_s == pytest.approx(2.0)


def test_entities_tags_sounds_speakers_and_a_byte_order_mark() -> None:
    text = "\ufeff" + vtt(
        "NOTE a remark --- of the author",
        "intro\n00:01.000 --> 00:02.000 line:0\n<v Ann>knees &amp; <i>hips</i>&nbsp;low&#39;s",
        "2\n00:02.000 --> 00:03.000\n[Music]\n&gt;&gt; keep going (applause) ♪ la ♪",
    )
    assert said(text) == "knees & hips low's keep going la"
    assert [word.text for word in parse_captions(text).words if word.breaks] == ["keep", "la"]


def test_impossible_times_become_dropped_rows() -> None:
    text = vtt(
        "00:05.000 --> 00:04.000\nbackwards",
        "00:06.000 --> 00:06.000\nno length",
        "00:61.000 --> 01:02.000\nno such second",
        "00:0x.000 --> 00:09.000\nno number",
        "09:59:58.000 --> 09:59:59.000\nafter the end",
        "00:10.000 --> 00:40.000\nkept",
    )
    captions = parse_captions(text, duration_s=20)
    assert [(line, reason) for line, reason, _ in captions.dropped] == [
        (3, "impossible_times"),
        (6, "impossible_times"),
        (9, "impossible_times"),
        (12, "impossible_times"),
        (15, "outside_video"),
    ]
    assert [(word.text, word.start_s, word.end_s) for word in captions.words] == [("kept", 10, 20)]


def test_encodings_that_are_no_utf8(tmp_path) -> None:
    text = vtt("00:01.000 --> 00:02.000\ncafé")
    odd = {
        "utf-8": 0,
        "utf-8-sig": 0,
        "utf-16": 1,
        "utf-16-le": 1,
        "utf-16-be": 1,
        "utf-32": 1,
        "cp1252": 1,
    }
    for encoding, mended in odd.items():
        path = tmp_path / f"{encoding}.vtt"
        path.write_bytes(text.replace("\n", "\r\n").encode(encoding))
        captions = read_captions(path)
        assert [word.text for word in captions.words] == ["café"]
        assert [row[1] for row in captions.mended] == ["odd_encoding"] * mended
    path.write_bytes(
        (vtt("00:01.000 --> 00:02.000\ncafé crème") + "é").encode()[:-1]
    )  # cut inside a letter
    assert [word.text for word in read_captions(path).words][:2] == ["café", "crème"]


@pytest.mark.parametrize(
    ("suffix", "text"),
    [
        (".srt", "1\n00:00:01,000 --> 00:00:02,000\n{\\an8}bend <b>low</b>\n\n"
                 "2\n00:00:02,500 --> 00:00:04,000\nnow\n"),
        (".sbv", "0:00:01.000,0:00:02.000\nbend low\n\n0:00:02.500,0:00:04.000\nnow\n"),
        (".json", '{"segments": [{"start": 1, "end": 2, "text": "bend low"},'
                  ' {"start": 2.5, "duration": 1.5, "text": "now"}]}'),
        (".json", ('[{"start": 1, "end": 2, "text": " bend low"}, {"timestamp": [2.5, 4.0], "text": " now"}]')),
        (".json3", '{"events": [{"id": 1}, {"tStartMs": 1000, "dDurationMs": 1000, "segs": [{"utf8": "bend\\nlow"}]},'
                   ' {"tStartMs": 2000, "aAppend": 1, "segs": [{"utf8": "\\n"}]},'
                   ' {"tStartMs": 2500, "dDurationMs": 1500, "segs": [{"utf8": "now"}]}]}'),
        (".txt", "[0:01 --> 0:02] bend low\n[0:02.5 --> 0:04] now"),
        (".md", "# Title\n**Duration:** 5 s\n\n**[1.0s - 2s]** bend low\n\n[2.5s - 4.0s]\nnow\n"),
        (".txt", "00:01 - 00:02  bend\nlow\n\n00:02.5 - 00:04 now"),
    ],
)  # fmt: skip
def test_every_format_says_the_same(suffix: str, text: str) -> None:
    for name in (suffix, ""):  # known by its content as well
        captions = parse_captions(text, suffix=name)
        assert [word.text for word in captions.words] == ["bend", "low", "now"]
        assert [captions.words[i].start_s for i in (0, 2)] == [1.0, 2.5]
        assert [captions.words[i].end_s for i in (1, 2)] == pytest.approx([2.0, 4.0])
        assert captions.dropped == ()


def test_json3_has_no_limit_within_a_long_video() -> None:
    late = {"tStartMs": 10_800_000, "dDurationMs": 1000, "segs": [{"utf8": "bend"}]}
    captions = parse_captions(json.dumps({"events": [late]}))
    assert [(word.text, word.start_s) for word in captions.words] == [("bend", 10_800.0)]
    assert captions.dropped == ()


def test_json3_and_recognised_words_keep_their_own_times() -> None:
    heard = {
        "events": [
            {
                "tStartMs": 1000,
                "dDurationMs": 4000,
                "segs": [{"utf8": "bend"}, {"utf8": " your", "tOffsetMs": 400}],
            },
            {
                "tStartMs": 2000,
                "dDurationMs": 3000,
                "segs": [{"utf8": "knees"}, {"utf8": " now", "tOffsetMs": 900}],
            },
        ]
    }
    captions = parse_captions(json.dumps(heard))
    assert [word.start_s for word in captions.words] == [1.0, 1.4, 2.0, 2.9]
    assert captions.automatic
    words = [
        {"word": " bend", "start": 1.1, "end": 1.3},
        {"word": " low", "start": 1.7, "end": 2.0},
    ]
    captions = parse_captions(
        json.dumps({"segments": [{"start": 1, "end": 3, "text": "bend low", "words": words}]})
    )
    assert [word.start_s for word in captions.words] == [1.1, 1.7]


def test_lines_that_stand_while_the_next_is_said_are_cut_there() -> None:
    text = (
        "[0s - 4.0s] So bend your\n[2.0s - 6s] knees and\n[4.0s - 30s] hold.\n[25s - 31s] "
        ">> Yeah, good."
    )
    captions = parse_captions(text)
    assert [row[1] for row in captions.mended] == ["overlap"]
    sentences = build_sentences(captions.words, max_gap_s=1.0)
    assert [(s.start_s, s.text) for s in sentences] == [
        (0, "So bend your knees and hold."),
        (25, "Yeah, good."),
    ]
    assert sentences[0].end_s < 6  # not held over the pause


def test_stamps_without_ends_last_as_long_as_their_words() -> None:
    words = parse_captions("[0:10] Bend your knees\n[0:40] and hold").words
    assert words[2].end_s < 13
    assert words[3].start_s == 40


def test_a_colon_may_be_a_point() -> None:
    captions = parse_captions(
        "**Duration**: 1:00\n\n[0:00] one\n[1:12] two\n[12:64] three\n[35:10] four"
    )
    assert [word.start_s for word in captions.words] == [0, 1.12, 12.64, 35.10]
    assert [row[:2] for row in captions.mended] == [(5, "hundredths_after_colon")]
    torn = parse_captions("[0:00] one\n[12:64] two\n[2:10] three")
    assert [row[:2] for row in torn.dropped] == [(2, "impossible_times")]
    assert torn.words[-1].start_s == 130


def test_text_under_no_times_is_dropped_with_its_line() -> None:
    text = "[0:01] bend low\n\n## Full text\n\nBend low, all of it again.\n"
    assert [row[:2] for row in parse_captions(text).dropped] == [(5, "no_times")]
    text = vtt(
        "one\n00:01.000 --> 00:02.000\nbend low",
        "astray\nand lost",
        "two\n00:03.000 --> 00:04.000\nnow",
    )
    captions = parse_captions(text)
    assert [row[:2] for row in captions.dropped] == [(7, "no_times")]
    assert said(text) == "bend low now"
    assert [row[1] for row in parse_captions("some text").dropped] == ["no_times"]


def test_the_same_cue_again_and_two_at_once() -> None:
    cue = "00:01.000 --> 00:02.000\nbend low"
    captions = parse_captions(
        vtt(cue, cue, "00:01.000 --> 00:02.500\nyes", "00:03.000 --> 00:04.000\nbend low")
    )
    assert [word.text for word in captions.words] == ["bend", "low", "yes", "bend", "low"]
    assert [row[1] for row in captions.dropped] == ["repeated_cue"]


def test_names_of_speakers_break_and_are_not_said() -> None:
    text = vtt(
        "00:01.000 --> 00:02.000\nCOACH ANN: bend >> how low?",
        "00:02.000 --> 00:03.000\nRemember: this low",
    )
    words = parse_captions(text).words
    assert [word.text for word in words] == ["bend", "how", "low?", "Remember:", "this", "low"]
    assert [word.text for word in words if word.breaks] == ["bend", "how"]


def test_marks_that_nobody_sees_are_no_part_of_a_word() -> None:
    text = vtt(
        "00:01.000 --> 00:02.000\nbe\u202end &rlm;your\u00ad \u2066kn\u2069ees\U000e0041 \u200f"
    )
    assert said(text) == "bend your knees"


def test_junk_is_not_held_for_hours() -> None:
    for junk, longest_s in (("a" * 100_000, 3), ("abc " * 100_000, 301)):
        assert parse_captions(f"[0:01] {junk}").words[-1].end_s - 1 < longest_s
    lines = "".join(f"[0:{i}0 - 9:59] {'a' * 9000}\n" for i in range(4))  # ends that tell nothing
    assert max(word.end_s - word.start_s for word in parse_captions(lines).words) < 3


def test_an_arrow_that_is_said_stays_in_its_caption() -> None:
    text = vtt(
        "NOTE from a --> b",
        "1\n00:01.000 --> 00:02.000\ngo from low --> high now",
        "2\n00:03.000 --> 00:04.000\n--> 3 steps\nthen, 2 --> 1",
        "00:0x.000 --> 00:09.000\nlost",
        "--> 00:10.000\nlost, too",
        "00:11.000 --> 00:12.000\nlast",
    )
    captions = parse_captions(text)
    assert said(text) == "go from low --> high now --> 3 steps then, 2 --> 1 last"
    assert [row[:2] for row in captions.dropped] == [
        (14, "impossible_times"),
        (17, "impossible_times"),
    ]
    assert [
        row[1]
        for row in parse_captions(vtt("low --> high", "00:01.000 --> 00:02.000\nnow")).dropped
    ] == ["no_times"]


def test_damaged_json_and_unknown_formats_say_so() -> None:
    for text, reason in [
        ('{"events": [', "unreadable_json"), ("[" * 100_000, "unreadable_json"), ('{"a": 1}', "no_segments"),
        ('{"segments": [{"start": 1e999, "text": "x"}]}', "impossible_times"), ('{"segments": [7]}', "no_text"),
        ('<?xml version="1.0"?><tt/>', "unknown_format"), ("", "empty_file"),
    ]:  # fmt: skip
        captions = parse_captions(text, suffix=".json" if text[:1] in ("{", "[") else "")
        assert [row[1] for row in captions.dropped] == [reason]
        assert captions.words == ()


TIMES = [
    "00:01.000 --> 00:02.000",
    "1:00:00,5 --> 0:00:01",
    "0:00:01.0,0:00:02.0",
    "[0:07]",
    "[1.5s - 2s]",
    "[9:99]",
]
MARKS = [
    "WEBVTT",
    "NOTE x",
    "\n",
    "-->",
    "&amp;",
    "&#xD800;",
    "<00:01.5>",
    "<c>",
    "[Music]",
    ">> ",
    "ANN: ",
    "2",
    "# x",
]
PIECES = st.sampled_from(TIMES + MARKS) | st.text(max_size=8)


@given(st.lists(PIECES, max_size=30).map("\n".join), st.sampled_from(["", *READERS]))
def test_no_text_raises_and_words_are_in_order(text: str, suffix: str) -> None:
    words = parse_captions(text, suffix=suffix, duration_s=50).words
    assert all(a.start_s <= a.end_s <= b.start_s for a, b in itertools.pairwise(words))
    build_sentences(words, max_gap_s=1.0)
    "".join(word.text for word in words).encode()  # tables can hold it


JSON = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.sampled_from(
                [
                    "events",
                    "segs",
                    "utf8",
                    "tStartMs",
                    "dDurationMs",
                    "tOffsetMs",
                    "segments",
                    "start",
                    "end",
                    "text",
                    "words",
                    "word",
                    "duration",
                    "transcript",
                    "timestamp",
                    "type",
                ]
            ),
            inner,
            max_size=5,
        )
    ),
    max_leaves=25,
)


@given(JSON)
def test_no_json_raises(value: object) -> None:
    captions = parse_captions(json.dumps(value), suffix=".json")
    assert captions.words or captions.dropped


@given(
    st.binary(max_size=300),
    st.sampled_from(list(READERS)),
    st.sampled_from([b"", b"WEBVTT\n\n", b"\xff\xfe", b"{"]),
)
def test_no_bytes_raise(tmp_path_factory, raw: bytes, suffix: str, begin: bytes) -> None:
    path = tmp_path_factory.getbasetemp() / f"any{suffix}"
    path.write_bytes(begin + raw)
    captions = read_captions(path)
    assert captions.words or captions.dropped


@needs_real
@pytest.mark.real
def test_every_real_file_is_read_or_explained() -> None:
    reasons: dict[str, collections.Counter[str]] = {}
    for path in sorted((REAL / "captions").glob("*/*")):
        captions = read_captions(path)
        assert captions.words or captions.dropped, path.name
        kinds = reasons.setdefault(path.parent.name, collections.Counter())
        kinds.update(
            ["files"]
            + ["read"] * bool(captions.words)
            + [reason for _, reason, _ in captions.dropped]
        )
    assert reasons["golf_lessons"] == {
        "files": 56,
        "read": 56,
        "no_times": 33,
        "only_sounds": 4,
        "empty_cue": 1,
    }
    assert reasons["cycling_json"] == {"files": 27, "read": 27, "only_sounds": 3}
    assert reasons["webvtt"]["files"] == 34


@needs_real
@pytest.mark.real
def test_rolling_lines_of_a_real_file_are_said_once() -> None:
    rolling = read_captions(REAL / "captions" / "rolling_excerpt.en.vtt")
    assert (
        " ".join(word.text for word in rolling.words).count("uipath is the most advanced RPA tool")
        == 1
    )


@needs_real
@pytest.mark.real
def test_lessons_captions_say_what_was_spoken() -> None:
    spoken: dict[str, str] = {}
    for line in (REAL / "lessons" / "segments.jsonl").read_text().splitlines():
        row = json.loads(line)
        spoken[row["video_id"]] = f"{spoken.get(row['video_id'], '')} {row['narration']}"
    for video_id, text in spoken.items():
        words = read_captions(REAL / "lessons" / f"{video_id}.en.vtt").words
        heard = " ".join(word.text for word in words)
        assert plain(heard) == plain(text), video_id


def plain(text: str) -> str:
    return " ".join(text.lower().replace(",", "").replace(".", "").replace("-", " ").split())


def test_a_line_with_two_stamps_is_said_twice() -> None:
    captions = parse_captions("[00:15.00][00:30.00] hold\n[00:20.00] step\n", suffix=".txt")
    starts = [(word.text, word.start_s) for word in captions.words]
    assert starts == [("hold", 15.0), ("step", 20.0), ("hold", 30.0)]
    assert [row[1] for row in captions.mended] == ["out_of_order"] and not captions.dropped
