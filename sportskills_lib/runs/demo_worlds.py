"""Makes the demo worlds that a run reads: files, and stand-ins for public checkpoints.

A part is made again only when it is incomplete or when the code that makes it has changed. It is
made in a guarded process of its own, so that its memory ends with it and it dies with its starter.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from filelock import FileLock

from sportskills_lib.runs import artifacts, notebooks, process_guard, stage_code
from sportskills_lib.runs.errors import NotebookError
from sportskills_lib.runs.progress import Progress
from sportskills_lib.stage_config import StageConfig

WORLDS = ("demo", "smoke")  # folders of data/raw
PLANNED_S = {  # on two cores
    "demo": {"world": 55, "base_clip": 130, "base_vlm": 190, "base_xclip": 100, "activity": 40},
    "smoke": {"world": 5, "base_clip": 15, "base_vlm": 15, "base_xclip": 15, "activity": 5},
}
PARTS = tuple(PLANNED_S["demo"])
FILES = {"world": "demo world", "activity": "demo activity"}  # with their steps; others: models
DEFAULT = ("world", "base_clip", "base_vlm")  # what `sportskills demo` makes without options
# What a setting names, below the world's folder: a model, the activity data set, or else the world.
READ = re.compile(r"data/raw/(?P<world>demo|smoke)/(models/(?P<part>\w+)|(?P<file>\w+))")
POLL_S = 0.1
Call = tuple[str, list[str], Path]  # ``python -m module words…``, with what it prints in the file


@dataclass(frozen=True)
class DemoPart:
    """One part of a demo world: what makes it, where its files are, whether it is complete.
    ValueError for a name that is none of PARTS.
    """

    name: str
    world: str = "demo"

    def __post_init__(self) -> None:
        if self.name not in PARTS:
            raise ValueError(f"the demo world has no part {self.name!r}; it has {', '.join(PARTS)}")

    @property
    def folder(self) -> Path:
        """The world's folder, which all parts share."""
        return artifacts.workspace() / "data" / "raw" / self.world

    @property
    def target(self) -> Path:
        """The folder that the part fills."""
        return self.folder / {"world": "lessons", "activity": "activity"}.get(
            self.name, f"models/{self.name}"
        )

    @property
    def marker(self) -> Path:
        """Written when the part is complete: the code that made it. Markers, logs and the lock
        stand beside the world, since they are no part of it.
        """
        return self.folder.with_name(f".{self.world}") / f"{self.name}.json"

    def code(self) -> dict[str, str]:
        """The modules that make this part, each with a digest."""
        names = (self.name, "settings")
        return stage_code.module_parts(*(f"sportskills_lib.demo.{name}" for name in names))

    def reasons(self) -> list[str]:
        """Why it has to be made; empty when it is complete and up to date."""
        if not (self.marker.is_file() and self.target.is_dir()):
            return ["not made yet"]
        old, new = json.loads(self.marker.read_text()), self.code()
        return [name for name in sorted(old.keys() | new.keys()) if old.get(name) != new.get(name)]


def demo_parts(configs: Mapping[str, StageConfig]) -> list[DemoPart]:
    """The parts that these configs read: every path below data/raw/demo or data/raw/smoke."""
    values = [value for config in configs.values() for value in config.model_dump().values()]
    found = [READ.match(value) for value in values if isinstance(value, str)]
    parts = {
        DemoPart(at["part"] or ("activity" if at["file"] == "activity" else "world"), at["world"])
        for at in found
        if at
    }
    return sorted(parts, key=lambda part: (part.world, PARTS.index(part.name)))


def planned(parts: Sequence[DemoPart]) -> dict[str, float]:
    """Seconds to expect, by step."""
    return {
        name: float(max(PLANNED_S[part.world][part.name] for part in group))
        for name, group in _steps(parts).items()
    }


def _steps(parts: Sequence[DemoPart]) -> dict[str, list[DemoPart]]:
    """The parts by step. Files are made by several processes; models, of one thread each on two
    cores, side by side.
    """
    steps: dict[str, list[DemoPart]] = {}
    for part in sorted(parts, key=lambda part: (part.name not in FILES, part.name == "activity")):
        steps.setdefault(FILES.get(part.name, "demo models"), []).append(part)
    return steps


def make(parts: Sequence[DemoPart], progress: Progress, *, again: bool = False) -> None:
    """Make these parts of one world where they are not up to date; ``again``: in any case. One
    process at a time makes a world.
    """
    if not parts:
        return
    notes = parts[0].marker.parent
    notes.mkdir(parents=True, exist_ok=True)
    with FileLock(notes / "lock"):
        for name, group in _steps(parts).items():
            whys = {part: part.reasons() or (["requested"] if again else []) for part in group}
            if due := [part for part in group if whys[part]]:
                why = list(dict.fromkeys(text for part in due for text in whys[part]))
                with progress.step(name, why, planned_s=planned(due)[name]):
                    _make_now(due)
            else:
                progress.skip(name, "up to date")


def _make_now(parts: Sequence[DemoPart]) -> None:
    calls: list[Call] = []
    for part in parts:
        if artifacts.workspace().resolve() not in part.target.resolve().parents:
            raise ValueError(
                f"{part.target} is a link to {part.target.resolve()}, whose files would be "
                "removed first: remove the link, or use the workspace that it points into"
            )
        part.marker.unlink(missing_ok=True)
        shutil.rmtree(part.target, ignore_errors=True)
        words = [part.name, str(part.folder), *(["smoke"] if part.world == "smoke" else [])]
        calls.append(("sportskills_lib.demo", words, part.marker.with_suffix(".log")))
    codes = {part: part.code() for part in parts}
    run_guarded(calls)
    for part, code in codes.items():
        artifacts.write_json(part.marker, code)


def run_guarded(calls: Sequence[Call]) -> None:
    """Run these side by side so that they die with this process; NotebookError when one fails, the
    others then end.
    """
    environment = notebooks.kernel_environment(artifacts.workspace())
    # A model's threads do not depend on whether it is made alone: its weights would differ.
    if len(calls) > 1 or calls[0][1][0] not in FILES:
        threads = str(max(1, notebooks.cores() // 2))
        environment["OMP_NUM_THREADS"] = os.environ.get("OMP_NUM_THREADS", threads)
    processes: list[subprocess.Popen[bytes]] = []
    try:
        for module, words, log in calls:
            processes.append(process_guard.start(module, words, log, environment))
        while None in (codes := [process.poll() for process in processes]) and not any(codes):
            time.sleep(POLL_S)
    finally:
        for process in processes:
            process.kill()  # its watchdog takes its workers with it
            process.wait()
    for code, (module, words, log) in zip(codes, calls, strict=True):
        if code:
            last = (log.read_text().strip().splitlines() or ["it printed nothing"])[-1]
            raise NotebookError(f"{module} {words[0]}", f"exit code {code}", last, log)
