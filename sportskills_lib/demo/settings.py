"""How large the demo world is, and the named generators that every draw in it comes from."""

from __future__ import annotations

import hashlib
from typing import Any, Self

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

TEST_FRACTION, VAL_FRACTION = 0.44, 0.11  # of a sport's channels: 02's fractions in the presets


class DemoConfig(BaseModel):
    """The demo world's size and seed. The same config makes the same world, whatever ``workers``
    is.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    sports: int = Field(
        default=24, ge=1, le=24, description="sports, the first so many of demo.skills.SPORTS"
    )
    skills: int = Field(default=3, ge=1, le=3, description="skills a sport")
    channels: int = Field(
        default=9, ge=3, le=9, description="channels a sport, each with one lesson a skill"
    )
    size_px: int = Field(
        default=128, ge=32, multiple_of=2, description="height and width of every video"
    )
    fps: int = Field(default=10, ge=5, description="frames a second of every video")
    seed: int = 0
    workers: int = Field(
        default=2,
        ge=0,
        description="processes that render, 0: none but this one; only the time taken depends on it",
    )
    train_learners: int = Field(
        default=2, ge=0, description="learner executions a fault in the train split"
    )
    val_learners: int = Field(
        default=1, ge=0, description="learner executions a skill in the val split"
    )
    test_learners: int = Field(
        default=1, ge=0, description="learner executions a fault in the test split"
    )
    other_skills: int = Field(
        default=8,
        ge=0,
        description="spans of other skills that coaches grade for a learner, beside all of the learner's own skill",
    )

    @classmethod
    def smoke(cls, **overrides: Any) -> Self:
        """A world of a few seconds, in which every kind of file and of defect still occurs."""
        small = {"sports": 3, "channels": 4, "size_px": 64, "train_learners": 1, "other_skills": 4}
        return cls(**(small | overrides))


def generator(seed: int, *names: object) -> np.random.Generator:
    """The generator of one named item: no item's draws depend on which others were made before
    it, or where.
    """
    name = "/".join(str(part) for part in names)
    digest = hashlib.blake2b(name.encode(), digest_size=8).digest()
    return np.random.default_rng([seed, int.from_bytes(digest)])


def draw_frames(
    rng: np.random.Generator, config: DemoConfig, low_s: float = 2.4, high_s: float = 3.4
) -> int:
    """Frames of a shot. Never from its words or its movement: a length must not tell what is shown."""
    return int(rng.integers(round(low_s * config.fps), round(high_s * config.fps) + 1))
