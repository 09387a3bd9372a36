"""One arm in a process of its own: trained, saved, and asked for its embeddings.

A finished arm is a tower on disk, a half-finished one a checkpoint there. An image arm and the
video arm that starts from it share a frame tower, whose features of all frames are kept beside it.
"""

from __future__ import annotations

import os
import shutil
import time
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import polars as pl

from sportskills_lib import models
from sportskills_lib.config import EncoderConfig
from sportskills_lib.encoder.texts import training_texts
from sportskills_lib.encoder.training import Job, Outcome, process_group, train
from sportskills_lib.encoder.validation import ClipData, encode_clips, encode_texts
from sportskills_lib.runs import artifacts, worker_pool

ZERO_SHOT = "zero_shot"
OTHER_DATA = "activity_dataset"  # the one arm that trains on other clips

_NAMES: Any = {"encoder": pl.String, "arm": pl.String, "peak": pl.Float64}
_SCORES: Any = {"val_loss": pl.Float64, "val_recall": pl.Float64, "val_mrr": pl.Float64}
TABLES: Any = {  # what a training leaves beside its tower
    "curves": {**_NAMES, "trial": pl.Boolean, "step": pl.Int64, "loss": pl.Float64, **_SCORES},
    "by_sport": {**_NAMES, "step": pl.Int64, "sport": pl.String, "clips": pl.Int64, **_SCORES},
    "trials": {**_NAMES, "val_loss": pl.Float64, "chosen": pl.Boolean},
    "times": {
        "encoder": pl.String,
        "arm": pl.String,
        "seconds": pl.Float64,
        "waited_s": pl.Float64,
    },
}


class System(NamedTuple):
    """An encoder with what it was trained on."""

    encoder: str
    arm: str

    @property
    def model_id(self) -> str:
        """Its name in tables.Embeddings."""
        return f"{self.encoder}:{self.arm}"


def start_config(config: EncoderConfig, encoder: str) -> EncoderConfig:
    """The config whose ``model`` is the encoder's start: a folder below the workspace, or a public
    name. ValueError for a native encoder without one.

    ``frozen`` names weights of open_clip's towers: a native model is trained whole.
    """
    if encoder != "native":
        name, own = config.model, dict[str, Any]()
    else:
        name, own = config.native_model, {"frozen": [], "pretrained": ""}
    if not name:
        raise ValueError(
            "the encoder native needs native_model: the hub id or the folder of an X-CLIP model"
        )
    folder = artifacts.workspace() / name
    return config.model_copy(update={"model": str(folder) if folder.is_dir() else name} | own)


def work_folder(shards: Path, system: System) -> Path:
    """Where an arm's checkpoints and its finished tower are until the stage is complete."""
    return shards / "arms" / f"{system.encoder}-{system.arm}"


def train_arm(
    system: System,
    *,
    materials: dict[str, ClipData],
    config: EncoderConfig,
    shards: Path,
    logs: str,
) -> worker_pool.Value:
    """Short trials of the grid of learning rates, then the training: TABLES. The tower is then in
    ``tower`` below the arm's work folder. ``materials``: the clips of each arm.
    """
    (encoder, arm), material, work = system, materials[system.arm], work_folder(shards, system)
    _share_cores(config)
    start = whole = start_config(config, encoder)
    features = ""
    if encoder == "video" and config.video_start == "image_arm":
        image = work_folder(shards, System("image", arm))
        while not (image / "tower").is_dir():  # arms are dealt image first: done, or being trained;
            time.sleep(0.2)  # if that fails, the main process ends this one
        whole = config.model_copy(update={"model": str(image / "tower"), "pretrained": ""})
        place = work if arm == OTHER_DATA else image  # those of 02's clips are embedded, too
        features = str(_keep_features(whole, material, place / "features.npy"))
    texts = training_texts(material.clips, material.clips["text"], arm, seed=config.seed)
    shared: Any = {"arm": arm, "encoder": encoder, "features": features, "start": start.model}

    def run(peak: float, name: str, **more: Any) -> Outcome:
        folder = str(work / name)
        return train(Job(whole, material, texts, peak=peak, folder=folder, **shared, **more))

    grid = config.video_learning_rates if encoder == "video" else config.learning_rates
    outcomes = [
        run(peak, f"trial-{peak:g}", steps=config.trial_steps, evaluate=False)
        for peak in (grid if grid[1:] else [])
    ]
    losses = [outcome.curve["val_loss"][-1] for outcome in outcomes]
    best = min(zip(losses, grid, strict=False), default=(0.0, grid[0]))[1]
    steps = config.video_steps if encoder == "video" else config.steps
    chosen = run(best, "training", steps=steps, logs=logs and f"{logs}/{encoder}-{arm}")
    _save_whole(chosen.tower, work / "tower")
    outcomes.append(chosen)
    curves = [o.curve.with_columns(trial=pl.lit(o is not chosen)) for o in outcomes]
    rows = {
        "curves": [row for curve in curves for row in curve.to_dicts()],
        "by_sport": chosen.by_sport.to_dicts(),
        "trials": [
            {"encoder": encoder, "arm": arm, "peak": peak, "val_loss": loss, "chosen": peak == best}
            for peak, loss in zip(grid, losses, strict=False)
        ],
        "times": [
            {"encoder": encoder, "arm": arm, "seconds": o.seconds, "waited_s": o.waited_s}
            for o in outcomes
        ],
    }
    return {name: pl.DataFrame(rows[name], schema=TABLES[name]) for name in TABLES}


def _save_whole(tower: models.Tower, folder: Path) -> None:
    temporary = folder.with_name(f".{folder.name}.tmp")
    shutil.rmtree(temporary, ignore_errors=True)
    shutil.rmtree(folder, ignore_errors=True)
    tower.save(temporary)
    temporary.rename(folder)


# ---------------------------------------------------------------------------------------- embedding


def systems_by_tower(
    systems: tuple[System, ...], config: EncoderConfig
) -> list[tuple[System, ...]]:
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


def embed_systems(
    systems: tuple[System, ...],
    *,
    material: ClipData,
    texts: list[str],
    folder: Path,
    config: EncoderConfig,
    shards: Path,
) -> worker_pool.Value:
    """Vectors float32 [N, D] of clips and texts by each of the systems, which share a frame tower:
    ``clip-<encoder>`` and ``narration-<encoder>``. Their towers are in ``folder/<encoder>/<arm>``.
    """
    _share_cores(config)
    group, value, first = process_group(config), worker_pool.Value(), systems[0]
    clips = material.frames()
    kept = work_folder(shards, System("image", first.arm)) / "features.npy"
    reusable = kept.is_file() and first.encoder != "native" and config.video_start == "image_arm"
    if systems[1:] or reusable:
        start = config.model_copy(update={"model": str(folder.joinpath(*first)), "pretrained": ""})
        clips = np.load(_keep_features(start, material, kept), mmap_mode="r")
    for system in systems:
        tower = models.load_tower(folder.joinpath(*system), device=group.device)
        value[f"clip-{system.encoder}"] = encode_clips(tower, clips, group)
        value[f"narration-{system.encoder}"] = encode_texts(tower, texts, group)
    return value


def _keep_features(config: EncoderConfig, material: ClipData, path: Path) -> Path:
    """Write the features of every frame of every clip, float32 [N, T, D] (float16 in mixed
    precision), if not there.

    ``config.model`` is the tower. A kill leaves the whole file or none.
    """
    if path.is_file():
        return path
    group, frames = process_group(config), material.frames()
    tower = models.load_tower(config.model, pretrained=config.pretrained, device=group.device)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_suffix(".tmp")
    kind = np.float32 if config.precision == "no" else np.float16
    shape = (*frames.shape[:2], tower.width)
    kept = np.lib.format.open_memmap(temporary, mode="w+", dtype=kind, shape=shape)
    with group.autocast():
        for start in range(0, len(frames), 256):
            kept[start : start + 256] = tower.encode_frame_features(frames[start : start + 256])
    kept.flush()
    return temporary.replace(path)


def _share_cores(config: EncoderConfig) -> None:
    """The processes that work at the same time share the machine's cores."""
    import torch

    if config.device == "cpu":
        torch.set_num_threads(max(1, len(os.sched_getaffinity(0)) // max(1, config.jobs)))
