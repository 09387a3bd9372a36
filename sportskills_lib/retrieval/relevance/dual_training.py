"""How the dual scorer learns: from texts alone first, then from videos.

*Text warm-up*: the query is what the expert said of a training learner (or what a coach said over a
mistake), so that a narration that answers a comment lies near it before any video is looked at. The
paper never inputs commentary: here training reads it, as the weak labels do; in use nothing does.
*Dual scorer*: the query is the learner's video. Both compare a learner with all its labelled
candidates, as lists, and take a few skills a step, whose learners share candidates. Adapters of the
language model and the head learn together.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from sportskills_lib.config import RetrievalConfig
from sportskills_lib.retrieval.relevance import dual_scorer
from sportskills_lib.retrieval.relevance.candidate_lists import (
    VALIDATION_NDCG,
    CandidateList,
    draw_skills,
    list_loss,
    ndcg,
    shared_candidates,
)
from sportskills_lib.retrieval.relevance.pair_scorer import PairScorer
from sportskills_lib.training.distributed import ProcessGroup

if TYPE_CHECKING:
    import torch


class DualTask:
    """Adapters and head, as :class:`sportskills_lib.training.loop.Loop` trains them.

    ``train``, ``val``: the lists of each skill. ``comments``: by row of the visual tokens, what
    stands for each learner's video in the warm-up; None: the video itself.
    """

    score = VALIDATION_NDCG

    def __init__(
        self,
        scorer: PairScorer,
        train: Sequence[Sequence[CandidateList]],
        val: Sequence[Sequence[CandidateList]],
        config: RetrievalConfig,
        group: ProcessGroup,
        comments: dict[int, str] | None = None,
    ):
        import torch

        self.scorer, self.config, self.group, self.comments = scorer, config, group, comments
        self.vlm, self.train, self.val = scorer.vlm, train, [one for each in val for one in each]
        if comments is None and not config.dual_adapters:
            scorer.keep_states()
        self.steps = config.dual_steps if comments is None else config.text_steps
        self.name = "vlm_dual" if comments is None else "text_warm_up"
        parts: Any = {"adapters": scorer.vlm.model, "head": scorer.head}  # type: ignore[union-attr]
        self.module = torch.nn.ModuleDict(parts)

    def batches(self, first: int) -> Iterator[list[CandidateList]]:
        """Some learners of some skills; what is drawn hangs on the step and the seed alone."""
        count, seed = self.config.skills_per_step, self.config.seed
        for step in range(first, self.steps):
            yield draw_skills(self.train, step, count, seed=seed)

    def backward(self, batch: list[CandidateList]) -> float:
        """Gradients of this process's share of the learners; the mean loss over all of them."""
        self.module.train()
        own = batch[self.group.share(len(batch))]
        scores = self._scores(own)
        loss = list_loss(scores, [one.labels for one in own], self.config.loss)
        loss = loss * len(own) * self.group.size / len(batch)  # the loop takes the processes' mean
        loss.backward()
        return self.group.total(loss.item()) / self.group.size

    def validate(self) -> tuple[dict[str, Any], list[dict[str, Any]]]:
        """nDCG@k of the validation learners' lists by their weak labels; NaN without any."""
        import torch

        self.module.eval()
        own = self.val[self.group.share(len(self.val))]
        with torch.no_grad():
            parts = self._scores(own).split([len(one.labels) for one in own]) if own else ()
        values = [ndcg(part.numpy(), one.labels) for part, one in zip(parts, own, strict=True)]
        total = self.group.total(float(np.sum(values)))
        return {self.score: total / len(self.val) if self.val else float("nan")}, []

    def _scores(self, lists: Sequence[CandidateList]) -> torch.Tensor:
        """The scores of the lists' candidates, one list after the other."""
        scorer, width = self.scorer, dual_scorer.WIDTH
        rows, place, owner = shared_candidates(lists)
        clips = scorer.clip_vectors(rows)
        asked = [one.learner for one in lists]
        if self.comments is None:
            queries = scorer.learner_vectors(asked)
        else:
            queries = scorer.text_vectors([self.comments[row] for row in asked])
            clips, queries = clips[:, :width], queries * dual_scorer.SCALE
        device = clips.device
        return (queries[owner.to(device)] * clips[place.to(device)]).sum(1)
