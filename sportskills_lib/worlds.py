"""Makes the demo worlds that a run reads: files, and two stand-ins for public checkpoints, each only when it must.

A part stands when it was made to its end by the code of now. It is made in a guarded process of its own, so that its
memory ends with it and it dies with whoever asked for it; a part that was cut off is made again.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from sportskills_lib import artifacts, guard, headless
from sportskills_lib.config import StageConfig
from sportskills_lib.failures import NotebookError
from sportskills_lib.progress import Progress

WORLDS = ("demo", "smoke")  # folders of data/raw
PLANNED_S = {"world": 90.0, "base_clip": 90.0, "base_vlm": 60.0}  # on two cores, for the first estimate
PLANNED_SMOKE_S = {"world": 5.0, "base_clip": 15.0, "base_vlm": 15.0}


@dataclass(frozen=True)
class DemoPart:
    """One part of a demo world: what makes it, where its files lie and how it is known to be complete."""

    name: str  # world, base_clip, base_vlm
    world: str = "demo"

    @property
    def folder(self) -> Path:
        """The world's folder, which all parts share."""
        return artifacts.workspace() / "data" / "raw" / self.world

    @property
    def target(self) -> Path:
        """What is there when the part is there."""
        return self.folder / ("lessons" if self.name == "world" else f"models/{self.name}")

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
        root = Path(artifacts.__file__).parent.parent
        files = artifacts.reached(f"import sportskills_lib.demo.{self.name}, sportskills_lib.demo.settings")
        return {path.relative_to(root).as_posix(): artifacts.sha256_file(path)[:16] for path in files}

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
                found.add(demo_part(parts[4] if parts[3] == "models" and len(parts) > 4 else "world", parts[2]))
    return sorted(found, key=lambda part: (part.world, list(PLANNED_S).index(part.name)))


def make(part: DemoPart, progress: Progress, *, again: bool = False) -> None:
    """Make one part, unless it stands; ``again``: even then. One process at a time makes a world."""
    from filelock import FileLock

    part.notes.mkdir(parents=True, exist_ok=True)
    with FileLock(part.notes / "lock"):
        why = part.reasons() or (["asked for"] if again else [])
        if not why:
            progress.skip(f"demo {part.name}", "stands")
            return
        with progress.step(f"demo {part.name}", why, planned_s=part.planned_s):
            (part.notes / f"{part.name}.json").unlink(missing_ok=True)
            if again or part.name != "world" or not part.target.is_dir():  # the world keeps what still fits by itself
                shutil.rmtree(part.target, ignore_errors=True)
                (part.folder / f"{part.name}.json").unlink(missing_ok=True)  # the world's own sign that it is complete
            code = part.code()
            words = [part.name, str(part.folder), *(["smoke"] if part.world == "smoke" else [])]
            run_guarded("sportskills_lib.demo", words, part.notes / f"{part.name}.log")
            artifacts.write_json(part.notes / f"{part.name}.json", code)


def run_guarded(module: str, words: list[str], log: Path) -> None:
    """Run ``python -m module words…`` so that it dies with this process; NotebookError when it fails."""
    environment = headless.kernel_environment(artifacts.workspace()) | guard.watched_environment()
    command = [sys.executable, "-m", "sportskills_lib.guard", module, *words]
    with log.open("w") as file:
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=file, stderr=file, env=environment, start_new_session=True
        )
        try:
            code = process.wait()
        except BaseException:
            process.kill()  # the watchdog takes the workers with it
            raise
    if code:
        lines = log.read_text().strip().splitlines() or ["it printed nothing"]
        raise NotebookError(f"{module} {words[0]}", f"exit code {code}", lines[-1], log)
