"""Two stages: the encoder's nearest neighbours over the whole library, then the relevance model on
the shortlist.

The same two scores give every ranking here: of the pools that coaches judged (all candidates are
scored, which is what graded evaluation needs), of the library (only the shortlist is scored, which
is what a person can wait for), and what becomes of the judged rankings at other depths and weights.
No grade is read.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import polars as pl

from sportskills_lib.formats.files import write_whole
from sportskills_lib.retrieval.ranking import nearest
from sportskills_lib.retrieval.ranking.first_stage import WEIGHTS, Blend, FirstStage, blend

DEPTHS = (0, 3, 6, 12, 24)  # candidates of a judged pool that the relevance model sees
FIRST, SECOND, FUSED = "encoder_narrations", "vlm_lora", "fused"  # the three systems
FILE = "ranking.json"


@dataclass(frozen=True)
class RankingChoices:
    """What 04 chose on its validation learners: all that another program needs to rank as it does.

    ``encoder``: of 03, the first stage; ``relevance_weight``: the relevance model's share of the
    fused score.
    """

    encoder: str
    blend: Blend
    relevance_weight: float

    def save(self, folder: Path) -> None:
        """Write ranking.json, whole or not at all."""
        write_whole(folder / FILE, json.dumps(asdict(self), indent=2) + "\n")


def load_choices(folder: Path) -> RankingChoices:
    """What 04 chose; ValueError where an earlier version made it, which did not write this down."""
    path = folder / FILE
    try:
        content = json.loads(path.read_text())
        return RankingChoices(**content | {"blend": Blend(**content["blend"])})
    except (OSError, TypeError, KeyError, ValueError) as error:
        raise ValueError(
            f"{path} does not say how 04 ranks ({error}); an earlier version made it: rerun "
            "04_retrieval"
        ) from None


@dataclass(frozen=True)
class TwoStage:
    """The first stage, the relevance model's scores of any pairs (None: the first stage alone), and
    the relevance model's share of the fused score.
    """

    first: FirstStage
    second: Callable[[pl.DataFrame], np.ndarray] | None
    relevance_weight: float

    def fused(self, pairs: pl.DataFrame, first: np.ndarray, second: np.ndarray) -> np.ndarray:
        """Both scores of the same pairs as one."""
        return blend(pairs, first, second, self.relevance_weight)

    def rankings(self, shortlists: pl.DataFrame) -> pl.DataFrame:
        """tables.Rankings of learners' shortlists (:func:`nearest.shortlist`): by the first stage,
        and, with a second, by that and by both; each score standardised within its shortlist.
        """
        first = shortlists["score"].to_numpy()
        scores = {FIRST: first}
        if self.second is not None:
            scores[SECOND] = self.second(shortlists)
            scores[FUSED] = self.fused(shortlists, first, scores[SECOND])
        return nearest.stack_rankings(
            [nearest.rank(name, shortlists, value) for name, value in scores.items()]
        )


def library_rankings(
    stages: TwoStage, learners: pl.DataFrame, clips: pl.DataFrame, *, depth: int, same_sport: bool
) -> pl.DataFrame:
    """tables.Rankings of each learner's shortlist from all clips of its split (and sport)."""
    vectors = stages.first.learners, stages.first.gallery
    return stages.rankings(
        nearest.shortlists(learners, clips, *vectors, depth=depth, same_sport=same_sport)
    )


def gallery_rankings(
    stages: TwoStage, learner_ids: Sequence[str], clip_ids: Sequence[str], *, depth: int
) -> pl.DataFrame:
    """tables.Rankings of each learner's shortlist from these clips."""
    vectors = stages.first.learners, stages.first.gallery
    return stages.rankings(nearest.shortlist(learner_ids, clip_ids, *vectors, depth=depth))


def variants(
    stages: TwoStage, pools: pl.DataFrame, first: np.ndarray, second: np.ndarray
) -> pl.DataFrame:
    """tables.Rankings of the judged pools at every depth, and at every weight of the fused score.

    Systems ``depth 6`` (the encoder's first six by the fused score, the others below them), ``alone
    6`` (those six by the relevance model alone, whatever weight was chosen), ``weight 0.25`` …
    """
    scores = {
        f"{name} {depth}": reranked(pools, first, second, weight, depth)
        for name, weight in (("depth", stages.relevance_weight), ("alone", 1.0))
        for depth in DEPTHS
    }
    scores |= {f"weight {weight:g}": blend(pools, first, second, weight) for weight in WEIGHTS}
    return nearest.stack_rankings(
        [nearest.rank(name, pools, value) for name, value in scores.items()]
    )


def reranked(
    pools: pl.DataFrame, first: np.ndarray, second: np.ndarray, weight: float, depth: int
) -> np.ndarray:
    """Scores [rows] that put the first stage's ``depth`` best in the order of the fused score,
    above all the others.

    The fused score is taken within the shortlist, as it would be where nothing else has been
    scored.
    """
    table = pools.select("learner_id", "clip_id").with_row_index("row")
    table = table.with_columns(
        first=pl.Series(first, dtype=pl.Float64), second=pl.Series(second, dtype=pl.Float64)
    )
    table = table.sort("learner_id", "first", "clip_id", descending=[False, True, False])
    table = table.with_columns(place=pl.int_range(pl.len()).over("learner_id"))
    head, tail = table.filter(pl.col("place") < depth), table.filter(pl.col("place") >= depth)
    fused = blend(head, head["first"].to_numpy(), head["second"].to_numpy(), weight)
    scores = np.zeros(pools.height)
    scores[tail["row"].to_numpy()] = -tail["place"].to_numpy().astype(np.float64)
    scores[head["row"].to_numpy()] = fused + 1e3  # standardised scores are far smaller
    return scores
