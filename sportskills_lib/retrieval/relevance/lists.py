"""Learners with their labelled candidates, the short lists that a step draws from them, and the
loss of a list.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np
import polars as pl

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True)
class Listing:
    """One learner's row of the visual tokens with its candidates' rows and labels."""

    learner: int
    clips: np.ndarray  # int64 [C]
    labels: np.ndarray  # float64 [C]
    kinds: np.ndarray  # str [C]: the reason of each row


def listings(supervision: pl.DataFrame, places: dict[str, int]) -> list[Listing]:
    """Learners with at least one positive and one negative, in order of their ids; the others teach
    nothing.
    """
    found = []
    for (learner_id,), rows in supervision.group_by("learner_id", maintain_order=True):
        labels = rows["label"].to_numpy()
        if (labels > 0).any() and (labels == 0).any():
            clips = np.array([places[clip_id] for clip_id in rows["clip_id"]], np.int64)
            found.append(Listing(places[str(learner_id)], clips, labels, rows["reason"].to_numpy()))
    return found


def draw_list(
    listing: Listing, rng: np.random.Generator, *, positives: int, size: int
) -> np.ndarray:
    """Places in ``listing`` for one step: some positives, then negatives dealt evenly over their
    kinds.
    """
    good = rng.permutation(np.flatnonzero(listing.labels > 0))[:positives]
    bad = rng.permutation(np.flatnonzero(listing.labels == 0))
    kinds = listing.kinds[bad]
    turn = np.zeros(len(bad), np.int64)
    for kind in np.unique(kinds):
        turn[kinds == kind] = np.arange((kinds == kind).sum())
    return np.concatenate([good, bad[np.argsort(turn, kind="stable")][: size - len(good)]])


def list_loss(
    scores: torch.Tensor, labels: Sequence[np.ndarray], kind: Literal["listwise", "pointwise"]
) -> torch.Tensor:
    """The mean loss over lists; ``scores`` holds the lists one after the other."""
    import torch

    losses = []
    for part, wanted in zip(scores.split([len(label) for label in labels]), labels, strict=True):
        target = torch.from_numpy(wanted).to(part.device, part.dtype)
        if kind == "listwise":
            losses.append(-(target / target.sum() * part.log_softmax(0)).sum())
        else:
            losses.append(torch.nn.functional.binary_cross_entropy_with_logits(part, target))
    return torch.stack(losses).mean()
