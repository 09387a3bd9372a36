"""Which sports help which, from synthetic scores of runs that differ in the sports they trained
on.
"""

from __future__ import annotations

import json

import polars as pl
import pytest

from sportskills_lib import config, tables
from sportskills_lib.report import transfer
from sportskills_lib.runs import artifacts

SPORTS = ("golf", "judo", "rowing", "tennis")
RACKETS, OTHERS = ("golf", "tennis"), ("judo", "rowing")


@pytest.fixture
def runs(tmp_path, monkeypatch):
    """Writes a run: 0.7 in sports that it trained on, 0.4 in others, 0.3 at the start; half a tenth
    by seed.
    """
    monkeypatch.setenv("SPORTSKILLS_HOME", str(tmp_path))
    (tmp_path / "notebooks").mkdir()
    for name in ("03_encoder", "05_evaluation"):
        (tmp_path / "notebooks" / f"{name}.ipynb").write_text('{"cells": []}')

    def write(
        run: str,
        trained: tuple[str, ...],
        shift: float = 0.0,
        queries: int = 12,
        value: bool = True,
    ) -> None:
        stage = artifacts.begin(run, "03_encoder", config.EncoderConfig())
        place = stage.finish()
        manifest = json.loads((place / "manifest.json").read_text())
        manifest["config"]["train_sports"] = list(trained)
        (place / "manifest.json").write_text(json.dumps(manifest))
        rows = [
            {
                "system": f"image/{arm}/text_to_video/{scope}",
                "query_id": f"{sport}{q}",
                "metric": "recall@10_single",
                "seed": 0,
                "chance": 0.1,
                "sport": sport,
                "cluster": f"{sport}v{q // 3}",
                "value": None if scope.endswith("fixed") and not value else level,
            }
            for scope in ("within_sport", "within_sport_fixed")
            for sport in SPORTS
            for q in range(queries)
            for taught in (not trained or sport in trained,)
            for arm, level in (("zero_shot", 0.3), ("narrations", (0.7 if taught else 0.4) + shift))
        ]
        stage = artifacts.begin(run, "05_evaluation", config.EvaluationConfig())
        stage.save(
            "recall", pl.DataFrame(rows, schema_overrides={"value": pl.Float64}), tables.Scores
        )
        stage.finish()

    return write


def cell(table, trained, tested):
    return table.row(
        by_predicate=(pl.col("trained_on") == trained) & (pl.col("tested_on") == tested), named=True
    )


@pytest.mark.parametrize("value", [True, False])
def test_two_groups_and_all_sports(runs, tmp_path, value):
    for run, group in (("a", RACKETS), ("b", OTHERS), ("whole", ())):
        runs(
            run, group, value=value
        )  # without a sport that is large enough for one size, whole galleries count
    table, by_sport = transfer.compare(["a", "b", "whole"], draws=50)
    assert table.height == 3 * 2
    own, other = (
        cell(table, "golf, tennis", "golf, tennis"),
        cell(table, "golf, tennis", "judo, rowing"),
    )
    assert (own["value"], own["gain"], own["inside"], own["n"]) == (
        pytest.approx(0.7), pytest.approx(0.4), True, 24)  # fmt: skip
    assert (other["value"], other["gain"], other["inside"]) == (
        pytest.approx(0.4),
        pytest.approx(0.1),
        False,
    )
    assert cell(table, "all sports", "judo, rowing")["inside"]
    assert by_sport["tested_on"].unique(maintain_order=True).to_list() == [
        "golf",
        "tennis",
        "judo",
        "rowing",
    ]
    written = transfer.write(["a", "b", "whole"], tmp_path / "out", draws=50)
    assert {path.name for path in written} == {
        f"transfer{end}.{suffix}"
        for end in ("", "_by_sport")
        for suffix in ("png", "svg", "pdf", "csv", "tex")
    }
    text = (tmp_path / "out" / "transfer.svg").read_text()
    assert "golf, tennis" in text and "0.40" in text


def test_seeds_of_a_group_are_averaged_groups_named_and_the_rest_is_a_column(runs):
    for run, group, shift in (("a0", RACKETS, 0.0), ("a1", RACKETS, 0.1), ("j", ("judo",), 0.0)):
        runs(run, group, shift)
    table, _ = transfer.compare(["a0", "a1", "j"], names={RACKETS: "rackets"}, draws=50)
    assert table["tested_on"].unique(maintain_order=True).to_list() == [
        "rackets",
        "judo",
        "other sports",
    ]
    assert cell(table, "rackets", "rackets")["value"] == pytest.approx(0.75)
    assert cell(table, "judo", "other sports")["value"] == pytest.approx(0.4)
    groups = {"j": ("judo", ("judo",)), "a0": ("golf, tennis", RACKETS)}
    assert transfer.trained_groups(["j", "a0"]) == groups
    assert transfer.trained_groups(["a0"], {RACKETS: "r"}) == {"a0": ("r", RACKETS)}


def test_every_group_of_many(runs):
    groups = [(sport,) for sport in SPORTS]
    for group in groups:
        runs(group[0], group)
    table, by_sport = transfer.compare(list(SPORTS), draws=20)
    assert table.height == by_sport.height == 16
    assert table.filter("inside")["value"].to_list() == [pytest.approx(0.7)] * 4
    transfer.heat_map(table)


def test_runs_that_cannot_be_compared_are_named(runs):
    runs("a", RACKETS)
    runs("short", OTHERS, queries=11)
    with pytest.raises(ValueError, match="runs 'a' and 'short' did not answer the same queries"):
        transfer.compare(["a", "short"])
    with pytest.raises(ValueError, match="run 'a' has no narrations of the video encoder"):
        transfer.compare(["a"], encoder="video")
    with pytest.raises(ValueError, match="no runs"):
        transfer.compare([])
