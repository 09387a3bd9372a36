"""Which weights move, and how fast: frozen names, smaller rates for earlier layers."""

from __future__ import annotations

import re
from typing import Any

LAST = ("pooling.", "logit_scale", "logit_bias")  # new or tiny: they stand after every layer


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


def parameter_groups(module: Any, decay: float) -> list[dict[str, Any]]:
    """Parameters in training for an optimiser, with ``scale``: by how much each group's rate is
    smaller, and ``names``.

    The last layer and what stands after it get 1, each earlier layer ``decay`` times the next one's
    (ELECTRA, Clark et al. 2020); what stands before the first layer counts as a layer. Image and
    text tower are counted each for itself.
    """
    depths = {name: _depth(name) for name, _ in module.named_parameters()}
    deepest = dict[bool, int]()
    for name, depth in depths.items():
        side = name.startswith("visual.")
        deepest[side] = max(deepest.get(side, 0), depth or 0)
    groups: dict[float, dict[str, Any]] = {}
    for name, parameter in module.named_parameters():
        if parameter.requires_grad:
            depth, most = depths[name], deepest[name.startswith("visual.")]
            scale = 1.0 if depth is None else decay ** (most - depth)
            group = groups.setdefault(scale, {"params": [], "names": [], "scale": scale})
            group["params"].append(parameter)
            group["names"].append(name)
    return list(groups.values())


_LAYER = re.compile(r"\b(?:resblocks|blocks|layers?)\.?(\d+)\b")
_BEFORE = re.compile(r"\b(?:conv\d?|bn\d|class_embedding|ln_pre|patch_embed|pos_embed)\b|embedding")


def _depth(name: str) -> int | None:
    """The number of a parameter's layer from 1; 0 before the first layer; None after the last."""
    if name.startswith(LAST):
        return None
    if found := _LAYER.search(name):
        return int(found.group(1)) + (0 if re.search(r"\blayer\d", name) else 1)
    return 0 if _BEFORE.search(name) else None
