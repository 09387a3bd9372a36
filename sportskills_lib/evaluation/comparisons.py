"""Arms against each other on recall@k_single, text→video, within sport: paired, over the same
queries and draws.

The same comparisons in the sport's whole gallery (``full``) and in galleries of one size
(``fixed``). All numbers are of the run at hand: demo figures are demo figures, never results about
sport.
"""

from __future__ import annotations

from collections.abc import Iterator

import polars as pl

from sportskills_lib.evaluation import summary
from sportskills_lib.evaluation.feedback import MENDS_FIRST
from sportskills_lib.evaluation.recall import FIXED, SINGLE, WITHIN
from sportskills_lib.statistics import bootstrap
from sportskills_lib.statistics.bootstrap import Interval, Resampled

COMPARISONS = (
    ("difference", "narrations", "activity_skill", "headline"),
    ("ratio", "narrations", "activity_sport", "ratio of macro means, not a mean of ratios"),
    ("ratio", "narrations", "activity_skill", "the same over labels of skills"),
    (
        "ratio",
        "narrations",
        "activity_dataset",
        "over another activity-centric data set: what the paper compares with",
    ),
    (
        "difference",
        "narrations_shuffled",
        "activity_skill",
        "control: the interval should include 0",
    ),
    ("difference", "narrations", "narrations_shuffled", "what the right pairing adds"),
    ("difference", "narrations", "zero_shot", "what training adds"),
    ("difference", "both", "narrations", "what labels add to narrations"),
)
GAPS = (
    ("cue", "share of the gap between the skill oracle and the cue oracle that is closed"),
    ("look", "the same, up to the oracle that knows all that pictures show"),
)
GALLERIES = {"full": WITHIN, "fixed": FIXED}
ORACLE = "oracle"


def sampled_by_gallery(
    scores: pl.DataFrame, *, draws: int, seed: int
) -> Iterator[tuple[str, Resampled]]:
    """The galleries that have an evaluable sport, with the draws of all arms (systems are
    encoder/training).
    """
    for key, part in summary.slices(scores, (SINGLE,)):
        for gallery, scope in GALLERIES.items():
            if key == {"direction": "text_to_video", "scope": scope}:
                sampled = bootstrap.resample(part, draws=draws, seed=seed)
                if sampled.strata:
                    yield gallery, sampled


def headline(
    scores: pl.DataFrame, oracles: dict[str, pl.DataFrame] | None = None, *, draws: int, seed: int
) -> pl.DataFrame:
    """The comparisons of fair play; empty when no sport is evaluable.

    kind (difference, ratio, encoders: video minus image, gap_closed), encoder, training, baseline,
    value, low, high, n (queries), sports, ci_excludes_zero (of a ratio: excludes 1), note,
    gallery. ``oracles``: by gallery, as audit.oracles gives them; without the truth's there is no
    gap.
    """
    rows: list[tuple] = []
    for gallery, sampled in sampled_by_gallery(scores, draws=draws, seed=seed):
        size = (int(sampled.queries_S.sum()), len(sampled.strata))
        rows += [
            (*names, *interval, *size, interval.excludes(float(names[0] == "ratio")), note, gallery)
            for names, interval, note in (*_trainings(sampled), *_encoders(sampled))
        ]
        known = (oracles or {}).get(gallery)
        if known is not None:
            rows += gap_closed(scores, known, gallery, draws=draws, seed=seed)
    return (
        pl.DataFrame(rows, schema=_HEADLINE, orient="row")
        .with_columns(pl.col("value").fill_nan(None))
        .sort(pl.col("gallery") == "fixed", maintain_order=True)
    )


_HEADLINE = {
    "kind": pl.String,
    "encoder": pl.String,
    "training": pl.String,
    "baseline": pl.String,
    "value": pl.Float64,
    "low": pl.Float64,
    "high": pl.Float64,
    "n": pl.Int64,
    "sports": pl.Int64,
    "ci_excludes_zero": pl.Boolean,
    "note": pl.String,
    "gallery": pl.String,
}


def encoders_and_arms(sampled: Resampled) -> tuple[list[str], list[str]]:
    """The encoders and the trainings of these systems, in the order in which they are shown."""
    pairs = [system.split("/") for system in sampled.systems]
    return summary.ordered((p[0] for p in pairs), summary.ENCODERS), summary.ordered(
        p[1] for p in pairs
    )


def _trainings(sampled: Resampled) -> Iterator[tuple[tuple[str, str, str, str], Interval, str]]:
    for encoder in encoders_and_arms(sampled)[0]:
        for kind, training, baseline, note in COMPARISONS:
            one, two = f"{encoder}/{training}", f"{encoder}/{baseline}"
            if one in sampled.systems and two in sampled.systems:
                interval = (
                    sampled.difference(one, two)
                    if kind == "difference"
                    else sampled.ratio(one, two)
                )
                yield (kind, encoder, training, baseline), interval, note


def _encoders(sampled: Resampled) -> Iterator[tuple[tuple[str, str, str, str], Interval, str]]:
    """Every other encoder minus the first, for each training that both have."""
    encoders, trainings = encoders_and_arms(sampled)
    for other in encoders[1:]:
        for training in trainings:
            one, two = f"{other}/{training}", f"{encoders[0]}/{training}"
            if one in sampled.systems and two in sampled.systems:
                names = ("encoders", other, training, encoders[0])
                yield (
                    names,
                    sampled.difference(one, two),
                    f"{other} minus {encoders[0]}, same training",
                )


def sampled_differences(sampled: Resampled) -> pl.DataFrame:
    """The differences of trainings and of encoders, as rows of the headline less note and gallery;
    no ratios.
    """
    size = (int(sampled.queries_S.sum()), len(sampled.strata))
    rows = [
        (*names, *interval, *size, interval.excludes(0.0))
        for names, interval, _ in (*_trainings(sampled), *_encoders(sampled))
        if names[0] != "ratio"
    ]
    return pl.DataFrame(rows, schema=dict(list(_HEADLINE.items())[:-2]), orient="row")


def gap_closed(
    scores: pl.DataFrame,
    oracles: pl.DataFrame,
    gallery: str,
    *,
    draws: int,
    seed: int,
    training: str = "narrations",
) -> list[tuple]:
    """Rows of the headline: (training − skill oracle) / (cue oracle − skill oracle), of macro
    means, for each encoder.

    The oracles answer the same queries in the same draws; queries whose clip the truth does not
    know are left out.
    """
    parts = [part for key, part in summary.slices(scores, (SINGLE,))
             if key == {"direction": "text_to_video", "scope": GALLERIES[gallery]}]  # fmt: skip
    if not parts or "cue" not in oracles["oracle"].unique().to_list():
        return []
    asked = parts[0].filter(pl.col("value").is_not_null() & (pl.col("training") == training))
    known = (
        oracles.filter(pl.col("value").is_not_null())
        .pivot("oracle", index="query_id", values="value")
        .drop_nulls()
    )
    asked = asked.join(known.select("query_id"), on="query_id", how="semi")
    if asked.is_empty():
        return []
    one = asked.filter(pl.col("system") == asked["system"].min()).drop("value")
    levels = [
        one.join(known.select("query_id", value=name), on="query_id").with_columns(
            system=pl.lit(f"{ORACLE}/{name}")
        )
        for name in ("skill", "look", "cue")
    ]
    rows = pl.concat([asked, *(level.select(asked.columns) for level in levels)])
    sampled = bootstrap.resample(rows, draws=draws, seed=seed)
    size, found = (int(sampled.queries_S.sum()), len(sampled.strata)), []
    for encoder in summary.ordered(asked["encoder"].unique(), summary.ENCODERS):
        for oracle, note in GAPS:
            share = sampled.share(f"{encoder}/{training}", f"{ORACLE}/skill", f"{ORACLE}/{oracle}")
            names = ("gap_closed", encoder, training, f"skill to {oracle} oracle")
            found.append((*names, *share, *size, share.excludes(0.0), note, gallery))
    return found


def headline_facts(table: pl.DataFrame, feedback: pl.DataFrame) -> dict[str, float]:
    """The numbers worth a line in `status`: the headline difference, the ratio, the gap closed,
    how often the relevance model's first clip mends the mistake.

    Of the first encoder under plain names, of others with their name behind.
    """
    facts: dict[str, float] = {}
    encoders = summary.ordered(table["encoder"].unique(), summary.ENCODERS)
    wanted = (
        ("difference", "activity_skill", "full", "gain"),
        ("ratio", "activity_sport", "fixed", "ratio"),
        ("gap_closed", "skill to cue oracle", "full", "gap_closed"),
    )
    for kind, baseline, gallery, name in wanted:
        known = table.filter(pl.col("value").is_not_null(), kind=kind, training="narrations")
        for row in known.filter(baseline=baseline, gallery=gallery).iter_rows(named=True):
            facts[name if row["encoder"] == encoders[0] else f"{name}_{row['encoder']}"] = round(
                row["value"], 4
            )
    judged = feedback.filter(pool="same_skill", system="relevance", metric=MENDS_FIRST)
    if judged.height:
        facts["mends_first"] = round(float(judged["value"][0]), 4)
    return facts


def paired_gaps(
    scores: pl.DataFrame, *, training: str, baseline: str
) -> Iterator[tuple[str, pl.DataFrame]]:
    """Each encoder that has both, with its paired differences in whole galleries
    (bootstrap.paired_differences).
    """
    asked = {"direction": "text_to_video", "scope": WITHIN}
    for part in (part for key, part in summary.slices(scores, (SINGLE,)) if key == asked):
        for encoder in summary.ordered(part["encoder"].unique(), summary.ENCODERS):
            gaps = bootstrap.paired_differences(
                part, f"{encoder}/{training}", f"{encoder}/{baseline}"
            )
            if gaps.height:
                yield encoder, gaps


def differences_by_sport(
    scores: pl.DataFrame,
    *,
    draws: int,
    seed: int,
    training: str = "narrations",
    baseline: str = "activity_skill",
) -> pl.DataFrame:
    """The headline difference in each sport, paired, in whole galleries.

    sport, encoder, difference, low, high, n, videos, ci_excludes_zero, p, p_holm. Of many sports
    some intervals exclude 0 by chance: p is of the randomisation test over videos, p_holm the same
    corrected for all sports of that encoder (:func:`bootstrap.holm`).
    """
    sampled = dict(sampled_by_gallery(scores, draws=draws, seed=seed))
    rows = []
    for encoder, gaps in (
        paired_gaps(scores, training=training, baseline=baseline) if "full" in sampled else ()
    ):
        for (sport,), own in gaps.sort("sport").group_by("sport", maintain_order=True):
            gap = sampled["full"].difference(
                f"{encoder}/{training}", f"{encoder}/{baseline}", stratum=str(sport)
            )
            p = bootstrap.randomisation_p(
                own["difference"].to_numpy(), own["cluster"].to_list(), seed=seed
            )
            size = (own.height, own["cluster"].n_unique())
            rows.append((sport, encoder, *gap, *size, gap.excludes(0.0), p))
    return bootstrap.with_holm(pl.DataFrame(rows, schema=_BY_SPORT, orient="row"), "encoder")


_BY_SPORT = {
    "sport": pl.String,
    "encoder": pl.String,
    "difference": pl.Float64,
    "low": pl.Float64,
    "high": pl.Float64,
    "n": pl.Int64,
    "videos": pl.Int64,
    "ci_excludes_zero": pl.Boolean,
    "p": pl.Float64,
}
