"""Stage 03: clips and texts gathered, every encoder trained with every arm from one start, and all
clips and sentences embedded.

Arms are trained in processes of their own. A finished arm is a shard on disk, a half-finished one a
checkpoint there: a run that was killed goes on from both.
"""

from __future__ import annotations

import os
import shutil
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import polars as pl

from sportskills_lib import models, tables
from sportskills_lib.config import EncoderConfig
from sportskills_lib.encoder import activity_data
from sportskills_lib.encoder.frame_features import (
    ZERO_SHOT,
    System,
    features_file,
    keep_features,
    work_folder,
)
from sportskills_lib.encoder.texts import training_texts
from sportskills_lib.encoder.training import Job, Outcome, process_group, start_tower, train
from sportskills_lib.encoder.validation import ClipData, encode_clips, encode_texts
from sportskills_lib.runs import artifacts, worker_pool

WEEK_S = 7 * 86400

OTHER_DATA = "activity_dataset"  # the one arm that trains on other clips


# ---------------------------------------------------------------------------------- clips and texts


def sources(config: EncoderConfig) -> list[Path]:
    """The raw folders that the stage depends on: the common starts, if they are such, and the
    activity data set.
    """
    names = {_start_name(config, encoder) for encoder in config.encoders}
    starts = [folder for name in sorted(names) if (folder := artifacts.workspace() / name).is_dir()]
    return [
        *starts,
        *([artifacts.workspace() / config.activity_source] if OTHER_DATA in config.arms else []),
    ]


def gather(
    pairing: artifacts.StageReader, narrations: pl.DataFrame, config: EncoderConfig
) -> ClipData:
    """The clips of 02 with the text of their narration (the first by id where a clip has several),
    and their frames.

    Only frames.npy holds pixels; row i belongs to row i of the clips. ValueError when
    ``train_sports`` names a sport that is not there.
    """
    clips = pairing.table("clips", tables.Clips)
    if unknown := sorted(set(config.train_sports) - set(clips["sport"])):
        raise ValueError(
            f"train_sports: no clip of {unknown[0]!r}; there are "
            f"{', '.join(sorted(set(clips['sport'])))}"
        )
    said = (
        pairing.table("pairs", tables.Pairs)
        .sort("clip_id", "narration_id")
        .group_by("clip_id", maintain_order=True)
        .first()
        .join(narrations.select("narration_id", "text"), on="narration_id", how="left")
    )
    told = clips.join(
        said.select("clip_id", "text"), on="clip_id", how="left", maintain_order="left"
    )
    return ClipData(told, str(pairing.path("frames.npy")), tuple(config.train_sports))


def other_material(
    material: ClipData, videos: pl.DataFrame, config: EncoderConfig, *, shards: Path
) -> tuple[ClipData | None, pl.DataFrame]:
    """The clips of the arm ``activity_dataset`` (None without that arm), and what was dropped of
    them, with reasons.

    ``videos``: those of the study, none of which may be among them. ValueError where
    ``activity_source`` is missing.
    """
    if OTHER_DATA not in config.arms:
        return None, tables.dropped_rows([])
    if not config.activity_source:
        raise ValueError(
            f"the arm {OTHER_DATA} needs activity_source: a folder of videos with a list of "
            "their labels"
        )
    folder = artifacts.workspace() / config.activity_source
    return activity_data.gather(folder, material, videos, workers=config.jobs, shards=shards)


def _start_name(config: EncoderConfig, encoder: str) -> str:
    if encoder != "native":
        return config.model
    if not config.native_model:
        raise ValueError(
            "the encoder native needs native_model: the hub id or the folder of an X-CLIP model"
        )
    return config.native_model


def _starting(config: EncoderConfig, encoder: str) -> EncoderConfig:
    """The config whose ``model`` is the encoder's start: a folder below the workspace, or a public
    name.

    ``frozen`` names weights of open_clip's towers: a native model is trained whole.
    """
    name = _start_name(config, encoder)
    folder = artifacts.workspace() / name
    own: dict[str, Any] = {"frozen": [], "pretrained": ""} if encoder == "native" else {}
    return config.model_copy(update={"model": str(folder) if folder.is_dir() else name} | own)


# ----------------------------------------------------------------------------------------- training


@dataclass(frozen=True)
class ArmResults:
    """What stage 03 found: curves of every arm (and of the trials before it), and where the towers
    are.
    """

    curves: pl.DataFrame  # encoder, arm, peak, trial, step, loss, val_loss, val_recall, val_mrr
    by_sport: pl.DataFrame  # encoder, arm, peak, step, sport, clips, val_loss, val_recall, val_mrr
    trials: pl.DataFrame  # encoder, arm, peak, val_loss of each trial, whether it was chosen
    times: pl.DataFrame  # encoder, arm, seconds in steps, of these waited for data
    systems: tuple[System, ...]

    def headline(self) -> dict[str, Any]:
        """The last validation recall of each arm and the share of time that waited for data, for
        the manifest.
        """
        last = (
            self.curves.filter(~pl.col("trial"))
            .sort("step")
            .group_by("encoder", "arm", maintain_order=True)
            .last()
        )
        told = {
            f"val_recall_{r['encoder']}_{r['arm']}": round(r["val_recall"], 3)
            for r in last.to_dicts()
        }
        seconds, waited = float(self.times["seconds"].sum()), float(self.times["waited_s"].sum())
        return dict(sorted(told.items())) | (
            {"data_wait_share": round(waited / seconds, 4)} if seconds else {}
        )


def train_arms(
    material: ClipData,
    config: EncoderConfig,
    *,
    folder: Path,
    shards: Path,
    logs: Path | None = None,
    other: ClipData | None = None,
) -> ArmResults:
    """Train every encoder of ``config`` with every arm; towers go to ``folder/<encoder>/<arm>``,
    starts to zero_shot.

    All arms train on ``material`` but ``activity_dataset``, which trains on ``other``, as long and
    in such batches. Without training clips (a small folder of one's own) no arm is trained, and
    zero_shot alone is there. ``logs`` is where trackers write.
    """
    frames = material.frames().shape[1]
    for encoder in config.encoders:
        start_tower(_starting(config, encoder), encoder, frames).save(folder / encoder / ZERO_SHOT)
    arms: list[str] = [*config.arms] if len(material.rows("train")) else []
    of = {arm: other if other is not None and arm == OTHER_DATA else material for arm in arms}
    systems = [System(encoder, arm) for encoder in _needed(config) for arm in arms]
    jobs = [_Arm(system, of[system.arm], config, shards, str(logs or "")) for system in systems]
    results = worker_pool.map_shards(
        _train_arm,
        jobs,
        workers=config.jobs,
        timeout_s=WEEK_S,
        describe=_name,
        shards=shards,
        chunk=1,
        label="arms",
    )
    parts: dict[str, list[pl.DataFrame]] = {
        name: [pl.DataFrame(schema=kinds)] for name, kinds in TABLES.items()
    }
    for system, result in zip(systems, results, strict=True):
        if result.value is None:
            raise RuntimeError(f"training {system.model_id} {result.reason}: {result.detail}")
        for name, kinds in TABLES.items():
            parts[name].append(pl.DataFrame(result.value[name], schema=kinds))
        shutil.rmtree(folder.joinpath(*system), ignore_errors=True)  # of a cell that is run again
        shutil.copytree(
            work_folder(shards, system) / "tower", folder.joinpath(*system), copy_function=os.link
        )
    kept = [System(encoder, arm) for encoder in config.encoders for arm in (ZERO_SHOT, *arms)]
    return ArmResults(
        **{name: pl.concat(found) for name, found in parts.items()}, systems=tuple(kept)
    )


_NAMES: Any = {"encoder": pl.String, "arm": pl.String}

_SCORES: Any = {"val_loss": pl.Float64, "val_recall": pl.Float64, "val_mrr": pl.Float64}

TABLES: Any = {
    "curves": {
        **_NAMES,
        "peak": pl.Float64,
        "trial": pl.Boolean,
        "step": pl.Int64,
        "loss": pl.Float64,
        **_SCORES,
    },
    "by_sport": {
        **_NAMES,
        "peak": pl.Float64,
        "step": pl.Int64,
        "sport": pl.String,
        "clips": pl.Int64,
        **_SCORES,
    },
    "trials": {**_NAMES, "peak": pl.Float64, "val_loss": pl.Float64, "chosen": pl.Boolean},
    "times": {**_NAMES, "seconds": pl.Float64, "waited_s": pl.Float64},
}


def _needed(config: EncoderConfig) -> list[str]:
    """The encoders to train, image first: video arms may start from its arms."""
    wanted = set(config.encoders)
    if "video" in wanted and config.video_start == "image_arm":
        wanted.add("image")
    return [encoder for encoder in ("image", "native", "video") if encoder in wanted]


class _Arm(NamedTuple):
    """What a worker trains."""

    system: System
    material: ClipData
    config: EncoderConfig
    shards: Path
    logs: str


def _name(job: Any) -> str:
    return job.system.model_id


def _train_arm(job: _Arm) -> worker_pool.Value:
    """One arm, in a process of its own: short trials of the grid of learning rates, then the
    training.
    """
    (encoder, arm), config, work = job.system, job.config, work_folder(job.shards, job.system)
    share_cores(config)
    whole = _starting(config, encoder)
    features = ""
    if encoder == "video" and config.video_start == "image_arm":
        whole = config.model_copy(
            update={"model": str(_image_arm(job.shards, arm)), "pretrained": ""}
        )
        shown = (
            work / "features.npy" if arm == OTHER_DATA else features_file(job.shards, arm)
        )  # those of 02 are embedded
        features = str(keep_features(whole, job.material, shown))
    texts = training_texts(job.material.clips, job.material.clips["text"], arm, seed=config.seed)
    grid = config.video_learning_rates if encoder == "video" else config.learning_rates
    steps = config.video_steps if encoder == "video" else config.steps
    shared: Any = {
        "arm": arm,
        "encoder": encoder,
        "features": features,
        "start": _starting(config, encoder).model,
    }

    def run(peak: float, name: str, **more: Any) -> Outcome:
        return train(
            Job(whole, job.material, texts, peak=peak, folder=str(work / name), **shared, **more)
        )

    outcomes = [
        run(peak, f"trial-{peak:g}", steps=config.trial_steps, evaluate=False)
        for peak in (grid if grid[1:] else [])
    ]
    trials = [
        (encoder, arm, peak, o.curve["val_loss"][-1])
        for peak, o in zip(grid, outcomes, strict=False)
    ]
    best = min(trials, key=lambda row: (row[3], row[2]))[2] if trials else grid[0]
    chosen = run(best, "training", steps=steps, logs=job.logs and f"{job.logs}/{encoder}-{arm}")
    _save_whole(chosen.tower, work / "tower")
    curves = [o.curve.with_columns(trial=pl.lit(o is not chosen)) for o in (*outcomes, chosen)]
    times = [(encoder, arm, o.seconds, o.waited_s) for o in (*outcomes, chosen)]
    return {
        "curves": pl.concat(
            [c.select(list(TABLES["curves"])).cast(TABLES["curves"]) for c in curves]
        ),
        "by_sport": chosen.by_sport.select(list(TABLES["by_sport"])).cast(TABLES["by_sport"]),
        "trials": pl.DataFrame(
            [(*row, row[2] == best) for row in trials], schema=TABLES["trials"], orient="row"
        ),
        "times": pl.DataFrame(times, schema=TABLES["times"], orient="row"),
    }


def _image_arm(shards: Path, arm: str) -> Path:
    """The tower of the image arm, once it is there: arms are dealt image first, so it is done or
    being trained.

    If its training fails, the main process ends this one.
    """
    folder = work_folder(shards, System("image", arm)) / "tower"
    while not folder.is_dir():
        time.sleep(0.2)
    return folder


def _save_whole(tower: models.Tower, folder: Path) -> None:
    temporary = folder.with_name(f".{folder.name}.tmp")
    shutil.rmtree(temporary, ignore_errors=True)
    shutil.rmtree(folder, ignore_errors=True)
    tower.save(temporary)
    temporary.rename(folder)


# ---------------------------------------------------------------------------------------- embedding


def sentences(pairing: artifacts.StageReader, narrations: pl.DataFrame) -> pl.DataFrame:
    """narration_id and text of every sentence that belongs to a pair, in order of the id."""
    said = pairing.table("pairs", tables.Pairs).select("narration_id").unique().sort("narration_id")
    return said.join(
        narrations.select("narration_id", "text"),
        on="narration_id",
        how="left",
        maintain_order="left",
    )


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
        "describe": _embedding_name,
        "shards": shards,
        "chunk": 1,
    }
    parts: dict[System, list[pl.DataFrame]] = {system: [] for system in systems}
    for job, result in zip(
        jobs, worker_pool.map_shards(_embed, jobs, label="arms", **options), strict=True
    ):
        if result.value is None:
            raise RuntimeError(f"{_embedding_name(job)} {result.reason}: {result.detail}")
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


class _Embedding(NamedTuple):
    """What a worker embeds."""

    systems: tuple[System, ...]
    material: ClipData
    texts: list[str]
    folder: Path
    config: EncoderConfig
    shards: Path


def _embedding_name(job: _Embedding) -> str:
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
