"""Train one arm from the common start: contrastive steps, validation recall on the way, the last weights kept.

Every arm gets the same clips, batches, steps and loss; only the texts differ. The last weights are kept, not the best
on validation: validation asks with narrations, which would stop the activity arms at once. The learning rate is chosen
for each arm from the same grid, by a short trial each and its loss on validation clips: after few steps a recall over
some hundred queries is noise, and chose rates at which the activity arms stayed under-trained.
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
from sportskills_lib.encoder.draws import Draws
from sportskills_lib.encoder.losses import info_nce
from sportskills_lib.encoder.stepping import backward, prepare
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


def validate(
    tower: models.Tower, material: Material, rows: np.ndarray, frames: np.ndarray, texts: list[str], groups: np.ndarray
) -> dict[str, float]:
    """Scores on the clips ``rows``, each the mean over sports: val_loss, val_recall and val_mrr.

    val_loss is the contrastive loss within the sport on the arm's own ``texts`` (its ``groups`` are positives of one
    another): comparable between learning rates of one arm. Recall@10 and mean reciprocal rank ask with the narrations:
    comparable between arms.
    """
    import torch

    clips = material.clips[rows]
    clip_ND, said_ND = tower.encode_frames(frames[rows]), tower.encode_texts(clips["text"].to_list())
    group_N = torch.from_numpy(groups[rows])
    own_ND = tower.encode_texts([texts[i] for i in rows])
    scale = tower.model.logit_scale.detach().exp().clamp(max=100).cpu()
    sports, scores = clips["sport"].to_numpy(), list[tuple[float, float, float]]()
    for sport in np.unique(sports):
        here = np.flatnonzero(sports == sport)
        loss = info_nce(torch.from_numpy(clip_ND[here]), torch.from_numpy(own_ND[here]), scale, group_N[here])
        rank = metrics.positive_ranks(said_ND[here] @ clip_ND[here].T, np.arange(len(here)))
        scores.append((float(loss), float(np.mean(rank <= 10)), float(np.mean(1.0 / rank))))
    means = np.mean(scores, axis=0).tolist() if scores else [float("nan")] * 3
    return dict(zip(("val_loss", "val_recall", "val_mrr"), means, strict=True))


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
    end and, with ``evaluate``, at step 0 and at intervals: arm, peak, step, loss (mean since the last row) and what
    :func:`validate` gives. Times are logged, not kept: equal weights give equal tables.
    """
    import torch

    torch.manual_seed(config.seed)
    tower = models.load_tower(config.model, pretrained=config.pretrained, device=config.device)
    fixed = prepare(tower, config)
    frames, train_rows, val_rows = material.frames(), material.rows("train"), material.rows("val")
    rng = np.random.default_rng([config.seed, 41])
    groups = text_groups(material.clips, texts, arm)
    draws = Draws(material.clips, train_rows, texts, config, arm=arm, start=tower, frames=frames)
    parameters = [p for p in tower.model.parameters() if p.requires_grad]
    optimiser = torch.optim.AdamW(parameters, lr=peak, weight_decay=config.weight_decay, betas=(0.9, 0.98), fused=True)
    asked = (material, val_rows, frames, texts, groups)
    curve = [_row(arm, peak, 0, [], validate(tower, *asked))] if evaluate else []
    started, losses = time.monotonic(), list[float]()
    for step in range(steps):
        batch = draws.at(step)
        for group in optimiser.param_groups:
            group["lr"] = learning_rate_at(step, steps, peak, config.warmup_steps)
        tower.model.train()
        for module in fixed:  # their statistics stay as they are, too
            module.eval()
        optimiser.zero_grad(set_to_none=True)
        pictures = _sample(frames, batch.rows, config, rng)
        losses.append(backward(tower, pictures, batch.texts, batch.group_B, batch.allowed_BB, config))
        torch.nn.utils.clip_grad_norm_(parameters, 1.0)
        optimiser.step()
        last = step + 1 == steps
        if last or (evaluate and (step + 1) % config.evaluate_every == 0):
            curve.append(_row(arm, peak, step + 1, losses, validate(tower, *asked)))
            losses.clear()
            _tell(curve[-1], steps, (time.monotonic() - started) / (step + 1) * (steps - step - 1))
    return tower, pl.DataFrame(curve)


def _tell(row: dict[str, Any], steps: int, left_s: float) -> None:
    told = (row["arm"], row["peak"], row["step"], steps, row["loss"], row["val_recall"], left_s)
    log.info("%s at %.0e: step %d of %d, loss %.2f, validation recall@10 %.3f, %.0f s left", *told)


def _row(arm: str, peak: float, step: int, losses: list[float], scores: dict[str, float]) -> dict[str, Any]:
    loss = float(np.mean(losses)) if losses else None
    return {"arm": arm, "peak": peak, "step": step, "loss": loss} | scores
