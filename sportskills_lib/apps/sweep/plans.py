"""What a run would do, and what 03 would cost, before anything runs or is downloaded. All of it is
an estimate.

Stages that were measured (of this run, or of the demo and smoke presets) show their seconds. For
towers on a GPU the time is operations over an assumed share of the GPU's peak, both printed:
reading, decoding and waiting for data come on top. Parameters and operations are counted on torch's
meta device, without weights: operations are torch's own count of matrix products (a multiply and an
add are two), without the pooling over frames, some hundredths of a text tower, and as if nothing
were frozen. Models whose shape would need a download are named as not counted.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from sportskills_lib.config import EncoderConfig, PairingConfig
from sportskills_lib.runs import artifacts, pipeline
from sportskills_lib.runs.artifacts import NOTEBOOKS, STAGES
from sportskills_lib.runs.pipeline import Settings
from sportskills_lib.runs.progress import Progress
from sportskills_lib.runs.provenance import stand_in_warning

if TYPE_CHECKING:
    import torch

PAPER_CLIPS = 638_399  # clips of the paper (arXiv 2603.25163), whose videos are not public
VAL_SHARE, TEXTS_A_CLIP = 0.11, 1.0  # clips for validation; narrations of a clip
SHARE_OF_PEAK = 0.35  # assumed; `make gpu` measures it on the GPU at hand
SCALING = 0.9  # assumed: eight GPUs do the work of 8 × 0.9
GB = 1e9
CONFIG = "open_clip_config.json"
TWO = 2  # items in a counted pass: batch normalisation refuses one


class Gpu(NamedTuple):
    """A GPU's published dense peaks, in operations a second."""

    name: str
    half_flops: float  # bf16 and fp16, tensor cores, without sparsity
    single_flops: float  # fp32 without tensor cores


GPUS = {
    "h100": Gpu("H100 SXM", 989e12, 67e12),
    "a100": Gpu("A100 SXM 80 GB", 312e12, 19.5e12),
    "rtx4090": Gpu("RTX 4090", 165e12, 82.6e12),
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
    begin = pipeline.stage_name(first or STAGES[0])
    end = pipeline.stage_name(last or pipeline.notebooks(run)[-1])
    yield (
        f"plan of run {run}, preset {preset}. An estimate: nothing has been loaded, "
        "downloaded or run."
    )
    if warning := stand_in_warning({stage: dict(config) for stage, config in configs.items()}):
        yield f"  WARNING: {warning}"
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


# ------------------------------------------------------------------------------------------- models


class Counts(NamedTuple):
    """Parameters of a model's towers, operations forward for one frame and for one text, and the
    width of its embeddings.
    """

    image: int
    text: int  # and the scale of the logits
    frame_flop: float
    text_flop: float
    width: int


def count(model: str) -> Counts:
    """The counts of an open_clip model, or of a folder in its form; ValueError where the shape
    would need a download.
    """
    import torch

    network = _network(model)
    side = network.visual.image_size
    height, width = (side, side) if isinstance(side, int) else side
    frames = torch.zeros(TWO, 3, height, width, device="meta")
    texts = torch.zeros(TWO, network.context_length, dtype=torch.long, device="meta")
    image = sum(weight.numel() for weight in network.visual.parameters())
    return Counts(
        image=image,
        text=sum(weight.numel() for weight in network.parameters()) - image,
        frame_flop=_flop(network.encode_image, frames),
        text_flop=_flop(network.encode_text, texts),
        width=int(network.encode_text(texts).shape[-1]),
    )


def _network(model: str) -> Any:
    """The network without weights."""
    import open_clip
    import torch

    name, saved = model, Path(model) / CONFIG
    config = open_clip.get_model_config(model)
    if saved.is_file():
        name, config = f"local-dir:{model}", json.loads(saved.read_text())["model_cfg"]
    if config is None:
        raise ValueError(
            f"model {model!r} cannot be counted: it is neither a folder with {CONFIG} (`make demo` "
            "makes the demo's) nor a model of open_clip"
        )
    if "hf_model_name" in config["text_cfg"]:
        raise ValueError(f"model {model!r} cannot be counted: its text tower is on a hub")
    logging.disable(logging.WARNING)  # open_clip warns that no weights are loaded
    with torch.device("meta"):
        network = open_clip.create_model(name, device="meta", load_weights=False)
    logging.disable(logging.NOTSET)
    return network


def _flop(encode: Callable[[torch.Tensor], Any], items: torch.Tensor) -> float:
    """Operations of ``encode`` for one item."""
    from torch.utils.flop_counter import FlopCounterMode

    with FlopCounterMode(display=False) as counter:
        encode(items)
    return counter.get_total_flops() / len(items)


# ----------------------------------------------------------------------------------------- encoders


def encoder_lines(
    config: EncoderConfig, pairing: PairingConfig, *, clips: int | None, gpu: Gpu
) -> Iterator[str]:
    """Sizes, steps, time and disk of 03."""
    folder = artifacts.workspace() / config.model
    try:
        counts = count(str(folder) if folder.is_dir() else config.model)
    except ValueError as error:
        yield f"    {error}"
        return
    plan = Plan(config, counts, pairing.frames, clips, gpu)
    yield from plan.sizes()
    yield from plan.times()
    yield plan.disk(pairing.size_px)


def arm_steps(config: EncoderConfig, encoder: str) -> tuple[int, int, int]:
    """Optimiser steps of an arm of this encoder, how many trials choose its learning rate (none
    where there is no choice), and the steps of each.
    """
    video = encoder == "video"
    rates = config.video_learning_rates if video else config.learning_rates
    steps = config.video_steps if video else config.steps
    return steps, (len(rates) if len(rates) > 1 else 0), config.trial_steps


@dataclass(frozen=True)
class Plan:
    """The sums behind the lines of 03."""

    config: EncoderConfig
    counts: Counts
    frames: int  # of a clip; fewer in training, config.train_frames
    clips: int | None
    gpu: Gpu

    def step_frames(self, encoder: str) -> int:
        """Frames of a clip in a training step; none where features of frozen frames were computed
        once.
        """
        if encoder == "image":
            return self.config.train_frames
        return 0 if self.config.video_start == "image_arm" else self.frames

    def step_flop(self, encoder: str) -> float:
        """Operations of one step: forward (twice, if in chunks), and twice as much backward."""
        batch = self.config.sports_per_batch * self.config.clips_per_sport
        passes = 4 if 0 < self.config.chunk < batch else 3
        frames = self.step_frames(encoder) * self.counts.frame_flop
        return self.config.accumulate * batch * passes * (frames + self.counts.text_flop)

    def arm_flop(self, encoder: str) -> float:
        """Operations of one arm: steps, trials, validations, and embedding every clip at the
        end.
        """
        steps, trials, length = arm_steps(self.config, encoder)
        encode = self.frames * self.counts.frame_flop + TEXTS_A_CLIP * self.counts.text_flop
        looks = 1 + steps // self.config.evaluate_every
        embedded = (1 + VAL_SHARE * looks) * (self.clips or 0)
        return (steps + trials * length) * self.step_flop(encoder) + embedded * encode

    def sizes(self) -> Iterator[str]:
        """The models."""
        config, counts = self.config, self.counts
        name = f"{config.model} ({config.pretrained})" if config.pretrained else config.model
        yield (
            f"    model {name}: {(counts.image + counts.text) / 1e6:.4g} M parameters: image tower "
            f"{counts.image / 1e6:.4g} M, text tower {counts.text / 1e6:.4g} M; embeddings of "
            f"{counts.width}"
        )
        yield (
            f"    memory: {16 * (counts.image + counts.text) / GB:.2g} GB for weights, gradients "
            "and AdamW's moments; activations come on top and grow with chunk: where a step does "
            "not fit, the error names a smaller one"
        )
        if config.frozen:
            yield "    some weights are frozen: a step costs less than these lines count"

    def times(self) -> Iterator[str]:
        """Steps and operations, and hours on one and on eight GPUs."""
        config, half = self.config, self.config.precision != "no"
        peak = self.gpu.half_flops if half else self.gpu.single_flops
        clips = config.accumulate * config.sports_per_batch * config.clips_per_sport
        seconds = 0.0
        for encoder in config.encoders:
            if encoder == "native":
                yield f"    native {config.native_model}: not counted, its shape is in its weights"
                continue
            steps, trials, length = arm_steps(config, encoder)
            tried = f" and {trials} trials of {length}" if trials else ""
            frames = clips * self.step_frames(encoder)
            arm = self.arm_flop(encoder) / (peak * SHARE_OF_PEAK)
            seconds += arm * len(config.arms)
            yield (
                f"    {encoder}: {len(config.arms)} arms, each {steps:,} steps{tried}; {clips} "
                f"clips a step, {f'{frames:,} frames' if frames else 'cached features'}; "
                f"{self.step_flop(encoder) / 1e12:.3g} TFLOP a step; an arm takes about "
                f"{Progress.clock(arm)} on one {self.gpu.name}"
            )
        yield (
            f"    time of 03, estimate: {Progress.clock(seconds)} on 1 GPU, "
            f"{Progress.clock(seconds / (8 * SCALING))} on 8; assumed: {self.gpu.name} "
            f"{peak / 1e12:.0f} TFLOP/s dense in {config.precision if half else 'float32'}, "
            f"{SHARE_OF_PEAK:.0%} of it reached, 8 GPUs as {8 * SCALING:.1f}; reading and decoding "
            "come on top"
        )

    def disk(self, size_px: int) -> str:
        """Frames of 02, embeddings and towers of 03."""
        models = len(self.config.encoders) * len(self.config.arms) + 1
        towers = models * 4.0 * (self.counts.image + self.counts.text)
        if self.clips is None:
            return (
                f"    disk: towers {towers / GB:.3g} GB; the number of clips is not known yet: "
                "validations, embedding, frames and embeddings are not counted (--clips)"
            )
        frames = self.clips * self.frames * size_px**2 * 3
        vectors = models * self.clips * (1 + TEXTS_A_CLIP) * self.counts.width * 4
        return (
            f"    disk for {self.clips:,} clips: frames {frames / GB:,.3g} GB ({self.frames} "
            f"of {size_px} px a clip), "
            f"embeddings {vectors / GB:.3g} GB, towers {towers / GB:.3g} GB"
        )
