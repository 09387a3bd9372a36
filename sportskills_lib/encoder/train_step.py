"""One batch's gradients: which loss, over which processes, how much of it in memory at once, and
what if too much.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from sportskills_lib import models
from sportskills_lib.config import EncoderConfig
from sportskills_lib.encoder import parameter_groups
from sportskills_lib.encoder.data_loader import FrameBatch
from sportskills_lib.encoder.gradient_cache import backward_in_chunks, refuse_batch_statistics
from sportskills_lib.encoder.losses import info_nce, not_above_positive, siglip
from sportskills_lib.training.distributed import ProcessGroup

if TYPE_CHECKING:
    import torch


def prepare(tower: models.Tower, config: EncoderConfig, *, features: bool = False) -> list[Any]:
    """Freeze what ``config.frozen`` names, add adapters, give a sigmoid loss its bias.

    ``features``: clips come as features of a frozen frame tower, so all of that is frozen. Returns
    the modules to keep in eval mode. ValueError when the model does not go with the config.
    """
    if config.loss == "siglip":
        models.add_logit_bias(tower)
    frozen = [*config.frozen, "visual."] if features else config.frozen
    fixed = parameter_groups.freeze(tower.module, frozen)
    if config.lora_rank:
        parameter_groups.add_adapters(tower.module, config.lora_rank, frozen)
        fixed = parameter_groups.wholly_frozen(tower.module)
    return fixed


def backward(
    tower: models.Tower,
    batch: FrameBatch,
    texts: list[str],
    group_B: np.ndarray,
    allowed_BB: np.ndarray | None,
    config: EncoderConfig,
    group: ProcessGroup,
) -> float:
    """Add the batch's gradient, as one of ``config.accumulate``, to the weights in training;
    returns the loss of the whole batch.

    ``batch`` and ``texts`` are this process's part, ``group_B`` and ``allowed_BB`` the whole. With
    ``config.chunk`` clips at a time: the same gradient from less memory, at the price of a second
    forward pass. ValueError for layers that take statistics over the batch, which chunks and
    processes would change.
    """
    import torch

    groups = torch.from_numpy(group_B).to(tower.device)
    allowed = None if allowed_BB is None else torch.from_numpy(allowed_BB).to(tower.device)

    def loss(clip_BD: torch.Tensor, text_BD: torch.Tensor) -> torch.Tensor:
        clip_BD, text_BD = group.gather(clip_BD, len(groups)), group.gather(text_BD, len(groups))
        scale = tower.model.logit_scale.exp().clamp(max=100)
        counted = _counted(clip_BD, text_BD, groups, allowed, config.positive_margin)
        if config.loss == "siglip":
            return siglip(clip_BD, text_BD, scale, tower.model.logit_bias, groups, counted)
        return info_nce(clip_BD, text_BD, scale, groups, counted)

    def clip_features(part: tuple[torch.Tensor, torch.Tensor]) -> torch.Tensor:
        with group.autocast():
            return clip_embeddings(tower, *part).float()

    def text_features(part: list[str]) -> torch.Tensor:
        with group.autocast():
            return tower.text_features(part).float()

    def mean_backward(value: torch.Tensor) -> None:
        group.backward(value / config.accumulate)

    inputs = tensors(batch, tower.device)
    size = config.chunk or len(texts)
    if config.chunk or group.size > 1:
        refuse_batch_statistics(tower.module)
    if size >= len(texts):
        value = loss(clip_features(inputs), text_features(texts))
        mean_backward(value)
        return float(value.detach())
    parts = list(zip(*(each.split(size) for each in inputs), strict=True))
    words = [texts[i : i + size] for i in range(0, len(texts), size)]
    sides = (clip_features, parts), (text_features, words)
    return backward_in_chunks(loss, *sides, backward=mean_backward)


def _counted(
    clip_BD: torch.Tensor,
    text_BD: torch.Tensor,
    groups: torch.Tensor,
    allowed: torch.Tensor | None,
    margin: float,
) -> torch.Tensor | None:
    """Which pairs count [B, B], now that embeddings are known; None: all."""
    if not margin:
        return allowed
    counted = not_above_positive(clip_BD, text_BD, margin) | (groups[:, None] == groups)
    return counted if allowed is None else counted & allowed


def clip_embeddings(
    tower: models.Tower, clips: torch.Tensor, time_BT: torch.Tensor | None = None
) -> torch.Tensor:
    """Normalised [B, D] of frames uint8 [B, T, H, W, 3], or of kept frame features [B, T, D]."""
    if clips.ndim == 5:
        return tower.clip_features(clips, time_BT)
    return tower.pool(clips.to(tower.device).float(), time_BT)


def tensors(batch: FrameBatch, device: str) -> tuple[torch.Tensor, torch.Tensor]:
    """Clips and times on the device, copied from pinned memory where that is a GPU."""
    import torch

    pair = torch.from_numpy(batch.clips), torch.from_numpy(batch.time_BT)
    if device.startswith("cuda"):
        pair = pair[0].pin_memory().to(device, non_blocking=True), pair[1].to(device)
    return pair


def out_of_memory(error: BaseException) -> bool:
    """Whether an error says that the device's memory, or the machine's, did not suffice."""
    import torch

    told = str(error)
    return (
        isinstance(error, torch.OutOfMemoryError | MemoryError) or "can't allocate memory" in told
    )


def fitting(
    tower: models.Tower,
    batch: FrameBatch,
    texts: list[str],
    config: EncoderConfig,
    group: ProcessGroup,
) -> int:
    """How many clips at a time fit: halved until a dry step of so many (forward and backward, no
    update) succeeds.

    0 when not even one does. Gradients are emptied afterwards.
    """
    import torch

    count = min(config.chunk or len(texts), len(texts)) // 2
    whole = config.model_copy(update={"chunk": 0})
    while count:
        if tower.device.startswith("cuda"):
            torch.cuda.empty_cache()
        try:
            part = FrameBatch(batch.rows[:count], batch.clips[:count], batch.time_BT[:count])
            backward(tower, part, texts[:count], np.arange(count), None, whole, group.alone())
            return count
        except Exception as error:
            if not out_of_memory(error):
                raise
        finally:
            tower.module.zero_grad(set_to_none=True)
        count //= 2
    return 0


def memory_advice(
    tower: models.Tower,
    batch: FrameBatch,
    texts: list[str],
    config: EncoderConfig,
    group: ProcessGroup,
) -> str:
    """What to say, and which line of the config to set, when a step did not fit in memory."""
    shape = "x".join(str(n) for n in batch.clips.shape[1:])
    tried = min(config.chunk or len(texts), len(texts))
    said = f"out of memory with {tried} clips of {shape} at a time on {tower.device}"
    count = fitting(tower, batch, texts, config, group)
    if not count:
        return (
            f"{said}; not even one clip fits: use a smaller model, smaller frames or precision bf16"
        )
    try:
        refuse_batch_statistics(tower.module)
    except ValueError:  # then chunks would change the gradient
        sports = max(1, config.sports_per_batch)
        line = (
            f"clips_per_sport = {max(1, count * group.size // sports)} (with sports_per_batch = "
            f"{sports})"
        )
        return (
            f"{said}; a batch of {count} fits: set {line}, and accumulate to keep the pairs a step"
        )
    return (
        f"{said}; {count} fit: set chunk = {count} (the same gradient from a batch of the "
        "same size)"
    )
