"""What a study gives: the ratings file that 04 and 05 read as it is, qrels for other evaluators,
what was written.
"""

from __future__ import annotations

from pathlib import Path

import polars as pl

from sportskills_lib import tables
from sportskills_lib.apps.rate.store import Store
from sportskills_lib.evaluation import feedback
from sportskills_lib.formats import trec
from sportskills_lib.formats.files import guard_cells, write_whole
from sportskills_lib.plots.notebook_tables import interval
from sportskills_lib.statistics import agreement

COMMENTS = ("learner_id", "clip_id", "rater", "grade", "comment", "revision", "started", "saved")


def assignments(store: Store) -> pl.DataFrame:
    """All that was assigned, a row for each pair and rater, with the last grade (null: none).

    A grade's moment, ``video_time``, is the middle of the learner's clip; the learner is named,
    too, since two clips of one take may share their middle.
    """
    kinds = {"grade": pl.Int64, "started": pl.String, "saved": pl.String}
    rows = pl.DataFrame(store.latest(), schema_overrides=kinds, infer_schema_length=None)
    middle_s = (pl.col("learner_start_s") + pl.col("learner_end_s")) / 2
    return rows.with_columns(video_time=middle_s, simulated=False)


def judgements(rows: pl.DataFrame) -> pl.DataFrame:
    """The grades among :func:`assignments` as tables.Judgements."""
    return rows.drop_nulls("grade").select(tables.Judgements.column_names())


def export(store: Store) -> dict[str, Path]:
    """Write ratings.csv (of a wordless study: ratings_wordless.csv), qrels.txt and comments.csv
    beside the file of the study; each is replaced whole.
    """
    rows, folder = assignments(store), store.path.parent
    graded = rows.drop_nulls("grade")
    if graded.is_empty():
        raise ValueError(f"study {store.study.name!r} has no grade yet: nothing can be exported")
    told = (
        rows.filter((pl.col("comment") != "") | pl.col("grade").is_not_null())
        .select(COMMENTS)
        .with_columns(guard_cells(pl.col("learner_id", "clip_id", "comment")))
    )
    ratings = graded.select(*feedback.RATINGS, "learner_id")
    # grades of pictures alone mean something else: they never share a file's name with the others
    graded_as = "ratings.csv" if store.study.words else "ratings_wordless.csv"
    for name, table in ((graded_as, ratings), ("comments.csv", told)):
        write_whole(folder / name, table.write_csv())
    trec.write_qrels(folder / "qrels.txt", judgements(graded))
    return {name: folder / name for name in (graded_as, "comments.csv", "qrels.txt")}


def status(store: Store) -> list[str]:
    """Lines: how far each rater is, how many pairs have all the grades that were planned, how well
    raters agree.
    """
    rows, lines = assignments(store), []
    for rater in store.study.raters:
        mine = rows.filter(rater=rater)
        last = str(mine["saved"].max() or "")[:16].replace("T", " ")
        lines.append(f"{rater:<20} {mine['grade'].count():>5} of {mine.height:<5} {last}".rstrip())
    given = rows.group_by("item").agg(count=pl.col("grade").count(), planned=pl.len())
    whole, several = (given["count"] == given["planned"]).sum(), (given["count"] > 1).sum()
    lines.append(
        f"{whole} of {given.height} pairs have all their grades; {several} have two or more"
    )
    agreed = agreement.agreement(judgements(rows), draws=1000, seed=0).filter(level="ordinal")
    alphas = agreed.select("alpha", "low", "high", "items").rows()
    return lines + [
        f"Krippendorff's alpha (ordinal) {interval(*ends)} over {items} pairs"
        for *ends, items in alphas
    ]
