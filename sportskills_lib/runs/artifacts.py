"""A stage's folder on disk: written aside, its manifest last, its hashes checked on opening.

``data/runs/<run>/<stage>/`` exists only when the stage is complete. While it runs, a stage writes
to ``data/runs/<run>/.<stage>.partial/``; a stage killed half way finds its shards there again if
its key (config, inputs, code) is unchanged, and an empty folder otherwise. A lock keeps two
processes from writing one run.
"""

from __future__ import annotations

import json
import os
import re
import resource
import shutil
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import Any

import dataframely as dy
import polars as pl

from sportskills_lib import tables
from sportskills_lib.config import CONFIGS
from sportskills_lib.formats.files import digest, fingerprint_folder, sha256_file, write_whole
from sportskills_lib.runs import stage_code
from sportskills_lib.runs.provenance import figure_facts, record
from sportskills_lib.runs.writer_lock import lock_writer, unlock_writer
from sportskills_lib.stage_config import StageConfig, did_you_mean

FORMAT = 2  # 1: code by files' bytes and the whole lock
STAGES = ("01_curation", "02_pairing", "03_encoder", "04_retrieval", "05_evaluation")
ANALYSIS = "06_analysis"  # deeper tables over 05; no stage reads it
INSPECTION = "07_inspection"  # shows what the stages made; no stage reads it
NOTEBOOKS = (*STAGES, ANALYSIS, INSPECTION)
HASH_LIMIT_BYTES = 64 * 2**20  # larger outputs are checked by size alone on opening
Source = (
    str | Path | Sequence[str | Path] | None
)  # raw folders or files that a stage reads, relative to the workspace


def workspace() -> Path:
    """The workspace root: $SPORTSKILLS_HOME, or the nearest parent of the current folder that has
    notebooks/.
    """
    if home := os.environ.get("SPORTSKILLS_HOME"):
        return Path(home)
    here = Path.cwd().resolve()
    for folder in (here, *here.parents):
        if (folder / "notebooks").is_dir() and (folder / "sportskills_lib").is_dir():
            return folder
    return stage_code.LIBRARY.parent


def run_folder(run: str) -> Path:
    """data/runs/<run>; a run's name is checked, since it becomes a path."""
    if not re.fullmatch(tables.ID_PATTERN, run):
        raise ValueError(
            f"invalid run name {run!r}: use letters, digits, '-', '_' and '.', and do not "
            "start with a dot"
        )
    return workspace() / "data" / "runs" / run


def run_notes(run: str) -> dict[str, Any]:
    """run.json: preset, settings and, of a sweep's member, ``base``, ``left_out``; {} without."""
    path = run_folder(run) / "run.json"
    return json.loads(path.read_text()) if path.is_file() else {}


def holder(run: str, stage: str) -> str:
    """The run whose folder holds the stage: ``run`` itself, or the base that its run.json names for
    this stage.

    A sweep's members differ in the later stages alone. They read the earlier ones where the base
    wrote them, so that no gigabyte is copied, and with the base's manifest, so that hashes are
    checked as ever.
    """
    passed = [run]
    while stage in (base := run_notes(passed[-1]).get("base", {})).get("stages", ()):
        if base["run"] in passed:
            names = " → ".join([*passed, base["run"]])
            raise ValueError(f"runs {names} name each other as base: mend their run.json")
        passed.append(base["run"])
    return passed[-1]


def _sources(source: Source) -> list[str]:
    """The sources as text, relative to the workspace where they lie in it; an empty one (no
    learners) is left out.
    """
    listed = [] if source is None else [source] if isinstance(source, str | Path) else list(source)
    root = workspace()
    paths = [
        path.relative_to(root) if path.is_relative_to(root) else path for path in map(Path, listed)
    ]
    return [path.as_posix() for path in paths if path != Path()]


def notebook_path(stage: str) -> Path:
    """The stage's source notebook in the workspace."""
    return workspace() / "notebooks" / f"{stage}.ipynb"


def stage_name(text: str) -> str:
    """``03``, ``3``, ``encoder`` or ``03_encoder`` as the stage's full name."""
    for stage in NOTEBOOKS:
        number, word = stage.split("_", 1)
        if text in (stage, number, number.lstrip("0"), word):
            return stage
    raise ValueError(f"unknown stage {text!r}: {did_you_mean(text, NOTEBOOKS)}")


def code_parts(stage: str) -> dict[str, str]:
    """The code and the packages that the stage's tables follow from (:mod:`stage_code`)."""
    return stage_code.code_parts(workspace(), stage, ["run", *CONFIGS[stage].model_fields])


# ------------------------------------------------------------------------------------------ writing


class Stage:
    """A stage being written. Get one from :func:`begin`; end it with :meth:`finish`."""

    def __init__(
        self,
        run: str,
        name: str,
        config: StageConfig,
        inputs: dict[str, str],
        reads: dict[str, list[str]],
    ):
        self.run, self.name, self.config, self.reads = run, name, config, reads
        self._code = code_parts(name)
        # The same key means the same outputs; settings of mere ease are no part of it.
        self.key = {"config": digest(config.key_settings()), "code": digest(self._code)}
        self.key |= {f"input {source}": value for source, value in sorted(inputs.items())}
        self.folder = run_folder(run) / f".{name}.partial"
        self.final = run_folder(run) / name
        self._outputs: dict[str, dict[str, Any]] = {}
        self._started = time.monotonic()

    @property
    def shards(self) -> Path:
        """A folder that survives a kill, for work done so far; it is removed when the stage is
        complete.
        """
        folder = self.folder / "shards"
        folder.mkdir(parents=True, exist_ok=True)
        return folder

    def path(self, name: str) -> Path:
        """Where to write the output ``name``; :meth:`finish` lists it in the manifest."""
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        return path

    def save_scan(self, name: str, scan: pl.LazyFrame) -> None:
        """Write ``<name>.parquet`` from tables on disk, in pieces; whoever wrote those has checked
        them.
        """
        path = self.path(f"{name}.parquet")
        scan.sink_parquet(path)
        self._outputs[path.name] = {"rows": pl.scan_parquet(path).select(pl.len()).collect().item()}

    def save(
        self, name: str, frame: pl.DataFrame, schema: type[dy.Schema] | None = None
    ) -> pl.DataFrame:
        """Write ``<name>.parquet`` after checking it against ``schema``; returns the checked
        table.
        """
        checked = schema.validate(frame, cast=True) if schema else frame
        path = self.path(f"{name}.parquet")
        checked.write_parquet(path)
        self._outputs[path.name] = {"rows": checked.height}
        return checked

    @cached_property
    def facts(self) -> dict[str, str]:
        """Where a figure of this stage comes from, for its metadata: run, stage, commit, config
        (digest).
        """
        lessons = getattr(self.config, "source", "") or lessons_of(self.run)
        return figure_facts(self.run, self.name, self.key["config"], provenance(), lessons=lessons)

    @property
    def about(self) -> str:
        """What a page of this stage says of itself: the run, and whether its world is generated."""
        return " · ".join(filter(None, (f"run {self.run}", self.facts.get("data"))))

    def finish(
        self, *, seed: int | None = None, dropped: pl.DataFrame | None = None, **headline: Any
    ) -> Path:
        """Write the manifest and give the folder its final name. ``headline``: the metrics worth a
        line in `status`.
        """
        if dropped is not None:
            self.save("dropped", dropped, tables.Dropped)
        shutil.rmtree(self.folder / "shards", ignore_errors=True)
        for path in sorted(self.folder.rglob("*")):
            if path.is_file() and path.name not in ("key.json", "manifest.json", "executed.ipynb"):
                entry = self._outputs.setdefault(path.relative_to(self.folder).as_posix(), {})
                entry |= {"bytes": path.stat().st_size, "sha256": sha256_file(path)}
        manifest = {
            "format": FORMAT,
            "stage": self.name,
            "run": self.run,
            "key": self.key,
            "reads": self.reads,
            "code": self._code,
            "config": self.config.model_dump(mode="json"),
            "seed": seed,
            "outputs": self._outputs,
            "dropped": dict(dropped["reason"].value_counts().sort("reason").iter_rows())
            if dropped is not None
            else {},
            "headline": headline,
            "finished": datetime.now(UTC).isoformat(timespec="seconds"),
            "seconds": round(time.monotonic() - self._started, 1),
            "peak_memory_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024,
            **provenance(),
        }
        write_json(self.folder / "manifest.json", manifest)
        _promote(self.folder, self.final)
        unlock_writer(run_folder(self.run))
        return self.final


def begin(
    run: str,
    stage: str,
    config: StageConfig,
    *,
    source: Source = None,
    optional: Source = None,
    after: tuple[str, ...] = (),
) -> Stage:
    """Start (or resume) a stage of a run.

    ``after`` names the stages whose outputs it reads, ``source`` the raw folders or files,
    ``optional`` those that may be missing: a change of what is not named here goes unnoticed. Of an
    earlier attempt with the same key only the shards are kept. ValueError when an input is missing
    or when another process writes this run; the process that holds the lock may begin again (a cell
    that is run twice in JupyterLab).
    """
    if (owner := holder(run, stage)) != run:
        raise ValueError(
            f"run {run!r} reads {stage} of its base {owner!r}: run it there, or name another run"
        )
    inputs = input_digests(run, source=source, optional=optional, after=after)
    lock_writer(run_folder(run))
    reads = {"source": _sources(source), "optional": _sources(optional), "after": list(after)}
    writer = Stage(run, stage, config, inputs, reads)
    finish_renaming(run, stage)
    marker = writer.folder / "key.json"
    if marker.is_file() and json.loads(marker.read_text()) == writer.key:
        for path in writer.folder.iterdir():
            if path.name not in (marker.name, "shards"):
                shutil.rmtree(path) if path.is_dir() else path.unlink()
    else:
        shutil.rmtree(writer.folder, ignore_errors=True)
        writer.folder.mkdir(parents=True)
        write_json(marker, writer.key)
    return writer


def finish_renaming(run: str, stage: str) -> None:
    """Complete the renaming of a stage that was killed after its manifest was written."""
    folder = run_folder(run)
    partial, final = folder / f".{stage}.partial", folder / stage
    if (partial / "manifest.json").is_file():
        _promote(partial, final)
    elif final.exists():
        shutil.rmtree(final.with_name(f".{stage}.old"), ignore_errors=True)


def _promote(partial: Path, final: Path) -> None:
    old = final.with_name(f".{final.name}.old")
    shutil.rmtree(old, ignore_errors=True)
    if final.exists():
        final.rename(old)
    partial.rename(final)
    shutil.rmtree(old, ignore_errors=True)


def write_json(path: Path, value: Any) -> None:
    """Write ``value`` as JSON, whole or not at all."""
    write_whole(path, json.dumps(value, indent=2, sort_keys=False, default=str) + "\n")


def provenance() -> dict[str, Any]:
    """The commit, whether the tree is dirty, package versions and the machine."""
    return record(workspace())


# ------------------------------------------------------------------------------------------ reading


class StageReader:
    """A complete stage. ``table(name)`` checks the file's hash, and the schema if one is given."""

    def __init__(self, folder: Path):
        self.folder = folder
        self.manifest: dict[str, Any] = json.loads((folder / "manifest.json").read_text())

    def path(self, name: str) -> Path:
        """The file ``name``, after checking that it is the one the stage wrote."""
        entry, path = self.manifest["outputs"].get(name), self.folder / name
        if entry is None or not path.is_file():
            raise ValueError(f"{self.folder} has no {name}: rerun {self.manifest['stage']}")
        if path.stat().st_size != entry["bytes"] or (
            entry["bytes"] <= HASH_LIMIT_BYTES and sha256_file(path) != entry["sha256"]
        ):
            raise ValueError(
                f"{path} is not the file that the stage wrote (hash differs): rerun "
                f"{self.manifest['stage']}"
            )
        return path

    def table(self, name: str, schema: type[dy.Schema] | None = None) -> pl.DataFrame:
        """The table ``name``, after checking its hash and, if one is given, its schema."""
        frame = pl.read_parquet(self.path(f"{name}.parquet"))
        return schema.validate(frame) if schema else frame

    def altered(self) -> list[str]:
        """The outputs that are gone or have another size; :meth:`path` checks hashes."""
        now = {
            path.relative_to(self.folder).as_posix(): path.stat().st_size
            for path in self.folder.rglob("*")
        }
        return [
            name
            for name, entry in self.manifest["outputs"].items()
            if now.get(name) != entry["bytes"]
        ]

    @property
    def facts(self) -> dict[str, str]:
        """As :attr:`Stage.facts`: what a figure drawn from this stage's tables says of itself."""
        known = self.manifest
        run, config = known["run"], known["key"]["config"]
        return figure_facts(run, known["stage"], config, known, lessons=lessons_of(run))

    @property
    def digest(self) -> str:
        """Changes when any output changes; not with times, machine or commit."""
        return digest(
            {
                name: entry["sha256"]
                for name, entry in self.manifest["outputs"].items()
                if "figures" not in name
            }
        )


def lessons_of(run: str) -> str:
    """What the run's 01 read, as its settings name it; "" where that is not complete."""
    if not is_complete(holder(run, STAGES[0]), STAGES[0]):
        return ""
    return str(open_stage(run, STAGES[0]).manifest["config"].get("source", ""))


def is_complete(run: str, stage: str) -> bool:
    """Whether the stage's folder is there with its manifest, which is written last."""
    return (run_folder(run) / stage / "manifest.json").is_file()


def open_stage(run: str, stage: str) -> StageReader:
    """The complete stage of a run, or of its base (:func:`holder`); ValueError with the remedy when
    it is not there.
    """
    owner = holder(run, stage)
    if not is_complete(owner, stage):
        base = f"run {run!r} reads {stage} of its base: " if owner != run else ""
        raise ValueError(
            f"{base}run {owner!r} has no complete {stage}: run `sportskills reproduce --run "
            f"{owner}` first"
        )
    return StageReader(run_folder(owner) / stage)


def input_digests(
    run: str, *, source: Source = None, optional: Source = None, after: Sequence[str] = ()
) -> dict[str, str]:
    """What a stage reads, by name: the digests of the stages before it and the fingerprints of raw
    folders.
    """
    inputs = {name: open_stage(run, name).digest for name in after}
    inputs |= {name: fingerprint_folder(workspace() / name) for name in _sources(source)}
    paths = {name: workspace() / name for name in _sources(optional)}
    return inputs | {
        name: fingerprint_folder(path) if path.exists() else "absent"
        for name, path in paths.items()
    }
