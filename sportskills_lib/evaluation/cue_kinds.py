"""Recall and choices by the kind of cue: does seeing the order and timing of frames help where it
should?

The kind (pose, timing, order) comes from the demo's truth, so without it everything here is empty.
Only clips and narrations of mistakes count: what a correct demonstration is said to avoid cannot be
seen in it. All queries of a kind are pooled, since a kind does not occur in every sport; intervals
draw source videos.
"""

from __future__ import annotations

import polars as pl

from sportskills_lib import metrics
from sportskills_lib.evaluation import summary
from sportskills_lib.evaluation.comparisons import sampled_differences
from sportskills_lib.evaluation.demo_truth import KIND
from sportskills_lib.evaluation.recall import FIXED, SINGLE, WITHIN
from sportskills_lib.evaluation.recall_arrays import MULTI
from sportskills_lib.evaluation.understanding import ACCURACY
from sportskills_lib.statistics import bootstrap

ORDER = ("pose", "timing", "order")
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
            for kind in summary.ordered(asked["kind"].unique(), ORDER):
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
