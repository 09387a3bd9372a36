"""Contrastive losses between clips and texts. Shapes: B pairs, D embedding; ``allowed_BB`` says
which pairs count.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import torch


def info_nce(
    clip_BD: torch.Tensor,
    text_BD: torch.Tensor,
    scale: torch.Tensor,
    group_B: torch.Tensor,
    allowed_BB: torch.Tensor | None = None,
) -> torch.Tensor:
    """Symmetric InfoNCE in which pairs with the same ``group`` (the same text) are positives of one
    another.

    With one text a sport, a batch holds many clips of the same text: counting them as negatives
    would punish the activity arms for what is right (multi-positive form as in Khosla et al.,
    SupCon, arXiv 2004.11362, L_out). With all texts distinct it is CLIP's loss. Features are
    normalised; ``scale`` is the inverse temperature. A pair that
    ``allowed_BB`` (bool) forbids is neither positive nor negative. Returns a scalar.
    """
    import torch.nn.functional as F

    logits_BB = scale * clip_BD @ text_BD.T
    target_BB = (group_B[:, None] == group_B[None, :]).float()
    if allowed_BB is not None:
        # finite, since cross_entropy multiplies the logit of a pair without weight by 0; e^-10000
        # is 0 all the same
        logits_BB = logits_BB.masked_fill(~allowed_BB, -1e4)
        target_BB = target_BB * allowed_BB
    target_BB = target_BB / target_BB.sum(1, keepdim=True)
    return (F.cross_entropy(logits_BB, target_BB) + F.cross_entropy(logits_BB.T, target_BB.T)) / 2


def siglip(
    clip_BD: torch.Tensor,
    text_BD: torch.Tensor,
    scale: torch.Tensor,
    bias: torch.Tensor,
    group_B: torch.Tensor,
    allowed_BB: torch.Tensor | None = None,
) -> torch.Tensor:
    """Sigmoid loss (Zhai et al., SigLIP, arXiv 2303.15343): every pair is a yes/no question; same
    ``group``: yes.

    Divided by B as in the paper, so that the learning rate carries over. Returns a scalar.
    """
    import torch.nn.functional as F

    logits_BB = scale * clip_BD @ text_BD.T + bias
    sign_BB = 2.0 * (group_B[:, None] == group_B[None, :]).float() - 1.0
    losses_BB = -F.logsigmoid(sign_BB * logits_BB)
    if allowed_BB is not None:
        losses_BB = losses_BB * allowed_BB
    return losses_BB.sum() / len(clip_BD)


def allowed_pairs(
    group_B: np.ndarray,
    *,
    video_B: np.ndarray | None = None,
    kind_B: np.ndarray | None = None,
    text_BD: np.ndarray | None = None,
    ceiling: float = 1.0,
) -> np.ndarray:
    """Which pairs of a batch may be negatives: bool [B, B]; positives (same ``group``) are always
    allowed.

    Probably false negatives are left out: clips of one ``video``, clips of one ``kind`` (for
    example skill and words, where those are known), and texts whose cosine similarity (``text_BD``,
    normalised) exceeds ``ceiling``.
    """
    positive_BB = group_B[:, None] == group_B[None, :]
    forbidden_BB = np.zeros_like(positive_BB)
    for label_B in (video_B, kind_B):
        if label_B is not None:
            forbidden_BB |= label_B[:, None] == label_B[None, :]
    if text_BD is not None:
        forbidden_BB |= text_BD @ text_BD.T > ceiling
    return positive_BB | ~forbidden_BB


def not_above_positive(clip_BD: torch.Tensor, text_BD: torch.Tensor, margin: float) -> torch.Tensor:
    """Pairs that are not more alike than the positives of both their clip and their text by
    ``margin``: bool [B, B].

    A "negative" that scores so high is probably none. Judged by the embeddings of now, without
    gradient; a step's own pairs are always in. As Qwen3-VL-Embedding does with 0.1, there for the
    query's positive alone.
    """
    import torch

    alike_BB = clip_BD.detach() @ text_BD.detach().T
    own_B = alike_BB.diagonal()
    return alike_BB <= torch.maximum(own_B[:, None], own_B[None, :]) + margin
