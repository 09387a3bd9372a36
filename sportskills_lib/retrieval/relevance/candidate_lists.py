"""Lists of a learner's labelled candidates, what is drawn of them for a step, and their loss."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np
import polars as pl

from sportskills_lib import metrics

if TYPE_CHECKING:
    import torch

LEARNERS_A_SKILL = 8  # of a step
MARGIN = 4.0  # between labels 1 and 0: a logit at which one is 55 times as likely as the other
VALIDATION_NDCG = metrics.at_k("val_ndcg")


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
        labels = rows["label"].to_numpy(writable=True)
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


def draw_skills(
    skills: Sequence[Sequence[CandidateList]], step: int, count: int, *, seed: int
) -> list[CandidateList]:
    """Some learners of ``count`` skills, who share candidates; it depends on the step and the seed
    alone.
    """
    rng = np.random.default_rng([seed, 47, step])
    return [
        skills[skill][place]
        for skill in rng.permutation(len(skills))[:count]
        for place in rng.permutation(len(skills[skill]))[:LEARNERS_A_SKILL]
    ]


def shared_candidates(
    lists: Sequence[CandidateList],
) -> tuple[np.ndarray, torch.Tensor, torch.Tensor]:
    """The lists' candidates, each once; and for every candidate of every list, one list after the
    other, its place among those and its list's number.
    """
    import torch

    rows, place = np.unique(np.concatenate([one.clips for one in lists]), return_inverse=True)
    owner = np.repeat(np.arange(len(lists)), [len(one.clips) for one in lists])
    return rows, torch.from_numpy(place), torch.from_numpy(owner)


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
    scores: torch.Tensor,
    labels: Sequence[np.ndarray],
    kind: Literal["listwise", "pointwise", "margin_mse"],
) -> torch.Tensor:
    """The mean loss over lists; ``scores`` holds the lists one after the other.

    ``margin_mse`` asks for differences of scores as large as those of labels (times MARGIN), after
    MarginMSE (arXiv 2010.02666), with the weak labels in the teacher's place.
    """
    import torch

    losses = []
    for part, label in zip(scores.split([len(each) for each in labels]), labels, strict=True):
        target = torch.from_numpy(label).to(part.device, part.dtype)
        if kind == "listwise":
            losses.append(-(target / target.sum() * part.log_softmax(0)).sum())
        elif kind == "margin_mse":
            above, below = torch.nonzero(target[:, None] > target[None], as_tuple=True)
            wanted = MARGIN * (target[above] - target[below])
            losses.append(torch.nn.functional.mse_loss(part[above] - part[below], wanted))
        else:
            losses.append(torch.nn.functional.binary_cross_entropy_with_logits(part, target))
    return torch.stack(losses).mean()


def ndcg(scores: np.ndarray, gains: np.ndarray) -> float:
    """nDCG@k of one list; equal scores in the order given."""
    return float(metrics.ndcg_at_k(gains[np.argsort(-scores, kind="stable")][None], gains[None])[0])
