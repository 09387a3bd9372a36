"""Generic viewers' footage of the same sports: an activity data set in Kinetics' form, ``<folder>/activity``.

About as many clips as the lessons give for training, of the same skills, by other athletes before other backdrops. A label
names sport and skill ("hitting a tennis serve") and nothing else: how it was done is drawn in the proportions of the
lessons (one in three correct, the rest faults) and written down nowhere. As in such lists, some links are dead.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import polars as pl

from sportskills_lib.demo import film
from sportskills_lib.demo.lessons import find_skill, random_id
from sportskills_lib.demo.settings import TEST_FRACTION, VAL_FRACTION, DemoConfig, generator
from sportskills_lib.demo.skills import SPORTS
from sportskills_lib.formats.files import write_whole
from sportskills_lib.runs.worker_pool import Value

DEMONSTRATIONS = 9  # of a lesson
CORRECT_SHARE = 1 / 3
PERFORMANCE_S, AROUND_S = 3, 2  # a performance, and at most so much before and after it
DEAD_SHARE = 0.02
ROW = {
    "label": pl.String, "youtube_id": pl.String, "time_start": pl.Int64, "time_end": pl.Int64, "split": pl.String,
}  # fmt: skip
OWN = {"length_s": pl.Int64, "sport": pl.String, "skill": pl.String, "execution": pl.String}


def plan_activity(config: DemoConfig) -> pl.DataFrame:
    """One row a video: Kinetics' columns, with sport, skill, execution and the seconds that the film lasts.

    The last three columns are the maker's own and are never written.
    """
    tests = round(TEST_FRACTION * config.channels)
    channels = config.channels - tests - max(1, round(VAL_FRACTION * config.channels))
    rows = []
    for sport in SPORTS[: config.sports]:
        for skill in sport.skills[: config.skills]:
            for number in range(channels * DEMONSTRATIONS):
                rng = generator(config.seed, "activity", sport.name, skill.name, number)
                before_s, after_s = (int(second) for second in rng.integers(0, AROUND_S + 1, 2))
                correct = rng.random() < CORRECT_SHARE
                execution = "correct" if correct else str(rng.choice(skill.executions[1:]))
                end_s = before_s + PERFORMANCE_S
                rows.append(
                    (
                        skill.doing, random_id(rng), before_s, end_s, "train",
                        end_s + after_s, sport.name, skill.name, execution,
                    )
                )  # fmt: skip
    return pl.DataFrame(rows, schema=ROW | OWN, orient="row")


def make_activity(folder: Path, config: DemoConfig | None = None) -> Path:
    """Write ``folder/train.csv`` and ``folder/videos/<youtube_id>.mp4``; the same config gives the same bytes.

    The list comes last. RuntimeError when a film could not be written.
    """
    config = config or DemoConfig()
    plan = plan_activity(config)
    tasks = [
        (folder / "videos" / f"{row['youtube_id']}.mp4", row, config)
        for row in plan.iter_rows(named=True)
    ]
    film.film_all(_film, tasks, "activity films")
    listed = pl.concat([plan.select(list(ROW)), _bad_rows(plan, config)])
    order = generator(config.seed, "activity", "order").permutation(listed.height)
    write_whole(folder / "train.csv", listed[order].write_csv())
    return folder


def _film(task: tuple[Path, dict[str, Any], DemoConfig]) -> Value:
    path, row, config = task
    after_s = row["length_s"] - row["time_end"]
    shown = [(None, row["time_start"]), (row["execution"], PERFORMANCE_S), (None, after_s)]
    parts = [(execution, seconds * config.fps) for execution, seconds in shown if seconds]
    skill, name = find_skill(row["sport"], row["skill"]), row["youtube_id"]
    rng = generator(config.seed, "activity size", name)
    film.write_take(path, skill, parts, config, name=name, look=f"activity/{name}", rng=rng)
    return {}


def _bad_rows(plan: pl.DataFrame, config: DemoConfig) -> pl.DataFrame:
    """Rows that no reader can serve: links without a film, a span that ends before it starts,
    one beyond the film.
    """
    rng = generator(config.seed, "activity", "bad")
    some = plan[rng.permutation(plan.height)[: max(3, round(DEAD_SHARE * plan.height))]].select(
        list(ROW)
    )
    gone = some.with_columns(youtube_id=pl.Series([random_id(rng) for _ in range(some.height)]))
    turned = some[:1].with_columns(time_start=pl.col("time_end"), time_end=pl.col("time_start"))
    beyond = some[1:2].with_columns(time_start=pl.lit(90, pl.Int64), time_end=pl.lit(93, pl.Int64))
    return pl.concat([gone, turned, beyond])
