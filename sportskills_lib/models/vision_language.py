"""Vision-language checkpoints, and how a stranger's sentence is put before one."""

from __future__ import annotations

from typing import Any

QUOTE_LIMIT = 300  # characters of a stranger's sentence that are quoted


def quoted(sentence: str) -> str:
    """One line without quotation marks or special tokens: a sentence from a stranger stays data."""
    plain = sentence.replace("<|", "< |").replace('"', "'")
    return " ".join(plain.split())[:QUOTE_LIMIT]


def load_vision_language(name: str, *, device: str = "cpu") -> tuple[Any, Any]:
    """Model and processor of a vision-language checkpoint, by hub id or folder.

    Safetensors only, no code from the checkpoint; bfloat16 on an accelerator.
    """
    import torch
    from transformers import AutoModelForImageTextToText, AutoProcessor

    dtype = torch.float32 if device == "cpu" else torch.bfloat16
    model: Any = AutoModelForImageTextToText.from_pretrained(
        name, dtype=dtype, use_safetensors=True, trust_remote_code=False, attn_implementation="sdpa"
    )
    return model.to(device), AutoProcessor.from_pretrained(name, trust_remote_code=False)
