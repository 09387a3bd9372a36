"""WebVTT captions as timed words, the rolling form of automatic captions collapsed.

Guarantee: any text gives words (in order of time, each said once) and rows for what was not usable; nothing here raises
on malformed captions. Rolling captions, as YouTube makes them, show each line two or three times and carry inline time
tags; a line that repeats what stood on the screen is dropped by its place on the screen, not by its text, so a coach
who says "again, again" is heard twice. Words without a tag of their own share their cue's time by length.
"""

from __future__ import annotations

import html
import itertools
import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

_STAMP = r"(?:(\d{1,4}):)?(\d{1,2}):(\d{1,2})[.,](\d{1,3})"
_TIMING = re.compile(rf"^\s*{_STAMP}\s*-->\s*{_STAMP}(?:\s|$)")
_INLINE = re.compile(r"<((?:\d{1,4}:)?\d{1,2}:\d{1,2}[.,]\d{1,3})>")
_TAG = re.compile(r"</?[A-Za-z][^<>]*>|</?>")
_SOUND = re.compile(r"\[[^\]]*\]|\((?:music|applause|laughter|cheering|inaudible|silence)[^)]*\)|[♪♫]+", re.IGNORECASE)
_SPEAKER = re.compile(r"^\s*(?:>>+|-\s)\s*")
_INVISIBLE = re.compile("[\u200b\u200c\u200d\u2060\ufeff]")
_BREAK = "\x00"
_SKIPPED = ("NOTE", "STYLE", "REGION")

TOUCHING_S = 0.15  # a cue that begins this soon after the last one may repeat its lines
SLOWEST_WORD_S, SLOWEST_LETTER_S = 0.35, 0.09  # a word is not held longer: the rest of its cue is a pause


@dataclass(frozen=True)
class Word:
    """A word and when it is said. ``breaks``: a sound, a speaker or a cut cue parts it from the word before."""

    text: str
    start_s: float
    end_s: float
    breaks: bool = False


@dataclass(frozen=True)
class Cue:
    """One caption with its lines as written. ``line`` counts from 1 in the file."""

    start_s: float
    end_s: float
    lines: tuple[str, ...]
    line: int


@dataclass(frozen=True)
class Captions:
    """What a caption file says. ``dropped`` holds (line, reason, detail); ``automatic``: it has the rolling form."""

    words: tuple[Word, ...]
    dropped: tuple[tuple[int, str, str], ...]
    automatic: bool


def read_webvtt(path: Path, *, duration_s: float | None = None) -> Captions:
    """The captions in a file; bytes that are no UTF-8 are read as Windows-1252, which never fails in practice."""
    raw = path.read_bytes()
    if raw.startswith((b"\xff\xfe", b"\xfe\xff")):
        text = raw.decode("utf-16", errors="replace")
    else:
        try:
            text = raw.decode("utf-8-sig")
        except UnicodeDecodeError:
            text = raw.decode("cp1252", errors="replace")
    return parse_webvtt(text, duration_s=duration_s)


def parse_webvtt(text: str, *, duration_s: float | None = None) -> Captions:
    """Words of WebVTT text. Cues with impossible times, or outside a video of ``duration_s``, become dropped rows."""
    lines = re.sub(r"\r\n?", "\n", text.lstrip("\ufeff")).split("\n")
    dropped: list[tuple[int, str, str]] = []
    if not lines[0].startswith("WEBVTT"):
        dropped.append((1, "no_webvtt_header", f"the file begins with {lines[0][:40]!r}; read all the same"))
    cues = []
    for item in _cues(lines):
        problem = _problem(item, duration_s) if isinstance(item, Cue) else item
        if problem:
            dropped.append(problem)
        elif isinstance(item, Cue):
            cues.append(item if duration_s is None else replace(item, end_s=min(item.end_s, duration_s)))
    cues.sort(key=lambda cue: cue.start_s)
    rolling = _is_rolling(cues)
    words = _collapse(cues) if rolling else [word for cue in cues for word in _cue_words(cue, cue.lines)]
    if not words and not dropped:
        dropped.append((1, "no_words", "the file holds no caption text"))
    return Captions(tuple(_in_order(words, spoken=rolling)), tuple(dropped), rolling)


# ----------------------------------------------------------------------------------------------------------- cues


def _seconds(hours: str | None, minutes: str, seconds: str, fraction: str) -> float | None:
    if int(minutes) > 59 or int(seconds) > 59:
        return None
    return int(hours or 0) * 3600 + int(minutes) * 60 + int(seconds) + int(fraction.ljust(3, "0")) / 1000


def _cues(lines: list[str]) -> Iterator[Cue | tuple[int, str, str]]:
    """Cues, and (line, reason, detail) for timing lines that cannot be read."""
    number = 0
    while number < len(lines):
        line = lines[number]
        number += 1
        if line.startswith(_SKIPPED) and "-->" not in line:
            while number < len(lines) and lines[number] and "-->" not in lines[number]:
                number += 1
            continue
        if "-->" not in line:
            continue
        found = _TIMING.match(line)
        first, payload = number, list[str]()
        while number < len(lines) and "-->" not in lines[number] and (lines[number] or not any(payload)):
            if not lines[number] and len(payload) > 1:
                break
            payload.append(lines[number])
            number += 1
        if number < len(lines) and "-->" in lines[number] and payload and _is_identifier(payload):
            payload.pop()
        times = (_seconds(*found.groups()[:4]), _seconds(*found.groups()[4:])) if found else (None, None)
        if times[0] is None or times[1] is None:
            yield first, "impossible_times", f"{line.strip()[:80]!r} is no pair of times"
        else:
            yield Cue(times[0], times[1], tuple(payload), first)


def _is_identifier(payload: list[str]) -> bool:
    """The last line before a timing line is the next cue's name if an empty line stands before it, or it is a
    number."""
    return (len(payload) > 1 and not payload[-2]) or payload[-1].strip().isdigit()


def _problem(cue: Cue, duration_s: float | None) -> tuple[int, str, str] | None:
    span = f"{cue.start_s:.3f} s to {cue.end_s:.3f} s"
    if cue.end_s <= cue.start_s:
        return cue.line, "impossible_times", f"the cue runs from {span}"
    if duration_s is not None and cue.start_s >= duration_s:
        return cue.line, "outside_video", f"the cue runs from {span}; the video lasts {duration_s:.3f} s"
    if not any(_plain(line) for line in cue.lines):
        return None if any(line.strip() for line in cue.lines) else (cue.line, "empty_cue", f"no text from {span}")
    return None


# ---------------------------------------------------------------------------------------------------------- words


def _plain(line: str) -> str:
    """The words of a line: no tags, entities resolved, no sounds in brackets."""
    return " ".join(token for token in _tokens(_INLINE.sub(" ", line)) if token != _BREAK)


def _tokens(text: str) -> list[str]:
    """Words, and ``_BREAK`` where a sound or a change of speaker stands between them."""
    text = html.unescape(html.unescape(_TAG.sub("", text)))
    return _SOUND.sub(f" {_BREAK} ", _SPEAKER.sub(f"{_BREAK} ", _INVISIBLE.sub("", text))).split()


def _is_rolling(cues: list[Cue]) -> bool:
    """Inline time tags, or most cues begin with the line that the cue before ended with."""
    tagged = sum(any(_INLINE.search(line) for line in cue.lines) for cue in cues)
    if tagged > len(cues) / 10:
        return True
    repeats = sum(_repeated(_shown(a), _shown(b)) > 0 for a, b in itertools.pairwise(cues))
    return len(cues) > 3 and repeats > len(cues) / 2


def _shown(cue: Cue) -> list[str]:
    return [plain for line in cue.lines if (plain := _plain(line))]


def _repeated(before: list[str], now: list[str]) -> int:
    """How many lines of ``now`` are the last lines of ``before``, moved up."""
    return next((k for k in range(min(len(before), len(now)), 0, -1) if before[-k:] == now[:k]), 0)


def _collapse(cues: list[Cue]) -> list[Word]:
    """Words of rolling cues, each once: lines that stood on the screen already are skipped."""
    words: list[Word] = []
    screen: list[str] = []
    screen_end_s = -1.0
    for cue in cues:
        lines = [line for line in cue.lines if _plain(line)]
        plain = [_plain(line) for line in lines]
        fresh = next((i for i, line in enumerate(lines) if _INLINE.search(line)), len(lines))
        old = _repeated(screen, plain[:fresh])
        if old == len(lines) and cue.start_s - screen_end_s > TOUCHING_S:
            old = 0  # nothing new below it, after an empty screen: said again
        words += _cue_words(cue, tuple(lines[old:]))
        screen, screen_end_s = plain, cue.end_s
    return words


def _cue_words(cue: Cue, lines: tuple[str, ...]) -> list[Word]:
    """Words of ``lines``, timed by their tags where they have some, else by their letters."""
    pieces: list[tuple[str, float | None, bool]] = []  # text, its time, whether something parts it from what was before
    for line in lines:
        breaks = False
        parts = _INLINE.split(line)
        for i in range(0, len(parts), 2):
            found = re.fullmatch(_STAMP, parts[i - 1]) if i else None
            start_s = _seconds(*found.groups()) if found else None
            if start_s is not None and not cue.start_s <= start_s <= cue.end_s:
                start_s = None
            for token in _tokens(parts[i]):
                if token == _BREAK:
                    breaks = True
                    continue
                pieces.append((token, start_s, breaks))
                start_s, breaks = None, False
    return _timed(pieces, cue.start_s, cue.end_s)


def _timed(pieces: list[tuple[str, float | None, bool]], start_s: float, end_s: float) -> list[Word]:
    """Spread untimed words over the time between their timed neighbours; the first word starts with the cue."""
    words: list[Word] = []
    first = 0
    while first < len(pieces):
        last = first + 1
        while last < len(pieces) and pieces[last][1] is None:
            last += 1
        begin = pieces[first][1] if pieces[first][1] is not None else start_s
        begin = max(begin if begin is not None else start_s, words[-1].end_s if words else start_s)
        until = pieces[last][1] if last < len(pieces) else None
        until = max(until if until is not None else end_s, begin)
        weights = [2 + len(text) for text, _, _ in pieces[first:last]]
        at, total = begin, sum(weights)
        for (text, _, breaks), weight in zip(pieces[first:last], weights, strict=True):
            then = at + (until - at) * weight / total
            total -= weight
            words.append(Word(text, at, then, breaks))
            at = then
        first = last
    return words


def _in_order(words: list[Word], *, spoken: bool) -> Iterator[Word]:
    """Words by time, none ending after the next begins and, where times are ``spoken``, none held beyond its length."""
    ordered = sorted(words, key=lambda word: word.start_s)
    for i, word in enumerate(ordered):
        after = ordered[i + 1] if i + 1 < len(ordered) else None
        longest_s = SLOWEST_WORD_S + SLOWEST_LETTER_S * len(word.text) if spoken else word.end_s - word.start_s
        end_s = min(word.end_s, word.start_s + longest_s)
        yield replace(word, end_s=max(word.start_s, min(end_s, after.start_s) if after else end_s))
