"""Our metrics beside trec_eval's own code (through pytrec_eval) and ranx: the largest difference of
any query.

    python benchmarks/oracles.py [--trec FOLDER] [--topics 200]

*Made*: topics with 1 to 300 retrieved documents, grades from −1 to 4, scores of which many tie,
relevant documents that the run lacks, and retrieved ones that nobody judged. *trec_eval's example*
(``--trec``: qrels.test, qrels.rel_level, results.test and the recorded out.test.aq): the same, and
against the figures that trec_eval's authors recorded, which have four decimals. Ties: trec_eval
puts equal scores in falling order of document id, and so do we where asked to. ranx promises no
order, so it gets the same order with scores that fall strictly.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from sportskills_lib import metrics

KS = (1, 5, 10, 20, 100)
Qrels = dict[str, dict[str, int]]
Run = dict[str, dict[str, float]]
Found = dict[str, dict[str, float]]  # by metric and topic
KINDS = {"recall": "recall", "P": "precision", "ndcg_cut": "ndcg", "success": "hit_rate"}


def made(topics: int) -> tuple[Qrels, Run]:
    """Topics as untidy as can be."""
    rng, qrels, run = np.random.default_rng(0), Qrels(), Run()
    for topic in range(topics):
        pool = [f"d{i:04d}" for i in rng.permutation(2000)[:400]]
        judged = rng.choice(pool, rng.integers(1, 200), replace=False)
        grades = rng.choice(
            [-1, 0, 1, 2, 3, 4], len(judged), p=[0.05, 0.65, 0.15, 0.08, 0.05, 0.02]
        )
        grades[0] = (
            # one relevant document at least: trec_eval leaves out other topics, we call them
            # undefined
            1
        )
        qrels[f"t{topic:03d}"] = dict(zip(judged.tolist(), grades.tolist(), strict=True))
        retrieved = rng.choice(pool, rng.integers(1, 300), replace=False)
        scores = rng.choice(np.round(rng.normal(size=40), 2), len(retrieved))
        run[f"t{topic:03d}"] = dict(zip(retrieved.tolist(), scores.tolist(), strict=True))
    return qrels, run


def read(folder: Path, qrels_name: str) -> tuple[Qrels, Run]:
    """trec_eval's example."""
    qrels, run = Qrels(), Run()
    for topic, _, document, grade in map(str.split, (folder / qrels_name).read_text().splitlines()):
        qrels.setdefault(topic, {})[document] = int(grade)
    for topic, _, document, _, score, _ in map(
        str.split, (folder / "results.test").read_text().splitlines()
    ):
        run.setdefault(topic, {})[document] = float(score)
    return qrels, run


def ours(qrels: Qrels, run: Run) -> tuple[Found, dict[str, list[str]]]:
    """By metric and topic, and the order of documents that we mean."""
    found: Found = {}
    orders = {}
    for topic, retrieved in run.items():
        documents, known = sorted(retrieved), qrels[topic]
        single = np.array(
            [[retrieved[name] for name in documents]], np.float32
        )  # as trec_eval keeps them
        orders[topic] = [
            documents[column] for column in metrics.ranking(single, tie="descending")[0]
        ]
        ranked = np.array([[known.get(name, 0) for name in orders[topic]]])
        judged = np.array([list(known.values())])
        relevant = (judged > 0).sum(axis=1)
        values = {"recip_rank": metrics.reciprocal_rank(ranked, relevant)}
        for k in KS:
            values |= {
                f"recall_{k}": metrics.found_at_k(ranked, relevant, k=k),
                f"P_{k}": metrics.precision_at_k(ranked, k=k),
                f"ndcg_cut_{k}": metrics.ndcg_at_k(ranked, judged, k=k),
                f"success_{k}": metrics.hit_at_k(ranked, relevant, k=k),
            }
        for name, value in values.items():
            found.setdefault(name, {})[topic] = float(value[0])
    return found, orders


def trec_eval(qrels: Qrels, run: Run) -> Found:
    """trec_eval itself."""
    import pytrec_eval

    cuts = ",".join(map(str, KS))
    asked = {"recip_rank", *(f"{name}.{cuts}" for name in KINDS)}
    by_topic = pytrec_eval.RelevanceEvaluator(qrels, asked).evaluate(run)
    found: Found = {}
    for topic, values in by_topic.items():
        for name, value in values.items():
            found.setdefault(name, {})[topic] = value
    return found


def ranx(qrels: Qrels, orders: dict[str, list[str]]) -> Found:
    """ranx over the same order; a grade below 0 counts as 0 with us and trec_eval, so ranx is given
    0.
    """
    from ranx import Qrels as TheirQrels
    from ranx import Run as TheirRun
    from ranx import evaluate

    known = {
        topic: {name: max(grade, 0) for name, grade in qrels[topic].items()} for topic in orders
    }
    names = {"mrr": "recip_rank"} | {
        f"{their}@{k}": f"{our}_{k}" for our, their in KINDS.items() for k in KS
    }
    their_run = TheirRun(
        {
            topic: {name: -float(at) for at, name in enumerate(order)}
            for topic, order in orders.items()
        }
    )
    evaluate(TheirQrels(known), their_run, list(names))
    return {ours: their_run.scores[theirs] for theirs, ours in names.items()}


def recorded(folder: Path) -> Found:
    """What trec_eval's authors recorded, to four decimals."""
    found: Found = {}
    for name, topic, value in map(str.split, (folder / "out.test.aq").read_text().splitlines()):
        if topic != "all" and name.startswith((*KINDS, "recip_rank")):
            found.setdefault(name, {})[topic] = float(value)
    return found


def line(data: str, other: str, mine: Found, theirs: Found) -> str:
    """The largest difference over all that both have, and where it is."""
    gaps = [
        (abs(value - theirs[name][topic]), name, topic)
        for name, by_topic in mine.items() if name in theirs
        for topic, value in by_topic.items() if topic in theirs[name]
    ]  # fmt: skip
    largest = max(gaps)
    return (
        f"| {data} | {other} | {len(gaps)} | {largest[0]:.1e} | {largest[1]}, topic {largest[2]} |"
    )


def main() -> int:
    """Compare and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--trec", type=Path, help="trec_eval's test folder")
    parser.add_argument("--topics", type=int, default=200)
    args = parser.parse_args()
    data = {"made: ties, missing, extra, graded": made(args.topics)}
    if args.trec:
        data |= {name: read(args.trec, name) for name in ("qrels.test", "qrels.rel_level")}
    print("| data | other | figures compared | largest difference | where |\n|---|---|---|---|---|")
    for name, (qrels, run) in data.items():
        mine, orders = ours(qrels, run)
        print(line(name, "trec_eval", mine, trec_eval(qrels, run)))
        print(line(name, "ranx", mine, ranx(qrels, orders)), flush=True)
        if name == "qrels.test":
            print(line(name, "recorded, four decimals", mine, recorded(args.trec)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
