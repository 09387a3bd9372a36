"""Train one arm from the common start: contrastive steps, validation recall on the way, the last weights kept.

Every arm gets the same clips, batches, steps and loss; only the texts differ. The last weights are kept, not the best
on validation: validation asks with narrations, which would stop the activity arms at once. The learning rate is chosen
on validation, for each arm from the same grid, by a short trial each.
"""

from __future__ import annotations

import logging
import time
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl

from sportskills_lib import metrics, models
from sportskills_lib.config import EncoderConfig
from sportskills_lib.encoder.batches import sport_batches
from sportskills_lib.encoder.losses import info_nce
from sportskills_lib.encoder.texts import text_groups

log = logging.getLogger("sportskills")


@dataclass(frozen=True)
class Material:
    """What training and validation need, in the order of ``clips``: frames uint8 [N, T, H, W, 3] and narrations."""

    clips: pl.DataFrame  # clip_id, video_id, sport, skill, split, text (the clip's own narration)
    frames_path: str  # opened as a memory map: nothing is copied between processes

    def frames(self) -> np.ndarray:
        """The frames of all clips, mapped from disk."""
        return np.load(self.frames_path, mmap_mode="r")

    def rows(self, split: str) -> np.ndarray:
        """Row numbers of the clips of a split."""
        return np.flatnonzero((self.clips["split"].cast(pl.String) == split).to_numpy())


def validation_recall(
    tower: models.Tower, material: Material, rows: np.ndarray, frames: np.ndarray
) -> dict[str, float]:
    """Mean over sports of within-sport text→video recall@10 and mean reciprocal rank on the clips ``rows``."""
    clips = material.clips[rows]
    clip_ND, text_ND = tower.encode_frames(frames[rows]), tower.encode_texts(clips["text"].to_list())
    sports = clips["sport"].to_numpy()
    recalls, ranks = [], []
    for sport in np.unique(sports):
        here = np.flatnonzero(sports == sport)
        rank = metrics.positive_ranks(text_ND[here] @ clip_ND[here].T, np.arange(len(here)))
        recalls.append(float(np.mean(rank <= 10)))
        ranks.append(float(np.mean(1.0 / rank)))
    if not recalls:
        return {"val_recall": float("nan"), "val_mrr": float("nan")}
    return {"val_recall": float(np.mean(recalls)), "val_mrr": float(np.mean(ranks))}


def _sample(frames: np.ndarray, rows: np.ndarray, config: EncoderConfig, rng: np.random.Generator) -> np.ndarray:
    """Some random frames of each clip, in order, the whole batch shifted by a few pixels: uint8 [B, T, H, W, 3]."""
    count = min(config.train_frames, frames.shape[1])
    moments = np.sort(np.stack([rng.choice(frames.shape[1], count, replace=False) for _ in rows]), axis=1)
    batch = frames[rows[:, None], moments]
    down, right = rng.integers(-config.shift_px, config.shift_px + 1, 2)
    return np.roll(batch, (int(down), int(right)), axis=(2, 3))


def learning_rate_at(step: int, steps: int, peak: float, warmup: int) -> float:
    """Linear warm-up, then a half cosine to zero."""
    return peak * min(1.0, (step + 1) / max(1, warmup)) * 0.5 * (1 + float(np.cos(np.pi * step / steps)))


def train(
    config: EncoderConfig,
    material: Material,
    texts: list[str],
    *,
    arm: str,
    peak: float,
    steps: int,
    evaluate: bool = True,
) -> tuple[models.Tower, pl.DataFrame]:
    """Train from ``config.model`` on the train split; returns the tower and its curve.

    ``texts``: one for each clip of ``material`` (those of other splits are not looked at). The curve has a row at the
    end and, with ``evaluate``, at step 0 and at intervals: arm, peak, step, loss (mean since the last row), val_recall,
    val_mrr. Times are logged, not kept: equal weights give equal tables.
    """
    import torch

    torch.manual_seed(config.seed)
    tower = models.load_tower(config.model, pretrained=config.pretrained, device=config.device)
    frames, train_rows, val_rows = material.frames(), material.rows("train"), material.rows("val")
    rng = np.random.default_rng([config.seed, 41])
    groups = text_groups(material.clips, texts, arm)
    parameters = [p for p in tower.model.parameters() if p.requires_grad]
    optimiser = torch.optim.AdamW(parameters, lr=peak, weight_decay=config.weight_decay, betas=(0.9, 0.98), fused=True)
    shape = {"sports_a_batch": config.sports_a_batch, "clips_a_sport": config.clips_a_sport}
    batches = sport_batches(material.clips[train_rows], steps=steps, seed=config.seed, **shape)
    curve = [_row(tower, material, val_rows, frames, arm, peak, 0, [])] if evaluate else []
    started, losses = time.monotonic(), list[float]()
    for step, batch in enumerate(batches):
        for group in optimiser.param_groups:
            group["lr"] = learning_rate_at(step, steps, peak, config.warmup_steps)
        rows = train_rows[batch]
        loss = _step(tower, _sample(frames, rows, config, rng), [texts[i] for i in rows], groups[rows])
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(parameters, 1.0)
        optimiser.step()
        losses.append(float(loss.detach()))
        last = step + 1 == steps
        if last or (evaluate and (step + 1) % config.evaluate_every == 0):
            curve.append(_row(tower, material, val_rows, frames, arm, peak, step + 1, losses))
            losses = []
            left = (time.monotonic() - started) / (step + 1) * (steps - step - 1)
            told = (arm, peak, step + 1, steps, curve[-1]["loss"], curve[-1]["val_recall"], left)
            log.info("%s at %.0e: step %d of %d, loss %.2f, validation recall@10 %.3f, %.0f s left", *told)
    return tower, pl.DataFrame(curve)


def _step(tower: models.Tower, frames_BTHWC: np.ndarray, texts: list[str], groups: np.ndarray) -> Any:
    import torch

    tower.model.train()
    group_B = torch.from_numpy(groups).to(tower.device)
    clip_BD = tower.clip_features(torch.from_numpy(frames_BTHWC))
    scale = tower.model.logit_scale.exp().clamp(max=100)
    return info_nce(clip_BD, tower.text_features(texts), scale, group_B)


def _row(
    tower: models.Tower,
    material: Material,
    rows: np.ndarray,
    frames: np.ndarray,
    arm: str,
    peak: float,
    step: int,
    losses: list[float],
) -> dict[str, Any]:
    told = {"arm": arm, "peak": peak, "step": step, "loss": float(np.mean(losses)) if losses else None}
    return told | validation_recall(tower, material, rows, frames)
