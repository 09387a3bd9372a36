"""LoRA on "does this clip help this learner?": only adapters on the language model learn; the vision tower is fixed.

Each step takes a few learners and, for each, a short list of its positives and negatives. ``listwise`` compares the
scores within a list (cross-entropy against the labels' shares), which needs no threshold and cannot collapse to always
"yes"; ``pointwise`` is cross-entropy on each answer by itself. Before the first step, during training and at the end,
the ranking of the validation learners' lists by their weak labels is recorded, and the best adapter is kept.
"""

from __future__ import annotations

import logging
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import polars as pl

from sportskills_lib import metrics
from sportskills_lib.retrieval import describing, relevance
from sportskills_lib.retrieval.packing import pack
from sportskills_lib.retrieval.relevance import VisionLanguageModel
from sportskills_lib.retrieval.visual import Grid

if TYPE_CHECKING:
    import torch

log = logging.getLogger("sportskills")
LINEAR = r".*language_model\..*\.(q_proj|k_proj|v_proj|o_proj|gate_proj|up_proj|down_proj)"
CURVES = {
    "arm": pl.String,
    "step": pl.Int64,
    "loss": pl.Float64,
    "learning_rate": pl.Float64,
    "val_ndcg@10": pl.Float64,
    "seconds": pl.Float64,
}


@dataclass(frozen=True)
class Listing:
    """One learner's row of the visual tokens with its candidates' rows and labels."""

    learner: int
    clips: np.ndarray  # int64 [C]
    labels: np.ndarray  # float64 [C]
    kinds: np.ndarray  # str [C]: the reason of each row


def listings(supervision: pl.DataFrame, places: dict[str, int]) -> list[Listing]:
    """Learners with at least one positive and one negative, in order of their ids; the others teach nothing."""
    found = []
    for (learner_id,), rows in supervision.group_by("learner_id", maintain_order=True):
        labels = rows["label"].to_numpy()
        if (labels > 0).any() and (labels == 0).any():
            clips = np.array([places[clip_id] for clip_id in rows["clip_id"]], np.int64)
            found.append(Listing(places[str(learner_id)], clips, labels, rows["reason"].to_numpy()))
    return found


def draw_list(listing: Listing, rng: np.random.Generator, *, positives: int, size: int) -> np.ndarray:
    """Places in ``listing`` for one step: some positives, then negatives dealt evenly over their kinds."""
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


def add_lora(vlm: VisionLanguageModel, *, rank: int, alpha: int, dropout: float = 0.0) -> VisionLanguageModel:
    """The same model with fresh adapters on every linear layer of the language model; nothing else can learn."""
    from peft import LoraConfig, get_peft_model

    config: Any = LoraConfig(r=rank, lora_alpha=alpha, lora_dropout=dropout, target_modules=LINEAR, bias="none")
    with warnings.catch_warnings():  # peft still asks transformers by a name that is about to go
        warnings.filterwarnings("ignore", message=".*is_gradient_checkpointing.*", category=FutureWarning)
        model = get_peft_model(vlm.stock, config)
    return relevance.wrap(model, vlm.processor)


def validation_ndcg(
    vlm: VisionLanguageModel,
    visual_NKD: torch.Tensor,
    grid: Grid,
    lists: Sequence[Listing],
    narrations: dict[int, str] | None,
) -> float:
    """Mean nDCG@10 of the lists by their weak labels; NaN without lists."""
    if not lists:
        return float("nan")
    scores = relevance.score_pairs(
        vlm, visual_NKD, grid, [(one.learner, one.clips.tolist()) for one in lists], narrations
    )
    return float(np.mean([ndcg(score, one.labels) for score, one in zip(scores, lists, strict=True)]))


def ndcg(scores: np.ndarray, gains: np.ndarray) -> float:
    """nDCG@10 of one list; equal scores in the order given."""
    order = np.argsort(-scores, kind="stable")
    return float(metrics.ndcg_at_k(gains[order][None], gains[None])[0])


def finetune(
    vlm: VisionLanguageModel,
    visual_NKD: torch.Tensor,
    grid: Grid,
    supervision: pl.DataFrame,
    splits: dict[str, str],
    places: dict[str, int],
    narrations: dict[int, str] | None,
    said: dict[int, str],
    *,
    loss: Literal["listwise", "pointwise"],
    steps: int,
    learners_a_step: int,
    positives: int,
    list_size: int,
    learning_rate: float,
    evaluate_every: int,
    speaking_weight: float,
    seed: int,
) -> pl.DataFrame:
    """Train the adapters of ``vlm`` in place and leave the best ones in it; returns the curve (arm ``vlm_lora``).

    ``said`` is what the coaches say, by row: with ``speaking_weight`` the adapters also learn to say to a learner
    what the positives' coaches say (:mod:`describing`). ``splits`` says in which split each learner stands: train
    teaches, val only chooses. Without anything to learn from, the adapters stay as they are (they change nothing)
    and the curve is empty.
    """
    import torch

    by_split = supervision.with_columns(split=pl.col("learner_id").replace_strict(splits, return_dtype=pl.String))
    train, val = (listings(by_split.filter(pl.col("split") == split), places) for split in ("train", "val"))
    if not train or steps == 0:
        return pl.DataFrame(schema=CURVES)
    batches = _batches(train, np.random.default_rng([seed, 43]), learners_a_step, positives=positives, size=list_size)
    keeper = _Keeper(vlm, lambda: validation_ndcg(vlm, visual_NKD, grid, val, narrations))
    optimizer = torch.optim.AdamW(keeper.trainable.values(), learning_rate, weight_decay=0.01, betas=(0.9, 0.98))
    recent: list[float] = []
    for step in range(steps + 1):
        if step % evaluate_every == 0 or step == steps:
            keeper.look(step, steps, recent, optimizer.param_groups[0]["lr"] if step else 0.0)
            recent = []
        if step == steps:
            break
        chosen, drawn = next(batches)
        value = _relevance_loss(vlm, visual_NKD, grid, chosen, drawn, narrations, loss)
        recent.append(float(value.detach()))
        if speaking_weight:
            value = value + speaking_weight * _speaking_loss(vlm, visual_NKD, grid, chosen, drawn, said)
        _apply(optimizer, value, learning_rate * rate_share(step, steps))
    return keeper.restore()


def _apply(optimizer: Any, loss: torch.Tensor, rate: float) -> None:
    """One optimiser step at ``rate`` with the gradient's norm clipped to 1."""
    import torch

    for group in optimizer.param_groups:
        group["lr"] = rate
    optimizer.zero_grad()
    loss.backward()
    torch.nn.utils.clip_grad_norm_([weight for group in optimizer.param_groups for weight in group["params"]], 1.0)
    optimizer.step()


def _batches(
    train: list[Any], rng: np.random.Generator, learners_a_step: int, *, positives: int, size: int
) -> Iterator[tuple[list[Any], list[Any]]]:
    """Learners in shuffled rounds, each with a fresh list of candidates, without end."""
    order: list[int] = []
    while True:
        if len(order) < learners_a_step:
            order += rng.permutation(len(train)).tolist()
        chosen, order = [train[i] for i in order[:learners_a_step]], order[learners_a_step:]
        yield chosen, [draw_list(one, rng, positives=positives, size=size) for one in chosen]


class _Keeper:
    """Validates now and then, writes the curve and keeps the best adapters."""

    def __init__(self, vlm: VisionLanguageModel, validate: Callable[[], float]):
        self.trainable = {name: weight for name, weight in vlm.model.named_parameters() if weight.requires_grad}
        self._vlm, self._validate, self._started = vlm, validate, time.monotonic()
        self._rows: list[tuple[Any, ...]] = []
        self._best, self._state = -1.0, dict[str, Any]()

    def look(self, step: int, steps: int, recent: list[float], rate: float) -> None:
        """Validate at ``step`` and remember the weights if they are the best so far."""
        self._vlm.model.eval()
        reached, seconds = self._validate(), time.monotonic() - self._started
        self._rows.append(("vlm_lora", step, float(np.mean(recent)) if recent else None, rate, reached, seconds))
        log.info("vlm_lora: step %d of %d, validation nDCG@10 %.3f, %.0f s", step, steps, reached, seconds)
        if np.isnan(reached) or reached > self._best:
            self._best = reached
            self._state = {name: weight.detach().clone() for name, weight in self.trainable.items()}

    def restore(self) -> pl.DataFrame:
        """Put the best weights back; returns the curve."""
        import torch

        with torch.no_grad():
            for name, weight in self.trainable.items():
                weight.copy_(self._state[name])
        return pl.DataFrame(self._rows, schema=CURVES, orient="row")


def rate_share(step: int, steps: int) -> float:
    """Share of the learning rate: a short rise, then down to a twentieth along a cosine."""
    warm = max(1, min(20, steps // 5))
    if step < warm:
        return (step + 1) / warm
    return float(0.05 + 0.95 * 0.5 * (1 + np.cos(np.pi * (step - warm) / max(1, steps - warm))))


def _relevance_loss(
    vlm: VisionLanguageModel,
    visual_NKD: torch.Tensor,
    grid: Grid,
    chosen: Sequence[Listing],
    drawn: Sequence[np.ndarray],
    narrations: dict[int, str] | None,
    loss: Literal["listwise", "pointwise"],
) -> torch.Tensor:
    vlm.model.train()
    rows = [
        row
        for one, places in zip(chosen, drawn, strict=True)
        for row in relevance.rows_of(vlm, grid, one.learner, one.clips[places].tolist(), narrations)
    ]
    scores = vlm.packed_scores(pack(rows, pad_id=vlm.processor.tokenizer.pad_token_id), visual_NKD)
    return list_loss(scores, [one.labels[places] for one, places in zip(chosen, drawn, strict=True)], loss)


def _speaking_loss(
    vlm: VisionLanguageModel,
    visual_NKD: torch.Tensor,
    grid: Grid,
    chosen: Sequence[Listing],
    drawn: Sequence[np.ndarray],
    said: dict[int, str],
) -> torch.Tensor:
    rows = []
    for one, places in zip(chosen, drawn, strict=True):
        texts = [said.get(int(clip), "") for clip in one.clips[places[one.labels[places] > 0]]]
        rows += describing.speaking_rows(vlm, grid, one.learner, texts)
    return describing.speaking_loss(vlm, rows, visual_NKD)


def save_adapter(vlm: VisionLanguageModel, folder: Path) -> None:
    """Adapter weights (safetensors) and their config, as peft reads them."""
    vlm.model.save_pretrained(folder, safe_serialization=True)
