"""Choosing among few, in closed form: how likely is it that the right one wins, over all ways to draw the others?

Drawing one set of wrong answers for each question adds noise that is no part of the model. The chance that the right
answer scores highest needs only the share of wrong answers below it and level with it; ties are decided by lot.
Legend: I items, J groups of wrong answers.
"""

from __future__ import annotations

import json
import math
import zlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]
_NODES, _WEIGHTS = np.polynomial.legendre.leggauss(8)  # exact up to degree 15: for up to 15 wrong answers


def one_of_each(below_IJ: ArrayLike, level_IJ: ArrayLike) -> Floats:
    """P(the right answer wins) when one wrong answer is drawn from each group, [I].

    ``below``: the share of a group that scores below the right answer, ``level``: as high. With T ties the lot decides,
    1 / (1 + T); its mean is the integral of the product of (below + level x) over x from 0 to 1.
    """
    below, level = np.asarray(below_IJ, dtype=np.float64), np.asarray(level_IJ, dtype=np.float64)
    if below.shape[1] > 15:
        raise ValueError(f"{below.shape[1]} groups of wrong answers: the closed form is exact for up to 15")
    x = (_NODES + 1) / 2
    return (below[:, :, None] + level[:, :, None] * x).prod(axis=1) @ (_WEIGHTS / 2)


def some_of_all(below_I: ArrayLike, level_I: ArrayLike, n_I: ArrayLike, *, wrong: int = 4) -> Floats:
    """P(the right answer wins) when ``wrong`` answers are drawn from ``n`` without replacement, [I].

    ``below`` and ``level`` are counts here; NaN where there are fewer than ``wrong``.
    """
    below, level, n = (np.asarray(a, dtype=np.int64) for a in (below_I, level_I, n_I))
    found = np.zeros(below.shape)
    for ties in range(wrong + 1):
        ways = [math.comb(int(e), ties) * math.comb(int(b), wrong - ties) for b, e in zip(below, level, strict=True)]
        found += np.array(ways, dtype=np.float64) / (1 + ties)
    all_ways = np.array([math.comb(int(size), wrong) for size in n], dtype=np.float64)
    return np.divide(found, all_ways, out=np.full(found.shape, np.nan), where=all_ways > 0)


def chosen_right(similarities_IA: ArrayLike, answers_I: ArrayLike) -> Floats:
    """Whether the answer scores highest among the alternatives, [I]; ties by lot: 1 / (number that share the top)."""
    scores, answers = np.asarray(similarities_IA, dtype=np.float64), np.asarray(answers_I, dtype=np.int64)
    if np.isnan(scores).any():
        raise ValueError("a similarity is NaN: a model that diverged cannot choose")
    own, top = scores[np.arange(len(scores)), answers], scores.max(axis=1)
    return np.where(own == top, 1.0 / (scores == top[:, None]).sum(axis=1), 0.0)


@dataclass(frozen=True)
class ExActItem:
    """One question of ExAct: which of five expert comments belongs to this clip?"""

    item_id: str
    file_name: str
    domain: str
    take_name: str
    good: bool  # a comment on good execution, else a tip for improvement
    options: tuple[str, ...]
    answer: int  # place of the right comment among the options


def read_exact(path: str | Path) -> list[ExActItem]:
    """The items of ExAct's metadata.jsonl; ValueError names a line without the fields, or without 4 other comments.

    The right comment's place among the options follows from the item's id, so that it is the same in every run. To
    score: embed each clip and its options, and give the similarities to :func:`chosen_right`; group by ``take_name``
    for intervals. Ego-Exo4D's takes: its splits must be respected.
    """
    items = []
    for number, line in enumerate(Path(path).read_text(encoding="utf-8").splitlines(), start=1):
        if not line.strip():
            continue
        row = json.loads(line)
        missing = [name for name in ("file_name", "id", "domain", "is_ge", "groundTruth", "negative_comments")
                   if name not in row]  # fmt: skip
        if missing or len(row["negative_comments"]) != 4:
            told = (
                f"no {', '.join(missing)}" if missing else f"{len(row['negative_comments'])} negative_comments, not 4"
            )
            raise ValueError(f"{path}, line {number}: {told}: give ExAct's metadata.jsonl as it was published")
        answer = zlib.crc32(str(row["id"]).encode()) % 5
        options = [str(text) for text in row["negative_comments"]]
        options.insert(answer, str(row["groundTruth"]))
        take, good = str(row.get("take_name", row["id"])), str(row["is_ge"]).lower() in ("true", "1", "1.0")
        items.append(ExActItem(str(row["id"]), row["file_name"], row["domain"], take, good, tuple(options), answer))
    return items
