"""How a run stops: each way has an exit code (docs/exit_codes.md) and a last line that names what
to look at.
"""

from __future__ import annotations

import errno
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from filelock import FileLock, Timeout

from sportskills_lib.runs.artifacts import workspace

FULL_DISK_WORDS = ("No space left on device", "os error 28", "Errno 28", "Disk quota exceeded")
NO_ROOM_BYTES = 2**20  # numpy's short writes and dying kernels do not say what stopped them
LONGEST_LINE = 400


class RunError(Exception):
    """A run stopped; ``exit_code`` says in which way."""

    exit_code = 1


class RunLocked(RunError):
    """Another process is making this run."""

    exit_code = 3


class DiskFull(RunError):
    """There is no room left to write."""

    exit_code = 4


@dataclass
class NotebookError(Exception):
    """A notebook (or another part of a run) that stopped: where, why, and where to read more."""

    notebook: str
    cell: str
    error: str
    log: Path

    def __str__(self) -> str:
        return f"{self.notebook}, {self.cell}: {self.error}"


def short_path(path: Path) -> str:
    """A path as people type it: relative to the workspace where it lies in it."""
    return (
        path.relative_to(workspace()).as_posix() if path.is_relative_to(workspace()) else str(path)
    )


def is_full_disk(error: BaseException) -> bool:
    """Whether the error, or the text that a notebook's error came back with, says that the disk is
    full.
    """
    number = getattr(error, "errno", None)
    return number in (errno.ENOSPC, errno.EDQUOT) or any(
        word in str(error) for word in FULL_DISK_WORDS
    )


def one_line(text: str) -> str:
    """The text in one line. Of a long one, such as a worker's traceback, its first line and the
    error it ends with.
    """
    line = " ".join(text.split())
    causes = re.findall(r"^\s*([\w.]+(?:Error|Exception|Interrupt|Exit)\b.*)", text, re.MULTILINE)
    if len(line) > LONGEST_LINE and causes:
        line = f"{text.strip().splitlines()[0]} … {causes[-1]}"
    return line if len(line) <= LONGEST_LINE else line[:LONGEST_LINE] + " …"


@contextmanager
def only_process(lock: Path, otherwise: str) -> Iterator[None]:
    """Hold the file ``lock`` until the block ends; RunLocked with the message ``otherwise`` while
    another process holds it.
    """
    lock.parent.mkdir(parents=True, exist_ok=True)
    try:
        with FileLock(lock, timeout=0, thread_local=False):
            yield
    except Timeout:
        raise RunLocked(otherwise) from None


@contextmanager
def failures_named() -> Iterator[None]:
    """Turn a notebook's error into a RunError of one line that ends with the log; a full disk stays
    recognisable.
    """
    try:
        yield
    except NotebookError as error:
        line = one_line(str(error))
        if is_full_disk(error) or shutil.disk_usage(workspace()).free < NO_ROOM_BYTES:
            raise OSError(errno.ENOSPC, line) from error
        raise RunError(f"{line}; log: {short_path(error.log)}") from error


@contextmanager
def full_disk_named(folder: Path) -> Iterator[None]:
    """Turn the many faces of a full disk into one line that names the folder and what is free
    there.
    """
    try:
        yield
    except OSError as error:
        if not is_full_disk(error):
            raise
        folder = next(each for each in (folder, *folder.parents) if each.exists())
        free_mb = shutil.disk_usage(folder).free / 2**20
        raise DiskFull(
            f"the disk is full: {short_path(folder)} has {free_mb:.0f} MB free ({error.strerror}). "
            "Make room and run the "
            "same command again; finished stages and shards are kept"
        ) from error
