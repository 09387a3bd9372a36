"""Nothing outlives its runner: a process started through this module dies, with its workers, when
its parent does.

    python -m sportskills_lib.runs.process_guard <module> <arguments …>

runs ``<module>`` as ``python -m <module>`` would, in a process group of its own, beside a small
watchdog process. The watchdog looks every fifth of a second whether the parent or the process
itself is gone, and then kills the whole group. Reason: a notebook's kernel runs in a session of its
own, so SIGKILL of the runner (or of the runner's group) leaves it, and the worker processes that it
started, writing into a run that a new runner may already have begun to repair. On Linux the process
itself, though not its workers, is killed at once.
"""

from __future__ import annotations

import ctypes
import os
import runpy
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

import psutil

# The parent that the starter meant, should it be gone before we look.
PARENT_VARIABLE = "SPORTSKILLS_RUNNER_PID"
# A file that takes what the process and its libraries write to stdout, stderr.
LOG_VARIABLE = "SPORTSKILLS_GUARD_LOG"
POLL_S = 0.2
_PR_SET_PDEATHSIG = 1


def watched_environment(log: Path) -> dict[str, str]:
    """What a starter adds to the environment of a process that it starts through this module; the
    process prints into ``log``, which is emptied.
    """
    log.parent.mkdir(parents=True, exist_ok=True)
    log.write_bytes(b"")
    return {PARENT_VARIABLE: str(os.getpid()), LOG_VARIABLE: str(log)}


def start(
    module: str, words: Sequence[str], log: Path, environment: Mapping[str, str]
) -> subprocess.Popen[bytes]:
    """Start ``python -m module words…`` through this module, in a session of its own."""
    return subprocess.Popen(
        [sys.executable, "-m", "sportskills_lib.runs.process_guard", module, *words],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env={**environment, **watched_environment(log)},
        start_new_session=True,
    )


def start_watchdog(parent: int) -> None:
    """Fork the watchdog of this process group. Call it before any thread is started.

    The watchdog stays in the group, so that the group's number cannot be taken by another while it
    looks. It is forked twice and so no child of this process: a kernel waits for its children when
    it shuts down.
    """
    if os.getpgrp() != os.getpid():
        os.setpgid(0, 0)
    watched = [psutil.Process(pid) for pid in (parent, os.getpid())]
    if first := os.fork():
        os.waitpid(first, 0)
        return
    if os.fork():
        os._exit(0)
    for number in (signal.SIGINT, signal.SIGHUP):  # an interrupted cell is the kernel's affair
        signal.signal(number, signal.SIG_IGN)
    # A reader that waits for the end of our output must not wait for the watchdog, nor a lock.
    null = os.open(os.devnull, os.O_RDWR)
    for descriptor in range(3):
        os.dup2(null, descriptor)
    os.closerange(3, 1024)
    with suppress(psutil.NoSuchProcess):
        while all(p.is_running() and p.status() != psutil.STATUS_ZOMBIE for p in watched):
            time.sleep(POLL_S)
    os.killpg(watched[1].pid, signal.SIGKILL)


def main() -> None:
    """Start the watchdog, then run the module named on the command line."""
    parent = os.getppid()
    if int(os.environ.pop(PARENT_VARIABLE, parent)) != parent:
        raise SystemExit("the process that started this one is gone")
    with suppress(OSError, AttributeError):  # on Linux: SIGKILL when the starting thread ends
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    start_watchdog(parent)
    if log := os.environ.pop(LOG_VARIABLE, None):
        descriptor = os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
        for number in (1, 2):
            os.dup2(descriptor, number)
        os.close(descriptor)
    sys.argv = sys.argv[1:]
    runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()
