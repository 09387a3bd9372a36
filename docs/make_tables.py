"""docs/tables.md from tables.py: every table that stages share, with its columns, rules and the
comments beside them.

``python docs/make_tables.py > docs/tables.md`` writes it again; a test says when
that is due.
"""

from __future__ import annotations

import inspect
import re
import sys
from pathlib import Path

import dataframely as dy

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from sportskills_lib import tables

# Where each table lies below data/runs/<run>/.
FILES = {
    "Videos": "01_curation/videos.parquet",
    "Narrations": "01_curation/narrations.parquet",
    "Clips": "02_pairing/clips.parquet",
    "Pairs": "02_pairing/pairs.parquet",
    "Embeddings": "03_encoder/embeddings.parquet",
    "Learners": "04_retrieval/learners.parquet",
    "Rankings": "04_retrieval/rankings.parquet, library_rankings.parquet, variants.parquet",
    "Judgements": "05_evaluation/judgements.parquet",
    "Scores": "05_evaluation/recall.parquet, feedback.parquet, 06_analysis/understanding.parquet",
    "Dropped": "dropped.parquet of every stage",
}
HEAD = """# The tables

Every table that stages share, as `sportskills_lib/tables.py` has it: this page is made from it by
`python docs/make_tables.py`, and a test compares the two. Tables are Parquet below `data/runs/<run>/`,
checked when they are written and when they are opened. Times are seconds from the start of the video. An id holds
letters, digits and `_ . : -`, with no slash and no leading dot, so that it is safe as a file name.

Rules between tables are checked, too: every id that a table names stands in the table it comes from; spans end inside
their video; no video, channel or participant stands in two splits; ranks run from 1 without gaps, scores never rise,
and ties stand in order of clip_id.
"""


def markdown() -> str:
    """The whole page."""
    page = HEAD
    for name, place in FILES.items():
        schema = getattr(tables, name)
        page += f"\n## {name.lower()}\n\n{inspect.getdoc(schema)}\n\n`{place}`\n\n"
        page += "| column | type | rule | meaning |\n|---|---|---|---|\n"
        said = _comments(schema)
        for column, kind in schema.columns().items():
            page += f"| `{column}` | {_type(kind)} | {_rules(kind)} | {said.get(column, '')} |\n"
    return page


def _comments(schema: type[dy.Schema]) -> dict[str, str]:
    """The comments behind the columns, of the class and of those that it builds on."""
    found: dict[str, str] = {}
    for each in reversed(schema.__mro__):
        if issubclass(each, dy.Schema) and each.__module__ == tables.__name__:
            found |= dict(
                re.findall(
                    r"^    (\w+) = .*?  # (.+)$", inspect.getsource(each), flags=re.MULTILINE
                )
            )
    return found


def _type(column: dy.Column) -> str:
    """The type in words: text, number, whole number, yes or no, one of …, list of …."""
    if isinstance(column, dy.Enum):
        return "one of " + ", ".join(f"`{name}`" for name in column.categories)
    if isinstance(column, dy.List):
        return "list of " + type(column.inner).__name__.lower()
    names = {
        dy.String: "text",
        dy.Float64: "number",
        dy.Int64: "whole number",
        dy.Bool: "yes or no",
    }
    return names[type(column)]


def _rules(column: dy.Column) -> str:
    """Key, may be missing, bounds, pattern."""
    said = ["key"] if column.primary_key else []
    said += ["may be missing"] if column.nullable else []
    bounds = {
        "min": "≥",
        "min_exclusive": ">",
        "max": "≤",
        "max_exclusive": "<",
        "min_length": "length ≥",
    }
    said += [
        f"{sign} {value:g}"
        for name, sign in bounds.items()
        if (value := getattr(column, name, None)) is not None
    ]
    said += ["an id"] if getattr(column, "regex", None) == tables.ID_PATTERN else []
    return ", ".join(said)


if __name__ == "__main__":
    print(markdown(), end="")
