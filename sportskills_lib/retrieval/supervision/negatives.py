"""Negatives: which clips teach a learner's model what does *not* help, and which of them are left
out as too alike.

Kinds: random clips, clips of the sport's other skills, clips of the skill about another fault, and
those that the first stage ranks high. A negative that helps after all teaches the wrong thing, and
hard ones help more often; so what is nearly as like the expert's comment as the learner's own
positives is masked (positive-aware, after NV-Retriever, arXiv 2407.15831). The similarity that
masks may be another than the one that chose the positives: a second reader sees what the first one
missed.
"""

from __future__ import annotations

import numpy as np

from sportskills_lib.config import RetrievalConfig

LIKE_POSITIVES = "masked: nearly as like the comment as the positives"
RANKED_LIKE_POSITIVES = "masked: the first stage ranks it with the positives"

SEVERAL = 5  # so many times the clips wanted are drawn, since some of them are masked
# place of a clip in a pool, its label (0, or None for a masked one), and why it is masked, or ""
Choice = tuple[int, float | None, str]


def near_positives(alike: np.ndarray, positives: np.ndarray, config: RetrievalConfig) -> np.ndarray:
    """bool [N]: which of ``alike`` [N] lie above the mean of the ``positives`` less the config's
    margin; none without positives, or where nothing is to be masked.
    """
    if config.mask_against == "none" or not len(positives):
        return np.zeros(len(alike), bool)
    return alike > positives.mean() - config.mask_margin


def first_unmasked(places: np.ndarray, reasons: np.ndarray, count: int) -> list[Choice]:
    """The first ``count`` of ``places`` without a reason to mask them, and those masked on the way:
    a mask costs no negative.
    """
    free = reasons == ""
    reached = np.cumsum(free) - free < count  # how many free ones come before each place
    chosen = zip(places[reached].tolist(), reasons[reached].tolist(), strict=True)
    return [(place, None if reason else 0.0, reason) for place, reason in chosen]


def mine(
    ranked: np.ndarray,
    alike: np.ndarray,
    positive: np.ndarray,
    closed: np.ndarray,
    config: RetrievalConfig,
) -> list[Choice]:
    """``mined_negatives`` from the first stage's ``mined_depth`` best, as :func:`first_unmasked`.

    ``ranked`` [N]: the first stage's scores of the learner's candidates; ``alike`` [N]: similarity
    to the comment; ``positive`` and ``closed`` bool [N]: clips that are positives, and others that
    may not be taken. The first stage's own scores are held to the margin as well, in deviations of
    the candidates' scores, so that it means the same for any first stage.
    """
    spread = float(ranked.std()) or 1.0
    order = np.argsort(-ranked, kind="stable")[: config.mined_depth]
    order = order[~(positive | closed)[order]]
    near = near_positives(alike[order], alike[positive], config)
    high = near_positives(ranked[order] / spread, ranked[positive] / spread, config)
    reasons = np.select([near, high], [LIKE_POSITIVES, RANKED_LIKE_POSITIVES], "")
    return first_unmasked(order, reasons, config.mined_negatives)
