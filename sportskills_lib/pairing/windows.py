"""Which span of a video goes with which sentence.

A window follows its sentence, moved by the video's own lag between words and pictures, and snapped
to the shot that the sentence is said over. A short shot is taken whole; in a long one the window
runs around the sentence, never into the next one's.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

LAG_STEP_S = 0.05
EQUAL_FIT = 0.003  # of two lags that fit so alike, the smaller is taken
TAUGHT_SHARE = 0.5  # of what is said over a shot: from here on the whole shot is one window
LEAD_S, TAIL_S = 0.3, 2.0  # how far a window in a long shot reaches beyond its sentence
MIN_EVIDENCE = 3  # sentences and cuts that it takes to tell a lag


@dataclass(frozen=True)
class TimedSentence:
    """A sentence on the video's clock. ``kind`` is what it says of the picture: correct, incorrect,
    or none.
    """

    narration_id: str
    start_s: float
    end_s: float
    kind: str


@dataclass(frozen=True)
class Window:
    """A span and the sentences that go with it, all of one ``kind``."""

    start_s: float
    end_s: float
    narration_ids: tuple[str, ...]
    kind: str


def make_shots(
    cuts_s: Sequence[tuple[float, float]], duration_s: float
) -> list[tuple[float, float]]:
    """Shots of the video, from the ends of the shots before the cuts and the starts of those after
    them.

    The two are one time at a hard cut; what lies between them (a dissolve) belongs to no shot.
    """
    inside = [(end, start) for end, start in cuts_s if 0 < end <= start < duration_s]
    starts, ends = [0.0, *(start for _, start in inside)], [*(end for end, _ in inside), duration_s]
    return [(start, end) for start, end in zip(starts, ends, strict=True) if end > start]


def estimate_lag(
    sentences: list[TimedSentence], shots: list[tuple[float, float]], *, max_lag_s: float
) -> float:
    """Seconds to add to caption times so that sentences fall inside shots; the smallest that does
    about best.

    0 where the video has too few sentences or cuts to tell. A lesson's lag is one number, since
    captions are made in one go.
    """
    if len(sentences) < MIN_EVIDENCE or len(shots) <= MIN_EVIDENCE:
        return 0.0
    starts = np.array([said.start_s for said in sentences])
    ends = np.array([said.end_s for said in sentences])
    first, last = np.array([shot[0] for shot in shots]), np.array([shot[1] for shot in shots])
    steps = round(max_lag_s / LAG_STEP_S)
    lags = sorted(
        (k * LAG_STEP_S for k in range(-steps, steps + 1)), key=lambda lag: (abs(lag), lag)
    )
    fits = []
    for lag in lags:
        both_end = np.minimum((ends + lag)[:, None], last)
        overlap_s = both_end - np.maximum((starts + lag)[:, None], first)
        fits.append(float((np.clip(overlap_s, 0, None).max(axis=1) / (ends - starts)).mean()))
    return next(lag for lag, fit in zip(lags, fits, strict=True) if fit >= max(fits) - EQUAL_FIT)


def make_windows(
    sentences: list[TimedSentence],
    shots: list[tuple[float, float]],
    *,
    lag_s: float,
    min_clip_s: float,
    max_clip_s: float,
) -> tuple[list[Window], list[tuple[TimedSentence, str]]]:
    """Windows in order of time, and the sentences that got none, with the reason (too_short,
    outside_video).
    """
    windows, lost = list[Window](), list[tuple[TimedSentence, str]]()
    for shot, inside in _by_shot(sentences, shots, lag_s):
        if shot is None:
            lost += [(said, "outside_video") for said in inside]
            continue
        for window in _shot_windows(inside, shot, lag_s, max_clip_s):
            if window.end_s - window.start_s < min_clip_s:
                lost += [
                    (said, "too_short")
                    for said in inside
                    if said.narration_id in window.narration_ids
                ]
            else:
                windows.append(window)
    return sorted(windows, key=lambda window: (window.start_s, window.end_s)), lost


def _by_shot(
    sentences: list[TimedSentence], shots: list[tuple[float, float]], lag_s: float
) -> list[tuple[tuple[float, float] | None, list[TimedSentence]]]:
    """Each sentence with the shot that it overlaps most."""
    found: dict[int | None, list[TimedSentence]] = {}
    for said in sorted(sentences, key=lambda said: (said.start_s, said.end_s)):
        overlaps = [
            min(said.end_s + lag_s, end) - max(said.start_s + lag_s, start) for start, end in shots
        ]
        best = int(np.argmax(overlaps))
        found.setdefault(best if overlaps[best] > 0 else None, []).append(said)
    return [(None if index is None else shots[index], inside) for index, inside in found.items()]


def _shot_windows(
    inside: list[TimedSentence], shot: tuple[float, float], lag_s: float, max_clip_s: float
) -> list[Window]:
    """Windows of the sentences said over one shot."""
    start_s, end_s = shot
    teaching = [said for said in inside if said.kind != "none"]
    spoken_s = sum(said.end_s - said.start_s for said in inside)
    taught_s = sum(said.end_s - said.start_s for said in teaching)
    kinds = {said.kind for said in teaching} or {"none"}
    if (
        end_s - start_s <= max_clip_s
        and len(kinds) == 1
        and (not teaching or taught_s >= TAUGHT_SHARE * spoken_s)
    ):
        names = tuple(said.narration_id for said in (teaching or inside))
        idle = [_window([said], shot, lag_s) for said in inside if teaching and said.kind == "none"]
        return [
            Window(start_s, end_s, names, kinds.pop()),
            *[window for window in idle if window.end_s - window.start_s > 0],
        ]
    windows = []
    for i, said in enumerate(inside):
        low, high = start_s, end_s
        if i:
            low = max(low, (inside[i - 1].end_s + said.start_s) / 2 + lag_s)
        if i + 1 < len(inside):
            high = min(high, max(said.end_s, inside[i + 1].start_s - LEAD_S) + lag_s)
        begin = max(low, said.start_s + lag_s - LEAD_S)
        end = min(high, said.end_s + lag_s + TAIL_S, begin + max_clip_s)
        windows.append(Window(begin, max(begin, end), (said.narration_id,), said.kind))
    return windows


def _window(group: list[TimedSentence], shot: tuple[float, float], lag_s: float) -> Window:
    """The span of the words themselves, inside their shot."""
    begin = max(shot[0], group[0].start_s + lag_s)
    return Window(
        begin,
        max(begin, min(shot[1], group[-1].end_s + lag_s)),
        tuple(s.narration_id for s in group),
        "none",
    )
