"""The report's figures: copied beside the page with their rows (CSV, LaTeX), and inlined at the
size that a page shows.

05 saves each figure with the rows that it draws. Figures of earlier stages are drawn from tables
that those stages save: the rows are written here, so that every figure in ``figures/`` has its data
beside it.
"""

from __future__ import annotations

import base64
import shutil
import struct
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import polars as pl

from sportskills_lib import metrics
from sportskills_lib.plots import style
from sportskills_lib.report import page_content, save
from sportskills_lib.runs import artifacts

CAPTIONS = {
    "corpus": "The corpus: clips by sport, how long they last, how many words are said over them.",
    "differences": "narrations minus skill labels by sport, paired, with 95 % intervals; "
    "hollow: the interval includes 0. "
    "Behind each sport: its queries.",
    "encoders": "Every encoder with and without narrations, by sport (queries), in equal-sized "
    "galleries, with 95 % "
    "intervals; dotted: chance.",
    "encoders_appendix": "The remaining sports.",
    "understanding": "Frozen encoders: linear probes, minimal pairs, and the choice of one "
    "comment among five; "
    "with 95 % intervals, dotted: chance.",
    "cue_kinds": "Clips and narrations of mistakes, by what one has to see to tell them: a "
    "pose, or timing; "
    "with 95 % intervals, dotted: chance.",
    "filmstrips": (
        "Queries, their own clip, and the first five retrieved. Each picture is four "
        "moments of a clip."
    ),
    "feedback": (
        "Feedback retrieval by system, with 95 % intervals over participants; dotted: chance."
    ),
    "shortlist_depth": f"{metrics.at_k('nDCG')} by seconds, over the depth of the shortlist, and "
    "by the relevance model's weight; "
    "bands: 95 % intervals over participants.",
    "feedback_filmstrips": "Learners (left), and the first clips that each system offers them, "
    "with the raters' mean "
    "grades; the last row is a failure. The expert's words are for the reader: no model is "
    "given them.",
    "rank_changes": "The rank of each query's own clip under skill labels and under "
    "narrations, in bands; a ribbon is "
    "as high as its share of the queries.",
    "01_curation_funnel": "01: what was kept of the lessons, and what was dropped.",
    "02_pairing_funnel": "02: from sentences to clips, and what was dropped.",
    "02_pairing_motion": "02: how much moves in what was kept and in what was not.",
    "02_pairing_contact_sheet": "02: some of the clips, with what is said over them.",
    "03_encoder_learning_curves": "03: training loss and validation recall of each arm.",
    "04_retrieval_positives": "04: the clips that weak supervision calls helpful to learners.",
    "04_retrieval_curve": "04: the relevance model's training.",
    "04_retrieval_reliability": (
        "04: how often pairs are labelled helpful, by the probability that the model states."
    ),
    "curves": "Training loss and validation recall of each arm.",
    "per_sport_recall": f"{metrics.at_k('recall')} by sport with 95 % intervals (source videos "
    "resampled within sport); N test clips, "
    "n queries. The mean is over all evaluable sports. Dotted: chance.",
    "per_sport_recall_appendix": "The remaining evaluable sports.",
    "macro_means": "Macro means over all evaluable sports, with 95 % intervals; dotted: chance.",
    "per_sport_recall_fixed": (
        "The same in equal-sized galleries in every sport (exact expectation over draws)."
    ),
    "per_sport_recall_appendix_fixed": "The remaining sports, in equal-sized galleries.",
    "macro_means_fixed": (
        "Macro means in equal-sized galleries, with 95 % intervals; dotted: chance."
    ),
}

PAGE_DPI = 140  # pixels of the page for an inch in print
FILES = (*style.SUFFIXES, "csv", "tex")
# The rows that a figure of an earlier stage draws: its table and the columns (all, where none is
# named).
DRAWN_FROM: dict[tuple[str, str], tuple[str, tuple[str, ...]]] = {
    ("01_curation", "funnel"): ("dropped", ()),
    ("02_pairing", "funnel"): ("dropped", ()),
    ("02_pairing", "motion"): ("judged", ("clip_id", "said", "moved")),
    ("02_pairing", "contact_sheet"): ("clips", ("clip_id", "sport", "skill", "demonstration")),
    ("03_encoder", "learning_curves"): ("curves", ()),
    ("04_retrieval", "positives"): ("rows_a_learner", ()),
    ("04_retrieval", "curve"): ("curves", ()),
    ("04_retrieval", "reliability"): ("reliability", ()),
}


def copy(run: str, place: Path, folders: Sequence[Path]) -> None:
    """All figures of the run to ``place``: those of 05 to 07 (``folders``, the last stage first) by
    name, those of 01–04 behind their stage's.
    """
    place.mkdir()
    paths = [path for folder in reversed(folders) for path in sorted(folder.glob("figures/*.*"))]
    for path in paths:
        shutil.copyfile(path, place / path.name)
        if path.stem == "per_sport_recall" and path.suffix in (".png", ".svg", ".pdf"):
            shutil.copyfile(path, place.parent / path.name)
    for stage in artifacts.STAGES[:4]:
        reader = artifacts.open_stage(run, stage)
        for path in sorted((reader.folder / "figures").glob("*.*")):
            shutil.copyfile(path, place / f"{stage}_{path.name}")
            if path.suffix == ".png":
                _write_rows(reader, path.stem, place)


def _write_rows(reader: artifacts.StageReader, name: str, place: Path) -> None:
    """CSV and LaTeX of what the figure draws, where its table is there."""
    stage = reader.manifest["stage"]
    table, columns = DRAWN_FROM.get((stage, name), ("", ()))
    if f"{table}.parquet" not in reader.manifest["outputs"]:
        return
    frame = reader.table(table)
    if table == "dropped":
        frame = page_content.dropped_counts({stage: frame})
    wanted = [column for column in columns or frame.columns if column in frame.columns]
    flat = [column for column in wanted if not isinstance(frame.schema[column], pl.List)]
    save.write_data(place, f"{stage}_{name}", frame.select(flat))


def inlined(
    place: Path,
    names: tuple[str, ...] | None,
    *,
    prefix: str = "",
    captions: Mapping[str, str] = CAPTIONS,
) -> list[dict[str, Any]]:
    """The figures ``names`` below ``place/figures`` (or all that begin with ``prefix``), with links
    to their files.
    """
    folder = place / "figures"
    stems = (
        names
        if names is not None
        else tuple(sorted(path.stem for path in folder.glob(f"{prefix}*.png")))
    )
    found = []
    for stem in stems:
        path = folder / f"{stem}.png"
        if not path.is_file():
            continue
        caption = captions.get(stem, stem.replace("_", " "))
        data = "data:image/png;base64," + base64.b64encode(save.halved(path)).decode()
        files = [
            (kind.upper(), f"figures/{stem}.{kind}")
            for kind in FILES
            if (folder / f"{stem}.{kind}").is_file()
        ]
        known = {
            "name": stem,
            "data": data,
            "alt": caption,
            "caption": caption,
            "width_px": _shown_width(path.read_bytes()),
        }
        found.append(known | {"files": files})
    return found


def _shown_width(png: bytes) -> int:
    """Pixels on the page, from the width and the density that the file names (72 to the inch
    without).
    """
    width = struct.unpack(">I", png[16:20])[0]
    at = png.find(b"pHYs")
    per_inch = struct.unpack(">I", png[at + 4 : at + 8])[0] * 0.0254 if at > 0 else 72.0
    return min(round(width / per_inch * PAGE_DPI), 1040)
