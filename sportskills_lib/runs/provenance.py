"""Where a number or a figure comes from: the commit, the packages, the machine, and what a figure
says of itself.
"""

from __future__ import annotations

import os
import platform
import subprocess
from collections.abc import Mapping
from importlib import metadata
from pathlib import Path
from typing import Any

PACKAGES = (
    "torch",
    "transformers",
    "peft",
    "open_clip_torch",
    "decord2",
    "av",
    "polars",
    "papermill",
    "numpy",
)

GENERATED = "generated demo world"


def figure_facts(
    run: str, stage: str, config: str, source: Mapping[str, Any], *, lessons: str = ""
) -> dict[str, str]:
    """What a figure says of itself: run, stage, commit ("+ changes" where the tree was dirty),
    config (its digest).

    ``source``: :func:`record`, or the manifest of the stage whose numbers are drawn.
    ``lessons``: what the run's 01 read; of a generated world the figure says so (``data``), in
    print too (style.save).
    """
    commit = (source.get("commit") or "unknown") + (" + changes" if source.get("dirty") else "")
    known = {"run": run, "stage": stage, "commit": commit, "config": config}
    return known | ({"data": GENERATED} if is_generated(lessons) else {})


def is_generated(lessons: str) -> bool:
    """Whether these lessons, or this model, belong to a generated world."""
    return lessons.startswith(("data/raw/demo", "data/raw/smoke"))


def stand_in_warning(settings: Mapping[str, Mapping[str, Any]]) -> str:
    """What a reader of figures of own films must know where stages start from the demo's stand-ins;
    "" where none does, or where the films are generated, too. ``settings``: by stage.
    """
    lessons = str(settings.get("01_curation", {}).get("source", ""))
    toys = [
        stage
        for stage, own in settings.items()
        if is_generated(str(own.get("model", ""))) and own.get("learners", True)
    ]
    if not toys or is_generated(lessons):
        return ""
    return (
        f"The models of {' and '.join(toys)} start from the demo's stand-ins, toys trained on "
        "drawn figures at 64 pixels and not on people. What they score on other films means "
        "nothing: set 03.model and 03.pretrained to public weights (docs/own_videos.md)."
    )


def record(folder: Path) -> dict[str, Any]:
    """The commit that ``folder`` is at, whether its tree is dirty, package versions and the
    machine.
    """

    def git(*words: str) -> str | None:
        try:
            done = subprocess.run(
                ["git", *words], cwd=folder, capture_output=True, text=True, timeout=10
            )
        except (OSError, subprocess.TimeoutExpired):
            return None
        return done.stdout.strip() if done.returncode == 0 else None

    status = git("status", "--porcelain", "--untracked-files=no")
    versions: dict[str, str | None] = {}
    for name in PACKAGES:
        try:
            versions[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            versions[name] = None
    return {
        "commit": git("rev-parse", "HEAD"),
        "dirty": None if status is None else bool(status),
        "python": platform.python_version(),
        "packages": versions,
        "device": f"{platform.machine()}, {os.cpu_count()} cores",
    }
