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
from typing import Any

import numpy as np
import torch
from gpu_scoring import estimate_scoring, seconds_a_step, time_scoring

LEAST_COSINE = 0.9999  # float32 on both sides; TF32 is switched off for the comparison
FRAMES, SIZE_PX, BATCH, WORDS = 4, 224, 32, 32


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
