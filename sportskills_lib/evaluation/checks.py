"""Checks of a result: leaks between splits, what another learner was offered, and clips that mend a
mistake in words that training texts do not use.

Leaks are shown in every report: a comparison that leaks is worth nothing. Each check reads tables
only and says what it looked at; a failed one names the first offender. Nothing is repaired here:
the remedy is in the stage that made the table.
"""

from __future__ import annotations

import polars as pl

from sportskills_lib.evaluation import recall
from sportskills_lib.evaluation.feedback import MENDS, gains, score_pools

Check = tuple[str, int, str]  # what was checked, how many offend, the first of them


def leaks(
    videos: pl.DataFrame,
    clips: pl.DataFrame,
    pairs: pl.DataFrame,
    narrations: pl.DataFrame,
    queries: pl.DataFrame,
    learners: pl.DataFrame,
    rankings: pl.DataFrame,
) -> pl.DataFrame:
    """check, offenders, first, passed: one row for each check."""
    hashed = clips.join(videos.select("video_id", "sha256"), on="video_id", how="left")
    rows = [
        _straddling("no video stands in two splits", clips, "video_id"),
        _straddling("no channel stands in two splits", clips, "channel"),
        _straddling("no video file (by sha256) stands in two splits", hashed, "sha256"),
        _straddling("no participant stands in two splits", learners, "participant"),
        _straddling("no take stands in two splits", learners, "take_id"),
        _seen_texts(clips, pairs, narrations, queries),
        _foreign_candidates(clips, learners, rankings),
    ]
    return pl.DataFrame(
        rows, schema={"check": pl.String, "offenders": pl.Int64, "first": pl.String}, orient="row"
    ).with_columns(passed=pl.col("offenders") == 0)


def _straddling(name: str, frame: pl.DataFrame, group: str) -> Check:
    wrong = (
        frame.group_by(group)
        .agg(pl.col("split").cast(pl.String).n_unique())
        .filter(pl.col("split") > 1)
        .sort(group)
    )
    return name, wrong.height, str(wrong[group][0]) if wrong.height else ""


def _seen_texts(
    clips: pl.DataFrame, pairs: pl.DataFrame, narrations: pl.DataFrame, queries: pl.DataFrame
) -> Check:
    seen = (
        clips.filter(pl.col("split").cast(pl.String) == "train")
        .select("clip_id")
        .join(pairs, on="clip_id")
        .join(narrations, on="narration_id")
        .select(wording=recall.normalised(pl.col("text")))
        .unique()
    )
    wrong = (
        queries.with_columns(wording=recall.normalised(pl.col("text")))
        .join(seen, on="wording")
        .sort("query_id")
    )
    first = wrong["query_id"][0] if wrong.height else ""
    return "no test query has the wording of a training narration", wrong.height, first


def _foreign_candidates(
    clips: pl.DataFrame, learners: pl.DataFrame, rankings: pl.DataFrame
) -> Check:
    """A test learner's candidates must be test clips, else a model may have been trained on
    them.
    """
    test = learners.filter(pl.col("split").cast(pl.String) == "test").select(query_id="learner_id")
    split = clips.select("clip_id", clip_split=pl.col("split").cast(pl.String))
    wrong = (
        rankings.select("query_id", "clip_id")
        .unique()
        .join(test, on="query_id")
        .join(split, on="clip_id", how="left")
        .filter(pl.col("clip_split").fill_null("unknown") != "test")
        .sort("query_id", "clip_id")
    )
    first = f"{wrong['query_id'][0]} ← {wrong['clip_id'][0]}" if wrong.height else ""
    return "test learners are offered test clips only", wrong.height, first


# ----------------------------------------------------------------------------------------- controls

CONTROLS = (  # whose rankings another learner's are taken for, and whether the fault is the same
    ("relevance_same_fault", "relevance", True),
    ("relevance_other_fault", "relevance", False),
    ("vlm_yes_no_other_fault", "vlm_yes_no", False),
)


def other_learners(
    rankings: pl.DataFrame, learners: pl.DataFrame, faults: pl.DataFrame, *, same: bool
) -> pl.DataFrame:
    """The rankings that another learner of the split and skill got, as if they were this one's:
    of a learner with the same fault, or with another one; learners without such a one are left out.

    ``rankings``: of clips of the learners' own skill; ``faults``: learner_id, fault. Of a system
    that looks at the mistake the first are as good as its own, the second worse than chance.
    """
    kind = ["split", "sport", "skill"]
    known = learners.join(faults, on="learner_id").select(
        "learner_id", "participant", "fault", *kind
    )
    fits = (
        pl.col("fault").eq(pl.col("fault_right"))
        if same
        else pl.col("fault") != pl.col("fault_right")
    )
    partners = (
        known.join(known, on=kind)
        .filter(fits & (pl.col("participant") != pl.col("participant_right")))
        .sort("learner_id", pl.struct("learner_id", "learner_id_right").hash(0))
        .unique("learner_id", keep="first", maintain_order=True)
        .select("learner_id", query_id="learner_id_right")
    )
    return (
        rankings.join(partners, on="query_id", maintain_order="left")
        .with_columns(query_id="learner_id")
        .select(rankings.columns)
    )


def with_controls(
    rankings: pl.DataFrame, learners: pl.DataFrame, faults: pl.DataFrame
) -> pl.DataFrame:
    """The rankings of clips of the learners' own skill and, where the faults are known, those that
    a model gave to another learner (:func:`other_learners`).
    """
    parts = [rankings]
    for name, system, same in CONTROLS:
        own = rankings.filter(system=system)
        swapped = other_learners(own, learners, faults, same=same)
        parts.append(swapped.with_columns(system=pl.lit(name)))
    return pl.concat(parts)


def by_wording(
    rankings: pl.DataFrame, judged: pl.DataFrame, seen: pl.DataFrame, learners: pl.DataFrame
) -> dict[str, pl.DataFrame]:
    """Scores where, of the clips that mend a mistake, only those are left whose words are used in
    training texts, too (``seen``), or only the others (``unseen``).

    ``seen``: clip_id, seen_wording; nothing where it knows no clip of both kinds.
    """
    fixes = (
        gains(judged)
        .filter(pl.col("gain") >= MENDS)
        .join(seen.select("clip_id", "seen_wording").drop_nulls(), on="clip_id")
        .rename({"learner_id": "query_id"})
    )
    found = {}
    for name, others in fixes.partition_by("seen_wording", as_dict=True).items():
        kept = rankings.join(others, on=["query_id", "clip_id"], how="anti")
        grades = judged.join(
            others.rename({"query_id": "learner_id"}), on=["learner_id", "clip_id"], how="anti"
        )
        found["unseen" if name[0] else "seen"] = score_pools({"": kept}, grades, learners)[""]
    return dict(sorted(found.items()))
