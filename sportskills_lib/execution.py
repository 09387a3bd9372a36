"""Runs the five notebooks in order: skips what stands, resumes what was cut off, says what it does and for how long.

A stage is skipped when its config, its inputs and its code are those of the complete stage on disk; otherwise the line
that starts it says which of them differ. One runner works on a run at a time. A runner may be killed at any moment: its
kernel dies with it (see guard.py) and the next call goes on from the shards, with the same rows in the end.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple, get_args, get_origin

from filelock import FileLock, Timeout
from pydantic import ValidationError

from sportskills_lib import artifacts, headless, worlds
from sportskills_lib.artifacts import STAGES, run_folder, workspace
from sportskills_lib.config import CONFIGS, PRESETS, PresetName, StageConfig, stage_config
from sportskills_lib.failures import NotebookError, RunLocked, failures_named, full_disk_named, shown
from sportskills_lib.progress import Progress

Say = Callable[[str], None]
Settings = dict[str, dict[str, Any]]  # stage -> parameter -> value

# Seconds that a stage takes on two cores, for the first estimate; a run's own times replace them.
PLANNED_S: dict[str, dict[str, float]] = {
    "demo": dict(zip(STAGES, (15.0, 45.0, 290.0, 150.0, 30.0), strict=True)),
    "smoke": dict(zip(STAGES, (10.0, 9.0, 44.0, 33.0, 17.0), strict=True)),
}


# ---------------------------------------------------------------------------------------------------------- plan


def stage_name(text: str) -> str:
    """``03``, ``3``, ``encoder`` or ``03_encoder`` as the stage's full name."""
    for stage in STAGES:
        number, word = stage.split("_", 1)
        if text in (stage, number, number.lstrip("0"), word):
            return stage
    raise ValueError(f"there is no stage {text!r}; there are {', '.join(STAGES)}")


def parse_settings(texts: list[str]) -> Settings:
    """``["03.seed=1"]`` as {"03_encoder": {"seed": "1"}}; the stage's config gives the value its type."""
    settings: Settings = {}
    for text in texts:
        name, equals, value = text.partition("=")
        stage, dot, parameter = name.partition(".")
        if not (equals and dot and parameter):
            raise ValueError(f"--set {text!r} is not <stage>.<parameter>=<value>, such as 03.seed=1")
        settings.setdefault(stage_name(stage.strip()), {})[parameter.strip()] = value.strip()
    return settings


def stage_configs(preset: str, settings: Settings) -> dict[str, StageConfig]:
    """Every stage's config; ValueError names a parameter that does not exist or a value that does not fit."""
    if preset not in PRESETS:
        raise ValueError(f"there is no preset {preset!r}; there are {', '.join(get_args(PresetName))}")
    configs = {}
    for stage in STAGES:
        try:
            values = _typed(stage, settings.get(stage, {}))
            configs[stage] = stage_config(stage, preset, **values)  # type: ignore[arg-type]
        except ValidationError as error:
            first = error.errors()[0]
            place = ".".join(str(part) for part in first["loc"])
            raise ValueError(f"{stage}: {place}={first['input']!r}: {first['msg'].lower()}") from None
    return configs


def _typed(stage: str, values: dict[str, Any]) -> dict[str, Any]:
    """Values from the command line are text: where the stage wants a list, commas part it."""
    fields = CONFIGS[stage].model_fields
    lists = {name for name in values if name in fields and get_origin(fields[name].annotation) is list}
    return {
        name: [item.strip() for item in value.split(",") if item.strip()]
        if name in lists and isinstance(value, str)
        else value
        for name, value in values.items()
    }


def parameters(run: str, config: StageConfig) -> dict[str, Any]:
    """What papermill gives the stage's notebook."""
    return {"run": run} | config.model_dump(mode="python")


def everywhere(parameter: str, value: Any) -> Settings:
    """Set ``parameter`` in every stage that has it."""
    return {stage: {parameter: value} for stage in STAGES if parameter in CONFIGS[stage].model_fields}


def merged(*parts: Settings) -> Settings:
    """The settings of all parts; a later part wins."""
    result: Settings = {}
    for part in parts:
        for stage, values in part.items():
            result.setdefault(stage, {}).update(values)
    return result


def reasons(run: str, stage: str, config: StageConfig) -> list[str]:
    """Why the stage has to run; empty when what is on disk stands."""
    artifacts.recover(run, stage)
    if not artifacts.is_complete(run, stage):
        shards = run_folder(run) / f".{stage}.partial" / "shards"
        return ["goes on from its shards"] if shards.is_dir() and any(shards.iterdir()) else ["not made yet"]
    try:
        found = artifacts.changes(run, stage, config)
    except (KeyError, ValueError, OSError):
        return ["its manifest cannot be read"]
    if not found and stage == STAGES[-1] and not (report_folder(run) / "index.html").is_file():
        return ["its report is missing"]
    return found


def report_folder(run: str) -> Path:
    """Where the run's report is written."""
    return workspace() / "reports" / run


# --------------------------------------------------------------------------------------------------------- memory


def load_settings(run: str) -> tuple[str, Settings] | None:
    """The preset and settings that this run was last made with; None for a new run."""
    path = run_folder(run) / "run.json"
    if not path.is_file():
        return None
    stored = json.loads(path.read_text())
    return stored["preset"], stored["settings"]


def _save_settings(run: str, preset: str, settings: Settings) -> None:
    artifacts.write_json(run_folder(run) / "run.json", {"preset": preset, "settings": settings})


def _planned_seconds(run: str, stage: str, preset: str) -> float | None:
    try:
        manifest = json.loads((run_folder(run) / stage / "manifest.json").read_text())
        return float(manifest["seconds"])
    except (OSError, ValueError, KeyError):
        return PLANNED_S.get(preset, {}).get(stage)


@contextmanager
def _only_runner(run: str) -> Iterator[None]:
    folder = run_folder(run)
    folder.mkdir(parents=True, exist_ok=True)
    lock = FileLock(folder / ".runner.lock", thread_local=False)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        raise RunLocked(
            f"run {run!r} is being made by another process: wait for it, or stop it, or use another --run"
        ) from None
    try:
        yield
    finally:
        lock.release(force=True)


# ------------------------------------------------------------------------------------------------------- reproduce


def reproduce(
    run: str = "demo",
    preset: str | None = None,
    *,
    settings: Settings | None = None,
    from_stage: str | None = None,
    only: str | None = None,
    say: Say = print,
) -> Path:
    """Bring the run up to date and return its report folder.

    Without ``preset``, an existing run keeps the preset and settings that it was made with. ``from_stage`` runs that
    stage and those after it again, ``only`` that one alone, even when nothing changed; the stages before must be
    complete. ValueError for what the caller can put right, RunError when a stage fails, the run is locked or the disk
    is full.
    """
    if only and from_stage:
        raise ValueError("--only and --from exclude each other: name one of them")
    started = time.monotonic()
    preset, chosen = _chosen(run, preset, settings or {})
    configs = stage_configs(preset, chosen)
    first, last = stage_name(only or from_stage or STAGES[0]), stage_name(only) if only else STAGES[-1]
    wanted = STAGES[STAGES.index(first) : STAGES.index(last) + 1]
    forced = bool(only or from_stage)
    for stage in wanted:
        headless.check_parameters(artifacts.notebook_path(stage), parameters(run, configs[stage]))
    for stage in STAGES[: STAGES.index(first)]:
        artifacts.open_stage(run, stage)
    with full_disk_named(run_folder(run)), _only_runner(run):
        _save_settings(run, preset, chosen)
        progress = Progress(say)
        pending = {stage: _planned_seconds(run, stage, preset) for stage in wanted}
        needed = worlds.demo_parts({stage: configs[stage] for stage in wanted})
        progress.expect(worlds.planned([part for part in needed if part.reasons()]) | pending)
        with failures_named():
            for world in worlds.WORLDS:
                worlds.make([part for part in needed if part.world == world], progress)
        for stage in wanted:
            why = reasons(run, stage, configs[stage]) or (["asked for"] if forced else [])
            _stage_or_error(run, stage, configs[stage], why, progress)
    page = report_folder(run) / "index.html"
    where = f"report: {shown(page)}" if page.is_file() else f"no report yet: {shown(run_folder(run))}"
    say(f"{where}  ({progress.clock(time.monotonic() - started)} in all)")
    return report_folder(run)


def _chosen(run: str, preset: str | None, settings: Settings) -> tuple[str, Settings]:
    """The preset and all settings: those of now over those that the run was made with, unless a preset is named."""
    stored = None if preset else load_settings(run)
    name, known = stored or (preset or "demo", {})
    chosen = merged(known, settings)
    if name == "local" and "source" not in chosen.get(STAGES[0], {}):
        raise ValueError("the preset local reads a folder of yours: name it with --source")
    return name, chosen


def _stage_or_error(run: str, stage: str, config: StageConfig, why: list[str], progress: Progress) -> None:
    if not why:
        _tidy(run, stage)
        progress.skip(stage, f"skipped, nothing changed{_headline(run, stage)}")
        return
    with progress.step(stage, why) as result:
        with failures_named():
            run_stage(run, stage, config)
        result.append(_headline(run, stage))


def run_stage(run: str, stage: str, config: StageConfig) -> None:
    """Execute the stage's notebook, then put the executed notebook into the stage and its HTML into the report."""
    folder = run_folder(run)
    work, log = folder / "work" / f"{stage}.ipynb", folder / "logs" / f"{stage}.log"
    source = artifacts.notebook_path(stage)
    before = folder / stage / "manifest.json"
    stamp = before.stat().st_mtime_ns if before.is_file() else None
    headless.execute(source, work, parameters(run, config), home=workspace(), log=log)
    if not before.is_file() or before.stat().st_mtime_ns == stamp:
        raise NotebookError(f"notebooks/{source.name}", "its end", "it never called stage.finish()", log)
    _tidy(run, stage)


def _tidy(run: str, stage: str) -> None:
    """Give a complete stage its executed notebook and the report its HTML, also after a kill just before this."""
    folder = run_folder(run)
    work, executed = folder / "work" / f"{stage}.ipynb", folder / stage / "executed.ipynb"
    if not executed.is_file() and _readable(work):
        work.replace(executed)
    html = report_folder(run) / "nb" / f"{stage}.html"
    if executed.is_file() and (not html.is_file() or html.stat().st_mtime_ns < executed.stat().st_mtime_ns):
        headless.write_html(executed, html)


def _readable(notebook: Path) -> bool:
    try:
        return bool(json.loads(notebook.read_text())["cells"])
    except (OSError, ValueError, KeyError):
        return False


def _headline(run: str, stage: str) -> str:
    manifest = artifacts.open_stage(run, stage).manifest
    facts = [
        f"{name} {value:.3g}" if isinstance(value, float) else f"{name} {value}"
        for name, value in manifest["headline"].items()
    ]
    return f" · {', '.join(facts)}" if facts else ""


# ---------------------------------------------------------------------------------------------------------- status


class StageRow(NamedTuple):
    """One line of `sportskills status`."""

    stage: str
    state: str
    finished: str = ""
    took: str = ""
    facts: str = ""
    why: str = ""


def overview(run: str) -> list[StageRow]:
    """The state of every stage: complete, changed (with what differs), being made, cut off or not made."""
    if not run_folder(run).is_dir():
        raise ValueError(f"there is no run {run!r}: `sportskills reproduce --run {run}` makes it")
    preset, settings = load_settings(run) or ("demo", {})
    configs = stage_configs(preset, settings)
    return [_stage_row(run, stage, configs[stage]) for stage in STAGES]


def _stage_row(run: str, stage: str, config: StageConfig) -> StageRow:
    partial = (run_folder(run) / f".{stage}.partial").is_dir()
    if not artifacts.is_complete(run, stage):
        return StageRow(stage, ("being made" if _is_running(run) else "cut off") if partial else "not made")
    manifest = artifacts.open_stage(run, stage).manifest
    rows = [
        f"{name.removesuffix('.parquet')} {entry['rows']}"
        for name, entry in manifest["outputs"].items()
        if "rows" in entry
    ]
    dropped = [f"{reason} {count}" for reason, count in manifest["dropped"].items()]
    facts = "; ".join(filter(None, (", ".join(rows), f"dropped: {', '.join(dropped)}" if dropped else "")))
    found = reasons(run, stage, config)
    state = "being made" if partial and _is_running(run) else "changed" if found else "complete"
    why = ("differs: " + ", ".join(found[:4])) if found else _headline(run, stage).removeprefix(" · ")
    when = manifest["finished"][:16].replace("T", " ")
    return StageRow(stage, state, when, Progress.clock(manifest["seconds"]), facts, why)


def _is_running(run: str) -> bool:
    try:
        with _only_runner(run):
            return False
    except RunLocked:
        return True
