"""What is said in a lesson, word by word, and how it stands in a caption file.

Two forms, as on YouTube: *manual* captions (one cue a sentence, punctuated) and *automatic* ones (lower case, no
punctuation, rolling: each line is shown while its words come, with inline time tags, then again for 10 ms, then above the
next line). Automatic words carry the noise of a recogniser: a few are lost, misheard or doubled.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import zip_longest

import numpy as np

from sportskills_lib.curation.captions.cues import format_stamp

# What happens to a word whose draw from 0 … 1 is below: lost 2 %, misheard 2 %, 1 % each of the others.
NOISE = {"lost": 0.02, "misheard": 0.04, "doubled": 0.05, "filler": 0.06}
WORDS_PER_LINE = 6
REPEAT_S = 0.01
FILLERS = ("uh", "um", "so")
SOUNDS_LIKE = {
    "knee": "need", "knees": "needs", "your": "you're", "hips": "hip", "hip": "hips", "arm": "on", "arms": "on",
    "elbow": "el bow", "shoulder": "soldier", "back": "bag", "head": "had", "toes": "toast", "toe": "tow",
    "wrist": "risk", "heel": "heal", "heels": "heals", "through": "threw", "to": "two", "the": "a", "a": "the",
    "keep": "keeps", "bend": "been", "weight": "wait", "step": "steps", "feet": "feed", "foot": "food",
    "straight": "street", "lead": "led", "before": "for", "right": "write", "hand": "and", "hands": "hans",
    "chest": "chess", "ball": "bowl", "and": "in", "in": "and", "is": "his", "you": "ya", "late": "lake", "low": "lo",
}  # fmt: skip


@dataclass(frozen=True)
class DemoWord:
    """One word and when it is said, in seconds from the start of the video."""

    text: str
    start_s: float
    end_s: float


def speak(text: str, start_s: float, end_s: float) -> list[DemoWord]:
    """The words of ``text``, spread over the span: a word's share grows with its letters."""
    tokens = text.split()
    weights = np.array([2.0 + len(token) for token in tokens])
    shares = np.concatenate([[0.0], np.cumsum(weights) / weights.sum()])
    edges = [round(edge, 3) for edge in (start_s + (end_s - start_s) * shares).tolist()]
    return [DemoWord(*word) for word in zip(tokens, edges, edges[1:], strict=False)]


def mishear(words: Sequence[DemoWord], rng: np.random.Generator) -> list[DemoWord]:
    """What a recogniser makes of a sentence: lower case, no punctuation, a few per cent of its
    words wrong.
    """
    heard: list[DemoWord] = []
    for word in words:
        plain = re.sub(r"[^a-z0-9' -]", "", word.text.lower().replace("’", "'")).strip("-' ")
        draw = rng.random()
        noise = next((name for name, below in NOISE.items() if draw < below), None)
        if not plain or (noise == "lost" and len(words) > 3):
            continue
        if noise == "misheard":
            plain = SOUNDS_LIKE.get(plain, plain)
        if noise in ("doubled", "filler"):
            middle = round((word.start_s + word.end_s) / 2, 3)
            first = plain if noise == "doubled" else str(rng.choice(FILLERS))
            heard.append(DemoWord(first, word.start_s, middle))
            word = replace(word, start_s=middle)
        heard.append(replace(word, text=plain))
    return heard


def manual_vtt(sentences: Iterable[Sequence[DemoWord]], language: str = "en") -> str:
    """One cue a sentence, over two lines where it is long."""
    cues = []
    for words in sentences:
        tokens = [word.text for word in words]
        text, half = " ".join(tokens), len(tokens) // 2
        if len(text) > 72:
            text = " ".join(tokens[:half]) + "\n" + " ".join(tokens[half:])
        cues.append((words[0].start_s, words[-1].end_s, text))
    return _vtt(cues, language)


def rolling_vtt(sentences: Iterable[Sequence[DemoWord]]) -> str:
    """YouTube's automatic form: each line with inline time tags under the line before, then a 10
    ms repeat.
    """
    lines = [
        words[first : first + WORDS_PER_LINE]
        for words in sentences
        for first in range(0, len(words), WORDS_PER_LINE)
    ]
    cues, above = [], " "
    for line, after in zip_longest(lines, lines[1:]):
        end_s = line[-1].end_s
        if after:
            end_s = min(end_s, after[0].start_s - REPEAT_S)
        plain = " ".join(word.text for word in line)
        tagged = "".join(f"<{format_stamp(word.start_s)}><c> {word.text}</c>" for word in line[1:])
        cues.append((line[0].start_s, end_s, f"{above}\n{line[0].text}{tagged}"))
        cues.append((end_s, end_s + REPEAT_S, f"{plain}\n "))
        above = plain
    return _vtt(cues, "en", " align:start position:0%")


def _vtt(cues: list[tuple[float, float, str]], language: str, placing: str = "") -> str:
    blocks = [
        f"{format_stamp(start_s)} --> {format_stamp(end_s)}{placing}\n{text}\n\n"
        for start_s, end_s, text in cues
    ]
    return f"WEBVTT\nKind: captions\nLanguage: {language}\n\n" + "".join(blocks)


def spoil_times(vtt: str) -> str:
    """The same captions with impossible times: one cue that ends before it starts, one far
    behind the video's end.
    """
    spans = re.findall(r"\S+ --> \S+", vtt)
    start, end = spans[0].split(" --> ")
    return vtt.replace(spans[0], f"{end} --> {start}").replace(
        spans[-1], "09:59:58.000 --> 09:59:59.000"
    )
