"""Which weights move, and how fast: frozen names, low-rank adapters, smaller rates for earlier
layers.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    pass

WHOLE = (
    "pooling.",
    "logit_scale",
    "logit_bias",
)  # new or tiny: always trained whole, beside adapters too


def freeze(module: Any, prefixes: list[str]) -> list[Any]:
    """Take the parameters whose names begin with a prefix out of training; returns the modules that
    are wholly frozen.

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
    return wholly_frozen(module)


def wholly_frozen(module: Any) -> list[Any]:
    """The modules with parameters of which none is trained: they stay in eval mode, their
    statistics as they are.
    """
    held = [(part, list(part.parameters())) for part in module.modules()]
    return [
        part for part, own in held if own and not any(parameter.requires_grad for parameter in own)
    ]


def add_adapters(module: Any, rank: int, frozen: list[str]) -> None:
    """Low-rank adapters (LoRA, Hu et al., arXiv 2106.09685) in every linear layer and attention;
    the rest stands still.

    Layers whose names begin with a prefix of ``frozen`` get none. ``alpha`` is twice the rank.
    :func:`merge_adapters` makes plain weights of them again. ValueError when no layer can hold one
    (a tower of convolutions alone).
    """
    import torch
    from peft import LoraConfig, inject_adapter_in_model

    attentions = [
        name
        for name, layer in module.named_modules()
        if isinstance(layer, torch.nn.MultiheadAttention)
    ]
    inside = tuple(f"{name}." for name in attentions) + tuple(frozen) + WHOLE
    linear = [
        name
        for name, layer in module.named_modules()
        # open_clip's ResNet pools by attention with the raw weights of its linear layers: an
        # adapter would be passed by
        if type(layer) is torch.nn.Linear and not name.startswith(inside) and "attnpool" not in name
    ]
    targets = [name for name in (*attentions, *linear) if not name.startswith((*frozen, *WHOLE))]
    if not targets:
        raise ValueError(
            "lora_rank: the model has no linear layer beside the frozen ones; set lora_rank to 0"
        )
    pattern = "|".join(
        map(re.escape, targets)
    )  # a list would match ends of names: the text tower's, in the image tower
    moving = {name for name, parameter in module.named_parameters() if parameter.requires_grad}
    inject_adapter_in_model(LoraConfig(r=rank, lora_alpha=2 * rank, target_modules=pattern), module)
    for name, parameter in module.named_parameters():
        parameter.requires_grad_("lora_" in name or (name in moving and name.startswith(WHOLE)))


def merge_adapters(module: Any) -> None:
    """Add the adapters to the weights that they stand beside and take them out: names are as before
    them.
    """
    from peft.tuners.lora import LoraLayer

    adapted = [
        (name, layer) for name, layer in module.named_modules() if isinstance(layer, LoraLayer)
    ]
    outer = tuple(f"{name}." for name, _ in adapted)
    for name, layer in adapted:
        if name.startswith(outer):  # an attention's own output layer: merged with it
            continue
        if hasattr(layer, "unload_and_optionally_merge_module"):  # an attention
            plain = layer.unload_and_optionally_merge_module(
                merge=True, safe_merge=False, adapter_names=None
            )
        else:
            layer.merge()
            plain = layer.get_base_layer()
        parent, _, last = name.rpartition(".")
        setattr(module.get_submodule(parent), last, plain)


def parameter_groups(module: Any, decay: float) -> list[dict[str, Any]]:
    """Parameters in training for an optimiser, with ``scale``: by how much each group's rate is
    smaller, and ``names``.

    The last layer and what stands after it get 1, each earlier layer ``decay`` times the next one's
    (ELECTRA, Clark et al. 2020); what stands before the first layer counts as a layer. Image and
    text tower are counted each for itself.
    """
    moving = [
        (name, parameter)
        for name, parameter in module.named_parameters()
        if parameter.requires_grad
    ]
    depths = {name: _depth(name) for name, _ in module.named_parameters()}
    deepest: dict[bool, int] = {}
    for name, depth in depths.items():
        side = name.startswith("visual.")
        deepest[side] = max(deepest.get(side, 0), depth or 0)
    groups: dict[float, dict[str, Any]] = {}
    for name, parameter in moving:
        depth = depths[name]
        scale = 1.0 if depth is None else decay ** (deepest[name.startswith("visual.")] - depth)
        group = groups.setdefault(scale, {"params": [], "names": [], "scale": scale})
        group["params"].append(parameter)
        group["names"].append(name)
    return list(groups.values())


_LAYER = re.compile(r"\b(?:resblocks|blocks|layers?)\.?(\d+)\b")
_BEFORE = re.compile(r"\b(?:conv\d?|bn\d|class_embedding|ln_pre|patch_embed|pos_embed)\b|embedding")


def _depth(name: str) -> int | None:
    """The number of a parameter's layer from 1; 0 before the first layer; None after the last."""
    if name.startswith(WHOLE):
        return None
    if found := _LAYER.search(name):
        return int(found.group(1)) + (0 if re.search(r"\blayer\d", name) else 1)
    return 0 if _BEFORE.search(name) else None
