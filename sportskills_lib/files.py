"""Writing files so that a reader, or the next run after a kill, sees the old file or the new one and never half."""

from __future__ import annotations

import os
from pathlib import Path


def room_for(path: Path, option: str) -> Path:
    """``path`` as a place for a new file or folder, its folder made; ValueError in one line where it cannot be made."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError, PermissionError) as error:
        raise ValueError(f"{option} {path}: its folder cannot be made ({error.strerror}): name another place") from None
    return path


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
