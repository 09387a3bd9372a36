"""How a notebook shows a table: text to the left, numbers to the right and short, nothing that
stands for machinery.

polars' own HTML quotes every text, prints six digits, a row of types and the shape, and puts text
to the right. A reader needs none of that, and a wide table runs off the page. What is shown is
rounded; what is saved has all digits.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sportskills_lib.plots import style

if TYPE_CHECKING:
    import polars as pl

MOST_ROWS = 60  # a longer table is cut in the middle, and says so
LONGEST = 240  # characters of a cell
DIGITS = 3  # decimals of a column whose values need more
NOTHING = 1e-6  # smaller values are shown as 0
TEMPLATE = "notebook_table.jinja"  # beside this module


def install() -> None:
    """Within IPython, show every polars table as :func:`html` does; elsewhere do nothing. polars is
    not imported.
    """
    if "IPython" not in sys.modules:
        return
    from IPython.core.getipython import get_ipython

    shell = get_ipython()
    if shell is not None and shell.display_formatter is not None:
        formatter = shell.display_formatter.formatters["text/html"]
        formatter.for_type_by_name("polars.dataframe.frame", "DataFrame", html)


def html(frame: pl.DataFrame) -> str:
    """The table as HTML that can be nothing but text; names may break at their underscores."""
    from jinja2 import Environment

    left_out = frame.height - MOST_ROWS if frame.height > MOST_ROWS else 0
    last = MOST_ROWS // 4 if left_out else 0
    shown = frame.head(MOST_ROWS - last).vstack(frame.tail(last))
    sides = ["right" if kind.is_numeric() else "left" for kind in frame.dtypes]
    text = Path(__file__).with_name(TEMPLATE).read_text(encoding="utf-8")
    return (
        Environment(autoescape=True)
        .from_string(text)
        .render(
            columns=list(zip(frame.columns, sides, strict=True)),
            rows=text_rows(shown),
            first=MOST_ROWS - last,
            left_out=left_out,
            height=frame.height,
        )
    )


def text_rows(frame: pl.DataFrame) -> list[tuple[str, ...]]:
    """The rows of the table as plain text (:func:`cells`)."""
    return list(zip(*(cells(column.to_list()) for column in frame.get_columns()), strict=True))


def cells(values: Sequence[Any]) -> list[str]:
    """A column's values as plain text, floats with as few decimals as the column needs: all, up to
    4, or DIGITS.
    """
    numbers = [value for value in values if isinstance(value, float) and math.isfinite(value)]
    needed = (
        k
        for k in range(DIGITS + 2)
        if all(abs(value - round(value, k)) < 1e-9 for value in numbers)
    )
    digits = next(needed, DIGITS)
    return [_text(value, digits) for value in values]


def interval(
    value: float | None, low: float | None, high: float | None, *, sign: bool = False
) -> str:
    """``0.42 [0.37, 0.47]``; without brackets where there is no interval, a dash without a value.

    Two decimals, and more (at most four) where two would round a number to 0; ``sign`` adds a plus.
    """
    if value is None:
        return "–"
    least = min((abs(number) for number in (value, low, high) if number), default=1.0)
    digits = next((digits for digits in (2, 3) if least >= 0.5 * 10**-digits), 4)
    head = f"{value:{'+' if sign else ''}.{digits}f}"
    ends = "" if low is None or high is None else f" [{low:.{digits}f}, {high:.{digits}f}]"
    return (head + ends).replace("-", "−")


def _text(value: Any, digits: int) -> str:
    if value is None or value != value:  # NaN is not itself
        return "–"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}".replace("-", "−")
    if isinstance(value, float):
        rest = (
            0.0 if abs(value) < NOTHING else value
        )  # a difference of equal numbers, summed in another order
        return (
            f"{rest:.1g}" if 0 < abs(rest) < 1e-3 and digits == DIGITS else f"{rest:,.{digits}f}"
        ).replace("-", "−")
    if isinstance(value, list | tuple):
        return ", ".join(_text(one, digits) for one in value)
    return style.plain(str(value)[: LONGEST + 1], limit=LONGEST)
