"""Several runs as one: those that differ in the training seed alone are averaged per query before
any interval.
"""

from __future__ import annotations

from collections.abc import Sequence

import polars as pl

from sportskills_lib import tables
from sportskills_lib.runs import artifacts

NAME = "05_evaluation"


def read_runs(runs: Sequence[str], table: str = "recall") -> list[tuple[str, pl.DataFrame]]:
    """A table of scores of each run (``recall``, ``understanding``); ValueError unless all answered
    the same queries.

    The arms may differ between runs; what is compared are the queries of each metric.
    """
    if not runs:
        raise ValueError("no runs: name at least one run that has finished 05_evaluation")
    parts = [(run, artifacts.open_stage(run, NAME).table(table, tables.Scores)) for run in runs]
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
