"""Files at the edges: written so that nobody ever sees half of one, read as strangers' programs
save them, and named by their contents.
"""

from __future__ import annotations

import contextlib
import csv
import errno
import hashlib
import io
import json
import os
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import polars as pl

DELIMITERS = ",;\t|"
# Larger raw folders are known by their files' sizes and times.
FINGERPRINT_LIMIT_BYTES = 512 * 2**20


def room_for(path: Path, option: str) -> Path:
    """``path`` as a place for a new file or folder, its folder made; ValueError in one line where
    it cannot be made or written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        if not os.access(path.parent, os.W_OK):
            raise PermissionError(errno.EACCES, "no permission to write there")
    except (FileExistsError, NotADirectoryError, PermissionError) as error:
        raise ValueError(
            f"{option} {path}: its folder cannot be made ({error.strerror}): name another place"
        ) from None
    return path


def room_for_file(path: Path, option: str, *, others: Iterable[Path] = ()) -> Path:
    """:func:`room_for` a file; ValueError also where it is a folder or one of the ``others`` that
    the command reads or writes.
    """
    if path.is_dir() or path.resolve() in [other.resolve() for other in others]:
        what = "a folder" if path.is_dir() else "another file of this command"
        raise ValueError(f"{option} {path} is {what}: name a new file")
    return room_for(path, option)


# a folder is cut to this share of its limit, so that not every new entry needs another look
SPARE = 0.9


def write_whole(path: Path, content: str | bytes, *, durable: bool = False) -> None:
    """Write ``content`` (text as UTF-8) under a hidden temporary name, then rename it to ``path``.

    ``durable``: it is on disk when this returns, so that a loss of power cannot undo what a later
    file relies on.
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
    """Above ``limit_bytes``, remove the files whose time is oldest until ``SPARE`` of it is left;
    the bytes then held.

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


def decode_bytes(raw: bytes) -> tuple[str, str]:
    """Any bytes as text, and the name of their encoding where it is no plain UTF-8 (else "").

    A byte order mark decides; then UTF-16 without a mark is known by its zeros; then UTF-8, with
    bad bytes replaced when most of what is not ASCII is sound; else Windows-1252.
    """
    if raw.startswith((b"\xff\xfe\x00\x00", b"\x00\x00\xfe\xff")):
        return raw.decode("utf-32", errors="replace"), "UTF-32"
    if raw.startswith((b"\xff\xfe", b"\xfe\xff")):
        return raw.decode("utf-16", errors="replace"), "UTF-16"
    even, odd = raw[:2000:2].count(0), raw[1:2000:2].count(0)
    if max(even, odd) > len(raw[:2000]) / 5 and min(even, odd) < max(even, odd) / 5:
        name = "utf-16-le" if odd > even else "utf-16-be"
        return raw.decode(name, errors="replace"), f"{name.upper()} without a mark"
    try:
        return raw.decode("utf-8-sig"), ""
    except UnicodeDecodeError:
        text = raw.decode("utf-8-sig", errors="replace")
    bad = text.count("\ufffd")
    sound = sum(ord(letter) > 127 for letter in text) - bad
    if sound > bad:
        return text, f"UTF-8 with {bad} bad places"
    return raw.decode("cp1252", errors="replace"), "Windows-1252"


def read_rows(path: Path) -> list[tuple[int, list[str]]]:
    """Rows of cells, each with the line on which it begins, in whatever encoding and with whatever
    delimiter.

    The delimiter is what a first line ``sep=;`` says, else the one of ``DELIMITERS`` that the
    header has most of. Cells are stripped; empty rows above the header are left out. ValueError
    names file, line and remedy.
    """
    text, skipped = decode_bytes(path.read_bytes())[0], 0
    first, _, rest = text.partition("\n")
    if first.strip().strip('"').lower().startswith("sep="):
        text, skipped, delimiter = rest, 1, (first.strip().strip('"')[4:] or "\t")[0]
    else:
        header = next((line for line in text.splitlines() if line.strip()), "")
        delimiter = max(DELIMITERS, key=header.count)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    rows: list[tuple[int, list[str]]] = []
    begins = 1 + skipped
    try:
        for row in reader:
            cells = [cell.strip() for cell in row]
            if any(cells) or rows:
                rows.append((begins, cells))
            begins = reader.line_num + skipped + 1
    except csv.Error as error:
        remedy = f"put double quotes around cells that hold {delimiter!r}, and close each quote"
        raise ValueError(f"{path.name}, line {begins}: {error}: {remedy}") from None
    return rows


def read_delimited(path: Path) -> pl.DataFrame:
    """:func:`read_rows` as a table of texts.

    Columns without a name are left out. Every row after the header stays, a short one filled up
    with empty cells, so that rows can be counted; ValueError where a row has more cells than the
    header, or a column stands there twice.
    """
    import polars as pl

    (_, names), *rows = read_rows(path) or [(1, [])]
    for line, cells in rows:
        if any(cells[len(names) :]):
            raise ValueError(
                f"{path.name}, line {line}: {len(cells)} cells, where the header has "
                f"{len(names)}: put double quotes "
                "around cells that hold the delimiter"
            )
    if twice := next((name for name in names if name and names.count(name) > 1), None):
        raise ValueError(f"{path.name} has the column {twice!r} twice: remove one")
    filled = [cells + [""] * (len(names) - len(cells)) for _, cells in rows]
    columns = {name: [cells[i] for cells in filled] for i, name in enumerate(names) if name}
    return pl.DataFrame(columns, schema=dict.fromkeys(columns, pl.String))


def number(text: str) -> float:
    """``0.25``, also written ``0,25`` as half of Europe does; ValueError for anything else."""
    return float(text.strip().replace(",", ".") if "." not in text else text)


def escape_unprintable(name: str) -> str:
    """A file's name in one line that every table and terminal can hold: what cannot be printed is
    escaped.
    """
    return "".join(letter if letter.isprintable() else ascii(letter)[1:-1] for letter in name)


DANGEROUS = ("=", "+", "-", "@", "\t", "\r", "\n", "'")
FREE_TEXT = ("text", "comment")  # columns that hold what people said or wrote


def guard_cells(cells: pl.Expr) -> pl.Expr:
    """Texts so that no spreadsheet runs them: an apostrophe in front of those that begin as a
    formula, or with one; ``str.strip_prefix("'")`` takes it away again.
    """
    import polars as pl

    runs = cells.str.slice(0, 1).is_in(list(DANGEROUS))
    return pl.when(runs).then("'" + cells).otherwise(cells).name.keep()


def write_csv(path: Path, frame: pl.DataFrame) -> None:
    """The table as CSV; what people said is guarded, so that opening it in a spreadsheet runs
    nothing.
    """
    import polars as pl

    said = [name for name in FREE_TEXT if name in frame.columns]
    frame.with_columns(guard_cells(pl.col(said))).write_csv(path)


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
