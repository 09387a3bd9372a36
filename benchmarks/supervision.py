"""How good weak supervision is, by the demo's truth: positives, and each kind of negative, with and
without the masks.

    python benchmarks/supervision.py --run demo [--model FOLDER_OR_HUB_ID …] [--lessons]

Truth of a pair: the clip is of the learner's sport and skill and its coach speaks of the fault that
the learner shows. No stage reads that. Printed for each reading of the texts: precision and recall
of the positives (recall among all true pairs of the split), and for each kind of negative how many
rows there are and what share of them is false, a true pair.
"""

from __future__ import annotations

import argparse
from typing import Any

import numpy as np
import polars as pl

from sportskills_lib.config import RetrievalConfig
from sportskills_lib.evaluation import demo_truth
from sportskills_lib.retrieval import stage as retrieval_stage
from sportskills_lib.retrieval.supervision import build as build_module
from sportskills_lib.retrieval.supervision.build import build_lesson_supervision, lesson_learners
from sportskills_lib.retrieval.supervision.labelling import build_supervision
from sportskills_lib.runs import artifacts

TRUTH = "data/raw/demo/truth"
OFF = {"mask_against": "none"}
MINED = {"mined_negatives": 8}


def true_faults(learners: pl.DataFrame) -> pl.DataFrame:
    """learner_id, fault: what each learner truly does wrong, the commented moment nearest to the
    middle of its clip.
    """
    truth = pl.read_parquet(artifacts.workspace() / TRUTH / "learners.parquet")
    both = learners.join(
        truth.select(take_id="take_uid", moment="video_time", fault="execution"), on="take_id"
    )
    both = both.filter(pl.col("moment").is_between("start_s", "end_s"))
    away = ((pl.col("start_s") + pl.col("end_s")) / 2 - pl.col("moment")).abs()
    return both.sort(away).unique("learner_id", keep="first").select("learner_id", "fault")


def scores(table: pl.DataFrame, people: pl.DataFrame, shown: pl.DataFrame) -> pl.DataFrame:
    """A row for the positives and for each reason: rows, the share of true pairs; for positives
    recall as well.
    """
    near = people.join(
        shown,
        left_on=["sport", "skill", "split", "fault"],
        right_on=["sport", "skill", "split", "cue"],
    )
    near = near.filter(pl.col("learner_id") != pl.col("clip_id")).select(
        "learner_id", "clip_id", true=pl.lit(True)
    )
    named = table.join(near, on=["learner_id", "clip_id"], how="left").with_columns(
        pl.col("true").fill_null(False)
    )
    kind = pl.when(pl.col("label") > 0).then(pl.lit("positives")).otherwise("reason")
    found = named.group_by(kind=kind).agg(
        rows=pl.len(), true=pl.col("true").mean(), hits=pl.col("true").sum()
    )
    recall = pl.when(pl.col("kind") == "positives").then(pl.col("hits") / max(near.height, 1))
    return found.select("kind", "rows", pl.col("true").round(4), recall=recall.round(3)).sort(
        "kind"
    )


def main() -> None:
    """Print a table for each reading and setting."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--run", default="demo")
    parser.add_argument(
        "--model", action="append", default=[], help=("a text model of transformers")
    )
    parser.add_argument(
        "--lessons",
        action="store_true",
        help=("mistakes in training lessons, in place of learners"),
    )
    wanted = parser.parse_args()
    library = retrieval_stage.open_library(wanted.run)
    stage = artifacts.open_stage(wanted.run, "04_retrieval")
    learners, frames = (
        stage.table("learners"),
        np.load(stage.path("learner_frames.npy"), mmap_mode="r"),
    )
    groups = demo_truth.true_groups(TRUTH, library.clips, splits=("train", "val")).select(
        "clip_id", "cue", "execution"
    )
    text = pl.col("split").cast(pl.String)
    shown = library.clips.with_columns(text).join(groups, on="clip_id").select(
        "clip_id", "sport", "skill", "split", "cue", "execution"
    )  # fmt: skip
    people = learners.filter(pl.col("is_mistake")).join(true_faults(learners), on="learner_id")
    if wanted.lessons:
        people = lesson_learners(library.clips, library.texts).join(
            shown.select(learner_id="clip_id", fault="execution"), on="learner_id"
        )
    people = people.select("learner_id", "sport", "skill", text, "fault").filter(
        pl.col("split") != "test"
    )
    first = build_module.first_stage(learners, frames, library, RetrievalConfig())
    for name, shares in {
        "tfidf": (0.2, 0.05),
        "tower": (0.8, 0.2),
        **dict.fromkeys(wanted.model, (0.8, 0.2)),
    }.items():
        for masks in (OFF, {}):
            given: dict[str, Any] = {
                "text_similarity": name,
                "positive_share": shares[0],
                "negative_share": shares[1],
            }
            config = RetrievalConfig(**given, **MINED, **masks)
            build = build_lesson_supervision if wanted.lessons else build_supervision
            readers: dict[str, Any] = build_module.readings(learners, library, config)
            table = build(
                learners, library.clips, library.texts, config, first_stage=first, **readers
            )
            print(f"{name}, masks {'off' if masks else 'on'}")
            with pl.Config(tbl_rows=-1, fmt_str_lengths=60, tbl_hide_dataframe_shape=True):
                print(scores(table, people, shown), flush=True)


if __name__ == "__main__":
    main()
