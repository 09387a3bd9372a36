"""The first stage (the encoder as a retriever), and the systems that need no training, from chance
to the oracle that reads the expert.

Choices (which part of a clip the encoder looks at, how much of it the fused score takes) are made
on the validation learners' weak labels; no grade is read anywhere. Only ``text_oracle`` reads the
expert's comment. A control, ``vlm_lora_shuffled``, gives each learner the video of another learner
of the same skill: what is left then is not owed to this learner's mistake.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import polars as pl

from sportskills_lib import metrics
from sportskills_lib.retrieval.ranking import nearest
from sportskills_lib.retrieval.relevance.finetune import ndcg
from sportskills_lib.retrieval.supervision.text_similarity import Similarity, tfidf_similarity

WEIGHTS = (0.0, 0.25, 0.5, 0.75, 1.0)
WEAK_NDCG = metrics.at_k("weak_ndcg")
UNCHOSEN = 0.5  # where there are no validation lists to choose by


@dataclass(frozen=True)
class Choice:
    """A weight chosen on validation, and what each weight reached there."""

    weight: float
    values: dict[float, float]

    def rows(self, name: str) -> list[tuple[str, float, float]]:
        """(name, weight, value) of each weight tried."""
        return [(name, weight, value) for weight, value in self.values.items()]


def weak_ndcg(lists: pl.DataFrame, scores: np.ndarray) -> float:
    """Mean nDCG@k of scored rows (learner_id, clip_id, label) by their weak labels; NaN without a
    positive.
    """
    table = lists.select("learner_id", "label").with_columns(
        score=pl.Series(scores, dtype=pl.Float64)
    )
    values = [
        ndcg(rows["score"].to_numpy(), rows["label"].to_numpy())
        for _, rows in table.group_by("learner_id", maintain_order=True)
        if rows["label"].max() > 0  # type: ignore[operator]
    ]
    return float(np.mean(values)) if values else float("nan")


def choose_weight(lists: pl.DataFrame, first: np.ndarray, second: np.ndarray) -> Choice:
    """The weight of ``second`` (the rest goes to ``first``) that ranks the validation lists best;
    ties: the smaller.

    Without validation lists it is UNCHOSEN. :func:`chosen` reads the same from the table of
    choices.
    """
    one, two = nearest.standardised(lists, first), nearest.standardised(lists, second)
    values = {weight: weak_ndcg(lists, (1 - weight) * one + weight * two) for weight in WEIGHTS}
    if not lists.height or np.isnan(values[UNCHOSEN]):
        return Choice(UNCHOSEN, values)
    return Choice(max(WEIGHTS, key=lambda weight: (values[weight], -weight)), values)


def weights_on_validation(choices: pl.DataFrame) -> pl.DataFrame:
    """The table of choices (choice, weight, weak_ndcg@k) with the column ``chosen``: by
    choose_weight's rule.
    """
    reached = pl.col(WEAK_NDCG).fill_nan(None)
    best = (
        pl.col("weight")
        .sort_by(reached, "weight", descending=[True, False], nulls_last=True)
        .first()
        .over("choice")
    )
    known = reached.is_not_null().any().over("choice")
    return choices.with_columns(
        chosen=pl.col("weight") == pl.when(known).then(best).otherwise(UNCHOSEN)
    )


def blend(pairs: pl.DataFrame, first: np.ndarray, second: np.ndarray, weight: float) -> np.ndarray:
    """Two scores of the same pairs, each standardised within its learner, as one; ``weight`` is the
    second's.
    """
    return (1 - weight) * nearest.standardised(pairs, first) + weight * nearest.standardised(
        pairs, second
    )


# ---------------------------------------------------------------------------------------- baselines


def random_scores(pairs: pl.DataFrame, seed: int) -> np.ndarray:
    """Chance: a number for each pair that depends on its names and the seed alone."""
    ids = pairs.select("learner_id", "clip_id").iter_rows()
    return np.array(
        [nearest.seeded_uniform(seed, learner_id, clip_id) for learner_id, clip_id in ids]
    )


def same_skill_scores(
    pairs: pl.DataFrame, learners: pl.DataFrame, clips: pl.DataFrame, seed: int
) -> np.ndarray:
    """Clips of the learner's skill first, in random order: what knowing the skill alone is
    worth.
    """
    named = pairs.select("learner_id", "clip_id").join(
        learners.select("learner_id", wanted="skill"),
        on="learner_id",
        how="left",
        maintain_order="left",
    )
    named = named.join(
        clips.select("clip_id", "skill"), on="clip_id", how="left", maintain_order="left"
    )
    same = (named["wanted"] == named["skill"]).fill_null(False).to_numpy().astype(np.float64)
    return same + random_scores(pairs, seed)


def oracle_scores(
    pairs: pl.DataFrame,
    learners: pl.DataFrame,
    texts: Mapping[str, str],
    similarity: Similarity = tfidf_similarity,
) -> np.ndarray:
    """The expert's comment against what each candidate's coach says: an upper line, not a system
    one could use.
    """
    scores = np.zeros(pairs.height)
    comments = dict(learners.select("learner_id", "comment").iter_rows())
    table = pairs.select("learner_id", "clip_id").with_row_index("row")
    for (learner_id,), rows in table.group_by("learner_id", maintain_order=True):
        said = [texts[clip_id] for clip_id in rows["clip_id"]]
        scores[rows["row"].to_numpy()] = similarity([comments[str(learner_id)]], said)[0]
    return scores


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
        pictures = nearest.cosine(lists, self.learners, self.clips)
        words = nearest.cosine(lists, self.learners, self.narrations)
        choice = choose_weight(lists, pictures, words) if weight is None else Choice(weight, {})
        units = nearest.usual_spread(lists, pictures), nearest.usual_spread(lists, words)
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

    def scores(self, pairs: pl.DataFrame) -> np.ndarray:
        """Score of each row's learner and clip, [rows]; a clip without a vector scores 0."""
        return nearest.cosine(pairs, self.learners, self.gallery)


def encoder_vectors(
    embeddings: pl.DataFrame,
    model_id: str,
    pairs: pl.DataFrame,
    learner_vectors: Mapping[str, np.ndarray],
) -> EncoderVectors:
    """The stored embeddings of one arm of 03, and the learners' vectors by the same tower.

    ``pairs``: tables.Pairs.
    """
    narrations = nearest.vectors(embeddings, model_id, "narration")
    return EncoderVectors(
        learner_vectors,
        nearest.vectors(embeddings, model_id, "clip"),
        nearest.narration_vectors(pairs, narrations),
    )


def swapped_learners(learners: pl.DataFrame) -> dict[str, str]:
    """For each learner the next one of its sport, skill and split (itself, if it is alone
    there).
    """
    swap: dict[str, str] = {}
    for _, rows in learners.sort("learner_id").group_by(
        "split", "sport", "skill", maintain_order=True
    ):
        ids = rows["learner_id"].to_list()
        swap |= dict(zip(ids, ids[1:] + ids[:1], strict=True))
    return swap
