"""The relevance model distilled into 03's encoder, so that a plain encoder finds what mends.

The student is the tower of the first stage's arm ``narrations``. Its frame tower stays as it is, so
frames are encoded once; pooling and text tower learn the teacher's ranking of each training
learner's candidates, as cross-entropy against the softmax of the teacher's scores. Then the weights
are merged with those of before (WiSE-FT, arXiv 2109.01903), by the share that ranks the validation
lists best. The table says what each share costs on 03's own task, to find a clip by its narration.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

from sportskills_lib import metrics, models
from sportskills_lib.config import RetrievalConfig
from sportskills_lib.retrieval.ranking.baselines import KIND, same_skill
from sportskills_lib.retrieval.ranking.first_stage import WEAK_SCORE, EncoderVectors, standardised
from sportskills_lib.retrieval.ranking.systems import dual_search
from sportskills_lib.retrieval.relevance.candidate_lists import (
    CandidateList,
    candidate_lists,
    draw_skills,
    list_loss,
    shared_candidates,
)
from sportskills_lib.retrieval.relevance.pair_scorer import PairScorer
from sportskills_lib.retrieval.stage import (
    ArmVectors,
    Candidates,
    LearnerVectors,
    Library,
    encoder_of,
)
from sportskills_lib.training.distributed import ProcessGroup
from sportskills_lib.training.loop import Loop, TrainingPlan

if TYPE_CHECKING:
    import torch

SHARES = (0.0, 0.25, 0.5, 0.75, 1.0)  # of the student's weights in the merged ones
SHARPNESS = 2.0  # of the teacher's softmax, whose scores have deviation 1 within a list
MERGED = {"share": pl.Float64, WEAK_SCORE: pl.Float64, metrics.at_k("val_recall"): pl.Float64}


def distill(
    scorer: PairScorer,
    asked: Candidates,
    supervision: pl.DataFrame,
    learners: pl.DataFrame,
    learner_frames: np.ndarray,
    library: Library,
    config: RetrievalConfig,
    *,
    folder: Path | None = None,
) -> tuple[LearnerVectors, pl.DataFrame]:
    """Vectors of the system ``encoder_distilled`` and what each share of the merge reaches; nothing
    with ``distill_steps`` 0 or without a dual scorer.

    ``folder`` keeps checkpoints.
    """
    import torch

    if not config.distill_steps or scorer.vectors is None:
        return {}, pl.DataFrame(schema=MERGED)
    began, clips = time.monotonic(), library.clips
    lists = asked.validation[same_skill(asked.validation, learners, clips)]
    teacher, _ = dual_search(scorer, lists, clips)
    encoder = encoder_of(library, config.first_stage)
    arm = library.encoder / "models" / encoder / "narrations"
    tower = models.load_tower(arm, device=config.device)
    ids = [*clips["clip_id"], *learners["learner_id"]]
    frames = [tower.encode_frame_features(each) for each in (library.frames, learner_frames)]
    said = [library.texts.get(name, "") for name in ids]
    student = _Student(tower, ids, np.concatenate(frames), said, config)
    people = learners.filter(pl.col("split").cast(pl.String) == "train")
    taught = supervision.join(people.select("learner_id", *KIND), on="learner_id")
    sure = np.exp(SHARPNESS * standardised(taught, teacher.scores(taught)))
    label = pl.col("label") - pl.col("label").min().over("learner_id")  # the last candidate: 0
    student.learn(taught.with_columns(label=sure).with_columns(label))
    before = _copy(tower)
    steps = config.distill_steps
    plan = TrainingPlan(
        steps=steps, learning_rate=config.distill_rate, warmup_steps=min(20, steps // 5),
        weight_decay=0.01, evaluate_every=steps, checkpoint_every=config.evaluate_every,
        evaluate=False, seed=config.seed,
    )  # fmt: skip
    torch.manual_seed(config.seed)
    settings = {"steps": steps, "rate": config.distill_rate, "seed": config.seed}
    Loop(student, plan, ProcessGroup(device=config.device), folder=folder, settings=settings).run()
    after, rows, found = _copy(tower), [], []
    for share in SHARES:
        tower.module.load_state_dict(
            {name: torch.lerp(old, after[name], share) if old.is_floating_point() else old
             for name, old in before.items()}
        )  # fmt: skip
        found.append(student.vectors(len(clips)))
        _, choice = found[-1].blend(lists)
        rows.append((share, choice.values[choice.weight], own_recall(found[-1], clips)))
    shares = pl.DataFrame(rows, schema=MERGED, orient="row")
    best = shares[WEAK_SCORE].fill_nan(None).arg_max() or 0
    return {"encoder_distilled": ArmVectors(found[best], time.monotonic() - began)}, shares


@dataclass
class _Student:
    """The tower, as :class:`sportskills_lib.training.loop.Loop` trains it. Rows are clips, then
    learners.
    """

    tower: models.Tower
    ids: list[str]
    frames_NTD: np.ndarray
    narrations: list[str]  # "" of learners
    config: RetrievalConfig
    name, score = "encoder_distilled", "validated"

    def __post_init__(self) -> None:
        self.module = self.tower.module

    def learn(self, taught: pl.DataFrame) -> None:
        """Take the lists of each skill (learner_id, clip_id, label, reason, sport, skill)."""
        for name, weight in self.module.named_parameters():
            weight.requires_grad_(not name.startswith("visual."))
        places = {name: row for row, name in enumerate(self.ids)}
        self.skills = [
            candidate_lists(part, places) for part in taught.partition_by(KIND, maintain_order=True)
        ]

    def batches(self, first: int) -> Iterator[list[CandidateList]]:
        """Some learners of some skills, as the dual scorer draws them."""
        count, seed = self.config.skills_per_step, self.config.seed
        for step in range(first, self.config.distill_steps):
            yield draw_skills(self.skills, step, count, seed=seed)

    def backward(self, batch: list[CandidateList]) -> float:
        """Gradients of the cross-entropy with the teacher's softmax over each list; its value."""
        self.module.train()
        rows, place, owner = shared_candidates(batch)
        said_ND = self.tower.text_features([self.narrations[row] for row in rows])
        clips_ND = (self._pooled(rows) + said_ND) / 2
        asked_BD = self._pooled([one.learner for one in batch])
        scale = self.tower.model.logit_scale.exp().clamp(max=100).detach()
        scores = scale * (asked_BD[owner] * clips_ND[place]).sum(1)
        loss = list_loss(scores, [one.labels for one in batch], "listwise")
        loss.backward()
        return float(loss.item())

    def validate(self) -> tuple[dict[str, Any], list[dict[str, Any]]]:
        """Nothing: what validation chooses is the share of the merge."""
        return {self.score: 0.0}, []

    def vectors(self, clips: int) -> EncoderVectors:
        """Vectors by the tower as it is now; the first ``clips`` rows are clips."""
        import torch

        self.module.eval()
        with torch.inference_mode():
            parts = [self._pooled(rows).cpu() for rows in np.array_split(range(len(self.ids)), 16)]
        seen_ND = torch.cat(parts).numpy()
        seen = [*zip(self.ids, seen_ND, strict=True)]
        said_ND = self.tower.encode_texts(self.narrations[:clips])
        said = dict(zip(self.ids, said_ND, strict=False))
        return EncoderVectors(dict(seen[clips:]), dict(seen[:clips]), said)

    def _pooled(self, rows: Any) -> torch.Tensor:
        import torch

        return self.tower.pool(torch.from_numpy(self.frames_NTD[rows]).to(self.tower.device))


def _copy(tower: models.Tower) -> dict[str, torch.Tensor]:
    return {name: weight.clone() for name, weight in tower.module.state_dict().items()}


def own_recall(vectors: EncoderVectors, clips: pl.DataFrame) -> float:
    """How often a validation clip is among the first k of its sport by its narration: the mean over
    sports; NaN without any.
    """
    found = []
    for _, rows in clips.filter(pl.col("split").cast(pl.String) == "val").group_by("sport"):
        said_ND, seen_ND = (
            np.stack([by_id[name] for name in rows["clip_id"]])
            for by_id in (vectors.narrations, vectors.clips)
        )
        ranks = metrics.positive_ranks(said_ND @ seen_ND.T, np.arange(rows.height))
        found.append(np.mean(ranks <= metrics.HEADLINE_K))
    return float(np.mean(found)) if found else float("nan")
