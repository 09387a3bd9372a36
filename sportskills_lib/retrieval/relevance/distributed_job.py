"""A finetuning in several processes on this machine, under torch's own launcher.

The job lies in a folder (tables, safetensors and JSON), so that ``torchrun --nproc-per-node 8 -m
sportskills_lib.retrieval.relevance.distributed_job <folder>`` does by hand, over several machines
too, what :func:`launch` does on one.
"""

from __future__ import annotations

import json
import logging
import os
import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import polars as pl

from sportskills_lib.formats.files import write_whole
from sportskills_lib.training import distributed

if TYPE_CHECKING:
    from sportskills_lib.retrieval.relevance.finetune import Material, Settings
    from sportskills_lib.retrieval.relevance.model import VisionLanguageModel

log = logging.getLogger("sportskills")
MODULE = "sportskills_lib.retrieval.relevance.distributed_job"


def launch(
    vlm: VisionLanguageModel,
    material: Material,
    plan: Settings,
    folder: Path | None,
    processes: int,
) -> None:
    """Finetune in so many processes; the folder holds the finished checkpoint when this returns.

    RuntimeError with the end of the log when a process fails.
    """
    if folder is None:
        raise ValueError(
            f"processes={processes} needs a folder for checkpoints: that is where they meet"
        )
    if not vlm.name:
        raise ValueError(
            "several processes load the checkpoint by its name: open the model with load_vlm"
        )
    write_job(vlm, material, plan, folder)
    distributed.launch(MODULE, folder, processes, title="finetuning")


def write_job(vlm: VisionLanguageModel, material: Material, plan: Settings, folder: Path) -> None:
    """Keep a job as ``job.json``, ``supervision.parquet``, ``visual.safetensors`` and the adapters
    it starts from.
    """
    from safetensors.torch import save_file

    folder.mkdir(parents=True, exist_ok=True)
    material.supervision.write_parquet(folder / "supervision.parquet")
    save_file({"visual": material.visual_NKD.cpu().contiguous()}, folder / "visual.safetensors")
    vlm.model.save_pretrained(folder / "start", safe_serialization=True)
    told: dict[str, Any] = {"model": vlm.name, "device": vlm.device.type, "settings": asdict(plan)}
    told["quantize"] = "nf4" if getattr(vlm.stock, "is_quantized", False) else "no"
    told |= {"grid": material.grid, "splits": material.splits, "places": material.places}
    told |= {"quotes": material.narrations is not None, "said": list(material.said.items())}
    told["narrations"] = list((material.narrations or {}).items())
    write_whole(folder / "job.json", json.dumps(told))


def read_job(folder: Path) -> tuple[VisionLanguageModel, Material, Settings]:
    """What :func:`write_job` kept, the model on this process's device."""
    from safetensors.torch import load_file

    from sportskills_lib.retrieval.relevance.finetune import Material, Settings
    from sportskills_lib.retrieval.relevance.model import load_vlm

    told = json.loads((folder / "job.json").read_text())
    device = (
        "cpu" if told["device"] == "cpu" else f"{told['device']}:{os.environ.get('LOCAL_RANK', 0)}"
    )
    vlm = load_vlm(
        told["model"],
        device=device,
        adapter=folder / "start",
        quantize=told["quantize"],
        trainable=True,
    )
    visual = load_file(folder / "visual.safetensors")["visual"].to(device)
    supervision, grid = pl.read_parquet(folder / "supervision.parquet"), tuple(told["grid"])
    narrations = dict(told["narrations"]) if told["quotes"] else None
    known = (
        visual,
        grid,
        supervision,
        told["splits"],
        told["places"],
        narrations,
        dict(told["said"]),
    )
    return vlm, Material(*known), Settings(**told["settings"])


def main() -> None:
    """One of the processes: finetune the job of the folder that the command line names."""
    import torch.distributed

    from sportskills_lib.retrieval.relevance.finetune import finetune

    distributed.end_with_launcher()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s", datefmt="%H:%M:%S")
    folder = Path(sys.argv[1])
    vlm, material, plan = read_job(folder)
    finetune(vlm, *vars(material).values(), folder=folder, **asdict(plan))
    log.info("finetuned in %d processes", torch.distributed.get_world_size())
    torch.distributed.destroy_process_group()


if __name__ == "__main__":
    main()
