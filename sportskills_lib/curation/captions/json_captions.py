"""Captions in JSON: YouTube's json3, and lists of segments as transcript tools and speech
recognisers write them.
"""

from __future__ import annotations

import json
import math
from typing import Any

from sportskills_lib.curation.captions.cues import UNTIL_NEXT, Cue, Parsed
from sportskills_lib.formats.untrusted_json import LONGEST_S, seconds

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
