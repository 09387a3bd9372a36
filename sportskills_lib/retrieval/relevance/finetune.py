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

import os
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import polars as pl

from sportskills_lib import metrics
from sportskills_lib.config import RetrievalConfig
from sportskills_lib.retrieval.relevance import pair_scorer
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
# what of the config determines the adapters: a checkpoint of other settings is refused
SETTINGS = (
    "loss", "steps", "learners_per_step", "positives", "list_size", "learning_rate",
    "evaluate_every", "speaking_weight", "seed", "learners_per_pass",
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


def ndcg(scores: np.ndarray, gains: np.ndarray) -> float:
    """nDCG@k of one list; equal scores in the order given."""
    return float(metrics.ndcg_at_k(gains[np.argsort(-scores, kind="stable")][None], gains[None])[0])


def finetune(
    scorer: PairScorer,
    supervision: pl.DataFrame,
    config: RetrievalConfig,
    *,
    folder: Path | None = None,
) -> pl.DataFrame:
    """Train the adapters of the scorer's model in place and leave the best ones in it; returns the
    curve (arm ``vlm_lora``).

    ``supervision``: learner_id, clip_id, label, reason, and split: train teaches, val only chooses.
    With ``speaking_weight`` the adapters also learn to say to a learner what the positives' coaches
    say. Without anything to learn from, the adapters stay as they are (they change nothing) and the
    curve is empty. ``folder`` keeps checkpoints; ``processes`` above 1 need it, since it is where
    they meet.
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
        # the folder now holds a finished checkpoint, read below
    group = ProcessGroup(device=scorer.vlm.device.type)
    task = _RelevanceTask(scorer, supervision, config, group)
    learners = min(config.learners_per_step, len(task.train))
    if not learners or config.steps == 0:
        return pl.DataFrame(schema=CURVES)
    if group.size > learners:
        raise ValueError(
            f"{group.size} processes for {learners} learners a step: use at most {learners} "
            "processes"
        )
    plan = TrainingPlan(
        steps=config.steps,
        learning_rate=config.learning_rate,
        warmup_steps=min(20, config.steps // 5),
        weight_decay=0.01,
        evaluate_every=config.evaluate_every,
        checkpoint_every=config.evaluate_every,
        floor=0.05,
        keep="best",
        seed=config.seed,
    )
    settings = {name: getattr(config, name) for name in SETTINGS}
    record = Loop(task, plan, group, folder=folder, settings=settings).run()
    best = record.curve[record.best]
    score = None if np.isnan(best[task.score]) else best[task.score]
    scorer.vlm.training = {
        "settings": settings,
        "step_kept": best["step"],
        task.score: score,
        "processes": group.size,
    }
    return pl.DataFrame([{"arm": task.name} | row for row in record.curve], schema=CURVES)


class _RelevanceTask:
    """The adapters as :class:`sportskills_lib.training.loop.Loop` trains them."""

    name, score = "vlm_lora", VALIDATION_NDCG

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


# -------------------------------------------------------------------------------------------- lists


@dataclass(frozen=True)
class CandidateList:
    """One learner's row of the visual tokens with its candidates' rows and labels."""

    learner: int
    clips: np.ndarray  # int64 [C]
    labels: np.ndarray  # float64 [C]
    kinds: np.ndarray  # str [C]: the reason of each row


def candidate_lists(supervision: pl.DataFrame, places: dict[str, int]) -> list[CandidateList]:
    """Learners with at least one positive and one negative, in order of their ids; the others teach
    nothing.
    """
    lists = []
    for (learner_id,), rows in supervision.group_by("learner_id", maintain_order=True):
        labels = rows["label"].to_numpy()
        if (labels > 0).any() and (labels == 0).any():
            clips = np.array([places[clip_id] for clip_id in rows["clip_id"]], np.int64)
            learner, kinds = places[str(learner_id)], rows["reason"].to_numpy()
            lists.append(CandidateList(learner, clips, labels, kinds))
    return lists


def draw_lists(
    lists: Sequence[CandidateList], step: int, count: int, positives: int, size: int, *, seed: int
) -> list[CandidateList]:
    """The learners of ``step`` with a short list each; it depends on the step and the seed alone.

    Learners come in shuffled rounds over all; ``count`` of them a step, at most all.
    """
    count = min(count, len(lists))
    rng, batch = np.random.default_rng([seed, 45, step]), []
    for place in range(step * count, (step + 1) * count):
        number, turn = divmod(place, len(lists))
        order = np.random.default_rng([seed, 43, number]).permutation(len(lists))
        batch.append(draw_list(lists[order[turn]], rng, positives=positives, size=size))
    return batch


def draw_list(
    whole: CandidateList, rng: np.random.Generator, *, positives: int, size: int
) -> CandidateList:
    """A short list of ``whole``: some positives, then negatives dealt evenly over their kinds."""
    good = rng.permutation(np.flatnonzero(whole.labels > 0))[:positives]
    bad = rng.permutation(np.flatnonzero(whole.labels == 0))
    turn = (
        pl.DataFrame({"kind": pl.Series(whole.kinds[bad].tolist(), dtype=pl.String)})
        .select(pl.int_range(pl.len()).over("kind"))
        .to_series()
        .to_numpy()
    )
    bad = bad[np.argsort(turn, kind="stable")][: size - len(good)]
    rows = np.concatenate([good, bad])
    return CandidateList(whole.learner, whole.clips[rows], whole.labels[rows], whole.kinds[rows])


def list_loss(
    scores: torch.Tensor, labels: Sequence[np.ndarray], kind: Literal["listwise", "pointwise"]
) -> torch.Tensor:
    """The mean loss over lists; ``scores`` holds the lists one after the other."""
    import torch

    losses = []
    for part, label in zip(scores.split([len(each) for each in labels]), labels, strict=True):
        target = torch.from_numpy(label).to(part.device, part.dtype)
        if kind == "listwise":
            losses.append(-(target / target.sum() * part.log_softmax(0)).sum())
        else:
            losses.append(torch.nn.functional.binary_cross_entropy_with_logits(part, target))
    return torch.stack(losses).mean()


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
    save_file({"visual": scorer.visual_NKD.cpu().contiguous()}, folder / "visual.safetensors")
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
    scorer = PairScorer(
        vlm,
        load_file(folder / "visual.safetensors")["visual"].to(device),
        tuple(spec["grid"]),
        spec["places"],
        dict(spec["narrations"]),
        spec["with_narration"],
    )
    return scorer, pl.read_parquet(folder / "supervision.parquet"), config


def run_job(folder: Path) -> None:
    """One process's part of the job in ``folder``."""
    finetune(*read_job(folder), folder=folder)
