"""Embeddings of every clip and sentence by every arm; frame features kept where two encoders share
a frame tower.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import polars as pl

from sportskills_lib import models, tables
from sportskills_lib.config import EncoderConfig
from sportskills_lib.encoder.training import process_group
from sportskills_lib.encoder.validation import ClipData, encode_clips, encode_texts
from sportskills_lib.runs import artifacts, worker_pool

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


def embed(
    material: ClipData,
    said: pl.DataFrame,
    config: EncoderConfig,
    *,
    folder: Path,
    systems: tuple[System, ...],
    shards: Path,
) -> pl.DataFrame:
    """Embeddings of all clips and of the sentences ``said`` (narration_id, text), by every system:
    tables.Embeddings.

    Their towers are in ``folder/<encoder>/<arm>``.
    """
    texts = said["text"].to_list()
    jobs = [
        _Embedding(group, material, texts, folder, config, shards)
        for group in _sharing(systems, config)
    ]
    options: Any = {
        "workers": config.jobs,
        "timeout_s": 7 * 86400,
        "describe": _name,
        "shards": shards,
        "chunk": 1,
    }
    parts: dict[System, list[pl.DataFrame]] = {system: [] for system in systems}
    for job, result in zip(
        jobs, worker_pool.map_shards(_embed, jobs, label="arms", **options), strict=True
    ):
        if result.value is None:
            raise RuntimeError(f"{_name(job)} {result.reason}: {result.detail}")
        for system in job.systems:
            for kind, ids in (
                ("clip", material.clips["clip_id"]),
                ("narration", said["narration_id"]),
            ):
                vectors = pl.Series(
                    list(result.array(f"{kind}-{system.encoder}")), dtype=pl.List(pl.Float32)
                )
                names = {"model_id": pl.lit(system.model_id), "item_kind": pl.lit(kind)}
                parts[system].append(
                    pl.DataFrame({"item_id": ids, "vector": vectors}).with_columns(**names)
                )
    return pl.concat(part for system in systems for part in parts[system]).select(
        tables.Embeddings.column_names()
    )


def sentences(pairing: artifacts.StageReader, narrations: pl.DataFrame) -> pl.DataFrame:
    """narration_id and text of every sentence that belongs to a pair, in order of the id."""
    said = pairing.table("pairs", tables.Pairs).select("narration_id").unique().sort("narration_id")
    return said.join(
        narrations.select("narration_id", "text"),
        on="narration_id",
        how="left",
        maintain_order="left",
    )


class _Embedding(NamedTuple):
    """What a worker embeds."""

    systems: tuple[System, ...]
    material: ClipData
    texts: list[str]
    folder: Path
    config: EncoderConfig
    shards: Path


def _name(job: _Embedding) -> str:
    return f"embed {' '.join(system.model_id for system in job.systems)}"


def _sharing(systems: tuple[System, ...], config: EncoderConfig) -> list[tuple[System, ...]]:
    """The systems in groups of one frame tower: an image arm and the video arm that started from
    it.
    """
    groups: dict[object, list[System]] = {}
    for system in systems:
        shared = system.encoder != "native" and (
            system.arm == ZERO_SHOT or config.video_start == "image_arm"
        )
        groups.setdefault(system.arm if shared else system, []).append(system)
    return [tuple(group) for group in groups.values()]


def _embed(job: _Embedding) -> worker_pool.Value:
    share_cores(job.config)
    group, frames, value = process_group(job.config), job.material.frames(), worker_pool.Value()
    towers = {
        s.encoder: models.load_tower(job.folder.joinpath(*s), device=group.device)
        for s in job.systems
    }
    kept = features_file(job.shards, job.systems[0].arm)
    clips = frames
    if len(towers) > 1 or (
        kept.is_file() and "native" not in towers and job.config.video_start == "image_arm"
    ):
        start = job.config.model_copy(
            update={"model": str(job.folder.joinpath(*job.systems[0])), "pretrained": ""}
        )
        clips = np.load(keep_features(start, job.material, kept), mmap_mode="r")
    for encoder, tower in towers.items():
        value[f"clip-{encoder}"] = encode_clips(tower, clips, group)
        value[f"narration-{encoder}"] = encode_texts(tower, job.texts, group)
    return value


def share_cores(config: EncoderConfig) -> None:
    """The processes that work at the same time share the machine's cores."""
    import torch

    if config.device == "cpu":
        torch.set_num_threads(max(1, len(os.sched_getaffinity(0)) // max(1, config.jobs)))
