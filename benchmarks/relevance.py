"""Scoring candidates for learners: ours against the stock processor and model over the same pairs,
in turns.

    python benchmarks/relevance.py [--model FOLDER] [--run demo] [--learners 20] [--candidates 50]
    [--rounds 3]

The sides, each in a process of its own that loads the model first and is timed over all pairs,
frames in, scores out:

* ``stock``: processor and model, one pair at a time, as the model's page shows.
* ``stock_batched``: the same, pairs padded to one length, ``--batch`` of them at a time.
* ``ours``: visual tokens once a video, a learner's prefix once and its keys and values kept,
  candidates by length.
* ``ours_stored``: the same with visual tokens read from the store on disk.

Every side pays for its visual tokens: the stock sides for both videos of every pair, ours once a
video. The scores of every side are compared with ``stock``'s. Without a finished run, frames are
random and narrations made up.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).resolve().parents[1]
SIDES = ("ours", "stock", "stock_batched", "ours_stored")


def make_data(args: argparse.Namespace) -> dict[str, Any]:
    """Learners' and clips' frames, the pairs, and what the coaches say."""
    rng = np.random.default_rng(0)
    run = ROOT / "data" / "runs" / args.run
    if not (run / "04_retrieval" / "learner_frames.npy").is_file():
        shape = (args.learners, 8, args.size, args.size, 3)
        words = "keep the right arm straight bend both knees and reach".split()  # noqa: SIM905
        clips = rng.integers(0, 255, (args.candidates * 2, *shape[1:]), dtype=np.uint8)
        said = [" ".join(rng.choice(words, rng.integers(4, 16))) for _ in clips]
        learners = rng.integers(0, 255, shape, dtype=np.uint8)
    else:
        import polars as pl

        from sportskills_lib.retrieval.stage import open_library

        library = open_library(args.run)
        sport = library.clips.with_row_index("row").filter(
            pl.col("sport") == library.clips["sport"][0]
        )
        rows = rng.permutation(sport["row"].to_numpy())[: args.candidates * 3]
        clips = library.frames[rows]
        said = [library.texts[clip_id] for clip_id in library.clips["clip_id"].gather(rows)]
        learners = np.load(run / "04_retrieval" / "learner_frames.npy", mmap_mode="r")[
            : args.learners
        ]
    pairs = [rng.permutation(len(clips))[: args.candidates].tolist() for _ in range(args.learners)]
    return {
        "learners": np.asarray(learners),
        "clips": np.asarray(clips),
        "said": said,
        "pairs": pairs,
    }


# ---------------------------------------------------------------------------------------- the sides


def stock(vlm: Any, data: dict[str, Any], batch: int) -> np.ndarray:
    """Stock processor and model; ``batch`` pairs at a time, padded."""
    import torch
    from transformers.video_utils import VideoMetadata

    from sportskills_lib.retrieval.relevance.model import NOMINAL_FPS, relevance_messages

    flat = [(learner, clip) for learner, clips in enumerate(data["pairs"]) for clip in clips]
    frames = data["clips"].shape[1]
    scores = []
    for start in range(0, len(flat), batch):
        part = flat[start : start + batch]
        texts = [
            vlm.processor.apply_chat_template(
                relevance_messages(data["said"][clip]), tokenize=False, add_generation_prompt=True
            )
            for _, clip in part
        ]
        videos = [
            video
            for learner, clip in part
            for video in (data["learners"][learner], data["clips"][clip])
        ]
        metadata = [
            VideoMetadata(
                total_num_frames=frames, fps=NOMINAL_FPS, frames_indices=list(range(frames))
            )
        ]
        inputs = vlm.processor(
            text=texts,
            videos=videos,
            video_metadata=metadata * len(videos),
            do_sample_frames=False,
            cap_pixels_per_frame=False,
            return_tensors="pt",
            padding=True,
        ).to(vlm.device)
        with torch.inference_mode():
            ends = inputs["attention_mask"].sum(1) - 1
            logits = vlm.stock(**inputs).logits[torch.arange(len(part)), ends].float()
        scores.append((logits[:, vlm.yes_id] - logits[:, vlm.no_id]).cpu().numpy())
    return np.concatenate(scores)


def ours(vlm: Any, data: dict[str, Any], *, store: Path | None) -> np.ndarray:
    """Our path, from frames to scores."""
    import torch

    from sportskills_lib.retrieval.relevance import model
    from sportskills_lib.runs.content_store import ContentStore

    tokens = ContentStore(store, limit_bytes=8 * 2**30) if store else None
    parts = [model.encode_videos(vlm, data[name], store=tokens) for name in ("learners", "clips")]
    count = len(data["learners"])
    queries = [
        (learner, [count + clip for clip in clips]) for learner, clips in enumerate(data["pairs"])
    ]
    said = {count + clip: text for clip, text in enumerate(data["said"])}
    grid = vlm.grid(data["clips"].shape[1:])
    found = model.score_pairs(vlm, torch.cat(parts), grid, queries, said)
    return np.concatenate(found)


def side_of(args: argparse.Namespace, folder: Path) -> Callable[[Any, dict[str, Any]], np.ndarray]:
    """The side's function of the model and the data."""
    store = folder / "store" if args.side == "ours_stored" else None
    return {
        "stock": lambda vlm, data: stock(vlm, data, 1),
        "stock_batched": lambda vlm, data: stock(vlm, data, args.batch),
        "ours": lambda vlm, data: ours(vlm, data, store=None),
        "ours_stored": lambda vlm, data: ours(vlm, data, store=store),
    }[args.side]


def peak_gib() -> float:
    """Peak resident memory of this program (Linux)."""
    (line,) = [
        line
        for line in Path("/proc/self/status").read_text().splitlines()
        if line.startswith("VmHWM")
    ]
    return int(line.split()[1]) / 2**20


def run_side(args: argparse.Namespace) -> None:
    """One side in this process; a line of JSON, and the scores in a file."""
    import torch

    from sportskills_lib.retrieval.relevance import model

    torch.set_num_threads(args.threads)
    folder = Path(args.folder)
    data = dict(np.load(folder / "frames.npz")) | json.loads((folder / "pairs.json").read_text())
    vlm = model.load_vlm(str(args.model))
    score, few = side_of(args, folder), data | {"pairs": [clips[:2] for clips in data["pairs"][:2]]}
    score(
        vlm,
        few,
        # imports, first allocations; and no narration of the timed part is tokenised yet, but these
        # four
    )
    vlm._segments.clear()
    base, started, cpu = peak_gib(), time.perf_counter(), time.process_time()
    scores = score(vlm, data)
    seconds, cpu = time.perf_counter() - started, time.process_time() - cpu
    np.save(folder / f"{args.side}.npy", scores)
    print(
        "RESULT " + json.dumps({"s": seconds, "cpu_s": cpu, "gib": peak_gib(), "before_gib": base})
    )


# -------------------------------------------------------------------------------------- the contest


def contest(args: argparse.Namespace, folder: Path) -> None:
    """The sides take turns; prints seconds, ratios to ours, memory and the largest difference to
    the stock scores.
    """
    results: dict[str, list[dict[str, float]]] = {name: [] for name in args.sides}
    for _ in range(args.rounds):
        for name in args.sides:
            words = [
                sys.executable,
                __file__,
                *sys.argv[1:],
                "--side",
                name,
                "--folder",
                str(folder),
            ]
            env = os.environ | {"OMP_NUM_THREADS": str(args.threads), "OMP_WAIT_POLICY": "PASSIVE"}
            env |= {"HF_HUB_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false"}
            done = subprocess.run(words, env=env, capture_output=True, text=True, check=False)
            lines = [line for line in done.stdout.splitlines() if line.startswith("RESULT ")]
            if not lines:
                sys.exit(f"{name} failed:\n{done.stderr[-3000:]}")
            results[name].append(json.loads(lines[-1].removeprefix("RESULT ")))
    expected = np.load(folder / "stock.npy") if "stock" in args.sides else None
    print(
        f"{args.learners} learners x {args.candidates} candidates, {args.threads} threads, "
        f"{args.rounds} rounds"
    )
    print(
        "seconds on the clock and of the processor, each with its ratio to ours: least, "
        "median, most"
    )
    for name in args.sides:
        line = f"{name:>14}"
        for kind in ("s", "cpu_s"):
            taken = [result[kind] for result in results[name]]
            ratios = [one / own[kind] for one, own in zip(taken, results["ours"], strict=True)]
            line += (
                f"  {np.median(taken):8.2f} {kind} ({min(ratios):.2f} - "
                f"{np.median(ratios):.2f} - {max(ratios):.2f})"
            )
        own = [(result["gib"], result["before_gib"]) for result in results[name]]
        line += "  peak {:.2f} GiB ({:.2f} before)".format(*max(own))
        if expected is not None:
            found = np.load(folder / f"{name}.npy")
            line += (
                f"  largest difference {np.abs(found - expected).max():.1e} (scores spread "
                f"{expected.std():.2f})"
            )
        print(line, flush=True)


def main() -> None:
    """Make the data, then the contest; with ``--side``, be one of the sides."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", type=Path, default=ROOT / "data/raw/demo/models/base_vlm")
    parser.add_argument("--run", default="demo", help="a finished run, for frames and narrations")
    for name, value in {
        "learners": 20,
        "candidates": 50,
        "rounds": 3,
        "threads": 1,
        "batch": 8,
        "size": 64,
    }.items():
        parser.add_argument(f"--{name}", type=int, default=value)
    parser.add_argument("--sides", nargs="+", default=list(SIDES), choices=SIDES)
    parser.add_argument("--side", choices=SIDES)
    parser.add_argument("--folder")
    args = parser.parse_args()
    if args.side:
        run_side(args)
        return
    if not (args.model / "config.json").is_file():
        sys.exit(
            f"{args.model} holds no model: `make demo` builds the demo's, or name one with --model"
        )
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        data = make_data(args)
        np.savez(Path(folder) / "frames.npz", learners=data["learners"], clips=data["clips"])
        (Path(folder) / "pairs.json").write_text(
            json.dumps({"said": data["said"], "pairs": data["pairs"]})
        )
        contest(args, Path(folder))


if __name__ == "__main__":
    sys.path.insert(0, str(ROOT))
    main()
