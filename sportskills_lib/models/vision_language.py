"""Vision-language checkpoints, and how a stranger's sentence is put before one."""

from __future__ import annotations

from typing import Any

QUOTE_LIMIT = 300  # characters of a stranger's sentence that are quoted


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
