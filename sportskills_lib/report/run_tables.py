"""The tables of a run's 05_evaluation, of the 06_analysis made from it, and of 07_inspection.

Runs made before 06_analysis have all of these tables in 05_evaluation.
"""

from __future__ import annotations

from pathlib import Path

import polars as pl

from sportskills_lib import tables
from sportskills_lib.evaluation import demo_truth, recall
from sportskills_lib.runs import artifacts

EVALUATION = artifacts.STAGES[-1]
EARLIER_NAMES = {"apart": "ci_excludes_zero"}  # columns of runs made before 06_analysis


def folders(run: str) -> list[Path]:
    """07, 06 and 05 of the run, as far as each is complete and made from the stage before it.

    A table is looked for in this order. ValueError when 05 is not complete.
    """
    before = artifacts.open_stage(run, EVALUATION)
    found = [before.folder]
    for stage in (artifacts.ANALYSIS, artifacts.INSPECTION):
        if not artifacts.is_complete(run, stage):
            break
        after = artifacts.open_stage(run, stage)
        if after.manifest["key"].get(f"input {before.manifest['stage']}") != before.digest:
            break  # of an earlier 05
        found.insert(0, after.folder)
        before = after
    return found


def table(run: str, name: str) -> pl.DataFrame:
    """The table of that name, or an empty one where no stage of the run has it."""
    paths = [folder / f"{name}.parquet" for folder in folders(run)]
    found = next((pl.read_parquet(path) for path in paths if path.is_file()), pl.DataFrame())
    return found.rename(EARLIER_NAMES, strict=False)


def dropped(run: str) -> dict[str, pl.DataFrame]:
    """What 01 to 05 dropped, by stage: an empty table where one keeps no list of it."""
    folders = {stage: artifacts.open_stage(run, stage).folder for stage in artifacts.STAGES}
    files = {stage: folder / "dropped.parquet" for stage, folder in folders.items()}
    return {
        stage: pl.read_parquet(file) if file.is_file() else pl.DataFrame()
        for stage, file in files.items()
    }


def clips_and_queries(run: str) -> tuple[pl.DataFrame, pl.DataFrame]:
    """The clips of 02 and the narrations that 05 asked of its test clips (recall.test_queries)."""
    pairing = artifacts.open_stage(run, "02_pairing")
    narrations = artifacts.open_stage(run, "01_curation").table("narrations", tables.Narrations)
    clips = pairing.table("clips", tables.Clips)
    queries, _ = recall.test_queries(clips, pairing.table("pairs", tables.Pairs), narrations)
    return clips, queries


def true_groups(run: str, clips: pl.DataFrame) -> pl.DataFrame:
    """What each clip of every split truly shows, by the truth that 05 was given; else no rows."""
    config = artifacts.open_stage(run, EVALUATION).manifest["config"]
    return demo_truth.true_groups(demo_truth.folder_named_by(config), clips, splits=tables.SPLITS)
