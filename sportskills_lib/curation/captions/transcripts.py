"""Timestamped plain text and Markdown: a stamp at the start of a line, in any of the shapes that
people use.

``[0.88s - 5.12s] text``, ``[1.68] text``, ``[0:10]``, ``(1:02:03.5)``, ``**[0:10]**``, ``0:10
text``, ``00:10 – 00:15``, the text beside the stamp or below it. Headings, rules and ``Name:
value`` lines above the first stamp are no captions; a paragraph elsewhere that no stamp covers (the
whole text said again, say) is a dropped row.
"""

from __future__ import annotations

import math
import re
from itertools import pairwise
from typing import NamedTuple

from sportskills_lib.curation.captions.cues import UNTIL_NEXT, Cue, Parsed

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
