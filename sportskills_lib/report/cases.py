"""Single retrievals to look at: which to show, and how right each retrieved clip is.

Cases are picked by a rule, not by hand: the best ones (where an arm finds what its baseline misses
by most), typical ones (closest to the median rank) and the worst, each from another sport as far as
there are sports.
"""

from __future__ import annotations

import numpy as np
import polars as pl

from sportskills_lib import metrics
from sportskills_lib.evaluation import feedback, recall
from sportskills_lib.evaluation.demo_truth import relevant_clips

OWN, SAME_CUE, SAME_SKILL, OTHER = (
    "own clip",
    "same cue and execution",
    "same skill",
    ("other skill"),
)
MARKS = (OWN, SAME_CUE, SAME_SKILL, OTHER)
SHOWN_SYSTEMS = (
    "vlm_lora",
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
    own = (
        queries.select("query_id", clip_id="own")
        .explode("clip_id")
        .with_columns(is_own=pl.lit(True))
    )
    same = relevant_clips(queries, groups).with_columns(is_same=pl.lit(True))
    skills = clips.select("clip_id", clip_skill="skill", clip_sport="sport")
    asked = queries.select("query_id", "sport", "skill")
    full = rankings.join(asked, on="query_id").join(skills, on="clip_id", how="left")
    full = full.join(own, on=["query_id", "clip_id"], how="left").join(
        same, on=["query_id", "clip_id"], how="left"
    )
    alike = (pl.col("skill") == pl.col("clip_skill")) & (pl.col("sport") == pl.col("clip_sport"))
    mark = (
        pl.when(pl.col("is_own").fill_null(False))
        .then(pl.lit(OWN))
        .when(pl.col("is_same").fill_null(False))
        .then(pl.lit(SAME_CUE))
        .when(alike.fill_null(False))
        .then(pl.lit(SAME_SKILL))
        .otherwise(pl.lit(OTHER))
    )
    return (
        full.with_columns(mark=mark)
        .select(*rankings.columns, "mark")
        .sort("system", "query_id", "rank")
    )


def ranks(scores: pl.DataFrame, system: str) -> pl.DataFrame:
    """query_id, sport, own_rank of one system; also for sports that are not evaluable at k, where
    ranks exist.
    """
    rows = scores.filter(
        (pl.col("system") == system)
        & (pl.col("metric") == recall.RANK)
        & pl.col("value").is_not_null()
    )
    return rows.group_by("query_id", "sport").agg(own_rank=pl.col("value").mean()).sort("query_id")


def default_system(scores: pl.DataFrame, *, training: str = "narrations") -> str:
    """The system whose retrievals are shown first: within sport if any sport is evaluable there,
    else across sports.
    """
    single = recall.split_system(
        scores.filter((pl.col("metric") == recall.SINGLE) & pl.col("value").is_not_null())
    )
    text = single.filter(pl.col("direction") == "text_to_video")
    within = text.filter((pl.col("scope") == "within_sport") & (pl.col("training") == training))
    scope = "within_sport" if within.height else "across_sports"
    known = sorted(
        recall.split_system(scores.select("system").unique()).select("encoder", "training").rows()
    )
    arms = [arm for arm in known if arm[1] == training] or known or [("image", training)]
    encoder, chosen = arms[0]
    return recall.system_name(encoder, chosen, "text_to_video", scope)


def pick(scores: pl.DataFrame, system: str, baseline: str | None, *, each: int = 2) -> pl.DataFrame:
    """``each`` best, typical and worst queries of ``system``: kind, query_id, sport, own_rank,
    baseline_rank.
    """
    mine = ranks(scores, system)
    theirs = (
        ranks(scores, baseline).select("query_id", baseline_rank="own_rank") if baseline else None
    )
    table = (
        mine.join(theirs, on="query_id", how="left")
        if theirs is not None and theirs.height
        else mine
    )
    if "baseline_rank" not in table.columns:
        table = table.with_columns(baseline_rank=pl.lit(None, dtype=pl.Float64))
    middle = float(np.median(mine["own_rank"].to_numpy())) if mine.height else 0.0
    orders = {
        "good": [
            pl.col("own_rank") > metrics.HEADLINE_K,
            -(pl.col("baseline_rank").fill_null(0) - pl.col("own_rank")),
        ],
        "typical": [(pl.col("own_rank") - middle).abs()],
        "bad": [-pl.col("own_rank")],
    }
    picked: list[pl.DataFrame] = []
    for kind, order in orders.items():
        taken = pl.concat(picked) if picked else None
        left = (
            table
            if taken is None
            else table.filter(~pl.col("query_id").is_in(taken["query_id"].implode()))
        )
        used = [] if taken is None else taken["sport"].to_list()
        ordered = left.sort(pl.col("sport").is_in(used), *order, "query_id")
        fresh = ordered.unique("sport", keep="first", maintain_order=True).head(each)
        picked.append(
            fresh.select(
                pl.lit(kind).alias("kind"), "query_id", "sport", "own_rank", "baseline_rank"
            )
        )
    return pl.concat(picked)


def gather(
    picked: pl.DataFrame, queries: pl.DataFrame, marked: pl.DataFrame, system: str, *, top: int = 5
) -> list[dict]:
    """Each picked query with its text, own clip and ``top`` retrieved clips with marks, ready to be
    drawn.
    """
    found = marked.filter((pl.col("system") == system) & (pl.col("rank") <= top))
    cases = []
    for row in picked.join(queries, on="query_id", maintain_order="left").iter_rows(named=True):
        hits = found.filter(pl.col("query_id") == row["query_id"]).sort("rank")
        named = {"system": system, "own_clip": row["own"][0]}
        cases.append(row | named | {"hits": hits.select("clip_id", "score", "mark").to_dicts()})
    return cases


def rows(found: list[dict]) -> pl.DataFrame:
    """The picked queries as a table: kind, query_id, sport, text, system, own_rank, baseline_rank,
    rank, clip_id, mark, score. A query's own clip stands at rank 0, what was retrieved from 1 on.
    """
    told = []
    for case in found:
        named = [
            case[name]
            for name in ("kind", "query_id", "sport", "text", "system", "own_rank", "baseline_rank")
        ]
        told.append((*named, 0, case["own_clip"], OWN, None))
        hits = enumerate(case["hits"], start=1)
        told += [(*named, rank, hit["clip_id"], hit["mark"], hit["score"]) for rank, hit in hits]
    return pl.DataFrame(told, schema=_CASES, orient="row")


_CASES = {
    "kind": pl.String,
    "query_id": pl.String,
    "sport": pl.String,
    "text": pl.String,
    "system": pl.String,
    "own_rank": pl.Float64,
    "baseline_rank": pl.Float64,
    "rank": pl.Int64,
    "clip_id": pl.String,
    "mark": pl.String,
    "score": pl.Float64,
}


def items(shown: pl.DataFrame, offered: pl.DataFrame) -> list[str]:
    """The clips and learners of :func:`rows` and :func:`gather_learners`, each once, in order."""
    found = [*shown["clip_id"], *offered["learner_id"], *offered["clip_id"]]
    return list(dict.fromkeys(found))


LEARNER_KINDS = ("good", "good", "typical", "failure")  # the last row of the figure is a failure


def pick_learners(scores: pl.DataFrame, system: str) -> pl.DataFrame:
    """Learners by nDCG@k of ``system``, two good ones, a typical one and the worst: kind,
    learner_id, sport, value.

    Each is from another sport as far as there are sports.
    """
    own = scores.filter(
        (pl.col("system") == system)
        & (pl.col("metric") == feedback.NDCG)
        & pl.col("value").is_not_null()
    ).select("query_id", "sport", "value")
    middle = own["value"].median() or 0.0
    orders = {
        "good": -pl.col("value"),
        "typical": (pl.col("value") - middle).abs(),
        "failure": pl.col("value"),
    }
    picked = own.head(0).with_columns(kind=pl.lit(""))
    for kind in LEARNER_KINDS:
        left = own.filter(~pl.col("query_id").is_in(picked["query_id"].implode()))
        best = left.sort(
            pl.col("sport").is_in(picked["sport"].implode()), orders[kind], "query_id"
        ).head(1)
        picked = picked.vstack(best.with_columns(kind=pl.lit(kind)))
    return picked.select("kind", learner_id="query_id", sport="sport", value="value")


def gather_learners(
    scores: pl.DataFrame,
    rankings: pl.DataFrame,
    judged: pl.DataFrame,
    learners: pl.DataFrame,
    *,
    top: int = 5,
) -> pl.DataFrame:
    """The picked learners and what each system offers them first, a row a clip; empty without
    judged learners.

    kind, learner_id, sport, comment, system, value (nDCG@k), rank, clip_id, grade (mean). The
    expert's comment is shown to the reader; no model has it as an input.
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
    "system": pl.String,
    "value": pl.Float64,
    "rank": pl.Int64,
    "clip_id": pl.String,
    "grade": pl.Float64,
}
