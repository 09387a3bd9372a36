"""A run opened for notebooks and scripts of one's own: its stages, tables, files and settings.

    from sportskills_lib import Run
    Run("demo").table("05_evaluation", "per_sport_recall")

Files are checked against the hashes that their stage wrote. Nothing is written and no model loaded.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import NoReturn

import polars as pl

from sportskills_lib.config import CONFIGS
from sportskills_lib.runs.artifacts import (
    NOTEBOOKS,
    StageReader,
    holder,
    is_complete,
    open_stage,
    run_folder,
    stage_name,
    workspace,
)
from sportskills_lib.stage_config import RENAMED, StageConfig


class Run:
    """A run below data/runs, by name; ValueError with the runs that there are for another.

    A stage may be named ``05_evaluation``, ``05`` or ``evaluation``. The workspace is
    $SPORTSKILLS_HOME, or the nearest folder above the current one that has notebooks/.
    """

    def __init__(self, name: str = "demo"):
        self.name = name
        if not run_folder(name).is_dir():
            folders = (workspace() / "data" / "runs").glob("[!.]*/")
            _raise_unknown("run", name, (folder.name for folder in folders))

    def __repr__(self) -> str:
        return f"Run({self.name!r}: {', '.join(self.stages()) or 'no complete stage'})"

    def stages(self) -> list[str]:
        """The complete stages, in order."""
        return [stage for stage in NOTEBOOKS if is_complete(holder(self.name, stage), stage)]

    def stage(self, stage: str) -> StageReader:
        """A complete stage: its ``folder`` and its ``manifest``, and what :meth:`table` reads."""
        return open_stage(self.name, stage_name(stage))

    def tables(self, stage: str) -> list[str]:
        """The names of the stage's tables."""
        files = self.stage(stage).manifest["outputs"]
        return sorted(name.removesuffix(".parquet") for name in files if name.endswith(".parquet"))

    def table(self, stage: str, table: str) -> pl.DataFrame:
        """A table of a stage; docs/tables.md describes the columns."""
        if table not in (names := self.tables(stage)):
            _raise_unknown(f"table of {stage_name(stage)}", table, names)
        return self.stage(stage).table(table)

    def path(self, stage: str, file: str) -> Path:
        """A file of a stage, such as ``figures/funnel.png`` or ``embeddings.parquet``."""
        if file not in (names := self.stage(stage).manifest["outputs"]):
            _raise_unknown(f"file of {stage_name(stage)}", file, names)
        return self.stage(stage).path(file)

    def config(self, stage: str) -> StageConfig:
        """The settings that the stage ran with; a setting of today that it did not have yet has
        its default.
        """
        config, settings = CONFIGS[stage_name(stage)], self.stage(stage).manifest["config"]
        today = {RENAMED.get(name, name): value for name, value in settings.items()}
        return config(**{name: today[name] for name in config.model_fields.keys() & today})


def _raise_unknown(what: str, name: str, known: Iterable[str]) -> NoReturn:
    raise ValueError(f"no {what} named {name!r}; there are {', '.join(sorted(known)) or 'none'}")
