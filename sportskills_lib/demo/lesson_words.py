"""What is said in a lesson, word by word, and how it stands in a caption file.

Two forms, as on YouTube: *manual* captions (one cue a sentence, punctuated) and *automatic* ones (lower case, no
punctuation, rolling: each line is shown while its words come, with inline time tags, then again for 10 ms, then above the
next line). Automatic words carry the noise of a recogniser: a few are lost, misheard or doubled.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from sportskills_lib.curation.captions.cues import format_stamp

MISHEARD_SHARE, LOST_SHARE, DOUBLED_SHARE, FILLER_SHARE = 0.02, 0.02, 0.01, 0.01
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
    edges = start_s + (end_s - start_s) * np.concatenate(
        [[0.0], np.cumsum(weights) / weights.sum()]
    )
    return [
        DemoWord(token, round(float(edges[i]), 3), round(float(edges[i + 1]), 3))
        for i, token in enumerate(tokens)
    ]


def mishear(words: Sequence[DemoWord], rng: np.random.Generator) -> list[DemoWord]:
    """What a recogniser makes of a sentence: lower case, no punctuation, a few per cent of its
    words wrong.
    """
    heard: list[DemoWord] = []
    for word in words:
        plain = re.sub(r"[^a-z0-9' -]", "", word.text.lower().replace("’", "'")).strip("-' ")
        draw = rng.random()
        if not plain or (draw < LOST_SHARE and len(words) > 3):
            continue
        draw -= LOST_SHARE
        if 0 <= draw < MISHEARD_SHARE:
            plain = SOUNDS_LIKE.get(plain, plain)
        draw -= MISHEARD_SHARE
        middle = round((word.start_s + word.end_s) / 2, 3)
        if 0 <= draw < DOUBLED_SHARE + FILLER_SHARE:
            first = plain if draw < DOUBLED_SHARE else str(rng.choice(FILLERS))
            heard.append(DemoWord(first, word.start_s, middle))
            word = replace(word, start_s=middle)
        heard.append(replace(word, text=plain))
    return heard


def manual_vtt(sentences: Iterable[Sequence[DemoWord]], language: str = "en") -> str:
    """One cue a sentence, over two lines where it is long."""
    blocks = []
    for words in sentences:
        tokens = [word.text for word in words]
        text = " ".join(tokens)
        if len(text) > 72:
            half = len(tokens) // 2
            text = " ".join(tokens[:half]) + "\n" + " ".join(tokens[half:])
        blocks.append(f"{_span(words[0].start_s, words[-1].end_s)}\n{text}")
    return _file(blocks, language)


def _span(start_s: float, end_s: float) -> str:
    return f"{format_stamp(start_s)} --> {format_stamp(end_s)}"


def rolling_vtt(sentences: Iterable[Sequence[DemoWord]]) -> str:
    """YouTube's automatic form: each line with inline time tags under the line before, then a 10
    ms repeat.
    """
    lines = [
        list(words[first : first + WORDS_PER_LINE])
        for words in sentences
        for first in range(0, len(words), WORDS_PER_LINE)
    ]
    blocks, above = [], " "
    for line, after in zip(lines, [*lines[1:], None], strict=True):
        start, end = line[0].start_s, line[-1].end_s
        if after:
            end = min(end, after[0].start_s - REPEAT_S)
        plain = " ".join(word.text for word in line)
        tagged = line[0].text + "".join(
            f"<{format_stamp(word.start_s)}><c> {word.text}</c>" for word in line[1:]
        )
        for span, text in (
            (_span(start, end), f"{above}\n{tagged}"),
            (_span(end, end + REPEAT_S), f"{plain}\n "),
        ):
            blocks.append(f"{span} align:start position:0%\n{text}")
        above = plain
    return _file(blocks, "en")


def _file(blocks: list[str], language: str) -> str:
    return f"WEBVTT\nKind: captions\nLanguage: {language}\n\n" + "".join(
        f"{block}\n\n" for block in blocks
    )


def spoil_times(vtt: str) -> str:
    """The same captions with impossible times: one cue that ends before it starts, one far
    behind the video's end.
    """
    blocks = vtt.split("\n\n")
    timed = [i for i, block in enumerate(blocks) if " --> " in block]
    first, _, rest = blocks[timed[0]].partition("\n")
    start, _, end = first.partition(" --> ")
    blocks[timed[0]] = f"{end} --> {start}\n{rest}"
    _, _, rest = blocks[timed[-1]].partition("\n")
    blocks[timed[-1]] = f"09:59:58.000 --> 09:59:59.000\n{rest}"
    return "\n\n".join(blocks)
