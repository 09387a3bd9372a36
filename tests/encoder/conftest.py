"""What the tests of the encoder share: two tiny towers, and clips of noise."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest
from small_training import TINY, VIT

from sportskills_lib import models
from sportskills_lib.encoder.training import ClipData


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("tiny")
    models.new_tower(TINY, seed=3).save(folder)
    return str(folder)


@pytest.fixture(scope="session")
def material(tmp_path_factory: pytest.TempPathFactory) -> ClipData:
    rng = np.random.default_rng(0)
    rows = [
        {
            "clip_id": f"c{i:03d}",
            "video_id": f"v{i // 4}",
            "sport": sport,
            "skill": f"skill{i % 2}",
            "split": split,
            "text": f"do {sport} thing {i}",
        }
        for i, (sport, split) in enumerate(
            (sport, split)
            for sport in ("golf", "judo", "tennis")
            for split in ["train"] * 12 + ["val"] * 4 + ["test"] * 4
        )
    ]
    path = tmp_path_factory.mktemp("frames") / "frames.npy"
    np.save(path, rng.integers(0, 255, (len(rows), 4, 32, 32, 3), dtype=np.uint8))
    return ClipData(pl.DataFrame(rows), str(path))


@pytest.fixture(scope="session")
def vit(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("vit")
    models.new_tower(VIT, seed=3).save(folder)
    return str(folder)
