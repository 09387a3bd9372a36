"""What benchmarks/gpu.py times of the relevance model: scoring at Qwen2.5-VL's shapes, with random
weights; and the clock that both scripts use.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

PEAKS = {
    "H100": 989e12,
    "H200": 989e12,
    "A100": 312e12,
    "L40S": 362e12,
    "RTX 4090": 165e12,
}  # dense bfloat16, FLOP/s
ESTIMATED_SHARE = (
    0.4  # of an H100's peak, for the estimate without a GPU: a guess, not a measurement
)
SHAPES: dict[str, dict[str, Any]] = {
    "3B": {
        "hidden_size": 2048,
        "intermediate_size": 11008,
        "num_hidden_layers": 36,
        "num_attention_heads": 16,
        "num_key_value_heads": 2,
        "vocab_size": 151936,
        "tie": True,
    },
    "7B": {
        "hidden_size": 3584,
        "intermediate_size": 18944,
        "num_hidden_layers": 28,
        "num_attention_heads": 28,
        "num_key_value_heads": 4,
        "vocab_size": 152064,
        "tie": False,
    },
    "tiny": {
        "hidden_size": 256,
        "intermediate_size": 512,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "num_key_value_heads": 1,
        "vocab_size": 2000,
        "tie": True,
    },
}
GRID = (4, 16, 16)  # 8 frames of 224 x 224 in patches of 14, two frames a step
VISUAL = 4 * 16 * 16 // 4
BEFORE, AFTER = (
    40,
    60,
)  # tokens of text around the learner's video, and around a candidate's with its narration


def seconds_a_step(
    step: Callable[[], None], device: str, *, steps: int = 10, warm: int = 3
) -> float:
    """The mean time of ``step``, with the device's queue empty before and after."""
    for _ in range(warm):
        step()
    wait = torch.cuda.synchronize if device == "cuda" else (lambda: None)
    wait()
    started = time.perf_counter()
    for _ in range(steps):
        step()
    wait()
    return (time.perf_counter() - started) / steps


def vlm_config(name: str) -> Any:
    """Qwen2.5-VL's published shape; ``tiny`` has a tiny tower, too."""
    from transformers import Qwen2_5_VLConfig

    shape = dict(SHAPES[name])
    tie, width = shape.pop("tie"), shape["hidden_size"]
    vision = {"depth": 32, "hidden_size": 1280, "num_heads": 16, "intermediate_size": 3420}
    vision |= {"fullatt_block_indexes": [7, 15, 23, 31], "window_size": 112, "tokens_per_second": 2}
    if name == "tiny":
        vision |= {
            "depth": 2,
            "hidden_size": 64,
            "num_heads": 2,
            "intermediate_size": 128,
            "fullatt_block_indexes": [1],
        }
    rope = {"rope_type": "default", "rope_theta": 1e6, "mrope_section": [16, 24, 24]}
    ids = {
        "video_token_id": 7,
        "image_token_id": 6,
        "vision_start_token_id": 3,
        "vision_end_token_id": 4,
    }
    return Qwen2_5_VLConfig(
        text_config=shape | {"rope_parameters": rope, "max_position_embeddings": 8192},
        vision_config=vision | {"out_hidden_size": width}, tie_word_embeddings=tie, **ids,
    )  # fmt: skip


def random_vlm(name: str, device: str) -> Any:
    """The model with small random weights, made on the device."""
    from transformers import Qwen2_5_VLForConditionalGeneration

    dtype = torch.bfloat16 if device == "cuda" else torch.float32
    torch.manual_seed(0)
    with torch.device(device):
        model: Any = Qwen2_5_VLForConditionalGeneration._from_config(
            vlm_config(name), dtype=dtype, attn_implementation="sdpa"
        )
    return model.eval()


def scoring_flops(config: Any, candidates: int) -> float:
    """Operations of scoring with visual tokens ready: products with weights, and attention; 2 for a
    multiply-add.
    """
    text = config.text_config
    width, heads, layers = text.hidden_size, text.num_attention_heads, text.num_hidden_layers
    kept = width * text.num_key_value_heads // heads
    weights = layers * (2 * width * (width + kept) + 3 * width * text.intermediate_size)
    before, after = BEFORE + VISUAL, AFTER + VISUAL
    seen = before**2 / 2 + candidates * after * (before + after / 2)
    return 2 * weights * (before + candidates * after) + 4 * layers * width * seen


def prompt_parts(model: Any, candidates: int) -> tuple[Any, list[Any]]:
    """A learner's prefix and the candidates' suffixes: random words around the videos'
    placeholders.
    """
    from sportskills_lib.retrieval.relevance.prefix_sharing import Segment

    rng, pads = np.random.default_rng(0), [3, *[7] * VISUAL, 4]
    words = [rng.integers(10, 1000, count) for count in (BEFORE - 2, 2, AFTER - 4)]
    ids = torch.tensor([[*words[0], *pads, *words[1], *pads, *words[2]]])
    kinds = (ids == 7).int() * 2
    grids = torch.tensor([GRID, GRID])
    positions = model.model.get_rope_index(
        ids, kinds, video_grid_thw=grids, second_per_grid_ts=[1.0, 1.0]
    )[0][:, 0]
    cut, whole, places = BEFORE + VISUAL, ids[0].numpy(), positions.cpu().numpy()
    prefix = Segment(whole[:cut], places[:, :cut], (0,))
    return prefix, [Segment(whole[cut:], places[:, cut:], (1 + i,)) for i in range(candidates)]


def score_query(model: Any, prefix: Any, suffixes: list[Any], visual: Any, batch: int) -> Any:
    """One learner against all candidates, as relevance.score_pairs does it."""
    from sportskills_lib.retrieval.relevance.prefix_sharing import run_prefixes, suffix_ends

    head = model.lm_head.weight
    with torch.inference_mode():
        kept, scores = run_prefixes(model, [prefix], visual), []
        for start in range(0, len(suffixes), batch):
            part = suffixes[start : start + batch]
            ends = suffix_ends(model, kept, [0] * len(part), part, visual, pad_id=0)
            scores.append(ends.float() @ (head[10] - head[11]).float())
        return torch.cat(scores).cpu()


def time_scoring(name: str, device: str, candidates: int, batch: int) -> None:
    """Print seconds a query with tokens ready and made anew, the share of the device's peak, and
    memory.
    """
    model = random_vlm(name, device)
    width = model.config.text_config.hidden_size
    visual = (
        torch.randn(candidates + 1, VISUAL, width, device=device, dtype=model.lm_head.weight.dtype)
        * 0.02
    )
    prefix, suffixes = prompt_parts(model, candidates)
    fast = device == "cuda"
    if fast:
        torch.cuda.reset_peak_memory_stats()
    steps = {"steps": 5 if fast else 2, "warm": 2 if fast else 1}
    ready_s = seconds_a_step(
        lambda: score_query(model, prefix, suffixes, visual, batch), device, **steps
    )
    patches = torch.randn(
        GRID[0] * GRID[1] * GRID[2], 3 * 2 * 14 * 14, device=device, dtype=visual.dtype
    )
    grids = torch.tensor([GRID], device=device)
    clips = 8 if fast else 1

    def look() -> None:
        with torch.inference_mode():
            model.model.get_video_features(patches.repeat(clips, 1), grids.repeat(clips, 1))

    clip_s = seconds_a_step(look, device, **steps) / clips
    flops = scoring_flops(model.config, candidates)
    line = (
        f"scoring, Qwen2.5-VL {name} shape, {candidates} candidates of 8 frames at 224 px: "
        f"{ready_s:.3f} s a query"
    )
    line += (
        f" with visual tokens ready, {ready_s + (candidates + 1) * clip_s:.3f} s with all made anew"
    )
    peak = next(
        (p for key, p in PEAKS.items() if fast and key in torch.cuda.get_device_name()), None
    )
    line += f"; {flops / ready_s / 1e12:.3g} TFLOP/s" + (
        f", {100 * flops / ready_s / peak:.0f} % of peak" if peak else ""
    )
    if fast:
        line += f"; most memory {torch.cuda.max_memory_allocated() / 2**30:.1f} GiB"
    print(line, flush=True)


def estimate_scoring(name: str, candidates: int) -> None:
    """Print what arithmetic says of a shape on an H100; not a measurement."""
    flops = scoring_flops(vlm_config(name), candidates)
    seconds = flops / (ESTIMATED_SHARE * PEAKS["H100"])
    print(
        f"ESTIMATE, not measured: Qwen2.5-VL {name}, {candidates} candidates of 8 frames at "
        "224 px: "
        f"{flops / 1e12:.0f} TFLOP, {seconds:.2f} s a query on an H100 if "
        f"{100 * ESTIMATED_SHARE:.0f} % of its peak "
        "is reached, visual tokens ready"
    )
