"""Negatives: which clips teach a learner's model what does *not* help, and which of them are left
out as too alike.

Kinds: random clips, clips of the sport's other skills, clips of the skill about another fault, and
those that the first stage ranks high. A negative that helps after all teaches the wrong thing, and
hard ones help more often; so two rules mask what is too alike the expert's comment: a ceiling, and
a margin below what the learner's own positives reach (positive-aware, after NV-Retriever, arXiv
2407.15831). Both look at a similarity that may be another than the one that chose the positives: a
second reader sees what the first one missed.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from sportskills_lib.config import RetrievalConfig

TOO_ALIKE = "masked: says much the same as the expert"
LIKE_POSITIVES = "masked: nearly as like the comment as the positives"
RANKED_LIKE_POSITIVES = "masked: the first stage ranks it with the positives"
SEVERAL = 5  # so many times the clips wanted are drawn, since some of them are masked


@dataclass(frozen=True)
class Masks:
    """When a negative is too alike. ``ceiling``: a cosine; above 1: none. ``against``: whose
    similarity counts.
    """

    ceiling: float = 2.0
    margin: float = 0.1
    against: Literal["none", "mean", "lowest"] = "none"

    @classmethod
    def of(cls, config: RetrievalConfig) -> Masks:
        """Those that a stage's config asks for."""
        return cls(config.mask_ceiling, config.mask_margin, config.mask_against)

    @property
    def any(self) -> bool:
        """Whether anything is masked at all."""
        return self.against != "none" or self.ceiling <= 1.0

    def above(self, alike: np.ndarray, positives: np.ndarray) -> np.ndarray:
        """bool [N]: which of ``alike`` [N] lie above the ``positives``' mean (or lowest) less the
        margin.
        """
        if self.against == "none" or not len(positives):
            return np.zeros(len(alike), bool)
        level = positives.mean() if self.against == "mean" else positives.min()
        return alike > level - self.margin

    def reasons(self, alike: np.ndarray, positives: np.ndarray) -> list[str]:
        """Why each of ``alike`` [N] is masked; "" where it is not."""
        near, much = self.above(alike, positives), alike >= self.ceiling
        return [
            TOO_ALIKE if high else LIKE_POSITIVES if close else ""
            for high, close in zip(much, near, strict=True)
        ]


@dataclass(frozen=True)
class NegativeChoice:
    """Places of clips in a pool: negatives, and what stood in their way with the reason."""

    rows: list[int]
    masked: list[tuple[int, str]]


def first_unmasked(places: np.ndarray, reasons: list[str], count: int) -> NegativeChoice:
    """The first ``count`` of ``places`` without a reason, and those masked on the way: a mask costs
    no negative.
    """
    kept: list[int] = []
    masked: list[tuple[int, str]] = []
    for place, reason in zip(places.tolist(), reasons, strict=True):
        if len(kept) == count:
            break
        if reason:
            masked.append((place, reason))
        else:
            kept.append(place)
    return NegativeChoice(sorted(kept), sorted(masked))


def mine(
    ranked: np.ndarray,
    alike: np.ndarray,
    positive: np.ndarray,
    closed: np.ndarray,
    masks: Masks,
    *,
    count: int,
    depth: int,
) -> NegativeChoice:
    """``count`` negatives from the first stage's ``depth`` best, the best first.

    ``ranked`` [N]: the first stage's scores of the learner's candidates; ``alike`` [N]: similarity
    to the comment;
    ``positive`` and ``closed`` bool [N]: clips that are positives, and others that may not be
    taken. The first stage's own scores are held to the margin as well, in deviations of the
    candidates' scores, so that it means the same for any first stage.
    """
    spread = float(ranked.std()) or 1.0
    order = np.argsort(-ranked, kind="stable")[:depth]
    order = order[~(positive | closed)[order]]
    reasons = masks.reasons(alike[order], alike[positive])
    high = masks.above(ranked[order] / spread, ranked[positive] / spread)
    both = [
        said or (RANKED_LIKE_POSITIVES if first else "")
        for said, first in zip(reasons, high, strict=True)
    ]
    return first_unmasked(order, both, count)


def thin(kinds: list[str], most: int, rng: np.random.Generator) -> list[int]:
    """Places of at most ``most`` negatives, as evenly over their ``kinds`` as there are; all, if
    they are no more.

    The rarest kind comes first, so that what it cannot fill is left to the others.
    """
    if len(kinds) <= most:
        return list(range(len(kinds)))
    by_kind = {
        kind: [place for place, one in enumerate(kinds) if one == kind]
        for kind in sorted(set(kinds))
    }
    chosen: list[int] = []
    groups = sorted(by_kind.values(), key=len)
    for done, places in enumerate(groups):
        share = -(-(most - len(chosen)) // (len(groups) - done))
        chosen += rng.permutation(places)[:share].tolist()
    return sorted(chosen)
