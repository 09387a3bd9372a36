"""A workspace with small stage outputs, made once; tests that write get a copy."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import stage_outputs

from sportskills_lib.plots import style


@pytest.fixture(scope="session")
def _pristine(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("workspace")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SPORTSKILLS_HOME", str(folder))
        stage_outputs.write_stages(
            folder, sports=("archery", "golf", "judo", "tennis"), small=("archery",)
        )
    return folder


@pytest.fixture(scope="session", autouse=True)
def _small_pictures():
    """Pictures of fewer pixels: what is drawn is tested, not how finely."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(style.RC, "savefig.dpi", 60)
        yield


@pytest.fixture
def workspace(_pristine, tmp_path, monkeypatch) -> Path:
    """A fresh copy; $SPORTSKILLS_HOME points to it."""
    folder = tmp_path / "workspace"
    shutil.copytree(_pristine, folder)
    monkeypatch.setenv("SPORTSKILLS_HOME", str(folder))
    return folder
