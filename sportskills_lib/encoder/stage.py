"""Stage 03: clips and texts gathered, every encoder trained with every arm from one start, and all
clips and sentences embedded.

Arms are trained in processes of their own (:mod:`.arms`). A finished arm is a shard on disk, a
half-finished one a checkpoint there: a run that was killed goes on from both.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import polars as pl

from sportskills_lib import tables
from sportskills_lib.config import EncoderConfig
from sportskills_lib.encoder import activity_data
from sportskills_lib.encoder.arms import (
    OTHER_DATA,
    TABLES,
    ZERO_SHOT,
    System,
    embed_systems,
    start_config,
    systems_by_tower,
    train_arm,
    work_folder,
)
from sportskills_lib.encoder.training import start_tower
from sportskills_lib.encoder.validation import ClipData
from sportskills_lib.runs import artifacts, worker_pool

WEEK_S = 7 * 86400


# ---------------------------------------------------------------------------------- clips and texts


def sources(config: EncoderConfig) -> list[Path]:
    """The raw folders that the stage depends on: the common starts, if they are such, and the
    activity data set.
    """
    names = {start_config(config, encoder).model for encoder in config.encoders}
    starts = [Path(name) for name in sorted(names) if Path(name).is_dir()]
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
        start_tower(start_config(config, encoder), encoder, frames).save(
            folder / encoder / ZERO_SHOT
        )
    arms: list[str] = [*config.arms] if len(material.rows("train")) else []
    materials = dict.fromkeys(arms, material)
    if OTHER_DATA in arms and other is not None:
        materials[OTHER_DATA] = other
    systems = [System(encoder, arm) for encoder in _needed(config) for arm in arms]
    told: Any = {"materials": materials, "config": config, "shards": shards}
    work = partial(train_arm, **told, logs=str(logs or ""))
    results = _in_processes(work, systems, config, shards, describe=lambda s: s.model_id)
    for system in systems:
        shutil.rmtree(folder.joinpath(*system), ignore_errors=True)  # of a cell that is run again
        shutil.copytree(
            work_folder(shards, system) / "tower", folder.joinpath(*system), copy_function=os.link
        )
    found = {
        name: pl.concat([pl.DataFrame(schema=kinds), *(each.table(name) for each in results)])
        for name, kinds in TABLES.items()
    }
    kept = [System(encoder, arm) for encoder in config.encoders for arm in (ZERO_SHOT, *arms)]
    return ArmResults(**found, systems=tuple(kept))


def _needed(config: EncoderConfig) -> list[str]:
    """The encoders to train, image first: video arms may start from its arms."""
    wanted = set(config.encoders)
    if "video" in wanted and config.video_start == "image_arm":
        wanted.add("image")
    return [encoder for encoder in ("image", "native", "video") if encoder in wanted]


def _in_processes(
    work: Callable[[Any], worker_pool.Value],
    items: Sequence[Any],
    config: EncoderConfig,
    shards: Path,
    *,
    describe: Callable[[Any], str],
) -> list[worker_pool.Result]:
    """What ``work`` made of each item, one a process; RuntimeError where one fails."""
    results = worker_pool.map_shards(
        work,
        items,
        workers=config.jobs,
        timeout_s=WEEK_S,
        describe=describe,
        shards=shards,
        chunk=1,
        label="arms",
    )
    done = []
    for result in results:
        if result.value is None:
            raise RuntimeError(f"{result.name} {result.reason}: {result.detail}")
        done.append(result)
    return done


# ---------------------------------------------------------------------------------------- embedding


def sentences(pairing: artifacts.StageReader, narrations: pl.DataFrame) -> pl.DataFrame:
    """narration_id and text of every sentence that belongs to a pair, in order of the id."""
    return (
        pairing.table("pairs", tables.Pairs)
        .select("narration_id")
        .unique()
        .sort("narration_id")
        .join(
            narrations.select("narration_id", "text"),
            on="narration_id",
            how="left",
            maintain_order="left",
        )
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
    told: Any = {"material": material, "config": config, "folder": folder, "shards": shards}
    work = partial(embed_systems, texts=said["text"].to_list(), **told)
    groups = systems_by_tower(systems, config)
    results = _in_processes(
        work,
        groups,
        config,
        shards,
        describe=lambda group: f"embed {' '.join(system.model_id for system in group)}",
    )
    ids = {"clip": material.clips["clip_id"], "narration": said["narration_id"]}
    parts: dict[System, list[pl.DataFrame]] = {system: [] for system in systems}
    for group, result in zip(groups, results, strict=True):
        for system in group:
            for kind, names in ids.items():
                vectors = list(result.array(f"{kind}-{system.encoder}"))
                part = {"item_id": names, "vector": pl.Series(vectors, dtype=pl.List(pl.Float32))}
                parts[system].append(
                    pl.DataFrame(part).with_columns(
                        model_id=pl.lit(system.model_id), item_kind=pl.lit(kind)
                    )
                )
    return pl.concat(part for system in systems for part in parts[system]).select(
        tables.Embeddings.column_names()
    )
