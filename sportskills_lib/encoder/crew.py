"""The processes that train one model together: who does which rows, and how their numbers become one.

Gradients are averaged here, not by a wrapper around the model: a contrastive step calls the towers several times
(clips, texts, chunks), which DistributedDataParallel's hooks do not allow. Every process computes the loss of the whole
batch from all embeddings; the backward pass of :meth:`Crew.gathered` adds what each process's loss says of a row, and
the mean over processes is then the gradient that one process alone would have had. Legend of shapes: B rows of the
batch, b rows of one process, D embedding.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from sportskills_lib.config import EncoderConfig

if TYPE_CHECKING:
    import torch


class Crew:
    """One process's view of all: its device, its share of a batch, and what needs the others."""

    def __init__(self, config: EncoderConfig, *, title: str = "", logs: str = ""):
        from accelerate import Accelerator
        from accelerate.state import AcceleratorState

        AcceleratorState._reset_state()  # one process may train several times, each with its own precision
        check_trackers(config.trackers)
        self.accelerator = Accelerator(
            mixed_precision=config.precision,
            gradient_accumulation_steps=config.accumulate,
            cpu=config.device == "cpu",
            log_with=(list(config.trackers) or None) if logs else None,
            project_dir=logs or None,
        )
        self.rank, self.size = self.accelerator.process_index, self.accelerator.num_processes
        self.device = str(self.accelerator.device)
        self.first = self.accelerator.is_main_process
        self._tracking = bool(logs and config.trackers)
        if self._tracking:
            flat = {name: str(value) for name, value in config.model_dump().items()}
            self.accelerator.init_trackers(title, config=flat)

    def share(self, count: int) -> slice:
        """Which of ``count`` rows are this process's: consecutive ones, sizes differing by one at most."""
        return _shares(count, self.size)[self.rank]

    def alone(self) -> Crew:
        """The same device and precision without the others, for a trial that only this process makes."""
        single = copy.copy(self)
        single.rank, single.size = 0, 1
        return single

    def gathered(self, own_bD: torch.Tensor, count: int) -> torch.Tensor:
        """All processes' rows [B, D] in order; gradients flow back to the process that each row came from."""
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

    def track(self, values: dict[str, float], step: int) -> None:
        """Hand numbers to the trackers, if there are any."""
        if self._tracking:
            self.accelerator.log(values, step=step)

    def close(self) -> None:
        """End the trackers."""
        if self._tracking:
            self.accelerator.end_training()


def check_trackers(names: list[str]) -> None:
    """ValueError for a tracker that accelerate does not know, or whose package is not installed."""
    if not names:
        return
    from accelerate.tracking import LOGGER_TYPE_TO_CLASS, get_available_trackers

    ready = [str(getattr(name, "value", name)) for name in get_available_trackers()]
    for name in names:
        if name not in LOGGER_TYPE_TO_CLASS:
            raise ValueError(f"trackers: {name!r} is unknown; there are {', '.join(sorted(LOGGER_TYPE_TO_CLASS))}")
        if name not in ready:
            raise ValueError(f"trackers: {name!r} is not installed: `pip install {name}`, or take it out of trackers")


def _shares(count: int, size: int) -> list[slice]:
    bounds = [round(count * i / size) for i in range(size + 1)]
    return [slice(a, b) for a, b in pairwise(bounds)]


def _gathering() -> Any:
    import torch

    class Gathering(torch.autograd.Function):
        """Rows of all processes; backward: the sum over processes of the gradients of this process's rows."""

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
