"""How a notebook shows a table."""

import math

import polars as pl

from sportskills_lib.plots import notebook_tables


def test_floats_have_the_decimals_that_their_column_needs() -> None:
    assert notebook_tables.cells([0.30000000000000004, 1.0]) == ["0.3", "1.0"]
    assert notebook_tables.cells([0.0005, 0.002]) == ["0.0005", "0.0020"]
    assert notebook_tables.cells([1 / 3, -2 / 3, 1234.5]) == ["0.333", "−0.667", "1,234.500"]
    assert notebook_tables.cells([24.0, 3.0]) == ["24", "3"]


def test_small_is_not_shown_as_nothing_and_nothing_not_as_small() -> None:
    assert notebook_tables.cells([0.00048828125, 0.123456]) == ["0.0005", "0.123"]
    assert notebook_tables.cells([-7e-8, 1 / 3]) == ["0.000", "0.333"]


def test_other_values_are_words() -> None:
    assert notebook_tables.cells([True, False, None]) == ["yes", "no", "–"]
    assert notebook_tables.cells([math.nan, math.inf, 0.5]) == ["–", "inf", "0.5"]
    assert notebook_tables.cells([["a", "b"], []]) == ["a, b", ""]
    assert notebook_tables.cells([5770, -1]) == ["5,770", "−1"]


def test_text_of_strangers_stays_text() -> None:
    page = notebook_tables.html(
        pl.DataFrame({"<b>": ["<script>alert(1)</script>", "a\u202eb", "x" * 10_000]})
    )
    assert "<script" not in page and "<b>" not in page and "\u202e" not in page
    assert len(page) < 2_000


def test_a_long_table_says_what_it_leaves_out() -> None:
    page = notebook_tables.html(pl.DataFrame({"n": range(1000)}))
    assert page.count("<tr>") == notebook_tables.MOST_ROWS + 2
    assert "940 rows are left out here" in page
    assert "no rows" in notebook_tables.html(pl.DataFrame({"n": []}))


def test_outside_a_notebook_nothing_is_installed() -> None:
    notebook_tables.install()
