"""The stand-in for a public X-CLIP checkpoint: the same architecture, small, trained for a moment on generic motions.

It is no pretrained model: it has seen what ``base_clip`` saw (:mod:`.generic`), for a shorter time, so it walks every code
path of a native video model and is a weaker start than a public checkpoint would be. Made only where a config names it.
Its tokenizer is CLIP's own, from the vocabulary inside open_clip. Size and recipe are ours.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from sportskills_lib.demo.base_clip import CONFIG, train_base
from sportskills_lib.models import NativeVideoTower


def make_base_xclip(
    folder: Path, *, steps: int = 150, corpus: int = 1500, batch: int = 32, seed: int = 0
) -> Path:
    """Build, train for ``steps`` of ``batch`` clips and save the stand-in."""
    tower = new_xclip(
        width=96, vision_layers=2, text_layers=2, embedding=128, frames=8,
        size_px=CONFIG["model_cfg"]["vision_cfg"]["image_size"], seed=seed,
    )  # fmt: skip

    def features(frames_BTHWC: Any) -> tuple[Any, Any]:
        seen = tower.model.vision_model(tower.pixels(frames_BTHWC)).pooler_output
        return seen, tower.clip_features(frames_BTHWC)

    return train_base(
        folder, tower, features, name="base_xclip", frames=tower.frames, width=96, peak=1e-3,
        steps=steps, corpus=corpus, batch=batch, seed=seed,
    )  # fmt: skip


def new_xclip(
    *,
    width: int = 16,
    vision_layers: int = 1,
    text_layers: int = 1,
    embedding: int = 16,
    frames: int = 4,
    size_px: int = 32,
    patch_px: int = 16,
    context_length: int = 32,
    seed: int = 0,
) -> NativeVideoTower:
    """An untrained X-CLIP of these sizes, with CLIP's tokenizer and an image processor; nothing
    is fetched.
    """
    import torch
    from transformers import CLIPImageProcessor, XCLIPConfig, XCLIPModel

    tokenizer = clip_tokenizer()
    common = {
        "hidden_size": width,
        "intermediate_size": 4 * width,
        "num_attention_heads": max(1, width // 32),
    }
    config = XCLIPConfig(
        text_config=common
        | {
            "vocab_size": len(tokenizer),
            "num_hidden_layers": text_layers,
            "max_position_embeddings": context_length,
            **{
                f"{kind}_token_id": getattr(tokenizer, f"{kind}_token_id")
                for kind in ("bos", "eos", "pad")
            },
        },
        vision_config=common
        | {
            "num_hidden_layers": vision_layers,
            "mit_hidden_size": embedding,
            "mit_intermediate_size": 4 * embedding,
            "mit_num_attention_heads": max(1, embedding // 32),
            "image_size": size_px,
            "patch_size": patch_px,
            "num_frames": frames,
        },
        projection_dim=embedding,
        prompt_num_attention_heads=max(1, embedding // 32),
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = XCLIPModel(config)
    processor = CLIPImageProcessor(
        size={"shortest_edge": size_px},
        crop_size={"height": size_px, "width": size_px},
        image_mean=CONFIG["preprocess_cfg"]["mean"],
        image_std=CONFIG["preprocess_cfg"]["std"],
    )
    return NativeVideoTower(model, tokenizer, processor)


def clip_tokenizer() -> Any:
    """CLIP's tokenizer for transformers, from the vocabulary and merges that open_clip carries;
    ids are the same.
    """
    from open_clip.tokenizer import SimpleTokenizer
    from transformers import CLIPTokenizer

    source = SimpleTokenizer()
    words = {"<start_of_text>": "<|startoftext|>", "<end_of_text>": "<|endoftext|>"}
    vocab = {words.get(word, word): number for word, number in source.encoder.items()}
    merges = sorted(source.bpe_ranks, key=source.bpe_ranks.__getitem__)
    return CLIPTokenizer(vocab=vocab, merges=merges)
