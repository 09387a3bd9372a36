"""Decoded frames kept on disk by what they are: content of the file, span, size, version of the
reader.

An entry is one array in one file: a head with its type and shape, its bytes, and a checksum. It is
written under a temporary name and renamed, so that a reader sees all of it or nothing; an entry
that does not check is a miss and is removed. The oldest used entries go when the folder is larger
than its limit. Several processes may share a folder.
"""

from __future__ import annotations

import contextlib
import io
import os
import tempfile
import zlib
from pathlib import Path
from typing import Any

import numpy as np

from sportskills_lib.formats.files import evict_oldest
from sportskills_lib.runs.fingerprints import digest, sha256_file

CHECKSUM_BYTES = 4
LOOKS = (
    20  # the folder's size is looked at when this share of the limit was written by this process
)


class FrameCache:
    """Arrays by key in ``folder``, at most about ``limit_bytes`` of them. Pickles: workers may
    share it.
    """

    def __init__(self, folder: Path, *, limit_bytes: int):
        if limit_bytes <= 0:
            raise ValueError(
                f"a frame cache of {limit_bytes} bytes holds nothing: give a positive limit, "
                "or no cache"
            )
        self.folder, self.limit_bytes = Path(folder), limit_bytes
        self._unseen_bytes = limit_bytes  # written since the folder's size was looked at

    def key(self, path: Path, *facts: Any) -> str:
        """The name of what is read from this file with these facts (span, size, version …): 16 hex
        digits, twice.
        """
        content = self._content(path)
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
            self._unseen_bytes += len(body)
            if self._unseen_bytes * LOOKS >= self.limit_bytes:
                self._evict()

    def __contains__(self, key: str) -> bool:
        return self._path(key).is_file()

    def _path(self, key: str) -> Path:
        return self.folder / key[:2] / f"{key}.frames"

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

    def _evict(self) -> None:
        """Remove what was used longest ago until the folder is below its limit, and what killed
        writers left.
        """
        self._unseen_bytes = 0
        evict_oldest(self.folder.glob("??/*"), self.limit_bytes)
