"""Grids: what is parsed, what is refused by name, and the members that come of it."""

from __future__ import annotations

from pathlib import Path

import pytest
from toys import toy_settings

from sportskills_lib.apps.sweep.grid import grid_points, parse_grid, plan_sweep
from sportskills_lib.config import CONFIGS
from sportskills_lib.runs import artifacts, pipeline
from sportskills_lib.runs.artifacts import STAGES

ENCODER = "03_encoder"


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("loss=info_nce,siglip", ["info_nce", "siglip"]),
        ("03.loss=siglip", ["siglip"]),
        ("learning_rates=1e-3,2e-3", ["1e-3", "2e-3"]),
        ("learning_rates=[1e-3,2e-3],5e-4", ["[1e-3,2e-3]", "5e-4"]),
        ("frozen=[visual.conv, visual.bn],[]", ["[visual.conv, visual.bn]", "[]"]),
        ("steps= 10 , 20 ", ["10", "20"]),
    ],
)
def test_values_and_lists_are_parted(text: str, values: list) -> None:
    assert list(parse_grid(ENCODER, [text]).values()) == [values]


@pytest.mark.parametrize(
    ("texts", "words"),
    [
        (
            ["learning_rate=1e-3"],
            r"03_encoder has no parameter learning_rate: did you mean learning_rates\?",
        ),
        (["04.loss=pointwise"], "03_encoder has no parameter 04.loss"),
        (["loss"], "is not <parameter>=<value>"),
        (["loss="], "is not <parameter>=<value>"),
        (["loss=info_nce,"], "is not <parameter>=<value>"),
        (["loss=siglip,siglip"], "names loss or a value of it twice"),
        (["loss=siglip", "loss=info_nce"], "names loss or a value of it twice"),
    ],
)
def test_a_wrong_grid_is_refused_by_name(texts: list[str], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        parse_grid(ENCODER, texts)


def test_points_are_the_product_in_order() -> None:
    points = grid_points(ENCODER, parse_grid(ENCODER, ["steps=1,2", "frozen=[a,b],[]"]))
    assert [point.label for point in points] == [
        "steps=1 frozen=[a,b]", "steps=1 frozen=[]", "steps=2 frozen=[a,b]", "steps=2 frozen=[]",
    ]  # fmt: skip
    assert points[3].settings == {ENCODER: {"steps": "2", "frozen": "[]"}}
    assert [point.label for point in grid_points(ENCODER, {})] == ["as the base"]


@pytest.fixture
def base(toy_workspace: Path) -> str:
    """A run with settings of its own, of which nothing is made."""
    pipeline.save_settings(
        "demo", "demo", pipeline.merged(toy_settings(), {ENCODER: {"steps": "7"}})
    )
    return "demo"


def test_members_have_the_bases_settings_then_those_of_all_then_their_own(base: str) -> None:
    points = grid_points(ENCODER, parse_grid(ENCODER, ["loss=info_nce,siglip"]))
    sweep = plan_sweep(
        "s", ENCODER, points, base=base, seeds=range(2), fixed={ENCODER: {"trial_steps": "3"}}
    )
    assert [(member.label, member.seed) for member in sweep.members] == [
        ("loss=info_nce", 0), ("loss=info_nce", 1), ("loss=siglip", 0), ("loss=siglip", 1),
    ]  # fmt: skip
    configs = [pipeline.stage_configs("demo", member.settings)[ENCODER] for member in sweep.members]
    assert {(c.steps, c.trial_steps) for c in configs} == {(7, 3)}  # type: ignore[attr-defined]
    assert [(c.loss, c.seed) for c in configs] == [
        ("info_nce", 0),
        ("info_nce", 1),
        ("siglip", 0),
        ("siglip", 1),
    ]  # type: ignore[attr-defined]
    assert sweep.stages == [STAGES[2], STAGES[4]] and sweep.left_out == [STAGES[3]]
    assert sweep.base_stages == list(STAGES[:2])


def test_a_larger_grid_finds_the_runs_of_a_smaller_one(base: str) -> None:
    def runs(text: str) -> set[str]:
        points = grid_points(ENCODER, parse_grid(ENCODER, [text]))
        return {member.run for member in plan_sweep("s", ENCODER, points, base=base).members}

    small, large = runs("loss=siglip"), runs("loss=info_nce,siglip")
    assert small < large and len(large) == 2
    assert all(artifacts.run_folder(run) for run in large)  # names that a run may have


def test_a_sweep_of_04_reads_03_of_the_base_and_leaves_nothing_out(base: str) -> None:
    sweep = plan_sweep("s", STAGES[3], grid_points(STAGES[3], {}), base=base)
    assert (sweep.base_stages, sweep.stages, sweep.left_out) == (
        list(STAGES[:3]),
        list(STAGES[3:]),
        [],
    )


def test_every_member_is_checked_before_anything_runs(base: str) -> None:
    points = grid_points(ENCODER, {"steps": ["5", "0"]})
    with pytest.raises(ValueError, match="steps=0: 03_encoder: steps='0': input should be greater"):
        plan_sweep("s", ENCODER, points, base=base)
    with pytest.raises(
        ValueError,
        match="there is no run 'nobody': `sportskills reproduce --run nobody --until 02`",
    ):
        plan_sweep("s", ENCODER, grid_points(ENCODER, {}), base="nobody")
    with pytest.raises(ValueError, match="sweep 'demo' has the name of a run"):
        plan_sweep("demo", ENCODER, grid_points(ENCODER, {}), base=base)
    assert "seed" not in CONFIGS[STAGES[1]].model_fields
    with pytest.raises(ValueError, match="02_pairing draws nothing"):
        plan_sweep("s", STAGES[1], grid_points(STAGES[1], {}), base=base, seeds=range(2))
