"""The training loop of the encoder and of the relevance model.

Steps, validations and checkpoints, from where the last checkpoint ends. A step's batch, its random
numbers and its learning rate come from the seed and the step's number alone, so a training that was
killed goes on to the very weights of an undisturbed one (on the CPU). What differs between models
is a :class:`TrainingTask`.

A checkpoint holds the weights in training, buffers, the optimiser's state (safetensors) and the
record (JSON: step, losses, curves), but no draws. The tensors are written first, under a name with
their step; the JSON that names them is written last and whole: a kill leaves the old checkpoint or
the new one.
"""

from __future__ import annotations

import json
import logging
import math
import time
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol

import numpy as np

from sportskills_lib.formats.files import write_whole
from sportskills_lib.training.distributed import ProcessGroup

if TYPE_CHECKING:
    import torch

log = logging.getLogger("sportskills")
LARGEST_GRADIENT = 1.0  # norm over all weights, above which gradients are scaled down


@dataclass(frozen=True)
class TrainingPlan:
    """How long and how fast a model is trained, and which weights are kept."""

    steps: int
    learning_rate: float  # the highest
    warmup_steps: int
    weight_decay: float
    evaluate_every: int
    checkpoint_every: int
    floor: float = 0.0  # the last learning rate as a share of the highest
    evaluate: bool = True  # whether to validate before the first step and on the way, too
    keep: Literal["last", "best"] = "last"
    patience: int = 0  # validations without a better score before the training stops; 0: never
    seed: int = 0


class TrainingTask(Protocol):
    """A model in training: what a step, and a validation, is."""

    name: str  # in log lines
    score: str  # the value of a validation that says which weights are best; higher is better
    module: torch.nn.Module

    def batches(self, first: int) -> Iterator[Any]:
        """The batches of the steps from ``first`` on; each depends on its step and the seed
        alone.
        """

    def backward(self, batch: Any) -> float:
        """Add this process's gradients of a batch to the weights; the loss of the whole batch."""

    def validate(self) -> tuple[dict[str, Any], list[dict[str, Any]]]:
        """Values for a row of the curve, and rows of detail (of each sport, say)."""


@dataclass
class TrainingRecord:
    """How far a training is: what a checkpoint keeps beside tensors."""

    settings: dict[str, Any]
    step: int = 0
    losses: list[float] = field(default_factory=list)  # since the last row of the curve
    curve: list[dict[str, Any]] = field(default_factory=list)
    details: list[dict[str, Any]] = field(default_factory=list)
    best: int = 0  # the row of the curve with the best score
    seconds: float = 0.0  # of steps and validations, over all starts
    done: bool = False


def learning_rate_at(step: int, plan: TrainingPlan) -> float:
    """Linear warm-up times a half cosine that ends at ``floor`` of the highest rate."""
    cosine = 0.5 * (1 + float(np.cos(np.pi * step / plan.steps)))
    warm = min(1.0, (step + 1) / max(1, plan.warmup_steps))
    return plan.learning_rate * warm * (plan.floor + (1 - plan.floor) * cosine)


class Loop:
    """One process's part of a training."""

    def __init__(
        self,
        task: TrainingTask,
        plan: TrainingPlan,
        group: ProcessGroup,
        *,
        folder: Path | None = None,
        settings: dict[str, Any] | None = None,
        rate_scales: Mapping[str, float] | None = None,
    ):
        """``folder`` keeps checkpoints; one of a training with other ``settings`` is refused.
        ``rate_scales``: of weights that learn more slowly, the share of the rate, by name.
        """
        import torch

        self.task, self.plan, self.group, self.folder = task, plan, group, folder
        named = task.module.named_parameters()
        groups: dict[float, dict[str, Any]] = {}
        for name, weight in named:
            if weight.requires_grad:
                scale = (rate_scales or {}).get(name, 1.0)
                weights = groups.setdefault(scale, {"params": [], "names": [], "scale": scale})
                weights["params"].append(weight)
                weights["names"].append(name)
        self.parameters = [weight for each in groups.values() for weight in each["params"]]
        self.optimiser = torch.optim.AdamW(
            [*groups.values()],
            lr=plan.learning_rate,
            weight_decay=plan.weight_decay,
            betas=(0.9, 0.98),
            fused=True,
        )
        self.record, self.best = TrainingRecord(settings or {}), dict[str, Any]()
        self._started, self._before_s = time.monotonic(), 0.0

    @property
    def seconds(self) -> float:
        """Seconds of steps and validations since this process started."""
        return self.record.seconds - self._before_s

    def run(self) -> TrainingRecord:
        """Train to the end; the weights to keep are then in the model."""
        self._resume()
        record, plan, first = self.record, self.plan, self.record.step
        self._before_s = record.seconds
        self._started = time.monotonic() - record.seconds
        if plan.evaluate and not record.curve:
            self._validate()
        for batch in self.task.batches(first) if not record.done else ():
            self._step(batch)
            last = record.step == plan.steps
            if last or (plan.evaluate and record.step % plan.evaluate_every == 0):
                self._validate()
                self._report(first)
            record.done = last or (plan.evaluate and 0 < plan.patience <= self._since_best())
            if record.done or record.step % plan.checkpoint_every == 0:
                self._save()
            if record.done:
                break
        if plan.keep == "best" and self.best:
            restore_state(self.task.module, self.best)
        return record

    def _step(self, batch: Any) -> None:
        import torch

        plan, step = self.plan, self.record.step
        draws = np.random.default_rng([plan.seed, 43, step, self.group.rank])
        torch.manual_seed(int(draws.integers(2**62)))
        for each in self.optimiser.param_groups:
            each["lr"] = learning_rate_at(step, plan) * each["scale"]
        self.optimiser.zero_grad(set_to_none=True)
        loss = self.task.backward(batch)
        self.group.average_gradients(self.parameters)
        torch.nn.utils.clip_grad_norm_(self.parameters, LARGEST_GRADIENT)
        self.optimiser.step()
        self.record.losses.append(loss)
        self.record.step = step + 1

    def _validate(self) -> None:
        """Add a row to the curve; remember the weights if they are the best so far."""
        record = self.record
        values, details = self.task.validate()
        record.seconds = time.monotonic() - self._started
        row = {
            "step": record.step,
            "loss": float(np.mean(record.losses)) if record.losses else None,
            "learning_rate": learning_rate_at(record.step - 1, self.plan) if record.step else 0.0,
            "seconds": record.seconds,
        } | values
        record.curve.append(row)
        record.details += [{"step": record.step} | detail for detail in details]
        record.losses.clear()
        score, best = row[self.task.score], record.curve[record.best][self.task.score]
        # without validation data every score is NaN: then the last weights count as the best
        if len(record.curve) == 1 or math.isnan(score) or score > best:
            record.best = len(record.curve) - 1
            if self.plan.keep == "best":
                self.best = moving_state(self.task.module)
        numbers = {name: value for name, value in row.items() if isinstance(value, float)}
        self.group.track(numbers, record.step)

    def _since_best(self) -> int:
        """How many validations ago the best score was."""
        return len(self.record.curve) - 1 - self.record.best

    def _report(self, first: int) -> None:
        """Log the last row of the curve and the time left, judged by the steps since ``first``."""
        if self.group.first:
            record, plan, score = self.record, self.plan, self.task.score
            row = record.curve[-1]
            left_s = self.seconds / (record.step - first) * (plan.steps - record.step)
            log.info(
                "%s: step %d of %d, loss %.2f, %s %.3f, %.0f s left",
                self.task.name,
                row["step"],
                plan.steps,
                row["loss"],
                score,
                row[score],
                left_s,
            )

    def _save(self) -> None:
        self.record.seconds = time.monotonic() - self._started
        if self.folder and self.group.first:
            state = self.task.module, self.optimiser, self.best
            save_checkpoint(self.folder, *state, asdict(self.record))
        self.group.wait()

    def _resume(self) -> None:
        state = self.folder and load_checkpoint(self.folder, self.task.module, self.optimiser)
        if not state:
            return
        self.best, record = state
        mine, other = self.record.settings, record["settings"]
        if other != mine:
            names = sorted(name for name in other if other[name] != mine.get(name))
            raise ValueError(
                f"{self.folder} holds a training with another {', '.join(names)}: empty that folder"
            )
        self.record = TrainingRecord(**record)
        if self.group.first and not self.record.done:
            log.info("%s goes on at step %d", self.task.name, self.record.step)


# -------------------------------------------------------------------------------------- checkpoints


def moving_state(module: Any) -> dict[str, Any]:
    """Copies on the CPU of the weights in training and of all buffers that belong to the model, by
    name.
    """
    saved = set(module.state_dict())
    named = [(name, value) for name, value in module.named_parameters() if value.requires_grad]
    named += [(name, value) for name, value in module.named_buffers() if name in saved]
    return {name: value.detach().to("cpu", copy=True).contiguous() for name, value in named}


def restore_state(module: Any, state: dict[str, Any]) -> None:
    """Put back what :func:`moving_state` gave; ValueError when a name is missing."""
    import torch

    here = dict(module.named_parameters()) | dict(module.named_buffers())
    if missing := sorted(set(state) - set(here)):
        raise ValueError(
            f"the checkpoint has {missing[0]!r}, the model has not: empty the stage's shards folder"
        )
    with torch.no_grad():
        for name, value in state.items():
            here[name].copy_(value)


def save_checkpoint(
    folder: Path,
    module: Any,
    optimiser: Any,
    best: dict[str, Any],
    record: dict[str, Any],
) -> None:
    """Write a checkpoint; ``record`` must be JSON and hold ``step``. Older ones are removed.

    The groups of the ``optimiser`` hold the ``names`` of their parameters.
    """
    from safetensors.torch import save_file

    folder.mkdir(parents=True, exist_ok=True)
    tensors = {f"now/{name}": value for name, value in moving_state(module).items()}
    tensors |= {f"best/{name}": value for name, value in best.items()}
    names = [name for group in optimiser.param_groups for name in group["names"]]
    tensors |= {
        f"adam/{key}/{names[place]}": value.detach().cpu()
        for place, state in optimiser.state_dict()["state"].items()
        for key, value in state.items()
    }
    path = folder / f"state-{record['step']:08d}.safetensors"
    temporary = folder / f".{path.name}.tmp"
    save_file(tensors, temporary)
    temporary.replace(path)
    write_whole(folder / "checkpoint.json", json.dumps(record | {"tensors": path.name}))
    for old in folder.glob("*state-*.safetensors*"):
        if old.name != path.name:
            old.unlink()


def load_checkpoint(
    folder: Path, module: Any, optimiser: Any
) -> tuple[dict[str, Any], dict[str, Any]] | None:
    """Restore the last checkpoint into model and optimiser; returns its best weights and record,
    None without one.
    """
    from safetensors.torch import load_file

    if not (folder / "checkpoint.json").is_file():
        return None
    record = json.loads((folder / "checkpoint.json").read_text())
    tensors = load_file(folder / record.pop("tensors"))
    restore_state(module, _below("now/", tensors))
    whole = optimiser.state_dict()
    names = [name for group in optimiser.param_groups for name in group["names"]]
    states: dict[int, dict[str, Any]] = {}
    for path, value in _below("adam/", tensors).items():
        key, _, name = path.partition("/")
        states.setdefault(names.index(name), {})[key] = value
    optimiser.load_state_dict({**whole, "state": states})
    return _below("best/", tensors), record


def _below(prefix: str, tensors: dict[str, Any]) -> dict[str, Any]:
    return {
        name.removeprefix(prefix): value
        for name, value in tensors.items()
        if name.startswith(prefix)
    }
