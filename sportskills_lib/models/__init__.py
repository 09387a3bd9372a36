"""The models' doors: towers (frames in, embedding out; text in, embedding out) and vision-language
checkpoints.

A tower is an image-text model of open_clip whose frame embeddings are pooled over a clip (mean,
attention, or a small transformer over time), or a native video model of transformers (X-CLIP). All
are :class:`Tower`; :func:`load_tower` takes a folder, a model name or a hub id. Legend of shapes: B
clips, T frames, H height, W width, D embedding.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from sportskills_lib.models import image_text, native_video
from sportskills_lib.models.image_text import OpenClipTower, add_logit_bias, add_pooling, new_tower
from sportskills_lib.models.native_video import NativeVideoTower
from sportskills_lib.models.tower import Tower

__all__ = [
    "QUOTE_LIMIT",
    "NativeVideoTower",
    "OpenClipTower",
    "Tower",
    "add_logit_bias",
    "add_pooling",
    "load_tower",
    "load_vision_language",
    "new_tower",
    "quoted",
]
QUOTE_LIMIT = 300  # characters of a stranger's sentence that are quoted


def load_tower(model: str | Path, *, pretrained: str = "", device: str = "cpu") -> Tower:
    """A tower from a saved folder, from a name or hub id of open_clip, or from a video model of
    transformers.

    ``model``: a folder in open_clip's form (``open_clip_config.json``); a name of open_clip
    (``ViT-B-16``) with a tag of public weights (``pretrained``), or ``hf-hub:owner/name``; a folder
    of transformers (``config.json``) or its hub id (``owner/name``) with an X-CLIP model.
    ValueError when it is none of these.
    """
    import open_clip

    folder, name = Path(model), str(model)
    if (folder / image_text.CONFIG).is_file():
        return image_text.from_folder(folder, device)
    if (folder / "config.json").is_file():
        return native_video.from_pretrained(name, device)
    if name in open_clip.list_models() or name.startswith("hf-hub:"):
        return image_text.from_name(name, pretrained, device)
    if name.count("/") == 1 and not folder.exists() and not name.startswith((".", "/")):
        return native_video.from_pretrained(name, device)
    raise ValueError(
        f"model {name!r} is neither a folder with open_clip_config.json (or config.json of "
        "X-CLIP) nor a model "
        "of open_clip (see `python -c 'import open_clip; print(open_clip.list_models())'`) nor "
        "a hub id"
    )


def quoted(sentence: str) -> str:
    """One line without quotation marks or special tokens: a sentence from a stranger stays data."""
    plain = sentence.replace("<|", "< |").replace('"', "'")
    return " ".join(plain.split())[:QUOTE_LIMIT]


def load_vision_language(
    name: str, *, device: str = "cpu", quantize: str = "no"
) -> tuple[Any, Any]:
    """Model and processor of a vision-language checkpoint, by hub id or folder.

    Safetensors only, no code from the checkpoint; bfloat16 on an accelerator. ``quantize``: ``nf4``
    keeps the language model's weights in 4 bits, the vision tower and the answers' layer as they
    are. ValueError without bitsandbytes.
    """
    import torch
    from transformers import AutoModelForImageTextToText, AutoProcessor

    dtype = torch.float32 if torch.device(device).type == "cpu" else torch.bfloat16
    options: dict[str, Any] = (
        {"device_map": device, "quantization_config": _four_bits()} if quantize == "nf4" else {}
    )
    model: Any = AutoModelForImageTextToText.from_pretrained(
        name,
        dtype=dtype,
        use_safetensors=True,
        trust_remote_code=False,
        attn_implementation="sdpa",
        **options,
    )
    return model if options else model.to(device), AutoProcessor.from_pretrained(
        name, trust_remote_code=False
    )


def _four_bits() -> Any:
    """QLoRA's quantisation of the language model; ValueError where bitsandbytes is not
    installed.
    """
    from importlib.util import find_spec

    if find_spec("bitsandbytes") is None:
        raise ValueError(
            "quantize = 'nf4' needs bitsandbytes: `pip install bitsandbytes`, or set quantize "
            "= 'no'"
        )
    import torch
    from transformers import BitsAndBytesConfig

    return BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_use_double_quant=True,
        bnb_4bit_compute_dtype=torch.bfloat16,
        llm_int8_skip_modules=["visual", "lm_head"],
    )
