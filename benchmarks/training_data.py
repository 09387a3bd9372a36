"""What benchmarks/training.py trains on and embeds: one architecture and the same pictures,
sentences and films, in the forms that our trainer, open_clip's and sentence-transformers' read.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np

SENTENCES = (
    "bend your knees",
    "keep the elbow high",
    "turn the hips first",
    "look at the ball",
    "drop the racket head",
)
FEW, MORE = 2, 10  # steps of the two timed runs
CLIPS = 64  # clips that are embedded
FILMS, APART_S = 8, 4  # films that they are in, and seconds from a clip's start to the next one's


def make(args: argparse.Namespace, folder: Path) -> None:
    """The same pictures, sentences and architecture in the forms that the three trainers read."""
    from PIL import Image

    rng = np.random.default_rng(0)
    count = args.batch * (MORE + 2)
    coarse = rng.integers(0, 255, (count, args.size // 8, args.size // 8, 3), dtype=np.uint8)
    frames = np.repeat(np.repeat(coarse, 8, axis=1), 8, axis=2)
    np.save(folder / "frames.npy", frames[:, None])
    np.save(
        folder / "clips.npy",
        np.stack([frames[rng.integers(0, count, args.frames)] for _ in range(CLIPS)]),
    )
    texts = [f"{SENTENCES[i % len(SENTENCES)]}, number {i}" for i in range(count)]
    lines = ["filepath\ttitle"]
    (folder / "jpeg").mkdir()
    for i, (frame, text) in enumerate(zip(frames, texts, strict=True)):
        path = folder / "jpeg" / f"{i:06d}.jpg"
        Image.fromarray(frame).save(path, quality=95)
        lines.append(f"{path}\t{text}")
    for steps in (FEW, MORE):
        (folder / f"train{steps}.csv").write_text("\n".join(lines[: 1 + steps * args.batch]) + "\n")
    (folder / "texts.json").write_text(json.dumps(texts))
    _open_clip_form(args, folder)
    _transformers_form(args, folder)


def _open_clip_form(args: argparse.Namespace, folder: Path) -> None:
    from sportskills_lib import models

    heads = args.width // 64
    model_cfg = {
        "embed_dim": args.width,
        "quick_gelu": True,
        "vision_cfg": {
            "image_size": args.size,
            "layers": args.layers,
            "width": args.width,
            "patch_size": 16,
        },
        "text_cfg": {
            "context_length": 77,
            "vocab_size": 49408,
            "width": args.width,
            "heads": heads,
            "layers": args.layers,
        },
    }
    pixels = {"mean": [0.5, 0.5, 0.5], "std": [0.5, 0.5, 0.5]}
    models.new_tower({"model_cfg": model_cfg, "preprocess_cfg": pixels}, seed=0).save(
        folder / "tower"
    )
    (folder / "configs").mkdir()
    (folder / "configs" / "bench.json").write_text(json.dumps(model_cfg))


def _transformers_form(args: argparse.Namespace, folder: Path) -> None:
    from open_clip.tokenizer import SimpleTokenizer
    from transformers import CLIPConfig, CLIPImageProcessor, CLIPModel, CLIPProcessor, CLIPTokenizer

    sizes = {
        "hidden_size": args.width,
        "intermediate_size": args.width * 4,
        "num_hidden_layers": args.layers,
    }
    sizes |= {"num_attention_heads": args.width // 64, "projection_dim": args.width}
    config = CLIPConfig(
        text_config=sizes | {"vocab_size": 49408, "max_position_embeddings": 77},
        vision_config=sizes | {"image_size": args.size, "patch_size": 16},
        projection_dim=args.width,
    )
    CLIPModel(config).save_pretrained(folder / "hf")
    words = SimpleTokenizer()
    names = {
        (
            "<|startoftext|>"
            if k == "<start_of_text>"
            else "<|endoftext|>"
            if k == "<end_of_text>"
            else k
        ): v
        for k, v in words.encoder.items()
    }
    (folder / "hf" / "vocab.json").write_text(json.dumps(names))
    merges = sorted(words.bpe_ranks, key=words.bpe_ranks.get)
    (folder / "hf" / "merges.txt").write_text(
        "#version: 0.2\n" + "\n".join(" ".join(pair) for pair in merges) + "\n"
    )
    tokenizer = CLIPTokenizer(str(folder / "hf" / "vocab.json"), str(folder / "hf" / "merges.txt"))
    size = {"height": args.size, "width": args.size}
    crop = {"do_center_crop": False, "image_mean": [0.5] * 3, "image_std": [0.5] * 3}
    images = CLIPImageProcessor(size=size, crop_size=size, **crop)
    CLIPProcessor(images, tokenizer).save_pretrained(folder / "hf")


def film_clips(args: argparse.Namespace, clips: int) -> list[tuple[str, np.ndarray]]:
    """Film and times of the pictures of each clip, film by film."""
    inside_s = (np.arange(args.frames) + 0.5) * APART_S / args.frames
    a_film = CLIPS // FILMS
    return [
        (str(args.folder / f"film{i // a_film}.mp4"), i % a_film * APART_S + inside_s)
        for i in range(clips)
    ]


def make_films(args: argparse.Namespace) -> None:
    """H.264 at 640 x 360 with x264's own key frames (250 apart): a panning scene with a moving
    ball.
    """
    import video

    for i in range(FILMS):
        times_s = np.arange(30 * APART_S * CLIPS // FILMS + 30) / 30
        video.make(args.folder / f"film{i}.mp4", times_s, (640, 360), {"g": "250"}, turned=False)
