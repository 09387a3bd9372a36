"""Which learners and which clips a study asks about: pooled as in TREC, blind to who proposed what.

The first ``depth`` clips of every system are pooled for each learner. The file of a study holds
neither systems nor ranks of a pair, so that nobody who grades, or looks into the file, can tell
whose a clip is.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import polars as pl

from sportskills_lib import tables
from sportskills_lib.apps.rate import assignment
from sportskills_lib.apps.rate.store import Store, Study, checked_name, now, study_folder
from sportskills_lib.runs import artifacts

TABLES = {
    "pools": "rankings",
    "library": "library_rankings",
}  # of 04: over judged pools, over all clips


def draw(study: Study, *, learners: int = 0) -> Store:
    """Draw the study and write its file; ``learners``: how many (0: all), as even over sports as
    can be.
    """
    checked_name(study.name, "study")
    for rater in study.raters:
        checked_name(rater, "rater")
    assignment.check(study.raters, overlap=study.overlap, share_by_all=study.share_by_all)
    path = study_folder(study.name) / "ratings.sqlite"
    if path.exists():
        raise ValueError(
            f"study {study.name!r} exists and may hold grades: name another with --study"
        )
    items, systems = pool(study, learners=learners)
    rows = items.with_row_index("item", offset=1).to_dicts()
    blocks: dict[str, list[int]] = {}
    for row in rows:
        blocks.setdefault(row["learner_id"], []).append(row["item"])
    sizes = {name: len(numbers) for name, numbers in blocks.items()}
    given = assignment.assign(
        sizes, study.raters, overlap=study.overlap, share_by_all=study.share_by_all, seed=study.seed
    )
    orders = {
        rater: assignment.order(
            {name: blocks[name] for name in blocks if rater in given[name]}, rater, seed=study.seed
        )
        for rater in study.raters
    }
    return Store.create(path, replace(study, systems=tuple(systems), drawn=now()), rows, orders)


def pool(study: Study, *, learners: int) -> tuple[pl.DataFrame, list[str]]:
    """The pairs in an order that tells nothing, with all that is shown or exported of them; and the
    pooled systems.
    """
    if study.depth < 1:
        raise ValueError(f"--depth must be 1 or more, got {study.depth}")
    retrieval, pairing = (
        artifacts.open_stage(study.run, "04_retrieval"),
        artifacts.open_stage(study.run, "02_pairing"),
    )
    if study.rankings not in TABLES:
        raise ValueError(f"there are no rankings {study.rankings!r}; there are {', '.join(TABLES)}")
    rankings = retrieval.table(TABLES[study.rankings], tables.Rankings)
    known = sorted(rankings["system"].unique())
    if unknown := [name for name in study.systems if name not in known]:
        raise ValueError(
            f"04 of run {study.run!r} has no system {unknown[0]!r} there; it has "
            f"{', '.join(known) or 'none'}"
        )
    systems = list(study.systems) or known
    tries = retrieval.table("learners", tables.Learners).filter(
        pl.col("is_mistake") & (pl.col("split").cast(pl.String) == study.split)
    )
    first = rankings.filter(pl.col("system").is_in(systems) & (pl.col("rank") <= study.depth))
    pairs = first.select(learner_id="query_id", clip_id="clip_id").unique()
    tries = tries.join(pairs.select("learner_id").unique(), on="learner_id", how="semi")
    if tries.is_empty():
        raise ValueError(
            f"04 of run {study.run!r} ranked nothing for a learner's mistake of the split "
            f"{study.split!r}: "
            "give 04 learners, or name another --split"
        )
    chosen = _spread(tries.select("learner_id", "sport"), learners or tries.height, study.seed)
    clips = pairing.table("clips", tables.Clips).select("clip_id", "video_id", "start_s", "end_s")
    said = tries.select(
        "learner_id",
        "sport",
        pl.col("skill").fill_null(""),
        feedback="comment",
        take_uid="take_id",
        learner_start_s="start_s",
        learner_end_s="end_s",
    )
    drawn = pairs.filter(pl.col("learner_id").is_in(chosen))
    tables.check_keys(
        drawn, "clip_id", clips, child_name=TABLES[study.rankings], parent_name="clips"
    )
    items = drawn.join(said, on="learner_id").join(clips, on="clip_id")
    return items.sort(
        pl.concat_str("learner_id", "clip_id", separator=" ").hash(study.seed), "clip_id"
    ), systems


def _spread(tries: pl.DataFrame, count: int, seed: int) -> Sequence[str]:
    """``count`` learners, sports in turns: none has two more than another that has still more."""
    rng = np.random.default_rng([seed, 71])
    mixed = tries.sort("learner_id")[rng.permutation(tries.height)]
    turns = mixed.with_columns(turn=pl.int_range(pl.len()).over("sport")).sort(
        "turn", maintain_order=True
    )
    return turns.head(count)["learner_id"].to_list()
