"""The stand-in stage outputs of tests/evaluation, seen by the browser."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "evaluation"))

import stage_outputs

from sportskills_lib.viewing import retrieved_queries


@pytest.fixture(scope="session")
def inspected(tmp_path_factory) -> Path:
    """A workspace whose run ``synthetic`` has all that 06 reads: two sports, learners,
    judgements.
    """
    folder = tmp_path_factory.mktemp("inspected")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SPORTSKILLS_HOME", str(folder))
        stage_outputs.write_stages(folder, sports=("golf", "judo"))
        stage_outputs.write_evaluation()
    return folder


@pytest.fixture
def kinds(inspected, monkeypatch) -> list[retrieved_queries.QueryResults]:
    """Narrations and learners of that run."""
    monkeypatch.setenv("SPORTSKILLS_HOME", str(inspected))
    return retrieved_queries.read(stage_outputs.RUN)
