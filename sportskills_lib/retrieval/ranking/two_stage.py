"""Two stages: the encoder's nearest neighbours over the whole library, then the relevance model on
the shortlist.

The same two scores give every ranking here: of the pools that coaches judged (all candidates are
scored, which is what graded evaluation needs), of the library (only the shortlist is scored, which
is what a person can wait for), and what becomes of the judged rankings at other depths and weights.
No grade is read.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import polars as pl

from sportskills_lib import tables
from sportskills_lib.formats.files import write_whole
from sportskills_lib.retrieval.ranking.exact_search import top_k
from sportskills_lib.retrieval.ranking.first_stage import Blend, FirstStage, blend

ENCODER, YES_NO, RELEVANCE = "encoder_narrations", "vlm_yes_no", "relevance"  # systems
WEIGHTS = (0.0, 0.25, 0.5, 0.75, 1.0)  # of the fused score
DEPTHS = (0, 3, 6, 12, 24)  # candidates of a judged pool that the relevance model sees
FILE, INDEX = "ranking.json", "index.safetensors"
SHORTLIST = {"learner_id": pl.String, "clip_id": pl.String, "score": pl.Float64}
RANKINGS = {
    "system": pl.String,
    "query_id": pl.String,
    "rank": pl.Int64,
    "clip_id": pl.String,
    "score": pl.Float64,
}


@dataclass(frozen=True)
class RankingChoices:
    """What 04 chose on its validation learners: all that another program needs to rank as it does.

    ``encoder``: of 03, and how it looks at clips; ``search``: the system that searches the library;
    ``relevance_weight``: what yes/no adds to it on the shortlist, as a share.
    """

    encoder: str
    blend: Blend
    relevance_weight: float
    search: str = ENCODER

    def save(self, folder: Path) -> None:
        """Write ranking.json, whole or not at all."""
        write_whole(folder / FILE, json.dumps(asdict(self), indent=2) + "\n")


def save_index(gallery: Mapping[str, np.ndarray], folder: Path) -> None:
    """Write the search's vector of every clip as ``index.safetensors``, by clip_id."""
    from safetensors.numpy import save_file

    ids = "\n".join(gallery)  # an id has no line break
    save_file({"vectors": np.stack([*gallery.values()])}, folder / INDEX, {"clip_ids": ids})


def read_index(folder: Path) -> dict[str, np.ndarray]:
    """What :func:`save_index` wrote: float32 [D] by clip_id."""
    from safetensors import safe_open

    with safe_open(folder / INDEX, "np") as file:
        ids = file.metadata()["clip_ids"].split("\n")
        return dict(zip(ids, file.get_tensor("vectors"), strict=True))


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
    """The first stage, yes/no scores of any pairs (None: the first stage alone), their share of the
    final score, and the name of the system that the first stage is.
    """

    first: FirstStage
    second: Callable[[pl.DataFrame], np.ndarray] | None
    relevance_weight: float
    search: str = ENCODER

    def shortlist(
        self, learner_ids: Sequence[str], clip_ids: Sequence[str], *, depth: int
    ) -> pl.DataFrame:
        """learner_id, clip_id, score: each learner's ``depth`` nearest of these clips, best first,
        ties by clip_id. A clip without a vector is left out.
        """
        if not self.first.gallery or not len(learner_ids):
            return pl.DataFrame(schema=SHORTLIST)
        ids, gallery_ND, row_of = self.first.stacked
        asked = np.array(sorted(row_of[name] for name in clip_ids if name in row_of), np.int64)
        if len(asked) < len(ids):
            ids, gallery_ND = ids[asked], gallery_ND[asked]
        queries = np.stack([self.first.learners[learner_id] for learner_id in learner_ids])
        rows, scores = top_k(queries, gallery_ND, depth)
        columns = {
            "learner_id": np.repeat(np.array(learner_ids, object), rows.shape[1]),
            "clip_id": ids[rows].ravel(),
            "score": scores.ravel(),
        }
        return pl.DataFrame(columns, schema=SHORTLIST)

    def rankings(self, shortlists: pl.DataFrame) -> pl.DataFrame:
        """tables.Rankings of learners' shortlists: by the first stage, and, with a second, by that
        and by both; each score standardised within its shortlist.
        """
        first = shortlists["score"].to_numpy()
        scores = {self.search: first}
        if self.second is not None:
            scores[YES_NO] = self.second(shortlists)
            scores[RELEVANCE] = blend(shortlists, first, scores[YES_NO], self.relevance_weight)
        return rank(shortlists, scores)


def shortlists(
    stages: TwoStage, learners: pl.DataFrame, clips: pl.DataFrame, *, depth: int, same_sport: bool
) -> pl.DataFrame:
    """learner_id, clip_id, score: each learner's ``depth`` nearest clips of its own split (and
    sport), as :meth:`TwoStage.shortlist`, in the order of the learners.
    """
    keys = ["split", "sport"] if same_sport else ["split"]
    galleries = clips.partition_by(keys, as_dict=True)
    parts = [
        stages.shortlist(
            people["learner_id"].to_list(), galleries[key]["clip_id"].to_list(), depth=depth
        )
        for key, people in learners.group_by(keys, maintain_order=True)
        if key in galleries
    ]
    return pl.concat([pl.DataFrame(schema=SHORTLIST), *parts])


def rank(pairs: pl.DataFrame, scores: Mapping[str, np.ndarray]) -> pl.DataFrame:
    """tables.Rankings by each system's ``scores`` [rows of pairs]; ties stand in order of
    clip_id.
    """
    parts = [pl.DataFrame(schema=RANKINGS)]
    for system, values in scores.items():
        if np.isnan(values).any():
            row = pairs.row(int(np.flatnonzero(np.isnan(values))[0]), named=True)
            raise ValueError(
                f"{system}: the score of clip {row['clip_id']} for learner {row['learner_id']} is "
                "NaN"
            )
        part = pairs.select(
            pl.lit(system).alias("system"),
            query_id="learner_id",
            clip_id="clip_id",
            score=pl.Series(values, dtype=pl.Float64),
        ).sort("query_id", "score", "clip_id", descending=[False, True, False])
        place = pl.int_range(1, pl.len() + 1).over("query_id")
        parts.append(part.with_columns(rank=place).select(RANKINGS.keys()))
    table = pl.concat(parts)
    tables.check_rankings(table)
    return tables.Rankings.validate(table, cast=True)


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
    return rank(pools, scores)


def reranked(
    pools: pl.DataFrame, first: np.ndarray, second: np.ndarray, weight: float, depth: int
) -> np.ndarray:
    """Scores [rows] that put the first stage's ``depth`` best in the order of the fused score,
    above all the others.

    The fused score is taken within the shortlist, as it would be where nothing else has been
    scored.
    """
    table = (
        pools.select("learner_id", "clip_id")
        .with_columns(
            first=pl.Series(first, dtype=pl.Float64), second=pl.Series(second, dtype=pl.Float64)
        )
        .with_row_index("row")
        .sort("learner_id", "first", "clip_id", descending=[False, True, False])
        .with_columns(place=pl.int_range(pl.len()).over("learner_id"))
    )
    head, tail = table.filter(pl.col("place") < depth), table.filter(pl.col("place") >= depth)
    fused = blend(head, head["first"].to_numpy(), head["second"].to_numpy(), weight)
    scores = np.zeros(pools.height)
    scores[tail["row"].to_numpy()] = -tail["place"].to_numpy().astype(np.float64)
    scores[head["row"].to_numpy()] = fused + 1e3  # standardised scores are far smaller
    return scores
