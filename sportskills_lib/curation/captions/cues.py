"""Cues, which every caption format is parsed into, and how they become timed words, each said once.

Rolling captions, as YouTube makes them, show each line two or three times and carry inline time
tags; a line that repeats what stood on the screen is dropped by its place on the screen, not by its
text, so a coach who says "again, again" is heard twice. Words without a time of their own share
their cue's time by length.
"""

from __future__ import annotations

import html
import itertools
import math
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import NamedTuple

from sportskills_lib.formats.files import decode_bytes

Row = tuple[int, str, str]  # line (of JSON: item), counted from 1; reason; detail

UNTIL_NEXT = math.inf  # end of a cue whose file gives starts alone: it lasts until the next one

_STAMP = re.compile(r"(?:(\d{1,4}):)?(\d{1,2}):(\d{1,2})(?:[.,](\d{1,3})\d*)?", re.ASCII)
_CONTROL = re.compile("[\x00-\x08\x0e-\x1a\x1c-\x1f]")
INLINE_TIME = re.compile(r"<((?:\d{1,4}:)?\d{1,2}:\d{1,2}[.,]\d{1,3})>", re.ASCII)
_TAG = re.compile(r"</?[A-Za-z][^<>]*>|</?>|\{\\[^{}]*\}")
_NOISES = "music|applause|laugh|cheer|inaudible|silence|whistl|sigh|crowd|grunt|indistinct"
_SOUND = re.compile(
    rf"\[[^\]]*\]|\((?:[\w ]{{0,20}}\s)?(?:{_NOISES})[^)]{{0,40}}\)|[♪♫]+", re.IGNORECASE
)
_CENSORED = re.compile(r"\[\s*_+\s*\]")
_SPEAKER = re.compile(r"^\s*-\s|(?:^|(?<=\s))>>+|^\s*[A-Z][A-Z0-9.' ]{1,24}:(?=\s)")
# Unicode's format characters (Cf) but for the few that are printed: soft hyphens, joiners, marks of
# direction, tags.
_INVISIBLE = re.compile(
    "[\u00ad\u061c\u180e\u200b-\u200f\u202a-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb\U0001d173-\U0001d17a\U000e0001-\U000e007f]"
)
_BREAK = "\x00"

TOUCHING_S = 0.15  # a cue that begins this soon after the last one may repeat its lines
# a word is not held longer: the rest of its cue is a pause
SLOWEST_WORD_S, SLOWEST_LETTER_S = 0.35, 0.09
# letters that count; and a line of more than minutes is no speech but junk
LONGEST_WORD, LONGEST_HELD_S = 24, 300.0


class Cue(NamedTuple):
    """One caption as written. ``pieces``: text with a time of its own in seconds (or None), where
    the format has it.
    """

    start_s: float
    end_s: float
    text: str
    line: int
    pieces: tuple[tuple[str, float | None], ...] = ()


@dataclass
class Parsed:
    """The cues of a file, in its order, and what was dropped or mended on the way.

    ``automatic``: the file says that a machine heard it. ``duration_s``: the video's length,
    infinite where the file does not tell it. ``may_roll``: the format is one in which captions
    roll over the screen.
    """

    cues: list[Cue] = field(default_factory=list)
    dropped: list[Row] = field(default_factory=list)
    mended: list[Row] = field(default_factory=list)
    automatic: bool = False
    duration_s: float = math.inf
    may_roll: bool = False


def format_stamp(seconds: float) -> str:
    """``00:01:02.345``, as WebVTT writes it."""
    thousandths = round(seconds * 1000)
    return (
        f"{thousandths // 3_600_000:02d}:{thousandths // 60_000 % 60:02d}:"
        f"{thousandths // 1000 % 60:02d}.{thousandths % 1000:03d}"
    )


@lru_cache(maxsize=8192)  # the end of a cue is often the start of the next
def stamp_s(stamp: str) -> float | None:
    """Seconds of ``hh:mm:ss.mmm``, hours and fraction optional, comma or point; None when it is no
    such time.
    """
    found = _STAMP.fullmatch(stamp)
    if found is None:
        return None
    hours, minutes, seconds, fraction = found.groups()
    if int(minutes) > 59 or int(seconds) > 59:
        return None
    whole = int(hours or 0) * 3600 + int(minutes) * 60 + int(seconds)
    return whole + int(fraction.ljust(3, "0")) / 1000 if fraction else float(whole)


def decode(raw: bytes) -> tuple[str, list[Row]]:
    """Any bytes as text with ``\\n`` line ends, and a row that says so where they were no plain
    UTF-8.
    """
    text, name = decode_bytes(raw)
    if "\r" in text:
        text = text.replace("\r\n", "\n").replace("\r", "\n")
    text = text.lstrip("\ufeff")
    mended = [(1, "odd_encoding", f"no plain UTF-8: read as {name}")] if name else []
    if found := _CONTROL.search(text):
        text = _CONTROL.sub(" ", text)
        mended.append((1, "control_characters", f"{found.group()!r} and the like became spaces"))
    return text, mended


# ------------------------------------------------------------------------------------------- words


@dataclass(frozen=True, slots=True)
class CaptionWord:
    """A word and when it is said. ``breaks``: a sound, a speaker or a cut cue parts it from the
    word before.
    """

    text: str
    start_s: float
    end_s: float
    breaks: bool = False


_Piece = tuple[
    str, float | None, bool
]  # text, its time, whether something parts it from what was before


def plain(text: str) -> str:
    """The words of a text: no tags, entities resolved, no sounds in brackets, no names of
    speakers.
    """
    return " ".join(
        token for line in text.split("\n") for token in _tokens(line) if token != _BREAK
    )


@lru_cache(maxsize=1024)  # rolling captions show each line three times
def _tokens(text: str) -> tuple[str, ...]:
    """Words, and ``_BREAK`` where a sound or a change of speaker stands between them."""
    text = html.unescape(html.unescape(_TAG.sub("", INLINE_TIME.sub("", text))))
    text = _SPEAKER.sub(f" {_BREAK} ", _INVISIBLE.sub("", text))
    text = _SOUND.sub(f" {_BREAK} ", _CENSORED.sub(" ", text))
    return tuple(text.split())


def held_s(text: str) -> float:
    """The longest that these words take, said slowly; never more than ``LONGEST_HELD_S``."""
    return min(sum(map(_word_s, text.split())), LONGEST_HELD_S)


def _word_s(word: str) -> float:
    return SLOWEST_WORD_S + SLOWEST_LETTER_S * min(len(word), LONGEST_WORD)


def to_words(cues: list[Cue], *, rolling: bool, spoken: bool) -> list[CaptionWord]:
    """Words in order of time. ``spoken``: cues tell when words begin, not when they end."""
    made = (
        _collapse(cues)
        if rolling
        else [word for cue in cues for word in _cue_words(cue, cue.text.split("\n"))]
    )
    return list(_in_order(made, spoken=spoken or rolling))


# ------------------------------------------------------------------------------------------ rolling


def is_rolling(cues: list[Cue]) -> bool:
    """Inline time tags, or most cues begin with the line that the cue before ended with."""
    tagged = sum("<" in cue.text and bool(INLINE_TIME.search(cue.text)) for cue in cues)
    if tagged > len(cues) / 10:
        return True
    if len(cues) <= 3:
        return False
    shown = [[words for line in cue.text.split("\n") if (words := plain(line))] for cue in cues]
    return sum(_repeated(a, b) > 0 for a, b in itertools.pairwise(shown)) > len(cues) / 2


def _repeated(before: list[str], now: list[str]) -> int:
    """How many lines of ``now`` are the last lines of ``before``, moved up."""
    return next((k for k in range(min(len(before), len(now)), 0, -1) if before[-k:] == now[:k]), 0)


def _collapse(cues: list[Cue]) -> list[CaptionWord]:
    """Words of rolling cues, each once: lines that stood on the screen already are skipped."""
    words: list[CaptionWord] = []
    screen: list[str] = []
    screen_end_s = -1.0
    for cue in cues:
        both = [(line, said) for line in cue.text.split("\n") if (said := plain(line))]
        fresh = next(
            (i for i, (line, _) in enumerate(both) if "<" in line and INLINE_TIME.search(line)),
            len(both),
        )
        shown = [said for _, said in both]
        old = _repeated(screen, shown[:fresh])
        if old == len(both) and cue.start_s - screen_end_s > TOUCHING_S:
            old = 0  # nothing new below it, after an empty screen: said again
        words += _cue_words(cue, [line for line, _ in both[old:]])
        screen, screen_end_s = shown, cue.end_s
    return words


# -------------------------------------------------------------------------------------------- times


def _cue_words(cue: Cue, lines: list[str]) -> list[CaptionWord]:
    """Words of ``lines``, timed by their tags or pieces where they have some, else by their
    letters.
    """
    pieces: list[_Piece] = []
    for parts in (cue.pieces,) if cue.pieces else map(_parts, lines):
        breaks = False
        for text, at in parts:
            time_s = at if at is not None and cue.start_s <= at <= cue.end_s else None
            for token in _tokens(text):
                if token == _BREAK:
                    breaks = True
                    continue
                pieces.append((token, time_s, breaks))
                time_s, breaks = None, False
    return _timed(pieces, cue.start_s, cue.end_s)


def _parts(line: str) -> Sequence[tuple[str, float | None]]:
    """A line's text at its inline time tags, with their times."""
    if "<" not in line:
        return ((line, None),)
    first, *rest = INLINE_TIME.split(line)
    return [
        (first, None),
        *((text, stamp_s(stamp)) for stamp, text in zip(rest[::2], rest[1::2], strict=True)),
    ]


def _timed(pieces: list[_Piece], start_s: float, end_s: float) -> list[CaptionWord]:
    """Spread untimed words over the time between their timed neighbours; the first word starts with
    the cue.
    """
    words: list[CaptionWord] = []
    heads = [i for i, (_, at, _) in enumerate(pieces) if i == 0 or at is not None]
    for first, last in itertools.pairwise([*heads, len(pieces)]):
        given = pieces[first][1]
        begin = max(start_s if given is None else given, words[-1].end_s if words else start_s)
        following = pieces[last][1] if last < len(pieces) else None
        until = max(end_s if following is None else following, begin)
        weights = [2 + len(text) for text, _, _ in pieces[first:last]]
        at, total = begin, sum(weights)
        for (text, _, breaks), weight in zip(pieces[first:last], weights, strict=True):
            then = at + (until - at) * weight / total
            total -= weight
            words.append(CaptionWord(text, at, then, breaks))
            at = then
    return words


def _in_order(words: list[CaptionWord], *, spoken: bool) -> Iterator[CaptionWord]:
    """Words by time, none ending after the next begins and, where times are ``spoken``, none held
    beyond its length.
    """
    ordered = sorted(words, key=lambda word: word.start_s)
    for i, word in enumerate(ordered):
        end_s = word.end_s
        if spoken:
            end_s = min(end_s, word.start_s + _word_s(word.text))
        if i + 1 < len(ordered):
            end_s = min(end_s, ordered[i + 1].start_s)
        end_s = max(word.start_s, end_s)
        yield word if end_s == word.end_s else replace(word, end_s=end_s)
