"""How long the relevance model's search of a library takes: one learner, all clips, on the CPU.

    python benchmarks/library_search.py [--clips 2500 638399] [--queries 20] [--depth 20]
    [--threads 2]

The search is :meth:`TwoStage.shortlist` as 04 and `advise` call it, with an index read from disk as
04 writes it. The vectors are synthetic: around 2,000 centres, as wide as the dual scorer's. Each
query is asked by itself. *Recall* is the share of the places that a plain product of all pairs in
double precision, sorted, fills with the same clip. Reading and stacking the index happen once a
process and are timed apart.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from sportskills_lib.retrieval.ranking.first_stage import FirstStage
from sportskills_lib.retrieval.ranking.two_stage import TwoStage, read_index, save_index
from sportskills_lib.retrieval.relevance.dual_scorer import WIDTH

CENTRES = 2000


def vectors(count: int, centres: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """float32 [count, 2 WIDTH + 1] around the centres."""
    noise = rng.standard_normal((count, centres.shape[1]), dtype=np.float32)
    return centres[rng.integers(0, len(centres), count)] + noise


def search(count: int, args: argparse.Namespace) -> str:
    """A line on a library of ``count`` clips."""
    rng = np.random.default_rng(0)
    centres = rng.standard_normal((CENTRES, 2 * WIDTH + 1), dtype=np.float32)
    learners = {f"l{i}": one for i, one in enumerate(vectors(args.queries, centres, rng))}
    made = {f"c{i:07d}": one for i, one in enumerate(vectors(count, centres, rng))}
    with tempfile.TemporaryDirectory() as folder:
        save_index(made, Path(folder))
        del made
        began = time.perf_counter()
        gallery = read_index(Path(folder))
        stages = TwoStage(FirstStage(learners, gallery), None, 0.0)
        clip_ids = list(gallery)
        stages.shortlist([*learners][:1], clip_ids, depth=args.depth)
        opened = time.perf_counter() - began
    seconds, same = [], 0
    every_ND = np.stack([gallery[name] for name in clip_ids]).astype(np.float64)
    for name, query_D in learners.items():
        began = time.perf_counter()
        found = stages.shortlist([name], clip_ids, depth=args.depth)
        seconds.append(time.perf_counter() - began)
        best = np.argsort(-(every_ND @ query_D), kind="stable")[: args.depth]
        same += sum(one == clip_ids[row] for one, row in zip(found["clip_id"], best, strict=True))
    low, middle, high = np.quantile(seconds, [0, 0.5, 1])
    return (
        f"{count:8,} clips: {1000 * middle:7.1f} ms a query ({1000 * low:.1f} to "
        f"{1000 * high:.1f}), recall of the exact order {same / args.queries / args.depth:.4f}, "
        f"index read and first query {opened:.2f} s"
    )


def main() -> None:
    """Print a line a size."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("--clips", type=int, nargs="+", default=[2500, 638399])
    parser.add_argument("--queries", type=int, default=20)
    parser.add_argument("--depth", type=int, default=20)
    parser.add_argument("--threads", type=int, default=2)
    args = parser.parse_args()
    import torch

    torch.set_num_threads(args.threads)
    for count in args.clips:
        print(search(count, args), flush=True)


if __name__ == "__main__":
    main()
