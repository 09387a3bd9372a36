"""Which learners and which clips a study asks about, pooled as in TREC, blind to who proposed what;
who grades what, and in which order.

The first ``depth`` clips of every system are pooled for each learner. The file of a study holds
neither systems nor ranks of a pair, so that nobody who grades, or looks into the file, can tell
whose a clip is.

A *block* is a learner with all candidates drawn for it. Whole blocks are given to raters, not
single pairs: systems are compared on one learner's candidates, so those should be graded by the
same people, and a coach looks into a learner's mistake once. ``overlap`` raters get each block; a
share of the blocks goes to all of them, so that every two raters can be compared.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
import polars as pl

from sportskills_lib import tables
from sportskills_lib.apps.rate.store import Store, Study, checked_name, now, study_folder
from sportskills_lib.retrieval.supervision.labelling import clip_texts
from sportskills_lib.runs import artifacts

TABLES = {
    "pools": "rankings",
    "library": "library_rankings",
}  # of 04: over judged pools, over all clips


def draw(study: Study, *, learners: int = 0) -> Store:
    """Draw the study and write its file; ``learners``: how many (0: all), as even over sports as
    can be.
    """
    for rater in study.raters:
        checked_name(rater, "rater")
    path = study_folder(study.name) / "ratings.sqlite"
    items, systems = pool(study, learners=learners)
    items = items.with_row_index("item", offset=1)
    blocks = {
        str(learner): part["item"].to_list()
        for (learner,), part in items.group_by("learner_id", maintain_order=True)
    }
    sizes = {name: len(numbers) for name, numbers in blocks.items()}
    given = assign(
        sizes, study.raters, overlap=study.overlap, share_by_all=study.share_by_all, seed=study.seed
    )
    orders = {
        rater: order(
            {name: numbers for name, numbers in blocks.items() if rater in given[name]},
            rater,
            seed=study.seed,
        )
        for rater in study.raters
    }
    drawn = replace(study, systems=tuple(systems), drawn=now())
    return Store.create(path, drawn, items.to_dicts(), orders)


def pool(study: Study, *, learners: int) -> tuple[pl.DataFrame, list[str]]:
    """The pairs in an order that tells nothing, with all that is shown or exported of them; and the
    pooled systems.
    """
    retrieval, pairing = (
        artifacts.open_stage(study.run, "04_retrieval"),
        artifacts.open_stage(study.run, "02_pairing"),
    )
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
    pairs = (
        rankings.filter(pl.col("system").is_in(systems) & (pl.col("rank") <= study.depth))
        .select(learner_id="query_id", clip_id="clip_id")
        .unique()
    )
    tries = tries.join(pairs.select("learner_id").unique(), on="learner_id", how="semi")
    if tries.is_empty():
        raise ValueError(
            f"04 of run {study.run!r} ranked nothing for a learner's mistake of the split "
            f"{study.split!r}: "
            "give 04 learners, or name another --split"
        )
    chosen = _spread(tries.select("learner_id", "sport"), learners or tries.height, study.seed)
    clips = pairing.table("clips", tables.Clips)
    if study.words:
        narrations = artifacts.open_stage(study.run, "01_curation").table("narrations")
        texts = clip_texts(clips, pairing.table("pairs", tables.Pairs), narrations)
        clips = clips.with_columns(narration=pl.col("clip_id").replace_strict(texts))
    shown = {"clip_id", "video_id", "start_s", "end_s", "narration"} & {*clips.columns}
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
    items = drawn.join(said, on="learner_id").join(clips.select(sorted(shown)), on="clip_id")
    return items.sort(
        pl.concat_str("learner_id", "clip_id", separator=" ").hash(study.seed), "clip_id"
    ), systems


def _spread(tries: pl.DataFrame, count: int, seed: int) -> Sequence[str]:
    """``count`` learners, sports in turns: none has two more than another that has still more."""
    return (
        tries.sort("learner_id")[np.random.default_rng([seed, 71]).permutation(tries.height)]
        .with_columns(turn=pl.int_range(pl.len()).over("sport"))
        .sort("turn", maintain_order=True)
        .head(count)["learner_id"]
        .to_list()
    )


# --------------------------------------------------------------------------------------- assignment


def assign(
    sizes: Mapping[str, int], raters: Sequence[str], *, overlap: int, share_by_all: float, seed: int
) -> dict[str, list[str]]:
    """The raters of each block (``sizes``: block → items in it), in the order of ``raters``.

    Each block has ``overlap`` raters, ``ceil(share_by_all × blocks)`` of them all raters, drawn at
    random. The loads of two raters, in items, differ by at most twice the largest block: each block
    goes to the rater who has least so far, and to those who met that one least, as far as they have
    hardly more. ValueError for a rater named twice, or for more raters of a block than there are.
    """
    if len(set(raters)) < len(raters):
        raise ValueError(f"duplicate rater in {', '.join(raters)}: name each one once")
    if not 1 <= overlap <= len(raters):
        raise ValueError(
            f"each pair by {overlap} raters needs between 1 and {len(raters)} of them: change "
            "--overlap"
        )
    rng = np.random.default_rng([seed, 61])
    names = sorted(sizes)
    mixed = [names[i] for i in rng.permutation(len(names))]
    common = set(mixed[: int(np.ceil(share_by_all * len(names) - 1e-9))])
    load_R, met_RR = np.zeros(len(raters), np.int64), np.zeros((len(raters), len(raters)), np.int64)
    chosen: dict[str, list[str]] = {}
    # Large blocks first: small ones then even out the loads.
    for name in sorted(mixed, key=lambda each: -sizes[each]):
        picked = (
            list(range(len(raters)))
            if name in common
            else _least(load_R, met_RR, overlap, sizes[name], rng)
        )
        load_R[picked] += sizes[name]
        met_RR[np.ix_(picked, picked)] += 1
        chosen[name] = [raters[i] for i in sorted(picked)]
    return {name: chosen[name] for name in names}


def _least(
    load_R: np.ndarray, met_RR: np.ndarray, count: int, size: int, rng: np.random.Generator
) -> list[int]:
    """``count`` raters: the one with least, then who met those least among all with at most
    ``size`` items more.
    """
    lots = rng.permutation(len(load_R))
    by_load = sorted(range(len(load_R)), key=lambda i: (load_R[i], lots[i]))
    picked, few = by_load[:1], load_R[by_load[0]] + size
    while len(picked) < count:
        free = [i for i in by_load if i not in picked]
        near = [i for i in free if load_R[i] <= few] or free[:1]
        picked.append(min(near, key=lambda i: (met_RR[i, picked].sum(), load_R[i], lots[i])))
    return picked


def order(blocks: Mapping[str, Sequence[int]], rater: str, *, seed: int) -> list[int]:
    """The rater's items one after another: blocks mixed, and the items in each block mixed, by seed
    and rater.

    Every rater has another order, so that tiredness and what was seen before fall on no pair in
    particular.
    """
    rng = np.random.default_rng([seed, 67, *rater.encode()])
    names = sorted(blocks)
    mixed = [sorted(blocks[names[at]]) for at in rng.permutation(len(names))]
    return [items[i] for items in mixed for i in rng.permutation(len(items))]
