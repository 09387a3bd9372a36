"""What all tests share: quiet threads, and a workspace of toy notebooks."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
os.environ.setdefault("MPLBACKEND", "agg")

import pytest
from toys import make_toy_workspace


@pytest.fixture(autouse=True)
def one_torch_thread() -> Iterator[None]:
    """A test that lets torch use more threads does so for itself: sums in another order give other
    weights.
    """
    yield
    if "torch" in sys.modules:
        sys.modules["torch"].set_num_threads(1)


@pytest.fixture
def toy_workspace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A fresh toy workspace that the library takes for its own."""
    monkeypatch.setenv("SPORTSKILLS_HOME", str(tmp_path / "ws"))
    return make_toy_workspace(tmp_path / "ws")
