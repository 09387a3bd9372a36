"""Single retrievals to look at: which to show, and how right each retrieved clip is.

Cases are picked by a rule, not by hand: the best ones (where an arm finds what its baseline misses by most), typical
ones (closest to the median rank) and the worst, each from another sport as far as there are sports.
"""

from __future__ import annotations

import numpy as np
import polars as pl

from sportskills_lib.evaluation import feedback, recall
from sportskills_lib.evaluation.audit import relevant_clips

OWN, SAME_CUE, SAME_SKILL, OTHER = "own clip", "same cue and execution", "same skill", "other skill"
MARKS = (OWN, SAME_CUE, SAME_SKILL, OTHER)
SHOWN_SYSTEMS = ("encoder_narrations", "vlm_lora")  # those that exist; the last one decides which learners are shown


def retrieved(queries: pl.DataFrame, rankings: pl.DataFrame, clips: pl.DataFrame, groups: pl.DataFrame) -> pl.DataFrame:
    """The rankings with a ``mark``: how the retrieved clip relates to the query (one of :data:`MARKS`).

    ``same cue and execution`` is known only with the demo's truth (``groups``, which may be empty).
    """
    own = queries.select("query_id", clip_id="own").explode("clip_id").with_columns(is_own=pl.lit(True))
    same = relevant_clips(queries, groups).with_columns(is_same=pl.lit(True))
    skills = clips.select("clip_id", clip_skill="skill", clip_sport="sport")
    asked = queries.select("query_id", "sport", "skill")
    full = rankings.join(asked, on="query_id").join(skills, on="clip_id", how="left")
    full = full.join(own, on=["query_id", "clip_id"], how="left").join(same, on=["query_id", "clip_id"], how="left")
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
    return full.with_columns(mark=mark).select(*rankings.columns, "mark").sort("system", "query_id", "rank")


def ranks(scores: pl.DataFrame, system: str) -> pl.DataFrame:
    """query_id, sport, own_rank of one system; also for sports that are not evaluable at 10, where ranks exist."""
    rows = scores.filter(
        (pl.col("system") == system) & (pl.col("metric") == recall.RANK) & pl.col("value").is_not_null()
    )
    return rows.group_by("query_id", "sport").agg(own_rank=pl.col("value").mean()).sort("query_id")


def pick(scores: pl.DataFrame, system: str, baseline: str | None, *, each: int = 2) -> pl.DataFrame:
    """``each`` best, typical and worst queries of ``system``: kind, query_id, sport, own_rank, baseline_rank."""
    mine = ranks(scores, system)
    theirs = ranks(scores, baseline).select("query_id", baseline_rank="own_rank") if baseline else None
    table = mine.join(theirs, on="query_id", how="left") if theirs is not None and theirs.height else mine
    if "baseline_rank" not in table.columns:
        table = table.with_columns(baseline_rank=pl.lit(None, dtype=pl.Float64))
    middle = float(np.median(mine["own_rank"].to_numpy())) if mine.height else 0.0
    orders = {
        "good": [pl.col("own_rank") > recall.K, -(pl.col("baseline_rank").fill_null(0) - pl.col("own_rank"))],
        "typical": [(pl.col("own_rank") - middle).abs()],
        "bad": [-pl.col("own_rank")],
    }
    picked: list[pl.DataFrame] = []
    for kind, order in orders.items():
        taken = pl.concat(picked) if picked else None
        left = table if taken is None else table.filter(~pl.col("query_id").is_in(taken["query_id"].implode()))
        used = [] if taken is None else taken["sport"].to_list()
        ordered = left.sort(pl.col("sport").is_in(used), *order, "query_id")
        fresh = ordered.unique("sport", keep="first", maintain_order=True).head(each)
        picked.append(fresh.select(pl.lit(kind).alias("kind"), "query_id", "sport", "own_rank", "baseline_rank"))
    return pl.concat(picked)


def gather(
    picked: pl.DataFrame, queries: pl.DataFrame, marked: pl.DataFrame, system: str, *, top: int = 5
) -> list[dict]:
    """Each picked query with its text, own clip and ``top`` retrieved clips with marks, ready to be drawn."""
    found = marked.filter((pl.col("system") == system) & (pl.col("rank") <= top))
    cases = []
    for row in picked.join(queries, on="query_id", maintain_order="left").iter_rows(named=True):
        hits = found.filter(pl.col("query_id") == row["query_id"]).sort("rank")
        cases.append(row | {"own_clip": row["own"][0], "hits": hits.select("clip_id", "score", "mark").to_dicts()})
    return cases


def pick_learners(scores: pl.DataFrame, system: str) -> pl.DataFrame:
    """One learner of each kind (good, typical, bad) by nDCG@10 of ``system``: kind, learner_id, sport, value."""
    own = scores.filter(
        (pl.col("system") == system) & (pl.col("metric") == feedback.NDCG) & pl.col("value").is_not_null()
    ).select("query_id", "sport", "value")
    middle = own["value"].median() or 0.0
    orders = {"good": -pl.col("value"), "typical": (pl.col("value") - middle).abs(), "bad": pl.col("value")}
    picked = own.head(0).with_columns(kind=pl.lit(""))
    for kind, order in orders.items():
        left = own.filter(~pl.col("query_id").is_in(picked["query_id"].implode()))
        best = left.sort(pl.col("sport").is_in(picked["sport"].implode()), order, "query_id").head(1)
        picked = picked.vstack(best.with_columns(kind=pl.lit(kind)))
    return picked.select("kind", learner_id="query_id", sport="sport", value="value")


def gather_learners(
    scores: pl.DataFrame, rankings: pl.DataFrame, judged: pl.DataFrame, learners: pl.DataFrame, *, top: int = 5
) -> list[dict]:
    """One entry a learner and system: kind, sport, comment, system, value (nDCG@10), learner_id, hits with grades.

    Empty without judged learners. The expert's comment is shown to the reader; no model has it as an input.
    """
    known = scores["system"].unique().to_list()
    systems = [name for name in SHOWN_SYSTEMS if name in known] or sorted(known)[:2]
    if not systems:
        return []
    gains = judged.group_by("learner_id", "clip_id").agg(grade=pl.col("grade").mean())
    ranked = rankings.filter(pl.col("rank") <= top).rename({"query_id": "learner_id"})
    ranked = ranked.join(gains, on=["learner_id", "clip_id"], how="left")
    ndcg = scores.filter(pl.col("metric") == feedback.NDCG)
    value = {(system, learner): score for system, learner, score in ndcg.select("system", "query_id", "value").rows()}
    comments = dict(learners.select("learner_id", "comment").rows())
    found = []
    for row in pick_learners(scores, systems[-1]).iter_rows(named=True):
        for system in systems:
            hits = ranked.filter((pl.col("system") == system) & (pl.col("learner_id") == row["learner_id"]))
            entry = {"system": system, "value": value.get((system, row["learner_id"])), "hits": _hits(hits)}
            found.append(row | entry | {"comment": comments[row["learner_id"]]})
    return found


def _hits(hits: pl.DataFrame) -> list[dict]:
    return hits.sort("rank").select("clip_id", "grade").to_dicts()
