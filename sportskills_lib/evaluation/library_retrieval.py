"""Two-stage retrieval judged: rankings of the library, and what depth and weight are worth in
quality and seconds.

Coaches graded pools, not the library, so a ranking of the library holds clips that nobody judged.
They are neither helpful nor not: how many there are is reported, and quality is measured on the
judged ones alone, in the order in which they stand (the *condensed* list, Sakai 2007). The curve
over depth needs no run of its own: all scores of a judged pool are known, so a shallower shortlist
is the same scores, used less.
"""

from __future__ import annotations

import polars as pl

from sportskills_lib import metrics
from sportskills_lib.evaluation import feedback
from sportskills_lib.statistics import bootstrap

ORDERED = {
    "depth": "by the fused score",
    "alone": "by the relevance model alone",
}  # how a shortlist is ordered
_LIBRARY = {
    "system": pl.String,
    "learners": pl.Int64,
    "ranked": pl.Float64,
    metrics.at_k("judged"): pl.Float64,
    metrics.at_k("grade_of_judged"): pl.Float64,
    metrics.at_k("condensed_ndcg"): pl.Float64,
    "low": pl.Float64,
    "high": pl.Float64,
}
_VARIANTS = {
    "varied": pl.String,
    "value": pl.Float64,
    metrics.at_k("ndcg"): pl.Float64,
    "low": pl.Float64,
    "high": pl.Float64,
    "seconds_a_learner": pl.Float64,
}


def condensed(rankings: pl.DataFrame, judged: pl.DataFrame) -> pl.DataFrame:
    """The rankings without the clips that nobody judged for that learner, ranks closed up."""
    known = judged.select(query_id="learner_id", clip_id="clip_id").unique()
    return (
        rankings.join(known, on=["query_id", "clip_id"], how="semi")
        .sort("system", "query_id", "rank")
        .with_columns(rank=pl.int_range(1, pl.len() + 1).over("system", "query_id"))
    )


def library_table(
    rankings: pl.DataFrame, judged: pl.DataFrame, learners: pl.DataFrame, *, draws: int, seed: int
) -> pl.DataFrame:
    """A row a system: clips ranked a learner, the share judged among the first k, what the judged
    ones are worth.

    ``condensed_ndcg@k``: nDCG@k of the judged clips alone, over the learners for whom every
    system ranked one.
    """
    counted = (
        rankings.join(
            feedback.gains(judged).rename({"learner_id": "query_id"}),
            on=["query_id", "clip_id"],
            how="left",
        )
        .group_by("system", maintain_order=True)
        .agg(
            learners=pl.col("query_id").n_unique().cast(pl.Int64),
            ranked=pl.len() / pl.col("query_id").n_unique(),
            judged=pl.col("gain").is_not_null().filter(pl.col("rank") <= metrics.HEADLINE_K).mean(),
            grade=pl.col("gain").filter(pl.col("rank") <= metrics.HEADLINE_K).mean(),
        )
    )
    scores = feedback.score(condensed(rankings, judged), judged, learners).filter(
        pl.col("metric") == feedback.NDCG
    )
    scores = scores.filter(
        pl.col("system").n_unique().over("query_id") == scores["system"].n_unique()
    )
    if scores.is_empty():
        return pl.DataFrame(schema=_LIBRARY)
    sampled = bootstrap.resample(scores, draws=draws, seed=seed, stratum=None)
    rows = [
        (system, *facts, *sampled.stratum(system, "all")) for system, *facts in counted.iter_rows()
    ]
    return pl.DataFrame(rows, schema=_LIBRARY, orient="row")


def variants_table(
    variants: pl.DataFrame,
    timings: pl.DataFrame,
    judged: pl.DataFrame,
    learners: pl.DataFrame,
    *,
    draws: int,
    seed: int,
) -> pl.DataFrame:
    """nDCG@k of the judged pools at each ``depth`` of the shortlist and each ``weight`` of the
    fused score.

    ``alone``: the depths again, the shortlist ordered by the relevance model alone, whatever weight
    was chosen.
    ``seconds_a_learner`` is measured while 04 ran: the learner's vector, and the relevance model
    for each clip of the shortlist; the weight costs nothing, so it is null there.
    """
    scores = feedback.score(variants, judged, learners).filter(pl.col("metric") == feedback.NDCG)
    if scores.is_empty():
        return pl.DataFrame(schema=_VARIANTS)
    each = dict(timings.select("part", pl.col("seconds") / pl.col("items")).iter_rows())
    first, second = (
        each.get("encoder_narrations: learners' vectors", 0.0),
        each.get("vlm_yes_no: scores", 0.0),
    )
    sampled = bootstrap.resample(scores, draws=draws, seed=seed, stratum=None)
    rows = []
    for system in sampled.systems:
        varied, _, value = system.partition(" ")
        seconds = first + float(value) * second if varied in ORDERED else None
        rows.append((varied, float(value), *sampled.stratum(system, "all"), seconds))
    return pl.DataFrame(rows, schema=_VARIANTS, orient="row").sort("varied", "value")
