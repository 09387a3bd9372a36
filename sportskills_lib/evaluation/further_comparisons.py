"""Comparisons of 06: ratios of arms by sport, what coaches' grades say beyond their mean, recall
and choices by the kind of cue.

All tables read the scores of 05 and change nothing there. The kind of cue (pose, timing, order)
comes from the demo's truth, so without it those tables are empty: does seeing the order and timing
of frames help where it should? Only clips and narrations of mistakes count there: what a correct
demonstration is said to avoid cannot be seen in it. All queries of a kind are pooled, since a kind
does not occur in every sport; intervals draw source videos.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import polars as pl

from sportskills_lib import metrics
from sportskills_lib.evaluation import feedback, summary
from sportskills_lib.evaluation.comparisons import (
    encoders_and_arms,
    sampled_by_gallery,
    sampled_differences,
)
from sportskills_lib.evaluation.demo_truth import KIND
from sportskills_lib.evaluation.recall import FIXED, SINGLE, WITHIN
from sportskills_lib.evaluation.recall_arrays import MULTI
from sportskills_lib.evaluation.understanding import ACCURACY
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
    parts = [
        feedback.score(rankings, grades, learners)
        .filter(pl.col("metric") == feedback.NDCG)
        .group_by("system")
        .agg(pl.col("value").mean())
        .with_columns(rater=pl.lit(rater))
        for (rater,), grades in judged.sort("rater").group_by("rater", maintain_order=True)
    ]
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


# ---------------------------------------------------------------------------------------- cue kinds

KINDS = ("pose", "timing", "order")
# What is split by kind: (measure, scope, metric).
MEASURES = (
    (metrics.at_k("recall"), WITHIN, SINGLE),
    (f"{metrics.at_k('recall')}, fixed gallery", FIXED, SINGLE),
    (f"{metrics.at_k('recall')} of all relevant", WITHIN, MULTI),
    ("cue pairs", "cue_pairs", ACCURACY),
    ("cue probe", "cue_probe", ACCURACY),
)
_KEY = ("measure", "direction", "kind")
_TABLE = dict.fromkeys((*_KEY, "encoder", "training"), pl.String) | dict.fromkeys(
    ("value", "low", "high", "chance"), pl.Float64
) | {"n": pl.Int64, "videos": pl.Int64}  # fmt: skip


def kinds_of(queries: pl.DataFrame, groups: pl.DataFrame) -> pl.DataFrame:
    """query_id (of a narration or a clip), kind: of those that show a mistake of a known kind."""
    shown = groups.filter((pl.col("execution") != "correct") & pl.col(KIND).is_not_null())
    clips = shown.select(query_id="clip_id", kind=KIND)
    said = queries.select("query_id", clip_id=pl.col("own").list.first()).join(shown, on="clip_id")
    return pl.concat([clips, said.select("query_id", kind=KIND)])


def by_kind(
    scores: pl.DataFrame, known: pl.DataFrame, *, draws: int, seed: int
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Means (measure, direction, kind, encoder, training, value, low, high, chance, n, videos) and
    paired differences.

    ``scores``: of recall and understanding together; ``known``: from :func:`kinds_of`.
    """
    rows: list[tuple] = []
    gaps: list[pl.DataFrame] = []
    for measure, scope, metric in MEASURES if known.height else ():
        for key, part in summary.slices(scores, (metric,)):
            if key["scope"] != scope:
                continue
            asked = part.join(known, on="query_id").filter(pl.col("value").is_not_null())
            for kind in summary.ordered(asked["kind"].unique(), KINDS):
                name = (measure, key["direction"], kind)
                these = asked.filter(pl.col("kind") == kind).drop("kind")
                sampled = bootstrap.resample(these, draws=draws, seed=seed, stratum=None)
                size = (
                    these["chance"].mean(),
                    int(sampled.queries_S[0]),
                    int(sampled.clusters_S[0]),
                )
                rows += [
                    (*name, *system.split("/"), *sampled.stratum(system, "all"), *size)
                    for system in summary.arms_in_order(sampled.systems)
                ]
                labels = {column: pl.lit(text) for column, text in zip(_KEY, name, strict=True)}
                rest = pl.struct(pl.exclude("kind", "sports"), comparison="kind")
                gaps.append(sampled_differences(sampled).select(**labels, rest=rest).unnest("rest"))
    table = pl.DataFrame(rows, schema=_TABLE, orient="row")
    return table, pl.concat(gaps) if gaps else pl.DataFrame(schema=dict.fromkeys(_KEY, pl.String))
