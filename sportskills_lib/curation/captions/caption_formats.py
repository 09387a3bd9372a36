"""The readers of caption formats: text in, cues out.

*Timed blocks* are WebVTT, SRT and SBV: text under a line with two times. Text that has no times
above it becomes a dropped row, one for each block.

*Transcripts* are timestamped plain text and Markdown: a stamp at the start of a line, in any of the
shapes that people use. ``[0.88s - 5.12s] text``, ``[1.68] text``, ``[0:10]``, ``(1:02:03.5)``,
``**[0:10]**``, ``0:10 text``, ``00:10 – 00:15``, the text beside the stamp or below it. Headings,
rules and ``Name: value`` lines above the first stamp are no captions; a paragraph elsewhere that no
stamp covers (the whole text said again, say) is a dropped row.

*JSON* is YouTube's json3, and lists of segments as transcript tools and speech recognisers write
them.
"""

from __future__ import annotations

import json
import math
import re
from itertools import pairwise
from typing import Any, NamedTuple

from sportskills_lib.curation.captions.cues import UNTIL_NEXT, Cue, Parsed, stamp_s
from sportskills_lib.formats.untrusted_json import LONGEST_S, seconds

# ------------------------------------------------------------------------------------- timed blocks

_ARROW = re.compile(r"^([^\n]*?)-->([^\n]*)$", re.MULTILINE)
_LIKE_TIME = re.compile(r"(?=.*[:.,])(?=.*\d)(?:[\d:., \t]+|[\w:.,]+)")
_BEGINS_TIME = re.compile(r"[ \t]*\d+[:.,]\d")
_SBV_TIME = r"[ \t]*(\d{1,3}:\w{1,2}:\w{1,2}\.\w{1,3})[ \t]*"
SBV_LINE = re.compile(rf"^{_SBV_TIME},{_SBV_TIME}$", re.MULTILINE)
_BLOCK = re.compile(r"(?:^[^\n]*\S[^\n]*(?:\n|\Z))+", re.MULTILINE)  # lines that are not empty
_NO_CAPTION = re.compile(r"WEBVTT|X-TIMESTAMP-MAP|(?:NOTE|STYLE|REGION)(?:\s|$)")


def parse_arrows(text: str) -> Parsed:
    """Cues under ``start --> end``: WebVTT or SRT. Identifiers, cue settings, notes and styles are
    left out.

    An arrow in a line that tells no times was said, or stands in a note: it is text like any other.
    """
    parsed = Parsed(may_roll=True)
    text = f"\n{text}\n"  # so that as many line feeds stand before a line as its number says
    timings = [match for match in _ARROW.finditer(text) if _tells_times(match)]
    ends = [*(timing.start() for timing in timings), len(text)]
    head = text[: ends[0] - 1]
    _drop_untimed(parsed, _without_name(head) if timings else head, 0)
    line, counted = 0, 0
    for timing, end in zip(timings, ends[1:], strict=True):
        line += text.count("\n", counted, timing.start())
        counted = timing.start()
        body = text[timing.end() + 1 : end - 1]
        payload = _payload(parsed, body if end == len(text) else _without_name(body), line + 1)
        words = timing[2].split(None, 1)
        start_s, end_s = stamp_s(timing[1].strip()), stamp_s(words[0]) if words else None
        if start_s is None or end_s is None:
            detail = f"{timing[0].strip()[:80]!r} is not a pair of times"
            parsed.dropped.append((line, "impossible_times", detail))
        else:
            parsed.cues.append(Cue(start_s, end_s, payload, line))
    return parsed


def parse_sbv(text: str) -> Parsed:
    """Cues under ``0:00:00.378,0:00:11.378``."""
    return parse_arrows(SBV_LINE.sub(r"\1 --> \2", text))


def _tells_times(arrow: re.Match[str]) -> bool:
    """The line has the shape of ``start --> end``, however wrong the times are."""
    start = arrow[1].strip()
    return bool(_LIKE_TIME.fullmatch(start) if start else _BEGINS_TIME.match(arrow[2]))


def _without_name(body: str) -> str:
    """What stands between two lines of times, without the name of the cue that follows: a line
    under an empty one, or a number.
    """
    above, newline, name = body.rpartition("\n")
    named = newline and (not above or above.endswith("\n") or name.strip().isdigit())
    return above if named else body


def _payload(parsed: Parsed, body: str, line: int) -> str:
    """The text under a line of times, to the first empty line; what stands below becomes dropped
    rows.
    """
    text = body.lstrip("\n")
    payload, _, after = text.partition("\n\n")
    line += len(body) - len(text) + payload.count("\n") + 2
    _drop_untimed(parsed, after, line)
    return payload.removesuffix("\n")


def _drop_untimed(parsed: Parsed, text: str, line: int) -> None:
    """Dropped rows for the blocks of ``text``, which begins in ``line``, but for headers, notes and
    styles.
    """
    counted = 0
    for block in _BLOCK.finditer(text):
        line += text.count("\n", counted, block.start())
        counted = block.start()
        if not _NO_CAPTION.match(block[0]):
            shown = block[0].rstrip("\n")[:60]
            parsed.dropped.append((line, "no_times", f"{shown!r} has no times above it"))


# -------------------------------------------------------------------------------------- transcripts

_TIME = r"\d{1,4}(?::\d{1,2}){0,2}(?:[.,]\d{1,3})?(?:\s?s(?:ec)?)?"
_RANGE = rf"({_TIME})(?:\s*(?:-->|[-–—]|to)\s*({_TIME}))?"
_BRACKETED = re.compile(
    rf"\s*(?:[-*>]\s+)?[*_`]*[\[(](?=[^\])]*[:.,s])\s*{_RANGE}\s*[\])][*_`:]*(?:\s+[-–—]\s)?(.*)"
)
_CLOCK = r"\d{1,3}(?::\d{2}){1,2}(?:[.,]\d{1,3})?"
_BARE = re.compile(
    rf"\s*[*_`]*({_CLOCK})(?:\s*(?:-->|[-–—])\s*({_CLOCK}))?[*_`]*(?:\s*[-–—:]?\s+|$)(.*)"
)
_HEADING = re.compile(r"\s*(?:#{1,6}\s|[-*_=]{3,}\s*$)")
_FACT = re.compile(r"\W*[\w ]{1,30}\**:\**\s")
_DURATION = re.compile(r"^\W*(?:total )?duration\W+([^\n]+)", re.IGNORECASE | re.MULTILINE)


class _Stamped(NamedTuple):
    start: str
    end: str | None
    text: list[str]
    line: int


def parse_transcript(text: str) -> Parsed:
    """Cues of timestamped text; a file without a stamp gives none, and a row for each of its
    paragraphs.
    """
    parsed = Parsed(duration_s=_announced_s(text))
    lines = text.split("\n")
    shape = _BRACKETED if any(_BRACKETED.match(line) for line in lines) else _BARE
    stamped = _stamped(parsed, lines, shape)
    bad = next((item for item in stamped if _seconds(item.start) is None), None)
    hundredths = bad is not None and _rise_as_hundredths(stamped, parsed.duration_s)
    if bad and hundredths:
        detail = (
            f"[{bad.start}] is no minute and second: all such stamps are read as seconds "
            "and hundredths"
        )
        parsed.mended.append((bad.line, "hundredths_after_colon", detail))
    for item in stamped:
        start_s = _seconds(item.start, hundredths=hundredths)
        end_s = _seconds(item.end, hundredths=hundredths) if item.end else UNTIL_NEXT
        if start_s is None or end_s is None:
            shown = f"{item.start} - {item.end}" if item.end else item.start
            parsed.dropped.append((item.line, "impossible_times", f"[{shown}] is not a time"))
        else:
            parsed.cues.append(Cue(start_s, end_s, "\n".join(item.text).strip(), item.line))
    return parsed


def _stamped(parsed: Parsed, lines: list[str], shape: re.Pattern[str]) -> list[_Stamped]:
    """Stamps with the text beside and below them; what stands under none becomes dropped rows."""
    found: list[_Stamped] = []
    # whether a stamp holds for what follows; whether the last line is of an untimed paragraph
    covered, inside = False, False
    for number, line in enumerate(lines, 1):
        if match := shape.match(line):
            stamps = [match]
            # as lyrics have it, [0:15][0:30] begins a line that is said twice
            while stamps[-1][3][:1] in "[(" and (more := shape.match(stamps[-1][3])):
                stamps.append(more)
            said = stamps[-1][3]
            found += [_Stamped(m[1], m[2], [said] if said else [], number) for m in stamps]
            covered, inside = True, False
        elif not line.strip():
            inside = False
        elif _HEADING.match(line):
            covered = inside = False
        elif covered:
            found[-1].text.append(line)
        elif not inside and not _FACT.match(line):
            parsed.dropped.append(
                (number, "no_times", f"{line.strip()[:60]!r} has no times above it")
            )
            inside = True
    return found


def _seconds(stamp: str, *, hundredths: bool = False) -> float | None:
    """Seconds of a stamp. ``hundredths``: ``12:64`` without a fraction means 12.64 s."""
    parts = stamp.rstrip("sec ").replace(",", ".").split(":")
    if len(parts) == 1:
        return float(parts[0])
    if hundredths and len(parts) == 2 and len(parts[1]) == 2:
        return int(parts[0]) + int(parts[1]) / 100
    if float(parts[-1]) >= 60 or (len(parts) == 3 and int(parts[1]) > 59):
        return None
    return sum(float(part) * 60**place for place, part in enumerate(reversed(parts)))


def _rise_as_hundredths(stamped: list[_Stamped], duration_s: float) -> bool:
    """Whether all stamps, read as seconds and hundredths, rise inside the video."""
    starts = [_seconds(item.start, hundredths=True) for item in stamped]
    sound = [start for start in starts if start is not None]
    rising = all(a <= b for a, b in pairwise(sound))
    return len(sound) == len(starts) > 1 and rising and sound[-1] <= duration_s


def _announced_s(text: str) -> float:
    """The duration that the head of the text tells, as ``659.44 seconds`` or ``10:46``; infinite
    where it tells none.
    """
    found = _DURATION.search(text[:2000])
    said = found[1] if found else ""
    if seconds := re.search(r"(\d{1,6}(?:\.\d{1,3})?)\s*s(?:ec|\b)", said):
        return float(seconds[1])
    clock = re.search(_CLOCK, said)
    return (clock and _seconds(clock[0])) or math.inf


# ------------------------------------------------------------------------------------ json captions

_LISTS = ("segments", "transcript", "chunks", "captions", "cues")


def parse_json(text: str) -> Parsed:
    """Cues of a JSON text; an item that cannot be used is a dropped row under its number in the
    list.
    """
    parsed = Parsed()
    try:
        value = json.loads(text)
    except (ValueError, RecursionError) as error:
        detail = f"{type(error).__name__}: {str(error)[:80]}"
        parsed.dropped.append((1, "unreadable_json", detail))
        return parsed
    is_json3 = isinstance(value, dict) and isinstance(value.get("events"), list)
    items = value["events"] if is_json3 else _segments(value)
    if items is None:
        detail = f"it holds neither events nor any of {', '.join(_LISTS)}"
        parsed.dropped.append((1, "no_segments", detail))
    elif isinstance(value, dict) and not is_json3:
        about = value.get("transcript")
        parsed.automatic = isinstance(about, dict) and str(about.get("type")).startswith("auto")
        parsed.duration_s = _number(value.get("duration")) or math.inf
    for number, item in enumerate(items or [], start=1):
        (_event if is_json3 else _segment)(parsed, number, item)
    return parsed


def _segments(value: Any, *, deeper: int = 2) -> list[Any] | None:
    """The list of segments, wherever in the upper levels it stands."""
    if isinstance(value, list):
        return value
    if isinstance(value, dict) and deeper:
        inner = (_segments(value[name], deeper=deeper - 1) for name in _LISTS if name in value)
        return next((found for found in inner if found is not None), None)
    return None


def _number(value: Any, *, per_s: int = 1) -> float | None:
    """A finite number of at least 0 that is not absurd, or None; ``per_s`` of them are a second."""
    found = seconds(value, most=LONGEST_S * per_s)
    return found if found is not None and found >= 0 else None


def _segment(parsed: Parsed, number: int, item: Any) -> None:
    text = item.get("text") if isinstance(item, dict) else None
    if not isinstance(text, str):
        parsed.dropped.append((number, "no_text", f"{str(item)[:60]!r} has no text"))
        return
    pair = item.get("timestamp")
    start, end = (
        pair if isinstance(pair, list) and len(pair) == 2 else (item.get("start"), item.get("end"))
    )
    start_s, end_s, length_s = _number(start), _number(end), _number(item.get("duration"))
    if start_s is None or (end is not None and end_s is None):
        detail = f"start {str(start)[:20]!r}, end {str(end)[:20]!r}"
        parsed.dropped.append((number, "impossible_times", detail))
        return
    if end_s is None:
        end_s = UNTIL_NEXT if length_s is None else start_s + length_s
    parsed.cues.append(Cue(start_s, end_s, _sound(text), number, _word_pieces(item.get("words"))))


def _word_pieces(words: Any) -> tuple[tuple[str, float | None], ...]:
    """Words with their own times; nothing unless all of them are sound, since the text then
    serves.
    """
    try:
        pieces = tuple((_sound(word["word"]), _number(word["start"])) for word in words or ())
    except (AttributeError, KeyError, TypeError):
        return ()
    return pieces if all(at is not None for _, at in pieces) else ()


def _sound(text: str) -> str:
    """``text`` without halves of surrogate pairs, which JSON can hold and no file can."""
    return text.encode("utf-8", "replace").decode()


def _event(parsed: Parsed, number: int, event: Any) -> None:
    """An event of json3: pieces of text with offsets. Those without text lay out the screen or
    break a line.
    """
    said = event.get("segs") if isinstance(event, dict) else None
    pieces = [
        (_sound(seg["utf8"]), seg.get("tOffsetMs"))
        for seg in (said if isinstance(said, list) else [])
        if isinstance(seg, dict) and isinstance(seg.get("utf8"), str)
    ]
    text = "".join(piece for piece, _ in pieces)
    if not text.strip():
        return
    start, lasts = _number(event.get("tStartMs"), per_s=1000), event.get("dDurationMs")
    length = UNTIL_NEXT if lasts is None else _number(lasts, per_s=1000)
    if start is None or length is None:
        detail = f"starts at {str(event.get('tStartMs'))[:20]} ms, lasts {str(lasts)[:20]} ms"
        parsed.dropped.append((number, "impossible_times", detail))
        return
    heard = any(offset is not None for _, offset in pieces)
    parsed.automatic |= heard
    offsets = [(piece, _number(offset, per_s=1000)) for piece, offset in pieces] if heard else []
    timed = tuple(
        (piece, None if after is None else (start + after) / 1000) for piece, after in offsets
    )
    parsed.cues.append(Cue(start / 1000, (start + length) / 1000, text, number, timed))
