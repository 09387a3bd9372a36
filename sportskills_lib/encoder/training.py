"""Train one arm from its start: contrastive steps, validation recall on the way, resumed exactly
after a kill.

Every arm gets the same clips, batches, steps and loss; only the texts differ. By default the last
weights are kept, not the best on validation (``keep``): validation asks with narrations, which
would stop the activity arms at once;
``patience`` would do the same. The learning rate is chosen for each arm from the same grid, by a
short trial each and its loss on validation clips: after few steps a recall over some hundred
queries is noise, and chose rates at which the activity arms stayed under-trained.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from sportskills_lib import models
from sportskills_lib.config import EncoderConfig
from sportskills_lib.encoder import distributed_job, parameter_groups
from sportskills_lib.encoder.batch_sampler import Batch, Draws
from sportskills_lib.encoder.data_loader import Drawn, Waiting, ahead, drawn
from sportskills_lib.encoder.texts import text_groups
from sportskills_lib.encoder.train_step import backward, memory_advice, out_of_memory, prepare
from sportskills_lib.encoder.validation import Material, mean_over_sports, validate
from sportskills_lib.training import checkpoints
from sportskills_lib.training.distributed import Crew, launched

log = logging.getLogger("sportskills")


@dataclass(frozen=True)
class Job:
    """One training: what a process must know to do it, alone or as one of several."""

    config: EncoderConfig  # its ``model`` is the start
    material: Material
    texts: list[str]  # one for each clip of the material; those of the test split are not looked at
    arm: str
    peak: float  # highest learning rate
    steps: int
    encoder: str = "image"
    evaluate: bool = True  # whether to validate at step 0 and on the way, not only at the end
    start: str = (
        ""  # the common start, where ``model`` is another: what hard negatives are chosen by
    )
    features: str = (
        ""  # file of frame features [N, T, D] that stand for the frames: the frame tower is frozen
    )
    folder: str = ""  # where checkpoints are kept; empty: nowhere
    logs: str = ""  # where trackers write; empty: no trackers


@dataclass(frozen=True)
class Outcome:
    """What a training came to. Times are told here, not in the tables: equal weights give equal
    tables.
    """

    tower: models.Tower
    curve: (
        pl.DataFrame
    )  # encoder, arm, peak, step, loss (mean since the last row), val_loss, val_recall, val_mrr
    by_sport: pl.DataFrame  # encoder, arm, peak, step, sport, clips, val_loss, val_recall, val_mrr
    seconds: float  # in steps, since the last start
    waited_s: float  # of these, waiting for data


def train(job: Job) -> Outcome:
    """Train from ``job.config.model`` on the train split.

    With a folder, a checkpoint is written every ``checkpoint_every`` steps and at the end, and a
    training that was killed goes on from the last one: its weights are those of an undisturbed run.
    With ``processes`` above 1 they train on this machine under torch's launcher, with the same
    batches as one process would see.
    """
    if job.config.processes > 1 and not launched():
        distributed_job.launch(job)  # leaves a finished checkpoint, which is what is read below
    crew = crew_of(job.config, title=f"{job.encoder}-{job.arm}", logs=job.logs)
    try:
        return _Training(job, crew).run()
    finally:
        crew.close()


def crew_of(config: EncoderConfig, *, title: str = "", logs: str = "") -> Crew:
    """This process among those that train together, as the settings say."""
    return Crew(
        device=config.device,
        precision=config.precision,
        accumulate=config.accumulate,
        trackers=config.trackers,
        title=title,
        logs=logs,
        told=config.model_dump(),
    )


def learning_rate_at(step: int, steps: int, peak: float, warmup: int) -> float:
    """Linear warm-up, then a half cosine to zero."""
    return (
        peak
        * min(1.0, (step + 1) / max(1, warmup))
        * 0.5
        * (1 + float(np.cos(np.pi * step / steps)))
    )


def start_tower(
    config: EncoderConfig, encoder: str, frames: int, device: str = "cpu"
) -> models.Tower:
    """The tower that an encoder starts from: ``config.model``, for video with a pooling over up to
    ``frames`` frames.

    That pooling is the mean at first, so that the video encoder starts as the image encoder that it
    is compared with.
    """
    tower = models.load_tower(config.model, pretrained=config.pretrained, device=device)
    if encoder == "video" and config.video_pooling != "mean" and not _pools(tower):
        layers = {"layers": config.video_layers, "heads": config.video_heads, "max_frames": frames}
        models.add_pooling(tower, config.video_pooling, **layers)
    return tower


def _pools(tower: models.Tower) -> bool:
    return any(name.startswith("pooling.") for name, _ in tower.module.named_parameters())


@dataclass
class _Record:
    """What a checkpoint keeps beside tensors."""

    step: int = 0
    losses: list[float] = field(default_factory=list)  # since the last row of the curve
    curve: list[dict[str, Any]] = field(default_factory=list)
    by_sport: list[dict[str, Any]] = field(default_factory=list)
    done: bool = False

    def behind(self) -> int:
        """How many validations ago the best recall was."""
        recalls = [row["val_recall"] for row in self.curve]
        return len(recalls) - 1 - int(np.argmax(recalls))


class _Training:
    """One process's part of a training."""

    def __init__(self, job: Job, crew: Crew):
        import torch

        self.job, self.crew, self.config = job, crew, job.config
        torch.manual_seed(job.config.seed)
        frames = job.material.frames()
        self.tower = start_tower(job.config, job.encoder, frames.shape[1], crew.device)
        self.clips = np.load(job.features, mmap_mode="r") if job.features else frames
        self.fixed = prepare(self.tower, job.config, features=bool(job.features))
        self.train_rows, self.val_rows = job.material.rows("train"), job.material.rows("val")
        self.groups = text_groups(job.material.clips, job.texts, job.arm)
        self.draws = self._draws(frames)
        groups = parameter_groups.parameter_groups(self.tower.module, job.config.layer_decay)
        self.parameters = [parameter for group in groups for parameter in group["params"]]
        settings: Any = {
            "weight_decay": job.config.weight_decay,
            "betas": (0.9, 0.98),
            "fused": True,
        }
        self.optimiser = crew.accelerator.prepare(
            torch.optim.AdamW(groups, lr=job.peak, **settings)
        )
        self._scaler = crew.accelerator.scaler  # of fp16
        self.record, self.best, self.waiting = _Record(), dict[str, Any](), Waiting()

    def _draws(self, frames: np.ndarray) -> Draws:
        """Batches for every step; likeness is judged by the start that all arms share, so that it
        says the same.
        """
        job, config = self.job, self.job.config
        start = None
        if config.hard_negatives or "similarity" in config.false_negatives:
            name, device = job.start or config.model, self.crew.device
            start = models.load_tower(name, pretrained=config.pretrained, device=device)
        return Draws(
            job.material.clips,
            self.train_rows,
            job.texts,
            config,
            arm=job.arm,
            start=start,
            frames=frames,
        )

    def run(self) -> Outcome:
        """Steps, validations and checkpoints from where the last checkpoint stands."""
        self._resume()
        started, first = time.monotonic(), self.record.step
        if self.job.evaluate and not self.record.curve:
            self._judge()
        for step, batches in self._steps():
            self._step(step, batches)
            self.record.step = step + 1
            last = step + 1 == self.job.steps
            if last or (self.job.evaluate and (step + 1) % self.config.evaluate_every == 0):
                self._judge()
                self._tell((time.monotonic() - started) / (step + 1 - first))
            self.record.done = last or (
                0 < self.config.patience <= self.record.behind() and self.job.evaluate
            )
            if self.record.done or (step + 1) % self.config.checkpoint_every == 0:
                self._keep()
            if self.record.done:
                break
        seconds = time.monotonic() - started
        if self.config.keep == "best" and self.best:
            checkpoints.restore_state(self.tower.module, self.best)
        if self.config.lora_rank:
            parameter_groups.merge_adapters(self.tower.module)
        tables = [pl.DataFrame(rows) for rows in (self.record.curve, self.record.by_sport)]
        return Outcome(self.tower, tables[0], tables[1], seconds, self.waiting.seconds)

    def _steps(self) -> Iterator[tuple[int, list[tuple[Batch, Drawn]]]]:
        """The steps that are left, each with this process's part of its batches, made ahead in
        threads.
        """
        config, first = self.config, 0 if self.record.done else self.record.step
        if self.record.done:
            return
        count = config.accumulate
        frames = config.train_frames if self.job.encoder == "image" else self.clips.shape[1]

        def make(item: tuple[int, Batch]) -> tuple[Batch, Drawn]:
            place, batch = item
            share, rng = (
                self.crew.share(len(batch.rows)),
                np.random.default_rng([config.seed, 41, place]),
            )
            return batch, drawn(
                self.clips, batch.rows, share, count=frames, shift_px=config.shift_px, rng=rng
            )

        left = (
            (place, self.draws.at(place)) for place in range(first * count, self.job.steps * count)
        )
        stream = ahead(make, left, threads=config.loader_threads, waiting=self.waiting)
        yield from enumerate(map(list, zip(*[stream] * count, strict=False)), start=first)

    def _step(self, step: int, batches: list[tuple[Batch, Drawn]]) -> None:
        import torch

        config = self.config
        torch.manual_seed(
            int(np.random.default_rng([config.seed, 43, step, self.crew.rank]).integers(2**62))
        )
        rate = learning_rate_at(step, self.job.steps, self.job.peak, config.warmup_steps)
        for group in self.optimiser.param_groups:
            group["lr"] = rate * group["scale"]
        self.tower.module.train()
        for module in self.fixed:  # their statistics stay as they are, too
            module.eval()
        self.optimiser.zero_grad(set_to_none=True)
        losses = []
        for batch, part in batches:
            own = batch.texts[self.crew.share(len(batch.rows))]
            try:
                losses.append(
                    backward(
                        self.tower, part, own, batch.group_B, batch.allowed_BB, config, self.crew
                    )
                )
            except Exception as error:
                if not out_of_memory(error):
                    raise
                said = str(error)
            else:
                continue
            raise MemoryError(f"{memory_advice(self.tower, part, own, config, self.crew)} ({said})")
        self.crew.average_gradients(self.parameters)
        self.crew.accelerator.clip_grad_norm_(self.parameters, 1.0)
        self.optimiser.step()
        self.record.losses.append(float(np.mean(losses)))

    def _judge(self) -> None:
        """A row of the curve, and the weights if they are the best so far."""
        job, record = self.job, self.record
        asked = (job.material, self.val_rows, self.clips, job.texts, self.groups, self.crew)
        scores = validate(self.tower, *asked)
        names = {"encoder": job.encoder, "arm": job.arm, "peak": job.peak, "step": record.step}
        loss = float(np.mean(record.losses)) if record.losses else None
        record.curve.append(names | {"loss": loss} | mean_over_sports(scores))
        record.by_sport += [names | row for row in scores]
        record.losses.clear()
        if self.config.keep == "best" and record.behind() == 0:
            self.best = checkpoints.moving_state(self.tower.module)
        self.crew.track(
            {k: v for k, v in record.curve[-1].items() if isinstance(v, float)}, record.step
        )

    def _tell(self, step_s: float) -> None:
        row, steps = self.record.curve[-1], self.job.steps
        told = (
            row["encoder"],
            row["arm"],
            row["peak"],
            row["step"],
            steps,
            row["loss"],
            row["val_recall"],
        )
        left_s = step_s * (steps - row["step"])
        if self.crew.first:
            words = (
                "%s:%s at %.0e: step %d of %d, loss %.2f, validation recall@10 %.3f, %.0f "
                "s left, %.1f s of waiting"
            )
            log.info(words, *told, left_s, self.waiting.seconds)

    def _keep(self) -> None:
        if self.job.folder and self.crew.first:
            record = asdict(self.record) | {
                "scaler": self._scaler.state_dict() if self._scaler else {}
            }
            checkpoints.save(
                Path(self.job.folder), self.tower.module, self.optimiser, self.best, record
            )
        self.crew.accelerator.wait_for_everyone()

    def _resume(self) -> None:
        found = self.job.folder and checkpoints.load(
            Path(self.job.folder), self.tower.module, self.optimiser
        )
        if found:
            self.best, record = found
            if scaler := record.pop("scaler"):
                self._scaler.load_state_dict(scaler)
            self.record = _Record(**record)
            if self.crew.first and not self.record.done:
                log.info(
                    "%s:%s goes on at step %d", self.job.encoder, self.job.arm, self.record.step
                )
