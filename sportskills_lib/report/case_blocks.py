"""What the report shows moving: the picked queries and learners, each with the clips that systems
offered first.

Films are files beside the page (``previews/``), so that the page stays small; their stills are in
the page, so that it can be sent alone. Texts come from strangers: the template escapes them, and
each is kept from turning the text around it.
"""

from __future__ import annotations

import base64
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import polars as pl

from sportskills_lib import metrics
from sportskills_lib.plots import style
from sportskills_lib.report import case_figures

MAX_LETTERS = 300


def copy_films(folders: Sequence[Path], place: Path) -> None:
    """The films of the first of these folders that has some, to ``place/previews``."""
    shutil.rmtree(place / "previews", ignore_errors=True)
    if source := next((f / "previews" for f in folders if (f / "previews").is_dir()), None):
        shutil.copytree(source, place / "previews")


def queries(shown: pl.DataFrame, films: pl.DataFrame) -> list[dict[str, Any]]:
    """A block for each picked query: its head, its text, and films of its own clip and of what was
    retrieved.
    """
    known = by_item(films)
    blocks = []
    for part in _cases(shown, "query_id"):
        first = part.row(0, named=True)
        place = f"own clip at rank {first['own_rank']:.0f}"
        if first["baseline_rank"] is not None:
            place += f", under skill labels at {first['baseline_rank']:.0f}"
        marked = [
            (clip, *_marked(rank, mark))
            for rank, clip, mark in part.select("rank", "clip_id", "mark").rows()
        ]
        blocks.append(
            {
                "head": f"{first['kind']} · {cut(first['sport'])}: {place}",
                "text": cut(first["text"]),
                "rows": [{"name": "", "films": [film(known, *each) for each in marked]}],
            }
        )
    return blocks


def _marked(rank: int, mark: str) -> tuple[str, str]:
    if rank == 0:
        return "its own clip", style.BLACK
    return f"{rank} {case_figures.MARK_SIGNS[mark]} {mark}", case_figures.MARK_COLOURS[mark]


def learners(offered: pl.DataFrame, films: pl.DataFrame) -> list[dict[str, Any]]:
    """A block for each picked learner: the learner's clip, then what each system offered first,
    with mean grades.
    """
    known, label = by_item(films), metrics.at_k("nDCG")
    blocks = []
    for part in _cases(offered, "learner_id"):
        first, rows = part.row(0, named=True), []
        for system in dict.fromkeys(part["system"]):
            own = part.filter(pl.col("system") == system)
            told = "" if own["value"][0] is None else f", {label} {own['value'][0]:.2f}"
            marked = [_graded(*each) for each in own.select("rank", "clip_id", "grade").rows()]
            rows.append(
                {"name": f"{system}{told}", "films": [film(known, *each) for each in marked]}
            )
        rows.insert(
            0, {"name": "", "films": [film(known, first["learner_id"], "the learner", style.BLACK)]}
        )
        head = f"{first['kind']} · {cut(first['sport'])}"
        blocks.append({"head": head, "text": cut(first["comment"] or ""), "rows": rows})
    return blocks


def _graded(rank: int, clip_id: str, grade: float | None) -> tuple[str, str, str]:
    if grade is None:
        return clip_id, f"{rank} not graded", style.GREY
    return (
        clip_id,
        f"{rank} grade {grade:.1f}",
        case_figures.GRADE_COLOURS[min(int(grade + 0.5), 3)],
    )


def _cases(table: pl.DataFrame, key: str) -> list[pl.DataFrame]:
    return table.partition_by(key, maintain_order=True) if table.height else []


def by_item(films: pl.DataFrame) -> dict[str, dict[str, Any]]:
    """The rows of the table of films by item."""
    return {row["item_id"]: row for row in films.iter_rows(named=True)}


def film(
    known: Mapping[str, dict[str, Any]], item_id: str, label: str, colour: str
) -> dict[str, Any]:
    """One film as the template draws it; an item of which nothing is known has only its label and
    its id.
    """
    row = known.get(
        item_id,
        {"file": "", "still": b"", "said": "", "origin": item_id, "reason": "no film was kept"},
    )
    still = (
        "data:image/webp;base64," + base64.b64encode(row["still"]).decode() if row["still"] else ""
    )
    texts = {name: cut(row[name]) for name in ("said", "origin", "reason")}
    return texts | {"label": label, "colour": colour, "file": row["file"], "still": still}


def cut(text: str) -> str:
    """At most MAX_LETTERS of a stranger's text, without what turns it around."""
    return style.plain(text, limit=MAX_LETTERS)
