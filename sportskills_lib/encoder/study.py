"""The study of stage 03: every arm from one common start, trained in processes of their own.

A finished arm is a shard on disk: a run killed in the middle of another finds it again.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from sportskills_lib import artifacts, compute, models, tables
from sportskills_lib.config import EncoderConfig
from sportskills_lib.encoder import activity_data
from sportskills_lib.encoder.texts import training_texts
from sportskills_lib.encoder.training import Material, train

ZERO_SHOT = "zero_shot"
OTHER_DATA = "activity_dataset"  # the one arm that trains on other clips


@dataclass(frozen=True)
class Trained:
    """What stage 03 found: curves of every arm (and of the trials before it), and where the towers are."""

    curves: pl.DataFrame  # arm, peak, trial, step, loss, val_loss, val_recall, val_mrr
    chosen: pl.DataFrame  # arm, peak, val_loss of each trial, whether it was chosen
    arms: tuple[str, ...]

    def headline(self) -> dict[str, Any]:
        """The last validation recall of each arm, for the manifest."""
        last = self.curves.filter(~pl.col("trial")).sort("step").group_by("arm", maintain_order=True).last()
        return {f"val_recall_{row['arm']}": round(row["val_recall"], 3) for row in last.sort("arm").to_dicts()}


def gather(pairing: artifacts.StageReader, narrations: pl.DataFrame) -> Material:
    """The clips of 02 with the text of their narration (the first by id where a clip has several), and their frames.

    Only frames.npy holds pixels; row i belongs to row i of the clips.
    """
    clips = pairing.table("clips", tables.Clips)
    said = (
        pairing.table("pairs", tables.Pairs)
        .sort("clip_id", "narration_id")
        .group_by("clip_id", maintain_order=True)
        .first()
        .join(narrations.select("narration_id", "text"), on="narration_id", how="left")
    )
    told = clips.join(said.select("clip_id", "text"), on="clip_id", how="left", maintain_order="left")
    return Material(told, str(pairing.path("frames.npy")))


def start_folder(config: EncoderConfig) -> Path | None:
    """The folder of the common start, if it is one: part of what the stage depends on."""
    folder = artifacts.workspace() / config.model
    return folder if folder.is_dir() else None


def sources(config: EncoderConfig) -> list[Path]:
    """The raw folders that the stage depends on: the start, if it is one, and the activity data set, if it is used."""
    other = [artifacts.workspace() / config.activity_source] if OTHER_DATA in config.arms else []
    return [*filter(None, [start_folder(config)]), *other]


def other_material(
    material: Material, videos: pl.DataFrame, config: EncoderConfig, *, shards: Path
) -> tuple[Material | None, pl.DataFrame]:
    """The clips of the arm ``activity_dataset`` (None without that arm), and what was dropped of them, with reasons.

    ``videos``: those of the study, none of which may be among them. ValueError where ``activity_source`` is missing.
    """
    if OTHER_DATA not in config.arms:
        return None, tables.dropped_rows([])
    if not config.activity_source:
        raise ValueError(f"the arm {OTHER_DATA} needs activity_source: a folder of videos with a list of their labels")
    folder = artifacts.workspace() / config.activity_source
    return activity_data.gather(folder, material, videos, workers=config.jobs, shards=shards)


def text_examples(material: Material, config: EncoderConfig, *, count: int = 4) -> pl.DataFrame:
    """The texts that each arm reads beside a few training clips, evenly spaced over the sports."""
    rows = material.rows("train")
    rows = rows[np.linspace(0, len(rows) - 1, min(count, len(rows))).astype(int)] if len(rows) else rows
    columns = {
        arm: pl.Series([training_texts(material.clips, material.clips["text"], arm, seed=config.seed)[i] for i in rows])
        for arm in config.arms
        if arm != OTHER_DATA
    }
    return pl.DataFrame({"clip_id": material.clips["clip_id"][rows], **columns})


def train_arms(
    material: Material, config: EncoderConfig, *, folder: Path, shards: Path, other: Material | None = None
) -> Trained:
    """Train every arm of ``config.arms``; towers go to ``folder/<arm>``, the common start to ``folder/zero_shot``.

    All arms train on ``material`` but ``activity_dataset``, which trains on ``other``, as long and in such batches.

    Without training clips (a small folder of one's own) no arm is trained, and zero_shot alone is there.
    """
    start = models.load_tower(_start(config), pretrained=config.pretrained)
    start.save(folder / ZERO_SHOT)
    arms = config.arms if len(material.rows("train")) else []
    of = {arm: other if other is not None and arm == OTHER_DATA else material for arm in arms}
    jobs = [(arm, of[arm], config.model_copy(update={"model": _start(config)})) for arm in arms]
    results = compute.map_shards(
        _train_arm, jobs, workers=config.jobs, timeout_s=7 * 86400, describe=_name, shards=shards, chunk=1, label="arms"
    )
    curves, chosen = [pl.DataFrame(schema=CURVES)], [pl.DataFrame(schema=TRIALS)]
    for (arm, _, _), result in zip(jobs, results, strict=True):
        if result.value is None:
            raise RuntimeError(f"training the arm {arm} {result.reason}: {result.detail}")
        if config.loss == "siglip":
            models.add_logit_bias(start)
        start.model.load_state_dict(_tensors(result.value, start.model.state_dict()))
        start.save(folder / arm)
        curves.append(pl.DataFrame(result.value["curve"], schema=CURVES))
        chosen.append(pl.DataFrame(result.value["trials"], schema=TRIALS))
    return Trained(pl.concat(curves), pl.concat(chosen), (ZERO_SHOT, *arms))


CURVES: Any = {
    "arm": pl.String,
    "peak": pl.Float64,
    "trial": pl.Boolean,
    "step": pl.Int64,
    "loss": pl.Float64,
    "val_loss": pl.Float64,
    "val_recall": pl.Float64,
    "val_mrr": pl.Float64,
}
TRIALS: Any = {"arm": pl.String, "peak": pl.Float64, "val_loss": pl.Float64, "chosen": pl.Boolean}


def _start(config: EncoderConfig) -> str:
    """The common start: a folder below the workspace, or a name that open_clip knows."""
    return str(start_folder(config) or config.model)


def _name(job: tuple[str, Material, EncoderConfig]) -> str:
    return job[0]


def _train_arm(job: tuple[str, Material, EncoderConfig]) -> compute.Value:
    """One arm, in a process of its own: short trials of the grid of learning rates, then the training."""
    arm, material, config = job
    _share_cores(config)
    texts = training_texts(material.clips, material.clips["text"], arm, seed=config.seed)
    curves, trials = [], []
    grid = config.learning_rates
    for peak in grid if len(grid) > 1 else []:
        _, curve = train(config, material, texts, arm=arm, peak=peak, steps=config.trial_steps, evaluate=False)
        curves.append(curve.with_columns(trial=True))
        trials.append((arm, peak, curve["val_loss"][-1]))
    best = min(trials, key=lambda row: (row[2], row[1]))[1] if trials else grid[0]
    tower, curve = train(config, material, texts, arm=arm, peak=best, steps=config.steps)
    curves.append(curve.with_columns(trial=False))
    table = pl.concat([c.select(list(CURVES)).cast(CURVES) for c in curves])
    tried = pl.DataFrame([(*row, row[1] == best) for row in trials], schema=TRIALS, orient="row")
    state = {
        f"weights-{name}": value.detach().cpu().reshape(-1).numpy() for name, value in tower.model.state_dict().items()
    }
    return {"curve": table, "trials": tried, **state}


def _tensors(value: compute.Value, like: dict[str, Any]) -> dict[str, Any]:
    import torch

    return {
        name: torch.from_numpy(np.array(value[f"weights-{name}"])).to(old.dtype).reshape(old.shape)
        for name, old in like.items()
    }


def embed(
    material: Material, said: pl.DataFrame, config: EncoderConfig, *, folder: Path, arms: tuple[str, ...], shards: Path
) -> pl.DataFrame:
    """Embeddings of all clips and of the sentences ``said`` (narration_id, text), by every arm: tables.Embeddings."""
    jobs = [(arm, material, said["text"].to_list(), str(folder / arm), config) for arm in arms]
    results = compute.map_shards(
        _embed_arm,
        jobs,
        workers=config.jobs,
        timeout_s=7 * 86400,
        describe=_embedding,
        shards=shards,
        chunk=1,
        label="arms",
    )
    parts = []
    for (arm, *_), result in zip(jobs, results, strict=True):
        if result.value is None:
            raise RuntimeError(f"embedding with the arm {arm} {result.reason}: {result.detail}")
        for kind, ids in (("clip", material.clips["clip_id"]), ("narration", said["narration_id"])):
            vectors = pl.Series(list(np.asarray(result.value[kind])), dtype=pl.List(pl.Float32))
            names = {"model_id": pl.lit(f"image:{arm}"), "item_kind": pl.lit(kind)}
            parts.append(pl.DataFrame({"item_id": ids, "vector": vectors}).with_columns(**names))
    return pl.concat(parts).select(tables.Embeddings.column_names())


def sentences(pairing: artifacts.StageReader, narrations: pl.DataFrame) -> pl.DataFrame:
    """narration_id and text of every sentence that belongs to a pair, in order of the id."""
    said = pairing.table("pairs", tables.Pairs).select("narration_id").unique().sort("narration_id")
    return said.join(narrations.select("narration_id", "text"), on="narration_id", how="left", maintain_order="left")


def _embedding(job: tuple[Any, ...]) -> str:
    return f"embed {job[0]}"


def _embed_arm(job: tuple[str, Material, list[str], str, EncoderConfig]) -> compute.Value:
    _, material, texts, folder, config = job
    _share_cores(config)
    tower = models.load_tower(folder, device=config.device)
    return {"clip": tower.encode_frames(material.frames()), "narration": tower.encode_texts(texts)}


def _share_cores(config: EncoderConfig) -> None:
    """The processes that work at the same time share the machine's cores."""
    import torch

    if config.device == "cpu":
        torch.set_num_threads(max(1, len(os.sched_getaffinity(0)) // max(1, config.jobs)))
