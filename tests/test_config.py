"""Settings: frozen, flat, refused by name when unknown, and whole in every preset."""

from __future__ import annotations

from typing import Literal, get_args, get_origin

import pytest
from pydantic import ValidationError

from sportskills_lib.config import CONFIGS, stage_config
from sportskills_lib.presets import PRESETS, PresetName
from sportskills_lib.runs.artifacts import NOTEBOOKS as STAGES
from sportskills_lib.runs.pipeline import merged
from sportskills_lib.stage_config import RENAMED, parse_list

PRESET_NAMES = get_args(PresetName)
FLAT = (str, int, float, bool, list[str], list[int], list[float])


def test_there_is_a_config_for_every_stage_and_nothing_else() -> None:
    assert tuple(CONFIGS) == STAGES and set(PRESETS) == set(PRESET_NAMES)
    assert all(set(stages) <= set(STAGES) for stages in PRESETS.values())


@pytest.mark.parametrize("preset", PRESET_NAMES)
@pytest.mark.parametrize("stage", STAGES)
def test_every_preset_makes_every_config(stage: str, preset: PresetName) -> None:
    config = stage_config(stage, preset)
    assert all(
        getattr(config, name) == value for name, value in PRESETS[preset].get(stage, {}).items()
    )
    assert type(config)(**config.model_dump()) == config


@pytest.mark.parametrize("stage", STAGES)
def test_fields_are_flat_described_and_demo_by_default(stage: str) -> None:
    for name, field in CONFIGS[stage].model_fields.items():
        kind = field.annotation
        inner = get_args(kind)[0] if get_origin(kind) is list else kind
        assert kind in FLAT or get_origin(inner) is Literal, f"{stage}.{name} is {kind}"
        assert field.description or name == "seed", f"{stage}.{name} has no description"
        assert not field.is_required(), f"{stage}.{name} has no default"
    assert PRESETS["demo"].get(stage, {}) == {}
    assert stage_config(stage) == CONFIGS[stage]()


def test_settings_of_speed_and_memory_are_no_part_of_the_key() -> None:
    free = {
        stage: set(config.model_fields) - set(config().key_settings())
        for stage, config in CONFIGS.items()
    }
    assert free == {
        "01_curation": {"workers"},
        "02_pairing": {"workers", "frame_cache_gb"},
        "03_encoder": {"jobs", "loader_threads"},
        "04_retrieval": {"workers", "token_store_gb"},
        "05_evaluation": set(),
        "06_analysis": set(),
        "07_inspection": set(),
    }


@pytest.mark.parametrize("stage", STAGES)
def test_an_unknown_parameter_is_refused_by_name(stage: str) -> None:
    first = next(iter(CONFIGS[stage].model_fields))
    with pytest.raises(
        ValueError, match=rf"{stage} has no parameter {first}x: did you mean {first}\?"
    ):
        stage_config(stage, "demo", **{f"{first}x": 1})
    with pytest.raises(ValueError, match=rf"{stage} has no parameter qqq: use one of .*{first}"):
        stage_config(stage, "demo", qqq=1)
    with pytest.raises(ValidationError):
        CONFIGS[stage](qqq=1)


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("a,b", ["a", "b"]),
        ("[visual.conv, visual.bn]", ["visual.conv", "visual.bn"]),
        ('["table tennis", "golf"]', ["table tennis", "golf"]),
        ("[1e-3,2e-3]", [0.001, 0.002]),
        ("one", ["one"]),
        ("[]", []),
        ("", []),
    ],
)
def test_lists_are_read_from_text(text: str, values: list) -> None:
    assert parse_list("frozen", text) == values


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"steps": "x"}, "03_encoder: steps='x': input should be a valid integer"),
        ({"arms": "narrations,nothing"}, "arms='nothing': input should be 'activity_sport', .*"),
        ({"encoders": ["film"]}, "encoders='film': input should be 'image', 'video' or 'native'"),
        ({"learning_rates": "1e-3,fast"}, "learning_rates='fast': input should be a valid number"),
        ({"learning_rates": ""}, "learning_rates=.*: list should have at least 1 item"),
        ({"frozen": "[a"}, r"03_encoder: frozen='\[a' is not a list: write a,b or \[a,b\]"),
        ({"frozen": "[a,[b]]"}, "is not a list"),
    ],
)
def test_a_wrong_value_is_named_with_what_is_allowed(values: dict, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        stage_config("03_encoder", **values)


def test_text_is_read_by_the_type_of_the_field_however_it_comes() -> None:
    text = {
        "learning_rates": "1e-3,2e-3",
        "encoders": "video",
        "frozen": "[]",
        "one_clip_per_video": "true",
        "steps": "7",
    }
    config = stage_config("03_encoder", **text)
    typed = {
        "learning_rates": [1e-3, 2e-3],
        "encoders": ["video"],
        "frozen": [],
        "one_clip_per_video": True,
        "steps": 7,
    }
    assert (
        config == CONFIGS["03_encoder"].from_parameters(text) == stage_config("03_encoder", **typed)
    )


def test_a_config_cannot_be_changed() -> None:
    config = stage_config("05_evaluation")
    with pytest.raises(ValidationError):
        config.draws = 3  # type: ignore[attr-defined]


def test_overrides_win_over_the_preset_and_take_the_field_s_type() -> None:
    config = stage_config("05_evaluation", "smoke", draws="17")
    assert config.draws == 17  # type: ignore[attr-defined]


def test_a_notebook_s_other_variables_are_left_alone() -> None:
    config = CONFIGS["01_curation"].from_parameters(
        {"run": "x", "min_words": 7, "tables": object()}
    )
    assert config == CONFIGS["01_curation"](min_words=7)


@pytest.mark.parametrize("stage", STAGES)
def test_local_and_paper_read_nothing_of_the_demo_but_stand_in_weights(stage: str) -> None:
    for preset in ("local", "paper"):
        for name, value in stage_config(stage, preset).model_dump().items():
            if (
                isinstance(value, str)
                and value.startswith("data/raw/demo")
                and name not in ("source", "model", "native_model")
            ):
                pytest.fail(f"{preset}: {stage}.{name} is {value}")


def test_an_old_name_sets_the_renamed_setting_with_a_warning(
    caplog: pytest.LogCaptureFixture,
) -> None:
    fields = {name for config in CONFIGS.values() for name in config.model_fields}
    assert set(RENAMED.values()) <= fields and not set(RENAMED) & fields
    config = CONFIGS["03_encoder"]
    assert config(sports_a_batch=3) == config(sports_per_batch=3)  # type: ignore[call-arg]
    assert "sports_a_batch is now sports_per_batch" in caplog.text
    assert stage_config("03_encoder", "smoke", sports_a_batch=3).sports_per_batch == 3  # type: ignore[attr-defined]
    notebook = {"sports_per_batch": 4, "sports_a_batch": 3, "learners_a_step": 1}
    assert config.from_parameters(notebook) == config(sports_per_batch=3)  # type: ignore[call-arg]


def test_an_old_name_in_a_run_s_settings_gives_way_to_the_new_name() -> None:
    stored, now = {"03_encoder": {"clips_a_sport": 3}}, {"03_encoder": {"clips_per_sport": 5}}
    assert merged(stored, now) == now
