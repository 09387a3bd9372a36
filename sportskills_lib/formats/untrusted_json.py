"""Values out of files that strangers wrote: each is what it must be, or None. Nothing in such a
file may raise.

JSON can hold halves of characters, numbers that no float holds, NaN, keys named twice and objects a
thousand deep; a path in it may climb out of its folder. Readers ask here for a text, a number of
seconds, an id, a file, and drop the row that has none.
"""

from __future__ import annotations

import json
import math
import re
import reprlib
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

from sportskills_lib import tables

LONGEST_ID = 128  # characters; a file's name may have 255 bytes, and ids are parts of names
LONGEST_S = 1e7  # no video lasts four months
_DIGITS = 30  # a longer whole number is read as a float, which may be infinite
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d{1,3})?", re.ASCII)
_CONTROL = re.compile(r"[\x00-\x08\x0e-\x1f\x7f-\x9f]")
_SAID_YES, _SAID_NO = ("true", "yes", "1", "1.0"), ("false", "no", "0", "0.0")


class UnusableRow(ValueError):
    """A row that cannot be used: the short name of the reason, and a detail for people."""

    def __init__(self, reason: str, detail: str):
        super().__init__(detail)
        self.reason, self.detail = reason, detail


class RepeatedKeys(dict[str, Any]):
    """A JSON object that names a key more than once: the first values, and the later pairs in
    ``others``.
    """

    others: tuple[tuple[str, Any], ...] = ()


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) == len(pairs):
        return found
    first, others = RepeatedKeys(), []
    for key, value in pairs:
        if key in first:
            others.append((key, value))
        else:
            first[key] = value
    first.others = tuple(others)
    return first


def parse_json(content: str) -> Any:
    """What the JSON text says; ValueError (or RecursionError) when it is none."""
    whole = json.JSONDecoder(
        object_pairs_hook=_object,
        parse_int=lambda digits: int(digits) if len(digits) < _DIGITS else float(digits),
    )
    return whole.decode(content)


def load_json(path: Path, kind: type = object, *, remedy: str = "fetch it again") -> Any:
    """What the file says; ValueError with its name and the remedy when it cannot be read as JSON,
    or is of another ``kind`` (list, dict).
    """
    try:
        value = parse_json(path.read_text(encoding="utf-8-sig"))
    except (OSError, ValueError, RecursionError) as error:
        raise ValueError(f"{path} is not readable JSON ({preview(str(error))}): {remedy}") from None
    if not isinstance(value, kind):
        raise ValueError(f"{path} holds {preview(value)}, not a {kind.__name__}: {remedy}")
    return value


def json_lines(path: Path) -> Iterator[tuple[int, Any, str]]:
    """(number from 1, value, why there is none) of every line that is not blank; one bad line costs
    no other.

    ValueError when the file cannot be opened. A line ends with a line feed only: JSON may hold
    U+2028 as it is.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise ValueError(
            f"{path} cannot be read ({error.strerror}): name an existing file"
        ) from None
    for number, line in enumerate(content.removeprefix(b"\xef\xbb\xbf").split(b"\n"), start=1):
        if line.strip():
            try:
                yield number, parse_json(line.decode()), ""
            except (ValueError, RecursionError) as error:
                yield number, None, preview(str(error))


def preview(value: Any, limit: int = 100) -> str:
    """The value as a message may show it: short, on one line, and always possible to write."""
    try:
        said = value if isinstance(value, str) else reprlib.repr(value)
    except (ValueError, RecursionError):  # a number of too many digits; a list that is too deep
        said = f"a {type(value).__name__}"
    said = text(said[: 4 * limit]) or "''"
    return said if len(said) <= limit else said[: limit - 1] + "…"


def text(value: Any) -> str | None:
    """The text on one line, without control characters and halves of surrogate pairs; None for
    anything else.
    """
    if not isinstance(value, str):
        return None
    return " ".join(_CONTROL.sub(" ", value.encode("utf-8", "replace").decode()).split()) or None


def name(value: Any) -> str | None:
    """What somebody is called: a text, or a whole number of at most 18 digits as text; None for
    anything else.
    """
    if isinstance(value, int) and not isinstance(value, bool) and abs(value) < 10**18:
        return str(value)
    return text(value)


def identity(value: Any) -> str | None:
    """An id that is safe as a file's name, of at most 128 characters; None for anything else."""
    found = name(value) if not isinstance(value, str) else value
    fits = found is not None and len(found) <= LONGEST_ID and re.fullmatch(tables.ID_PATTERN, found)
    return found if fits else None


def seconds(value: Any, *, most: float = LONGEST_S) -> float | None:
    """A finite number of seconds, also from a text such as ``"3.5"``; None for anything else.

    ``most``: the largest that is no mistake, for numbers of another unit.
    """
    if isinstance(value, str) and len(value) < 64 and _NUMBER.fullmatch(value.strip()):
        value = float(value)
    if isinstance(value, bool) or not isinstance(value, int | float | Decimal):
        return None
    try:
        number = float(value)
    except (OverflowError, ValueError):
        return None
    return number if math.isfinite(number) and abs(number) <= most else None


def flag(value: Any) -> bool | None:
    """True or false, also from 1 and 0, "true" and "false", "yes" and "no"; None for anything
    else.
    """
    said = str(value).strip().lower() if isinstance(value, bool | int | float | str) else ""
    return True if said in _SAID_YES else False if said in _SAID_NO else None


def rows(value: Any) -> list[Any]:
    """The rows of a list; what stands there instead of one is a row that is none."""
    return value if isinstance(value, list) else [preview(value)]


def require_object(row: Any) -> dict[str, Any]:
    """The row; UnusableRow where it is no object, or names a key twice."""
    if not isinstance(row, dict):
        raise UnusableRow("bad_row", f"{preview(row)} is not an object")
    require_distinct_keys(row)
    return row


def require_distinct_keys(row: dict[str, Any]) -> None:
    """UnusableRow for an object that names a key twice: nobody can tell which value holds."""
    if isinstance(row, RepeatedKeys):
        raise UnusableRow("contradictory", f"names {preview(row.others[0][0])} twice")


def require_seconds(row: dict[str, Any], field: str) -> float | None:
    """The field as :func:`seconds`, None where it is null; UnusableRow for any other value."""
    found = seconds(row.get(field))
    if found is None and row.get(field) is not None:
        raise UnusableRow("bad_time", f"{field} {preview(row[field])} is not a number of seconds")
    return found


def find_inside(folder: Path, relative: Any, *, folders: bool = False) -> tuple[str | None, str]:
    """The path of a file (with ``folders``, also of a folder) relative to ``folder``, links
    followed; or None and why: ``missing`` or ``outside``.
    """
    if not isinstance(relative, str) or not relative:
        return None, "missing"
    try:
        root = folder.resolve()
        path = (root / relative).resolve()
        if not path.is_relative_to(root):
            return None, "outside"
        found = path.relative_to(root).as_posix()
        found.encode()  # a name that is not UTF-8 cannot stand in a table
        there = path.is_file() or (folders and path.is_dir() and path != root)
        return (found, "") if there else (None, "missing")
    except (OSError, RuntimeError, ValueError):  # too long; a link to itself; a null byte
        return None, "missing"
