"""WebVTT, SRT and SBV: blocks of text under a line with two times.

One pass of string splitting does WebVTT and SRT; a regular expression for each line would take
several times as long. Text that has no times above it becomes a dropped row, one for each block.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from sportskills_lib.curation.captions.cues import Cue, Parsed, stamp_s

_NO_CAPTION = re.compile(r"(?:NOTE|STYLE|REGION)(?:\s|$)|X-TIMESTAMP-MAP")
_SBV_LINE = re.compile(
    r"\s*(\d{1,3}:\w{1,2}:\w{1,2}\.\w{1,3})\s*,\s*(\d{1,3}:\w{1,2}:\w{1,2}\.\w{1,3})\s*"
)

_LIKE_TIME = re.compile(r"(?=.*[:.,])(?:[\d:., \t]+|[\w:.,]+)")
_BEGINS_TIME = re.compile(r"[ \t]*\d+[:.,]\d")
# stands for an arrow that parts no times; the letter is one of Unicode's private ones
_SAID = "--\ue000>"


def parse_arrows(text: str, *, webvtt: bool) -> Parsed:
    """Cues under ``start --> end``: WebVTT or SRT. Identifiers, cue settings, notes and styles are
    left out.

    An arrow in a line that tells no times was said, or stands in a note: it is text like any other.
    """
    parsed, said = _by_arrows(text, webvtt=webvtt)
    if not said:
        return parsed
    lines = (
        line if "-->" not in line or _tells_times(line) else line.replace("-->", _SAID)
        for line in text.split("\n")
    )
    parsed, _ = _by_arrows("\n".join(lines), webvtt=webvtt)
    parsed.cues = [cue._replace(text=cue.text.replace(_SAID, "-->")) for cue in parsed.cues]
    parsed.dropped = [
        (line, reason, detail.replace(_SAID, "-->")) for line, reason, detail in parsed.dropped
    ]
    return parsed


def _tells_times(line: str) -> bool:
    """The line has the shape of ``start --> end``, however wrong the times are."""
    start, _, end = line.partition("-->")
    start = start.strip()
    if not start:
        return bool(_BEGINS_TIME.match(end))
    return len(start) <= 60 and bool(_LIKE_TIME.fullmatch(start)) and any(map(str.isdigit, start))


def _by_arrows(text: str, *, webvtt: bool) -> tuple[Parsed, bool]:
    """The cues where every arrow is taken to stand between times, and whether one of them does
    not.
    """
    parsed, said = Parsed("webvtt" if webvtt else "srt"), False
    first, *parts = text.split("-->")
    body, _, start = first.rpartition("\n") if parts else (first, "", "")
    _head(parsed, body, webvtt=webvtt, named=bool(parts))
    if webvtt and not text.startswith("WEBVTT"):
        begins = text.split("\n", 1)[0][:40]
        parsed.mended.append(
            (1, "no_webvtt_header", f"the file begins with {begins!r}; read all the same")
        )
    line = body.count("\n") + (2 if body or first.startswith("\n") else 1)
    last = len(parts) - 1
    for i, part in enumerate(parts):
        end, newline, rest = part.partition("\n")
        if i < last and not newline:
            start = f"{start}-->{part}"  # two arrows in one line
            continue
        body, _, following = rest.rpartition("\n") if i < last else (rest, "", "")
        start_s, words = stamp_s(start.strip()), end.split(None, 1)
        end_s = stamp_s(words[0]) if words else None
        payload = _payload(parsed, body, line + 1, last=i == last) if body else ""
        if start_s is None or end_s is None:
            said = said or not _tells_times(f"{start}-->{end}")
            shown = f"{start}-->{end}".strip()[:80]
            parsed.dropped.append((line, "impossible_times", f"{shown!r} is not a pair of times"))
        else:
            parsed.cues.append(Cue(start_s, end_s, payload, line))
        line += rest.count("\n") + 1
        start = following
    return parsed, said


def _payload(parsed: Parsed, body: str, line: int, *, last: bool) -> str:
    """The text under a timing line: to the first empty line, without the name of the cue that
    follows.
    """
    payload, blank, after = body.partition("\n\n")
    if (blank and not payload.strip("\n")) or payload.startswith(
        "\n"
    ):  # an empty line stands under the times
        stripped = body.lstrip("\n")
        line += len(body) - len(stripped)
        if "\n" not in stripped and not last:
            return ""  # nothing but the next cue's name
        payload, blank, after = stripped.partition("\n\n")
    if after.strip():
        _untimed(parsed, after, line + payload.count("\n") + 2, named=not last)
    elif not blank and not last and not payload.endswith("\n"):
        text, newline, name = payload.rpartition("\n")
        if newline and name.strip().isdigit():
            return text  # a number without an empty line before it
    return payload.removesuffix("\n")


def _head(parsed: Parsed, body: str, *, webvtt: bool, named: bool) -> None:
    """What stands before the first times: the WebVTT header, notes, the first cue's name."""
    if webvtt and body.startswith("WEBVTT"):
        header, _, body = body.partition("\n\n")
        _untimed(parsed, body, header.count("\n") + 3, named=named)
    else:
        _untimed(parsed, body, 1, named=named)


def _untimed(parsed: Parsed, text: str, line: int, *, named: bool) -> None:
    """Dropped rows for blocks that belong to no cue. ``named``: a last line right above the next
    times is its name.
    """
    if not text.strip():
        return
    if named and not text.endswith("\n"):
        text = text.rpartition("\n")[0]
    for number, block in _blocks(text, line):
        if not _NO_CAPTION.match(block):
            parsed.dropped.append((number, "no_times", f"{block[:60]!r} has no times above it"))


def _blocks(text: str, line: int) -> Iterator[tuple[int, str]]:
    """(line, text) of each run of lines that are not empty."""
    block: list[str] = []
    for number, one in enumerate(text.split("\n"), line):
        if one.strip():
            block.append(one)
        elif block:
            yield number - len(block), "\n".join(block)
            block = []
    if block:
        yield line + text.count("\n") + 1 - len(block), "\n".join(block)


def is_sbv(text: str) -> bool:
    """A line early in the text has the shape ``0:00:00.378,0:00:11.378``."""
    return any(_SBV_LINE.fullmatch(line) for line in text[:4000].split("\n"))


def parse_sbv(text: str) -> Parsed:
    """Cues under ``0:00:00.378,0:00:11.378``, blocks parted by empty lines."""
    parsed = Parsed("sbv")
    for line, block in _blocks(text, 1):
        times, _, payload = block.partition("\n")
        found = _SBV_LINE.fullmatch(times)
        if not found:
            parsed.dropped.append((line, "no_times", f"{block[:60]!r} has no times above it"))
            continue
        start_s, end_s = stamp_s(found[1]), stamp_s(found[2])
        if start_s is None or end_s is None:
            parsed.dropped.append(
                (line, "impossible_times", f"{times[:80]!r} is not a pair of times")
            )
        else:
            parsed.cues.append(Cue(start_s, end_s, payload, line))
    return parsed
