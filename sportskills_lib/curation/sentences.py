"""Sentences from timed words, punctuated or not.

Guarantee: every word stands in exactly one sentence, in order, and no sentence crosses a pause
longer than ``max_gap_s``. Where the text is punctuated, its full stops end sentences. Where it is
not (automatic captions), a shorter pause does; before a word that often opens an instruction a
slight pause is enough; and what still runs on is cut at its longest pause.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from itertools import pairwise

from sportskills_lib.curation.captions.cues import CaptionWord
from sportskills_lib.language.coaching_words import words as word_set

PAUSE_S = 0.3  # ends an unpunctuated sentence
SLIGHT_PAUSE_S = 0.12  # does so before an opening word
LONGEST_WORDS, LONGEST_S = 32, 14.0  # an unpunctuated sentence beyond either is cut
SHORTEST_WORDS = 3  # cuts leave no shorter piece

_END = re.compile(r"""[.?!…]+["'”’)\]]*$""")
_ABBREVIATION = re.compile(
    r"^(?:[A-Za-z]\.|(?:mr|mrs|ms|dr|st|vs|etc|approx|no|e\.g|i\.e)\.)$", re.IGNORECASE
)
OPENERS = word_set(
    """so now and but then okay ok alright well here if when once before after always never don't avoid try make keep
    bend turn push pull lift lower drive stay let look hold rotate swing focus think imagine remember notice instead
    we i hey hi hello welcome thanks thank today that's next finally also"""
)


@dataclass(frozen=True)
class Sentence:
    """What is said from ``start_s`` to ``end_s``."""

    start_s: float
    end_s: float
    text: str


def build_sentences(
    words: tuple[CaptionWord, ...] | list[CaptionWord], *, max_gap_s: float
) -> list[Sentence]:
    """Sentences in order of time."""
    punctuated = sum(bool(_END.search(word.text)) for word in words) * 40 >= len(words)
    sentences = []
    for run in _runs(list(words), max_gap_s):
        parts = _by_full_stops(run) if punctuated else _by_pauses(run)
        for part in parts:
            end_s = max(part[-1].end_s, part[0].start_s + 0.001)
            sentences.append(Sentence(part[0].start_s, end_s, " ".join(word.text for word in part)))
    return sentences


def _runs(words: list[CaptionWord], max_gap_s: float) -> list[list[CaptionWord]]:
    """Stretches without a pause longer than ``max_gap_s``, a sound or a change of speaker."""
    runs = [words[:1]] if words else []
    for before, word in pairwise(words):
        if word.breaks or word.start_s - before.end_s > max_gap_s:
            runs.append([])
        runs[-1].append(word)
    return runs


def _by_full_stops(run: list[CaptionWord]) -> list[list[CaptionWord]]:
    parts: list[list[CaptionWord]] = [[]]
    for word in run:
        parts[-1].append(word)
        if _END.search(word.text) and not _ABBREVIATION.match(word.text):
            parts.append([])
    return [part for part in parts if part]


def _by_pauses(run: list[CaptionWord]) -> list[list[CaptionWord]]:
    parts = [run[:1]]
    for before, word in pairwise(run):
        gap_s = word.start_s - before.end_s
        opens = word.text.lower() in OPENERS and len(parts[-1]) >= SHORTEST_WORDS
        if gap_s >= PAUSE_S or (gap_s >= SLIGHT_PAUSE_S and opens):
            parts.append([])
        parts[-1].append(word)
    return [piece for part in parts for piece in _cut(part)]


def _cut(part: list[CaptionWord]) -> list[list[CaptionWord]]:
    """Cut what runs on, at its longest pause; among equal pauses before an opening word, near the
    middle.
    """
    if len(part) <= LONGEST_WORDS and part[-1].end_s - part[0].start_s <= LONGEST_S:
        return [part]
    places = range(SHORTEST_WORDS, len(part) - SHORTEST_WORDS + 1)
    if not places:
        return [part]

    def fitness(i: int) -> tuple[float, bool, float]:
        gap_s = round(part[i].start_s - part[i - 1].end_s, 2)
        return gap_s, part[i].text.lower() in OPENERS, -abs(i - len(part) / 2)

    place = max(places, key=fitness)
    return [*_cut(part[:place]), *_cut(part[place:])]
