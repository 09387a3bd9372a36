"""A training in several processes, under torch's own launcher.

A job is a folder with ``job.json`` and the files that it names; ``torchrun --nproc-per-node 8 -m
sportskills_lib.training.distributed_job <folder>`` (or ``accelerate launch -m …``) does by hand,
over several machines too, what :func:`launch` does on one. The folder then holds the finished
checkpoint.
"""

from __future__ import annotations

import importlib
import json
import logging
import os
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

from sportskills_lib.formats.files import write_whole

log = logging.getLogger("sportskills")
MODULE = "sportskills_lib.training.distributed_job"
PARENT = "SPORTSKILLS_LAUNCHER"


def write_spec(folder: Path, module: str, spec: dict[str, Any]) -> None:
    """Write ``job.json``: the module whose ``run_job(folder)`` does the job, and what else JSON can
    hold of it.
    """
    write_whole(folder / "job.json", json.dumps({"module": module, "spec": spec}))


def read_spec(folder: Path) -> dict[str, Any]:
    """What else :func:`write_spec` wrote."""
    spec: dict[str, Any] = json.loads((folder / "job.json").read_text())["spec"]
    return spec


def launch(folder: Path, processes: int, *, title: str) -> None:
    """Run the folder's job in so many processes on this machine; they end when this one does.

    RuntimeError with the end of the log when one fails.
    """
    launcher = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(processes)]
    with (folder / "launch.log").open("w") as out:
        done = subprocess.run(
            [sys.executable, *launcher, "-m", MODULE, str(folder)],
            stdout=out,
            stderr=subprocess.STDOUT,
            env=os.environ | {PARENT: str(os.getpid())},
            check=False,
        )
    if done.returncode:
        tail = "\n".join((folder / "launch.log").read_text().splitlines()[-40:])
        raise RuntimeError(f"{title} in {processes} processes failed:\n{tail}")


def _end_with_launcher() -> None:
    """Have this process end with the one that launched it, however that ends."""

    def watch(parent: int) -> None:
        while Path(f"/proc/{parent}").exists():
            time.sleep(0.5)
        os._exit(1)

    if PARENT in os.environ:
        threading.Thread(target=watch, args=(int(os.environ[PARENT]),), daemon=True).start()


def main() -> None:
    """One of the processes: train the job of the folder that the command line names."""
    import torch.distributed

    _end_with_launcher()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s", datefmt="%H:%M:%S")
    folder = Path(sys.argv[1])
    module = json.loads((folder / "job.json").read_text())["module"]
    if not module.startswith("sportskills_lib."):
        raise ValueError(f"{folder / 'job.json'} names {module!r}: no module of the library")
    importlib.import_module(module).run_job(folder)
    log.info("trained in %d processes", torch.distributed.get_world_size())
    torch.distributed.barrier()
    # all is saved: gloo's threads abort one process in ten or so that tears the group down
    logging.shutdown()
    sys.stdout.flush()
    os._exit(0)


if __name__ == "__main__":
    main()
