"""What all caption formats share: cues, rows for what was dropped or mended, stamps, and bytes as
text.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, field
from functools import lru_cache
from typing import NamedTuple

from sportskills_lib.formats.files import decode_bytes

Row = tuple[int, str, str]  # line (of JSON: item), counted from 1; reason; detail

UNTIL_NEXT = math.inf  # end of a cue whose file gives starts alone: it lasts until the next one

_STAMP = re.compile(r"(?:(\d{1,4}):)?(\d{1,2}):(\d{1,2})(?:[.,](\d{1,3})\d*)?", re.ASCII)
_CONTROL = re.compile("[\x00-\x08\x0e-\x1a\x1c-\x1f]")


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
