"""A training in several processes on this machine, under torch's own launcher.

The job lies in a folder as tables and JSON, so that ``torchrun --nproc-per-node 8 -m
sportskills_lib.encoder.distributed_job <folder>`` (or ``accelerate launch -m …``) does by hand,
over several machines too, what :func:`launch` does on one.
"""

from __future__ import annotations

import json
import logging
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import polars as pl

from sportskills_lib.config import EncoderConfig
from sportskills_lib.encoder.validation import Material
from sportskills_lib.formats.files import write_whole
from sportskills_lib.training import distributed

if TYPE_CHECKING:
    from sportskills_lib.encoder.training import Job

log = logging.getLogger("sportskills")
MODULE = "sportskills_lib.encoder.distributed_job"


def launch(job: Job) -> None:
    """Train ``job`` in ``config.processes`` processes; its folder holds the finished checkpoint
    when this returns.

    RuntimeError with the end of the log when a process fails.
    """
    if not job.folder:
        raise ValueError(
            f"processes={job.config.processes} needs a folder for checkpoints: that is where "
            "they meet"
        )
    folder = Path(job.folder)
    write_job(job, folder)
    distributed.launch(
        MODULE, folder, job.config.processes, title=f"training {job.encoder}:{job.arm}"
    )


def write_job(job: Job, folder: Path) -> None:
    """Keep a job as ``job.json`` and ``clips.parquet``."""
    folder.mkdir(parents=True, exist_ok=True)
    clips = job.material.clips.with_columns(pl.Series("_told", job.texts, dtype=pl.String))
    clips.write_parquet(folder / "clips.parquet")
    names = ("arm", "peak", "steps", "encoder", "evaluate", "features", "folder", "logs", "start")
    told: dict[str, Any] = {name: getattr(job, name) for name in names}
    told |= {
        "config": job.config.model_dump(),
        "frames_path": job.material.frames_path,
        "sports": job.material.sports,
    }
    write_whole(folder / "job.json", json.dumps(told))


def read_job(folder: Path) -> Job:
    """The job that :func:`write_job` kept."""
    from sportskills_lib.encoder.training import Job

    told = json.loads((folder / "job.json").read_text())
    clips = pl.read_parquet(folder / "clips.parquet")
    material = Material(clips.drop("_told"), told.pop("frames_path"), tuple(told.pop("sports")))
    return Job(EncoderConfig(**told.pop("config")), material, clips["_told"].to_list(), **told)


def main() -> None:
    """One of the processes: train the job of the folder that the command line names."""
    import torch.distributed

    from sportskills_lib.encoder.training import train

    distributed.end_with_launcher()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s", datefmt="%H:%M:%S")
    folder = Path(sys.argv[1])
    train(replace(read_job(folder), folder=str(folder)))
    log.info("trained in %d processes", torch.distributed.get_world_size())
    torch.distributed.destroy_process_group()


if __name__ == "__main__":
    main()
