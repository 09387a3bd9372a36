"""What the gradient cache is worth: how far its gradients are from the full batch's, and what batch
a memory holds.

    python benchmarks/gradient_cache.py [--budget-gib 4] [--most 4096]

Differences: an open_clip ResNet as the demo's (stem frozen, BatchNorm's statistics too, since
chunks would change them) and a ViT with patch dropout, each with dropout on both embeddings. The
oracle is one graph of the whole batch whose draws were made chunk by chunk, as the cache makes
them; it is the full batch in everything else. Also shown: the same differences without dropout
against a plain full batch. Memory: peak resident memory of a process that takes one step, with the
batch doubled until the budget is passed. Random weights; nothing is downloaded.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

TEXT = {"context_length": 24, "vocab_size": 49408, "width": 128, "heads": 4, "layers": 2}
PIXELS = {"mean": [0.5] * 3, "std": [0.2] * 3}
RESNET = {"layers": [1, 1, 1, 1], "width": 12, "image_size": 64, "head_width": 32}
VIT = {
    "layers": 4,
    "width": 128,
    "head_width": 32,
    "patch_size": 16,
    "image_size": 64,
    "patch_dropout": 0.25,
}
LARGE = {"layers": 6, "width": 192, "head_width": 64, "patch_size": 16, "image_size": 112}
FROZEN = ["visual.conv", "visual.bn", "visual.layer1"]
FRAMES, CHUNK = 2, 16


def tower_of(vision: dict, *, seed: int = 0):
    """A tower with random weights."""
    from sportskills_lib import models

    cfg = {"embed_dim": 128, "vision_cfg": vision, "text_cfg": TEXT}
    return models.new_tower({"model_cfg": cfg, "preprocess_cfg": PIXELS}, seed=seed)


def pairs(batch: int, size_px: int):
    """Random frames and distinct texts."""
    import torch

    torch.manual_seed(1)
    frames = torch.randint(0, 256, (batch, FRAMES, size_px, size_px, 3), dtype=torch.uint8)
    return frames, [f"reach {i} times and bend the knee {i * 7 % 11}" for i in range(batch)]


def difference(vision: dict, double: bool, dropout: bool, batch: int = 48) -> dict[str, float]:
    """The largest difference of any gradient between cache and one graph, as it is and over the
    largest gradient.
    """
    import torch

    from sportskills_lib.encoder.losses import info_nce
    from sportskills_lib.encoder.train_step import (
        backward_in_chunks,
        freeze,
        refuse_batch_statistics,
    )

    tower = tower_of(vision)
    if vision is RESNET:
        freeze(tower.model, FROZEN)
    if double:
        tower.model.double()
    tower.model.train(dropout)
    for module in tower.model.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.eval()
    refuse_batch_statistics(tower.model)
    drop = torch.nn.Dropout(0.1 if dropout else 0.0)
    frames, texts = pairs(batch, vision["image_size"])
    dtype = torch.float64 if double else torch.float32

    def clip(chunk):
        pixels = tower.pixels(chunk).to(dtype)
        features = tower.model.encode_image(pixels).view(len(chunk), FRAMES, -1).mean(1)
        return torch.nn.functional.normalize(drop(features), dim=-1)

    def text(chunk):
        return torch.nn.functional.normalize(
            drop(tower.model.encode_text(tower.tokenizer(chunk))), dim=-1
        )

    def loss(clip_BD, text_BD):
        return info_nce(
            clip_BD, text_BD, tower.model.logit_scale.exp().clamp(max=100), torch.arange(batch)
        )

    sides = (
        (clip, frames.split(CHUNK)),
        (text, [texts[i : i + CHUNK] for i in range(0, batch, CHUNK)]),
    )
    found = []
    for way in ("cache", "one graph"):
        tower.model.zero_grad()
        torch.manual_seed(7)
        if way == "cache":
            backward_in_chunks(loss, *sides)
        elif dropout:
            loss(
                *(torch.cat([encode(chunk) for chunk in chunks]) for encode, chunks in sides)
            ).backward()
        else:
            loss(clip(frames), text(texts)).backward()
        moving = [p for p in tower.model.parameters() if p.requires_grad]
        found.append([torch.zeros_like(p) if p.grad is None else p.grad.clone() for p in moving])
    gaps = [float((a - b).abs().max()) for a, b in zip(*found, strict=True)]
    return {
        "largest": max(gaps),
        "of the largest gradient": max(gaps) / max(float(g.abs().max()) for g in found[1]),
    }


def peak_gib() -> float:
    """Peak resident memory of this program (Linux); getrusage would count what the parent held
    before it started us.
    """
    (line,) = [
        line
        for line in Path("/proc/self/status").read_text().splitlines()
        if line.startswith("VmHWM")
    ]
    return int(line.split()[1]) / 2**20


def one_step(batch: int, chunk: int) -> None:
    """Take one step and print this process's peak memory and seconds."""
    import time

    import numpy as np

    from sportskills_lib.config import EncoderConfig
    from sportskills_lib.encoder.train_step import FrameBatch, backward
    from sportskills_lib.encoder.training import process_group

    tower, config = tower_of(LARGE), EncoderConfig(chunk=chunk)
    tower.model.train()
    frames, texts = pairs(batch, LARGE["image_size"])
    drawn = FrameBatch(frames.numpy(), np.full((batch, FRAMES), 0.5, np.float32))
    group = process_group(config)
    start, base = time.monotonic(), peak_gib()
    backward(tower, drawn, texts, np.arange(batch), np.ones((batch, batch), bool), config, group)
    print(
        json.dumps(
            {
                "gib": round(peak_gib(), 2),
                "before_gib": round(base, 2),
                "s": round(time.monotonic() - start, 1),
            }
        )
    )


def largest(chunk: int, budget_gib: float, most: int) -> None:
    """Double the batch until a step's process passes the budget."""
    batch, fits = 32, 0
    while batch <= most:
        command = [sys.executable, __file__, "--step", str(batch), "--chunk", str(chunk)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            print(
                f"  batch {batch:>6}: ended with {done.returncode}: "
                f"{done.stderr.strip().splitlines()[-1:]}"
            )
            break
        fact = json.loads(done.stdout.splitlines()[-1])
        print(
            f"  batch {batch:>6}: peak {fact['gib']:.2f} GiB ({fact['before_gib']:.2f} "
            f"before), {fact['s']} s",
            flush=True,
        )
        if fact["gib"] > budget_gib:
            break
        batch, fits = batch * 2, batch
    print(
        f"  largest within {budget_gib} GiB: "
        f"{fits}{' (no larger one was tried)' if batch > most else ''}"
    )


def main() -> None:
    """Print the figures."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--budget-gib", type=float, default=4.0)
    parser.add_argument("--most", type=int, default=4096, help="largest batch that is tried")
    parser.add_argument("--chunk", type=int, default=CHUNK)
    parser.add_argument(
        "--step", type=int, default=0, help="take one step of this batch (used by this script)"
    )
    options = parser.parse_args()
    if options.step:
        one_step(options.step, options.chunk)
        return
    print(
        f"gradients, batch 48 in chunks of {CHUNK}: largest difference (over the largest gradient)"
    )
    for name, vision in (("ResNet, stem frozen", RESNET), ("ViT", VIT)):
        for double in (False, True):
            for dropout in (True, False):
                fact = difference(vision, double, dropout)
                kind = f"{'float64' if double else 'float32'}, dropout {'on' if dropout else 'off'}"
                print(
                    f"  {name:<20} {kind:<22} {fact['largest']:.1e} "
                    f"({fact['of the largest gradient']:.1e})",
                    flush=True,
                )
    for chunk in (0, options.chunk):
        print(f"one step of a ViT (6 layers, 192 wide, 112 px, {FRAMES} frames) with chunk {chunk}")
        largest(chunk, options.budget_gib, options.most)


if __name__ == "__main__":
    main()
