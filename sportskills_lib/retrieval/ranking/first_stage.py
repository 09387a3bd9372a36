"""The first stage: the encoder, or the dual scorer, as a retriever, and how two scores become one.

Choices (which part of a clip the encoder looks at, how much a second score counts) are made on the
validation learners' weak labels; no grade is read anywhere.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import polars as pl

from sportskills_lib import metrics

WEIGHTS = tuple(step / 10 for step in range(11))
WEAK_SCORE = "weak_score"
UNCHOSEN = 0.5  # where there are no validation lists to choose by


@dataclass(frozen=True)
class Choice:
    """A weight chosen on validation, and what each weight reached there."""

    weight: float
    values: Mapping[float, float]

    def rows(self, name: str) -> list[tuple[str, float, float, bool]]:
        """(name, weight, value, chosen) of each weight tried."""
        return [(name, tried, value, tried == self.weight) for tried, value in self.values.items()]


def weak_scores(lists: pl.DataFrame, scores: np.ndarray) -> np.ndarray:
    """What 05 measures by grades, of scored rows (learner_id, clip_id, label) by their weak labels:
    nDCG@5 and whether the first clip mends the mistake (label 1) of each learner with a positive,
    [learners, 2]. NaN where none of a learner's clips mends.
    """
    table = lists.select("learner_id", "label", score=pl.Series(scores, dtype=pl.Float64))
    values = []
    for _, rows in table.group_by("learner_id", maintain_order=True):
        label = rows["label"].to_numpy()[np.argsort(-rows["score"].to_numpy(), kind="stable")]
        if label.max() > 0:
            ndcg = metrics.ndcg_at_k(label[None], label[None], k=5)[0]
            values.append((ndcg, label[0] == 1 if (label == 1).any() else np.nan))
    return np.array(values, dtype=float).reshape(-1, 2)


def weak_score(lists: pl.DataFrame, scores: np.ndarray) -> float:
    """The mean of nDCG@5 and of how often the first clip mends the mistake, by weak labels. NaN
    without a positive.
    """
    values = weak_scores(lists, scores)
    means = [column[~np.isnan(column)] for column in values.T]
    return float(np.mean([one.mean() for one in means if one.size])) if len(values) else np.nan


def choose_weight(
    lists: pl.DataFrame, first: np.ndarray, second: np.ndarray, *, needs_proof: bool = False
) -> Choice:
    """The weight of ``second`` (the rest goes to ``first``) that ranks the validation lists best;
    ties: the smaller. Without validation lists it is UNCHOSEN.

    ``needs_proof``: for a second score that costs time. Its weight is 0 unless the gain, paired by
    learner, is above two standard errors: validation has few learners, and the best of ten weights
    is above 0 by chance more often than not.
    """
    tried = {weight: blend(lists, first, second, weight) for weight in WEIGHTS}
    values = {weight: weak_score(lists, scores) for weight, scores in tried.items()}
    best = max(values, key=lambda weight: (np.nan_to_num(values[weight]), -weight))
    if np.isnan(values[best]):
        best = 0.0 if needs_proof else UNCHOSEN
    elif needs_proof and best:
        gains = weak_scores(lists, tried[best]) - weak_scores(lists, tried[0.0])
        gain = np.nanmean(gains, axis=1)
        if len(gain) < 2 or gain.mean() <= 2 * gain.std(ddof=1) / np.sqrt(len(gain)):
            best = 0.0
    return Choice(best, values)


def blend(pairs: pl.DataFrame, first: np.ndarray, second: np.ndarray, weight: float) -> np.ndarray:
    """Two scores of the same pairs, each standardised within its learner, as one; ``weight`` is the
    second's.
    """
    one, two = standardised(pairs, first), standardised(pairs, second)
    return (1 - weight) * one + weight * two


def standardised(pairs: pl.DataFrame, scores: np.ndarray) -> np.ndarray:
    """Scores with mean 0 and deviation 1 within each learner, so that systems can be added up."""
    table = pairs.select("learner_id").with_columns(score=pl.Series(scores, dtype=pl.Float64))
    score = pl.col("score")
    spread = score.std(ddof=0).over("learner_id")
    wide = (
        pl.when(spread > 1e-12)
        .then((score - score.mean().over("learner_id")) / spread)
        .otherwise(0.0)
    )
    return table.select(wide.alias("score"))["score"].to_numpy()


def usual_spread(pairs: pl.DataFrame, scores: np.ndarray) -> float:
    """The mean over learners of the scores' deviation within a learner; 1 where there is none."""
    spread = (
        pairs.select("learner_id")
        .with_columns(score=pl.Series(scores, dtype=pl.Float64))
        .group_by("learner_id", maintain_order=True)
        .agg(pl.col("score").std(ddof=0))["score"]
        .mean()
    )
    return float(spread) if isinstance(spread, float) and spread > 1e-12 else 1.0


# -------------------------------------------------------------------------------------- the encoder


def vectors(embeddings: pl.DataFrame, model_id: str, kind: str) -> dict[str, np.ndarray]:
    """Vectors of one model and kind of item, by id; ValueError when the model is not among the
    embeddings.
    """
    rows = embeddings.filter(
        (pl.col("model_id") == model_id) & (pl.col("item_kind").cast(pl.String) == kind)
    )
    if not rows.height:
        known = ", ".join(sorted(embeddings["model_id"].unique())) or "none"
        raise ValueError(
            f"no {kind} embeddings of {model_id!r} (there are: {known}): rerun 03_encoder with "
            "that arm"
        )
    return dict(zip(rows["item_id"], np.array(rows["vector"].to_list(), np.float32), strict=True))


def narration_vectors(
    clip_narrations: pl.DataFrame, by_narration: Mapping[str, np.ndarray]
) -> dict[str, np.ndarray]:
    """One direction for each clip: the mean of its narrations' vectors. ``clip_narrations`` is
    tables.Pairs.
    """
    found: dict[str, np.ndarray] = {}
    for (clip_id,), rows in clip_narrations.group_by("clip_id", maintain_order=True):
        known = [by_narration[item] for item in rows["narration_id"] if item in by_narration]
        if known:
            mean = np.mean(known, axis=0)
            found[str(clip_id)] = mean / max(float(np.linalg.norm(mean)), 1e-9)
    return found


def cosine(
    pairs: pl.DataFrame, learners: Mapping[str, np.ndarray], clips: Mapping[str, np.ndarray]
) -> np.ndarray:
    """Similarity of each row's learner and clip, [rows]; a clip without a vector scores 0."""
    width = len(next(iter(learners.values()))) if learners else 1
    nothing = np.zeros(width)
    left = np.array([learners[item] for item in pairs["learner_id"]]).reshape(-1, width)
    right = np.array([clips.get(item, nothing) for item in pairs["clip_id"]]).reshape(-1, width)
    return (left * right).sum(1)


@dataclass(frozen=True)
class Blend:
    """How the first stage adds up similarity to a clip's pictures and to what its coach says.

    Each counts in units of its usual spread within a learner's list, since cosines of pictures and
    of sentences differ in size; ``narration_weight`` is the share of the latter.
    """

    narration_weight: float = UNCHOSEN
    picture_unit: float = 1.0
    narration_unit: float = 1.0


@dataclass(frozen=True)
class EncoderVectors:
    """A trained tower's vectors of learners, and of clips' pictures and narrations, by id."""

    learners: Mapping[str, np.ndarray]
    clips: Mapping[str, np.ndarray]
    narrations: Mapping[str, np.ndarray]

    def blend(self, lists: pl.DataFrame, weight: float | None = None) -> tuple[Blend, Choice]:
        """The blend in units of the spread within ``lists`` (learner_id, clip_id, and label unless
        ``weight`` is given); by default with the weight that ranks their labels best.
        """
        pictures = cosine(lists, self.learners, self.clips)
        words = cosine(lists, self.learners, self.narrations)
        choice = choose_weight(lists, pictures, words) if weight is None else Choice(weight, {})
        units = usual_spread(lists, pictures), usual_spread(lists, words)
        return Blend(choice.weight, *units), choice

    def first_stage(self, blend: Blend) -> FirstStage:
        """The retriever of this blend. Its score stays an inner product of two vectors, so that
        neighbours can be searched.
        """
        picture_share = (1 - blend.narration_weight) / blend.picture_unit
        narration_share = blend.narration_weight / blend.narration_unit
        nothing = np.zeros(len(next(iter(self.clips.values()), ())))
        gallery = {
            clip_id: picture_share * vector
            + narration_share * self.narrations.get(clip_id, nothing)
            for clip_id, vector in self.clips.items()
        }
        return FirstStage(self.learners, gallery)


@dataclass(frozen=True)
class FirstStage:
    """One vector per learner and per clip: the first stage's score is their inner product, in pools
    and in search.
    """

    learners: Mapping[str, np.ndarray]
    gallery: Mapping[str, np.ndarray]

    @cached_property
    def stacked(self) -> tuple[np.ndarray, np.ndarray, dict[str, int]]:
        """The gallery's ids in order, its vectors [N, D] in that order, and each id's row: made
        once, since that takes longer than a search.
        """
        ids = sorted(self.gallery)
        vectors_ND = np.stack([self.gallery[name] for name in ids])
        return np.array(ids, object), vectors_ND, {name: row for row, name in enumerate(ids)}

    def scores(self, pairs: pl.DataFrame) -> np.ndarray:
        """Score of each row's learner and clip, [rows]; a clip without a vector scores 0."""
        return cosine(pairs, self.learners, self.gallery)


def encoder_vectors(
    embeddings: pl.DataFrame,
    model_id: str,
    pairs: pl.DataFrame,
    learner_vectors: Mapping[str, np.ndarray],
) -> EncoderVectors:
    """The stored embeddings of one arm of 03, and the learners' vectors by the same tower.

    ``pairs``: tables.Pairs.
    """
    said = narration_vectors(pairs, vectors(embeddings, model_id, "narration"))
    return EncoderVectors(learner_vectors, vectors(embeddings, model_id, "clip"), said)
