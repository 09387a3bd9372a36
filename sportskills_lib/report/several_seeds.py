"""The figures and tables of several seeds together: what a paper would print, in any folder.

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

from sportskills_lib.evaluation import (
    comparisons,
    cue_kinds,
    detectable_differences,
    summary,
    understanding,
)
from sportskills_lib.plots import style
from sportskills_lib.report import figures, save, seeds, sport_figures
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
    first = artifacts.open_stage(runs[0], seeds.NAME)
    scores, choices = seeds.stack_runs(runs), seeds.stack_runs(runs, "understanding")
    size = int(first.manifest["config"]["gallery_size"])
    by_gallery = oracles_by_gallery(first.table("oracles"))
    how: Any = {"draws": draws, "seed": seed}
    per_sport = summary.per_sport_recall(scores, **how)
    means, gaps = understanding.table(choices, **how), understanding.differences(choices, **how)
    told, told_gaps = cue_kinds.by_kind(pl.concat([scores, choices]), first.table("kinds"), **how)
    tables = {
        "per_sport_recall_all": per_sport,
        "headline": comparisons.headline(scores, by_gallery, **how),
        "ratios_by_sport": comparisons.ratios_by_sport(scores, **how),
        "across_sports": summary.pooled(scores, **how),
        "median_ranks": summary.median_ranks(scores),
        "seeds": seed_spread(scores),
        "power": detectable_differences.table(scores),
        "understanding_differences": gaps,
        "cue_kind_differences": told_gaps,
    }
    if for_docs:
        del tables["per_sport_recall_all"]
    written = [
        path for name, frame in tables.items() for path in save.write_data(folder, name, frame)
    ]
    pages = sport_figures.pages(per_sport, first.table("galleries"), by_gallery, size=size)
    by_sport = comparisons.differences_by_sport(scores, **how)
    title = "recall@10: narrations − skill labels"
    pages |= figures.optional("differences", sport_figures.sport_differences, by_sport, title=title)
    pages |= figures.optional("understanding", figures.understanding, means)
    pages |= figures.optional("cue_kinds", figures.by_kind, told)
    suffixes = ("png",) if for_docs else style.SUFFIXES
    facts = first.facts | {"run": ", ".join(runs)}
    for name, page in pages.items():
        written += save.write_page(folder, name, page, facts=facts, suffixes=suffixes)
    return written


def oracles_by_gallery(oracles: pl.DataFrame) -> dict[str, pl.DataFrame]:
    """The saved table of oracles (with a column ``gallery``) as comparisons and figures take it."""
    return {
        str(key[0]): part.drop("gallery")
        for key, part in oracles.partition_by("gallery", as_dict=True).items()
    }
