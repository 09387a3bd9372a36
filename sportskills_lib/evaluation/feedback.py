"""Mistake-conditioned retrieval against coaches' grades: ratings → judgements → scores → tables.

A ratings file names spans of video, since it was made before clips existed: a span is the clip that
it overlaps by half or more (IoU), a rated moment is the learner whose clip holds it. The gain of a
clip is its mean grade over raters (0 … 3); it is *helpful* from a mean of 2, and it *mends* the
mistake from 2.5 (most raters gave a 3). Two pools are scored: the judged clips of the learner's
skill (``same_skill``, the primary one: what is left to tell is which of them mends this mistake),
and all that were judged. Learners of one participant are not independent: the participant is the
cluster of every interval. Where raters are simulated, every table and figure must say so.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from sportskills_lib import metrics, span_matching, tables
from sportskills_lib.plots.notebook_tables import interval
from sportskills_lib.runs import artifacts
from sportskills_lib.statistics import agreement, bootstrap

NDCG, RECALL, MRR = metrics.at_k("ndcg"), "recall_helpful@5", "mrr"
PRIMARY, MENDS_FIRST = "ndcg@5", "precision@1_mends"
AUCS = {"auc_fix": (3, 1), "auc_mistake": (2, 0)}  # of a clip of the first grade above the second
METRICS = (
    PRIMARY, MENDS_FIRST, *AUCS, "mrr_mends", NDCG, RECALL, metrics.at_k("recall_helpful"),
    "precision_helpful@5", MRR, "grade@1", "grade@5",
)  # fmt: skip
HELPFUL, MENDS = 2.0, 2.5  # mean grades from which a clip helps, and mends the mistake; ours
RATINGS = {
    "take_uid": pl.String, "video_time": pl.Float64, "video_id": pl.String, "start_s": pl.Float64,
    "end_s": pl.Float64, "rater": pl.String, "grade": pl.Int64, "simulated": pl.Boolean,
}  # fmt: skip
SYSTEMS = (
    "random", "same_skill_random", "correct_of_skill", "encoder_zero_shot", "encoder_narrations",
    "encoder_correct", "encoder_distilled", "comments_knn", "comments_knn_correct",
    "vlm_zero_shot", "vlm_dual", "vlm_dual_correct", "vlm_yes_no", "relevance", "relevance_blind",
    "relevance_same_fault", "relevance_other_fault", "vlm_yes_no_other_fault",
    "describe_then_retrieve", "fused", "text_oracle", "same_fault_oracle",
    "all_but_words_oracle", "grade_oracle",
)  # fmt: skip
RIVALS = (  # what the relevance model has to beat: the encoder, 02's label, the experts' words
    "encoder_narrations",
    "encoder_correct",
    "correct_of_skill",
    "comments_knn",
    "comments_knn_correct",
)
# names until 0.1, by which earlier runs call their systems
EARLIER_NAMES = {"vlm_lora": "vlm_yes_no", "vlm_lora_shuffled": "vlm_yes_no_other_fault"}
COMPARISONS = (
    *(("relevance", rival) for rival in RIVALS),
    ("relevance", "vlm_dual_correct"),
    ("vlm_dual", "encoder_narrations"),
    ("vlm_dual", "vlm_yes_no"),
    ("vlm_yes_no", "encoder_narrations"),
    ("vlm_yes_no", "vlm_zero_shot"),
    ("vlm_yes_no", "vlm_yes_no_other_fault"),
    ("fused", "encoder_narrations"),
    ("encoder_narrations", "encoder_zero_shot"),
    ("encoder_narrations", "same_skill_random"),
)


def system_order(system: str) -> tuple[int, str]:
    """The key that sorts systems as they are shown: the known ones first, then others by name."""
    return (SYSTEMS.index(system) if system in SYSTEMS else len(SYSTEMS), system)


def read_ratings(ratings: str | Path) -> pl.DataFrame:
    """The ratings file (relative to the workspace); an empty table where it is "" or there is no
    such file.

    The column ``learner_id`` may be missing; where it is there, it says which learner a moment
    means.
    """
    path = artifacts.workspace() / ratings
    if not ratings or not path.is_file():
        return pl.DataFrame(schema=RATINGS)
    frame = pl.read_csv(path, infer_schema=False)
    if missing := sorted(set(RATINGS) - set(frame.columns)):
        raise ValueError(
            f"{path} lacks the columns {', '.join(missing)}: ratings need {', '.join(RATINGS)}"
        )
    truth = pl.col("simulated").str.to_lowercase().is_in(["true", "1", "yes"])
    kinds = RATINGS | ({"learner_id": pl.String} if "learner_id" in frame.columns else {})
    return frame.with_columns(truth.alias("simulated")).select(
        pl.col(name) if name == "simulated" else pl.col(name).cast(kind)
        for name, kind in kinds.items()
    )


def judgements(
    ratings: pl.DataFrame, clips: pl.DataFrame, learners: pl.DataFrame
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Judgements (learner, clip, rater, grade), and the ratings that are left out, each with the
    reason.

    A rating is left out when no learner's clip holds its moment, no kept clip overlaps its span by
    half, its clip stands in another split than its learner, or its rater has rated that clip under
    another span.
    """
    named = span_matching.with_names(ratings)
    matched = span_matching.match_ratings(named, learners, clips).sort(
        "iou", descending=True, nulls_last=True, maintain_order=True
    )
    again = ~pl.struct(tables.Judgements.primary_key()).is_first_distinct()
    matched = matched.with_columns(
        pl.coalesce("reason", pl.when(again).then(pl.lit("clip_rated_already"))).alias("reason")
    )
    left_out = matched.filter(pl.col("reason").is_not_null()).select(
        pl.lit("rating"),
        pl.format("{}@{}", "take_uid", "video_time"),
        "reason",
        pl.format("{} {}-{} s by {}", "video_id", "start_s", "end_s", "rater"),
    )
    kept = matched.filter(pl.col("reason").is_null()).select(tables.Judgements.column_names())
    judged = tables.Judgements.validate(kept, cast=True).sort(tables.Judgements.primary_key())
    return judged, tables.dropped_rows(sorted(left_out.rows()))


def gains(judged: pl.DataFrame, *, centred: bool = False) -> pl.DataFrame:
    """learner_id, clip_id, gain: the mean grade over raters, in order of ids.

    ``centred`` first takes off each rater's lenience: how far its grades lie above the other
    raters' of the same pairs (see :func:`agreement.biases`). Where all rated all, that moves every
    gain alike; where each pair met other raters, it keeps a strict rater's pairs from looking
    worse. Gains then may lie a little outside 0 … 3.
    """
    grade = pl.col("grade").cast(pl.Float64)
    if centred:
        judged = judged.join(
            agreement.biases(judged).select("rater", "bias"), on="rater", how="left"
        )
        grade = grade - pl.col("bias").fill_null(0.0)
    return (
        judged.group_by("learner_id", "clip_id")
        .agg(gain=grade.mean())
        .sort("learner_id", "clip_id")
    )


def score(
    rankings: pl.DataFrame,
    judged: pl.DataFrame,
    learners: pl.DataFrame,
    *,
    split: str = "test",
    centred: bool = False,
) -> pl.DataFrame:
    """Scores of every system for the learners of ``split`` that coaches judged; the cluster is the
    participant.

    A ranked clip that nobody judged has gain 0, as in trec_eval; a judged clip that was not ranked
    still counts in the ideal. mrr and recall are not defined for a learner whom no clip helps (mean
    grade < 2). grade@k is the mean grade of the first k, what a learner who watches k clips gets.
    """
    known = gains(judged, centred=centred)
    asked = learners.filter(pl.col("split").cast(pl.String) == split).select(
        "learner_id", "sport", "participant"
    )
    rows = (
        rankings.rename({"query_id": "learner_id"})
        .join(asked, on="learner_id")
        .join(known, on=["learner_id", "clip_id"], how="left")
        .sort("system", "learner_id", "rank")
        .group_by("system", "learner_id", "sport", "participant", maintain_order=True)
        .agg(ranked=pl.col("gain").fill_null(0.0))
        .join(
            known.group_by("learner_id", maintain_order=True).agg(judged=pl.col("gain")),
            on="learner_id",
        )
    )
    if rows.is_empty():
        return tables.Scores.create_empty()
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
        for name, (value, chance) in _values(rows).items()
    ]
    return tables.Scores.validate(pl.concat(parts), cast=True)


def _values(rows: pl.DataFrame) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Every metric and its chance level, [rows], of ``ranked`` and ``judged`` gains (lists)."""
    ranked, every = _padded(rows["ranked"].to_list()), _padded(rows["judged"].to_list())
    listed = rows["ranked"].list.len().to_numpy().astype(np.int64)
    helpful, found = (every >= HELPFUL).sum(axis=1), ranked >= HELPFUL
    # the whole grade that a clip has on average; padding has none
    grade = np.where(np.arange(ranked.shape[1]) < listed[:, None], np.floor(ranked + 0.5), -1)
    mends, count = grade == 3, (np.floor(every + 0.5) == 3).sum(axis=1)
    mean_gain, mean_found = ranked.sum(axis=1) / listed, found.sum(axis=1) / listed
    values = {
        metrics.at_k("ndcg", k): (
            metrics.ndcg_at_k(ranked, every, k=k),
            metrics.chance_ndcg(every, listed, k=k),
        )
        for k in (metrics.HEADLINE_K, 5)
    }
    values |= {
        metrics.at_k("recall_helpful", k): (
            metrics.recall_multi_at_k(found, helpful, k=k),
            metrics.chance_recall_multi(helpful, listed, k=k),
        )
        for k in (5, metrics.HEADLINE_K)
    }
    values["precision_helpful@5"] = (
        metrics.precision_at_k(found, k=5),
        mean_found * np.minimum(5, listed) / 5,
    )
    values[MRR] = (
        metrics.reciprocal_rank(found, helpful),
        metrics.chance_reciprocal_rank(helpful, listed),
    )
    share = np.where(count > 0, mends.sum(axis=1) / listed, np.nan)
    values[MENDS_FIRST] = np.where(count > 0, mends[:, 0], np.nan), share
    values["mrr_mends"] = (
        metrics.reciprocal_rank(mends, count),
        metrics.chance_reciprocal_rank(count, listed),
    )
    for name, (better, worse) in AUCS.items():
        auc = metrics.pairwise_auc(grade == better, grade == worse)
        values[name] = auc, np.where(np.isnan(auc), np.nan, 0.5)
    for k in (1, 5):
        values[f"grade@{k}"] = ranked[:, :k].sum(axis=1) / np.minimum(k, listed), mean_gain
    return values


def _padded(rows: list[list[float]]) -> np.ndarray:
    padded = np.zeros((len(rows), max(map(len, rows), default=0)))
    for index, row in enumerate(rows):
        padded[index, : len(row)] = row
    return padded


def scores_by_metric(scores: pl.DataFrame) -> list[tuple[str, pl.DataFrame]]:
    """The scores of each metric that has a value: :data:`METRICS` first, then others by name."""
    others = sorted({*scores["metric"]} - {*METRICS})
    parts = [(metric, scores.filter(metric=metric)) for metric in (*METRICS, *others)]
    return [(metric, part) for metric, part in parts if part["value"].is_not_null().any()]


def table(scores: pl.DataFrame, *, draws: int, seed: int) -> pl.DataFrame:
    """feedback_retrieval.csv: system, metric, value, low, high, n (learners); every learner counts
    once.
    """
    rows: list[tuple[Any, ...]] = []
    for metric, part in scores_by_metric(scores):
        found = []
        for own in _by_learners(part):
            sampled = bootstrap.resample(own, draws=draws, seed=seed, stratum=None)
            size = int(sampled.queries_S[0])
            found += [(s, metric, *sampled.stratum(s, "all"), size) for s in sampled.systems]
        rows += sorted(found, key=lambda row: system_order(row[0]))
    kinds = {
        **dict.fromkeys(("system", "metric"), pl.String),
        **dict.fromkeys(("value", "low", "high"), pl.Float64),
        "n": pl.Int64,
    }
    return pl.DataFrame(rows, schema=kinds, orient="row")


def _by_learners(scores: pl.DataFrame) -> list[pl.DataFrame]:
    """The scores of systems that have one for the same learners, together: a control has none for
    learners to whom nobody can be compared.
    """
    known = scores.drop_nulls("value").sort("system", "query_id")
    asked = pl.col("query_id").implode().list.join(" ").over("system", mapping_strategy="join")
    return known.with_columns(asked=asked).partition_by("asked", include_key=False)


def wide(table: pl.DataFrame) -> pl.DataFrame:
    """:func:`table` to be read: a line a pool and system, a column each of five metrics, "0.69
    [0.68, 0.71]" in each cell. ``n``: learners; fewer have a clip that mends their mistake.
    """
    if table.is_empty():
        return table
    if "pool" not in table.columns:  # of a run before 0.2
        table = table.with_columns(pool=pl.lit("judged"))
    table = table.filter(pl.col("metric").is_in([PRIMARY, MENDS_FIRST, *AUCS, NDCG])).with_columns(
        pl.col("n").max().over("pool", "system")
    )
    cells = [interval(*row) for row in table.select("value", "low", "high").rows()]
    return table.with_columns(cell=pl.Series(cells, dtype=pl.String)).pivot(
        "metric", index=["pool", "system", "n"], values="cell"
    )


def of_pools(
    make: Callable[..., pl.DataFrame], pools: Mapping[str, pl.DataFrame], **options: Any
) -> pl.DataFrame:
    """What ``make`` (:func:`table`, :func:`differences`) says of each pool's scores, one below the
    other, with the name of the ``pool`` in the first column.
    """
    parts = [
        make(scores, **options).select(pl.lit(name).alias("pool"), pl.all())
        for name, scores in (pools or {"": tables.Scores.create_empty()}).items()
    ]
    return pl.concat(parts)


def score_pools(
    pools: Mapping[str, pl.DataFrame], judged: pl.DataFrame, learners: pl.DataFrame
) -> dict[str, pl.DataFrame]:
    """:func:`score` of each pool's rankings, against the judgements of the clips in that pool."""
    scored = {}
    for name, rankings in pools.items():
        inside = rankings.select("clip_id", learner_id="query_id").unique()
        own = judged.join(inside, on=["learner_id", "clip_id"], how="semi", maintain_order="left")
        scored[name] = score(rankings, own, learners)
    return scored


def differences(scores: pl.DataFrame, *, draws: int, seed: int) -> pl.DataFrame:
    """Paired differences over the same learners, for those of :data:`COMPARISONS` whose systems
    both exist.

    p is of the paired randomisation test over participants (:func:`bootstrap.randomisation_p`),
    p_holm the same corrected for the comparisons of that metric.
    """
    rows: list[tuple[object, ...]] = []
    for metric, part in scores_by_metric(scores):
        known = part.drop_nulls("value")
        for system, baseline in COMPARISONS:
            both = known.filter(pl.col("system").is_in([system, baseline]))
            both = both.filter(pl.col("system").n_unique().over("query_id") == 2)
            if both.height:
                sampled = bootstrap.resample(both, draws=draws, seed=seed, stratum=None)
                gap = sampled.difference(system, baseline, stratum="all")
                size = (int(sampled.queries_S[0]), int(sampled.clusters_S[0]))
                p = bootstrap.paired_p(part, system, baseline, seed=seed)
                rows.append(
                    (
                        system,
                        baseline,
                        metric,
                        *gap,
                        *size,
                        gap.excludes(0.0),
                        p,
                    )
                )
    return bootstrap.with_holm(pl.DataFrame(rows, schema=_DIFFERENCES, orient="row"), "metric")


_DIFFERENCES = {
    "system": pl.String,
    "baseline": pl.String,
    "metric": pl.String,
    "difference": pl.Float64,
    "low": pl.Float64,
    "high": pl.Float64,
    "n": pl.Int64,
    "participants": pl.Int64,
    "ci_excludes_zero": pl.Boolean,
    "p": pl.Float64,
}
