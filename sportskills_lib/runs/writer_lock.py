"""One writer per run: a lock that ends with the process, however that ends."""

from __future__ import annotations

import os
from pathlib import Path

from filelock import FileLock, Timeout

_LOCKS: dict[Path, FileLock] = {}  # the locks that this process holds, by folder of the run


def lock_writer(folder: Path) -> None:
    """Make this process the writer of the run in ``folder``; it may ask again (a cell that is run
    twice in JupyterLab). ValueError while another process writes.
    """
    folder.mkdir(parents=True, exist_ok=True)
    lock = _LOCKS.setdefault(folder, FileLock(folder / ".writer.lock", thread_local=False))
    if lock.is_locked:
        return
    try:
        lock.acquire(timeout=float(os.environ.get("SPORTSKILLS_LOCK_TIMEOUT_S", "60")))
    except Timeout:
        raise ValueError(
            f"another process is writing run {folder.name!r}: wait for it, or stop it, then run "
            "again"
        ) from None


def unlock_writer(folder: Path) -> None:
    """Let others write the run."""
    if lock := _LOCKS.pop(folder, None):
        lock.release(force=True)
