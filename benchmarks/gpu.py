"""What a GPU is worth here: is it right (vectors against the CPU's), how fast are training steps
and scoring on it?

Run by ``make gpu``. Needs torch and transformers, whatever their versions; our own towers are tried
where open_clip is installed. Weights are random, nothing is downloaded. Exit code 0 without a GPU,
1 when the GPU computes something else than the CPU. The relevance model is timed at Qwen2.5-VL's
shapes (``--score 7B`` for one of them): one learner and
``--candidates`` clips of 8 frames, visual tokens ready, as from the store, and made anew. Without a
GPU ``--cpu`` runs a tiny shape, and then says by arithmetic alone, and calls it so, what the large
ones would take.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

LEAST_COSINE = 0.9999  # float32 on both sides; TF32 is switched off for the comparison
FRAMES, SIZE_PX, BATCH, WORDS = 4, 224, 32, 32


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


def clip_model(device: str) -> Any:
    """CLIP ViT-B/32 with random weights."""
    from transformers import CLIPConfig, CLIPModel

    torch.manual_seed(0)
    return CLIPModel(CLIPConfig()).to(device)


def features(output: Any) -> torch.Tensor:
    """The vectors, in whichever form this version of transformers returns them."""
    return output if isinstance(output, torch.Tensor) else output.pooler_output


def clip_vectors(
    model: Any, pixels: torch.Tensor, ids: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """Unit vectors of clips (frames pooled) and texts."""
    flat = features(model.get_image_features(pixel_values=pixels.flatten(0, 1)))
    clips = flat.unflatten(0, pixels.shape[:2]).mean(1)
    texts = features(model.get_text_features(input_ids=ids))
    return torch.nn.functional.normalize(clips, dim=-1), torch.nn.functional.normalize(
        texts, dim=-1
    )


def encoder_step(device: str, batch: int) -> float:
    """Seconds of one contrastive training step: ``batch`` clips of FRAMES frames, bfloat16 autocast
    on a GPU.
    """
    model = clip_model(device)
    optimiser = torch.optim.AdamW(model.parameters(), lr=1e-5)
    pixels = torch.randn(batch, FRAMES, 3, SIZE_PX, SIZE_PX, device=device)
    ids = torch.randint(1, 1000, (batch, WORDS), device=device)
    target = torch.arange(batch, device=device)

    def step() -> None:
        with torch.autocast(device, dtype=torch.bfloat16, enabled=device == "cuda"):
            clips, texts = clip_vectors(model, pixels, ids)
            logits = 100 * clips @ texts.T
            loss = torch.nn.functional.cross_entropy(logits, target)
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        optimiser.step()

    return seconds_a_step(
        step, device, steps=10 if device == "cuda" else 1, warm=3 if device == "cuda" else 1
    )


def vlm_step(device: str, batch: int, tokens: int) -> float:
    """Seconds of one training step of a small Qwen2.5 language model over vectors, as with cached
    visual tokens.
    """
    from transformers import Qwen2Config, Qwen2ForCausalLM

    small = {
        "hidden_size": 896,
        "intermediate_size": 4864,
        "num_hidden_layers": 24,
        "num_attention_heads": 14,
    }
    tiny = {
        "hidden_size": 128,
        "intermediate_size": 384,
        "num_hidden_layers": 4,
        "num_attention_heads": 4,
    }
    shape = small if device == "cuda" else tiny
    config = Qwen2Config(**shape, num_key_value_heads=2, vocab_size=32_000)
    torch.manual_seed(0)
    model = Qwen2ForCausalLM(config).to(device)
    optimiser = torch.optim.AdamW(model.parameters(), lr=1e-5)
    inputs = torch.randn(batch, tokens, shape["hidden_size"], device=device)
    target = torch.randint(0, 2, (batch,), device=device)

    def step() -> None:
        with torch.autocast(device, dtype=torch.bfloat16, enabled=device == "cuda"):
            answer = model(inputs_embeds=inputs, logits_to_keep=1).logits[:, -1, :2]
            loss = torch.nn.functional.cross_entropy(answer.float(), target)
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        optimiser.step()

    return seconds_a_step(
        step, device, steps=10 if device == "cuda" else 1, warm=3 if device == "cuda" else 1
    )


# ------------------------------------------------------------------------------------------ scoring

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


def parity() -> dict[str, float]:
    """The least cosine between a vector made on the CPU and the same one made on the GPU, by
    model.
    """
    torch.backends.cuda.matmul.allow_tf32 = False
    torch.backends.cudnn.allow_tf32 = False
    generator = torch.Generator().manual_seed(0)
    pixels = torch.randn(4, FRAMES, 3, SIZE_PX, SIZE_PX, generator=generator)
    ids = torch.randint(1, 1000, (4, WORDS), generator=generator)
    vectors = {}
    for device in ("cpu", "cuda"):
        with torch.inference_mode():
            model = clip_model("cpu").eval().to(device)
            vectors[device] = [
                vector.cpu() for vector in clip_vectors(model, pixels.to(device), ids.to(device))
            ]
    pairs = zip(vectors["cpu"], vectors["cuda"], strict=True)
    return {"CLIP ViT-B/32": min(float((a * b).sum(-1).min()) for a, b in pairs)} | own_parity()


def own_parity() -> dict[str, float]:
    """The same for the demo's own tower; nothing where open_clip is not installed."""
    try:
        from sportskills_lib import models
        from sportskills_lib.demo.base_clip import CONFIG
    except ImportError:
        return {}
    frames = np.random.default_rng(0).integers(0, 256, (4, 8, 64, 64, 3), dtype=np.uint8)
    try:
        made = [
            models.new_tower(CONFIG, seed=0, device=device).encode_frames(frames)
            for device in ("cpu", "cuda")
        ]
    except ImportError:
        return {}
    return {"the demo's tower": float((made[0] * made[1]).sum(-1).min())}


def main() -> int:
    """Print device, parity and times; the exit code."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--cpu",
        action="store_true",
        help="time small steps on the CPU, to see that this script works",
    )
    parser.add_argument(
        "--score",
        action="append",
        choices=["3B", "7B"],
        default=[],
        help="time scoring at this shape",
    )
    parser.add_argument("--candidates", type=int, default=100)
    parser.add_argument(
        "--batch", type=int, default=50, help=("candidates in one pass of the model")
    )
    asked = parser.parse_args()
    print(f"torch {torch.__version__}")
    if not torch.cuda.is_available():
        print("no GPU here: nothing to check. The demo needs none; the preset `paper` wants one.")
        if asked.cpu:
            print(f"encoder step on the CPU, batch 2: {encoder_step('cpu', 2):.2f} s")
            print(f"vlm step on the CPU, batch 2 of 64 tokens: {vlm_step('cpu', 2, 64):.2f} s")
            time_scoring("tiny", "cpu", 4, 4)
            for name in asked.score or ["3B", "7B"]:
                estimate_scoring(name, asked.candidates)
        return 0
    properties = torch.cuda.get_device_properties(0)
    print(f"device: {properties.name}, {properties.total_memory / 2**30:.0f} GiB")
    cosines = parity()
    for name, cosine in cosines.items():
        print(f"parity of {name}, CPU against GPU: least cosine {cosine:.6f}")
    step_s = encoder_step("cuda", BATCH)
    print(
        f"encoder step: {step_s * 1e3:.1f} ms (CLIP ViT-B/32, {BATCH} clips of {FRAMES} "
        "frames, bfloat16)"
    )
    step_s = vlm_step("cuda", 8, 512)
    print(
        f"vlm step: {step_s * 1e3:.1f} ms (Qwen2.5 of 0.5B, all weights, 8 rows of 512 tokens, "
        "bfloat16)"
    )
    for name in asked.score or ["3B", "7B"]:
        time_scoring(name, "cuda", asked.candidates, asked.batch)
    print(f"most memory taken: {torch.cuda.max_memory_allocated() / 2**30:.1f} GiB")
    if min(cosines.values()) < LEAST_COSINE:
        print(
            f"the GPU does not compute what the CPU does (cosine under {LEAST_COSINE}): look "
            "at driver and torch"
        )
        return 1
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
