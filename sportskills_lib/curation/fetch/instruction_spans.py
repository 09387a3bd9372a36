"""Which spans of a video are worth asking for, from its captions alone; and captions cut to such a
span.

A span holds sentences that the judge takes for instruction, with what stands just before and after
them: pictures lag behind words or run ahead of them by seconds. Lead, tail and the gap that joins
two spans are our choice.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from sportskills_lib.curation.captions.caption_formats import parse_arrows
from sportskills_lib.curation.captions.cues import INLINE_TIME, format_stamp, stamp_s
from sportskills_lib.curation.sentences import Sentence

Span = tuple[float, float]

LEAD_S, TAIL_S, JOIN_S = 4.0, 8.0, 10.0


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

    def moved(tag: re.Match[str]) -> str:
        """An inline time tag on the span's clock; none where the word is said outside of it."""
        at_s = stamp_s(tag[1])
        if at_s is None or not start_s <= at_s <= end_s:
            return ""
        return f"<{format_stamp(at_s - start_s)}>"

    kept = ["WEBVTT\n"]
    for cue in parse_arrows(text).cues:
        if cue.end_s > start_s and cue.start_s < end_s:
            first, last = max(cue.start_s, start_s) - start_s, min(cue.end_s, end_s) - start_s
            times = f"{format_stamp(first)} --> {format_stamp(last)}"
            kept.append(f"{times}\n{INLINE_TIME.sub(moved, cue.text)}\n")
    return "\n".join(kept)
