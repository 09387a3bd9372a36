"""Contrastive losses between clips and texts. Shapes: B pairs, D embedding."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch


def info_nce(clip_BD: torch.Tensor, text_BD: torch.Tensor, scale: torch.Tensor, group_B: torch.Tensor) -> torch.Tensor:
    """Symmetric InfoNCE in which pairs with the same ``group`` (the same text) are positives of one another.

    With one text a sport, a batch holds many clips of the same text: counting them as negatives would punish the
    activity arms for what is right (multi-positive form as in Khosla et al., SupCon, arXiv 2004.11362, L_out). With all
    texts distinct it is CLIP's loss. Features are normalised; ``scale`` is the inverse temperature. Returns a scalar.
    """
    import torch.nn.functional as F

    logits_BB = scale * clip_BD @ text_BD.T
    target_BB = (group_B[:, None] == group_B[None, :]).float()
    target_BB = target_BB / target_BB.sum(1, keepdim=True)
    return (F.cross_entropy(logits_BB, target_BB) + F.cross_entropy(logits_BB.T, target_BB)) / 2
