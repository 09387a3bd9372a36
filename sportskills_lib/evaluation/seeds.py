"""Several runs that differ in the training seed alone, as one: seeds are averaged per query before any interval."""

from __future__ import annotations

from collections.abc import Sequence

import polars as pl

from sportskills_lib import artifacts, tables


def stack_runs(runs: Sequence[str]) -> pl.DataFrame:
    """recall.parquet of each run, the first as seed 0, the second as seed 1, …: what summary and significance take.

    ValueError when the runs did not answer the same queries: then their clips or splits differ, not the seed alone.
    """
    parts = []
    for index, run in enumerate(runs):
        scores = artifacts.open_stage(run, "05_evaluation").table("recall", tables.Scores)
        parts.append(scores.with_columns(seed=pl.lit(index, dtype=pl.Int64)))
    keys = [set(part.select("system", "query_id", "metric").rows()) for part in parts]
    for run, key in zip(runs, keys, strict=True):
        if key != keys[0]:
            system, query, metric = min(key ^ keys[0])
            raise ValueError(
                f"runs {runs[0]!r} and {run!r} did not answer the same queries ({len(key ^ keys[0])} differ, first "
                f"{query!r}, {metric} of {system}): make them from the same 02_pairing, with another seed of 03_encoder"
            )
    return pl.concat(parts)
