"""Tables as spreadsheets save them: commas, semicolons or tabs; UTF-8, UTF-16 or Windows' letters; decimal commas."""

from __future__ import annotations

import codecs
import csv
import io
from pathlib import Path

SEPARATORS = ",;\t"


def read_rows(path: Path) -> list[tuple[int, list[str]]]:
    """The rows of cells, numbered as a spreadsheet shows them, the header first; ValueError when it is no table.

    Rows without any letter are left out.

    The separator is the one that parts most cells of the header, or what a first line ``sep=;`` says.
    """
    text = decode(path.read_bytes())
    first, _, rest = text.partition("\n")
    if first.strip().lower().startswith("sep=") and len(first.strip('"\r')) >= 5:
        separator, text = first.strip('"\r')[4], rest
    else:
        separator = max(SEPARATORS, key=lambda each: len(next(csv.reader([first], delimiter=each), [])))
    try:
        rows = list(csv.reader(io.StringIO(text, newline=""), delimiter=separator))
    except csv.Error as error:
        raise ValueError(f"{path} is no table of cells ({error}): save it as CSV, in UTF-8") from None
    return [(place, row) for place, row in enumerate(rows, 1) if any(cell.strip() for cell in row)]


def decode(content: bytes) -> str:
    """The text of a file by its mark; without one UTF-16 if every other byte is zero, UTF-8, or Windows' letters."""
    if content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return content.decode("utf-16", errors="replace")
    for order, places in (("utf-16-le", slice(1, 200, 2)), ("utf-16-be", slice(0, 200, 2))):
        if len(content) > 1 and not any(content[places]):
            return content.decode(order, errors="replace")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError:
        return content.decode("cp1252", errors="replace")


def number(text: str) -> float:
    """``0.25``, also written ``0,25``; ValueError for anything else."""
    return float(text.strip().replace(",", ".") if "." not in text else text)
