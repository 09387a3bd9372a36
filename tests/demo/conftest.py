"""A demo world of two sports and nine channels, made once for all tests here."""

from __future__ import annotations

from pathlib import Path

import pytest

from sportskills_lib.demo.settings import DemoConfig
from sportskills_lib.demo.world import make_world

TINY = {
    "sports": 2,
    "channels": 3,
    "skills": 2,
    "size_px": 32,
    "train_learners": 1,
    "other_skills": 2,
    "workers": 0,
}


@pytest.fixture(scope="session")
def tiny_config() -> DemoConfig:
    return DemoConfig.smoke(**TINY)


@pytest.fixture(scope="session")
def tiny_world(tiny_config: DemoConfig, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The smallest world with every kind of file in it."""
    return make_world(tmp_path_factory.mktemp("tiny"), tiny_config)


@pytest.fixture(scope="session")
def full_config() -> DemoConfig:
    """The demo preset: planned whole in less than a second, since planning draws no picture."""
    return DemoConfig()
