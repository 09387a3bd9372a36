"""Arrays kept on disk by the content that they were computed from, the least recently used evicted.

Decoded frames, previews and visual tokens are kept here. An entry is one file: a ``.npy`` array and
a checksum. It is written under a temporary name and renamed, so a reader sees all of it or nothing;
an entry whose checksum differs is a miss and is removed. Several processes may share a folder.
"""

from __future__ import annotations

import contextlib
import io
import os
import tempfile
import zlib
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np

from sportskills_lib.formats.files import digest, evict_oldest, fingerprint_folder, sha256_file

CHECKSUM_BYTES = 4
CHECKS_PER_LIMIT = 20  # the folder's size is checked when 1/20 of the limit was written from here


class ContentStore:
    """Arrays by key in ``folder``, at most about ``limit_bytes`` of them. Pickles: workers may
    share it.
    """

    def __init__(self, folder: Path, *, limit_bytes: int):
        if limit_bytes <= 0:
            raise ValueError(
                f"a store of {limit_bytes} bytes keeps nothing: give a positive limit, or no store"
            )
        self.folder, self.limit_bytes = Path(folder), limit_bytes
        self._unchecked_bytes = limit_bytes  # written since the folder's size was checked

    def key(self, path: Path, *facts: Any) -> str:
        """The name of what is read from this file or folder with these facts (span, size, version
        …): 16 hex digits, twice.
        """
        content = fingerprint_folder(path) if path.is_dir() else self._content(path)
        return digest([content, *facts]) + digest([*facts, content])

    def get(self, key: str) -> np.ndarray | None:
        """The array, or None. A damaged entry is removed."""
        path = self._path(key)
        try:
            content = path.read_bytes()
        except OSError:
            return None
        body, checksum = content[:-CHECKSUM_BYTES], content[-CHECKSUM_BYTES:]
        try:
            if zlib.crc32(body).to_bytes(CHECKSUM_BYTES, "little") != checksum:
                raise ValueError("the checksum differs")
            array = np.load(io.BytesIO(body), allow_pickle=False)
        except (ValueError, EOFError, OSError):
            path.unlink(missing_ok=True)
            return None
        with contextlib.suppress(OSError):
            os.utime(path)  # used now: eviction goes by this time
        return array

    def put(self, key: str, array: np.ndarray) -> None:
        """Keep the array. A full disk or a folder that cannot be written costs the entry, not the
        run.
        """
        buffer = io.BytesIO()
        np.save(buffer, array, allow_pickle=False)
        body = buffer.getbuffer()
        if len(body) > self.limit_bytes:
            return
        with contextlib.suppress(OSError):
            self._write(self._path(key), body, zlib.crc32(body).to_bytes(CHECKSUM_BYTES, "little"))
            self._unchecked_bytes += len(body)
            if self._unchecked_bytes * CHECKS_PER_LIMIT >= self.limit_bytes:
                self._unchecked_bytes = 0
                self.evict()

    def __contains__(self, key: str) -> bool:
        return self._path(key).is_file()

    def _path(self, key: str) -> Path:
        return self.folder / key[:2] / f"{key}.npy"

    def _content(self, path: Path) -> str:
        """The file's sha256; remembered by its name, size and time, so that a long file is hashed
        once.
        """
        facts = path.stat()
        note = (
            self.folder
            / "contents"
            / digest([str(path.resolve()), facts.st_size, facts.st_mtime_ns])
        )
        with contextlib.suppress(OSError):
            if len(text := note.read_text()) == 64:
                return text
        content = sha256_file(path)
        with contextlib.suppress(OSError):
            self._write(note, content.encode())
        return content

    def _write(self, path: Path, *parts: bytes | memoryview) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=path.parent, suffix=".tmp")
        try:
            with os.fdopen(handle, "wb") as file:
                for part in parts:
                    file.write(part)
            Path(name).replace(path)
        except BaseException:
            Path(name).unlink(missing_ok=True)
            raise

    def evict(self, limit_bytes: int | None = None) -> int:
        """Remove what was used longest ago until at most ``limit_bytes`` (default: the store's
        limit) are left, with what killed writers left; returns how many bytes are.
        """
        # the second: visual tokens as version 0.1 kept them at first, a folder per tower
        files = chain(self.folder.glob("??/*"), self.folder.glob("*/??/*"))
        return evict_oldest(files, self.limit_bytes if limit_bytes is None else limit_bytes)
