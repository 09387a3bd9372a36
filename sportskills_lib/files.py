"""Writing files so that a reader, or the next run after a kill, sees the old file or the new one and never half."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable
from pathlib import Path

SPARE = 0.9  # a folder is cut to this share of its limit, so that not every new entry needs another look


def write_whole(path: Path, content: str | bytes, *, durable: bool = False) -> None:
    """Write ``content`` (text as UTF-8) under a hidden temporary name, then rename it to ``path``.

    ``durable``: it is on disk when this returns, so that a loss of power cannot undo what a later file relies on.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    with temporary.open("wb") as file:
        file.write(content.encode() if isinstance(content, str) else content)
        if durable:
            file.flush()
            os.fsync(file.fileno())
    temporary.replace(path)
    if durable:
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)


def evict_oldest(entries: Iterable[Path], limit_bytes: int) -> int:
    """Above ``limit_bytes``, remove the files whose time is oldest until ``SPARE`` of it is left; the bytes then held.

    Files that vanish meanwhile (another process evicts, too) are no error.
    """
    found = []
    for path in entries:
        with contextlib.suppress(OSError):
            facts = path.stat()
            found.append((facts.st_mtime_ns, facts.st_size, path))
    total = sum(size for _, size, _ in found)
    if total <= limit_bytes:
        return total
    for _, size, path in sorted(found, key=lambda entry: entry[0]):
        if total <= SPARE * limit_bytes:
            break
        path.unlink(missing_ok=True)
        total -= size
    return total
