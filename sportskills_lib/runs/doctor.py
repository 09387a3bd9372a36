"""What this machine offers a run: one line a fact, and a remedy where a fact will hurt.

torch is asked in a process of its own, so that the command line itself stays light and a broken
torch cannot break it.
"""

from __future__ import annotations

import json
import os
import platform
import shutil
import subprocess
import sys
import urllib.error
import urllib.request
from contextlib import suppress
from importlib import metadata
from typing import NamedTuple

from sportskills_lib.runs import artifacts
from sportskills_lib.runs.notebooks import cores, kernel_environment

LEAST_DISK_GB = 3.0
LEAST_MEMORY_GB = 4.0
CHAT_PATIENCE_S = 3.0
DECODERS = {  # package → name
    "decord2": "decord2",
    "av": "PyAV",
    "opencv-python-headless": "OpenCV",
    "torchcodec": "torchcodec",
}
_ASK_TORCH = """
import json, torch
gpu = torch.cuda.is_available()
print(json.dumps({"version": torch.__version__, "threads": torch.get_num_threads(),
    "gpu": torch.cuda.get_device_name() if gpu else None,
    "memory_gb": torch.cuda.get_device_properties(0).total_memory / 2**30 if gpu else 0.0}))
"""


class Fact(NamedTuple):
    """One line of the examination; ``remedy`` is empty where all is well."""

    name: str
    value: str
    remedy: str = ""


def examine() -> list[Fact]:
    """Every fact, in the order in which they are read."""
    return [
        _python(),
        _packages(),
        *_threads(),
        _memory(),
        _disk(),
        *_torch(),
        _decoders(),
        _browser(),
        _chat(),
        _workspace(),
    ]


def _python() -> Fact:
    wanted = sys.version_info[:2] == (3, 11)
    return Fact(
        "python",
        platform.python_version(),
        "" if wanted else "SportSkills is locked to Python 3.11: run make",
    )


def _packages() -> Fact:
    lock = artifacts.workspace() / "requirements.lock"
    if not lock.is_file():
        return Fact("packages", "no requirements.lock here", "run this in a workspace")
    pins = [
        line.split()[0].split("==")
        for line in lock.read_text().splitlines()
        if "==" in line and line[0].isalnum()
    ]
    wrong = []
    for name, version in pins:
        try:
            found = metadata.version(name)
        except metadata.PackageNotFoundError:
            found = "absent"
        if found != version:
            wrong.append(f"{name} {found} (locked {version})")
    if wrong:
        shown = ", ".join(wrong[:4]) + (f" and {len(wrong) - 4} more" if len(wrong) > 4 else "")
        return Fact(
            "packages",
            f"{len(pins) - len(wrong)} of {len(pins)} as locked; {shown}",
            "run make in a new shell",
        )
    return Fact("packages", f"all {len(pins)} as locked")


def _threads() -> list[Fact]:
    environment = kernel_environment(artifacts.workspace())
    facts = []
    for name in ("OMP_NUM_THREADS", "OMP_WAIT_POLICY"):
        facts.append(
            Fact(
                name,
                f"{environment[name]} (in stages){' set by you' if name in os.environ else ''}",
            )
        )
    if (
        environment["OMP_WAIT_POLICY"].upper() != "PASSIVE"
        and environment["OMP_NUM_THREADS"] != "1"
    ):
        facts[1] = facts[1]._replace(
            remedy="waiting threads spin: training takes 4 to 20 times longer; unset it"
        )
    return facts


def _memory() -> Fact:
    import psutil

    memory = psutil.virtual_memory()
    free_gb, total_gb = memory.available / 2**30, memory.total / 2**30
    remedy = (
        ""
        if free_gb >= LEAST_MEMORY_GB
        else f"under {LEAST_MEMORY_GB:.0f} GB free: training may be killed"
    )
    return Fact(
        "machine", f"{cores()} cores, {free_gb:.1f} of {total_gb:.1f} GB memory free", remedy
    )


def _disk() -> Fact:
    usage = shutil.disk_usage(artifacts.workspace())
    free_gb = usage.free / 2**30
    remedy = (
        ""
        if free_gb >= LEAST_DISK_GB
        else f"under {LEAST_DISK_GB:.0f} GB: make room, or move data/ and link to it"
    )
    return Fact("disk", f"{free_gb:.1f} GB free", remedy)


def _torch() -> list[Fact]:
    environment = kernel_environment(artifacts.workspace())
    try:
        done = subprocess.run(
            [sys.executable, "-c", _ASK_TORCH],
            capture_output=True,
            text=True,
            timeout=120,
            env=environment,
        )
        answer = json.loads(done.stdout.strip().splitlines()[-1])
    except (OSError, subprocess.TimeoutExpired, ValueError, IndexError):
        return [
            Fact(
                "torch",
                "cannot be imported",
                "run make in a new shell, or look at `python -c 'import torch'`",
            )
        ]
    gpu = (
        f"{answer['gpu']}, {answer['memory_gb']:.0f} GB"
        if answer["gpu"]
        else "none (the demo needs none)"
    )
    return [Fact("torch", f"{answer['version']}, {answer['threads']} threads"), Fact("gpu", gpu)]


def _decoders() -> Fact:
    versions = []
    for package, name in DECODERS.items():
        with suppress(metadata.PackageNotFoundError):
            versions.append(f"{name} {metadata.version(package)}")
    remedy = "" if versions else "run make in a new shell"
    return Fact("decoders", ", ".join(versions) or "none", remedy)


def _browser() -> Fact:
    names = ("chromium", "chromium-browser", "google-chrome")
    found = next((path for name in names if (path := shutil.which(name))), None)
    return Fact("browser", "chromium" if found else "no chromium (only browser tests want one)")


def _chat() -> Fact:
    """Whether the server that the chat judges would ask by default is there; any answer of its own
    counts.
    """
    if not (url := os.environ.get("OPENAI_BASE_URL", "")):
        return Fact("chat server", "OPENAI_BASE_URL is not set (only chat judges want one)")
    if not url.startswith(("http://", "https://")):
        return Fact("chat server", url, "OPENAI_BASE_URL is no http address: mend or unset it")
    try:
        urllib.request.urlopen(f"{url.rstrip('/')}/models", timeout=CHAT_PATIENCE_S).close()
    except urllib.error.HTTPError:
        pass  # it wants a key, or lists no models: it is there
    except (OSError, ValueError) as error:
        return Fact(
            "chat server",
            f"{url} does not answer ({error})",
            ("start it, or unset OPENAI_BASE_URL"),
        )
    return Fact("chat server", f"{url} answers")


def _workspace() -> Fact:
    home = artifacts.workspace()
    missing = [
        name for name in ("notebooks", "data", "requirements.lock") if not (home / name).exists()
    ]
    return Fact(
        "workspace",
        str(home),
        f"has no {', '.join(missing)}: set SPORTSKILLS_HOME" if missing else "",
    )
