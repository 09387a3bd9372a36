"""Towers and trainings of a second, for the tests of the encoder."""

from __future__ import annotations

import polars as pl

from sportskills_lib import models
from sportskills_lib.config import EncoderConfig
from sportskills_lib.encoder.training import ClipData, Job, train

TINY = {
    "model_cfg": {
        "embed_dim": 16,
        "vision_cfg": {"layers": [1, 1, 1, 1], "width": 4, "image_size": 32, "head_width": 16},
        "text_cfg": {
            "context_length": 16,
            "vocab_size": 49408,
            "width": 16,
            "heads": 2,
            "layers": 1,
        },
    },
    "preprocess_cfg": {"mean": [0.5, 0.5, 0.5], "std": [0.2, 0.2, 0.2]},
}
PATCHES = {"layers": 2, "width": 16, "head_width": 8, "patch_size": 16, "image_size": 32}
VIT = {
    **TINY,
    "model_cfg": {**TINY["model_cfg"], "vision_cfg": PATCHES},
}  # no layer that mixes rows of a batch


def small_config(model: str, **changes) -> EncoderConfig:
    """A config of a few steps."""
    shape = {
        "encoders": ["image"],
        "steps": 3,
        "trial_steps": 2,
        "evaluate_every": 2,
        "sports_per_batch": 2,
        "clips_per_sport": 4,
        "train_frames": 2,
        "jobs": 1,
    }
    return EncoderConfig(model=model, **(shape | changes))


def small_train(
    config: EncoderConfig, material: ClipData, told: list[str] | None = None, *, steps: int, **more
) -> tuple[models.Tower, pl.DataFrame]:
    """The tower and the curve of a training on the narrations."""
    told = material.clips["text"].to_list() if told is None else told
    outcome = train(Job(config, material, told, "narrations", 1e-3, steps, **more))
    return outcome.tower, outcome.curve
