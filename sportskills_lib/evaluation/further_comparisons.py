"""Comparisons of 06: ratios of arms by sport, and what coaches' grades say beyond their mean.

All tables read the scores of 05 and change nothing there.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import polars as pl

from sportskills_lib.evaluation import feedback, summary
from sportskills_lib.evaluation.comparisons import encoders_and_arms, sampled_by_gallery
from sportskills_lib.statistics import bootstrap


def ratios_by_sport(
    scores: pl.DataFrame,
    *,
    draws: int,
    seed: int,
    training: str = "narrations",
    baseline: str = "activity_sport",
) -> pl.DataFrame:
    """``training`` over ``baseline`` in each sport and of macro means (sport ``mean``), in both
    galleries.

    sport, encoder, gallery, training, baseline (the recalls), ratio, low, high, n. The ratio is
    infinite over 0; one sport's ratio rests on few hits of the baseline, hence its wide interval.
    """
    rows = []
    for gallery, sampled in sampled_by_gallery(scores, draws=draws, seed=seed):
        for encoder in encoders_and_arms(sampled)[0]:
            one, two = f"{encoder}/{training}", f"{encoder}/{baseline}"
            if one not in sampled.systems or two not in sampled.systems:
                continue
            for stratum in (*sampled.strata, None):
                ratio = sampled.ratio(one, two, stratum=stratum)
                means = [
                    sampled.stratum(x, stratum) if stratum else sampled.macro(x) for x in (one, two)
                ]
                n = int(
                    sampled.queries_S.sum()
                    if stratum is None
                    else sampled.queries_S[sampled.strata.index(stratum)]
                )
                values = (*(mean.value for mean in means), *ratio)
                rows.append((stratum or summary.MEAN, encoder, gallery, *values, n))
    schema: Any = {
        **dict.fromkeys(("sport", "encoder", "gallery"), pl.String),
        **dict.fromkeys((training, baseline, "ratio", "low", "high"), pl.Float64),
        "n": pl.Int64,
    }
    return pl.DataFrame(rows, schema=schema, orient="row").with_columns(
        pl.col("ratio").fill_nan(None)
    )


def win_rates(scores: pl.DataFrame, *, draws: int, seed: int) -> pl.DataFrame:
    """How often a coach would prefer one system's offer to another's, for each of
    :data:`feedback.COMPARISONS` and k of 1 and 5.

    For each learner the system whose first k clips have the higher mean grade wins; ties count
    half. ``rate`` lies between its bounds over participants; p asks whether it differs from one
    half, p_holm the same corrected for the comparisons of that k. Seeds are averaged per learner
    first.
    """
    rows: list[tuple[object, ...]] = []
    for k in (1, 5):
        part = scores.filter((pl.col("metric") == f"grade@{k}") & pl.col("value").is_not_null())
        wide = bootstrap.average_seeds(part).pivot(
            "system", index=["query_id", "cluster"], values="value"
        )
        for system, baseline in feedback.COMPARISONS:
            if not {system, baseline} <= set(wide.columns):
                continue
            both = wide.drop_nulls([system, baseline]).sort("query_id")
            gap = np.round((both[system] - both[baseline]).to_numpy(), 9)
            result, people = (np.sign(gap) + 1) / 2, both["cluster"].to_list()
            won = both.select(
                "query_id",
                "cluster",
                system=pl.lit("one"),
                metric=pl.lit("won"),
                seed=pl.lit(0),
                sport=pl.lit(""),
                value=pl.Series(result),
                chance=pl.lit(0.5),
            )
            bounds = bootstrap.resample(won, draws=draws, seed=seed, stratum=None).stratum(
                "one", "all"
            )
            p = bootstrap.randomisation_p(result - 0.5, people, seed=seed)
            counts = tuple(int((result == value).sum()) for value in (1.0, 0.5, 0.0))
            rows.append((system, baseline, k, *counts, *bounds, p))
    return bootstrap.with_holm(pl.DataFrame(rows, schema=_WINS, orient="row"), "k")


_WINS = {
    "system": pl.String,
    "baseline": pl.String,
    "k": pl.Int64,
    "wins": pl.Int64,
    "ties": pl.Int64,
    "losses": pl.Int64,
    "rate": pl.Float64,
    "low": pl.Float64,
    "high": pl.Float64,
    "p": pl.Float64,
}


def by_rater(rankings: pl.DataFrame, judged: pl.DataFrame, learners: pl.DataFrame) -> pl.DataFrame:
    """nDCG@k of every system under each rater's grades alone: whether the order of systems hangs
    on who graded.
    """
    parts = []
    for (rater,), grades in judged.sort("rater").group_by("rater", maintain_order=True):
        parts.append(
            feedback.score(rankings, grades, learners)
            .filter(pl.col("metric") == feedback.NDCG)
            .group_by("system")
            .agg(pl.col("value").mean())
            .with_columns(rater=pl.lit(rater))
        )
    kinds = {"system": pl.String, "value": pl.Float64, "rater": pl.String}
    table = pl.concat([pl.DataFrame(schema=kinds), *parts])
    wide = (
        table.sort("rater").pivot("rater", index="system", values="value")
        if table.height
        else table.select("system")
    )
    return (
        pl.Series(sorted(wide["system"], key=feedback.system_order), dtype=pl.String)
        .to_frame("system")
        .join(wide, on="system", maintain_order="left")
    )
