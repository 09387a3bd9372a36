"""What a study gives: the ratings file that 04 and 05 read as it is, qrels for other evaluators,
what was written.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable
from datetime import datetime
from pathlib import Path
from typing import Any

import polars as pl

from sportskills_lib.apps.rate.store import Store
from sportskills_lib.evaluation import feedback
from sportskills_lib.formats import trec
from sportskills_lib.formats.files import guard_cell, write_whole
from sportskills_lib.statistics import agreement

COMMENTS = ("learner_id", "clip_id", "rater", "grade", "comment", "revision", "started", "saved")


def export(store: Store) -> dict[str, Path]:
    """Write ratings.csv, qrels.txt and comments.csv beside the file of the study; each is replaced
    whole.
    """
    rows = store.latest()
    graded = [row for row in rows if row["grade"] is not None]
    if not graded:
        raise ValueError(f"study {store.study.name!r} has no grade yet: nothing can be exported")
    folder = store.path.parent
    said = [row for row in rows if row["comment"] or row["grade"] is not None]
    told = [
        row | {name: guard_cell(row[name]) for name in ("learner_id", "clip_id", "comment")}
        for row in said
    ]
    made = {
        "ratings.csv": _csv((*feedback.RATINGS, "learner_id"), map(rating, graded)),
        "comments.csv": _csv(COMMENTS, told),
    }
    for name, text in made.items():
        write_whole(folder / name, text)
    trec.write_qrels(folder / "qrels.txt", judgements(graded))
    return {name: folder / name for name in (*made, "qrels.txt")}


def _csv(columns: Iterable[str], rows: Iterable[dict[str, Any]]) -> str:
    file = io.StringIO(newline="")
    writer = csv.DictWriter(file, list(columns), extrasaction="ignore", lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return file.getvalue()


def rating(row: dict[str, Any]) -> dict[str, Any]:
    """A grade as a row of the ratings file. Its moment is the middle of the learner's clip; the
    learner is named, too, since two clips of one take may share their middle.
    """
    middle_s = (row["learner_start_s"] + row["learner_end_s"]) / 2
    kept = {name: row[name] for name in (*feedback.RATINGS, "learner_id") if name in row}
    return kept | {"video_time": middle_s, "simulated": False}


def judgements(rows: Iterable[dict[str, Any]]) -> pl.DataFrame:
    """The grades as tables.Judgements."""
    kinds = {
        "learner_id": pl.String,
        "clip_id": pl.String,
        "rater": pl.String,
        "grade": pl.Int64,
        "simulated": pl.Boolean,
    }
    kept = [{**row, "simulated": False} for row in rows if row["grade"] is not None]
    return pl.DataFrame([{name: row[name] for name in kinds} for row in kept], schema=kinds)


def status(store: Store) -> list[str]:
    """Lines: how far each rater is, how many pairs have all the grades that were planned, how well
    raters agree.
    """
    rows, lines = store.latest(), []
    for rater in store.study.raters:
        mine = [row for row in rows if row["rater"] == rater]
        done = [row for row in mine if row["grade"] is not None]
        last = max((row["saved"] for row in done), default="")
        seconds = sorted(_seconds(row) for row in done)
        pace = f"  median {seconds[len(seconds) // 2]:.0f} s a pair" if done else ""
        lines.append(
            (
                f"{rater:<20} {len(done):>5} of {len(mine):<5} "
                f"{last[:16].replace('T', ' '):<16}{pace}"
            ).rstrip()
        )
    planned: dict[int, list[bool]] = {}
    for row in rows:
        planned.setdefault(row["item"], []).append(row["grade"] is not None)
    whole, several = (
        sum(test(each) for each in planned.values()) for test in (all, lambda each: sum(each) > 1)
    )
    lines.append(
        f"{whole} of {len(planned)} pairs have all their grades; {several} have two or more"
    )
    agreed = agreement.agreement(judgements(rows), draws=1000, seed=0).filter(
        pl.col("level") == "ordinal"
    )
    for row in agreed.iter_rows(named=True):
        shown = [
            "–" if row[name] is None else f"{row[name]:.3f}" for name in ("alpha", "low", "high")
        ]
        lines.append(
            f"Krippendorff's alpha (ordinal) {shown[0]} [{shown[1]}, {shown[2]}] over "
            f"{row['items']} pairs"
        )
    return lines


def _seconds(row: dict[str, Any]) -> float:
    return (
        datetime.fromisoformat(row["saved"]) - datetime.fromisoformat(row["started"])
    ).total_seconds()
