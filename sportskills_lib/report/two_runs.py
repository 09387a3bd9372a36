"""Two finished runs, query by query: what differs by sport and by arm, and which queries moved.

A difference between two runs means something only where both answered the same queries over the
same clips. So that is checked first, by ids, files, galleries and words, and anything else is
refused with what differs and the remedy. Then everything is paired: the same draws of source videos
for both runs, and the sign of whole videos for p.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import polars as pl

from sportskills_lib import tables
from sportskills_lib.evaluation import comparisons, feedback, recall, summary
from sportskills_lib.report import rank_changes, run_tables
from sportskills_lib.runs import artifacts
from sportskills_lib.statistics import bootstrap

REMEDY = "make both from the same 01_curation and 02_pairing, with other settings of 03 or 04"


@dataclass(frozen=True)
class RunPair:
    """Two runs that can be paired; the first is the baseline. ``notes``: what could not be
    compared, and why.

    ``scores``: Scores of both runs, text to video, in whole galleries and in those of one size,
    with the columns run, encoder, training and scope. ``judged``: the same of feedback retrieval;
    empty where grades cannot be paired.
    """

    runs: tuple[str, str]
    scores: pl.DataFrame
    judged: pl.DataFrame
    queries: pl.DataFrame
    notes: list[str]


def open_pair(first: str, second: str) -> RunPair:
    """The runs, checked; ValueError, with what differs and the remedy, where queries or galleries
    cannot be paired.
    """
    runs = (first, second)
    if first == second:
        raise ValueError(f"{first!r} is one run: name two")
    stages = [artifacts.open_stage(run, run_tables.EVALUATION) for run in runs]
    clips, queries = zip(*(_clips_and_queries(run) for run in runs), strict=True)
    _same(runs, clips, ("clip_id", "sport", "sha256"), "test clips")
    _same(runs, queries, ("query_id", "sport", "text", "own"), "queries")
    notes: list[str] = []
    scores = pl.concat([_scores(run, stage) for run, stage in zip(runs, stages, strict=True)])
    sizes = [stage.manifest["config"]["gallery_size"] for stage in stages]
    if sizes[0] != sizes[1]:
        scores = scores.filter(pl.col("scope") != recall.FIXED)
        notes.append(
            f"gallery_size is {sizes[0]} and {sizes[1]}: equal-sized galleries are left out."
        )
    arms = [
        set(part.select("encoder", "training").rows())
        for part in scores.partition_by("run", maintain_order=True)
    ]
    if len(arms) < 2 or not arms[0] & arms[1]:
        raise ValueError(
            f"runs {first!r} and {second!r} have no arm in common: train the same arms in both"
        )
    if alone := sorted("/".join(arm) for arm in arms[0] ^ arms[1]):
        notes.append("Only one of the runs has " + ", ".join(alone) + ".")
    return RunPair(runs, scores, _judged(runs, stages, notes), queries[0], notes)


def _clips_and_queries(run: str) -> tuple[pl.DataFrame, pl.DataFrame]:
    """The test clips with their file's digest, and the queries asked of them."""
    curation = artifacts.open_stage(run, "01_curation")
    clips, queries = run_tables.clips_and_queries(run)
    files = curation.table("videos").select("video_id", "sha256")
    return clips.filter(pl.col("split") == "test").join(files, on="video_id", how="left"), queries


def _same(
    runs: tuple[str, str], found: Sequence[pl.DataFrame], facts: Sequence[str], what: str
) -> None:
    """ValueError unless both tables have the same rows, but for their order; ``facts`` begin with
    the id.
    """
    known = [{row[0]: row for row in part.select(facts).rows()} for part in found]
    every = sorted(known[0].keys() | known[1].keys())
    differ = [name for name in every if known[0].get(name) != known[1].get(name)]
    if differ:
        raise ValueError(
            f"runs {runs[0]!r} and {runs[1]!r} cannot be paired: of their {len(known[0])} and "
            f"{len(known[1])} {what} {len(differ)} differ, first {differ[0]}: {REMEDY}"
        )


def _scores(run: str, stage: artifacts.StageReader) -> pl.DataFrame:
    wanted = stage.table("recall", tables.Scores).filter(
        pl.col("metric").is_in([recall.SINGLE, recall.RANK])
    )
    shown = pl.col("scope").is_in(list(comparisons.GALLERIES.values()))
    return (
        recall.split_system(wanted)
        .filter(shown, direction="text_to_video")
        .with_columns(run=pl.lit(run))
    )


def _judged(
    runs: tuple[str, str], stages: Sequence[artifacts.StageReader], notes: list[str]
) -> pl.DataFrame:
    """Both runs' scores of feedback retrieval, where the same learners were judged by the same
    grades.
    """
    order = list(tables.Judgements.column_names())
    grades = [stage.table("judgements").select(order).sort(order) for stage in stages]
    today = pl.col("system").replace(feedback.EARLIER_NAMES)
    scores = [stage.table("feedback", tables.Scores).with_columns(today) for stage in stages]
    asked = [set(part["query_id"]) for part in scores]
    both = pl.concat(
        [part.with_columns(run=pl.lit(run)) for run, part in zip(runs, scores, strict=True)]
    )
    if grades[0].equals(grades[1]) and asked[0] == asked[1]:
        return both
    if all(asked):
        notes.append(
            "Feedback retrieval is left out: the runs have other learners, pools or grades."
        )
    return both.clear()


# -------------------------------------------------------------------------------------- differences


def differences(pair: RunPair, *, draws: int = 2000, seed: int = 0) -> pl.DataFrame:
    """The second run minus the first on recall@k, for each arm that both have, in each sport and
    of macro means.

    sport (``mean``: macro, last within an arm), encoder, training, gallery (full, fixed), first,
    second, difference, low, high, n, videos, ci_excludes_zero, p (whole videos change sides),
    p_holm (over the sports of that arm and gallery).
    """
    single = pair.scores.filter(pl.col("metric") == recall.SINGLE)
    arms = summary.arms_in_order(single["encoder"] + "/" + single["training"])
    rows: list[dict[str, Any]] = []
    for gallery, scope in comparisons.GALLERIES.items():
        for arm in arms:
            encoder, training = arm.split("/")
            both = _answered_by_both(single.filter(encoder=encoder, training=training, scope=scope))
            if both.is_empty():
                continue
            sampled = bootstrap.resample(both, draws=draws, seed=seed)
            named = {"encoder": encoder, "training": training, "gallery": gallery}
            rows += [
                named | _difference(pair.runs, sampled, both, sport, seed)
                for sport in (*sampled.strata, None)
            ]
    table, of_sport = pl.DataFrame(rows, schema=_DIFFERENCES), pl.col("sport") != summary.MEAN
    return bootstrap.with_holm(table, "encoder", "training", "gallery", tested=of_sport)


_VALUES = {
    **dict.fromkeys(("first", "second", "difference", "low", "high"), pl.Float64),
    "n": pl.Int64,
    "videos": pl.Int64,
    "ci_excludes_zero": pl.Boolean,
    "p": pl.Float64,
}
_DIFFERENCES = dict.fromkeys(("sport", "encoder", "training", "gallery"), pl.String) | _VALUES


def _answered_by_both(part: pl.DataFrame) -> pl.DataFrame:
    """The rows of queries that have a value in both runs (a sport may be evaluable in one alone);
    system: the run.
    """
    return (
        part.filter(pl.col("value").is_not_null())
        .filter(pl.col("run").n_unique().over("query_id") == 2)
        .with_columns(system=pl.col("run"))
        .select(list(tables.Scores.column_names()))
    )


def _difference(
    runs: tuple[str, str],
    sampled: bootstrap.Resampled,
    both: pl.DataFrame,
    sport: str | None,
    seed: int,
) -> dict[str, Any]:
    """The second run minus the first in one sport, or (None) of means over strata.

    p is that of whole clusters changing sides, where a query weighs one over its sport's queries.
    """
    first, second = runs
    part = both if sport is None else both.filter(pl.col("sport") == sport)
    gap = sampled.difference(second, first, stratum=sport)
    means = [sampled.stratum(run, sport) if sport else sampled.macro(run) for run in runs]
    gaps = bootstrap.paired_differences(part, second, first)
    each = gaps["difference"] / gaps.select(pl.len().over("sport")).to_series()
    return {
        "sport": sport or summary.MEAN,
        "first": means[0].value,
        "second": means[1].value,
        "difference": gap.value,
        "low": gap.low,
        "high": gap.high,
        "ci_excludes_zero": gap.excludes(0.0),
        "n": gaps.height,
        "videos": gaps["cluster"].n_unique(),
        "p": bootstrap.randomisation_p(each.to_numpy(), gaps["cluster"].to_list(), seed=seed),
    }


def judged_differences(pair: RunPair, *, draws: int = 2000, seed: int = 0) -> pl.DataFrame:
    """The second run minus the first for each system of feedback retrieval, paired over learners.

    system, metric, first, second, difference, low, high, n, ci_excludes_zero, p, p_holm
    (over the systems of that metric). A system that scores every learner alike in both runs is no
    test, and has no p.
    """
    judged = pair.judged.with_columns(sport=pl.lit("all"))  # each learner weighs the same
    rows: list[dict[str, Any]] = []
    for metric in (feedback.NDCG, feedback.RECALL):
        for system in sorted(judged["system"].unique()):
            both = _answered_by_both(judged.filter(system=system, metric=metric))
            if both.is_empty():
                continue
            sampled = bootstrap.resample(both, draws=draws, seed=seed)
            row = _difference(pair.runs, sampled, both, None, seed)
            gaps = bootstrap.paired_differences(both, *pair.runs)["difference"]
            row["p"] = row["p"] if (gaps != 0).any() else None
            rows.append(row | {"system": system, "metric": metric})
    schema = {"system": pl.String, "metric": pl.String} | _VALUES
    return bootstrap.with_holm(pl.DataFrame(rows, schema=schema).drop("videos"), "metric")


# -------------------------------------------------------------------------------------------- moved


def main_arm(pair: RunPair) -> tuple[str, str]:
    """The arm whose queries are looked at: narrations of the first encoder, or the last arm that
    both runs have.
    """
    both = (
        pair.scores.group_by("encoder", "training")
        .agg(pl.col("run").n_unique())
        .filter(pl.col("run") == 2)
    )
    encoder = summary.ordered(both["encoder"], summary.ENCODERS)[0]
    arms = summary.ordered(both.filter(pl.col("encoder") == encoder)["training"])
    return encoder, "narrations" if "narrations" in arms else arms[-1]


def moved(pair: RunPair) -> pl.DataFrame:
    """Every query's rank in both runs, for each encoder's main arm, in whole galleries
    (rank_changes.moved).
    """
    ranks = pair.scores.filter(training=main_arm(pair)[1], scope=recall.WITHIN).with_columns(
        system=pl.col("encoder") + "/" + pl.col("run")
    )
    systems = {
        encoder: (f"{encoder}/{pair.runs[1]}", f"{encoder}/{pair.runs[0]}")
        for encoder in summary.ordered(ranks["encoder"], summary.ENCODERS)
    }
    return rank_changes.moved(ranks, pair.queries, systems)


def most_moved(moves: pl.DataFrame, encoder: str, *, each: int = 3) -> pl.DataFrame:
    """The ``each`` queries that rose and fell most, from different sports as far as there are: with
    ``way``.
    """
    turns = moves.filter(pl.col("encoder") == encoder).with_columns(
        turn=pl.int_range(pl.len()).over("way", "sport")
    )
    return pl.concat(
        turns.filter(way=way).sort("turn", maintain_order=True).head(each).drop("turn")
        for way in (rank_changes.BETTER, rank_changes.WORSE)
    )


def settings_that_differ(runs: tuple[str, str]) -> pl.DataFrame:
    """stage, setting, and its value in both runs; only those that are not the same."""
    configs = {
        stage: [artifacts.open_stage(run, stage).manifest["config"] for run in runs]
        for stage in artifacts.STAGES
    }
    rows = [
        (stage, name, str(one.get(name)), str(two.get(name)))
        for stage, (one, two) in configs.items()
        for name in sorted(one.keys() | two.keys())
        if one.get(name) != two.get(name)
    ]
    return pl.DataFrame(
        rows, schema=dict.fromkeys(("stage", "setting", "first", "second"), pl.String), orient="row"
    )


def retrieved(
    run: str, query_ids: Sequence[str], arm: tuple[str, str], *, top: int = 5
) -> pl.DataFrame:
    """query_id, rank, clip_id, score: what the arm of that run retrieved first for the queries."""
    return (
        artifacts.open_stage(run, run_tables.EVALUATION)
        .table("retrievals")
        .filter(
            pl.col("query_id").is_in(list(query_ids)),
            pl.col("rank") <= top,
            system=recall.system_name(*arm, "text_to_video", recall.WITHIN),
        )
        .sort("query_id", "rank")
        .drop("system")
    )
