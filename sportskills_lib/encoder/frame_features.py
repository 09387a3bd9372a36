"""Where an arm's work is kept, and frame features kept where two encoders share a frame tower."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import numpy as np

from sportskills_lib import models
from sportskills_lib.config import EncoderConfig
from sportskills_lib.encoder.training import process_group
from sportskills_lib.encoder.validation import ClipData

ZERO_SHOT = "zero_shot"


class System(NamedTuple):
    """An encoder with what it was trained on."""

    encoder: str
    arm: str

    @property
    def model_id(self) -> str:
        """Its name in tables.Embeddings."""
        return f"{self.encoder}:{self.arm}"


def work_folder(shards: Path, system: System) -> Path:
    """Where an arm's checkpoints and its finished tower are until the stage is complete."""
    return shards / "arms" / f"{system.encoder}-{system.arm}"


def features_file(shards: Path, arm: str) -> Path:
    """Frame features of all clips by an image arm, which the video arm of the same texts trains
    on.
    """
    return work_folder(shards, System("image", arm)) / "features.npy"


def keep_features(config: EncoderConfig, material: ClipData, path: Path) -> Path:
    """Write the features of every frame of every clip, float32 [N, T, D] (float16 in mixed
    precision), if not there.

    ``config.model`` is the tower. A kill leaves the whole file or none.
    """
    if not path.is_file():
        group = process_group(config)
        tower, frames = (
            models.load_tower(config.model, pretrained=config.pretrained, device=group.device),
            material.frames(),
        )
        temporary, kind = (
            path.with_suffix(".tmp"),
            np.float32 if config.precision == "no" else np.float16,
        )
        path.parent.mkdir(parents=True, exist_ok=True)
        shape = (*frames.shape[:2], tower.width)
        kept = np.lib.format.open_memmap(temporary, mode="w+", dtype=kind, shape=shape)
        with group.autocast():
            for start in range(0, len(frames), 256):
                kept[start : start + 256] = tower.encode_frame_features(frames[start : start + 256])
        kept.flush()
        temporary.replace(path)
    return path
