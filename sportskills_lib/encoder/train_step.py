"""One batch's gradients: which loss, over which processes, how much of it in memory at once.

``config.chunk`` bounds memory without changing the gradient. Gao et al. (GradCache, arXiv
2101.06983): embed chunk by chunk without a graph, take the loss's gradient with respect to the
embeddings, then embed each chunk again with a graph and hand it its part of that gradient. The
second pass must draw what the first drew (dropout), so the generators' states are kept for each
chunk.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from sportskills_lib import models
from sportskills_lib.config import EncoderConfig
from sportskills_lib.encoder.losses import info_nce, not_above_positive, siglip
from sportskills_lib.training.distributed import ProcessGroup

if TYPE_CHECKING:
    import torch

LAST = ("pooling.", "logit_scale", "logit_bias")  # new or tiny: they stand after every layer
LAYER = re.compile(r"\b(?:resblocks|blocks|layers?)\.?(\d+)\b")
BEFORE = re.compile(r"\b(?:conv\d?|bn\d|class_embedding|ln_pre|patch_embed|pos_embed)\b|embedding")
# a chunk of inputs → its embeddings [b, D], with a graph when grad is on
Encode = Callable[[Any], "torch.Tensor"]


@dataclass(frozen=True)
class FrameBatch:
    """One process's part of a batch: frames (uint8 [b, T, H, W, 3]) or their features ([b, T, D]),
    and their times.
    """

    clips: np.ndarray
    time_BT: np.ndarray  # when each frame is, as a share of its clip


def prepare(tower: models.Tower, config: EncoderConfig, *, features: bool = False) -> list[Any]:
    """Freeze what ``config.frozen`` names, give a sigmoid loss its bias.

    ``features``: clips come as features of a frozen frame tower, so all of that is frozen. Returns
    the modules to keep in eval mode. ValueError when the model does not go with the config.
    """
    if config.loss == "siglip":
        models.add_logit_bias(tower)
    frozen = [*config.frozen, "visual."] if features else config.frozen
    return freeze(tower.module, frozen)


def freeze(module: Any, prefixes: list[str]) -> list[Any]:
    """Take the parameters whose names begin with a prefix out of training; returns the modules that
    are wholly frozen, which stay in eval mode, their statistics as they are.

    ValueError for a prefix that names no parameter of the model.
    """
    for prefix in prefixes:
        named = [
            parameter for name, parameter in module.named_parameters() if name.startswith(prefix)
        ]
        if not named:
            known = sorted({".".join(name.split(".")[:2]) for name, _ in module.named_parameters()})
            raise ValueError(
                f"frozen={prefix!r} names no parameter of the model; they begin with "
                f"{', '.join(known)}"
            )
        for parameter in named:
            parameter.requires_grad_(False)
    held = [(part, list(part.parameters())) for part in module.modules()]
    return [
        part for part, own in held if own and not any(parameter.requires_grad for parameter in own)
    ]


def layer_scales(module: Any, decay: float) -> dict[str, float]:
    """The share of the learning rate of each parameter, by name.

    The last layer and what stands after it get 1, each earlier layer ``decay`` times the next one's
    (ELECTRA, Clark et al. 2020); what stands before the first layer counts as a layer. Image and
    text tower are counted each for itself.
    """
    depths = {name: _depth(name) for name, _ in module.named_parameters()}
    deepest = [
        max((depth or 0 for name, depth in depths.items() if name.startswith("visual.") == side),
            default=0)
        for side in (False, True)
    ]  # fmt: skip
    return {
        name: 1.0 if depth is None else decay ** (deepest[name.startswith("visual.")] - depth)
        for name, depth in depths.items()
    }


def _depth(name: str) -> int | None:
    """The number of a parameter's layer from 1; 0 before the first layer; None after the last."""
    if name.startswith(LAST):
        return None
    if found := LAYER.search(name):
        return int(found.group(1)) + (0 if re.search(r"\blayer\d", name) else 1)
    return 0 if BEFORE.search(name) else None


def backward(
    tower: models.Tower,
    batch: FrameBatch,
    texts: list[str],
    group_B: np.ndarray,
    allowed_BB: np.ndarray,
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
    allowed = torch.from_numpy(allowed_BB).to(tower.device)

    def loss(clip_BD: torch.Tensor, text_BD: torch.Tensor) -> torch.Tensor:
        clip_BD, text_BD = group.gather(clip_BD, len(groups)), group.gather(text_BD, len(groups))
        scale, counted = tower.model.logit_scale.exp().clamp(max=100), allowed
        if config.positive_margin:
            near = not_above_positive(clip_BD, text_BD, config.positive_margin)
            counted = allowed & (near | (groups[:, None] == groups))
        if config.loss == "siglip":
            return siglip(clip_BD, text_BD, scale, tower.model.logit_bias, groups, counted)
        return info_nce(clip_BD, text_BD, scale, groups, counted)

    def clip_features(part: tuple[torch.Tensor, torch.Tensor]) -> torch.Tensor:
        with group.autocast():
            return clip_embeddings(tower, *part).float()

    def text_features(part: list[str]) -> torch.Tensor:
        with group.autocast():
            return tower.text_features(part).float()

    inputs = torch.from_numpy(batch.clips), torch.from_numpy(batch.time_BT)
    if tower.device.startswith("cuda"):
        pinned = inputs[0].pin_memory()
        inputs = pinned.to(tower.device, non_blocking=True), inputs[1].to(tower.device)
    size = config.chunk or len(texts)
    if config.chunk or group.size > 1:
        refuse_batch_statistics(tower.module)
    if size >= len(texts):
        value = loss(clip_features(inputs), text_features(texts))
        (value / config.accumulate).backward()
        return float(value.detach())
    parts = list(zip(*(each.split(size) for each in inputs), strict=True))
    words = [texts[i : i + size] for i in range(0, len(texts), size)]
    sides = (clip_features, parts), (text_features, words)
    return backward_in_chunks(loss, *sides, accumulate=config.accumulate)


def clip_embeddings(
    tower: models.Tower, clips: torch.Tensor, time_BT: torch.Tensor | None = None
) -> torch.Tensor:
    """Normalised [B, D] of frames uint8 [B, T, H, W, 3], or of kept frame features [B, T, D]."""
    if clips.ndim == 5:
        return tower.clip_features(clips, time_BT)
    return tower.pool(clips.to(tower.device).float(), time_BT)


def out_of_memory(error: BaseException) -> bool:
    """Whether an error says that the device's memory, or the machine's, did not suffice."""
    import torch

    full = isinstance(error, torch.OutOfMemoryError | MemoryError)
    return full or "can't allocate memory" in str(error)


# ------------------------------------------------------------------------------- cached gradients


def backward_in_chunks(
    loss: Callable[[torch.Tensor, torch.Tensor], torch.Tensor],
    clips: tuple[Encode, Sequence[Any]],
    texts: tuple[Encode, Sequence[Any]],
    *,
    accumulate: int = 1,
) -> float:
    """Accumulate in every parameter the gradient of ``loss(clip_BD, text_BD)``, as one of
    ``accumulate`` batches; returns the loss.

    ``clips`` and ``texts``: how to embed a chunk, and the chunks in the batch's order. Memory holds
    one chunk's graph at a time besides all embeddings. Parameters that ``loss`` itself uses (a
    temperature) get their gradient too. Not for layers that mix rows of a batch, as BatchNorm in
    training does: see :func:`refuse_batch_statistics`.
    """
    import torch

    passes = [_first_pass(encode, chunks) for encode, chunks in (clips, texts)]
    whole = [torch.cat(embeddings).requires_grad_() for embeddings, _ in passes]
    value = loss(*whole)
    (value / accumulate).backward()
    for (encode, chunks), (_, states), all_BD in zip((clips, texts), passes, whole, strict=True):
        assert all_BD.grad is not None
        start = 0
        for chunk, state in zip(chunks, states, strict=True):
            with _same_draws(state):
                embedded = encode(chunk)
            if embedded.requires_grad:
                embedded.backward(all_BD.grad[start : start + len(embedded)])
            start += len(embedded)
    return float(value.detach())


def refuse_batch_statistics(model: torch.nn.Module) -> None:
    """ValueError when a layer in training takes statistics over the batch: a part of it would see
    others.

    Call after ``model.train()``; layers in eval mode (frozen statistics) pass.
    """
    from torch.nn.modules.batchnorm import _BatchNorm

    mixed = [
        name
        for name, layer in model.named_modules()
        if isinstance(layer, _BatchNorm) and layer.training
    ]
    if mixed:
        raise ValueError(
            "chunk and several processes need rows that do not depend on the batch, but "
            f"{len(mixed)} BatchNorm layers "
            f"train on it (first {mixed[0]!r}): name them in frozen, use a ViT, or set chunk "
            "to 0 and processes to 1"
        )


def _first_pass(encode: Encode, chunks: Sequence[Any]) -> tuple[list[torch.Tensor], list[Any]]:
    """Embeddings without a graph, and what the generators that layers draw from were at before
    each chunk, on the CPU and on the current GPU.
    """
    import torch

    embeddings, states = [], []
    with torch.no_grad():
        for chunk in chunks:
            on_gpu = torch.cuda.get_rng_state() if torch.cuda.is_initialized() else None
            states.append((torch.get_rng_state(), on_gpu))
            embeddings.append(encode(chunk))
    return embeddings, states


@contextmanager
def _same_draws(state: tuple[Any, Any]) -> Iterator[None]:
    """Draws inside repeat those made after ``state``; afterwards the generators go on as before."""
    import torch

    devices = [torch.cuda.current_device()] if state[1] is not None else []
    with torch.random.fork_rng(devices=devices):
        torch.set_rng_state(state[0])
        if devices:
            torch.cuda.set_rng_state(state[1])
        yield
