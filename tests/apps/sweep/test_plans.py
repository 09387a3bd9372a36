"""Plans: parameters as torch counts them in models that are really built, sums by hand, and no
torch in the planner.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from sportskills_lib.apps.sweep import plans
from sportskills_lib.apps.sweep.plans import GPUS, Counts, Plan, arm_steps
from sportskills_lib.config import EncoderConfig, PairingConfig, stage_config

TINY = {
    "embed_dim": 16,
    "vision_cfg": {"image_size": 32, "layers": 2, "width": 32, "patch_size": 8, "head_width": 16},
    "text_cfg": {"context_length": 16, "vocab_size": 49408, "width": 16, "heads": 2, "layers": 1},
}
CNN = TINY | {"vision_cfg": {"image_size": 32, "layers": [1, 1, 1, 1], "width": 8}}
COUNTS = Counts(1000, 501, 2e6, 1e6, 16)


def folder_of(config: dict, place: Path) -> Path:
    pixels = {"mean": [0.5] * 3, "std": [0.5] * 3}
    (place / "open_clip_config.json").write_text(
        json.dumps({"model_cfg": config, "preprocess_cfg": pixels})
    )
    return place


@pytest.mark.parametrize("config", [TINY, CNN], ids=["vit", "cnn"])
def test_counts_are_those_of_the_model_that_is_built(config: dict, tmp_path: Path) -> None:
    from sportskills_lib.models import new_tower

    folder = folder_of(config, tmp_path)
    tower = new_tower(
        {"model_cfg": config, "preprocess_cfg": {"mean": [0.5] * 3, "std": [0.5] * 3}}
    )
    counts = plans.count(str(folder))
    sizes = {name: value.numel() for name, value in tower.model.named_parameters()}
    image = sum(size for name, size in sizes.items() if name.startswith("visual."))
    assert (counts.image, counts.image + counts.text) == (image, sum(sizes.values()))
    assert counts.width == 16 and counts.text_flop > 0


def test_operations_are_those_of_the_matrices(tmp_path: Path) -> None:
    """Two layers of width 32 over 17 tokens, by hand: projections, attention, patches, output."""
    counts = plans.count(str(folder_of(TINY, tmp_path)))
    tokens, width, heads = 17, 32, 2
    layer = 2 * tokens * (12 * width**2) + 2 * heads * (2 * tokens * tokens * (width // heads))
    patches, out = 2 * 16 * (3 * 8 * 8) * width, 2 * width * 16
    assert counts.frame_flop == 2 * layer + patches + out


def test_the_public_model_of_the_paper_preset_is_counted_without_weights() -> None:
    """149,620,737 is what open_clip itself gives for ViT-B-16."""
    counts = plans.count("ViT-B-16")
    assert counts.image + counts.text == 149_620_737 and counts.image == 86_192_640
    assert counts.frame_flop == pytest.approx(
        2 * 17.56e9, rel=0.01
    )  # 17.56 GMAC by hand: 197 tokens, 12 layers


def config_of(**values: object) -> EncoderConfig:
    return EncoderConfig.model_validate(
        {"sports_per_batch": 2, "clips_per_sport": 3, "train_frames": 4, "device": "cuda"} | values
    )


def plan_of(counts: Counts = COUNTS, clips: int | None = 100, **values: object) -> Plan:
    return Plan(config_of(**values), counts, 8, clips, GPUS["h100"])


def test_a_steps_operations_by_hand() -> None:
    plan = plan_of()
    assert plan.step_flop("image") == 3 * 6 * (4 * 2e6 + 1e6)
    assert plan_of(chunk=2).step_flop("image") == 4 * 6 * (4 * 2e6 + 1e6)  # chunks go forward twice
    _, memory, frozen = plan_of(frozen=["visual.conv"]).sizes()
    assert "GB for weights, gradients and AdamW" in memory and "are frozen" in frozen


def test_an_arms_operations_hold_trials_validations_and_embedding() -> None:
    plan = plan_of(steps=10, trial_steps=2, learning_rates=[1e-3, 2e-3], evaluate_every=5)
    encode = 8 * 2e6 + 1e6
    assert plan.arm_flop("image") == pytest.approx(
        14 * plan.step_flop("image") + (1 + 0.11 * 3) * 100 * encode
    )
    assert arm_steps(config_of(learning_rates=[1e-3], steps=10), "image") == (10, 0, 40)


def test_video_arms_train_on_cached_features_unless_they_start_from_the_model() -> None:
    assert plan_of().step_flop("video") == 3 * 6 * 1e6
    assert plan_of(video_start="model").step_flop("video") == 3 * 6 * (8 * 2e6 + 1e6)
    assert "cached features" in " ".join(plan_of(encoders=["video"]).times())


def test_a_model_whose_text_tower_is_on_a_hub_is_not_downloaded() -> None:
    with pytest.raises(ValueError, match="its text tower is on a hub"):
        plans.count("roberta-ViT-B-32")


def test_time_names_its_assumptions() -> None:
    text = " ".join(plan_of().times())
    assert "estimate" in text and "assumed: H100 SXM" in text and "35%" in text and "on 8" in text
    assert "number of clips is not known" in plan_of(clips=None).disk(10)
    assert "frames 2.4e-06 GB" in plan_of(clips=1).disk(10)


def test_a_plan_says_when_own_films_meet_the_demos_toy_models(
    toy_workspace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(plans, "count", lambda model: COUNTS)

    def said(**encoder: str) -> bool:
        settings = {"01_curation": {"source": "data/raw/mine"}, "03_encoder": encoder}
        lines = plans.plan_lines("mine", "local", settings, first="01", last="01")
        return any("03_encoder start from the demo's stand-ins, toys" in line for line in lines)

    assert said() and not said(model="ViT-B-32", pretrained="openai")
    assert not any("stand-ins" in line for line in plans.plan_lines("demo", "demo", {}, last="01"))


def test_the_plan_of_the_paper_preset(toy_workspace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plans, "count", lambda model: COUNTS)
    lines = list(plans.plan_lines("paper", "paper", {}))
    assert "An estimate: nothing has been loaded, downloaded or run" in lines[0]
    assert sum("not run yet" in line for line in lines) == 7
    assert any("638,399 clips" in line for line in lines)
    assert not (toy_workspace / "data/runs/paper").exists()
    measured = list(plans.plan_lines("demo", "demo", {}, first="02", last="02"))
    assert len(measured) == 2 and "45 s, estimated from runs of this preset" in measured[1]
    with pytest.raises(ValueError, match="unknown --gpu 'abacus': use one of h100"):
        list(plans.plan_lines("paper", "paper", {}, gpu="abacus"))


def test_a_model_that_is_not_there_is_named(toy_workspace: Path) -> None:
    config = stage_config("03_encoder", "demo", model="nowhere")
    assert isinstance(config, EncoderConfig)
    lines = list(plans.encoder_lines(config, PairingConfig(), clips=None, gpu=GPUS["h100"]))
    demo = EncoderConfig()
    assert "`make demo` makes" in next(
        plans.encoder_lines(demo, PairingConfig(), clips=None, gpu=GPUS["h100"])
    )
    assert len(lines) == 1 and "'nowhere' cannot be counted: it is neither a folder" in lines[0]


def test_planning_and_sweeping_load_no_torch() -> None:
    script = (
        "import sys\nfrom sportskills_lib.apps.sweep import grid, plans, "
        "members, study_file\n"
        "print([name for name in ('torch', 'open_clip', 'transformers') if name in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, timeout=120
    )
    assert done.stdout.strip() == "[]", done.stdout + done.stderr
