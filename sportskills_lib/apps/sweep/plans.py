"""What a run would do, and what 03 would cost, before anything runs or is downloaded. All of it is
an estimate.

Stages that were measured (of this run, or of the demo and smoke presets) show their seconds. For
towers on a GPU the time is operations over an assumed share of the GPU's peak, both printed:
reading, decoding and waiting for data come on top. Models whose shape would need a download are
named as not counted.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from sportskills_lib.apps.sweep import model_size
from sportskills_lib.config import EncoderConfig, PairingConfig
from sportskills_lib.runs import artifacts, pipeline
from sportskills_lib.runs.artifacts import NOTEBOOKS, STAGES
from sportskills_lib.runs.pipeline import Settings
from sportskills_lib.runs.progress import Progress

PAPER_CLIPS = 638_399  # clips of the paper (arXiv 2603.25163), whose videos are not public
VAL_SHARE, TEXTS_A_CLIP = 0.11, 1.0  # clips for validation; narrations of a clip
SHARE_OF_PEAK = 0.35  # assumed; `make gpu` measures it on the GPU at hand
SCALING = 0.9  # assumed: eight GPUs do the work of 8 × 0.9
GB = 1e9


@dataclass(frozen=True)
class Gpu:
    """A GPU's published dense peaks (operations a second) and memory."""

    name: str
    half_flops: float  # bf16 and fp16, tensor cores, without sparsity
    single_flops: float  # fp32 without tensor cores
    memory_gb: float


GPUS = {
    "h100": Gpu("H100 SXM", 989e12, 67e12, 80.0),
    "a100": Gpu("A100 SXM 80 GB", 312e12, 19.5e12, 80.0),
    "rtx4090": Gpu("RTX 4090", 165e12, 82.6e12, 24.0),
}


def plan_lines(
    run: str,
    preset: str | None,
    settings: Settings,
    *,
    first: str | None = None,
    last: str | None = None,
    clips: int | None = None,
    gpu: str = "h100",
) -> Iterator[str]:
    """The plan, a line at a time. ``clips``: how many to count on where the run has none yet."""
    if gpu not in GPUS:
        raise ValueError(f"unknown --gpu {gpu!r}: use one of {', '.join(GPUS)}")
    preset, chosen = pipeline.chosen_settings(run, preset, settings)
    configs = pipeline.stage_configs(preset, chosen)
    begin, end = (
        pipeline.stage_name(first or STAGES[0]),
        pipeline.stage_name(last or pipeline.notebooks(run)[-1]),
    )
    yield (
        f"plan of run {run}, preset {preset}. An estimate: nothing has been loaded, "
        "downloaded or run."
    )
    for stage in NOTEBOOKS[NOTEBOOKS.index(begin) : NOTEBOOKS.index(end) + 1]:
        why = pipeline.reasons(run, stage, configs[stage])
        seconds = pipeline.planned_seconds(run, stage, preset)
        source = (
            "measured in this run"
            if artifacts.is_complete(run, stage)
            else "estimated from runs of this preset on two cores"
        )
        time = "time unknown" if seconds is None else f"{Progress.clock(seconds)}, {source}"
        yield f"  {stage:<16}{'runs (' + ', '.join(why[:3]) + ')' if why else 'complete'}; {time}"
        if stage == STAGES[2]:
            encoder, pairing = configs[stage], configs[STAGES[1]]
            assert isinstance(encoder, EncoderConfig) and isinstance(pairing, PairingConfig)
            yield from encoder_lines(
                encoder, pairing, clips=clips or known_clips(run, preset), gpu=GPUS[gpu]
            )


def known_clips(run: str, preset: str) -> int | None:
    """The run's clips, where its 02 is complete; those of the paper for its preset; None
    otherwise.
    """
    try:
        return int(
            artifacts.open_stage(run, STAGES[1]).manifest["outputs"]["clips.parquet"]["rows"]
        )
    except (ValueError, KeyError):
        return PAPER_CLIPS if preset == "paper" else None


# ----------------------------------------------------------------------------------------- encoders


def encoder_lines(
    config: EncoderConfig, pairing: PairingConfig, *, clips: int | None, gpu: Gpu
) -> Iterator[str]:
    """Sizes, steps, memory, time and disk of 03."""
    folder = artifacts.workspace() / config.model
    if config.model.startswith("data/raw/") and not folder.is_dir():
        yield (
            f"    model {config.model} is not there yet: `make demo` makes it, then it can "
            "be counted"
        )
        return
    try:
        counts = model_size.count(str(folder) if folder.is_dir() else config.model, config.frozen)
    except ValueError as error:
        yield f"    {error}"
        return
    plan = Plan(config, counts, pairing.frames, clips, gpu)
    yield from plan.sizes()
    yield from plan.steps()
    yield from plan.memory()
    yield from plan.times()
    yield from plan.disk(pairing.size_px)


def millions(number: float) -> str:
    """149.6 M, or 0.46 M."""
    return f"{number / 1e6:.1f} M" if number >= 1e7 else f"{number / 1e6:.2f} M"


def arm_steps(config: EncoderConfig, encoder: str) -> tuple[int, int, int]:
    """Optimiser steps of an arm of this encoder, how many trials choose its learning rate (none
    where there is no choice), and the steps of each.
    """
    video = encoder == "video"
    rates = config.video_learning_rates if video else config.learning_rates
    steps = config.video_steps if video else config.steps
    return steps, (len(rates) if len(rates) > 1 else 0), config.trial_steps


def trained_on_cache(config: EncoderConfig, encoder: str) -> bool:
    """Whether this encoder trains on features of frozen frames, computed once."""
    return encoder == "video" and config.video_start == "image_arm"


@dataclass(frozen=True)
class Plan:
    """The sums behind the lines of 03. Legend: a clip has ``config.train_frames`` frames in
    training.
    """

    config: EncoderConfig
    counts: model_size.Counts
    frames: int
    clips: int | None
    gpu: Gpu

    @property
    def encoders(self) -> list[str]:
        """Those that can be counted: the shape of native comes with its weights."""
        return [name for name in self.config.encoders if name != "native"]

    @property
    def batch(self) -> int:
        """Clips that are one another's negatives; a step may hold several such batches."""
        return self.config.sports_per_batch * self.config.clips_per_sport

    @property
    def numbers(self) -> str:
        """The numbers that activations are kept in, as they are called."""
        return "float32" if self.config.precision == "no" else self.config.precision

    @property
    def peak(self) -> float:
        """Operations a second of the GPU in this precision."""
        return self.gpu.single_flops if self.config.precision == "no" else self.gpu.half_flops

    def _frames_of(self, encoder: str) -> int:
        return self.config.train_frames if encoder == "image" else self.frames

    def pooling(self) -> int:
        """Parameters of the temporal transformer over frame features: 12 D² + 13 D a layer, and
        positions.
        """
        if "video" not in self.encoders or self.config.video_pooling != "temporal":
            return 0
        width = self.counts.width
        return self.config.video_layers * (12 * width**2 + 13 * width) + (self.frames - 1) * width

    def step_flop(self, encoder: str) -> float:
        """Operations of one step: forward, twice as much backward for what is trained, and forward
        again if in chunks.

        A video arm on cached features pays for its texts and its pooling alone.
        """
        counts, cached = self.counts, trained_on_cache(self.config, encoder)
        again = 1.0 if 0 < self.config.chunk < self.batch else 0.0
        image = 1 + again + 2 * counts.trained_image / max(1, counts.image)
        text = 1 + again + 2 * counts.trained_text / max(1, counts.text)
        frames = 0.0 if cached else image * counts.frame_flop * self._frames_of(encoder)
        pooled = 6.0 * self.pooling() * self.frames if encoder == "video" else 0.0
        return self.config.accumulate * self.batch * (frames + text * counts.text_flop + pooled)

    def activations(self, encoder: str, clips: int) -> float:
        """Bytes kept for the backward pass of so many clips."""
        counts = self.counts
        frames = (
            0
            if trained_on_cache(self.config, encoder)
            else self._frames_of(encoder) * counts.frame_bytes
        )
        return (
            clips * (frames + counts.text_bytes) * (1.0 if self.config.precision == "no" else 0.5)
        )

    def state(self) -> float:
        """Bytes of weights, gradients and AdamW's two moments, all float32."""
        return 4.0 * self.counts.parameters + 12.0 * self.counts.trained + 16.0 * self.pooling()

    def sizes(self) -> Iterator[str]:
        """The models."""
        counts, config = self.counts, self.config
        name = f"{config.model} ({config.pretrained})" if config.pretrained else config.model
        yield (
            f"    model {name}: {millions(counts.parameters)} parameters: image tower "
            f"{millions(counts.image)}, text "
            f"tower {millions(counts.text)}; trained {millions(counts.trained)}; "
            f"{counts.size_px} px, embeddings of "
            f"{counts.width}"
        )
        if self.pooling():
            yield (
                f"    video adds {millions(self.pooling())} parameters of temporal "
                "attention, by formula"
            )
        if "native" in config.encoders:
            yield (
                f"    native {config.native_model}: not counted, its shape comes with its weights"
            )
        if rank := config.lora_rank:
            yield f"    LoRA of rank {rank}: fewer weights are trained than these lines count"

    def steps(self) -> Iterator[str]:
        """Steps, clips and operations."""
        for encoder in self.encoders:
            steps, trials, length = arm_steps(self.config, encoder)
            tried = f" and {trials} trials of {length}" if trials else ""
            cached = trained_on_cache(self.config, encoder)
            frames = (
                "cached features"
                if cached
                else f"{self.config.accumulate * self.batch * self._frames_of(encoder):,} frames"
            )
            yield (
                f"    {encoder}: {len(self.config.arms)} arms, each {steps:,} steps{tried}; "
                f"{self.config.accumulate * self.batch} clips a step, {frames}; "
                f"{self.step_flop(encoder) / 1e12:.3g} TFLOP a step"
            )

    def memory(self) -> Iterator[str]:
        """Memory of one arm on one GPU, and the chunk that would fit where a batch does not."""
        encoder = "image" if "image" in self.encoders else self.encoders[0]
        chunk = self.config.chunk or self.batch
        whole = self.state() + self.activations(encoder, chunk)
        yield (
            "    memory of an arm, estimate: weights, gradients and AdamW "
            f"{self.state() / GB:.3g} GB, activations "
            f"{self.activations(encoder, chunk) / GB:.3g} GB for a chunk of {chunk} clips "
            f"({self.numbers}): {whole / GB:.3g} GB"
        )
        room = self.gpu.memory_gb * GB * 0.9 - self.state()
        fits = int(room // self.activations(encoder, 1)) if room > 0 else 0
        if whole > self.gpu.memory_gb * GB * 0.9:
            help_ = f"--set 03.chunk={fits} would fit" if fits else "no chunk would fit"
            yield (
                f"    ! more than nine tenths of the {self.gpu.memory_gb:.0f} GB of an "
                f"{self.gpu.name}: {help_}"
            )

    def arm_flop(self, encoder: str) -> float:
        """Operations of one arm: steps, trials, validations, and embedding every clip at the
        end.
        """
        steps, trials, length = arm_steps(self.config, encoder)
        clips = self.clips or 0
        encode = self.frames * self.counts.frame_flop + TEXTS_A_CLIP * self.counts.text_flop
        looks = 1 + steps // self.config.evaluate_every
        return (steps + trials * length) * self.step_flop(encoder) + (
            1 + VAL_SHARE * looks
        ) * clips * encode

    def times(self) -> Iterator[str]:
        """Hours on one and on eight GPUs."""
        if self.config.device == "cpu":
            yield "    time: device is cpu, for which only measured seconds are given"
            return
        rate = self.peak * SHARE_OF_PEAK
        total = 0.0
        for encoder in self.encoders:
            arm = self.arm_flop(encoder) / rate
            total += arm * len(self.config.arms)
            yield (
                f"    time of one arm of {encoder} on one {self.gpu.name}, estimate: "
                f"{Progress.clock(arm)}"
            )
        eight = 8 * SCALING
        yield (
            f"    time of 03, estimate: {Progress.clock(total)} on 1 GPU, "
            f"{Progress.clock(total / eight)} on 8; "
            f"assumed: {self.gpu.name} {self.peak / 1e12:.0f} TFLOP/s dense in {self.numbers}, "
            f"{SHARE_OF_PEAK:.0%} of "
            f"it reached, 8 GPUs as {eight:.1f}; reading and decoding come on top"
        )
        if self.clips is None:
            yield (
                "    the number of clips is not known yet: validations and embedding are not "
                "in it (--clips)"
            )

    def disk(self, size_px: int) -> Iterator[str]:
        """Frames of 02, embeddings and towers of 03."""
        models = len(self.config.encoders) * len(self.config.arms) + 1
        towers = models * 4.0 * self.counts.parameters
        if self.clips is None:
            yield (
                f"    disk: towers {towers / GB:.3g} GB; frames and embeddings need the "
                "number of clips (--clips)"
            )
            return
        frames = self.clips * self.frames * size_px**2 * 3
        vectors = models * self.clips * (1 + TEXTS_A_CLIP) * self.counts.width * 4
        yield (
            f"    disk for {self.clips:,} clips: frames {frames / GB:,.3g} GB ({self.frames} "
            f"of {size_px} px a clip), "
            f"embeddings {vectors / GB:.3g} GB, towers {towers / GB:.3g} GB"
        )
