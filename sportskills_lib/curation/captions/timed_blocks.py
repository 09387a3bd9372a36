"""WebVTT, SRT and SBV: blocks of text under a line with two times.

Text that has no times above it becomes a dropped row, one for each block.
"""

from __future__ import annotations

import re

from sportskills_lib.curation.captions.cues import Cue, Parsed, stamp_s

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
