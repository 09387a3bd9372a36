"""One optimiser step's gradients: which weights move, which loss, and how much of a batch is in memory at once."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from sportskills_lib import models
from sportskills_lib.config import EncoderConfig
from sportskills_lib.encoder.gradient_cache import backward_in_chunks, refuse_batch_statistics
from sportskills_lib.encoder.losses import info_nce, not_above_positive, siglip

if TYPE_CHECKING:
    import torch


def prepare(tower: models.Tower, config: EncoderConfig) -> list[Any]:
    """Freeze what ``config.frozen`` names, give a sigmoid loss its bias; returns the modules to keep in eval mode."""
    if config.loss == "siglip":
        models.add_logit_bias(tower)
    return freeze(tower.model, config.frozen)


def backward(
    tower: models.Tower,
    frames_BTHWC: np.ndarray,
    texts: list[str],
    group_B: np.ndarray,
    allowed_BB: np.ndarray | None,
    config: EncoderConfig,
) -> float:
    """Add the batch's gradient to the weights in training; returns the loss.

    With ``config.chunk`` clips at a time: the same gradient from less memory, at the price of a second forward pass.
    ValueError for layers that take statistics over the batch, which chunks would change.
    """
    import torch

    frames, groups = torch.from_numpy(frames_BTHWC), torch.from_numpy(group_B).to(tower.device)
    allowed = None if allowed_BB is None else torch.from_numpy(allowed_BB).to(tower.device)

    def loss(clip_BD: torch.Tensor, text_BD: torch.Tensor) -> torch.Tensor:
        scale = tower.model.logit_scale.exp().clamp(max=100)
        counted = allowed
        if config.positive_margin:
            counted = not_above_positive(clip_BD, text_BD, config.positive_margin) | (groups[:, None] == groups)
            counted = counted if allowed is None else counted & allowed
        if config.loss == "siglip":
            return siglip(clip_BD, text_BD, scale, tower.model.logit_bias, groups, counted)
        return info_nce(clip_BD, text_BD, scale, groups, counted)

    if not config.chunk or config.chunk >= len(texts):
        value = loss(tower.clip_features(frames), tower.text_features(texts))
        value.backward()
        return float(value.detach())
    refuse_batch_statistics(tower.model)
    parts = [texts[i : i + config.chunk] for i in range(0, len(texts), config.chunk)]
    return backward_in_chunks(loss, (tower.clip_features, frames.split(config.chunk)), (tower.text_features, parts))


def freeze(model: Any, prefixes: list[str]) -> list[Any]:
    """Take the parameters whose names begin with a prefix out of training; returns the modules that are wholly frozen.

    ValueError for a prefix that names no parameter of the model.
    """
    for prefix in prefixes:
        named = [parameter for name, parameter in model.named_parameters() if name.startswith(prefix)]
        if not named:
            known = sorted({".".join(name.split(".")[:2]) for name, _ in model.named_parameters()})
            raise ValueError(f"frozen={prefix!r} names no parameter of the model; they begin with {', '.join(known)}")
        for parameter in named:
            parameter.requires_grad_(False)
    held = [(module, list(module.parameters())) for module in model.modules()]
    return [module for module, own in held if own and not any(parameter.requires_grad for parameter in own)]
