"""The processes that train one model together: device and precision, shares of a batch, sums.

Gradients are averaged here, not by a wrapper around the model: a contrastive step calls the towers
several times (clips, texts, chunks), which DistributedDataParallel's hooks do not allow. Every
process computes the loss of the whole batch from all embeddings. The backward pass of
:meth:`ProcessGroup.gather` sums, for each row, the gradients of all processes; the mean over
processes is then the gradient that one process would have had. Legend of shapes: B rows of the
batch, b rows of one process, D embedding.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from itertools import pairwise
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch

BUCKET_BYTES = 25 * 2**20  # DistributedDataParallel's default: few calls, little extra memory


class ProcessGroup:
    """One process's view of all: its device and precision, its share of a batch, and sums."""

    def __init__(
        self,
        *,
        device: str,
        precision: str = "no",
        trackers: Iterable[str] = (),
        title: str = "",
        logs: str = "",
        config: Mapping[str, Any] | None = None,
    ):
        self.device, self.rank, self.size = device, 0, 1
        self._kind, self._precision = device.partition(":")[0], precision
        if launched():
            self._join()
        self.first = self.rank == 0
        check_trackers(names := list(trackers))
        self._tracker: Any = None
        if logs and names:
            from accelerate import Accelerator

            self._tracker = Accelerator(cpu=device == "cpu", log_with=names, project_dir=logs)
            told = {name: str(value) for name, value in (config or {}).items()}
            self._tracker.init_trackers(title, told)

    def _join(self) -> None:
        """Meet the other processes that the launcher started, one a GPU where there are GPUs."""
        import torch

        if self._kind == "cuda":
            self.device = f"cuda:{os.environ['LOCAL_RANK']}"
            torch.cuda.set_device(self.device)
        if not torch.distributed.is_initialized():
            torch.distributed.init_process_group("nccl" if self._kind == "cuda" else "gloo")
        self.rank = torch.distributed.get_rank()
        self.size = torch.distributed.get_world_size()

    def autocast(self) -> torch.autocast:
        """A context in which layers compute in the precision of the settings."""
        import torch

        return torch.autocast(self._kind, torch.bfloat16, enabled=self._precision == "bf16")

    def share(self, count: int) -> slice:
        """Which of ``count`` rows are this process's: consecutive ones, sizes differing by one at
        most.
        """
        return _shares(count, self.size)[self.rank]

    def gather(self, own_bD: torch.Tensor, count: int) -> torch.Tensor:
        """All processes' rows [B, D] in order; gradients flow back to the process that each row
        came from.
        """
        if self.size == 1:
            return own_bD
        import torch
        from torch.distributed.nn.functional import all_gather

        lengths = [share.stop - share.start for share in _shares(count, self.size)]
        padding = (0, 0) * (own_bD.ndim - 1) + (0, max(lengths) - len(own_bD))
        parts = all_gather(torch.nn.functional.pad(own_bD, padding))
        return torch.cat([part[:length] for part, length in zip(parts, lengths, strict=True)])

    def average_gradients(self, parameters: Iterable[torch.nn.Parameter]) -> None:
        """Replace every gradient by its mean over the processes, a bucket of gradients at a time.

        Every process must have gradients for the same parameters.
        """
        if self.size == 1:
            return
        import torch

        for bucket in _buckets([weight.grad for weight in parameters if weight.grad is not None]):
            flat = torch.cat([gradient.flatten() for gradient in bucket])
            torch.distributed.all_reduce(flat)
            flat /= self.size
            parts = flat.split([gradient.numel() for gradient in bucket])
            for gradient, part in zip(bucket, parts, strict=True):
                gradient.copy_(part.view_as(gradient))

    def total(self, value: float) -> float:
        """The sum of every process's ``value``."""
        if self.size == 1:
            return value
        import torch

        summed = torch.tensor(value, device=self.device, dtype=torch.float64)
        torch.distributed.all_reduce(summed)
        return float(summed)

    def wait(self) -> None:
        """Return once every process has come here."""
        if self.size > 1:
            import torch

            torch.distributed.barrier()

    def track(self, values: dict[str, float], step: int) -> None:
        """Hand numbers to the trackers, if there are any."""
        if self._tracker:
            self._tracker.log(values, step=step)

    def close(self) -> None:
        """End the trackers."""
        if self._tracker:
            self._tracker.end_training()


def launched() -> bool:
    """Whether this process is one of several that a launcher started."""
    return "LOCAL_RANK" in os.environ


def check_trackers(names: list[str]) -> None:
    """ValueError for a tracker that accelerate does not know, or whose package is not installed."""
    if not names:
        return
    from accelerate.tracking import get_available_trackers

    ready = [str(getattr(name, "value", name)) for name in get_available_trackers()]
    for name in names:
        if name not in ready:
            raise ValueError(
                f"trackers: {name!r} is not among those that accelerate finds here "
                f"({', '.join(ready) or 'none'}): `pip install {name}`, or take it out of trackers"
            )


def _shares(count: int, size: int) -> list[slice]:
    bounds = [round(count * i / size) for i in range(size + 1)]
    return [slice(a, b) for a, b in pairwise(bounds)]


def _buckets(gradients: list[torch.Tensor]) -> Iterator[list[torch.Tensor]]:
    """The gradients in order, in runs of one type of at most BUCKET_BYTES (or one gradient)."""
    bucket: list[torch.Tensor] = []
    size = 0
    for gradient in gradients:
        if bucket and (gradient.dtype != bucket[0].dtype or size + gradient.nbytes > BUCKET_BYTES):
            yield bucket
            bucket, size = [], 0
        bucket.append(gradient)
        size += gradient.nbytes
    if bucket:
        yield bucket
