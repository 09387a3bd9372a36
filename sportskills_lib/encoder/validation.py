"""Validation while training: how well each sport's clips are found by their narrations, and the
arm's own loss.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl

from sportskills_lib import metrics, models
from sportskills_lib.encoder.losses import info_nce
from sportskills_lib.encoder.train_step import clip_embeddings
from sportskills_lib.training.distributed import ProcessGroup

SCORES = ("val_loss", "val_recall", "val_mrr")


@dataclass(frozen=True)
class ClipData:
    """What training and validation need, in the order of ``clips``: frames uint8 [N, T, H, W, 3]
    and narrations.
    """

    clips: pl.DataFrame  # clip_id, video_id, sport, skill, split, text (the clip's own narration)
    frames_path: str  # opened as a memory map: nothing is copied between processes
    sports: tuple[str, ...] = ()  # the sports that are trained on; empty: all

    def frames(self) -> np.ndarray:
        """The frames of all clips, mapped from disk."""
        return np.load(self.frames_path, mmap_mode="r")

    def rows(self, split: str) -> np.ndarray:
        """Row numbers of the clips of a split; of ``train`` only those of ``sports``."""
        chosen = pl.col("split").cast(pl.String) == split
        if split == "train" and self.sports:
            chosen &= pl.col("sport").is_in(self.sports)
        return np.flatnonzero(self.clips.select(chosen).to_series().to_numpy())


def encode_clips(
    tower: models.Tower, clips: np.ndarray, group: ProcessGroup, *, batch: int = 64
) -> np.ndarray:
    """float32 [N, D] of frames or kept frame features, shared among the processes."""
    import torch

    share, rows = group.share(len(clips)), [np.zeros((0, tower.width), np.float32)]
    tower.module.eval()
    with torch.inference_mode(), group.autocast():
        for start in range(share.start, share.stop, batch):
            part = torch.from_numpy(np.array(clips[start : min(start + batch, share.stop)]))
            rows.append(clip_embeddings(tower, part).float().cpu().numpy())
    return _joined(np.concatenate(rows), len(clips), tower, group)


def encode_texts(tower: models.Tower, texts: list[str], group: ProcessGroup) -> np.ndarray:
    """float32 [N, D] of texts, shared among the processes."""
    with group.autocast():
        own = tower.encode_texts(texts[group.share(len(texts))])
    return _joined(own, len(texts), tower, group)


def _joined(own: np.ndarray, count: int, tower: models.Tower, group: ProcessGroup) -> np.ndarray:
    import torch

    if group.size == 1:
        return own
    return group.gather(torch.from_numpy(own).to(tower.device), count).cpu().numpy()


def validate(
    tower: models.Tower,
    material: ClipData,
    rows: np.ndarray,
    clips: np.ndarray,
    texts: list[str],
    groups: np.ndarray,
    group: ProcessGroup,
) -> list[dict[str, Any]]:
    """Scores of the clips ``rows``, a row a sport: sport, clips, val_loss, val_recall and val_mrr.

    ``clips``: frames or features of all of the material. val_loss is the contrastive loss within
    the sport on the arm's own ``texts`` (its ``groups`` are positives of one another): comparable
    between learning rates of one arm. Recall@k and mean reciprocal rank ask with the narrations:
    comparable between arms.
    """
    import torch

    told = material.clips[rows]
    clip_ND = encode_clips(tower, clips[rows], group)
    said_ND = encode_texts(tower, told["text"].to_list(), group)
    group_N = torch.from_numpy(groups[rows])
    own_ND = encode_texts(tower, [texts[i] for i in rows], group)
    scale = tower.model.logit_scale.detach().exp().clamp(max=100).cpu()
    sports, scores = told["sport"].to_numpy(), list[dict[str, Any]]()
    for sport in np.unique(sports):
        here = np.flatnonzero(sports == sport)
        loss = info_nce(
            torch.from_numpy(clip_ND[here]), torch.from_numpy(own_ND[here]), scale, group_N[here]
        )
        rank = metrics.positive_ranks(said_ND[here] @ clip_ND[here].T, np.arange(len(here)))
        scores.append(
            {
                "sport": str(sport),
                "clips": len(here),
                "val_loss": float(loss),
                "val_recall": float(np.mean(rank <= metrics.HEADLINE_K)),
                "val_mrr": float(np.mean(1.0 / rank)),
            }
        )
    return scores


def mean_over_sports(scores: list[dict[str, Any]]) -> dict[str, float]:
    """val_loss, val_recall and val_mrr, each the mean over sports; NaN without any."""
    return {
        name: float(np.mean([row[name] for row in scores])) if scores else float("nan")
        for name in SCORES
    }
