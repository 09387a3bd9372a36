"""Single retrievals to look at: which to show, and how right each retrieved clip is.

Cases are picked by a rule, not by hand: the best ones (where an arm finds what its baseline misses
by most), typical ones (closest to the median rank) and the worst, each from another sport as far as
there are sports.
"""

from __future__ import annotations

from collections.abc import Iterable

import polars as pl

from sportskills_lib import metrics
from sportskills_lib.evaluation import feedback, recall
from sportskills_lib.evaluation.demo_truth import relevant_clips

MARKS = ("own clip", "same cue and execution", "same skill", "other skill")
OWN, SAME_CUE, SAME_SKILL, OTHER = MARKS
SHOWN_SYSTEMS = (
    "relevance",
    "encoder_narrations",
    "encoder_zero_shot",
)  # those that exist; the first one decides


def retrieved(
    queries: pl.DataFrame, rankings: pl.DataFrame, clips: pl.DataFrame, groups: pl.DataFrame
) -> pl.DataFrame:
    """The rankings with a ``mark``: how the retrieved clip relates to the query (one of
    :data:`MARKS`).

    ``same cue and execution`` is known only with the demo's truth (``groups``, which may be empty).
    """
    own = queries.select("query_id", clip_id="own").explode("clip_id")
    same = relevant_clips(queries, groups).select("query_id", "clip_id")
    known = pl.concat(
        [own.with_columns(mark=pl.lit(OWN)), same.with_columns(mark=pl.lit(SAME_CUE))]
    ).unique(["query_id", "clip_id"], keep="first", maintain_order=True)
    skills = clips.select("clip_id", clip_skill="skill", clip_sport="sport")
    alike = (pl.col("skill") == pl.col("clip_skill")) & (pl.col("sport") == pl.col("clip_sport"))
    by_skill = pl.when(alike).then(pl.lit(SAME_SKILL)).otherwise(pl.lit(OTHER))
    return (
        rankings.join(queries.select("query_id", "sport", "skill"), on="query_id")
        .join(skills, on="clip_id", how="left")
        .join(known, on=["query_id", "clip_id"], how="left")
        .with_columns(mark=pl.coalesce("mark", by_skill))
        .select(*rankings.columns, "mark")
        .sort("system", "query_id", "rank")
    )


def ranks(scores: pl.DataFrame, system: str) -> pl.DataFrame:
    """query_id, sport, own_rank of one system; also for sports that are not evaluable at k, where
    ranks exist.
    """
    return (
        scores.filter(pl.col("value").is_not_null(), system=system, metric=recall.RANK)
        .group_by("query_id", "sport")
        .agg(own_rank=pl.col("value").mean())
        .sort("query_id")
    )


def default_system(scores: pl.DataFrame, *, training: str = "narrations") -> str:
    """The system whose retrievals are shown first: within sport if any sport is evaluable there,
    else across sports.
    """
    evaluable = scores.filter(pl.col("value").is_not_null(), metric=recall.SINGLE)
    asked = recall.split_system(evaluable).filter(training=training, direction="text_to_video")
    scope = recall.WITHIN if recall.WITHIN in asked["scope"] else recall.ACROSS
    known = recall.split_system(scores.select("system").unique()).sort("encoder", "training")
    own = known.filter(training=training)
    arms = [*own.select("encoder", "training").rows(), *known.select("encoder", "training").rows()]
    encoder, training = (arms or [("image", training)])[0]
    return recall.system_name(encoder, training, "text_to_video", scope)


def pick(scores: pl.DataFrame, system: str, baseline: str | None, *, each: int = 2) -> pl.DataFrame:
    """``each`` best, typical and worst queries of ``system``: kind, query_id, sport, own_rank,
    baseline_rank.
    """
    mine = ranks(scores, system)
    table = mine.join(
        ranks(scores, baseline or "").select("query_id", baseline_rank="own_rank"),
        on="query_id",
        how="left",
    )
    rank, middle = pl.col("own_rank"), mine["own_rank"].median()
    gain = pl.col("baseline_rank").fill_null(0) - rank
    orders = (
        ("good", each, (rank > metrics.HEADLINE_K, -gain)),
        ("typical", each, ((rank - middle).abs(),)),
        ("bad", each, (-rank,)),
    )
    columns = ("kind", "query_id", "sport", "own_rank", "baseline_rank")
    return _from_many_sports(table, orders).select(columns)


def _from_many_sports(
    table: pl.DataFrame, orders: Iterable[tuple[str, int, tuple[pl.Expr, ...]]]
) -> pl.DataFrame:
    """So many rows of each kind (``kind``), the first in its order, each from another sport as far
    as there are sports.
    """
    picked = table.head(0).with_columns(kind=pl.lit(""))
    for kind, number, order in orders:
        used = pl.col("sport").is_in(picked["sport"].implode())
        fresh = (
            table.join(picked, on="query_id", how="anti")
            .sort(used, *order, "query_id")
            .unique("sport", keep="first", maintain_order=True)
            .head(number)
            .with_columns(kind=pl.lit(kind))
        )
        picked = picked.vstack(fresh)
    return picked


def gather_queries(
    picked: pl.DataFrame, queries: pl.DataFrame, marked: pl.DataFrame, system: str, *, top: int = 5
) -> pl.DataFrame:
    """The picked queries, a row a clip: a query's own clip stands at rank 0, what was retrieved
    from 1 on.

    kind, query_id, sport, text, system, own_rank, baseline_rank, rank, clip_id, mark, score.
    """
    asked = picked.with_row_index("place").join(
        queries.select("query_id", "text", clip_id=pl.col("own").list.first()), on="query_id"
    )
    own = asked.with_columns(
        system=pl.lit(system), rank=0, mark=pl.lit(OWN), score=pl.lit(None, dtype=pl.Float64)
    )
    hits = asked.drop("clip_id").join(
        marked.filter(pl.col("rank") <= top, system=system), on="query_id"
    )
    columns = ["place", *_QUERIES]
    return (
        pl.concat([own.select(columns), hits.select(columns)], how="vertical_relaxed")
        .sort("place", "rank")
        .drop("place")
        .cast(_QUERIES)  # type: ignore[arg-type]
    )


_QUERIES = {
    **dict.fromkeys(("kind", "query_id", "sport", "text", "system"), pl.String),
    **dict.fromkeys(("own_rank", "baseline_rank"), pl.Float64),
    "rank": pl.Int64,
    "clip_id": pl.String,
    "mark": pl.String,
    "score": pl.Float64,
}


def pick_learners(scores: pl.DataFrame, system: str) -> pl.DataFrame:
    """Learners by nDCG@k of ``system``, two good ones, a typical one and the worst: kind,
    learner_id, sport, value.

    Each is from another sport as far as there are sports.
    """
    own = scores.filter(pl.col("value").is_not_null(), system=system, metric=feedback.NDCG)
    value, middle = pl.col("value"), own["value"].median()
    good = ("good", 1, (-value,))
    orders = (good, good, ("typical", 1, ((value - middle).abs(),)), ("failure", 1, (value,)))
    return _from_many_sports(own, orders).select("kind", "sport", "value", learner_id="query_id")


def gather_learners(
    scores: pl.DataFrame,
    rankings: pl.DataFrame,
    judged: pl.DataFrame,
    learners: pl.DataFrame,
    named: pl.DataFrame,
    *,
    top: int = 5,
) -> pl.DataFrame:
    """The picked learners and what each system offers them first, a row a clip; empty without
    judged learners.

    kind, learner_id, sport, comment, named, probability, system, value (nDCG@k), rank, clip_id,
    grade (mean). The expert's comment is shown to the reader; no model has it as an input.
    ``named`` is what 04 says is wrong (named_mistakes), with its probability.
    """
    known = scores["system"].unique().to_list()
    systems = [name for name in SHOWN_SYSTEMS if name in known] or sorted(known)[:2]
    if not systems:
        return pl.DataFrame(schema=_LEARNERS)
    picked = pick_learners(scores, systems[0]).drop("value").with_row_index("place")
    gains = judged.group_by("learner_id", "clip_id").agg(grade=pl.col("grade").mean())
    ndcg = scores.filter(pl.col("metric") == feedback.NDCG).select(
        "system", "value", learner_id="query_id"
    )
    order = pl.col("system").replace_strict(
        {name: at for at, name in enumerate(systems)}, return_dtype=pl.Int64
    )
    return (
        rankings.filter((pl.col("rank") <= top) & pl.col("system").is_in(systems))
        .rename({"query_id": "learner_id"})
        .join(picked, on="learner_id")
        .join(learners.select("learner_id", "comment"), on="learner_id", how="left")
        .join(
            named.filter(pl.col("rank") == 1).select("learner_id", "probability", named="comment"),
            on="learner_id",
            how="left",
        )
        .join(ndcg, on=["system", "learner_id"], how="left")
        .join(gains, on=["learner_id", "clip_id"], how="left")
        .sort("place", order, "rank")
        .select(list(_LEARNERS))
        .cast(_LEARNERS)  # type: ignore[arg-type]
    )


_LEARNERS = {
    "kind": pl.String,
    "learner_id": pl.String,
    "sport": pl.String,
    "comment": pl.String,
    "named": pl.String,
    "probability": pl.Float64,
    "system": pl.String,
    "value": pl.Float64,
    "rank": pl.Int64,
    "clip_id": pl.String,
    "grade": pl.Float64,
}
