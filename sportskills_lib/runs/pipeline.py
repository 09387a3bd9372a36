"""Runs the notebooks in order: skips finished stages, resumes interrupted ones, and reports what it
does and for how long.

A stage is skipped when its config, its inputs and its code are those of the complete stage on disk;
otherwise the line that starts it names what differs. One runner works on a run at a time. A runner
may be killed at any moment: its kernel dies with it (see runs/process_guard.py) and the next call
resumes from the shards, with the same rows in the end.
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, suppress
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import polars as pl

from sportskills_lib import tables
from sportskills_lib.config import CONFIGS, stage_config
from sportskills_lib.presets import PRESETS
from sportskills_lib.runs import artifacts, demo_worlds, errors, stage_changes
from sportskills_lib.runs.artifacts import NOTEBOOKS, STAGES, run_folder, stage_name, workspace
from sportskills_lib.runs.notebooks import check_tag, execute, write_html
from sportskills_lib.runs.progress import Progress
from sportskills_lib.runs.provenance import stand_in_warning
from sportskills_lib.runs.worker_pool import LOST_READER, lost_line
from sportskills_lib.stage_config import StageConfig, current_name, did_you_mean

EARLIER = "earlier version"  # the state of a stage whose code cannot be compared
Say = Callable[[str], None]
Settings = dict[str, dict[str, Any]]  # stage -> parameter -> value

# Seconds that a stage takes on two cores, for the first estimate; a run's own times replace them.
PLANNED_S: dict[str, dict[str, float]] = {
    "demo": dict(zip(NOTEBOOKS, (15.0, 45.0, 290.0, 150.0, 25.0, 20.0, 10.0), strict=True)),
    "smoke": dict(zip(NOTEBOOKS, (10.0, 9.0, 44.0, 33.0, 12.0, 11.0, 8.0), strict=True)),
}


# --------------------------------------------------------------------------------------------- plan


def parse_settings(texts: list[str]) -> Settings:
    """``["03.seed=1"]`` as {"03_encoder": {"seed": "1"}}; the stage's config reads the text by the
    field's type.
    """
    settings: Settings = {}
    for text in texts:
        found = re.fullmatch(r"([^.=]+)\.([^=]+)=(.*)", text)
        if not found:
            raise ValueError(
                f"--set {text!r} is not <stage>.<parameter>=<value>, for example 03.seed=1"
            )
        stage, parameter, value = (part.strip() for part in found.groups())
        settings.setdefault(stage_name(stage), {})[parameter] = value
    return settings


def stage_configs(preset: str, settings: Settings) -> dict[str, StageConfig]:
    """Every stage's config; ValueError names a parameter that does not exist or a value that does
    not fit.
    """
    if preset not in PRESETS:
        raise ValueError(f"unknown preset {preset!r}: {did_you_mean(preset, PRESETS)}")
    return {
        stage: stage_config(stage, preset, **settings.get(stage, {}))  # type: ignore[arg-type]
        for stage in NOTEBOOKS
    }


def everywhere(parameter: str, value: Any) -> Settings:
    """Set ``parameter`` in every stage that has it."""
    return {
        stage: {parameter: value} for stage in NOTEBOOKS if parameter in CONFIGS[stage].model_fields
    }


def merged(*parts: Settings) -> Settings:
    """The settings of all parts under their names of today; a later part wins."""
    result: Settings = {}
    for part in parts:
        for stage, values in part.items():
            current = {current_name(name): value for name, value in values.items()}
            result.setdefault(stage, {}).update(current)
    return result


def reasons(run: str, stage: str, config: StageConfig) -> list[str]:
    """Why the stage has to run; empty when it is complete and up to date."""
    artifacts.finish_renaming(run, stage)
    if not artifacts.is_complete(run, stage):
        shards = run_folder(run) / f".{stage}.partial" / "shards"
        return ["resumes from its shards" if any(shards.glob("*")) else "not run yet"]
    try:
        differs = stage_changes.changes(run, stage, config)
    except (KeyError, ValueError, OSError) as error:
        return [f"its key cannot be compared: {error}"]
    if not differs and stage == STAGES[-1] and not (report_folder(run) / "index.html").is_file():
        return ["its report is missing"]
    return differs


def report_folder(run: str) -> Path:
    """Where the run's report is written."""
    return workspace() / "reports" / run


# ------------------------------------------------------------------------------------------- memory


def load_settings(run: str) -> tuple[str, Settings] | None:
    """The preset and settings that this run was last made with; None for a new run."""
    stored = artifacts.run_notes(run)
    if not stored:
        return None
    earlier = {"06_inspection": artifacts.INSPECTION}  # the name until 0.1
    settings = {earlier.get(stage, stage): own for stage, own in stored["settings"].items()}
    return stored["preset"], settings


def save_settings(run: str, preset: str, settings: Settings, **notes: Any) -> None:
    """Remember how the run is made; ``notes`` (base, left_out) are kept until others replace
    them.
    """
    run_folder(run).mkdir(parents=True, exist_ok=True)
    entries = artifacts.run_notes(run) | {"preset": preset, "settings": settings} | notes
    artifacts.write_json(run_folder(run) / "run.json", entries)


def planned_seconds(run: str, stage: str, preset: str) -> float | None:
    """Seconds that the stage took in this run, else those that the preset is known to take; None
    where nothing is.
    """
    if artifacts.is_complete(run, stage):
        return float(artifacts.StageReader(run_folder(run) / stage).manifest["seconds"])
    return PLANNED_S.get(preset, {}).get(stage)


def _lock_run(run: str) -> AbstractContextManager[None]:
    """Become the run's only runner, until the block ends; RunLocked while another works."""
    return errors.only_process(
        run_folder(run) / ".runner.lock",
        f"another process is running {run!r}: wait for it, or stop it, or use another --run",
    )


# ---------------------------------------------------------------------------------------- reproduce


def reproduce(
    run: str = "demo",
    preset: str | None = None,
    *,
    settings: Settings | None = None,
    from_stage: str | None = None,
    only: str | None = None,
    until: str | None = None,
    say: Say = print,
) -> Path:
    """Bring the run up to date and return its report folder.

    Without ``preset``, an existing run keeps the preset and settings that it was made with.
    ``from_stage`` runs that stage and those after it again, ``only`` that one alone, even when
    nothing changed; the stages before must be complete. ``until`` ends with that stage. Stages of a
    base (see artifacts.holder) are read there and never run here; those that the run leaves out get
    empty tables. ValueError for what the caller can put right, RunError when a stage fails, the run
    is locked or the disk is full.
    """
    started = time.monotonic()
    preset, chosen = chosen_settings(run, preset, settings or {})
    configs = stage_configs(preset, chosen)
    stages = _stages_to_run(run, only=only, from_stage=from_stage, until=until)
    forced = bool(only or from_stage)
    for stage in stages:
        check_tag(artifacts.notebook_path(stage))
    for stage in NOTEBOOKS[: NOTEBOOKS.index(stages[0])]:
        artifacts.open_stage(run, stage)
    if warning := stand_in_warning({stage: dict(config) for stage, config in configs.items()}):
        say(f"WARNING: {warning}")
    with errors.full_disk_named(run_folder(run)), _lock_run(run):
        save_settings(run, preset, chosen)
        progress = Progress(say)
        executed = [stage for stage in stages if stage not in left_out(run)]
        pending = {stage: planned_seconds(run, stage, preset) for stage in executed}
        needed = demo_worlds.demo_parts({stage: configs[stage] for stage in executed})
        progress.expect(demo_worlds.planned([part for part in needed if part.reasons()]) | pending)
        with errors.failures_named():
            for world in demo_worlds.WORLDS:
                demo_worlds.make([part for part in needed if part.world == world], progress)
        for stage in stages:
            why = reasons(run, stage, configs[stage]) or (["requested"] if forced else [])
            _stage_or_error(run, stage, configs[stage], why, progress)
    page = report_folder(run) / "index.html"
    said, path = ("report", page) if page.is_file() else ("no report yet", run_folder(run))
    took = progress.clock(time.monotonic() - started)
    say(f"{said}: {errors.short_path(path)}  ({took} in all)")
    return report_folder(run)


def _stages_to_run(
    run: str, *, only: str | None, from_stage: str | None, until: str | None
) -> list[str]:
    """The stages that a call runs or skips, in order, without those of a base."""
    if only and (from_stage or until):
        raise ValueError(
            "--only and --from exclude each other, and so do --only and --until: name one of them"
        )
    known = notebooks(run)
    first = stage_name(only or from_stage or known[0])
    if first not in known:  # of a sweep's member, 06 and 07 run where they are named
        known = NOTEBOOKS
    last = stage_name(only or until or known[-1])
    if NOTEBOOKS.index(last) < NOTEBOOKS.index(first):
        raise ValueError(f"--until {until} comes before --from {from_stage}")
    named = NOTEBOOKS[NOTEBOOKS.index(first) : NOTEBOOKS.index(last) + 1]
    own = [stage for stage in named if artifacts.holder(run, stage) == run]
    if not own or ((only or from_stage) and own[0] != first):
        owner = artifacts.holder(run, first)
        raise ValueError(f"run {run!r} reads {first} of its base {owner!r}: run it there")
    return own


def notebooks(run: str) -> tuple[str, ...]:
    """The notebooks of a run, in order. For a sweep's members 06 and 07 run only when they are
    named: ``--from 06``.
    """
    return STAGES if "sweep" in artifacts.run_notes(run) else NOTEBOOKS


def left_out(run: str) -> list[str]:
    """The stages that this run does not execute: 05 finds their tables, with no rows."""
    return list(artifacts.run_notes(run).get("left_out", ()))


def leave_out(run: str, stage: str, config: StageConfig) -> None:
    """Write the tables that 05 reads of a retrieval stage which was not run, with no rows."""
    writer = artifacts.begin(run, stage, config)
    writer.save("learners", tables.Learners.create_empty(), tables.Learners)
    for name in ("rankings", "library_rankings", "variants"):
        writer.save(name, tables.Rankings.create_empty(), tables.Rankings)
    schema = pl.Schema({"part": pl.String, "seconds": pl.Float64, "items": pl.Int64})
    writer.save("timings", schema.to_frame())
    np.save(writer.path("learner_frames.npy"), np.zeros((0, 1, 1, 1, 3), np.uint8))
    writer.finish(dropped=tables.dropped_rows([]), left_out="this run measures recall only")


def chosen_settings(run: str, preset: str | None, settings: Settings) -> tuple[str, Settings]:
    """The preset and all settings: those of now over those that the run was made with, unless a
    preset is named.
    """
    stored = None if preset else load_settings(run)
    name, known = stored or (preset or "demo", {})
    chosen = merged(known, settings)
    if name == "local" and "source" not in chosen.get(STAGES[0], {}):
        raise ValueError("the preset local reads a folder of yours: name it with --source")
    return name, chosen


def _stage_or_error(
    run: str, stage: str, config: StageConfig, why: list[str], progress: Progress
) -> None:
    if not why:
        _keep_executed_notebook(run, stage)
        facts = headline(run, stage) + lost_items(run, stage)
        progress.skip(stage, f"skipped, nothing changed{facts}")
        return
    with progress.step(stage, why) as result, errors.failures_named():
        (leave_out if stage in left_out(run) else run_stage)(run, stage, config)
        result.append(headline(run, stage) + lost_items(run, stage))


def run_stage(run: str, stage: str, config: StageConfig) -> None:
    """Execute the stage's notebook, then put the executed notebook into the stage and its HTML into
    the report.
    """
    folder = run_folder(run)
    work, log = folder / "work" / f"{stage}.ipynb", folder / "logs" / f"{stage}.log"
    source = artifacts.notebook_path(stage)
    manifest = folder / stage / "manifest.json"
    before = manifest.stat().st_mtime_ns if manifest.is_file() else None
    execute(source, work, {"run": run} | config.model_dump(), home=workspace(), log=log)
    if not manifest.is_file() or manifest.stat().st_mtime_ns == before:
        name, why = f"notebooks/{source.name}", "it never called stage.finish()"
        raise errors.NotebookError(name, "its end", why, log)
    _keep_executed_notebook(run, stage)


def _keep_executed_notebook(run: str, stage: str) -> None:
    """Give a complete stage its executed notebook and the report its HTML, also after a kill just
    before this.
    """
    folder = run_folder(run)
    work, executed = folder / "work" / f"{stage}.ipynb", folder / stage / "executed.ipynb"
    if not executed.is_file() and work.is_file():
        with suppress(ValueError):  # a kill while it was being written
            json.loads(work.read_text())
            work.replace(executed)
    html = report_folder(run) / "nb" / f"{stage}.html"
    if executed.is_file() and (
        not html.is_file() or html.stat().st_mtime_ns < executed.stat().st_mtime_ns
    ):
        settings, kind = artifacts.open_stage(run, stage).manifest["config"], CONFIGS[stage]
        config = kind(**{name: settings[name] for name in settings if name in kind.model_fields})
        write_html(executed, html, {"run": run} | config.model_dump(exclude_defaults=True))


def headline(run: str, stage: str) -> str:
    """The stage's headline metrics as the end of a line."""
    values = artifacts.open_stage(run, stage).manifest["headline"]
    facts = [f"{k} {v:.3g}" if isinstance(v, float) else f"{k} {v}" for k, v in values.items()]
    return f" · {', '.join(facts)}" if facts else ""


def lost_items(run: str, stage: str) -> str:
    """What the stage dropped because a worker crashed or timed out, as a line below its own; ""
    for nothing.

    Skipped stages report it, too: a rerun does not retry these items, --from does.
    """
    reader, lost = artifacts.open_stage(run, stage), list(LOST_READER.values())
    if not set(reader.manifest["dropped"]) & set(lost):
        return ""
    rows = reader.table("dropped").filter(pl.col("reason").is_in(lost)).sort("item_id")
    named = [f"{name} {reason}" for name, reason in rows.select("item_id", "reason").iter_rows()]
    return f"\n  {lost_line(stage, named)}"


# ------------------------------------------------------------------------------------------- status


class StageRow(NamedTuple):
    """One line of `sportskills status`. ``state``: complete, changed, running, interrupted, not run
    yet, earlier version, or ``of <run>`` for a stage that the run reads from its base.
    """

    stage: str
    state: str
    finished: str = ""
    took: str = ""
    facts: str = ""
    why: str = ""


def overview(run: str) -> list[StageRow]:
    """The state of every stage, with what differs where it changed."""
    if not run_folder(run).is_dir():
        raise ValueError(f"there is no run {run!r}: `sportskills reproduce --run {run}` makes it")
    preset, settings = load_settings(run) or ("demo", {})
    configs = stage_configs(preset, settings)
    running = True
    with suppress(errors.RunLocked), _lock_run(run):
        running = False
    return [_stage_row(run, stage, configs[stage], running) for stage in notebooks(run)]


def earlier_version_note(run: str, rows: Sequence[StageRow]) -> str:
    """What the state ``earlier version`` means, and the command that ends it; "" where no stage has
    it.
    """
    note = (
        "Stages of an earlier version can be read, reported and compared. Whether code has changed "
        f"since cannot be told: `sportskills reproduce --run {run}` runs them again."
    )
    return note if any(row.state == EARLIER for row in rows) else ""


def _stage_row(run: str, stage: str, config: StageConfig, running: bool) -> StageRow:
    owner = artifacts.holder(run, stage)
    is_partial = (run_folder(run) / f".{stage}.partial").is_dir()
    if owner == run and not artifacts.is_complete(run, stage):
        unfinished = "running" if running else "interrupted"
        return StageRow(stage, unfinished if is_partial else "not run yet")
    try:
        manifest = artifacts.open_stage(run, stage).manifest
    except ValueError as error:
        return StageRow(stage, f"of {owner}", why=str(error))
    when, facts = manifest["finished"][:16].replace("T", " "), _facts(manifest)
    if owner != run:
        return StageRow(stage, f"of {owner}", when, facts=facts)
    took, differs = Progress.clock(manifest["seconds"]), reasons(run, stage, config)
    state = "running" if running and is_partial else "changed" if differs else "complete"
    if state == "changed" and differs == [stage_changes.EARLIER_CODE]:
        state = EARLIER
    why = f"differs: {', '.join(differs[:4])}" + (" …" if differs[4:] else "")
    if state in ("complete", EARLIER):
        why = headline(run, stage).removeprefix(" · ")
    return StageRow(stage, state, when, took, facts, why)


def _facts(manifest: dict[str, Any]) -> str:
    """How many rows each table has, and what was dropped for which reason."""
    outputs = {n.removesuffix(".parquet"): entry for n, entry in manifest["outputs"].items()}
    rows = ", ".join(f"{k} {entry['rows']}" for k, entry in outputs.items() if "rows" in entry)
    dropped = ", ".join(f"{reason} {count}" for reason, count in manifest["dropped"].items())
    return "; ".join(filter(None, (rows, dropped and f"dropped: {dropped}")))
