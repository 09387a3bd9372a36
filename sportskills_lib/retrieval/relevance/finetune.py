"""The relevance model learns: a text warm-up, the dual scorer (:mod:`dual_training`), and LoRA on
"does this clip help this learner?". The vision tower is fixed.

Each step of the last takes a few learners and, for each, a short list of its positives and
negatives.
``listwise`` compares the scores within a list (cross-entropy against the labels' shares), which
needs no threshold and cannot collapse to always "yes"; ``pointwise`` is cross-entropy on each
answer by itself. Before the first step, during training and at the end, the ranking of the
validation learners' lists by their weak labels is recorded, and the best adapter is kept.

With a folder, a checkpoint is written at every validation (safetensors and JSON): a finetuning that
was killed goes on from there to the very adapters of an undisturbed one. Several processes share a
step's learners and average gradients: the same adapters up to rounding.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

from sportskills_lib.config import RetrievalConfig
from sportskills_lib.retrieval.relevance import pair_scorer
from sportskills_lib.retrieval.relevance.candidate_lists import (
    VALIDATION_NDCG,
    CandidateList,
    candidate_lists,
    draw_lists,
    list_loss,
    ndcg,
)
from sportskills_lib.retrieval.relevance.dual_training import DualTask
from sportskills_lib.retrieval.relevance.model import (
    VisionLanguageModel,
    load_vlm,
    rows_of,
    score_pairs,
    wrap,
)
from sportskills_lib.retrieval.relevance.pair_scorer import PairScorer
from sportskills_lib.retrieval.relevance.prefix_sharing import Row, pack
from sportskills_lib.training import distributed_job
from sportskills_lib.training.distributed import ProcessGroup, launched
from sportskills_lib.training.loop import Loop, TrainingPlan, TrainingTask

if TYPE_CHECKING:
    import torch

LINEAR = r".*language_model\..*\.(q_proj|k_proj|v_proj|o_proj|gate_proj|up_proj|down_proj)"
CURVES = {
    "arm": pl.String,
    "step": pl.Int64,
    "loss": pl.Float64,
    "learning_rate": pl.Float64,
    VALIDATION_NDCG: pl.Float64,
    "seconds": pl.Float64,
}
# what of the config determines the adapters: a checkpoint of other settings is refused
SETTINGS = (
    "loss", "steps", "learners_per_step", "positives", "list_size", "learning_rate",
    "evaluate_every", "speaking_weight", "seed", "learners_per_pass", "text_steps", "dual_steps",
    "dual_learning_rate", "skills_per_step",
    "lent_comments",
)  # fmt: skip


def add_lora(vlm: VisionLanguageModel, *, rank: int, alpha: int) -> VisionLanguageModel:
    """The same model with fresh adapters on every linear layer of the language model; nothing else
    can learn.
    """
    from peft import LoraConfig, get_peft_model

    config: Any = LoraConfig(r=rank, lora_alpha=alpha, target_modules=LINEAR, bias="none")
    with warnings.catch_warnings():  # peft still asks transformers by a name that is about to go
        warnings.filterwarnings(
            "ignore", message=".*is_gradient_checkpointing.*", category=FutureWarning
        )
        base = vlm.stock
        if getattr(base, "is_quantized", False):
            from peft import prepare_model_for_kbit_training

            base = prepare_model_for_kbit_training(base, use_gradient_checkpointing=False)
        model = get_peft_model(base, config)
    return wrap(model, vlm.processor, name=vlm.name)


def finetune(
    scorer: PairScorer,
    supervision: pl.DataFrame,
    config: RetrievalConfig,
    *,
    folder: Path | None = None,
) -> pl.DataFrame:
    """Train the scorer's model and head in place, in three steps, and leave the best weights in
    them; returns the curves (arms ``text_warm_up``, ``vlm_dual``, ``vlm_yes_no``).

    ``supervision``: learner_id, clip_id, label, reason, and of each learner comment, sport, skill
    and split: train teaches, val only chooses. A step with no steps in ``config`` is left out. With
    ``speaking_weight`` the adapters also learn to say to a learner what the positives' coaches say.
    Without anything to learn from, all stays as it is and the curves are empty. ``folder`` keeps
    checkpoints; ``processes`` above 1 need it, since it is where they meet.
    """
    if scorer.vlm is None:
        return pl.DataFrame(schema=CURVES)
    if config.processes > 1 and not launched():
        if folder is None:
            raise ValueError(
                f"processes={config.processes} needs a folder for checkpoints: that is where they "
                "meet"
            )
        write_job(scorer, supervision, config, folder)
        distributed_job.launch(folder, config.processes, title="finetuning")
        # the folder now holds finished checkpoints, read below
    group = ProcessGroup(device=scorer.vlm.device.type)
    yes_no = _RelevanceTask(scorer, supervision, config, group)
    learners = min(config.learners_per_step, len(yes_no.train))
    if not learners:
        return pl.DataFrame(schema=CURVES)
    if group.size > learners:
        raise ValueError(
            f"{group.size} processes for {learners} learners a step: use at most {learners} "
            "processes"
        )
    train = partial(_train, config=config, group=group, folder=folder)
    curves = _train_dual(scorer, supervision, config, group, train) if config.dual_steps else []
    if config.steps:
        curves += train(yes_no, config.steps, config.learning_rate)
    return pl.DataFrame(curves, schema=CURVES)


def _train(
    task: TrainingTask,
    steps: int,
    learning_rate: float,
    *,
    config: RetrievalConfig,
    group: ProcessGroup,
    folder: Path | None,
    rate_scales: dict[str, float] | None = None,
) -> list[dict[str, Any]]:
    """Train one task, or read its finished checkpoint; the rows of its curve."""
    plan = TrainingPlan(
        steps=steps,
        learning_rate=learning_rate,
        warmup_steps=min(20, steps // 5),
        weight_decay=0.01,
        evaluate_every=config.evaluate_every,
        checkpoint_every=config.evaluate_every,
        floor=0.05,
        keep="best",
        seed=config.seed,
    )
    settings = {name: getattr(config, name) for name in SETTINGS}
    own = folder and folder / task.name
    loop = Loop(task, plan, group, folder=own, settings=settings, rate_scales=rate_scales)
    record = loop.run()
    best = record.curve[record.best]
    score = None if np.isnan(best[task.score]) else best[task.score]
    task.vlm.training[task.name] = {  # type: ignore[attr-defined]
        "settings": settings,
        "step_kept": best["step"],
        task.score: score,
        "processes": group.size,
    }
    return [{"arm": task.name} | row for row in record.curve]


def _train_dual(
    scorer: PairScorer,
    supervision: pl.DataFrame,
    config: RetrievalConfig,
    group: ProcessGroup,
    train: Callable[..., list[dict[str, Any]]],
) -> list[dict[str, Any]]:
    """The text warm-up and the dual scorer; its vectors of all learners and clips are then kept in
    ``scorer``, since the adapters learn on.
    """
    said = supervision.unique("learner_id", maintain_order=True).select("learner_id", "comment")
    comments = {scorer.places[name]: comment for name, comment in said.iter_rows()}
    parts = [
        [
            candidate_lists(own, scorer.places)
            for own in supervision.filter(split=split).partition_by(
                "sport", "skill", maintain_order=True
            )
        ]
        for split in ("train", "val")
    ]
    skills, val = ([lists for lists in part if lists] for part in parts)
    taught = supervision.filter(split="train")
    clips = {scorer.narrations[scorer.places[name]] for name in taught["clip_id"]}
    scorer.new_head({*taught["comment"], *clips}, seed=config.seed)
    tasks: list[DualTask] = []
    if config.text_steps:
        tasks.append(DualTask(scorer, skills, val, config, group, comments))
    tasks.append(DualTask(scorer, skills, val, config, group))
    curves: list[dict[str, Any]] = []
    for task in tasks:
        share = min(1.0, config.learning_rate / config.dual_learning_rate)
        named = task.module.named_parameters()
        slower = {name: share for name, _ in named if name.startswith("adapters.")}
        rate = config.dual_learning_rate
        curves += train(task, task.steps, rate, rate_scales=slower)
    scorer.keep_vectors()
    return curves


class _RelevanceTask:
    """The adapters as :class:`sportskills_lib.training.loop.Loop` trains them."""

    name, score = "vlm_yes_no", VALIDATION_NDCG

    def __init__(
        self,
        scorer: PairScorer,
        supervision: pl.DataFrame,
        config: RetrievalConfig,
        group: ProcessGroup,
    ):
        self.scorer, self.config, self.group = scorer, config, group
        self.vlm: VisionLanguageModel = scorer.vlm  # type: ignore[assignment]
        self.visual_NKD: torch.Tensor = scorer.visual_NKD  # type: ignore[assignment]
        self.module = self.vlm.model
        self.train, self.val = (
            candidate_lists(supervision.filter(pl.col("split") == name), scorer.places)
            for name in ("train", "val")
        )

    def batches(self, first: int) -> Iterator[list[CandidateList]]:
        """The learners of each step from ``first`` on, in shuffled rounds over all, each with its
        short list.
        """
        config = self.config
        sizes = config.learners_per_step, config.positives, config.list_size
        for step in range(first, config.steps):
            yield draw_lists(self.train, step, *sizes, seed=config.seed)

    def backward(self, batch: list[CandidateList]) -> float:
        """Gradients of this process's share of the learners; the mean loss over all of them."""
        config, group = self.config, self.group
        self.module.train()
        own, loss_sum = batch[group.share(len(batch))], 0.0
        if config.speaking_weight:
            rows = self._speaking_rows(own)
            words = group.total(sum(one.answer for _, answers in rows for one in answers))
        size = config.learners_per_pass or len(own)
        for start in range(0, len(own), size):
            part = own[start : start + size]
            # the loop takes the mean over processes, so a part weighs by the whole batch
            loss = len(part) * group.size / len(batch) * self._relevance_loss(part)
            loss_sum += float(loss.detach())
            if config.speaking_weight:
                rows = self._speaking_rows(part)
                logprobs, _ = pair_scorer.word_logprobs(self.vlm, rows, self.visual_NKD)
                loss = loss - config.speaking_weight * group.size / words * logprobs.sum()
            loss.backward()
        return group.total(loss_sum) / group.size

    def validate(self) -> tuple[dict[str, Any], list[dict[str, Any]]]:
        """nDCG@k of the validation learners' lists by their weak labels; NaN without any."""
        self.module.eval()
        if not self.val:
            return {self.score: float("nan")}, []
        own, scorer = self.val[self.group.share(len(self.val))], self.scorer
        queries = [(one.learner, one.clips.tolist()) for one in own]
        scores = score_pairs(self.vlm, self.visual_NKD, scorer.grid, queries, scorer.quoted)
        values = [ndcg(score, one.labels) for score, one in zip(scores, own, strict=True)]
        return {self.score: self.group.total(float(np.sum(values))) / len(self.val)}, []

    def _relevance_loss(self, lists: Sequence[CandidateList]) -> torch.Tensor:
        scorer, rows = self.scorer, list[Row]()
        for one in lists:
            rows += rows_of(self.vlm, scorer.grid, one.learner, one.clips.tolist(), scorer.quoted)
        packed = pack(rows, pad_id=self.vlm.processor.tokenizer.pad_token_id)
        scores = self.vlm.packed_scores(packed, self.visual_NKD)
        return list_loss(scores, [one.labels for one in lists], self.config.loss)

    def _speaking_rows(self, lists: Sequence[CandidateList]) -> list[Row]:
        rows = list[Row]()
        for one in lists:
            helpful = one.clips[one.labels > 0].tolist()
            texts = [self.scorer.narrations.get(clip, "") for clip in helpful]
            rows += pair_scorer.speaking_rows(self.vlm, self.scorer.grid, one.learner, texts)
        return rows


# ------------------------------------------------------------------------------- several processes


def write_job(
    scorer: PairScorer, supervision: pl.DataFrame, config: RetrievalConfig, folder: Path
) -> None:
    """Write a job as ``job.json``, ``supervision.parquet``, ``visual.safetensors`` and the adapters
    it starts from. The model is loaded again by its name.
    """
    from safetensors.torch import save_file

    assert scorer.vlm is not None and scorer.visual_NKD is not None
    folder.mkdir(parents=True, exist_ok=True)
    supervision.write_parquet(folder / "supervision.parquet")
    vectors = {"visual": scorer.visual_NKD.cpu().contiguous()}
    more = (scorer.encoder_NE, *(scorer.words or ()))
    for name, vector in zip(("encoder", "lent", "said"), more, strict=False):
        if vector is not None:
            vectors[name] = vector.cpu().contiguous()
    save_file(vectors, folder / "visual.safetensors")
    scorer.vlm.model.save_pretrained(folder / "start", safe_serialization=True)
    spec = {
        "model": scorer.vlm.name,
        "config": config.model_dump(mode="json"),
        "grid": scorer.grid,
        "places": scorer.places,
        "narrations": list(scorer.narrations.items()),
        "with_narration": scorer.with_narration,
    }
    distributed_job.write_spec(folder, __name__, spec)


def read_job(folder: Path) -> tuple[PairScorer, pl.DataFrame, RetrievalConfig]:
    """What :func:`write_job` wrote, the model on this process's device."""
    from safetensors.torch import load_file

    spec = distributed_job.read_spec(folder)
    config = RetrievalConfig(**spec["config"])
    rank = os.environ.get("LOCAL_RANK", 0)
    kind = config.device.partition(":")[0]
    device = kind if kind == "cpu" else f"{kind}:{rank}"
    vlm = load_vlm(
        spec["model"],
        device=device,
        adapter=folder / "start",
        quantize=config.quantize,
        trainable=True,
    )
    vectors = load_file(folder / "visual.safetensors", device=device)
    scorer = PairScorer(
        vlm,
        vectors["visual"],
        tuple(spec["grid"]),
        spec["places"],
        dict(spec["narrations"]),
        spec["with_narration"],
        vectors.get("encoder"),
        (vectors["lent"], vectors["said"]) if "lent" in vectors else None,
    )
    return scorer, pl.read_parquet(folder / "supervision.parquet"), config


def run_job(folder: Path) -> None:
    """One process's part of the job in ``folder``."""
    finetune(*read_job(folder), folder=folder)
