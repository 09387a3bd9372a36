"""Judgements of people in any table, as ratings that 04 and 05 read: a TOML file says which of its
columns are ours (docs/rating.md).
"""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Literal

import polars as pl
from pydantic import BaseModel

from sportskills_lib import tables
from sportskills_lib.evaluation.feedback import RATINGS
from sportskills_lib.formats import files
from sportskills_lib.formats.untrusted_json import preview

TIMES = ("video_time", "start_s", "end_s")


class Mapping(BaseModel, extra="forbid"):
    """The ``table`` (beside the mapping), its ``columns`` by our names, what is ``fixed`` for all
    rows, and our grade for each of theirs.
    """

    table: str
    columns: dict[str, str]
    fixed: dict[str, str | float] = {}
    grades: dict[str, Literal[0, 1, 2, 3]] = {"0": 0, "1": 1, "2": 2, "3": 3}


def read(path: Path) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Ratings of the table that the mapping names, and tables.Dropped for its rows that are none,
    as ``row<number>`` from 1. Of equal rows the first counts; of rows that give one pair different
    grades in one rater's name none does.

    ValueError, with the name and the remedy, where the mapping or the table cannot be read, or a
    column is missing in either.
    """
    mapping, theirs = _load(path)
    ours = {"simulated": pl.lit("false")}
    ours |= {name: pl.lit(str(value)) for name, value in mapping.fixed.items()}
    ours |= {name: pl.col(column) for name, column in mapping.columns.items()}
    if unsaid := [name for name in RATINGS if name not in ours]:
        raise ValueError(
            f"{path} does not say which column is {', '.join(unsaid)}: add it to [columns], or to "
            "[fixed] where it is the same in all rows"
        )
    kept = [*RATINGS, *({"learner_id"} & {*ours})]
    texts = theirs.select(**{name: ours[name] for name in kept})
    rated = texts.with_columns(
        pl.col(*TIMES).str.replace(",", ".").cast(pl.Float64, strict=False),
        pl.col("grade").replace_strict(mapping.grades, default=None, return_dtype=pl.Int64),
    )
    pair = [name for name in kept if name not in ("grade", "simulated")]
    timed = pl.all_horizontal(pl.col(*TIMES).is_finite().fill_null(False))
    reason = (
        pl.when(pl.any_horizontal(pl.col("take_uid", "video_id", "rater") == ""))
        .then(pl.lit("empty"))
        .when(~timed | (pl.col("end_s") <= pl.col("start_s")))
        .then(pl.lit("bad_time"))
        .when(pl.col("grade").is_null())
        .then(pl.lit("unknown_grade"))
        .when(pl.col("grade").n_unique().over(pair) > 1)
        .then(pl.lit("contradictory"))
        .when(~pl.struct(*pair).is_first_distinct())
        .then(pl.lit("doubled"))
    )
    row = pl.concat_str(pl.all(), separator=", ").map_elements(preview, return_dtype=pl.String)
    told = texts.select(
        item_kind=pl.lit("judgement"),
        item_id=pl.format("row{}", pl.int_range(1, pl.len() + 1)),
        reason=rated.select(reason).to_series(),
        detail=row,
    )
    lost = told["reason"].is_not_null()
    return rated.filter(~lost), tables.dropped_rows(told.filter(lost).rows())


def _load(path: Path) -> tuple[Mapping, pl.DataFrame]:
    """The mapping and the table, as texts."""
    try:
        mapping = Mapping(**tomllib.loads(path.read_text(encoding="utf-8-sig")))
        theirs = files.read_delimited(path.parent / mapping.table)
    except (OSError, ValueError) as error:
        why = preview(str(error), 300)
        raise ValueError(f"ratings by {path} cannot be read: {why}: see docs/rating.md") from None
    if missing := [name for name in mapping.columns.values() if name not in theirs.columns]:
        raise ValueError(
            f"{mapping.table} has no column {', '.join(missing)} (it has "
            f"{', '.join(theirs.columns)}): correct its name under [columns] in {path.name}"
        )
    return mapping, theirs
