"""Ranking and metrics, in turns: ours beside faiss's flat index, and beside torchmetrics and ranx.

    python benchmarks/ranking.py [--queries 5000] [--clips 638399] [--width 512] [--rounds 3]
    [--threads 1]

*Ranking*: the 10 best of all clips for each query, exact. The gallery lies on disk (``--folder``)
as float32; every side reads it into memory, which is not timed, and is timed over one search of all
queries. Vectors lie as embeddings do: in a cone, in groups. How many of the places differ from ours
is reported: ours are sums in double precision, faiss's in single.

*Metrics*: recall, nDCG, reciprocal rank and hits at 10, from scores and grades of 100 (and 1,000)
candidates a query, in arrays (tensors for torchmetrics) to four means. ranx takes dictionaries, so
it is timed with and without making its Run. Scores have no ties here: every side breaks them
otherwise.

Every side is a process of its own that does a small search first, with as many threads. Ratios are
the other's time over ours, of the same round; processor time counts what other work on the machine
does not disturb. Peak memory is the process's, with the libraries that it loads.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).resolve().parents[1]
RANKERS = ("ours", "faiss")
SCORERS = ("ours", "torchmetrics", "ranx", "ranx_ready")
K, STEP = 10, 50_000


def make_vectors(folder: Path, args: argparse.Namespace) -> None:
    """``gallery`` and ``queries``, plain float32: unit vectors around 2,000 centres in a cone."""
    rng = np.random.default_rng(0)
    cone = rng.standard_normal(args.width, dtype=np.float32) * 0.7
    centres = rng.standard_normal((2000, args.width), dtype=np.float32)
    for name, count in (("queries", args.queries), ("gallery", args.clips)):
        with (folder / name).open("wb") as file:
            for start in range(0, count, STEP):
                size = min(STEP, count - start)
                part = rng.standard_normal((size, args.width), dtype=np.float32)
                part += centres[rng.integers(0, len(centres), size)] + cone
                (part / np.linalg.norm(part, axis=1, keepdims=True)).tofile(file)


def make_scores(args: argparse.Namespace) -> tuple[np.ndarray, np.ndarray]:
    """Scores without ties and grades 0 to 3 [Q, candidates]; every query has a relevant one."""
    rng = np.random.default_rng(0)
    grades = rng.choice(4, (args.queries, args.candidates), p=[0.9, 0.05, 0.03, 0.02])
    grades[:, 0] = 3
    scores = rng.permuted(
        np.tile(np.arange(args.candidates, dtype=np.float32), (args.queries, 1)), axis=1
    )
    return scores + args.candidates * 0.1 * grades.astype(np.float32) + 0.01 * grades, grades


def timed(work: Callable[[], Any]) -> dict[str, Any]:
    """What the work returns, its seconds and its processor's."""
    wall, processor = time.perf_counter(), time.process_time()
    found = work()
    return {
        "found": found,
        "seconds": time.perf_counter() - wall,
        "processor": time.process_time() - processor,
    }


# ---------------------------------------------------------------------------------------- the sides


def rank(args: argparse.Namespace) -> dict[str, Any]:
    """One search of all queries; rows and scores go to a file."""
    queries = np.fromfile(args.folder / "queries", np.float32).reshape(-1, args.width)
    if args.side == "faiss":
        import faiss

        faiss.omp_set_num_threads(args.threads)
        index = faiss.IndexFlatIP(args.width)
        with (args.folder / "gallery").open("rb") as file:
            while len(
                part := np.fromfile(file, np.float32, STEP * args.width)
            ):  # so that the gallery is held once
                index.add(part.reshape(-1, args.width))
        index.search(queries[:64], K)
        told = timed(lambda: index.search(queries, K)[::-1])
    else:
        from sportskills_lib.retrieval.ranking.exact_search import top_k

        gallery = np.fromfile(args.folder / "gallery", np.float32).reshape(-1, args.width)
        top_k(queries[:64], gallery[:9000], K, single=True)
        told = timed(lambda: top_k(queries, gallery, K))
    np.savez(args.folder / f"{args.side}.npz", rows=told["found"][0], scores=told.pop("found")[1])
    return told


def ours(scores: np.ndarray, grades: np.ndarray) -> list[float]:
    """The four means from arrays."""
    from sportskills_lib import metrics

    ranked = np.take_along_axis(grades, metrics.ranking(scores, k=K), axis=1)
    relevant = (grades > 0).sum(axis=1)
    found = (
        metrics.found_at_k(ranked, relevant, k=K), metrics.ndcg_at_k(ranked, grades, k=K),
        metrics.reciprocal_rank(ranked, relevant), metrics.hit_at_k(ranked, relevant, k=K),
    )  # fmt: skip
    return [float(value.mean()) for value in found]


def torchmetrics(scores: np.ndarray, grades: np.ndarray) -> Callable[[], list[float]]:
    """The same by torchmetrics, from flat tensors that are made before."""
    import torch
    from torchmetrics import retrieval

    flat, grade = torch.from_numpy(scores).ravel(), torch.from_numpy(grades).ravel()
    query = torch.arange(len(scores)).repeat_interleave(scores.shape[1])

    def work() -> list[float]:
        found = []
        for metric in (
            retrieval.RetrievalRecall(top_k=K), retrieval.RetrievalNormalizedDCG(top_k=K),
            retrieval.RetrievalMRR(top_k=K), retrieval.RetrievalHitRate(top_k=K),
        ):  # fmt: skip
            target = grade if isinstance(metric, retrieval.RetrievalNormalizedDCG) else grade > 0
            metric.update(flat, target, indexes=query)
            found.append(float(metric.compute()))
        return found

    return work


def ranx(scores: np.ndarray, grades: np.ndarray, *, ready: bool) -> Callable[[], list[float]]:
    """The same by ranx; ``ready``: its Run was made before. The Qrels are, in both."""
    from ranx import Qrels, Run, evaluate

    names, queries = (
        [f"d{i}" for i in range(scores.shape[1])],
        [f"q{i}" for i in range(len(scores))],
    )
    columns = [np.flatnonzero(row) for row in grades]
    qrels = Qrels(
        {query: {names[i]: int(row[i]) for i in column}
         for query, row, column in zip(queries, grades, columns, strict=True)}
    )  # fmt: skip

    def make() -> Run:
        rows = scores.astype(float).tolist()
        return Run(
            {
                query: dict(zip(names, row, strict=True))
                for query, row in zip(queries, rows, strict=True)
            }
        )

    made = make() if ready else None

    def work() -> list[float]:
        found = evaluate(
            qrels, made or make(), [f"recall@{K}", f"ndcg@{K}", f"mrr@{K}", f"hit_rate@{K}"]
        )
        return [float(value) for value in found.values()]

    return work


def score(args: argparse.Namespace) -> dict[str, Any]:
    """The side's four means, after a small warm-up."""
    scores, grades = make_scores(args)
    makers = {
        "ours": lambda *arrays: lambda: ours(*arrays),
        "torchmetrics": torchmetrics,
        "ranx": lambda *arrays: ranx(*arrays, ready=False),
        "ranx_ready": lambda *arrays: ranx(*arrays, ready=True),
    }
    makers[args.side](scores[:50], grades[:50])()
    return timed(makers[args.side](scores, grades))


# -------------------------------------------------------------------------------------- the contest


def run_side(
    side: str, what: str, args: argparse.Namespace, folder: Path, **more: int
) -> dict[str, Any]:
    """One side in a process of its own."""
    asked = {
        "folder": folder,
        "queries": args.queries,
        "clips": args.clips,
        "width": args.width,
    } | more
    command = [
        sys.executable,
        __file__,
        "--side",
        side,
        "--what",
        what,
        "--threads",
        str(args.threads),
    ]
    command += [text for name, value in asked.items() for text in (f"--{name}", str(value))]
    names = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS")
    environment = os.environ | dict.fromkeys(names, str(args.threads)) | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    if done.returncode:
        raise SystemExit(f"{side} failed: {done.stderr[-2000:]}")
    told: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return told


def contest(
    sides: tuple[str, ...], what: str, args: argparse.Namespace, folder: Path, **more: int
) -> dict[str, list]:
    """All sides in turns, as often as there are rounds; a line for each at the end."""
    told: dict[str, list[dict]] = {side: [] for side in sides}
    for _ in range(args.rounds):
        for side in sides:
            told[side].append(run_side(side, what, args, folder, **more))
            print(
                {"side": side} | {name: told[side][-1][name] for name in NUMBERS},
                file=sys.stderr,
                flush=True,
            )
    for side, runs in told.items():
        ratios = {
            name: sorted(
                other[name] / mine[name] for other, mine in zip(runs, told["ours"], strict=True)
            )
            for name in NUMBERS[:2]
        }
        middle = {name: statistics.median(run[name] for run in runs) for name in NUMBERS}
        wall, processor = (
            f"{statistics.median(found):.2f} ({found[0]:.2f} to {found[-1]:.2f})"
            for found in ratios.values()
        )
        print(
            f"| {side} | {middle['seconds']:.2f} | {wall} | {middle['processor']:.2f} | "
            f"{processor} | "
            f"{middle['peak_gib']:.2f} |",
            flush=True,
        )
    return told


NUMBERS = ("seconds", "processor", "peak_gib")
HEAD = """
| side | seconds | over ours | processor, s | over ours | peak, GiB |
|---|---|---|---|---|---|"""


def main() -> int:
    """Make the data, run the sides in turns, print two tables."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    for name, value in (("queries", 5000), ("clips", 638_399), ("width", 512), ("candidates", 100),
                        ("rounds", 3), ("threads", 1)):  # fmt: skip
        parser.add_argument(f"--{name}", type=int, default=value)
    parser.add_argument(
        "--folder", type=Path, help="where the gallery is kept while this runs (a temporary one)"
    )
    parser.add_argument("--side", help=argparse.SUPPRESS)
    parser.add_argument("--what", choices=["rank", "score", "all"], default="all")
    args = parser.parse_args()
    if args.side:
        told = rank(args) if args.what == "rank" else score(args)
        status = Path("/proc/self/status").read_text().splitlines()
        highest = next(line for line in status if line.startswith("VmHWM"))
        print(json.dumps(told | {"peak_gib": int(highest.split()[1]) / 2**20}))
        return 0
    with tempfile.TemporaryDirectory(dir=args.folder) as name:
        folder = Path(name)
        if args.what != "score":
            make_vectors(folder, args)
            size = args.clips * args.width * 4 / 2**30
            print(
                f"\n{args.queries} queries × {args.clips} clips × {args.width}, of which the "
                f"gallery {size:.2f} GiB; "
                f"{args.threads} thread(s)" + HEAD,
                flush=True,
            )
            contest(RANKERS, "rank", args, folder)
            mine = np.load(folder / "ours.npz")
            for side in RANKERS[1:]:
                other = np.load(folder / f"{side}.npz")
                moved, apart = (
                    (other["rows"] != mine["rows"]).sum(),
                    np.abs(other["scores"] - mine["scores"]).max(),
                )
                print(
                    f"{side}: {moved} of {mine['rows'].size} places differ from ours, "
                    f"similarities by {apart:.1e}"
                )
        for candidates in (args.candidates, 10 * args.candidates) if args.what != "rank" else ():
            print(
                f"\nFour metrics at {K}, {args.queries} queries × {candidates} candidates" + HEAD,
                flush=True,
            )
            told = contest(SCORERS, "score", args, folder, candidates=candidates)
            for side in SCORERS[1:]:
                apart = np.abs(np.subtract(told[side][0]["found"], told["ours"][0]["found"])).max()
                print(f"{side}: largest difference of a mean from ours {apart:.1e}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
