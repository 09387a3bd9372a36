"""Mistake-conditioned retrieval against coaches' grades: ratings → judgements → scores → tables.

A ratings file names spans of video, since it was made before clips existed: a span is the clip that it overlaps by half
or more (IoU), a rated moment is the learner whose clip holds it. The gain of a clip is its mean grade over raters
(0 … 3); it is *helpful* from a mean of 2. Learners of one participant are not independent: the participant is the
cluster of every interval. Where raters are simulated, every table and figure must say so.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl

from sportskills_lib import artifacts, metrics, spans, tables
from sportskills_lib.evaluation import significance

NDCG, RECALL, MRR = "ndcg@10", "recall_helpful@5", "mrr"
HELPFUL = 2.0  # the mean grade from which a clip counts as helpful; ours
RATINGS = {
    "take_uid": pl.String, "video_time": pl.Float64, "video_id": pl.String, "start_s": pl.Float64,
    "end_s": pl.Float64, "rater": pl.String, "grade": pl.Int64, "simulated": pl.Boolean,
}  # fmt: skip
SYSTEMS = (
    "random", "same_skill_random", "encoder_zero_shot", "encoder_narrations", "describe_then_retrieve",
    "vlm_zero_shot", "vlm_lora", "fused", "text_oracle",
)  # fmt: skip
COMPARISONS = (
    ("vlm_lora", "encoder_narrations"),
    ("vlm_lora", "same_skill_random"),
    ("vlm_lora", "vlm_zero_shot"),
    ("fused", "encoder_narrations"),
    ("fused", "vlm_lora"),
    ("encoder_narrations", "encoder_zero_shot"),
    ("encoder_narrations", "same_skill_random"),
)


def _place(system: str) -> tuple[int, str]:
    return (SYSTEMS.index(system) if system in SYSTEMS else len(SYSTEMS), system)


def read_ratings(ratings: str | Path) -> pl.DataFrame:
    """The ratings file (relative to the workspace); an empty table where it is "" or there is no such file."""
    path = artifacts.workspace() / ratings
    if not ratings or not path.is_file():
        return pl.DataFrame(schema=RATINGS)
    frame = pl.read_csv(path, infer_schema=False)
    if missing := sorted(set(RATINGS) - set(frame.columns)):
        raise ValueError(f"{path} lacks the columns {', '.join(missing)}: ratings need {', '.join(RATINGS)}")
    truth = pl.col("simulated").str.to_lowercase().is_in(["true", "1", "yes"])
    return frame.with_columns(truth.alias("simulated")).select(
        pl.col(name) if name == "simulated" else pl.col(name).cast(kind) for name, kind in RATINGS.items()
    )


def judgements(ratings: pl.DataFrame, clips: pl.DataFrame, learners: pl.DataFrame) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Judgements (learner, clip, rater, grade), and the ratings that are left out, each with the reason.

    A rating is left out when no learner's clip holds its moment, no kept clip overlaps its span by half, its clip
    stands in another split than its learner, or its rater has rated that clip under another span.
    """
    matched = _matched(ratings, clips, learners).sort("iou", descending=True, nulls_last=True, maintain_order=True)
    first = pl.struct(tables.Judgements.primary_key()).is_first_distinct()
    reason = (
        pl.when(pl.col("learner_id").is_null())
        .then(pl.lit("no_learner"))
        .when(pl.col("clip_id").is_null())
        .then(pl.lit("no_clip"))
        .when(pl.col("clip_split") != pl.col("learner_split"))
        .then(pl.lit("other_split"))
        .when(~first)
        .then(pl.lit("clip_rated_already"))
    )
    matched = matched.with_columns(reason=reason)
    left_out = matched.filter(pl.col("reason").is_not_null()).select(
        pl.lit("rating"),
        pl.format("{}@{}", "take_uid", "video_time"),
        "reason",
        pl.format("{} {}-{} s by {}", "video_id", "start_s", "end_s", "rater"),
    )
    kept = matched.filter(pl.col("reason").is_null()).select(tables.Judgements.column_names())
    judged = tables.Judgements.validate(kept, cast=True).sort(tables.Judgements.primary_key())
    return judged, tables.dropped_rows(sorted(left_out.rows()))


def _matched(ratings: pl.DataFrame, clips: pl.DataFrame, learners: pl.DataFrame) -> pl.DataFrame:
    """The ratings with learner_id and clip_id (null where there is none), their splits, and the overlap."""
    tries = learners.select(
        "learner_id", take_uid="take_id", from_s="start_s", to_s="end_s", learner_split=pl.col("split").cast(pl.String)
    )
    inside = ratings.select("take_uid", "video_time").unique().join(tries, on="take_uid")
    inside = inside.filter(pl.col("video_time").is_between("from_s", "to_s")).sort(
        (pl.col("video_time") - (pl.col("from_s") + pl.col("to_s")) / 2).abs(), "learner_id"
    )
    owners = inside.unique(["take_uid", "video_time"], keep="first", maintain_order=True).drop("from_s", "to_s")
    splits = clips.select("clip_id", clip_split=pl.col("split").cast(pl.String))
    return (
        ratings.join(owners, on=["take_uid", "video_time"], how="left", maintain_order="left")
        .join(spans.match_spans(ratings, clips), on=["video_id", "start_s", "end_s"], how="left", maintain_order="left")
        .join(splits, on="clip_id", how="left", maintain_order="left")
    )


def score(rankings: pl.DataFrame, judged: pl.DataFrame, learners: pl.DataFrame, *, split: str = "test") -> pl.DataFrame:
    """Scores of every system for the learners of ``split`` that coaches judged; the cluster is the participant.

    A ranked clip that nobody judged has gain 0, as in trec_eval; a judged clip that was not ranked still counts in the
    ideal. mrr and recall are not defined for a learner whom no clip helps (mean grade < 2).
    """
    gains = judged.group_by("learner_id", "clip_id").agg(gain=pl.col("grade").mean()).sort("learner_id", "clip_id")
    asked = learners.filter(pl.col("split").cast(pl.String) == split).select("learner_id", "sport", "participant")
    rows = (
        rankings.rename({"query_id": "learner_id"})
        .join(asked, on="learner_id")
        .join(gains, on=["learner_id", "clip_id"], how="left")
        .sort("system", "learner_id", "rank")
        .group_by("system", "learner_id", "sport", "participant", maintain_order=True)
        .agg(ranked=pl.col("gain").fill_null(0.0))
        .join(gains.group_by("learner_id", maintain_order=True).agg(judged=pl.col("gain")), on="learner_id")
    )
    if rows.is_empty():
        return tables.Scores.create_empty()
    ranked, all_gains = _padded(rows["ranked"].to_list()), _padded(rows["judged"].to_list())
    n_helpful = (all_gains >= HELPFUL).sum(axis=1)
    n_candidates = rows["ranked"].list.len().to_numpy().astype(np.int64)
    found = ranked >= HELPFUL
    values = {
        NDCG: (metrics.ndcg_at_k(ranked, all_gains), metrics.chance_ndcg(all_gains, n_candidates)),
        RECALL: (
            metrics.recall_multi_at_k(found, n_helpful, k=5),
            metrics.chance_recall_multi(n_helpful, n_candidates, k=5),
        ),
        MRR: (metrics.reciprocal_rank(found, n_helpful), metrics.chance_reciprocal_rank(n_helpful, n_candidates)),
    }
    parts = [
        rows.select(
            "system",
            query_id="learner_id",
            metric=pl.lit(name),
            seed=pl.lit(0, dtype=pl.Int64),
            value=pl.Series(value).fill_nan(None),
            chance=pl.Series(chance).fill_nan(None),
            sport="sport",
            cluster="participant",
        )
        for name, (value, chance) in values.items()
    ]
    return tables.Scores.validate(pl.concat(parts), cast=True)


def _padded(rows: list[list[float]]) -> np.ndarray:
    padded = np.zeros((len(rows), max(map(len, rows), default=0)))
    for index, row in enumerate(rows):
        padded[index, : len(row)] = row
    return padded


def _by_metric(scores: pl.DataFrame) -> list[tuple[str, pl.DataFrame]]:
    parts = [(metric, scores.filter(pl.col("metric") == metric)) for metric in (NDCG, RECALL, MRR)]
    return [(metric, part) for metric, part in parts if part["value"].is_not_null().any()]


def table(scores: pl.DataFrame, *, draws: int, seed: int) -> pl.DataFrame:
    """feedback_retrieval.csv: system, metric, value, low, high, n (learners); every learner counts once."""
    rows = []
    for metric, part in _by_metric(scores):
        sampled = significance.resample(part, draws=draws, seed=seed, stratum=None)
        for system in sorted(sampled.systems, key=_place):
            interval = sampled.stratum(system, "all")
            rows.append((system, metric, interval.value, interval.low, interval.high, int(sampled.queries_S[0])))
    types = [pl.String, pl.String, pl.Float64, pl.Float64, pl.Float64, pl.Int64]
    names = ["system", "metric", "value", "low", "high", "n"]
    return pl.DataFrame(rows, schema=dict(zip(names, types, strict=True)), orient="row")


def differences(scores: pl.DataFrame, *, draws: int, seed: int) -> pl.DataFrame:
    """Paired differences over the same learners, for those of :data:`COMPARISONS` whose systems both exist."""
    rows = []
    for metric, part in _by_metric(scores):
        sampled = significance.resample(part, draws=draws, seed=seed, stratum=None)
        for system, baseline in COMPARISONS:
            if system in sampled.systems and baseline in sampled.systems:
                gap = sampled.difference(system, baseline, stratum="all")
                size = (int(sampled.queries_S[0]), int(sampled.clusters_S[0]))
                rows.append((system, baseline, metric, gap.value, gap.low, gap.high, *size, gap.excludes(0.0)))
    return pl.DataFrame(rows, schema=_DIFFERENCES, orient="row")


_DIFFERENCES = {
    "system": pl.String, "baseline": pl.String, "metric": pl.String, "difference": pl.Float64, "low": pl.Float64,
    "high": pl.Float64, "n": pl.Int64, "participants": pl.Int64, "apart": pl.Boolean,
}  # fmt: skip


def rater_summary(judged: pl.DataFrame) -> pl.DataFrame:
    """How many grades each rater gave, their mean, and how far from the other raters' mean: rater, n, mean, bias."""
    others = judged.with_columns(
        total=pl.col("grade").sum().over("learner_id", "clip_id"), raters=pl.len().over("learner_id", "clip_id")
    ).with_columns(
        bias=pl.when(pl.col("raters") > 1).then(
            pl.col("grade") - (pl.col("total") - pl.col("grade")) / (pl.col("raters") - 1)
        )
    )
    return (
        others.group_by("rater", "simulated")
        .agg(n=pl.len(), mean=pl.col("grade").mean(), bias=pl.col("bias").mean())
        .sort("rater")
    )


def simulated(judged: pl.DataFrame) -> bool:
    """Whether any grade came from a simulated rater: then everything drawn from it must say so."""
    return bool(judged["simulated"].any())
