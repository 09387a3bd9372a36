"""The three steps of the relevance model at a public model's true size, with random weights: does
everything run, how much memory and time does it take, and do scores equal the stock model's?

    python benchmarks/rehearsal.py [--size 3B] [--frames 4] [--pixels 112] [--dtype float32]
    [--learners 2] [--candidates 4] [--threads 2]

Widths, depths and vocabulary are those of the public Qwen2.5-VL checkpoint; the tokenizer is a
small one made here from the question's words, since none can be had without a download. Nothing is
learnt from random weights: only figures of time, memory and parity mean anything. float32 needs
16 GiB at 3B. Processors without bfloat16 units are some seven times slower in bfloat16.
"""

from __future__ import annotations

import argparse
import sys
import time
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "benchmarks")]

SIZES = {  # of the language model and of the vision tower
    "3B": (
        {"hidden_size": 2048, "intermediate_size": 11008, "num_hidden_layers": 36,
         "num_attention_heads": 16, "num_key_value_heads": 2, "tie_word_embeddings": True},
        {"depth": 32, "hidden_size": 1280, "intermediate_size": 3420, "num_heads": 16},
    ),
    "7B": (
        {"hidden_size": 3584, "intermediate_size": 18944, "num_hidden_layers": 28,
         "num_attention_heads": 28, "num_key_value_heads": 4, "tie_word_embeddings": False},
        {"depth": 32, "hidden_size": 1280, "intermediate_size": 3420, "num_heads": 16},
    ),
    "tiny": (  # to see that this script runs
        {"hidden_size": 64, "intermediate_size": 96, "num_hidden_layers": 2,
         "num_attention_heads": 2, "num_key_value_heads": 1, "tie_word_embeddings": True},
        {"depth": 2, "hidden_size": 32, "intermediate_size": 48, "num_heads": 2},
    ),
}  # fmt: skip
VOCABULARY = 151_936
SAID = (
    "keep the elbow high until the racket drops",
    "bend both knees before you reach up",
    "the toss goes straight up in front of you",
    "turn the shoulders first and let the hips follow",
)


@contextmanager
def timed(what: str, count: int, item: str) -> Any:
    """Print how long a part took, for each item and in all, and the memory used so far."""
    from relevance import peak_gib

    began, cpu = time.perf_counter(), time.process_time()
    yield
    seconds, cpu = time.perf_counter() - began, time.process_time() - cpu
    print(
        f"{what:34} {seconds / count:8.2f} s a {item} ({count}), processor {cpu / count:8.2f} s, "
        f"peak {peak_gib():.1f} GiB",
        flush=True,
    )


def build(size: str, dtype: str, pixels: int) -> Any:
    """A model of that size with random weights and a processor like the public one's."""
    import torch
    from transformers import Qwen2_5_VLConfig, Qwen2_5_VLForConditionalGeneration

    from sportskills_lib.demo import base_vlm
    from sportskills_lib.retrieval.relevance import model

    asked = [str(message) for said in SAID for message in model.relevance_messages(said)]
    tokenizer = base_vlm.build_tokenizer(asked, vocabulary=600)  # a token a word, as the public one
    ids = {token: tokenizer.convert_tokens_to_ids(token) for token in base_vlm.SPECIAL}
    text, vision = SIZES[size]
    head = text["hidden_size"] // text["num_attention_heads"]
    config = Qwen2_5_VLConfig(
        text_config=text
        | {
            "vocab_size": VOCABULARY if size != "tiny" else 1000,
            "rope_parameters": {
                "rope_type": "default",
                "rope_theta": 1e6,
                "mrope_section": [head // 8, 3 * head // 16, 3 * head // 16],
            },
            "pad_token_id": ids["<|endoftext|>"],
        },
        vision_config=vision
        | {
            "patch_size": 14,
            "spatial_merge_size": 2,
            "window_size": 112,
            "out_hidden_size": text["hidden_size"],
            "fullatt_block_indexes": [7, 15, 23, 31],
            "tokens_per_second": 2,
        },
        image_token_id=ids["<|image_pad|>"],
        video_token_id=ids["<|video_pad|>"],
        vision_start_token_id=ids["<|vision_start|>"],
        vision_end_token_id=ids["<|vision_end|>"],
        tie_word_embeddings=text["tie_word_embeddings"],
    )
    stock = Qwen2_5_VLForConditionalGeneration._from_config(
        config, attn_implementation="sdpa", dtype=getattr(torch, dtype)
    )
    shape = replace(base_vlm.Recipe(), patch_px=14, merge=2, size_px=pixels)
    return model.wrap(stock.eval(), base_vlm._processor(tokenizer, shape), name=f"random {size}")


def supervision(learners: int, candidates: int) -> Any:
    """Half of each learner's candidates help."""
    import polars as pl

    kind = "tennis", "serve", "train"
    rows = [
        (f"l{i}", f"c{j}", float((i + j) % 2 == 0), "x", SAID[i % len(SAID)], *kind)
        for i in range(learners)
        for j in range(candidates)
    ]  # fmt: skip
    names = "learner_id", "clip_id", "label", "reason", "comment", "sport", "skill", "split"
    return pl.DataFrame(rows, schema=names, orient="row")


def main() -> None:
    """Print a line a part."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("--size", choices=SIZES, default="3B")
    parser.add_argument("--frames", type=int, default=4)
    parser.add_argument("--pixels", type=int, default=112)
    parser.add_argument("--dtype", choices=("float32", "bfloat16"), default="float32")
    parser.add_argument("--learners", type=int, default=2)
    parser.add_argument("--candidates", type=int, default=4)
    parser.add_argument("--threads", type=int, default=2)
    args = parser.parse_args()
    import relevance
    import torch

    from sportskills_lib.config import RetrievalConfig
    from sportskills_lib.retrieval.relevance import finetune, model
    from sportskills_lib.retrieval.relevance.pair_scorer import encode_pairs

    torch.set_num_threads(args.threads)
    torch.manual_seed(0)
    rng = np.random.default_rng(0)
    count, shape = args.learners * args.candidates, (args.frames, args.pixels, args.pixels, 3)
    data = {
        "learners": rng.integers(0, 255, (args.learners, *shape), dtype=np.uint8),
        "clips": rng.integers(0, 255, (args.candidates, *shape), dtype=np.uint8),
        "said": [SAID[j % len(SAID)] for j in range(args.candidates)],
        "pairs": [list(range(args.candidates))] * args.learners,
    }
    with timed(f"random weights, {args.size} {args.dtype}", 1, "model"):
        vlm = build(args.size, args.dtype, args.pixels)
    size = sum(weight.numel() for weight in vlm.stock.parameters())
    tokens = int(np.prod(vlm.grid(shape))) // 4
    print(f"{size / 1e9:.2f} thousand million weights, {tokens} visual tokens a video")
    with timed("stock model, one pair at a time", count, "pair"):
        expected = relevance.stock(vlm, data, 1)
    with timed("ours, shared prefixes", count, "pair"):
        found = relevance.ours(vlm, data, store=None)
    off = np.abs(found - expected).max()
    print(f"largest difference of a score {off:.1e}, of scores {np.abs(expected).max():.2f}")
    vlm = finetune.add_lora(vlm, rank=16, alpha=32)
    counts = {"c": args.candidates, "l": args.learners}
    names = [[f"{kind}{i}" for i in range(number)] for kind, number in counts.items()]
    with timed("visual tokens", args.learners + args.candidates, "video"):
        scorer = encode_pairs(
            vlm, (names[0], data["clips"]), (names[1], data["learners"]),
            dict(zip(names[0], data["said"], strict=True)),
            frames=0, with_narration=True, store=None,
        )  # fmt: skip
    config = RetrievalConfig(
        text_steps=1, dual_steps=1, steps=1, evaluate_every=1, learners_per_step=args.learners,
        learners_per_pass=1, positives=1, list_size=2, skills_per_step=1,
    )  # fmt: skip
    with timed("a step of each, with validation", 1, "run"):
        curves = finetune.finetune(scorer, supervision(args.learners, args.candidates), config)
    for arm, seconds, loss in curves.drop_nulls("loss").select("arm", "seconds", "loss").rows():
        print(f"  {arm:14} {seconds:8.1f} s a step, loss {loss:.3f}")
    with timed("a learner's vector for the search", args.learners, "learner"):
        scorer.learner_vectors(range(args.candidates, args.candidates + args.learners))
    with timed("yes/no after training", count, "pair"):
        model.score_pairs(
            vlm, scorer.visual_NKD, scorer.grid,
            [(args.candidates + i, list(range(args.candidates))) for i in range(args.learners)],
            scorer.quoted,
        )  # fmt: skip


if __name__ == "__main__":
    main()
