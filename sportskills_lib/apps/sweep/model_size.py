"""How large a tower is and what a step of it costs, counted on torch's meta device: no weights and
no download.

    python -m sportskills_lib.apps.sweep.model_size <open_clip model or folder> [a frozen beginning
    …]

prints the :class:`Counts` of one as JSON. It is a process of its own, so that planning loads no
torch. Floating-point operations are torch's own count of matrix products (a multiply and an add are
two); what attention needs beyond that, and what is not a matrix product, is not counted.
Activations are the bytes that autograd keeps for the backward pass, in float32, with whole
attention matrices: a flash kernel keeps less.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

CONFIG = "open_clip_config.json"
TIMEOUT_S = 600.0
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
    """The counts of an open_clip model or a folder in its form, from a process of its own.

    ValueError with what open_clip said where it does not know the model, or would have to download
    to know its shape.
    """
    words = [sys.executable, "-m", "sportskills_lib.apps.sweep.model_size", model, *frozen]
    offline = {"HF_HUB_OFFLINE": "1", "TRANSFORMERS_OFFLINE": "1", "CUDA_VISIBLE_DEVICES": ""}
    library = str(Path(__file__).resolve().parents[3])
    environment = dict(os.environ) | offline | {"PYTHONPATH": library}
    done = subprocess.run(words, capture_output=True, text=True, env=environment, timeout=TIMEOUT_S)
    if done.returncode:
        last = (done.stderr.strip().splitlines() or ["it printed nothing"])[-1]
        raise ValueError(f"model {model!r} cannot be counted: {last}")
    return Counts(**json.loads(done.stdout.strip().splitlines()[-1]))


def count_here(model: str, frozen: Sequence[str] = ()) -> Counts:
    """The same in this process, which loads torch."""
    import torch

    network, config = _network(model)
    image, text, other = 0, 0, 0
    trained = {"image": 0, "text": 0, "other": 0}
    for name, value in network.named_parameters():
        part = (
            "image"
            if name.startswith("visual.")
            else "other"
            if name.startswith("logit_")
            else "text"
        )
        image, text, other = (
            image + value.numel() * (part == "image"),
            text + value.numel() * (part == "text"),
            other + value.numel() * (part == "other"),
        )
        trained[part] += 0 if name.startswith(tuple(frozen)) and frozen else value.numel()
    size_px = network.visual.image_size
    size_px = int(size_px if isinstance(size_px, int) else max(size_px))
    frame = torch.zeros(TWO, 3, size_px, size_px, device="meta")
    words = torch.zeros(
        TWO, int(config["text_cfg"].get("context_length", 77)), dtype=torch.long, device="meta"
    )
    frame_flop, frame_bytes = _cost(network, lambda: network.encode_image(frame))
    text_flop, text_bytes = _cost(network, lambda: network.encode_text(words))
    whole = (image, text, other, sum(trained.values()), trained["image"], trained["text"])
    return Counts(
        *whole, frame_flop, text_flop, frame_bytes, text_bytes, int(config["embed_dim"]), size_px
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
    with torch.device("meta"):
        network = open_clip.create_model(model, pretrained=None, device="meta", load_weights=False)
    return network, open_clip.get_model_config(model) or {}


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


if __name__ == "__main__":
    try:
        print(json.dumps(asdict(count_here(sys.argv[1], sys.argv[2:]))))
    except Exception as error:
        raise SystemExit(f"{type(error).__name__}: {error}") from None
