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
from sportskills_lib.evaluation import feedback, recall, summary
from sportskills_lib.report import rank_changes, run_tables
from sportskills_lib.runs import artifacts
from sportskills_lib.statistics import bootstrap

SCOPES = {recall.WITHIN: "full", recall.FIXED: "fixed"}
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
    clips: pl.DataFrame
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
    _same(runs, clips, "clip_id", "test clips")
    _same(runs, queries, "query_id", "queries")
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
    return RunPair(runs, scores, _judged(runs, stages, notes), queries[0], clips[0], notes)


def _clips_and_queries(run: str) -> tuple[pl.DataFrame, pl.DataFrame]:
    """The test clips with their file's digest, and the queries asked of them."""
    curation = artifacts.open_stage(run, "01_curation")
    clips, queries = run_tables.clips_and_queries(run)
    files = curation.table("videos").select("video_id", "sha256")
    test = clips.filter(pl.col("split") == "test").join(files, on="video_id", how="left")
    return test, queries


def _same(runs: tuple[str, str], found: Sequence[pl.DataFrame], key: str, what: str) -> None:
    """ValueError unless both tables have the same rows, but for their order."""
    facts = (
        ("clip_id", "sport", "sha256") if key == "clip_id" else ("query_id", "sport", "text", "own")
    )
    known = [dict(zip(part[key], part.select(facts).rows(), strict=True)) for part in found]
    differ = sorted(
        name
        for name in known[0].keys() | known[1].keys()
        if known[0].get(name) != known[1].get(name)
    )
    if differ:
        counts = f"{len(known[0])} and {len(known[1])}"
        raise ValueError(
            f"runs {runs[0]!r} and {runs[1]!r} cannot be paired: of their {counts} {what} "
            f"{len(differ)} differ, first "
            f"{differ[0]}: {REMEDY}"
        )


def _scores(run: str, stage: artifacts.StageReader) -> pl.DataFrame:
    wanted = stage.table("recall", tables.Scores).filter(
        pl.col("metric").is_in([recall.SINGLE, recall.RANK])
    )
    split = recall.split_system(wanted).filter(pl.col("direction") == "text_to_video")
    return split.filter(pl.col("scope").is_in(list(SCOPES))).with_columns(run=pl.lit(run))


def _judged(
    runs: tuple[str, str], stages: Sequence[artifacts.StageReader], notes: list[str]
) -> pl.DataFrame:
    """Both runs' scores of feedback retrieval, where the same learners were judged by the same
    grades.
    """
    order = list(tables.Judgements.column_names())
    grades = [stage.table("judgements").select(order).sort(order) for stage in stages]
    scores = [stage.table("feedback", tables.Scores) for stage in stages]
    asked = [set(part["query_id"]) for part in scores]
    if not asked[0] or not asked[1]:
        return scores[0].clear().with_columns(run=pl.lit(""))
    if not grades[0].equals(grades[1]) or asked[0] != asked[1]:
        notes.append(
            "Feedback retrieval is left out: the runs have other learners, pools or grades."
        )
        return scores[0].clear().with_columns(run=pl.lit(""))
    return pl.concat(
        [part.with_columns(run=pl.lit(run)) for run, part in zip(runs, scores, strict=True)]
    )


# -------------------------------------------------------------------------------------- differences


def differences(pair: RunPair, *, draws: int = 2000, seed: int = 0) -> pl.DataFrame:
    """The second run minus the first on recall@k, for each arm that both have, in each sport and
    of macro means.

    sport (``mean``: macro), encoder, training, gallery (full, fixed), first, second, difference,
    low, high, n, videos, ci_excludes_zero, p (whole videos change sides), p_holm
    (over the sports of that arm and gallery).
    """
    rows: list[dict[str, Any]] = []
    single = pair.scores.filter(pl.col("metric") == recall.SINGLE)
    for (encoder, training, scope), part in sorted(single.group_by("encoder", "training", "scope")):
        if part["run"].n_unique() < 2:
            continue
        both = _answered_by_both(part)
        sampled = bootstrap.resample(both, draws=draws, seed=seed)
        found = [_difference(pair.runs, sampled, both, sport, seed) for sport in sampled.strata]
        for row, adjusted in zip(found, bootstrap.holm([row["p"] for row in found]), strict=True):
            row["p_holm"] = adjusted
        if found:
            found.append(_difference(pair.runs, sampled, both, None, seed))
        arm = {"encoder": encoder, "training": training, "gallery": SCOPES[str(scope)]}
        rows += [arm | row for row in found]
    return _in_order(pl.DataFrame(rows, schema=_DIFFERENCES))


_DIFFERENCES = {
    "sport": pl.String,
    "encoder": pl.String,
    "training": pl.String,
    "gallery": pl.String,
    "first": pl.Float64,
    "second": pl.Float64,
    "difference": pl.Float64,
    "low": pl.Float64,
    "high": pl.Float64,
    "n": pl.Int64,
    "videos": pl.Int64,
    "ci_excludes_zero": pl.Boolean,
    "p": pl.Float64,
    "p_holm": pl.Float64,
}


def _answered_by_both(part: pl.DataFrame) -> pl.DataFrame:
    """The rows of queries that have a value in both runs (a sport may be evaluable in one alone);
    system: the run.
    """
    known = part.filter(pl.col("value").is_not_null())
    both = (
        known.group_by("query_id", "metric")
        .agg(pl.col("run").n_unique())
        .filter(pl.col("run") == 2)
    )
    joined = known.join(both.select("query_id", "metric"), on=["query_id", "metric"], how="semi")
    return joined.with_columns(system=pl.col("run")).select(list(tables.Scores.column_names()))


def _difference(
    runs: tuple[str, str],
    sampled: bootstrap.Resampled,
    both: pl.DataFrame,
    sport: str | None,
    seed: int,
) -> dict[str, Any]:
    first, second = runs
    gap = sampled.difference(second, first, stratum=sport)
    means = [
        sampled.stratum(run, sport).value if sport else sampled.macro(run).value for run in runs
    ]
    places = range(len(sampled.strata)) if sport is None else [sampled.strata.index(sport)]
    return {
        "sport": sport or summary.MEAN,
        "first": means[0],
        "second": means[1],
        **{
            "difference": gap.value,
            "low": gap.low,
            "high": gap.high,
            "ci_excludes_zero": gap.excludes(0.0),
        },
        "n": int(sum(sampled.queries_S[place] for place in places)),
        "videos": int(sum(sampled.clusters_S[place] for place in places)),
        "p": _p(runs, both if sport is None else both.filter(pl.col("sport") == sport), seed),
        "p_holm": None,
    }


def _p(runs: tuple[str, str], both: pl.DataFrame, seed: int) -> float | None:
    """p of the macro mean's difference: a query weighs one over its sport's queries, whole videos
    change sides.
    """
    means = bootstrap.average_seeds(both)
    wide = means.pivot("system", index=["query_id", "sport", "cluster"], values="value").sort(
        "query_id"
    )
    gap = (pl.col(runs[1]) - pl.col(runs[0])) / pl.len().over("sport")
    weighed = wide.with_columns(gap=gap)
    return bootstrap.randomisation_p(
        weighed["gap"].to_numpy(), weighed["cluster"].to_list(), seed=seed
    )


def _in_order(table: pl.DataFrame) -> pl.DataFrame:
    """Macro means last within an arm; arms from the common start to the full training."""
    arms = summary.arms_in_order(
        f"{one}/{two}" for one, two in table.select("encoder", "training").rows()
    )
    place = pl.concat_str("encoder", "training", separator="/").replace_strict(
        {arm: at for at, arm in enumerate(arms)}, return_dtype=pl.Int64
    )
    return table.sort(pl.col("gallery") == "fixed", place, pl.col("sport") == summary.MEAN, "sport")


def judged_differences(pair: RunPair, *, draws: int = 2000, seed: int = 0) -> pl.DataFrame:
    """The second run minus the first for each system of feedback retrieval, paired over learners.

    system, metric, first, second, difference, low, high, n, ci_excludes_zero, p, p_holm
    (over the systems of that metric). A system that scores every learner alike in both runs is no
    test, and has no p.
    """
    rows: list[dict[str, Any]] = []
    for metric in (feedback.NDCG, feedback.RECALL):
        found: list[dict[str, Any]] = []
        for (system,), part in sorted(
            pair.judged.filter(pl.col("metric") == metric).group_by("system")
        ):
            both = _answered_by_both(part)
            if part["run"].n_unique() < 2 or both.is_empty():
                continue
            sampled = bootstrap.resample(both, draws=draws, seed=seed, stratum=None)
            gap = sampled.difference(pair.runs[1], pair.runs[0], stratum="all")
            first, second = (sampled.stratum(run, "all").value for run in pair.runs)
            gaps = bootstrap.paired_differences(both, pair.runs[1], pair.runs[0])
            told = (gaps["difference"].to_numpy(), gaps["cluster"].to_list())
            p = bootstrap.randomisation_p(*told, seed=seed) if told[0].any() else None
            names = {"system": system, "metric": metric, "first": first, "second": second}
            values = {
                "difference": gap.value,
                "low": gap.low,
                "high": gap.high,
                "ci_excludes_zero": gap.excludes(0.0),
                "p": p,
            }
            found.append(names | values | {"n": int(sampled.queries_S.sum())})
        for row, adjusted in zip(found, bootstrap.holm([row["p"] for row in found]), strict=True):
            rows.append(row | {"p_holm": adjusted})
    return pl.DataFrame(rows, schema=_JUDGED)


_JUDGED = {
    "system": pl.String,
    "metric": pl.String,
    "first": pl.Float64,
    "second": pl.Float64,
    "difference": pl.Float64,
    "low": pl.Float64,
    "high": pl.Float64,
    "n": pl.Int64,
    "ci_excludes_zero": pl.Boolean,
    "p": pl.Float64,
    "p_holm": pl.Float64,
}


# -------------------------------------------------------------------------------------------- moved


def main_arm(pair: RunPair) -> tuple[str, str]:
    """The arm whose queries are looked at: narrations of the first encoder, or the last arm that
    both runs have.
    """
    runs = pl.col("run").n_unique()
    both = pair.scores.group_by("encoder", "training").agg(runs).filter(pl.col("run") == 2)
    encoder = summary.ordered(both["encoder"], summary.ENCODERS)[0]
    arms = summary.ordered(both.filter(pl.col("encoder") == encoder)["training"])
    return encoder, "narrations" if "narrations" in arms else arms[-1]


def moved(pair: RunPair) -> pl.DataFrame:
    """Every query's rank in both runs, for each encoder's main arm: encoder, query_id, sport,
    before, after, way, …

    The columns are those of rank_changes.between_arms; whole galleries; most moved first.
    """
    _, training = main_arm(pair)
    ranks = pair.scores.filter(
        (pl.col("training") == training) & (pl.col("scope") == recall.WITHIN)
    )
    parts = []
    for (encoder,), part in ranks.group_by("encoder"):
        if part["run"].n_unique() == 2:
            named = part.with_columns(system=pl.col("run"))
            parts.append(
                rank_changes.moved(named, pair.runs[1], pair.runs[0]).with_columns(
                    encoder=pl.lit(str(encoder))
                )
            )
    joined = pl.concat(parts).join(
        pair.queries.select("query_id", "text"), on="query_id", how="left"
    )
    ways = pl.col("factor").log().abs()
    return joined.select("encoder", pl.exclude("encoder")).sort(
        ways, "encoder", "query_id", descending=[True, False, False]
    )


def most_moved(moves: pl.DataFrame, encoder: str, *, each: int = 3) -> pl.DataFrame:
    """The ``each`` queries that rose and fell most, from different sports as far as there are: with
    ``way``.
    """
    own = moves.filter(pl.col("encoder") == encoder)
    parts = []
    for way in (rank_changes.BETTER, rank_changes.WORSE):
        turned = own.filter(pl.col("way") == way).with_columns(
            turn=pl.int_range(pl.len()).over("sport")
        )
        parts.append(turned.sort("turn", maintain_order=True).head(each).drop("turn"))
    return pl.concat(parts)


def gap_figures(table: pl.DataFrame, training: str) -> dict[str, pl.DataFrame]:
    """What sport_figures.sport_differences draws: by sport for one arm, and macro means with the
    arm as the line.
    """
    whole = table.filter(pl.col("gallery") == "full")
    macro = whole.filter(pl.col("sport") == summary.MEAN).with_columns(sport=pl.col("training"))
    return {
        "by_sport": whole.filter(
            (pl.col("training") == training) & (pl.col("sport") != summary.MEAN)
        ),
        "by_arm": macro,
    }


def settings_that_differ(runs: tuple[str, str]) -> pl.DataFrame:
    """stage, setting, and its value in both runs; only those that are not the same."""
    rows = []
    for stage in artifacts.STAGES:
        one, two = (artifacts.open_stage(run, stage).manifest["config"] for run in runs)
        for name in sorted(one.keys() | two.keys()):
            if one.get(name) != two.get(name):
                rows.append((stage, name, str(one.get(name)), str(two.get(name))))
    return pl.DataFrame(
        rows, schema=dict.fromkeys(("stage", "setting", "first", "second"), pl.String), orient="row"
    )


def retrieved(
    run: str, query_ids: Sequence[str], arm: tuple[str, str], *, top: int = 5
) -> pl.DataFrame:
    """query_id, rank, clip_id, score: what the arm of that run retrieved first for the queries."""
    system = recall.system_name(*arm, "text_to_video", recall.WITHIN)
    found = artifacts.open_stage(run, run_tables.EVALUATION).table("retrievals")
    wanted = (
        (pl.col("system") == system)
        & pl.col("query_id").is_in(list(query_ids))
        & (pl.col("rank") <= top)
    )
    return found.filter(wanted).sort("query_id", "rank").drop("system")
