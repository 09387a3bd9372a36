"""Training steps and embedding of clips, ours against what a user would otherwise run, side by side
in one call.

    python benchmarks/training.py [--width 192] [--layers 6] [--size 112] [--batch 48] [--rounds 3]
    [--task films]

Training: our trainer of one arm; open_clip's own trainer (``open_clip_train.main``) on a CSV of
JPEG files; sentence-transformers' trainer with a CLIP module, on pictures in memory. Embedding,
twice. From kept frames: our towers over the frames that stage 02 keeps; a loop over clips with
open_clip, and one with transformers, each with the preprocessing that its own documentation shows.
From films: our reader in two workers and our tower; the same loops over what decord reads, one open
reader a film. One architecture (a ViT and a text transformer with the same sizes) in the three
forms, random weights, the same pictures and sentences, float32 (``ours_bf16``: ours with
``bf16=True``), the same number of torch threads. open_clip and sentence-transformers train on
single pictures, so in training a clip has one frame; in embedding it has ``--frames``.

Each side runs in a process of its own, the sides take turns, and a run is timed twice, with few and
with more steps: seconds a step are the difference over the difference of steps, so that imports,
loading and saving do not count. The ratio is the median over rounds of the other's seconds over
ours, of the wall clock and of processor time, which a busy machine disturbs less. ``waits`` is the
share of a step in which the model had no data yet, where the trainer measures it. Needs
benchmarks/requirements.lock.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import re
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from training_data import CLIPS, FEW, MORE, film_clips, make, make_films

Side = Callable[[argparse.Namespace, int], dict[str, float]]  # arguments and steps → extra facts

# ------------------------------------------------------------------------------------- the trainers


def ours(args: argparse.Namespace, steps: int) -> dict[str, float]:
    """One arm of stage 03, frames from the memory map."""
    import polars as pl

    from sportskills_lib.config import EncoderConfig
    from sportskills_lib.encoder.training import Job, train
    from sportskills_lib.encoder.validation import ClipData

    texts = json.loads((args.folder / "texts.json").read_text())
    names = [f"v{i:05d}" for i in range(len(texts))]
    split = pl.Series(["train"] * (len(texts) - 2) + ["val"] * 2)
    clips = pl.DataFrame(
        {"clip_id": names, "video_id": names, "sport": "one", "skill": "one", "text": texts}
    )
    config = EncoderConfig(
        model=str(args.folder / "tower"),
        frozen=[],
        sports_per_batch=1,
        clips_per_sport=args.batch,
        train_frames=1,
        shift_px=0,
        steps=steps,
        warmup_steps=1,
        jobs=1,
    )
    material = ClipData(clips.with_columns(split=split), str(args.folder / "frames.npy"))
    done = train(Job(config, material, texts, "narrations", 1e-4, steps, evaluate=False))
    return {"waits": done.waited_s / done.seconds}


def open_clip_trainer(args: argparse.Namespace, steps: int) -> dict[str, float]:
    """open_clip's own command, in this process."""
    import logging

    import open_clip
    from open_clip_train.main import main

    open_clip.add_model_config(args.folder / "configs")
    waits: list[str] = []
    logging.getLogger().addFilter(lambda record: bool(waits.append(record.getMessage())) or True)
    options = {
        "model": "bench",
        "train-data": str(args.folder / f"train{steps}.csv"),
        "dataset-type": "csv",
        "csv-separator": "\t",
        "csv-img-key": "filepath",
        "csv-caption-key": "title",
        "batch-size": str(args.batch),
        "epochs": "1",
        "workers": str(args.workers),
        "precision": "fp32",
        "lr": "1e-4",
        "wd": "0.05",
        "warmup": "1",
        "logs": "none",
        "device": "cpu",
        "grad-clip-norm": "1.0",
        "seed": "0",
        "log-every-n-steps": "1000",
    }
    words = [word for name, value in options.items() for word in (f"--{name}", value)]
    main([*words, "--image-mean", "0.5", "0.5", "0.5", "--image-std", "0.5", "0.5", "0.5"])
    told = [re.search(r"Data \(t\): ([\d.]+) Batch \(t\): ([\d.]+)", line) for line in waits]
    found = [match for match in told if match]
    return {"waits": float(found[-1][1]) / float(found[-1][2])} if found else {}


def sentence_transformers_trainer(args: argparse.Namespace, steps: int) -> dict[str, float]:
    """sentence-transformers with its CLIP module, as its page on multimodal training shows."""
    from datasets import Dataset
    from PIL import Image
    from sentence_transformers import SentenceTransformer, SentenceTransformerTrainer
    from sentence_transformers import SentenceTransformerTrainingArguments as Arguments
    from sentence_transformers.sentence_transformer import losses
    from sentence_transformers.sentence_transformer.modules import CLIPModel

    texts = json.loads((args.folder / "texts.json").read_text())[: steps * args.batch]
    pictures = [Image.open(args.folder / "jpeg" / f"{i:06d}.jpg") for i in range(len(texts))]
    model = SentenceTransformer(modules=[CLIPModel(str(args.folder / "hf"))], device="cpu")
    arguments = Arguments(
        output_dir=str(args.folder / "st"),
        max_steps=steps,
        per_device_train_batch_size=args.batch,
        learning_rate=1e-4,
        report_to=[],
        save_strategy="no",
        logging_strategy="no",
        use_cpu=True,
        dataloader_num_workers=args.workers,
        disable_tqdm=True,
    )
    data = Dataset.from_dict({"anchor": texts, "positive": pictures})
    loss = losses.MultipleNegativesSymmetricRankingLoss(model)
    SentenceTransformerTrainer(model=model, args=arguments, train_dataset=data, loss=loss).train()
    return {}


# ------------------------------------------------------------------------------------ the embedders


def pictures(args: argparse.Namespace, clips: int) -> Iterator[Any]:
    """The pictures of each clip, as a user's loop has them: frames that are kept, or read by
    decord.
    """
    if args.task == "embed":
        yield from np.load(args.folder / "clips.npy", mmap_mode="r")[:clips]
        return
    from sportskills_lib.video.probe import import_decord

    decord = import_decord()

    opened, reader = "", None
    for path, times_s in film_clips(args, clips):
        if path != opened:
            opened, reader = path, decord.VideoReader(path)
        assert reader is not None
        yield reader.get_batch((times_s * reader.get_avg_fps()).astype(int)).asnumpy()


def embed_ours(args: argparse.Namespace, clips: int, *, bf16: bool = False) -> dict[str, float]:
    """Our tower over the frames that stage 02 keeps, or over films as it reads them."""
    from sportskills_lib import models
    from sportskills_lib.runs.worker_pool import map_shards

    tower = models.load_tower(str(args.folder / "tower"))
    if args.task == "embed":
        tower.encode_frames(np.load(args.folder / "clips.npy", mmap_mode="r")[:clips], bf16=bf16)
        return {}
    wanted = film_clips(args, clips)
    films = [
        (path, np.stack([times_s for _, times_s in together]), args.size)
        for path, together in itertools.groupby(wanted, key=lambda clip: clip[0])
    ]
    for film in map_shards(read_film, films, workers=2):
        tower.encode_frames(film.array("frames"), bf16=bf16)
    return {}


def read_film(task: tuple[str, np.ndarray, int]) -> dict[str, np.ndarray]:
    """In a worker: the frames [clips, T, S, S, 3] of one film's clips, read together."""
    from sportskills_lib import video

    path, times_s, size_px = task
    frames = video.read_frames(video.probe(Path(path)), times_s.ravel(), size_px)
    return {"frames": frames.reshape(*times_s.shape, *frames.shape[1:])}


def embed_ours_bf16(args: argparse.Namespace, clips: int) -> dict[str, float]:
    """Ours with bfloat16."""
    return embed_ours(args, clips, bf16=True)


def print_nearness(args: argparse.Namespace) -> None:
    """How near the vectors of bfloat16 are to those of float32."""
    from sportskills_lib import models

    tower, frames = (
        models.load_tower(str(args.folder / "tower")),
        np.load(args.folder / "clips.npy", mmap_mode="r")[:16],
    )
    cosines = (tower.encode_frames(frames) * tower.encode_frames(frames, bf16=True)).sum(1)
    print(f"bfloat16 against float32: smallest cosine {cosines.min():.6f}")


def embed_open_clip(args: argparse.Namespace, clips: int) -> dict[str, float]:
    """A loop over clips: preprocess each frame, encode, average."""
    import open_clip
    import torch
    from PIL import Image

    open_clip.add_model_config(args.folder / "configs")
    model, _, preprocess = open_clip.create_model_and_transforms("bench")
    model.eval()
    with torch.no_grad():
        for clip in pictures(args, clips):
            pixels = torch.stack([preprocess(Image.fromarray(frame)) for frame in clip])
            features = model.encode_image(pixels).mean(0)
            features /= features.norm()
    return {}


def embed_transformers(args: argparse.Namespace, clips: int) -> dict[str, float]:
    """The same loop with transformers' processor and model."""
    import torch
    from PIL import Image
    from transformers import CLIPModel, CLIPProcessor

    model, processor = (
        CLIPModel.from_pretrained(args.folder / "hf"),
        CLIPProcessor.from_pretrained(args.folder / "hf"),
    )
    model.eval()
    with torch.no_grad():
        for clip in pictures(args, clips):
            inputs = processor(
                images=[Image.fromarray(frame) for frame in clip], return_tensors="pt"
            )
            features: Any = model.get_image_features(**inputs)
            mean = (features if torch.is_tensor(features) else features.pooler_output).mean(0)
            mean /= mean.norm()
    return {}


TRAINERS: dict[str, Side] = {
    "ours": ours,
    "open_clip": open_clip_trainer,
    "sentence_transformers": sentence_transformers_trainer,
}
EMBEDDERS: dict[str, Side] = {
    "ours": embed_ours,
    "ours_bf16": embed_ours_bf16,
    "open_clip": embed_open_clip,
    "transformers": embed_transformers,
}

# -------------------------------------------------------------------------------------- the contest


def run_side(args: argparse.Namespace) -> None:
    """One side, twice, in this process; prints JSON: seconds a step (a clip), and what the side
    says of waiting.
    """
    import torch

    torch.set_num_threads(args.threads)
    side = (TRAINERS if args.task == "train" else EMBEDDERS)[args.side]
    few, more = (FEW, MORE) if args.task == "train" else (CLIPS // 8, CLIPS)
    side(args, few)  # imports, caches
    seconds, worked, facts = [], [], dict[str, float]()
    for count in (few, more):
        started, before = time.perf_counter(), sum(os.times()[:4])
        facts = side(args, count)
        seconds.append(time.perf_counter() - started)
        worked.append(
            sum(os.times()[:4]) - before
        )  # of this process and of workers that have ended
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    each, cpu = ((more_s - few_s) / (more - few) for few_s, more_s in (seconds, worked))
    print("RESULT " + json.dumps({"each_s": each, "cpu_s": cpu, "peak_mib": peak} | facts))


def contest(args: argparse.Namespace, task: str, sides: list[str]) -> None:
    """The sides take turns, ``rounds`` times; prints seconds, ratios, memory and waiting."""
    results: dict[str, list[dict[str, float]]] = {name: [] for name in sides}
    for _ in range(args.rounds):
        for name in sides:
            words = [
                sys.executable,
                __file__,
                *sys.argv[1:],
                "--task",
                task,
                "--side",
                name,
                "--folder",
                args.folder,
            ]
            env = os.environ | {"OMP_NUM_THREADS": str(args.threads), "OMP_WAIT_POLICY": "PASSIVE"}
            env |= {
                "HF_HUB_OFFLINE": "1",
                "TOKENIZERS_PARALLELISM": "false",
                "CUDA_VISIBLE_DEVICES": "",
            }
            done = subprocess.run(
                [str(word) for word in words],
                env=env,
                capture_output=True,
                text=True,
                cwd=args.folder,
            )
            lines = [line for line in done.stdout.splitlines() if line.startswith("RESULT ")]
            if not lines:
                sys.exit(f"{task} {name} failed:\n{done.stderr[-3000:]}")
            results[name].append(json.loads(lines[-1].removeprefix("RESULT ")))
    unit, rate = ("step", args.batch) if task == "train" else ("clip", 1)
    print(f"\n{task}: {args.rounds} rounds, {args.threads} threads")
    for name in sides:
        each = [result["each_s"] for result in results[name]]
        pairs = list(zip(results[name], results["ours"], strict=True))
        ratios, worked = (
            [other[key] / own[key] for other, own in pairs] for key in ("each_s", "cpu_s")
        )
        waits = [
            f"{100 * result['waits']:.1f} %" for result in results[name] if "waits" in result
        ] or ["not told"]
        peak = max(result["peak_mib"] for result in results[name])
        print(
            f"{name:>22}  {1000 * np.median(each):8.1f} ms a "
            f"{unit}  {rate / np.median(each):7.1f} clips/s  "
            f"ratio {np.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})  "
            f"of processor time {np.median(worked):.2f} ({min(worked):.2f} to "
            f"{max(worked):.2f})  "
            f"peak {peak:.0f} MiB  waits {waits[-1]}"
        )


def main() -> None:
    """Make the data, then run the contests; with ``--side``, be one of the sides."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    for name, value in {
        "width": 192, "layers": 6, "size": 112, "batch": 48, "frames": 8, "rounds": 3, "threads": 2,
        "workers": 0,
    }.items():  # fmt: skip
        parser.add_argument(f"--{name}", type=int, default=value)
    parser.add_argument("--task", choices=["train", "embed", "films"])
    parser.add_argument("--side")
    parser.add_argument("--folder", type=Path)
    args = parser.parse_args()
    if args.side:
        run_side(args)
        return
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        args.folder = Path(folder)
        make(args, args.folder)
        for task, sides in (("train", TRAINERS), ("embed", EMBEDDERS), ("films", EMBEDDERS)):
            if args.task in (None, task):
                if task == "films":
                    make_films(args)
                contest(args, task, list(sides))
        if args.task in (None, "embed"):
            print_nearness(args)


if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
    main()
