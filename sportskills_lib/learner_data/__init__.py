"""Learners and what experts say of them, from five formats: who tries what, the comment, and the
frames.

:func:`learners_source` is what the setting names, :func:`read_learners` picks the reader by what is
there: a folder of Ego-Exo4D's, EgoExo-Fitness's or QEVD's, ExAct's metadata.jsonl, or a plain
table. Nothing vanishes: what
does not become a learner is returned with its reason. The comment builds supervision only.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import polars as pl

from sportskills_lib import tables
from sportskills_lib.learner_data import egoexo, exact, fitness, plain_table, qevd
from sportskills_lib.learner_data.frames import read_learner_frames
from sportskills_lib.learner_data.remarks import ReaderSettings, Remark, Sports, learners_of
from sportskills_lib.runs.artifacts import workspace
from sportskills_lib.tables import DroppedRow

__all__ = ["learners_source", "read_learner_frames", "read_learners"]
FORMATS = (
    "a folder with Ego-Exo4D's takes.json and annotations, with EgoExo-Fitness's "
    f"{fitness.JUDGED} or QEVD's {qevd.LABELS}, ExAct's metadata.jsonl (or its folder), or a .csv "
    f"or .parquet table with the columns {', '.join(plain_table.NEEDED)}"
)


def learners_source(learners: str) -> Path | None:
    """The folder or file that the setting names (relative to the workspace); None when it is empty
    or not there.
    """
    source = workspace() / learners
    return source if learners and source.exists() else None


def read_learners(
    source: Path | None,
    *,
    span_s: float,
    tip_gap_s: float = 1.0,
    sports: Iterable[str] | None = None,
    takes: Path | None = None,
    workers: int = 0,
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """tables.Learners of a source, and tables.Dropped for all that did not become one; both empty
    without a source.

    ``span_s``: length of a learner's clip around the moment of a remark; ``tip_gap_s``: how far
    from a remark a moment of the proficiency annotations may be to speak of the same. ``sports``:
    those of the library; a learner of another sport is dropped, since nothing could be shown to
    them. ``takes``: Ego-Exo4D's folder, for the splits of ExAct's clips. ``workers``: processes
    that look how long videos are.

    Guarantee: no participant, take or video stands in two splits. ValueError, with the file and the
    remedy, when a file is not what its name says; a row that cannot be used costs itself alone.
    """
    drops: list[DroppedRow] = []
    remarks: list[Remark] = []
    if source is not None:
        settings = ReaderSettings(span_s, tip_gap_s, Sports(sports), workers)
        remarks = _read(source, settings, takes, drops)
    learners = learners_of(remarks, drops)
    for group in ("participant", "take_id", "path"):
        tables.check_no_straddling(learners, group)
    return learners, tables.dropped_rows(drops)


def _read(
    source: Path, settings: ReaderSettings, takes: Path | None, drops: list[DroppedRow]
) -> list[Remark]:
    """The remarks of whatever ``source`` is."""
    folder = source if source.is_dir() else source.parent
    if source.name == "takes.json" or (source / "takes.json").is_file():
        return egoexo.read(folder, settings, drops)
    if annotations := fitness.annotations_in(source):
        return fitness.read(source, annotations, settings, drops)
    if any((source / name).is_file() for name in (qevd.LABELS, qevd.LONG)):
        return qevd.read(source, settings, drops)
    for lines in (source, source / "metadata.jsonl", source / "data" / "metadata.jsonl"):
        if lines.suffix.lower() == ".jsonl" and lines.is_file():
            return exact.read(folder, lines, settings, takes, drops)
    if source.suffix.lower() in plain_table.SUFFIXES:
        return plain_table.read(source, settings, drops)
    if source.is_file():
        raise ValueError(f"learners {source} ends in {source.suffix!r}: give {FORMATS}")
    listed = sorted(path.name for path in folder.iterdir() if path.suffix in plain_table.SUFFIXES)
    hint = f"; it has {', '.join(listed[:3])}: name the table itself" if listed else ""
    raise ValueError(
        f"learners {source} contains no readable learners{hint or f': give {FORMATS}'}"
    )
