"""Several runs as one: what a paper would print of several training seeds, in any folder.

``write(["study-s0", "study-s1", "study-s2"], Path("docs/study"))`` takes runs that share 01 and 02,
differ in the seed of 03 and have finished 05; scores are averaged over seeds per query before any
interval, and the spread of the seeds is a table of its own. Which sports help which is
:mod:`.transfer`.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import polars as pl

from sportskills_lib import tables
from sportskills_lib.evaluation import (
    comparisons,
    demo_truth,
    detectable_differences,
    further_comparisons,
    summary,
    understanding,
)
from sportskills_lib.plots import style
from sportskills_lib.report import figures, interval_figures, run_tables, save
from sportskills_lib.runs import artifacts
from sportskills_lib.statistics.bootstrap import seed_spread


def write(
    runs: Sequence[str], folder: Path, *, draws: int = 2000, seed: int = 0, for_docs: bool = False
) -> list[Path]:
    """PNG, SVG, PDF, CSV and LaTeX of every figure, CSV and LaTeX of every table; returns what was
    written.

    ``for_docs`` writes what a repository can bear: no vectors, and not the table of every metric,
    direction and scope.
    """
    first = artifacts.open_stage(runs[0], run_tables.EVALUATION)
    scores, choices = stack_runs(runs), stack_runs(runs, "understanding")
    size = int(first.manifest["config"]["gallery_size"])
    by_gallery = demo_truth.oracles_by_gallery(first.table("oracles"))
    how: Any = {"draws": draws, "seed": seed}
    per_sport = summary.per_sport_recall(scores, **how)
    means, gaps = understanding.table(choices, **how), understanding.differences(choices, **how)
    kinds = _table(runs[0], "kinds")
    by_kind, kind_gaps = further_comparisons.by_kind(pl.concat([scores, choices]), kinds, **how)
    written_tables = {
        "per_sport_recall_all": per_sport,
        "headline": comparisons.headline(scores, by_gallery, **how),
        "ratios_by_sport": further_comparisons.ratios_by_sport(scores, **how),
        "across_sports": summary.pooled(scores, **how),
        "median_ranks": summary.median_ranks(scores),
        "seeds": seed_spread(scores),
        "power": detectable_differences.table(scores),
        "understanding_differences": gaps,
        "cue_kind_differences": kind_gaps,
    }
    if for_docs:
        del written_tables["per_sport_recall_all"]
    written = [
        path
        for name, frame in written_tables.items()
        for path in save.write_data(folder, name, frame)
    ]
    pages = interval_figures.recall_pages(
        per_sport, first.table("galleries"), by_gallery, size=size
    )
    by_sport = comparisons.differences_by_sport(scores, **how)
    pages |= save.optional("differences", interval_figures.sport_differences, by_sport)
    pages |= save.optional("understanding", figures.understanding, means)
    pages |= save.optional("cue_kinds", figures.by_kind, by_kind)
    suffixes = ("png",) if for_docs else style.SUFFIXES
    facts = first.facts | {"run": ", ".join(runs)}
    for name, page in pages.items():
        written += save.write_page(folder, name, page, facts=facts, suffixes=suffixes)
    return written


def _table(run: str, name: str) -> pl.DataFrame:
    """``recall``, ``understanding`` or ``kinds`` of a run; what 06_analysis would save is computed
    where it was not run, as in the members of a sweep.
    """
    found = run_tables.table(run, name)
    if found.width:
        return found
    clips, queries = run_tables.clips_and_queries(run)
    groups = run_tables.true_groups(run, clips)
    if name == "kinds":
        return further_comparisons.kinds_of(queries, demo_truth.of_test_clips(groups, clips))
    vectors = artifacts.open_stage(run, "03_encoder").table("embeddings", tables.Embeddings)
    return understanding.score_all(vectors, queries, clips, groups)


def read_runs(runs: Sequence[str], table: str = "recall") -> list[tuple[str, pl.DataFrame]]:
    """A table of scores of each run (``recall``, ``understanding``); ValueError unless all answered
    the same queries.

    The arms may differ between runs; what is compared are the queries of each metric.
    """
    if not runs:
        raise ValueError("no runs: name at least one run that has finished 05_evaluation")
    parts = [(run, _table(run, table)) for run in runs]
    keys = [set(part.select("query_id", "metric").unique().rows()) for _, part in parts]
    for run, key in zip(runs, keys, strict=True):
        if key != keys[0]:
            query, metric = min(key ^ keys[0])
            raise ValueError(
                f"runs {runs[0]!r} and {run!r} did not answer the same queries "
                f"({len(key ^ keys[0])} differ, first "
                f"{query!r}, {metric}): make them from the same 02_pairing, with another seed "
                "of 03_encoder"
            )
    return parts


def stack_runs(runs: Sequence[str], table: str = "recall") -> pl.DataFrame:
    """The scores of each run, the first as seed 0, the second as seed 1, …: what summary and
    significance take.

    ValueError also when a run lacks an arm that the first one has: then not the seed alone differs.
    """
    parts: list[pl.DataFrame] = []
    for index, (run, scores) in enumerate(read_runs(runs, table)):
        if index and (missing := set(parts[0]["system"].unique()) ^ set(scores["system"].unique())):
            raise ValueError(
                f"runs {runs[0]!r} and {run!r} have different arms, first {min(missing)!r}: "
                "train the same"
            )
        parts.append(scores.with_columns(seed=pl.lit(index, dtype=pl.Int64)))
    return pl.concat(parts)
