"""Rankings and pools that check a result: what another learner was offered, and clips that mend a
mistake in words that training texts do not use.
"""

from __future__ import annotations

import polars as pl

from sportskills_lib.evaluation.feedback import MENDS, gains, score_pools

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
