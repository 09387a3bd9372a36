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

import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import polars as pl

from sportskills_lib import models
from sportskills_lib.config import EncoderConfig
from sportskills_lib.encoder.batch_sampler import Batch, BatchSampler
from sportskills_lib.encoder.texts import text_groups
from sportskills_lib.encoder.train_step import (
    FrameBatch,
    backward,
    layer_scales,
    out_of_memory,
    prepare,
)
from sportskills_lib.encoder.validation import ClipData, mean_over_sports, validate
from sportskills_lib.training import distributed_job
from sportskills_lib.training.distributed import ProcessGroup, launched
from sportskills_lib.training.loop import Loop, TrainingPlan


@dataclass(frozen=True)
class Job:
    """One training: what a process must know to do it, alone or as one of several."""

    config: EncoderConfig  # its ``model`` is the start
    material: ClipData
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
        if not job.folder:
            raise ValueError(
                f"processes={job.config.processes} needs a folder for checkpoints: that is where "
                "they meet"
            )
        write_job(job, Path(job.folder))
        label = f"training {job.encoder}:{job.arm}"
        distributed_job.launch(Path(job.folder), job.config.processes, title=label)
        # leaves a finished checkpoint, which is what is read below
    title, config = f"{job.encoder}-{job.arm}", job.config
    with closing(process_group(config, title=title, logs=job.logs)) as group:
        plan = TrainingPlan(
            steps=job.steps,
            learning_rate=job.peak,
            warmup_steps=config.warmup_steps,
            weight_decay=config.weight_decay,
            evaluate_every=config.evaluate_every,
            checkpoint_every=config.checkpoint_every,
            evaluate=job.evaluate,
            keep=config.keep,
            patience=config.patience,
            seed=config.seed,
        )
        task = _EncoderTask(job, group)
        settings = {"arm": job.arm, "learning_rate": job.peak, "steps": job.steps}
        folder = Path(job.folder) if job.folder else None
        scales = layer_scales(task.module, config.layer_decay)
        loop = Loop(task, plan, group, folder=folder, settings=settings, rate_scales=scales)
        record = loop.run()
    names = {"encoder": job.encoder, "arm": job.arm, "peak": job.peak}
    curve = pl.DataFrame([names | row for row in record.curve]).drop("learning_rate", "seconds")
    by_sport = pl.DataFrame([names | row for row in record.details])
    return Outcome(task.tower, curve, by_sport, loop.seconds, task.waiting.seconds)


def process_group(config: EncoderConfig, *, title: str = "", logs: str = "") -> ProcessGroup:
    """This process among those that train together, as the settings say."""
    return ProcessGroup(
        device=config.device,
        precision=config.precision,
        trackers=config.trackers,
        title=title,
        logs=logs,
        config=config.model_dump(),
    )


def start_tower(
    config: EncoderConfig, encoder: str, frames: int, device: str = "cpu"
) -> models.Tower:
    """The tower that an encoder starts from: ``config.model``, for video with a pooling over up to
    ``frames`` frames.

    A pooling with weights is the mean at first, so that the video encoder starts as the image
    encoder that it is compared with.
    """
    tower = models.load_tower(config.model, pretrained=config.pretrained, device=device)
    if encoder == "video" and not hasattr(tower.module, "pooling"):
        layers = {"layers": config.video_layers, "heads": config.video_heads, "max_frames": frames}
        models.add_pooling(tower, config.video_pooling, **layers)
    return tower


class _EncoderTask:
    """An arm as :class:`sportskills_lib.training.loop.Loop` trains it."""

    score = "val_recall"

    def __init__(self, job: Job, group: ProcessGroup):
        import torch

        self.job, self.group, self.config = job, group, job.config
        self.name = f"{job.encoder}:{job.arm} at {job.peak:.0e}"
        torch.manual_seed(job.config.seed)
        frames = job.material.frames()
        self.tower = start_tower(job.config, job.encoder, frames.shape[1], group.device)
        self.module = self.tower.module
        self.clips = np.load(job.features, mmap_mode="r") if job.features else frames
        self.fixed = prepare(self.tower, job.config, features=bool(job.features))
        self.text_groups = text_groups(job.material.clips, job.texts, job.arm)
        rows = job.material.rows("train")
        more: Any = {"arm": job.arm, "start": self._start, "frames": frames}
        self.sampler = BatchSampler(job.material.clips, rows, job.texts, job.config, **more)
        self.waiting = Waiting()

    def _start(self) -> models.Tower:
        """The start that all arms share: it judges which clips are alike, so that they get the same
        batches.
        """
        name, pretrained = self.job.start or self.config.model, self.config.pretrained
        return models.load_tower(name, pretrained=pretrained, device=self.group.device)

    def batches(self, first: int) -> Iterator[list[tuple[Batch, FrameBatch]]]:
        """The ``accumulate`` batches of each step, this process's frames of them read ahead in
        threads.
        """
        config, count = self.config, self.config.accumulate
        frames = config.train_frames if self.job.encoder == "image" else self.clips.shape[1]

        def read(item: tuple[int, Batch]) -> tuple[Batch, FrameBatch]:
            place, batch = item
            share = self.group.share(len(batch.rows))
            rng = np.random.default_rng([config.seed, 41, place])
            options: Any = {"count": frames, "shift_px": config.shift_px, "rng": rng}
            return batch, draw_frames(self.clips, batch.rows, share, **options)

        places = range(first * count, self.job.steps * count)
        draws = ((place, self.sampler.at(place)) for place in places)
        stream = ahead(read, draws, threads=config.loader_threads, waiting=self.waiting)
        yield from map(list, zip(*[stream] * count, strict=False))

    def backward(self, batches: list[tuple[Batch, FrameBatch]]) -> float:
        """The mean loss of a step's batches; MemoryError says what to set where they do not fit."""
        self.module.train()
        for module in self.fixed:  # their statistics stay as they are, too
            module.eval()
        return float(np.mean([self._backward(batch, frames) for batch, frames in batches]))

    def _backward(self, batch: Batch, frames: FrameBatch) -> float:
        texts = batch.texts[self.group.share(len(batch.rows))]
        pairs = (batch.group_B, batch.allowed_BB)
        try:
            return backward(self.tower, frames, texts, *pairs, self.config, self.group)
        except Exception as error:
            if not out_of_memory(error):
                raise
            size = min(self.config.chunk or len(texts), len(texts))
            shape = "x".join(str(n) for n in frames.clips.shape[1:])
            raise MemoryError(
                f"out of memory with {size} clips of {shape} at a time on {self.tower.device}: set "
                f"chunk = {max(1, size // 2)} (the same gradient); where BatchNorm trains, halve "
                "clips_per_sport and double accumulate instead; or use smaller frames, a smaller "
                f"model or precision bf16 ({error})"
            ) from error

    def validate(self) -> tuple[dict[str, Any], list[dict[str, Any]]]:
        """Mean over sports of loss, recall and reciprocal rank, and the values of each sport."""
        job = self.job
        data = (job.material, job.material.rows("val"), self.clips, job.texts, self.text_groups)
        scores = validate(self.tower, *data, self.group)
        return mean_over_sports(scores), scores


# ------------------------------------------------------------------------------- several processes


def write_job(job: Job, folder: Path) -> None:
    """Write a job as ``job.json`` and ``clips.parquet``."""
    folder.mkdir(parents=True, exist_ok=True)
    clips = job.material.clips.with_columns(pl.Series("_text", job.texts, dtype=pl.String))
    clips.write_parquet(folder / "clips.parquet")
    spec = {name: value for name, value in vars(job).items() if name not in ("material", "texts")}
    material = {"frames_path": job.material.frames_path, "sports": job.material.sports}
    spec |= {"config": job.config.model_dump()} | material
    distributed_job.write_spec(folder, __name__, spec)


def read_job(folder: Path) -> Job:
    """The job that :func:`write_job` wrote."""
    spec = distributed_job.read_spec(folder)
    clips = pl.read_parquet(folder / "clips.parquet")
    material = ClipData(clips.drop("_text"), spec.pop("frames_path"), tuple(spec.pop("sports")))
    return Job(EncoderConfig(**spec.pop("config")), material, clips["_text"].to_list(), **spec)


def run_job(folder: Path) -> None:
    """One process's part of the job in ``folder``, wherever that lies now."""
    train(replace(read_job(folder), folder=str(folder)))


# -------------------------------------------------------------------------------------- data loader

Made = TypeVar("Made")


@dataclass
class Waiting:
    """How long the model waited for data."""

    seconds: float = 0.0


def ahead(
    make: Callable[[Any], Made],
    items: Iterable[Any],
    *,
    threads: int,
    waiting: Waiting,
) -> Iterator[Made]:
    """Yield ``make(item)`` for every item, in order, at most two a thread made before they are
    asked for.

    Threads suffice: reading and copying arrays lets the interpreter go. ``threads=0`` makes each
    when it is asked for. The time between asking and having goes to ``waiting``.
    """
    stream, made = iter(items), deque[Future[Made]]()
    with ThreadPoolExecutor(max(1, threads)) as pool:
        try:
            while True:
                started = time.monotonic()
                for item in stream:
                    made.append(pool.submit(make, item))
                    if len(made) > 2 * threads:
                        break
                if not made:
                    return
                value = made.popleft().result()
                waiting.seconds += time.monotonic() - started
                yield value
        finally:
            pool.shutdown(wait=False, cancel_futures=True)


def draw_frames(
    clips: np.ndarray,
    rows: np.ndarray,
    share: slice,
    *,
    count: int,
    shift_px: int,
    rng: np.random.Generator,
) -> FrameBatch:
    """``count`` random frames of each clip of ``rows[share]``, in order; pictures are all shifted
    alike.

    ``clips``: uint8 [N, T, H, W, 3], or features [N, T, D], which cannot be shifted. Draws are
    made for the whole batch, so that how many processes share it changes nothing.
    """
    total = clips.shape[1]
    moments = np.sort(
        np.stack([rng.choice(total, min(count, total), replace=False) for _ in rows]), axis=1
    )[share]
    batch = clips[rows[share, None], moments]
    if clips.ndim == 5:
        down, right = rng.integers(-shift_px, shift_px + 1, 2)
        batch = np.roll(batch, (int(down), int(right)), axis=(2, 3))
    return FrameBatch(batch, ((moments + 0.5) / total).astype(np.float32))
