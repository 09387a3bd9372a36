"""Which spans of a video are worth asking for, from its captions alone; and captions cut to such a
span.

A span holds sentences that the judge takes for instruction, with what stands just before and after
them: pictures lag behind words or run ahead of them by seconds. Lead, tail and the gap that joins
two spans are our choice.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

from sportskills_lib.curation.captions.cues import format_stamp, stamp_s
from sportskills_lib.curation.rules_judge import judge_sentence
from sportskills_lib.curation.sentences import Sentence

Judge = Callable[
    [Sequence[str], str], list[bool | None]
]  # sentences in order, topic -> verdicts, None: undecided
Span = tuple[float, float]

LEAD_S, TAIL_S, JOIN_S = 4.0, 8.0, 10.0
_STAMP = r"(?:\d{1,4}:)?\d{1,2}:\d{2}[.,]\d{3}"
_TIMING = re.compile(rf"^\s*({_STAMP})\s*-->\s*({_STAMP})(.*)$")
_INLINE = re.compile(rf"<({_STAMP})>")


def judge_by_rules(texts: Sequence[str], topic: str) -> list[bool | None]:
    """The rules' verdicts, which cost nothing."""
    return [judge_sentence(text, topic=topic).actionable for text in texts]


def find_instruction_spans(
    sentences: Sequence[Sentence], verdicts: Sequence[bool | None], *, duration_s: float
) -> list[Span]:
    """Spans in seconds, in order and apart from each other, around all sentences that are not known
    to be idle talk.
    """
    spans: list[Span] = []
    for sentence, verdict in zip(sentences, verdicts, strict=True):
        if verdict is False:
            continue
        start_s = max(0.0, sentence.start_s - LEAD_S)
        end_s = min(duration_s, sentence.end_s + TAIL_S)
        if spans and start_s - spans[-1][1] < JOIN_S:
            spans[-1] = (spans[-1][0], max(spans[-1][1], end_s))
        elif end_s > start_s:
            spans.append((start_s, end_s))
    return [(round(start_s, 3), round(end_s, 3)) for start_s, end_s in spans]


def cut_webvtt(text: str, start_s: float, end_s: float) -> str:
    """The captions of a span, times counted from its start; cues over its ends are trimmed, their
    words kept.
    """
    kept = ["WEBVTT", ""]
    lines = re.sub(r"\r\n?", "\n", text).split("\n")
    number = 0
    while number < len(lines):
        found = _TIMING.match(lines[number])
        number += 1
        if not found:
            continue
        first, last = stamp_s(found[1]), stamp_s(found[2])
        payload = []
        while number < len(lines) and lines[number].strip("\n") != "":
            payload.append(lines[number])
            number += 1
        if first is None or last is None or last <= start_s or first >= end_s:
            continue
        begin, end = max(first, start_s) - start_s, min(last, end_s) - start_s
        kept.append(f"{format_stamp(begin)} --> {format_stamp(end)}{found[3]}")
        kept += [_INLINE.sub(lambda tag: _moved(tag, start_s, end_s), line) for line in payload]
        kept.append("")
    return "\n".join(kept)


def _moved(tag: re.Match[str], start_s: float, end_s: float) -> str:
    """An inline time tag on the span's clock; none where the word is said outside of it."""
    at_s = stamp_s(tag[1])
    if at_s is None or not start_s <= at_s <= end_s:
        return ""
    return f"<{format_stamp(at_s - start_s)}>"
