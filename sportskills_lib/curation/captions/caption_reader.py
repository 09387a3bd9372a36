"""Which caption file of a video is read, and how: a file of any known format as timed words, with
what was dropped or mended.

Guarantee: any bytes give words (in order of time, each said once) and rows for what was not usable;
nothing here raises but OSError, when the file cannot be opened. The format is known by the text
(``SIGNS``), not by the file's name, which only decides where the text leaves it open: strangers
name files as they like.

A new format is a function from text to :class:`~.cues.Parsed` and a line in ``READERS``; a line in
``SIGNS`` as well, if files of other names hold it.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

from sportskills_lib.curation.captions.caption_formats import (
    SBV_LINE,
    parse_arrows,
    parse_json,
    parse_sbv,
    parse_transcript,
)
from sportskills_lib.curation.captions.cues import (
    UNTIL_NEXT,
    CaptionWord,
    Cue,
    Parsed,
    Row,
    decode,
    held_s,
    is_rolling,
    plain,
    to_words,
)

READERS: dict[str, Callable[[str], Parsed]] = {  # of a video's files, the first is preferred
    ".vtt": parse_arrows,
    ".srt": parse_arrows,
    ".sbv": parse_sbv,
    ".json3": parse_json,
    ".json": parse_json,
    ".md": parse_transcript,
    ".txt": parse_transcript,
}
SIGNS = (  # the first that a text has tells its format
    (re.compile(r"\AWEBVTT"), ".vtt"),
    (re.compile(r"\A\s*[{\[]\s*[{\[\"]"), ".json"),
    (re.compile(r"^[ \t]*[\d:.,]+[ \t]*-->", re.ASCII | re.MULTILINE), ".srt"),
    (SBV_LINE, ".sbv"),
)
_XML = re.compile(r"\s*<(?:\?xml|tt\b|timedtext|transcript)")
_LANGUAGE = re.compile(r"[A-Za-z]{2,3}(?:[-_][A-Za-z0-9_-]+)?")
LARGEST_BYTES = 32 * 2**20  # a longer file is no caption of one video
OVERLAPPING_SHARE = (
    0.5  # where more cues than this run into the next, their ends tell nothing of pauses
)
SLACK_S = 2.0  # a transcript's announced duration is rounded


@dataclass(frozen=True)
class Captions:
    """What a caption file says.

    ``dropped`` holds (line, reason, detail) for each cue or paragraph left out, ``mended`` likewise
    what was read although it was wrong; ``automatic``: a machine heard it, as its form or the file
    itself tells.
    """

    words: tuple[CaptionWord, ...]
    dropped: tuple[Row, ...]
    mended: tuple[Row, ...]
    automatic: bool


def same_language(one: str, other: str) -> bool:
    """Whether two codes name the same language, whatever their regions."""
    return re.split("[-_]", one.lower())[0] == re.split("[-_]", other.lower())[0]


def captions_by_video(folder: Path) -> dict[str, list[Path]]:
    """The caption files in a folder by the name of the video, without its suffix, that they belong
    to: ``<name>.<suffix>`` or ``<name>.<language>.<suffix>``.
    """
    found: dict[str, list[Path]] = {}
    for path in sorted(folder.iterdir()):
        if path.suffix.lower() in READERS:
            found.setdefault(path.stem, []).append(path)
            if _language(path):
                found.setdefault(path.with_suffix("").stem, []).append(path)
    return found


def choose_captions(
    files: list[Path], info: dict[str, Any], language: str
) -> tuple[Path | None, bool]:
    """The file to read, None when none is in ``language``, and whether a person made it.

    The order: what a person made (by the video's sidecar ``info``) comes before what a machine
    heard; then the very language that is asked for before its relatives (``en`` before ``en-GB``),
    and a file that names no language last; then the format, in the order of ``READERS``; then the
    name. One file is read, never a mixture.
    """
    made, heard = (
        info[name] if isinstance(info.get(name), dict) else {}
        for name in ("subtitles", "automatic_captions")
    )
    found = []
    for path in files:
        code = _language(path)
        if code is None or same_language(code, language):
            manual = code in made or code not in heard
            kind = list(READERS).index(path.suffix.lower())
            order = (not manual, code is None, code != language, kind, path.name)
            found.append((order, path, manual))
    return min(found)[1:] if found else (None, False)


def _language(path: Path) -> str | None:
    """The language in ``<name>.<language>.<suffix>``; None where the name tells none."""
    code = path.with_suffix("").suffix.removeprefix(".")
    return code if _LANGUAGE.fullmatch(code) else None


def read_captions(path: Path, *, duration_s: float | None = None) -> Captions:
    """The captions in a file; cues outside a video of ``duration_s`` are dropped. OSError when it
    cannot be opened.
    """
    return _finish(read_cues(path), duration_s)


def parse_captions(text: str, *, suffix: str = "", duration_s: float | None = None) -> Captions:
    """The same for text in memory; ``suffix`` is that of the file that it comes from."""
    return _finish(_parse(text, suffix), duration_s)


def read_cues(path: Path) -> Parsed:
    """The cues in a file as they stand there, before times are checked and rolling lines
    collapsed.
    """
    if (size := path.stat().st_size) > LARGEST_BYTES:
        return Parsed(dropped=[(1, "too_large", f"{size} bytes are no captions of one video")])
    text, mended = decode(path.read_bytes())
    parsed = _parse(text, path.suffix.lower())
    parsed.mended[:0] = mended
    return parsed


def _parse(text: str, suffix: str) -> Parsed:
    if not text.strip():
        return Parsed(dropped=[(1, "empty_file", "the file contains no text")])
    if _XML.match(text):
        detail = "captions in XML are not read: ask yt-dlp for --sub-format vtt"
        return Parsed(dropped=[(1, "unknown_format", detail)])
    kind = next((kind for sign, kind in SIGNS if sign.search(text)), suffix)
    return READERS.get(kind, parse_transcript)(text)


def _finish(parsed: Parsed, duration_s: float | None) -> Captions:
    """Words of the parsed cues, after their times are checked."""
    dropped, mended = list(parsed.dropped), list(parsed.mended)
    limit_s = parsed.duration_s + SLACK_S if duration_s is None else duration_s
    kept: list[Cue] = []
    for cue in parsed.cues:
        row = _problem(cue, limit_s)
        if row:
            dropped.append(row)
        # sounds clear the screen that rolling lines stand on
        if row is None or row[1] == "only_sounds":
            kept.append(cue)
    if any(a.start_s > b.start_s for a, b in pairwise(kept)):
        mended.append((kept[0].line, "out_of_order", "cues do not stand in order of time: sorted"))
        kept.sort(key=lambda cue: cue.start_s)
    rolling, spoken = parsed.may_roll and is_rolling(kept), False
    if not rolling:
        kept, spoken = _untangle(kept, dropped, mended)
    kept = [cue._replace(end_s=min(cue.end_s, limit_s)) for cue in kept]
    words = to_words(kept, rolling=rolling, spoken=spoken)
    if not words and not dropped:
        dropped.append((1, "no_words", "the file contains no caption text"))
    dropped.sort()
    return Captions(tuple(words), tuple(dropped), tuple(mended), rolling or parsed.automatic)


def _problem(cue: Cue, limit_s: float) -> Row | None:
    span = f"{cue.start_s:.3f} s to {cue.end_s:.3f} s"
    if cue.end_s <= cue.start_s:
        return cue.line, "impossible_times", f"the cue runs from {span}"
    if cue.start_s >= limit_s:
        return (
            cue.line,
            "outside_video",
            f"the cue runs from {span}, but the video lasts {limit_s:.3f} s",
        )
    if not cue.text or cue.text.isspace():
        return cue.line, "empty_cue", f"no text from {span}"
    if not any(map(str.isalnum, cue.text)):
        return cue.line, "no_words", f"{cue.text.strip()[:60]!r} has no letter"
    if ("[" in cue.text or "(" in cue.text or "<" in cue.text) and not plain(cue.text):
        return cue.line, "only_sounds", f"{cue.text.strip()[:60]!r} contains no speech"
    return None


def _untangle(cues: list[Cue], dropped: list[Row], mended: list[Row]) -> tuple[list[Cue], bool]:
    """Cues one after another, and whether their ends are unknown.

    The same cue again is dropped; cues that begin together become one; a cue that runs into the
    next ends there. Where most do (automatic captions keep a line on the screen while the next one
    is said), or where the file gives no ends, a cue lasts as long as its words do when said slowly.
    """
    joined: list[Cue] = []
    for cue in cues:
        before = joined[-1] if joined else None
        if before is None or cue.start_s > before.start_s:
            joined.append(cue)
        elif cue.text in before.text.split("\n") or cue.text == before.text:
            dropped.append((cue.line, "repeated_cue", f"{cue.text[:60]!r} repeats an earlier cue"))
        else:
            pieces = (*before.pieces, *cue.pieces) if before.pieces and cue.pieces else ()
            joined[-1] = before._replace(
                end_s=max(before.end_s, cue.end_s), text=f"{before.text}\n{cue.text}", pieces=pieces
            )
    over = [a for a, b in pairwise(joined) if a.end_s > b.start_s and not math.isinf(a.end_s)]
    if over:
        detail = f"{len(over)} of {len(joined)} cues run into the next: cut there"
        mended.append((over[0].line, "overlap", detail))
    open_ended = any(math.isinf(cue.end_s) for cue in joined)
    spoken = open_ended or len(over) > OVERLAPPING_SHARE * len(joined)
    next_starts_s = [*(cue.start_s for cue in joined[1:]), UNTIL_NEXT][: len(joined)]
    cut = []
    for cue, next_s in zip(joined, next_starts_s, strict=True):
        unknown = math.isinf(cue.end_s) or (spoken and not cue.pieces)
        longest_s = max(held_s(plain(cue.text)), 0.001) if unknown else UNTIL_NEXT
        cut.append(cue._replace(end_s=min(cue.end_s, next_s, cue.start_s + longest_s)))
    return cut, spoken
