"""First-stage retrieval: exact nearest neighbours, cosine similarity, and rankings with a fixed
order of ties.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence

import numpy as np
import polars as pl

from sportskills_lib import tables
from sportskills_lib.retrieval.ranking.exact_search import top_k

SHORTLIST = {"learner_id": pl.String, "clip_id": pl.String, "score": pl.Float64}


def shortlists(
    learners: pl.DataFrame,
    clips: pl.DataFrame,
    learner_vectors: Mapping[str, np.ndarray],
    clip_vectors: Mapping[str, np.ndarray],
    *,
    depth: int,
    same_sport: bool = True,
) -> pl.DataFrame:
    """learner_id, clip_id, score: each learner's ``depth`` nearest clips of its own split (and
    sport), never itself.

    The order is that of the learners, best first, ties by clip_id. A clip without a vector cannot
    be found.
    """
    keys = ["split", "sport"] if same_sport else ["split"]
    galleries = clips.partition_by(keys, as_dict=True)
    parts = [
        shortlist(
            people["learner_id"].to_list(),
            galleries[key]["clip_id"].to_list(),
            learner_vectors,
            clip_vectors,
            depth=depth,
        )
        for key, people in learners.group_by(keys, maintain_order=True)
        if key in galleries
    ]
    return pl.concat([pl.DataFrame(schema=SHORTLIST), *parts])


def shortlist(
    learner_ids: Sequence[str],
    clip_ids: Sequence[str],
    learner_vectors: Mapping[str, np.ndarray],
    clip_vectors: Mapping[str, np.ndarray],
    *,
    depth: int,
) -> pl.DataFrame:
    """learner_id, clip_id, score: each learner's ``depth`` nearest of these clips, best first, ties
    by clip_id. A clip without a vector is left out.
    """
    ids = np.array(sorted(clip_id for clip_id in clip_ids if clip_id in clip_vectors), object)
    if not len(ids) or not len(learner_ids):
        return pl.DataFrame(schema=SHORTLIST)
    queries = np.stack([learner_vectors[learner_id] for learner_id in learner_ids])
    rows, scores = top_k(queries, np.stack([clip_vectors[clip_id] for clip_id in ids]), depth)
    columns = {
        "learner_id": np.repeat(np.array(learner_ids, object), rows.shape[1]),
        "clip_id": ids[rows].ravel(),
        "score": scores.ravel(),
    }
    return pl.DataFrame(columns, schema=SHORTLIST)


def seeded_uniform(*names: object) -> float:
    """A number in [0, 1) that depends on the names alone: random rankings do not hang on the order
    of rows.
    """
    digest = hashlib.blake2b("/".join(map(str, names)).encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") / 2**64


def rank(system: str, pools: pl.DataFrame, scores: np.ndarray) -> pl.DataFrame:
    """tables.Rankings of one system: ``scores`` [rows of pools]; ties stand in order of clip_id."""
    if np.isnan(scores).any():
        row = pools.row(int(np.flatnonzero(np.isnan(scores))[0]), named=True)
        raise ValueError(
            f"{system}: the score of clip {row['clip_id']} for learner {row['learner_id']} is NaN"
        )
    return (
        pools.select(query_id="learner_id", clip_id="clip_id")
        .with_columns(system=pl.lit(system), score=pl.Series(scores, dtype=pl.Float64))
        .sort("query_id", "score", "clip_id", descending=[False, True, False])
        .with_columns(rank=pl.int_range(1, pl.len() + 1).over("query_id"))
        .select(tables.Rankings.column_names())
    )


def stack_rankings(parts: Iterable[pl.DataFrame]) -> pl.DataFrame:
    """Several systems' rankings as one checked table."""
    kinds = {
        "system": pl.String,
        "query_id": pl.String,
        "rank": pl.Int64,
        "clip_id": pl.String,
        "score": pl.Float64,
    }
    table = pl.concat([pl.DataFrame(schema=kinds), *[part.cast(dict(kinds)) for part in parts]])  # type: ignore[arg-type]
    tables.check_rankings(table)
    return tables.Rankings.validate(table, cast=True)


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
    table = pairs.select("learner_id").with_columns(score=pl.Series(scores, dtype=pl.Float64))
    spread = (
        table.group_by("learner_id", maintain_order=True)
        .agg(pl.col("score").std(ddof=0))["score"]
        .mean()
    )
    return float(spread) if isinstance(spread, float) and spread > 1e-12 else 1.0
