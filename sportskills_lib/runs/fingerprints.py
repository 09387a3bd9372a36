"""Names for contents: of values, files and raw folders."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

# Larger raw folders are known by their files' sizes and times.
FINGERPRINT_LIMIT_BYTES = 512 * 2**20


def sha256_file(path: Path) -> str:
    """The file's sha256, in hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def digest(value: Any) -> str:
    """A short, stable name of anything that JSON can hold."""
    return hashlib.sha256(json.dumps(value, sort_keys=True, default=str).encode()).hexdigest()[:16]


def fingerprint_folder(folder: Path) -> str:
    """A digest of all files below ``folder`` (or of the one file): a change of any changes the
    fingerprint.

    Of a small folder (up to FINGERPRINT_LIMIT_BYTES) names and contents, so that files made again
    alike count as unchanged; of a larger one, which may hold terabytes, names, sizes and
    modification times.
    """
    if not folder.exists():
        raise ValueError(
            f"source folder {folder} does not exist: name an existing folder with --source"
        )
    base = folder if folder.is_dir() else folder.parent
    paths = [
        path
        for path in sorted(folder.rglob("*") if folder.is_dir() else [folder])
        if path.is_file()
    ]
    facts = [(path.relative_to(base).as_posix(), path.stat()) for path in paths]
    if sum(stat.st_size for _, stat in facts) <= FINGERPRINT_LIMIT_BYTES:
        return digest([(name, sha256_file(base / name)) for name, _ in facts])
    return digest([(name, stat.st_size, stat.st_mtime_ns) for name, stat in facts])
