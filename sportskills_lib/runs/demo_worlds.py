"""Makes the demo worlds that a run reads: files, and stand-ins for public checkpoints, each only
when it must.

A part stands when it was made to its end by the code of now. It is made in a guarded process of its
own, so that its memory ends with it and it dies with whoever asked for it; a part that was cut off
is made again.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from filelock import FileLock

from sportskills_lib.config import StageConfig
from sportskills_lib.runs import artifacts, notebooks, process_guard
from sportskills_lib.runs.errors import NotebookError
from sportskills_lib.runs.progress import Progress

WORLDS = ("demo", "smoke")  # folders of data/raw
PLANNED_S = {
    "world": 55.0,
    "base_clip": 130.0,
    "base_vlm": 190.0,
    "base_xclip": 100.0,
    "activity": 40.0,
}  # two cores
FILES = ("world", "activity")  # parts that are files; the others are models
DEFAULT = ("world", "base_clip", "base_vlm")  # what `sportskills demo` makes unasked
POLL_S = 0.1
PLANNED_SMOKE_S = {
    "world": 5.0,
    "base_clip": 15.0,
    "base_vlm": 15.0,
    "base_xclip": 15.0,
    "activity": 5.0,
}


@dataclass(frozen=True)
class DemoPart:
    """One part of a demo world: what makes it, where its files lie and how it is known to be
    complete.
    """

    name: str  # world, base_clip, base_vlm, base_xclip, activity
    world: str = "demo"

    @property
    def folder(self) -> Path:
        """The world's folder, which all parts share."""
        return artifacts.workspace() / "data" / "raw" / self.world

    @property
    def target(self) -> Path:
        """What is there when the part is there."""
        return self.folder / {"world": "lessons", "activity": "activity"}.get(
            self.name, f"models/{self.name}"
        )

    @property
    def notes(self) -> Path:
        """Beside the world, since a world is only its files: markers, logs, the lock."""
        return self.folder.with_name(f".{self.world}")

    @property
    def planned_s(self) -> float:
        """Seconds to expect."""
        return (PLANNED_SMOKE_S if self.world == "smoke" else PLANNED_S)[self.name]

    def code(self) -> dict[str, str]:
        """The modules that make this part, each with a digest."""
        root = artifacts.LIBRARY.parent
        files = artifacts.reached(
            f"import sportskills_lib.demo.{self.name}, sportskills_lib.demo.settings"
        )
        return {
            path.relative_to(root).as_posix(): artifacts.sha256_file(path)[:16] for path in files
        }

    def reasons(self) -> list[str]:
        """Why it has to be made; empty when it stands."""
        marker = self.notes / f"{self.name}.json"
        if not (marker.is_file() and self.target.is_dir()):
            return ["not made yet"]
        old, new = json.loads(marker.read_text()), self.code()
        return [path for path in sorted(old.keys() | new.keys()) if old.get(path) != new.get(path)]


def demo_part(name: str, world: str = "demo") -> DemoPart:
    """The part of that name; ValueError when there is none."""
    if name not in PLANNED_S:
        raise ValueError(f"the demo world has no part {name!r}; it has {', '.join(PLANNED_S)}")
    return DemoPart(name, world)


def demo_parts(configs: Mapping[str, StageConfig]) -> list[DemoPart]:
    """The parts that these configs read: every path below data/raw/demo or data/raw/smoke."""
    found = set()
    for config in configs.values():
        for value in config.model_dump().values():
            parts = Path(value).parts if isinstance(value, str) else ()
            if parts[:2] == ("data", "raw") and len(parts) > 3 and parts[2] in WORLDS:
                name = parts[4] if parts[3] == "models" and len(parts) > 4 else "world"
                found.add(demo_part("activity" if parts[3] == "activity" else name, parts[2]))
    return sorted(found, key=lambda part: (part.world, list(PLANNED_S).index(part.name)))


def planned(parts: Sequence[DemoPart]) -> dict[str, float]:
    """Seconds to expect, by step."""
    return {name: max(part.planned_s for part in group) for name, group in _steps(parts) if group}


def _steps(parts: Sequence[DemoPart]) -> list[tuple[str, list[DemoPart]]]:
    """Files are made by several processes; models, of one thread each on two cores, side by
    side.
    """
    steps = [("demo world", "world"), ("demo activity", "activity")]
    models = [p for p in parts if p.name not in FILES]
    return [
        *((step, [p for p in parts if p.name == name]) for step, name in steps),
        ("demo models", models),
    ]


def make(parts: Sequence[DemoPart], progress: Progress, *, again: bool = False) -> None:
    """Make these parts of one world, unless they stand; ``again``: even then. One process at a time
    makes a world.
    """
    if not parts:
        return
    parts[0].notes.mkdir(parents=True, exist_ok=True)
    with FileLock(parts[0].notes / "lock"):
        for name, group in _steps(parts):
            whys = {part: part.reasons() or (["asked for"] if again else []) for part in group}
            wanted = [part for part in group if whys[part]]
            if wanted:
                why = list(dict.fromkeys(text for part in wanted for text in whys[part]))
                with progress.step(name, why, planned_s=planned(wanted)[name]):
                    _make_now(wanted, again=again)
            elif group:
                progress.skip(name, "stands")


def _make_now(parts: Sequence[DemoPart], *, again: bool) -> None:
    calls = []
    for part in parts:
        if artifacts.workspace().resolve() not in part.target.resolve().parents:
            raise ValueError(
                f"{part.target} lies behind a link to {part.target.resolve()}: what is made "
                "anew is removed first, so "
                "let the link go, or use the workspace that it points into"
            )
        marker = part.notes / f"{part.name}.json"
        marker.unlink(missing_ok=True)
        if (
            again or part.name != "world" or not part.target.is_dir()
        ):  # the world keeps what still fits by itself
            shutil.rmtree(part.target, ignore_errors=True)
            (part.folder / f"{part.name}.json").unlink(
                missing_ok=True
            )  # the world's own sign that it is complete
        words = [part.name, str(part.folder), *(["smoke"] if part.world == "smoke" else [])]
        calls.append(Call("sportskills_lib.demo", words, part.notes / f"{part.name}.log"))
    codes = {part: part.code() for part in parts}
    run_guarded(calls)
    for part, code in codes.items():
        artifacts.write_json(part.notes / f"{part.name}.json", code)


class Call(NamedTuple):
    """``python -m module words…``, with what it prints in ``log``."""

    module: str
    words: list[str]
    log: Path


def run_guarded(calls: Sequence[Call]) -> None:
    """Run these side by side so that they die with this process; NotebookError when one fails, the
    others then end.
    """
    environment = (
        notebooks.kernel_environment(artifacts.workspace()) | process_guard.watched_environment()
    )
    if (
        len(calls) > 1 or calls[0].words[0] not in FILES
    ):  # alone or not, a model has as many threads: the same weights
        environment["OMP_NUM_THREADS"] = os.environ.get(
            "OMP_NUM_THREADS", str(max(1, notebooks.cores() // 2))
        )
    processes: list[subprocess.Popen[bytes]] = []
    try:
        for call in calls:
            command = [
                sys.executable,
                "-m",
                "sportskills_lib.runs.process_guard",
                call.module,
                *call.words,
            ]
            processes.append(
                _start(command, environment | {process_guard.LOG_VARIABLE: str(call.log)}, call.log)
            )
        while any(process.poll() is None for process in processes) and not any(
            p.poll() for p in processes
        ):
            time.sleep(POLL_S)
    finally:
        for process in processes:
            if process.poll() is None:
                process.kill()  # its watchdog takes its workers with it
            process.wait()
    for call, process in zip(calls, processes, strict=True):
        if process.returncode > 0 or (
            process.returncode < 0 and not any(p.returncode > 0 for p in processes)
        ):
            last = (call.log.read_text().strip().splitlines() or ["it printed nothing"])[-1]
            raise NotebookError(
                f"{call.module} {call.words[0]}", f"exit code {process.returncode}", last, call.log
            )


def _start(command: list[str], environment: dict[str, str], log: Path) -> subprocess.Popen[bytes]:
    log.write_bytes(b"")
    return subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env=environment,
        start_new_session=True,
    )
