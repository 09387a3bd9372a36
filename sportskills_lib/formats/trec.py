"""Rankings and grades as the text files that trec_eval and its relatives read: runs and qrels.

A run's line is ``query Q0 document rank score tag``; trec_eval passes over the rank, sorts by score
(which it keeps in single precision) and puts equal scores in *falling* order of document id. Our
ties stand in rising order. So that every reader finds the order that we mean, :func:`write_run`
lowers a score that would not be below the one before by the smallest step that single precision
has. A qrels line is ``query 0 document grade``.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl

from sportskills_lib.formats.files import write_whole


def write_runs(folder: Path, rankings: pl.DataFrame) -> list[Path]:
    """``<system>.trec`` for each system of tables.Rankings, in order of query and rank; what was
    written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    written = []
    for (system,), rows in rankings.sort("system", "query_id", "rank").group_by(
        "system", maintain_order=True
    ):
        written.append(folder / f"{system}.trec")
        write_run(written[-1], rows)
    return written


def write_run(path: Path, rankings: pl.DataFrame) -> None:
    """One system's rankings; scores fall strictly within a query, in single precision."""
    ordered = rankings.sort("query_id", "rank")
    lines = []
    for _, rows in ordered.group_by("query_id", maintain_order=True):
        scores = lower_ties(rows["score"].to_numpy())
        for row, score in zip(rows.iter_rows(named=True), scores, strict=True):
            lines.append(
                f"{row['query_id']} Q0 {row['clip_id']} {row['rank']} {float(score)!r} "
                f"{row['system']}\n"
            )
    write_whole(path, "".join(lines))


def lower_ties(scores: np.ndarray) -> np.ndarray:
    """float32 [n]: the scores, each lowered below the one before where it is not, by the smallest
    step there is.
    """
    found = np.asarray(scores, np.float32).copy()
    for place in range(1, len(found)):
        if found[place] >= found[place - 1]:
            found[place] = np.nextafter(found[place - 1], np.float32(-np.inf))
    return found


def write_qrels(path: Path, judged: pl.DataFrame) -> None:
    """``learner 0 clip grade`` of each judged pair, in order of ids: the mean over raters, rounded
    down.

    Rounded down, it is 2 or more exactly where the mean is, so that *helpful* means in trec_eval
    what it means in 05. ``judged``: tables.Judgements, or rows learner_id, clip_id, grade of one
    rater.
    """
    means = (
        judged.group_by("learner_id", "clip_id")
        .agg(grade=pl.col("grade").mean())
        .sort("learner_id", "clip_id")
    )
    rows = means.select(
        "learner_id", "clip_id", (pl.col("grade") + 1e-9).floor().cast(pl.Int64)
    ).iter_rows()
    write_whole(path, "".join(f"{learner} 0 {clip} {grade}\n" for learner, clip, grade in rows))
