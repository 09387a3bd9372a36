"""What a judge of demonstrations is shown and what it answers, whichever judge it is.

A judge gives each window three probabilities: a correct demonstration, an incorrect one, none.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
import polars as pl

from sportskills_lib.tables import DEMONSTRATIONS


@dataclass(frozen=True)
class Evidence:
    """One window: what is said over it, whether stage 01 takes that for teaching, what moves, and
    frames if kept.
    """

    clip_id: str
    text: str
    teaches: bool
    moved: float  # share of the picture that something moves across
    topic: str = ""  # sport and skill, from the search that found the video
    frames: np.ndarray | None = field(default=None, repr=False)  # uint8 [T, S, S, 3]


class Judge(Protocol):
    """Rules, a vision-language model, or a served one."""

    name: str  # what ``verifier`` says in the tables: the judge and its version or model

    def probabilities(self, items: Sequence[Evidence]) -> np.ndarray:
        """float64 [N, 3] in the order of ``DEMONSTRATIONS``; a row of NaN where the judge gave no
        answer.
        """


def decide(probabilities: np.ndarray, *, min_confidence: float) -> pl.DataFrame:
    """The answers for [N, 3] probabilities: demonstration, score, p_correct, p_incorrect, p_none,
    undecided.

    The answer is the likeliest; ``score`` is its probability; below ``min_confidence`` it is marked
    as undecided, and so is a window without an answer (none, with null probabilities).
    """
    known = np.isfinite(probabilities).all(axis=1)
    stated = np.where(known[:, None], probabilities, np.nan)
    best = np.where(known[:, None], probabilities, [0.0, 0.0, 1.0]).argmax(axis=1)
    score = stated.max(axis=1)
    numbers = {"score": score}
    numbers |= {f"p_{name}": stated[:, place] for place, name in enumerate(DEMONSTRATIONS)}
    return (
        pl.DataFrame({name: values.round(4) for name, values in numbers.items()})
        .fill_nan(None)
        .select(
            pl.Series("demonstration", [DEMONSTRATIONS[i] for i in best], dtype=pl.String),
            pl.all(),
            pl.Series("undecided", ~(score >= min_confidence)),
        )
    )
