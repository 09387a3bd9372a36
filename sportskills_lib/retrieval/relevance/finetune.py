"""LoRA on "does this clip help this learner?": only adapters on the language model learn; the
vision tower is fixed.

Each step takes a few learners and, for each, a short list of its positives and negatives.
``listwise`` compares the scores within a list (cross-entropy against the labels' shares), which
needs no threshold and cannot collapse to always "yes"; ``pointwise`` is cross-entropy on each
answer by itself. Before the first step, during training and at the end, the ranking of the
validation learners' lists by their weak labels is recorded, and the best adapter is kept.

With a folder, a checkpoint is written at every validation (safetensors and JSON): a finetuning that
was killed goes on from there to the very adapters of an undisturbed one. Several processes share a
step's learners and average gradients: the same adapters up to rounding.
"""

from __future__ import annotations

import json
import logging
import time
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import polars as pl

from sportskills_lib import metrics
from sportskills_lib.formats.files import write_whole
from sportskills_lib.retrieval.relevance import describe, distributed_job
from sportskills_lib.retrieval.relevance import model as relevance_model
from sportskills_lib.retrieval.relevance.lists import Listing, draw_list, list_loss, listings
from sportskills_lib.retrieval.relevance.model import VisionLanguageModel
from sportskills_lib.retrieval.relevance.prefix_sharing import pack
from sportskills_lib.retrieval.relevance.visual_tokens import Grid
from sportskills_lib.runs import artifacts
from sportskills_lib.runs.fingerprints import sha256_file
from sportskills_lib.training import checkpoints
from sportskills_lib.training.distributed import Crew, launched

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
RECORD = "training_record.json"


@dataclass(frozen=True)
class Settings:
    """How adapters are trained; the names are those of RetrievalConfig."""

    loss: Literal["listwise", "pointwise"]
    steps: int
    learners_per_step: int
    positives: int
    list_size: int
    learning_rate: float
    evaluate_every: int
    speaking_weight: float
    seed: int
    learners_per_pass: int = 0  # in memory at a time, same gradients; 0: all of a step


@dataclass(frozen=True)
class Material:
    """What adapters are trained on: visual tokens, labelled pairs, and what coaches say, by row of
    the tokens.
    """

    visual_NKD: torch.Tensor
    grid: Grid
    supervision: pl.DataFrame
    splits: dict[str, str]
    places: dict[str, int]
    narrations: dict[int, str] | None
    said: dict[int, str]


def add_lora(
    vlm: VisionLanguageModel, *, rank: int, alpha: int, dropout: float = 0.0
) -> VisionLanguageModel:
    """The same model with fresh adapters on every linear layer of the language model; nothing else
    can learn.
    """
    from peft import LoraConfig, get_peft_model

    config: Any = LoraConfig(
        r=rank, lora_alpha=alpha, lora_dropout=dropout, target_modules=LINEAR, bias="none"
    )
    with warnings.catch_warnings():  # peft still asks transformers by a name that is about to go
        warnings.filterwarnings(
            "ignore", message=".*is_gradient_checkpointing.*", category=FutureWarning
        )
        base = vlm.stock
        if getattr(base, "is_quantized", False):
            from peft import prepare_model_for_kbit_training

            base = prepare_model_for_kbit_training(base, use_gradient_checkpointing=False)
        model = get_peft_model(base, config)
    return relevance_model.wrap(model, vlm.processor, name=vlm.name)


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
    scores = relevance_model.score_pairs(
        vlm, visual_NKD, grid, [(one.learner, one.clips.tolist()) for one in lists], narrations
    )
    return float(
        np.mean([ndcg(score, one.labels) for score, one in zip(scores, lists, strict=True)])
    )


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
    folder: Path | None = None,
    processes: int = 1,
    **settings: Any,
) -> pl.DataFrame:
    """Train the adapters of ``vlm`` in place and leave the best ones in it; returns the curve (arm
    ``vlm_lora``).

    ``settings`` are those of :class:`Settings`. ``said`` is what the coaches say, by row: with
    ``speaking_weight`` the adapters also learn to say to a learner what the positives' coaches say
    (:mod:`describe`). ``splits`` says in which split each learner stands: train teaches, val only
    chooses. Without anything to learn from, the adapters stay as they are (they change nothing) and
    the curve is empty. ``folder`` keeps checkpoints; ``processes`` above 1 need it, since it is
    where they meet.
    """
    plan, material = (
        Settings(**settings),
        Material(visual_NKD, grid, supervision, splits, places, narrations, said),
    )
    if processes > 1 and not launched():
        distributed_job.launch(
            vlm, material, plan, folder, processes
        )  # leaves a finished checkpoint, which is read below
    return _Run(vlm, material, plan, folder, Crew(device=vlm.device.type)).run()


def _batches(
    train: list[Any], rng: np.random.Generator, learners_per_step: int, *, positives: int, size: int
) -> Iterator[tuple[list[Any], list[Any]]]:
    """Learners in shuffled rounds, each with a fresh list of candidates, without end."""
    order: list[int] = []
    while True:
        if len(order) < learners_per_step:
            order += rng.permutation(len(train)).tolist()
        chosen, order = [train[i] for i in order[:learners_per_step]], order[learners_per_step:]
        yield chosen, [draw_list(one, rng, positives=positives, size=size) for one in chosen]


@dataclass
class _Progress:
    """What a checkpoint keeps beside tensors."""

    step: int = 0
    rows: list[list[Any]] = field(default_factory=list)  # of the curve
    best: float = -1.0
    best_step: int = 0
    settings: dict[str, Any] = field(default_factory=dict)


class _Run:
    """One process's part of a finetuning."""

    def __init__(
        self,
        vlm: VisionLanguageModel,
        material: Material,
        plan: Settings,
        folder: Path | None,
        crew: Crew,
    ) -> None:
        import torch

        self.vlm, self.material, self.plan, self.folder, self.crew = (
            vlm,
            material,
            plan,
            folder,
            crew,
        )
        self.trainable = {
            name: weight for name, weight in vlm.model.named_parameters() if weight.requires_grad
        }
        group = {"params": list(self.trainable.values()), "names": list(self.trainable)}
        self.optimizer = torch.optim.AdamW(
            [group], plan.learning_rate, weight_decay=0.01, betas=(0.9, 0.98)
        )
        split = pl.col("learner_id").replace_strict(material.splits, return_dtype=pl.String)
        by_split = material.supervision.with_columns(split=split)
        self.train, self.val = (
            listings(by_split.filter(pl.col("split") == name), material.places)
            for name in ("train", "val")
        )
        self.progress, self.best = _Progress(settings=asdict(plan)), dict[str, Any]()
        self._started, self._before_s = time.monotonic(), 0.0

    def run(self) -> pl.DataFrame:
        """Steps and validations from where the last checkpoint stands, then the best adapters."""
        plan, progress = self.plan, self.progress
        if not self.train or plan.steps == 0:
            return pl.DataFrame(schema=CURVES)
        if self.crew.size > (most := min(plan.learners_per_step, len(self.train))):
            raise ValueError(
                f"{self.crew.size} processes for {most} learners a step: use at most {most} "
                "processes"
            )
        progress = self._resume()
        rng, sizes = (
            np.random.default_rng([plan.seed, 43]),
            {"positives": plan.positives, "size": plan.list_size},
        )
        batches, recent = _batches(self.train, rng, plan.learners_per_step, **sizes), list[float]()
        for _ in range(progress.step):
            next(batches)
        for step in range(progress.step, plan.steps + 1):
            looked = bool(progress.rows) and progress.rows[-1][1] == step
            if (step % plan.evaluate_every == 0 or step == plan.steps) and not looked:
                self._look(step, recent)
                recent = []
            if step < plan.steps:
                recent.append(self._step(step, *next(batches)))
        checkpoints.restore_state(self.vlm.model, self.best)
        best = None if np.isnan(progress.best) else progress.best
        kept = {"settings": asdict(plan), "step_kept": progress.best_step, "val_ndcg@10": best}
        self.vlm.training = kept | {"processes": self.crew.size}
        return pl.DataFrame(progress.rows, schema=CURVES, orient="row")

    def _step(self, step: int, chosen: list[Listing], drawn: list[np.ndarray]) -> float:
        """One optimiser step on this process's share of the learners; the mean loss over all
        processes.
        """
        import torch

        share, plan = self.crew.share(len(chosen)), self.plan
        torch.manual_seed(
            int(np.random.default_rng([plan.seed, 47, step, self.crew.rank]).integers(2**62))
        )
        for group in self.optimizer.param_groups:
            group["lr"] = plan.learning_rate * rate_share(step, plan.steps)
        self.optimizer.zero_grad()
        own, lists, seen = chosen[share], drawn[share], 0.0
        words = self._answers(own, lists) if plan.speaking_weight else 0
        every = self.crew.total(words) if words else 1
        size = plan.learners_per_pass or len(own)
        for start in range(0, len(own), size):
            some, places = own[start : start + size], lists[start : start + size]
            weight = len(some) * self.crew.size / len(chosen)
            value = weight * _relevance_loss(self.vlm, self.material, some, places, plan.loss)
            seen += float(value.detach())
            if plan.speaking_weight:
                weight = plan.speaking_weight * self._answers(some, places) * self.crew.size / every
                rows = _speaking_rows(self.vlm, self.material, some, places)
                value = value + weight * describe.speaking_loss(
                    self.vlm, rows, self.material.visual_NKD
                )
            value.backward()
        self.crew.average_gradients(self.trainable.values())
        torch.nn.utils.clip_grad_norm_(list(self.trainable.values()), 1.0)
        self.optimizer.step()
        return self.crew.total(seen) / self.crew.size

    def _answers(self, chosen: list[Listing], drawn: list[np.ndarray]) -> int:
        rows = _speaking_rows(self.vlm, self.material, chosen, drawn)
        return sum(suffix.answer for _, suffixes in rows for suffix in suffixes)

    def _look(self, step: int, recent: list[float]) -> None:
        """Validate at ``step``, remember the weights if they are the best so far, and write a
        checkpoint.
        """
        vlm, progress, known = self.vlm, self.progress, self.material
        vlm.model.eval()
        own = self.val[self.crew.share(len(self.val))]
        reached = validation_ndcg(vlm, known.visual_NKD, known.grid, own, known.narrations)
        if self.crew.size > 1 and self.val:
            reached = self.crew.total(reached * len(own) if own else 0.0) / len(self.val)
        seconds = self._before_s + time.monotonic() - self._started
        rate = self.optimizer.param_groups[0]["lr"] if step else 0.0
        progress.rows.append(
            ["vlm_lora", step, float(np.mean(recent)) if recent else None, rate, reached, seconds]
        )
        if self.crew.first:
            log.info(
                "vlm_lora: step %d of %d, validation nDCG@10 %.3f, %.0f s",
                step,
                self.plan.steps,
                reached,
                seconds,
            )
        if np.isnan(reached) or reached > progress.best:
            progress.best, progress.best_step = reached, step
            self.best = checkpoints.moving_state(vlm.model, adapters_only=True)
        progress.step = step
        if self.folder and self.crew.first:
            state = (vlm.model, self.optimizer, self.best, asdict(progress))
            checkpoints.save(self.folder, *state, adapters_only=True)
        self.crew.accelerator.wait_for_everyone()

    def _resume(self) -> _Progress:
        found = self.folder and checkpoints.load(self.folder, self.vlm.model, self.optimizer)
        if found:
            self.best, record = found
            if (other := record["settings"]) != self.progress.settings:
                names = ", ".join(
                    sorted(
                        name for name in other if other[name] != self.progress.settings.get(name)
                    )
                )
                raise ValueError(
                    f"{self.folder} holds a finetuning with another {names}: empty that folder"
                )
            self.progress = _Progress(**record)
            self._before_s = self.progress.rows[-1][5]
            if self.crew.first:
                log.info("vlm_lora goes on at step %d", self.progress.step)
        return self.progress


def rate_share(step: int, steps: int) -> float:
    """Share of the learning rate: a short rise, then down to a twentieth along a cosine."""
    warm = max(1, min(20, steps // 5))
    if step < warm:
        return (step + 1) / warm
    return float(0.05 + 0.95 * 0.5 * (1 + np.cos(np.pi * (step - warm) / max(1, steps - warm))))


def _relevance_loss(
    vlm: VisionLanguageModel,
    material: Material,
    chosen: Sequence[Listing],
    drawn: Sequence[np.ndarray],
    loss: Literal["listwise", "pointwise"],
) -> torch.Tensor:
    vlm.model.train()
    rows = [
        row
        for one, places in zip(chosen, drawn, strict=True)
        for row in relevance_model.rows_of(
            vlm, material.grid, one.learner, one.clips[places].tolist(), material.narrations
        )
    ]
    scores = vlm.packed_scores(
        pack(rows, pad_id=vlm.processor.tokenizer.pad_token_id), material.visual_NKD
    )
    return list_loss(
        scores, [one.labels[places] for one, places in zip(chosen, drawn, strict=True)], loss
    )


def _speaking_rows(
    vlm: VisionLanguageModel,
    material: Material,
    chosen: Sequence[Listing],
    drawn: Sequence[np.ndarray],
) -> list[describe.Row]:
    rows = []
    for one, places in zip(chosen, drawn, strict=True):
        texts = [
            material.said.get(int(clip), "") for clip in one.clips[places[one.labels[places] > 0]]
        ]
        rows += describe.speaking_rows(vlm, material.grid, one.learner, texts)
    return rows


# ------------------------------------------------------------------------------------------- saving


def save_adapter(vlm: VisionLanguageModel, folder: Path) -> None:
    """Adapter weights (safetensors) and their config, as peft reads them, and how they were
    trained.
    """
    vlm.model.save_pretrained(folder, safe_serialization=True)
    _save_record(vlm, folder)


def merge_and_save(vlm: VisionLanguageModel, folder: Path) -> VisionLanguageModel:
    """Write the model with its adapters merged, as a checkpoint of its own (for a server, say), and
    return it.

    The merging is in place: ``vlm`` must not be used afterwards. ValueError for a model without
    adapters or with quantised weights, which cannot take them in exactly.
    """
    if vlm.model is vlm.stock:
        raise ValueError("the model has no adapters: nothing to merge")
    if getattr(vlm.stock, "is_quantized", False):
        raise ValueError(
            "adapters do not merge into 4-bit weights: load the checkpoint whole with "
            "adapter=, then merge"
        )
    merged = relevance_model.wrap(vlm.model.merge_and_unload(), vlm.processor, name=vlm.name)
    merged.training = vlm.training
    merged.stock.save_pretrained(folder, safe_serialization=True)
    merged.processor.save_pretrained(folder)
    _save_record(merged, folder)
    return merged


def _save_record(vlm: VisionLanguageModel, folder: Path) -> None:
    base = Path(vlm.name) if vlm.name else None
    weights = sorted(base.glob("*.safetensors")) if base and base.is_dir() else []
    told = {
        "base": vlm.name,
        "base_sha256": {path.name: sha256_file(path) for path in weights},
        "base_revision": getattr(vlm.stock.config, "_commit_hash", None),
        "training": vlm.training,
        "code": {name: artifacts.provenance()[name] for name in ("commit", "dirty", "packages")},
    }
    write_whole(Path(folder) / RECORD, json.dumps(told, indent=2) + "\n")
