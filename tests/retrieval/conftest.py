"""A tiny, untrained Qwen2.5-VL and a few random videos, shared by the tests of this folder."""

from __future__ import annotations

import numpy as np
import pytest
from learner_files import write_video

from sportskills_lib.demo import base_vlm
from sportskills_lib.retrieval import relevance

TINY = base_vlm.Recipe(
    scenes=6, vision_steps=2, language_steps=2, batch=2, size_px=32, width=32, layers=2, vision_width=32,
    vision_layers=2, patch_px=8, merge=2, vocabulary=400,
)  # fmt: skip


@pytest.fixture(scope="session")
def tiny_recipe():
    return TINY


@pytest.fixture(scope="session")
def tiny_folder(tmp_path_factory):
    """A complete stand-in checkpoint, as small as the code allows."""
    return base_vlm.build_base_vlm(tmp_path_factory.mktemp("vlm") / "base_vlm", seed=3, recipe=TINY)


@pytest.fixture
def tiny_vlm(tiny_folder):
    return relevance.load_vlm(str(tiny_folder))


@pytest.fixture(scope="session")
def videos():
    """uint8 [9, 8, 32, 32, 3]: one learner and eight candidates."""
    return np.random.default_rng(0).integers(0, 255, (9, 8, 32, 32, 3), dtype=np.uint8)


@pytest.fixture(scope="session")
def narrations():
    """What the coach says over candidates 1 … 8: sentences of different length."""
    words = ["keep", "the", "right", "arm", "straight", "and", "bend", "both", "knees"]
    return {row: " ".join(words[: 1 + row]) for row in range(1, 9)}


@pytest.fixture(scope="session")
def six_seconds(tmp_path_factory):
    """A video of six seconds in which each frame tells its number."""
    return write_video(tmp_path_factory.mktemp("video") / "six.mp4")
