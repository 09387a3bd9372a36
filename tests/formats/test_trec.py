"""Run files and qrels: read as trec_eval reads them, they give our order and trec_eval's own
figures.
"""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from sportskills_lib import metrics, tables
from sportskills_lib.formats import trec

EXAMPLE = (
    Path(os.environ.get("SPORTSKILLS_REAL_DATA", Path(__file__).parents[3] / "shared" / "real"))
    / "trec_eval"
)


def rankings(scores: list[float]) -> pl.DataFrame:
    """One query's ranking, ties in rising order of clip_id."""
    ids = [f"c{place}" for place in range(len(scores))]
    frame = pl.DataFrame({"clip_id": ids, "score": scores}).sort(
        "score", "clip_id", descending=[True, False]
    )
    frame = frame.with_columns(
        system=pl.lit("s"), query_id=pl.lit("q"), rank=pl.int_range(1, len(ids) + 1)
    )
    table = tables.Rankings.validate(frame.select(tables.Rankings.column_names()), cast=True)
    tables.check_rankings(table)
    return table


def read_run(path: Path) -> pl.DataFrame:
    """tables.Rankings columns of a run file in trec_eval's order: score falling, then document id
    falling.
    """
    columns = ("query_id", "q0", "clip_id", "rank", "score", "system")
    rows = [line.split() for line in path.read_text().splitlines() if line.strip()]
    table = pl.DataFrame(rows, schema=dict.fromkeys(columns, pl.String), orient="row").cast(
        {"rank": pl.Int64, "score": pl.Float64}
    )
    single = pl.col("score").cast(pl.Float32)
    return (
        table.sort("system", "query_id", single, "clip_id", descending=[False, False, True, True])
        .with_columns(rank=pl.int_range(1, pl.len() + 1).over("system", "query_id"))
        .select(tables.Rankings.column_names())
    )


@pytest.mark.parametrize(
    "scores", [[0.5] * 6, [1e-9, 2e-9, 0.0, -0.0, 0.0], [1.0, 1.0 + 1e-12, 3e8, 3e8 + 1, -7.25]]
)
def test_a_reader_that_breaks_ties_the_other_way_finds_our_order(tmp_path, scores):
    ours = rankings(scores)
    (path,) = trec.write_runs(tmp_path, ours)
    assert path.name == "s.trec"
    read = read_run(path)
    assert (
        read["clip_id"].to_list() == ours["clip_id"].to_list()
        and read["rank"].to_list() == ours["rank"].to_list()
    )
    written = read["score"].to_numpy().astype(np.float32)
    assert (np.diff(written) < 0).all()
    np.testing.assert_allclose(written, ours["score"], rtol=1e-5, atol=1e-8)


def test_every_system_has_a_file_and_grades_are_means(tmp_path):
    two = pl.concat([rankings([1.0, 2.0]), rankings([2.0, 1.0]).with_columns(system=pl.lit("t"))])
    assert [path.name for path in trec.write_runs(tmp_path / "runs", two)] == ["s.trec", "t.trec"]
    assert (tmp_path / "runs" / "t.trec").read_text() == "q Q0 c0 1 2.0 t\nq Q0 c1 2 1.0 t\n"
    rows = [
        ("L", "b", "r1", 3, True),
        ("L", "b", "r2", 2, True),
        ("L", "a", "r1", 1, True),
        ("L", "a", "r2", 1, True),
    ]
    judged = pl.DataFrame(rows, schema=tables.Judgements.column_names(), orient="row")
    trec.write_qrels(tmp_path / "qrels.txt", judged)
    assert (tmp_path / "qrels.txt").read_text() == "L 0 a 1\nL 0 b 2\n"
    assert trec.write_runs(tmp_path / "none", two.clear()) == []


@pytest.mark.real
def test_trec_evals_own_run_is_read_in_its_order():
    """Its example has ties: its precision and nDCG come out only if they are broken as it breaks
    them.
    """
    if not EXAMPLE.is_dir():
        pytest.skip(
            f"trec_eval's example is not at {EXAMPLE}: set SPORTSKILLS_REAL_DATA to compare with it"
        )
    run = read_run(EXAMPLE / "results.test")
    lines = map(str.split, (EXAMPLE / "out.test.aq").read_text().splitlines())
    expected = {
        (name, topic): float(value)
        for name, topic, value in lines
        if name.startswith(("P_", "ndcg_cut_"))
    }
    rows = [line.split() for line in (EXAMPLE / "qrels.test").read_text().splitlines()]
    grades = {(topic, document): int(grade) for topic, _, document, grade in rows}
    compared = 0
    for (topic,), found in run.group_by("query_id", maintain_order=True):
        ranked = np.array(
            [[max(0, grades.get((topic, document), 0)) for document in found["clip_id"]]]
        )
        judged = np.array(
            [[max(0, grade) for (query, _), grade in grades.items() if query == topic]]
        )
        for k in (5, 10, 20, 100):
            precision, gain = (
                metrics.precision_at_k(ranked, k=k)[0],
                metrics.ndcg_at_k(ranked, judged, k=k)[0],
            )
            assert precision == pytest.approx(expected[f"P_{k}", topic], abs=5.1e-5)
            assert gain == pytest.approx(expected[f"ndcg_cut_{k}", topic], abs=5.1e-5)
            compared += 2
    assert compared >= 24
