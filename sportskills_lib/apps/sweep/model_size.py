"""How large a tower is and what a step of it costs, counted on torch's meta device: no weights, no
download.

Floating-point operations are torch's own count of matrix products (a multiply and an add are two);
other operations are not counted. Activations are the bytes that autograd keeps for the backward
pass, in float32, with whole attention matrices: a flash kernel keeps less.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

CONFIG = "open_clip_config.json"
PARTS = {"image": "visual.", "other": "logit_"}  # beginnings of names; all others: text
TWO = 2  # items in a counted pass: batch normalisation refuses one


@dataclass(frozen=True)
class Counts:
    """Of one tower: parameters by part, those that are trained, and the cost of one frame and of
    one text.
    """

    image: int
    text: int
    other: int
    trained: int
    trained_image: int
    trained_text: int
    frame_flop: float  # forward, one frame
    text_flop: float
    frame_bytes: int  # kept for backward, float32
    text_bytes: int
    width: int
    size_px: int

    @property
    def parameters(self) -> int:
        """All of them."""
        return self.image + self.text + self.other


def count(model: str, frozen: Sequence[str] = ()) -> Counts:
    """The counts of an open_clip model, or of a folder in its form; parameters whose names start
    with one of ``frozen`` are not trained. ValueError where the shape would need a download.
    """
    import torch

    network, config = _network(model)
    sizes = {"image": 0, "text": 0, "other": 0}
    trained = dict(sizes)
    for name, value in network.named_parameters():
        part = next((part for part in PARTS if name.startswith(PARTS[part])), "text")
        sizes[part] += value.numel()
        trained[part] += 0 if name.startswith(tuple(frozen)) else value.numel()
    size_px = network.visual.image_size
    size_px = int(size_px if isinstance(size_px, int) else max(size_px))
    frame = torch.zeros(TWO, 3, size_px, size_px, device="meta")
    length = int(config["text_cfg"].get("context_length", 77))
    words = torch.zeros(TWO, length, dtype=torch.long, device="meta")
    frame_flop, frame_bytes = _cost(network, lambda: network.encode_image(frame))
    text_flop, text_bytes = _cost(network, lambda: network.encode_text(words))
    return Counts(
        **sizes,
        trained=sum(trained.values()),
        trained_image=trained["image"],
        trained_text=trained["text"],
        frame_flop=frame_flop,
        text_flop=text_flop,
        frame_bytes=frame_bytes,
        text_bytes=text_bytes,
        width=int(config["embed_dim"]),
        size_px=size_px,
    )


def _network(model: str) -> tuple[Any, dict[str, Any]]:
    """The network without weights, and its config."""
    import open_clip
    import torch
    from open_clip.model import CLIP

    folder = Path(model)
    if (folder / CONFIG).is_file():
        config = json.loads((folder / CONFIG).read_text())["model_cfg"]
        shape = {name: value for name, value in config.items() if name != "custom_text"}
        with torch.device("meta"):
            return CLIP(**shape, output_dict=False), config
    if model not in open_clip.list_models():
        raise ValueError(f"{model!r} is neither a folder with {CONFIG} nor a model of open_clip")
    config = open_clip.get_model_config(model) or {}
    if "hf_model_name" in config.get("text_cfg", {}):
        raise ValueError(f"model {model!r} cannot be counted: its text tower is on a hub")
    logging.disable(logging.WARNING)  # open_clip warns that no weights are loaded
    with torch.device("meta"):
        network = open_clip.create_model(model, pretrained=None, device="meta", load_weights=False)
    logging.disable(logging.NOTSET)
    return network, config


def _cost(network: Any, forward: Callable[[], Any]) -> tuple[float, int]:
    """Of one item: operations forward, and the bytes of what is kept for the backward pass, weights
    left out.
    """
    import torch
    from torch.utils.flop_counter import FlopCounterMode

    weights = {value.untyped_storage()._cdata for value in network.parameters()}
    kept: dict[int, Any] = {}  # the tensors too, so that no storage's address is used twice

    def keep(value: torch.Tensor) -> torch.Tensor:
        if (place := value.untyped_storage()._cdata) not in weights:
            kept[place] = value
        return value

    network.train()
    with (
        FlopCounterMode(display=False) as counter,
        torch.autograd.graph.saved_tensors_hooks(keep, lambda value: value),
    ):
        forward()
    kept_bytes = sum(value.untyped_storage().nbytes() for value in kept.values())
    return counter.get_total_flops() / TWO, round(kept_bytes / TWO)
