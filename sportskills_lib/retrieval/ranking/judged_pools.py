"""Which candidates coaches judged for a learner. The grades stay unread: this stage must not know
them.
"""

from __future__ import annotations

from pathlib import Path

import polars as pl

from sportskills_lib import span_matching, tables
from sportskills_lib.formats import untrusted_json

COLUMNS = {
    "take_uid": pl.String,
    "video_time": pl.Float64,
    "video_id": pl.String,
    "start_s": pl.Float64,
    "end_s": pl.Float64,
}
SCHEMA = {"learner_id": pl.String, "clip_id": pl.String}


def read_pools(
    path: Path | None, learners: pl.DataFrame, clips: pl.DataFrame
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """(learner_id, clip_id) of every judged candidate that is a clip, and tables.Dropped for the
    others.

    A judged moment belongs to a learner, and a judged span to a clip, as
    :func:`span_matching.match_ratings` says. Only clips of the learner's own split are candidates.
    """
    if path is None or not learners.height:
        return pl.DataFrame(schema=SCHEMA), tables.dropped_rows([])
    judged, unread = _read(path)
    matched = span_matching.match_ratings(judged, learners, clips)
    drops = unread + [
        (
            "judgement",
            f"{row['take_uid']}@{row['video_time']}",
            row["reason"],
            f"{row['video_id']} {row['start_s']}-{row['end_s']} s",
        )
        for row in matched.drop_nulls("reason").iter_rows(named=True)
    ]
    kept = matched.filter(pl.col("reason").is_null()).select("learner_id", "clip_id").unique()
    return kept.sort("learner_id", "clip_id"), tables.dropped_rows(drops)


def _read(path: Path) -> tuple[pl.DataFrame, list[tables.DroppedRow]]:
    """The distinct judged candidates, and the rows whose times are none; ValueError when it is no
    file of ratings.
    """
    try:
        said = pl.read_csv(path, infer_schema=False, encoding="utf8-lossy")
    except (OSError, pl.exceptions.PolarsError) as error:
        raise ValueError(
            f"ratings {path} cannot be read ({untrusted_json.preview(str(error))}): mend the CSV"
        ) from None
    if missing := [name for name in COLUMNS if name not in said.columns]:
        raise ValueError(
            f"ratings {path} has no column {', '.join(missing)}: it needs {', '.join(COLUMNS)}"
        )
    named = span_matching.with_names(said).select(*COLUMNS, "named").unique(maintain_order=True)
    judged = named.with_columns(
        pl.col(name).cast(kind, strict=False) for name, kind in COLUMNS.items()
    )
    usable = pl.all_horizontal(
        pl.col("video_time", "start_s", "end_s").is_finite().fill_null(False),
        pl.col("take_uid", "video_id").is_not_null(),
    )
    bad = named.filter(~judged.select(usable).to_series())
    detail = "video_time, start_s or end_s is no number, or an id is empty"
    return judged.filter(usable), [
        ("judgement", f"{row[0]}@{row[1]}", "bad_row", f"{row[2]} {row[3]}-{row[4]} s: {detail}")
        for row in bad.rows()
    ]
