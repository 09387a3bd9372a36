"""A member of a sweep without notebooks: `python -m sweep_stand_in <run>` does what `sportskills
reproduce` would do.

Stages write a few numbers that follow from their settings, so that a table over members can be
checked by hand.
"""

from __future__ import annotations

import os
import sys
import time

import numpy as np
import polars as pl

from sportskills_lib import tables
from sportskills_lib.evaluation import feedback, summary
from sportskills_lib.runs import artifacts, pipeline
from sportskills_lib.runs.artifacts import STAGES
from sportskills_lib.runs.errors import NotebookError, RunError

ARMS = ("zero_shot", "activity_skill", "narrations")
SPORTS, QUERIES = ("golf", "judo"), 12


def chance_of(arm: str, seed: int, loss: str) -> float:
    """The share of queries that an arm answers: more for narrations, a little more with the sigmoid
    loss.
    """
    return (
        {"zero_shot": 0.25, "activity_skill": 0.5, "narrations": 0.75}[arm]
        + (loss == "siglip") / 12
        - seed / 12
    )


def scores_of(seed: int, loss: str) -> pl.DataFrame:
    rows = []
    for arm in ARMS:
        right = round(QUERIES * (chance_of(arm, seed, loss) if arm != "zero_shot" else 0.25))
        for sport in SPORTS:
            for query in range(QUERIES):
                system = f"image/{arm}/text_to_video/within_sport"
                value = float(query < right)
                rows.append(
                    (
                        system,
                        f"{sport}-q{query}",
                        "recall@10_single",
                        0,
                        value,
                        0.2,
                        sport,
                        f"v{query % 4}",
                    )
                )
    columns = ["system", "query_id", "metric", "seed", "value", "chance", "sport", "cluster"]
    return pl.DataFrame(rows, schema=columns, orient="row").select(tables.Scores.column_names())


def grades_of(seed: int, loss: str) -> pl.DataFrame:
    """nDCG of two systems for eight learners: vlm_yes_no gains from seed and loses what pointwise
    training costs.
    """
    values = {"encoder_narrations": 0.5, "vlm_yes_no": 0.75 + seed / 16 - (loss == "pointwise") / 8}
    rows = [
        (system, f"l{i}", "ndcg@5", 0, value, 0.25, "golf", f"p{i // 2}")
        for system, value in values.items()
        for i in range(8)
    ]
    return pl.DataFrame(rows, schema=tables.Scores.column_names(), orient="row")


def run_stage(run: str, stage: str, config: object) -> None:
    """Stands in for execution.run_stage."""
    after = () if stage in STAGES[:2] else STAGES[: STAGES.index(stage)]
    writer = artifacts.begin(run, stage, config, after=after)  # type: ignore[arg-type]
    if stage == STAGES[2]:
        time.sleep(float(os.environ.get("TOY_SLEEP_S", "0")))
        if config.loss == os.environ.get("TOY_FAILS"):  # type: ignore[attr-defined]
            log = artifacts.run_folder(run) / "logs" / f"{stage}.log"
            raise NotebookError(
                "notebooks/03_encoder.ipynb", "cell 4 (train)", "ValueError: a toy failure", log
            )
        writer.save("threads", pl.DataFrame({"cores": [len(os.sched_getaffinity(0))]}))
    if stage == STAGES[4]:
        made = artifacts.open_stage(run, STAGES[2]).manifest["config"]
        scores = writer.save("recall", scores_of(made["seed"], made["loss"]), tables.Scores)
        writer.save("per_sport_recall", summary.per_sport_recall(scores, draws=50, seed=0))
        how = artifacts.open_stage(run, STAGES[3]).manifest["config"]
        if how["learners"]:
            grades = grades_of(how["seed"], how["loss"])
            graded = writer.save("feedback_same_skill", grades, tables.Scores)
            table = feedback.of_pools(feedback.table, {"same_skill": graded}, draws=50, seed=0)
            writer.save("feedback_retrieval", table)
        page = pipeline.report_folder(run) / "index.html"
        page.parent.mkdir(parents=True, exist_ok=True)
        page.write_text("<p>done</p>")
    writer.finish(rows=int(np.int64(1)))


def main() -> None:
    """Bring the run up to date."""
    pipeline.run_stage = run_stage  # type: ignore[assignment]
    try:
        pipeline.reproduce(sys.argv[1])
    except RunError as error:
        raise SystemExit(f"FAILED {error}") from None


if __name__ == "__main__":
    main()
