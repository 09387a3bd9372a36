from __future__ import annotations

import os
import re
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sportskills_lib.demo import lesson_words

SENTENCE = "Keep the right arm straight, and remember to hold the finish with your belt buckle up."


def sentences(count: int = 3) -> list[list[lesson_words.DemoWord]]:
    return [lesson_words.speak(SENTENCE, 4.0 * i + 0.3, 4.0 * i + 3.1) for i in range(count)]


def blocks(vtt: str) -> list[tuple[str, list[str]]]:
    parts = [block.split("\n") for block in vtt.rstrip("\n").split("\n\n")[1:]]
    return [(lines[0], lines[1:]) for lines in parts if lines]


def seconds(text: str) -> float:
    hours, minutes, rest = text.split(":")
    return 3600 * int(hours) + 60 * int(minutes) + float(rest)


def test_words_fill_their_span_in_order() -> None:
    words = lesson_words.speak(SENTENCE, 1.5, 4.0)
    assert [word.text for word in words] == SENTENCE.split()
    assert words[0].start_s == 1.5 and words[-1].end_s == 4.0
    assert all(a.end_s == b.start_s and a.end_s > a.start_s for a, b in pairwise(words))


def test_manual_form_is_one_punctuated_cue_a_sentence() -> None:
    vtt = lesson_words.manual_vtt(sentences())
    assert vtt.startswith("WEBVTT\nKind: captions\nLanguage: en\n\n")
    assert [" ".join(lines) for _, lines in blocks(vtt)] == [SENTENCE] * 3
    assert blocks(vtt)[1][0] == "00:00:04.300 --> 00:00:07.100"


def test_rolling_form_shows_each_line_three_times() -> None:
    heard = [lesson_words.mishear(words, np.random.default_rng(7)) for words in sentences()]
    said = [word.text for words in heard for word in words]
    shown = blocks(lesson_words.rolling_vtt(heard))
    tagged = [re.sub(r"<[^>]*>", "", lines[1]) for _, lines in shown[::2]]
    repeats = [lines[0] for _, lines in shown[1::2]]
    assert " ".join(tagged).split() == said
    assert tagged == repeats and all(lines[1] == " " for _, lines in shown[1::2])
    assert [lines[0] for _, lines in shown[2::2]] == repeats[:-1]
    for time, _ in shown[1::2]:
        first, last = time.removesuffix(" align:start position:0%").split(" --> ")
        assert round(seconds(last) - seconds(first), 3) == 0.01


def test_rolling_times_never_run_back() -> None:
    times = []
    for time, lines in blocks(lesson_words.rolling_vtt(sentences())):
        first, last = time.removesuffix(" align:start position:0%").split(" --> ")
        times += [
            seconds(first),
            *map(seconds, re.findall(r"<([\d:.]+)>", lines[-1])),
            seconds(last),
        ]
    assert times == sorted(times)


def test_rolling_form_has_the_shape_of_a_real_file() -> None:
    folder = Path(os.environ.get("SPORTSKILLS_REAL_DATA", "../shared/real"))
    if not (folder / "lessons" / "golfDriver0.en.vtt").is_file():
        pytest.skip(f"no real footage in {folder}: set SPORTSKILLS_REAL_DATA")

    def shape(vtt: str) -> set[str]:
        """Which kinds of lines there are, words and times aside."""
        return {
            re.sub(r"[a-z'0-9]+( [a-z'0-9]+)*", "w", re.sub(r"\d", "0", line))
            for line in vtt.split("\n")
            if "<" not in line
        }

    real = (folder / "lessons" / "golfDriver0.en.vtt").read_text()
    ours = lesson_words.rolling_vtt(
        [lesson_words.mishear(words, np.random.default_rng(0)) for words in sentences()]
    )
    assert shape(ours) == shape(real)
    tag = r"<\d\d:\d\d:\d\d\.\d{3}><c> [^<]+</c>"
    line = re.compile(rf"[^<]+({tag})+")
    assert all(
        line.fullmatch(text) for vtt in (real, ours) for text in vtt.split("\n") if "<" in text
    )


def test_a_recogniser_errs_by_a_few_per_cent() -> None:
    rng = np.random.default_rng(0)
    words = lesson_words.speak(SENTENCE, 0, 3)
    clean = [re.sub(r"[^a-z]", "", word.text.lower()) for word in words]
    heard = [[word.text for word in lesson_words.mishear(words, rng)] for _ in range(500)]
    changed = sum(
        abs(len(one) - len(clean)) + sum(word not in clean for word in one) for one in heard
    )
    assert 0.02 < changed / (500 * len(clean)) < 0.10
    assert sum(one == clean for one in heard) > 150


def test_spoilt_times_are_impossible() -> None:
    times = [
        time.split(" --> ")
        for time, _ in blocks(lesson_words.spoil_times(lesson_words.manual_vtt(sentences(4))))
    ]
    assert seconds(times[0][0]) > seconds(times[0][1])
    assert seconds(times[-1][0]) > 30_000
    assert all(seconds(a) < seconds(b) for a, b in times[1:-1])


@given(st.floats(0, 90_000, allow_nan=False))
def test_stamps_read_back(value: float) -> None:
    assert abs(seconds(lesson_words.format_stamp(value)) - value) <= 0.0005 + 1e-9
