"""The stand-in stage outputs of tests/evaluation, with films to look at, and a study drawn from
them.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[2] / "evaluation"))

import stage_outputs

from sportskills_lib.apps.rate import candidate_draw
from sportskills_lib.apps.rate.store import Store, Study

RATERS = ("ann", "ben", "eve")


@pytest.fixture(scope="session")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two sports, 18 learners with 24 judged candidates each, three test channels a sport."""
    folder = tmp_path_factory.mktemp("rated")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SPORTSKILLS_HOME", str(folder))
        stage_outputs.write_stages(folder, sports=("golf", "judo"))
        stage_outputs.write_films(folder)
    return folder


@pytest.fixture
def home(workspace: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The workspace, with no study in it."""
    monkeypatch.setenv("SPORTSKILLS_HOME", str(workspace))
    drawn = workspace / "data/ratings"
    if drawn.exists():
        drawn.rename(workspace / f"data/before-{len(list((workspace / 'data').iterdir()))}")
    return workspace


def study(name: str = "coaches", **changes) -> Study:
    """A study over the judged pools."""
    asked = {
        "name": name,
        "run": stage_outputs.RUN,
        "rankings": "pools",
        "systems": (),
        "depth": 3,
        "split": "test",
        "raters": RATERS,
        "overlap": 2,
        "share_by_all": 0.2,
        "seed": 3,
        "words": True,
    }
    return Study(**asked | changes)


@pytest.fixture
def make_store(home: Path) -> Callable[..., Store]:
    """Draws a study: ``make_store(learners=4, depth=2)``."""

    def make(*, learners: int = 4, **changes) -> Store:
        return candidate_draw.draw(study(**changes), learners=learners)

    return make
