"""The gap closed, ratios and encoders' differences on scores whose answer is known."""

from __future__ import annotations

import polars as pl
import pytest

from sportskills_lib.evaluation import comparisons, further_comparisons, summary


def scores(
    levels: dict[str, float], *, scope: str = "within_sport", sports=("golf", "judo")
) -> pl.DataFrame:
    rows = [
        {
            "system": f"{arm}/text_to_video/{scope}",
            "query_id": f"{sport}{q}",
            "metric": "recall@10_single",
            "seed": 0,
            "value": level + (0.1 if q % 2 else -0.1) + 0.05 * (q // 4 % 3 - 1),
            "chance": 0.1,
            "sport": sport,
            "cluster": f"{sport}v{q // 4}",
        }
        for arm, level in levels.items()
        for sport in sports
        for q in range(24)
    ]
    return pl.DataFrame(rows)


LEVELS = {
    "image/narrations": 0.6,
    "image/activity_sport": 0.15,
    "image/activity_skill": 0.3,
    "video/narrations": 0.7,
    "video/activity_sport": 0.15,
    "image/new_arm": 0.2,
}


def oracles(rows: pl.DataFrame, **levels: float) -> pl.DataFrame:
    asked = rows.select("query_id", "sport").unique(maintain_order=True)
    return pl.concat(
        [
            asked.with_columns(oracle=pl.lit(name), value=pl.lit(level))
            for name, level in levels.items()
        ]
    )


def find(table: pl.DataFrame, **key: str) -> dict:
    return table.row(
        by_predicate=pl.all_horizontal(pl.col(name) == value for name, value in key.items()),
        named=True,
    )


def test_the_gap_closed_is_the_share_of_the_way_between_the_oracles():
    rows = pl.concat([scores(LEVELS), scores(LEVELS, scope="within_sport_fixed")])
    levels = oracles(rows, skill=0.3, look=0.8, cue=0.9)
    table = comparisons.headline(rows, {"full": levels, "fixed": levels}, draws=200, seed=0)
    image = find(
        table, kind="gap_closed", encoder="image", baseline="skill to cue oracle", gallery="full"
    )
    assert image["value"] == pytest.approx(0.5)
    assert image["low"] <= 0.5 <= image["high"] and image["ci_excludes_zero"]
    assert find(
        table, kind="gap_closed", encoder="video", baseline="skill to look oracle", gallery="fixed"
    )["value"] == (pytest.approx(0.8))
    facts = comparisons.headline_facts(
        table, pl.DataFrame(schema=dict.fromkeys(("pool", "system", "metric"), pl.String))
    )
    assert facts == {
        "gain": 0.3,
        "ratio": 4.0,
        "ratio_video": 4.6667,
        "gap_closed": 0.5,
        "gap_closed_video": 0.6667,
    }


def test_queries_that_the_truth_does_not_know_are_left_out_of_the_gap_alone():
    rows = scores(LEVELS)
    levels = oracles(rows, skill=0.3, look=0.8, cue=0.9)
    fewer = levels.filter((pl.col("oracle") == "skill") | ~pl.col("query_id").str.ends_with("3"))
    table = comparisons.headline(rows, {"full": fewer}, draws=50, seed=0)
    assert (
        find(table, kind="gap_closed", encoder="image", baseline="skill to cue oracle")["n"] == 42
    )
    assert find(table, kind="ratio", encoder="image", baseline="activity_sport")["n"] == 48
    assert comparisons.headline(rows, {"full": levels.head(48)}, draws=50, seed=0).filter(
        pl.col("kind") == "gap_closed"
    ).is_empty()  # fmt: skip


def test_encoders_are_compared_after_the_same_training():
    table = comparisons.headline(scores(LEVELS), draws=50, seed=0).filter(
        pl.col("kind") == "encoders"
    )
    assert table.select("encoder", "training", "baseline").rows() == [
        ("video", "activity_sport", "image"), ("video", "narrations", "image"),
    ]  # fmt: skip
    assert table["value"].to_list() == [pytest.approx(0.0), pytest.approx(0.1)]


def test_ratios_by_sport_and_of_macro_means_also_over_nothing():
    low = scores({"image/narrations": 0.6, "image/activity_sport": 0.2}, sports=("golf",))
    none = scores(
        {"image/narrations": 0.4, "image/activity_sport": 0.1}, sports=("judo",)
    ).with_columns(
        value=pl.when(pl.col("system").str.contains("activity")).then(0.0).otherwise("value")
    )
    table = further_comparisons.ratios_by_sport(pl.concat([low, none]), draws=50, seed=0)
    assert dict(table.select("sport", "ratio").rows()) == {
        "golf": pytest.approx(3.0), "judo": float("inf"), summary.MEAN: pytest.approx(5.0),
    }  # fmt: skip
    assert find(table, sport="judo")["high"] == float("inf")


def test_nothing_evaluable_gives_empty_tables():
    rows = scores(LEVELS).with_columns(value=pl.lit(None, dtype=pl.Float64))
    assert comparisons.headline(rows, {}, draws=10, seed=0).is_empty()
    assert further_comparisons.ratios_by_sport(rows, draws=10, seed=0).is_empty()
    assert comparisons.differences_by_sport(rows, draws=10, seed=0).is_empty()
