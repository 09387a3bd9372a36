"""The processes that train one model together: how they start, who does which rows, how their
numbers become one.

Gradients are averaged here, not by a wrapper around the model: a contrastive step calls the towers
several times (clips, texts, chunks), which DistributedDataParallel's hooks do not allow. Every
process computes the loss of the whole batch from all embeddings; the backward pass of
:meth:`Crew.gathered` adds what each process's loss says of a row, and the mean over processes is
then the gradient that one process alone would have had. Legend of shapes: B rows of the batch, b
rows of one process, D embedding.
"""

from __future__ import annotations

import copy
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterable, Mapping
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch

PARENT = "SPORTSKILLS_LAUNCHER"


class Crew:
    """One process's view of all: its device, its share of a batch, and what needs the others."""

    def __init__(
        self,
        *,
        device: str,
        precision: str = "no",
        accumulate: int = 1,
        trackers: Iterable[str] = (),
        title: str = "",
        logs: str = "",
        told: Mapping[str, Any] | None = None,
    ):
        from accelerate import Accelerator
        from accelerate.state import AcceleratorState

        # one process may train several times, each with its own precision
        AcceleratorState._reset_state()
        trackers = list(trackers)
        check_trackers(trackers)
        self.accelerator = Accelerator(
            mixed_precision=precision,
            gradient_accumulation_steps=accumulate,
            cpu=device == "cpu",
            log_with=(trackers or None) if logs else None,
            project_dir=logs or None,
        )
        self.rank, self.size = self.accelerator.process_index, self.accelerator.num_processes
        self.device = str(self.accelerator.device)
        self.first = self.accelerator.is_main_process
        self._tracking = bool(logs and trackers)
        if self._tracking:
            flat = {name: str(value) for name, value in (told or {}).items()}
            self.accelerator.init_trackers(title, config=flat)

    def share(self, count: int) -> slice:
        """Which of ``count`` rows are this process's: consecutive ones, sizes differing by one at
        most.
        """
        return _shares(count, self.size)[self.rank]

    def alone(self) -> Crew:
        """The same device and precision without the others, for a trial that only this process
        makes.
        """
        single = copy.copy(self)
        single.rank, single.size = 0, 1
        return single

    def gathered(self, own_bD: torch.Tensor, count: int) -> torch.Tensor:
        """All processes' rows [B, D] in order; gradients flow back to the process that each row
        came from.
        """
        return own_bD if self.size == 1 else _gathering().apply(own_bD, self, count)

    def average_gradients(self, parameters: Iterable[torch.nn.Parameter]) -> None:
        """Replace every gradient by its mean over the processes."""
        if self.size == 1:
            return
        import torch.distributed

        for parameter in parameters:
            if parameter.grad is not None:
                torch.distributed.all_reduce(parameter.grad)
                parameter.grad /= self.size

    def total(self, value: float) -> float:
        """The sum of every process's ``value``."""
        if self.size == 1:
            return value
        import torch

        return float(
            self.accelerator.reduce(
                torch.tensor(value, device=self.device, dtype=torch.float64), "sum"
            )
        )

    def track(self, values: dict[str, float], step: int) -> None:
        """Hand numbers to the trackers, if there are any."""
        if self._tracking:
            self.accelerator.log(values, step=step)

    def close(self) -> None:
        """End the trackers."""
        if self._tracking:
            self.accelerator.end_training()


def launched() -> bool:
    """Whether this process is one of several that a launcher started."""
    return "LOCAL_RANK" in os.environ


def launch(module: str, folder: Path, processes: int, *, title: str) -> None:
    """Run ``python -m module folder`` in so many processes on this machine; they end when this one
    does.

    RuntimeError with the end of the log when one fails.
    """
    command = [
        sys.executable,
        "-m",
        "torch.distributed.run",
        "--standalone",
        "--nproc-per-node",
        str(processes),
    ]
    with (folder / "launch.log").open("w") as out:
        done = subprocess.run(
            [*command, "-m", module, str(folder)],
            stdout=out,
            stderr=subprocess.STDOUT,
            env=os.environ | {PARENT: str(os.getpid())},
            check=False,
        )
    if done.returncode:
        tail = "\n".join((folder / "launch.log").read_text().splitlines()[-40:])
        raise RuntimeError(f"{title} in {processes} processes failed:\n{tail}")


def end_with_launcher() -> None:
    """Have this process end with the one that launched it, however that ends."""

    def watch(parent: int) -> None:
        while Path(f"/proc/{parent}").exists():
            time.sleep(0.5)
        os._exit(1)

    if PARENT in os.environ:
        threading.Thread(target=watch, args=(int(os.environ[PARENT]),), daemon=True).start()


def check_trackers(names: list[str]) -> None:
    """ValueError for a tracker that accelerate does not know, or whose package is not installed."""
    if not names:
        return
    from accelerate.tracking import LOGGER_TYPE_TO_CLASS, get_available_trackers

    ready = [str(getattr(name, "value", name)) for name in get_available_trackers()]
    for name in names:
        if name not in LOGGER_TYPE_TO_CLASS:
            raise ValueError(
                f"trackers: {name!r} is unknown; there are "
                f"{', '.join(sorted(LOGGER_TYPE_TO_CLASS))}"
            )
        if name not in ready:
            raise ValueError(
                f"trackers: {name!r} is not installed: `pip install {name}`, or take it out of "
                "trackers"
            )


def _shares(count: int, size: int) -> list[slice]:
    bounds = [round(count * i / size) for i in range(size + 1)]
    return [slice(a, b) for a, b in pairwise(bounds)]


def _gathering() -> Any:
    import torch

    class Gathering(torch.autograd.Function):
        """Rows of all processes; backward: the sum over processes of the gradients of this
        process's rows.
        """

        @staticmethod
        def forward(ctx: Any, own_bD: torch.Tensor, crew: Crew, count: int) -> torch.Tensor:
            ctx.crew, ctx.share = crew, crew.share(count)
            shares = _shares(count, crew.size)
            longest = max(part.stop - part.start for part in shares)
            padded = own_bD.new_zeros(longest, *own_bD.shape[1:])
            padded[: len(own_bD)] = own_bD
            every = crew.accelerator.gather(padded).view(crew.size, longest, *own_bD.shape[1:])
            return torch.cat([every[i, : part.stop - part.start] for i, part in enumerate(shares)])

        @staticmethod
        def backward(ctx: Any, *grads: torch.Tensor) -> Any:
            return ctx.crew.accelerator.reduce(grads[0].contiguous(), "sum")[ctx.share], None, None

    return Gathering
