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
import os
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import polars as pl

from sportskills_lib import metrics
from sportskills_lib.formats.files import sha256_file, write_whole
from sportskills_lib.retrieval.relevance import describe
from sportskills_lib.retrieval.relevance import model as relevance_model
from sportskills_lib.retrieval.relevance.lists import (
    CandidateList,
    candidate_lists,
    draw_lists,
    list_loss,
)
from sportskills_lib.retrieval.relevance.model import VisionLanguageModel
from sportskills_lib.retrieval.relevance.prefix_sharing import pack
from sportskills_lib.retrieval.relevance.visual_tokens import Grid
from sportskills_lib.runs import artifacts
from sportskills_lib.training import distributed_job
from sportskills_lib.training.distributed import ProcessGroup, launched
from sportskills_lib.training.loop import Loop, TrainingPlan

if TYPE_CHECKING:
    import torch

LINEAR = r".*language_model\..*\.(q_proj|k_proj|v_proj|o_proj|gate_proj|up_proj|down_proj)"
VALIDATION_NDCG = metrics.at_k("val_ndcg")
CURVES = {
    "arm": pl.String,
    "step": pl.Int64,
    "loss": pl.Float64,
    "learning_rate": pl.Float64,
    VALIDATION_NDCG: pl.Float64,
    "seconds": pl.Float64,
}
RECORD = "training_record.json"


@dataclass(frozen=True)
class FinetuneSettings:
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
class RelevanceData:
    """What adapters are trained on: visual tokens, labelled pairs, and the coaches' sentences."""

    visual_NKD: torch.Tensor
    grid: Grid
    supervision: pl.DataFrame
    splits: dict[str, str]  # of each learner: train teaches, val only chooses
    places: dict[str, int]  # row of the tokens of each learner and clip
    narrations: dict[int, str] | None  # what the prompt quotes, by row of the tokens; None: nothing
    narrations_by_row: dict[int, str]  # what the coaches say, by row of the tokens


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
    lists: Sequence[CandidateList],
    narrations: dict[int, str] | None,
) -> float:
    """Mean nDCG@k of the lists by their weak labels; NaN without lists."""
    if not lists:
        return float("nan")
    scores = relevance_model.score_pairs(
        vlm, visual_NKD, grid, [(one.learner, one.clips.tolist()) for one in lists], narrations
    )
    return float(
        np.mean([ndcg(score, one.labels) for score, one in zip(scores, lists, strict=True)])
    )


def ndcg(scores: np.ndarray, gains: np.ndarray) -> float:
    """nDCG@k of one list; equal scores in the order given."""
    order = np.argsort(-scores, kind="stable")
    return float(metrics.ndcg_at_k(gains[order][None], gains[None])[0])


def finetune(
    vlm: VisionLanguageModel,
    data: RelevanceData,
    settings: FinetuneSettings,
    *,
    folder: Path | None = None,
    processes: int = 1,
) -> pl.DataFrame:
    """Train the adapters of ``vlm`` in place and leave the best ones in it; returns the curve (arm
    ``vlm_lora``).

    With ``speaking_weight`` the adapters also learn to say to a learner what the positives' coaches
    say (:mod:`describe`). Without anything to learn from, the adapters stay as they are (they
    change nothing) and the curve is empty. ``folder`` keeps checkpoints; ``processes`` above 1 need
    it, since it is where they meet.
    """
    if processes > 1 and not launched():
        _launch(vlm, data, settings, folder, processes)  # leaves a finished checkpoint, read below
    group = ProcessGroup(device=vlm.device.type)
    task = _RelevanceTask(vlm, data, settings, group)
    learners = min(settings.learners_per_step, len(task.train))
    if not learners or settings.steps == 0:
        return pl.DataFrame(schema=CURVES)
    if group.size > learners:
        raise ValueError(
            f"{group.size} processes for {learners} learners a step: use at most {learners} "
            "processes"
        )
    plan = TrainingPlan(
        steps=settings.steps,
        learning_rate=settings.learning_rate,
        warmup_steps=min(20, settings.steps // 5),
        weight_decay=0.01,
        evaluate_every=settings.evaluate_every,
        checkpoint_every=settings.evaluate_every,
        floor=0.05,
        keep="best",
        seed=settings.seed,
    )
    record = Loop(task, plan, group, folder=folder, settings=asdict(settings)).run()
    best = record.curve[record.best]
    score = None if np.isnan(best[task.score]) else best[task.score]
    vlm.training = {"settings": asdict(settings), "step_kept": best["step"], task.score: score}
    vlm.training["processes"] = group.size
    return pl.DataFrame([{"arm": task.name} | row for row in record.curve], schema=CURVES)


class _RelevanceTask:
    """The adapters as :class:`sportskills_lib.training.loop.Loop` trains them."""

    name, score = "vlm_lora", VALIDATION_NDCG

    def __init__(
        self,
        vlm: VisionLanguageModel,
        data: RelevanceData,
        settings: FinetuneSettings,
        group: ProcessGroup,
    ):
        self.vlm, self.module, self.data, self.settings = vlm, vlm.model, data, settings
        self.group = group
        adapters = {n: weight for n, weight in vlm.model.named_parameters() if weight.requires_grad}
        self.groups = [{"params": [*adapters.values()], "names": [*adapters], "scale": 1.0}]
        split = pl.col("learner_id").replace_strict(data.splits, return_dtype=pl.String)
        by_split = data.supervision.with_columns(split=split)
        self.train, self.val = (
            candidate_lists(by_split.filter(pl.col("split") == name), data.places)
            for name in ("train", "val")
        )

    def batches(self, first: int) -> Iterator[list[CandidateList]]:
        """The learners of each step from ``first`` on, each with its short list."""
        return (self.draw(step) for step in range(first, self.settings.steps))

    def draw(self, step: int) -> list[CandidateList]:
        """The step's learners, in shuffled rounds over all, each with a short list."""
        settings = self.settings
        count, sizes = settings.learners_per_step, (settings.positives, settings.list_size)
        return draw_lists(self.train, step, count, *sizes, seed=settings.seed)

    def backward(self, batch: list[CandidateList]) -> float:
        """Gradients of this process's share of the learners; the mean loss over all of them."""
        settings, group = self.settings, self.group
        self.module.train()
        own, loss_sum = batch[group.share(len(batch))], 0.0
        words = self._answer_tokens(own) if settings.speaking_weight else 0
        all_words = group.total(words) if words else 1
        size = settings.learners_per_pass or len(own)
        for start in range(0, len(own), size):
            part = own[start : start + size]
            # the loop takes the mean over processes, so a part weighs by the whole batch
            loss = len(part) * group.size / len(batch) * self._relevance_loss(part)
            loss_sum += float(loss.detach())
            if settings.speaking_weight:
                share = self._answer_tokens(part) * group.size / all_words
                rows = self._speaking_rows(part)
                speaking = describe.speaking_loss(self.vlm, rows, self.data.visual_NKD)
                loss = loss + settings.speaking_weight * share * speaking
            group.backward(loss)
        return group.total(loss_sum) / group.size

    def validate(self) -> tuple[dict[str, Any], list[dict[str, Any]]]:
        """nDCG@k of the validation learners' lists by their weak labels; NaN without any."""
        self.module.eval()
        own, data = self.val[self.group.share(len(self.val))], self.data
        value = validation_ndcg(self.vlm, data.visual_NKD, data.grid, own, data.narrations)
        if self.group.size > 1 and self.val:
            value = self.group.total(value * len(own) if own else 0.0) / len(self.val)
        return {self.score: value}, []

    def _relevance_loss(self, lists: Sequence[CandidateList]) -> torch.Tensor:
        data = self.data
        rows = [
            row
            for one in lists
            for row in relevance_model.rows_of(
                self.vlm, data.grid, one.learner, one.clips.tolist(), data.narrations
            )
        ]
        packed = pack(rows, pad_id=self.vlm.processor.tokenizer.pad_token_id)
        scores = self.vlm.packed_scores(packed, data.visual_NKD)
        return list_loss(scores, [one.labels for one in lists], self.settings.loss)

    def _speaking_rows(self, lists: Sequence[CandidateList]) -> list[describe.Row]:
        rows = []
        for one in lists:
            texts = [
                self.data.narrations_by_row.get(int(clip), "") for clip in one.clips[one.labels > 0]
            ]
            rows += describe.speaking_rows(self.vlm, self.data.grid, one.learner, texts)
        return rows

    def _answer_tokens(self, lists: Sequence[CandidateList]) -> int:
        rows = self._speaking_rows(lists)
        return sum(suffix.answer for _, suffixes in rows for suffix in suffixes)


# ------------------------------------------------------------------------------- several processes


def _launch(
    vlm: VisionLanguageModel,
    data: RelevanceData,
    settings: FinetuneSettings,
    folder: Path | None,
    processes: int,
) -> None:
    """Finetune in so many processes; the folder then holds the finished checkpoint."""
    if folder is None:
        raise ValueError(
            f"processes={processes} needs a folder for checkpoints: that is where they meet"
        )
    if not vlm.name:
        raise ValueError(
            "several processes load the checkpoint by its name: open the model with load_vlm"
        )
    write_job(vlm, data, settings, folder)
    distributed_job.launch(folder, processes, title="finetuning")


def write_job(
    vlm: VisionLanguageModel, data: RelevanceData, settings: FinetuneSettings, folder: Path
) -> None:
    """Write a job as ``job.json``, ``supervision.parquet``, ``visual.safetensors`` and the adapters
    it starts from.
    """
    from safetensors.torch import save_file

    folder.mkdir(parents=True, exist_ok=True)
    data.supervision.write_parquet(folder / "supervision.parquet")
    save_file({"visual": data.visual_NKD.cpu().contiguous()}, folder / "visual.safetensors")
    vlm.model.save_pretrained(folder / "start", safe_serialization=True)
    spec: dict[str, Any] = {"model": vlm.name, "device": vlm.device.type}
    spec |= {"quantize": "nf4" if getattr(vlm.stock, "is_quantized", False) else "no"}
    spec |= {"settings": asdict(settings), "grid": data.grid}
    spec |= {
        "splits": data.splits,
        "places": data.places,
        "narrations_by_row": list(data.narrations_by_row.items()),
    }
    spec["narrations"] = None if data.narrations is None else list(data.narrations.items())
    distributed_job.write_spec(folder, "relevance", spec)


def read_job(folder: Path) -> tuple[VisionLanguageModel, RelevanceData, FinetuneSettings]:
    """What :func:`write_job` wrote, the model on this process's device."""
    from safetensors.torch import load_file

    spec = distributed_job.read_spec(folder)
    device = spec["device"]
    if device != "cpu":
        device = f"{device}:{os.environ.get('LOCAL_RANK', 0)}"
    options: Any = {"adapter": folder / "start", "quantize": spec["quantize"], "trainable": True}
    data = RelevanceData(
        load_file(folder / "visual.safetensors")["visual"].to(device),
        tuple(spec["grid"]),
        pl.read_parquet(folder / "supervision.parquet"),
        spec["splits"],
        spec["places"],
        None if spec["narrations"] is None else dict(spec["narrations"]),
        dict(spec["narrations_by_row"]),
    )
    vlm = relevance_model.load_vlm(spec["model"], device=device, **options)
    return vlm, data, FinetuneSettings(**spec["settings"])


def run_job(folder: Path) -> None:
    """One process's part of the job in ``folder``."""
    finetune(*read_job(folder), folder=folder)


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
