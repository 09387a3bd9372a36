"""What this machine offers a run: one line a fact, and a remedy where a fact will hurt."""

from __future__ import annotations

import os
import platform
import re
import subprocess
import sys
from functools import cache
from importlib import metadata
from typing import NamedTuple

from sportskills_lib.runs import artifacts
from sportskills_lib.runs.notebooks import cores, kernel_environment

LEAST_DISK_GB, LEAST_MEMORY_GB = 3.0, 4.0
DECODERS = ("decord2", "av", "opencv-python-headless", "torchcodec")


class Fact(NamedTuple):
    """One line of the examination; ``remedy`` is empty where all is well."""

    name: str
    value: str
    remedy: str = ""


def examine() -> list[Fact]:
    """Every fact, in the order in which they are read."""
    python = platform.python_version()
    wrong = "" if python.startswith("3.11.") else "SportSkills is locked to Python 3.11: run make"
    decoders = [f"{name} {_installed()[name]}" for name in DECODERS if name in _installed()]
    return [
        Fact("python", python, wrong),
        _packages(),
        *_threads(),
        *_room(),
        *_torch(),
        Fact("decoders", ", ".join(decoders), "" if decoders else "run make in a new shell"),
        _workspace(),
    ]


@cache
def _installed() -> dict[str, str]:
    """The version of every package, by the name that a lock gives it."""
    return {
        re.sub("[-_.]+", "-", each.name).lower(): each.version for each in metadata.distributions()
    }


def _packages() -> Fact:
    lock = artifacts.workspace() / "requirements.lock"
    if not lock.is_file():
        return Fact("packages", "no requirements.lock here", "run this in a workspace")
    pins = re.findall(r"^([\w.-]+)==(\S+)", lock.read_text(), re.MULTILINE)
    wrong = [
        f"{name} {_installed().get(name, 'absent')} (locked {version})"
        for name, version in pins
        if _installed().get(name) != version
    ]
    if not wrong:
        return Fact("packages", f"all {len(pins)} as locked")
    shown = ", ".join(wrong[:4]) + (f" and {len(wrong) - 4} more" if len(wrong) > 4 else "")
    fitting = f"{len(pins) - len(wrong)} of {len(pins)} as locked; {shown}"
    return Fact("packages", fitting, "run make in a new shell")


def _threads() -> list[Fact]:
    environment = kernel_environment(artifacts.workspace())
    count, policy = (
        Fact(name, f"{environment[name]} (in stages){' set by you' if name in os.environ else ''}")
        for name in ("OMP_NUM_THREADS", "OMP_WAIT_POLICY")
    )
    if not (count.value.startswith("1 ") or policy.value.upper().startswith("PASSIVE ")):
        remedy = "waiting threads spin: training takes 4 to 20 times longer; unset it"
        policy = policy._replace(remedy=remedy)
    return [count, policy]


def _room() -> list[Fact]:
    """Memory and disk."""
    import psutil

    memory, disk = psutil.virtual_memory(), psutil.disk_usage(str(artifacts.workspace()))
    memory_gb, disk_gb = memory.available / 2**30, disk.free / 2**30
    killed = f"under {LEAST_MEMORY_GB:.0f} GB free: training may be killed"
    full = f"under {LEAST_DISK_GB:.0f} GB: make room, or move data/ and link to it"
    machine = f"{cores()} cores, {memory_gb:.1f} of {memory.total / 2**30:.1f} GB memory free"
    return [
        Fact("machine", machine, killed if memory_gb < LEAST_MEMORY_GB else ""),
        Fact("disk", f"{disk_gb:.1f} GB free", full if disk_gb < LEAST_DISK_GB else ""),
    ]


ASK_TORCH = """
import torch
print(torch.__version__)
if torch.cuda.is_available():
    memory_gb = torch.cuda.get_device_properties(0).total_memory / 2**30
    print(f"{torch.cuda.get_device_name()}, {memory_gb:.0f} GB")
else:
    print("none (the demo needs none)")
"""


def _torch() -> list[Fact]:
    """Of a process of its own: a broken build may crash or hang."""
    command = [sys.executable, "-c", ASK_TORCH]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
    except (OSError, subprocess.SubprocessError):
        remedy = "run make in a new shell, or look at `python -c 'import torch'`"
        return [Fact("torch", "cannot be imported", remedy)]
    version, gpu = done.stdout.splitlines()[-2:]
    return [Fact("torch", version), Fact("gpu", gpu)]


def _workspace() -> Fact:
    home = artifacts.workspace()
    missing = ", ".join(
        name for name in ("notebooks", "data", "requirements.lock") if not (home / name).exists()
    )
    remedy = f"has no {missing}: set SPORTSKILLS_HOME" if missing else ""
    return Fact("workspace", str(home), remedy)
