"""Two stages: the encoder's nearest neighbours over the whole library, then the relevance model on
the shortlist.

The same two scores give every ranking here: of the pools that coaches judged (all candidates are
scored, which is what graded evaluation needs), of the library (only the shortlist is scored, which
is what a person can wait for), and what becomes of the judged rankings at other depths and weights.
No grade is read.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import polars as pl

from sportskills_lib.retrieval.ranking import first_stage, nearest

DEPTHS = (
    0,
    3,
    6,
    12,
    24,
)  # candidates of a judged pool that the relevance model sees, for the curve over depth
TIMINGS = {"part": pl.String, "seconds": pl.Float64, "items": pl.Int64, "item": pl.String}


@dataclass(frozen=True)
class TwoStage:
    """The first stage, the relevance model's scores of any pairs, and what share of the fused score
    is the latter's.
    """

    first: first_stage.FirstStage
    second: Callable[[pl.DataFrame], np.ndarray]
    weight: float

    def fused(self, pairs: pl.DataFrame, first: np.ndarray, second: np.ndarray) -> np.ndarray:
        """Both scores of the same pairs as one."""
        return first_stage.blend(pairs, first, second, self.weight)


def library_rankings(
    stages: TwoStage, learners: pl.DataFrame, clips: pl.DataFrame, *, depth: int, same_sport: bool
) -> pl.DataFrame:
    """tables.Rankings of each learner's shortlist from the whole library, by the encoder and
    reranked in two ways.
    """
    found = nearest.shortlists(
        learners,
        clips,
        stages.first.learners,
        stages.first.gallery,
        depth=depth,
        same_sport=same_sport,
    )
    first, second = found["score"].to_numpy(), stages.second(found)
    scores = {
        "encoder_narrations": first,
        "vlm_lora": second,
        "fused": stages.fused(found, first, second),
    }
    return nearest.stack_rankings(
        [nearest.rank(name, found, value) for name, value in scores.items()]
    )


def variants(
    stages: TwoStage, pools: pl.DataFrame, first: np.ndarray, second: np.ndarray
) -> pl.DataFrame:
    """tables.Rankings of the judged pools at every depth, and at every weight of the fused score.

    Systems ``depth 6`` (the encoder's first six by the fused score, the others below them), ``alone
    6`` (those six by the relevance model alone, whatever weight was chosen), ``weight 0.25`` …
    """
    parts = []
    for name, weight in (("depth", stages.weight), ("alone", 1.0)):
        for depth in DEPTHS:
            parts.append(
                nearest.rank(
                    f"{name} {depth}", pools, reranked(pools, first, second, weight, depth)
                )
            )
    for weight in first_stage.WEIGHTS:
        parts.append(
            nearest.rank(
                f"weight {weight:g}", pools, first_stage.blend(pools, first, second, weight)
            )
        )
    return nearest.stack_rankings(parts)


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
    fused = first_stage.blend(head, head["first"].to_numpy(), head["second"].to_numpy(), weight)
    scores = np.zeros(pools.height)
    scores[tail["row"].to_numpy()] = -tail["place"].to_numpy().astype(np.float64)
    scores[head["row"].to_numpy()] = fused + 1e3  # standardised scores are far smaller
    return scores
