"""Nothing outlives its runner: a process started through this module dies, with its workers, when
its parent does.

    python -m sportskills_lib.runs.process_guard <module> <arguments …>

runs ``<module>`` as ``python -m <module>`` would, in a process group of its own, beside a small
watchdog process. The watchdog sleeps until the parent or the process itself is gone, and then kills
the whole group. Reason: a notebook's kernel runs in a session of its own, so SIGKILL of the runner
(or of the runner's group) leaves it, and the worker processes that it started, writing into a run
that a new runner may already have begun to repair.

Linux wakes the watchdog at once (a pid file descriptor); elsewhere it looks every fifth of a
second.
"""

from __future__ import annotations

import ctypes
import os
import runpy
import select
import signal
import sys
import time
from contextlib import suppress

PARENT_VARIABLE = (
    "SPORTSKILLS_RUNNER_PID"  # the parent that the starter meant, should it be gone before we look
)
# a file that takes what the process and its libraries write to stdout, stderr
LOG_VARIABLE = "SPORTSKILLS_GUARD_LOG"
POLL_S = 0.2
_PR_SET_PDEATHSIG = 1


def watched_environment() -> dict[str, str]:
    """What a starter adds to the environment of a process that it starts through this module."""
    return {PARENT_VARIABLE: str(os.getpid())}


def die_with_parent() -> None:
    """Ask the kernel (Linux) for SIGKILL when the thread that started this process ends; elsewhere
    do nothing.
    """
    with suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)


def start_watchdog(parent: int) -> None:
    """Fork the watchdog of this process group. Call it before any thread is started.

    The watchdog stays in the group, so that the group's number cannot be taken by another while it
    looks. It is forked twice and so no child of this process: a kernel waits for its children when
    it shuts down.
    """
    if os.getpgrp() != os.getpid():
        os.setpgid(0, 0)
    here = os.getpid()
    if first := os.fork():
        os.waitpid(first, 0)
        return
    if os.fork():
        os._exit(0)
    for number in (signal.SIGINT, signal.SIGHUP):  # an interrupted cell is the kernel's affair
        signal.signal(number, signal.SIG_IGN)
    _close_files()
    _wait_for_an_end(parent, here)
    os.killpg(here, signal.SIGKILL)


def _close_files() -> None:
    """Let go of pipes and locks: a reader that waits for the end of our output must not wait for
    the watchdog.
    """
    null = os.open(os.devnull, os.O_RDWR)
    for number in range(3):
        os.dup2(null, number)
    os.closerange(3, 1024)


def _wait_for_an_end(parent: int, child: int) -> None:
    """Return when one of the two processes has ended."""
    descriptors = []
    try:
        descriptors = [os.pidfd_open(pid) for pid in (parent, child)]
    except ProcessLookupError:
        return
    except (AttributeError, OSError):
        while _alive(parent) and _alive(child):
            time.sleep(POLL_S)
        return
    poller = select.poll()
    for descriptor in descriptors:
        poller.register(descriptor, select.POLLIN)
    poller.poll()


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def main() -> None:
    """Start the watchdog, then run the module named on the command line."""
    if len(sys.argv) < 2:
        raise SystemExit(
            "usage: python -m sportskills_lib.runs.process_guard <module> <arguments …>"
        )
    parent = os.getppid()
    if int(os.environ.get(PARENT_VARIABLE, parent)) != parent:
        raise SystemExit("the process that started this one is gone")
    die_with_parent()
    start_watchdog(parent)
    os.environ.pop(PARENT_VARIABLE, None)
    if log := os.environ.pop(LOG_VARIABLE, None):
        descriptor = os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
        for number in (1, 2):
            os.dup2(descriptor, number)
        os.close(descriptor)
    module = sys.argv[1]
    sys.argv = sys.argv[1:]
    runpy.run_module(module, run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()
