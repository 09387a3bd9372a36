"""How long a member will take, before it runs: what it took last time, or what the base took,
scaled by the work.

Only 03 is scaled: its work is counted in clips that it trains on. All of it is an estimate,
and is called so wherever it is printed.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sportskills_lib.apps.sweep.grid import Member, Sweep
from sportskills_lib.config import EncoderConfig
from sportskills_lib.runs import artifacts, pipeline
from sportskills_lib.runs.progress import Progress

ENCODER = "03_encoder"
CACHED_SHARE = (
    0.3  # of an image arm's work: what a video arm takes on cached features of frozen frames
)
FIXED_SHARE = 0.15  # of the base's 03 that does not grow with steps: start, embedding, saving


def arms_trained(config: EncoderConfig) -> list[tuple[str, str]]:
    """(encoder, arm) of every tower that a config trains."""
    return [
        (encoder, arm) for encoder in getattr(config, "encoders", ["image"]) for arm in config.arms
    ]


def trial_count(rates: Sequence[float], steps: int) -> tuple[int, int]:
    """(trials, steps of each) by which an arm chooses its learning rate; none where there is no
    choice.
    """
    return (len(rates), steps) if len(rates) > 1 else (0, 0)


def arm_steps(config: EncoderConfig, encoder: str) -> tuple[int, tuple[int, int]]:
    """Optimiser steps of an arm of this encoder, and its trials: how many, of how many steps."""
    if encoder == "video" and hasattr(config, "video_steps"):
        return config.video_steps, trial_count(config.video_learning_rates, config.trial_steps)  # type: ignore[attr-defined]
    return config.steps, trial_count(config.learning_rates, config.trial_steps)


def trained_on_cache(config: EncoderConfig, encoder: str) -> bool:
    """Whether this encoder trains on features of frozen frames, computed once."""
    return encoder == "video" and getattr(config, "video_start", "image_arm") == "image_arm"


def work(config: EncoderConfig) -> float:
    """Clips that 03 trains on, all arms together, those of a video arm on cached features counted
    as a share.
    """
    total = 0.0
    for encoder, _ in arms_trained(config):
        steps, (trials, length) = arm_steps(config, encoder)
        share = CACHED_SHARE if trained_on_cache(config, encoder) else 1.0
        total += (
            share * (steps + trials * length) * config.sports_per_batch * config.clips_per_sport
        )
    return total


def member_seconds(sweep: Sweep, member: Member) -> float | None:
    """Seconds of all of this machine's cores that a member will take; None where nothing is known
    to go by.
    """
    configs = pipeline.stage_configs(sweep.preset, member.settings)
    parts = [_stage_seconds(sweep, member, stage, configs[stage]) for stage in sweep.stages]
    known = [part for part in parts if part is not None]
    return sum(known) if len(known) == len(parts) else None


def _stage_seconds(sweep: Sweep, member: Member, stage: str, config: Any) -> float | None:
    base_s = pipeline.planned_seconds(sweep.base, stage, sweep.preset)
    if stage != ENCODER or base_s is None:
        return base_s
    return base_s * (FIXED_SHARE + (1 - FIXED_SHARE) * work(config) / work(_base_config(sweep)))


def _base_config(sweep: Sweep) -> EncoderConfig:
    """The config with which the base's 03 was made, or would be."""
    settings = (pipeline.load_settings(sweep.base) or ("", {}))[1]
    config = pipeline.stage_configs(sweep.preset, settings)[ENCODER]
    if artifacts.is_complete(sweep.base, ENCODER):
        made = artifacts.open_stage(sweep.base, ENCODER).manifest["config"]
        config = config.model_copy(
            update={name: value for name, value in made.items() if hasattr(config, name)}
        )
    assert isinstance(config, EncoderConfig)
    return config


def members_planned(sweep: Sweep) -> list[str]:
    """The members, a line each, with the time that each may take and that of all, which is an
    estimate.
    """
    lines, total, unknown = (
        [f"{sweep.name}: {len(sweep.members)} members over run {sweep.base}"],
        0.0,
        False,
    )
    for member in sweep.members:
        seconds = member_seconds(sweep, member)
        unknown |= seconds is None
        total += seconds or 0.0
        seed = "" if member.seed is None else f" seed {member.seed}"
        about = "time unknown" if seconds is None else f"about {Progress.clock(seconds)}"
        lines.append(f"  {member.run:<48} {member.label}{seed}: {about}")
    lines.append(
        "  all together, an estimate from the base's seconds: "
        f"{'over ' if unknown else ''}{Progress.clock(total)} "
        "of this machine, whatever --jobs; what stands is skipped"
    )
    return lines
