"""Sentences from words: full stops, pauses, and no word lost."""

from __future__ import annotations

import itertools

from hypothesis import given
from hypothesis import strategies as st

from sportskills_lib.curation.captions.cues import CaptionWord
from sportskills_lib.curation.sentences import LONGEST_WORDS, build_sentences


def words(
    text: str, *, pauses: dict[int, float] | None = None, length_s: float = 0.3
) -> list[CaptionWord]:
    """Words of equal length; ``pauses``: seconds of silence before the word with that index."""
    made, at = [], 0.0
    for i, token in enumerate(text.split()):
        at += (pauses or {}).get(i, 0.0)
        made.append(CaptionWord(token, at, at + length_s))
        at += length_s
    return made


def texts(made: list[CaptionWord], max_gap_s: float = 1.0) -> list[str]:
    return [sentence.text for sentence in build_sentences(made, max_gap_s=max_gap_s)]


def test_full_stops_end_sentences_and_abbreviations_do_not() -> None:
    said = words(
        'Bend your knees. Mr. Smith says "stay low!" Hold for 2.5 seconds, e.g. here. Why?'
    )
    assert texts(said) == [
        "Bend your knees.",
        'Mr. Smith says "stay low!"',
        "Hold for 2.5 seconds, e.g. here.",
        "Why?",
    ]


def test_no_sentence_crosses_a_long_pause() -> None:
    assert texts(words("Bend your knees and hold.", pauses={3: 1.2})) == [
        "Bend your knees",
        "and hold.",
    ]
    assert texts(words("Bend your knees and hold.", pauses={3: 0.9})) == [
        "Bend your knees and hold."
    ]


def test_without_punctuation_pauses_end_sentences() -> None:
    said = words(
        "turn your hips first then swing through keep your head down", pauses={4: 0.15, 7: 0.4}
    )
    assert texts(said) == ["turn your hips first", "then swing through", "keep your head down"]


def test_a_slight_pause_inside_a_phrase_ends_nothing() -> None:
    assert texts(words("turn your left shoulder in", pauses={3: 0.2})) == [
        "turn your left shoulder in"
    ]


def test_what_runs_on_is_cut() -> None:
    parts = texts(words("word " * 100, length_s=0.1))
    assert max(len(part.split()) for part in parts) <= LONGEST_WORDS
    assert sum(len(part.split()) for part in parts) == 100


@given(
    st.lists(
        st.tuples(
            st.sampled_from(["knees", "hold.", "now", "Go!"]),
            st.floats(0, 2),
            st.floats(0, 0.8),
            st.booleans(),
        )
    )
)
def test_every_word_stands_in_one_sentence(drawn: list[tuple[str, float, float, bool]]) -> None:
    made, at = [], 0.0
    for text, gap_s, length_s, breaks in drawn:
        made.append(CaptionWord(text, at + gap_s, at + gap_s + length_s, breaks))
        at += gap_s + length_s
    sentences = build_sentences(made, max_gap_s=1.0)
    assert " ".join(sentence.text for sentence in sentences).split() == [word.text for word in made]
    assert all(a.end_s <= b.start_s + 0.002 for a, b in itertools.pairwise(sentences))
    assert all(sentence.end_s > sentence.start_s for sentence in sentences)
