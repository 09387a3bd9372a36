"""Every system's scores of learners and clips, and the weights of those that are made of two.

A system made of two others adds their scores, each in units of its spread within a learner's list;
how much the second counts is chosen on validation lists by their weak labels, and so is from how
many training mistakes ``comments_knn`` borrows. Validation lists hold clips of the learner's skill
alone: elsewhere matching the skill would decide.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial

import numpy as np
import polars as pl

from sportskills_lib.retrieval.ranking import baselines, first_stage
from sportskills_lib.retrieval.ranking.first_stage import (
    Choice,
    FirstStage,
    choose_weight,
    usual_spread,
    weak_score,
)
from sportskills_lib.retrieval.relevance.pair_scorer import PairScorer

Scores = Callable[[pl.DataFrame], np.ndarray]  # of pairs learner_id, clip_id: [rows]
NEAREST = (1, 2, 4, 8, 16)
DUAL = "vlm_dual_correct"
PARTS = ("correct", "words")  # scores that are no system by themselves


@dataclass
class Systems:
    """How each system scores pairs: by itself, or as a blend with a weight chosen on ``lists``."""

    lists: pl.DataFrame  # learner_id, clip_id, label
    rows: list[tuple[str, float, float, bool]] = field(default_factory=list)  # as Choice.rows
    _alone: dict[str, Scores] = field(default_factory=dict)
    _blends: dict[str, tuple[str, str, float]] = field(default_factory=dict)
    _known: dict[str, np.ndarray] = field(default_factory=dict)  # of ``lists``

    def add(self, name: str, scores: Scores) -> None:
        """A system with scores of its own."""
        self._alone[name], self._known[name] = scores, scores(self.lists)

    def blend(self, name: str, one: str, two: str, *, needs_proof: bool = False) -> float:
        """A system made of two that are known; the weight of the second, as choose_weight."""
        first, second = self._known[one], self._known[two]
        choice = choose_weight(self.lists, first, second, needs_proof=needs_proof)
        self.rows += choice.rows(f"{name}: {two} against {one}")
        self._blends[name] = one, two, choice.weight
        self._known[name] = first_stage.blend(self.lists, first, second, choice.weight)
        return choice.weight

    def of_lists(self, name: str) -> np.ndarray:
        """The system's scores of the validation lists, [rows]."""
        return self._known[name]

    def scores(self, pairs: pl.DataFrame) -> dict[str, np.ndarray]:
        """Scores of the pairs by every system that is no blend, [rows] each."""
        return {name: of(pairs) for name, of in self._alone.items()}

    def blended(
        self, pairs: pl.DataFrame, scores: Mapping[str, np.ndarray]
    ) -> dict[str, np.ndarray]:
        """The same with the blends, each within its learner's pairs; without what is no system."""
        found = dict(scores)
        for name, (one, two, weight) in self._blends.items():
            found[name] = first_stage.blend(pairs, found[one], found[two], weight)
        return {name: values for name, values in found.items() if name not in PARTS}


def add_words(systems: Systems, borrow: Callable[..., np.ndarray]) -> None:
    """``words``: what is borrowed (:func:`baselines.borrowed_words`) from the number of training
    mistakes that ranks the lists best; ties: the smaller.
    """
    reached: dict[float, float] = {
        count: weak_score(systems.lists, borrow(systems.lists, nearest=count)) for count in NEAREST
    }
    best = max(NEAREST, key=lambda count: (np.nan_to_num(reached[count]), -count))
    systems.rows += Choice(best, reached).rows("words: mistakes borrowed from")
    systems.add("words", partial(borrow, nearest=best))


def dual_search(
    scorer: PairScorer, lists: pl.DataFrame, clips: pl.DataFrame
) -> tuple[FirstStage, Choice]:
    """The dual scorer and 02's label as one retriever, whose score is an inner product; the label's
    weight is chosen on the lists. Both count in units of their usual spread there.
    """
    assert scorer.vectors is not None
    correct = partial(baselines.correct_scores, clips=clips)
    parts = scorer.dual_scores(lists), correct(lists)
    choice = choose_weight(lists, *parts)
    shares = np.array([1 - choice.weight, choice.weight]) / [
        usual_spread(lists, one) for one in parts
    ]
    learner_ND, clip_ND = scorer.vectors
    known = [name for name in clips["clip_id"] if name in scorer.places]
    label_N = correct(pl.DataFrame({"clip_id": known}))
    rows = [scorer.places[name] for name in known]
    gallery_ND = np.column_stack([shares[0] * clip_ND[rows], shares[1] * label_N]).astype(
        np.float32
    )
    asked = {name: row for name, row in scorer.places.items() if row not in scorer.narrations}
    ones = np.ones((len(learner_ND), 1), np.float32)
    queries_ND = np.hstack([learner_ND, ones])
    learners = {name: queries_ND[row] for name, row in asked.items()}
    return FirstStage(learners, dict(zip(known, gallery_ND, strict=True))), choice


def blind(search: FirstStage, learners: pl.DataFrame) -> FirstStage:
    """The retriever asked with the mean of the skill's training mistakes in place of the learner's
    own video: what it ranks without seeing the learner.
    """
    taught = learners.filter(pl.col("is_mistake") & (pl.col("split").cast(pl.String) == "train"))
    kinds = dict(zip(learners["learner_id"], learners.select(baselines.KIND).rows(), strict=True))
    means = {
        kind: np.mean([search.learners[name] for name in people["learner_id"]], axis=0)
        for kind, people in taught.group_by(baselines.KIND)
    }
    width = len(next(iter(search.learners.values())))
    nothing = np.zeros(width, np.float32)
    return FirstStage(
        {name: means.get(kind, nothing) for name, kind in kinds.items()}, search.gallery
    )
