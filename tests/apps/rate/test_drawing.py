"""From a run to a study and back: blind pairs, grades that 05 reads unchanged, qrels, commands."""

from __future__ import annotations

import csv
import json
import sqlite3
from pathlib import Path

import polars as pl
import pytest
import stage_outputs
from typer.testing import CliRunner

from sportskills_lib import cli
from sportskills_lib.apps.rate import ratings_export
from sportskills_lib.apps.rate.page import open_study
from sportskills_lib.apps.rate.store import Store, now
from sportskills_lib.evaluation import feedback
from sportskills_lib.formats import trec
from sportskills_lib.runs import artifacts


def grade_everything(store: Store, *, grades: dict[str, int] | None = None) -> None:
    for row in store.latest():
        grade = (grades or {}).get(row["rater"], row["item"] % 4)
        store.save(
            row["rater"],
            row["item"],
            grade,
            "=cmd()" if row["item"] == 1 else "",
            started=now(),
            after=0,
        )


def test_what_is_drawn_is_the_pooled_top_of_all_systems_and_tells_nothing(make_store) -> None:
    store = make_store(learners=6)
    rankings = artifacts.open_stage(stage_outputs.RUN, "04_retrieval").table("rankings")
    rows = store.latest()
    learners = {row["learner_id"] for row in rows}
    assert len(learners) == 6 and {row["sport"] for row in rows} == {"golf", "judo"}
    wanted = {
        (row["query_id"], row["clip_id"])
        for row in rankings.iter_rows(named=True)
        if row["query_id"] in learners and row["rank"] <= 3
    }
    assert {(row["learner_id"], row["clip_id"]) for row in rows} == wanted
    assert store.study.systems == tuple(sorted(stage_outputs.SYSTEMS))
    with sqlite3.connect(store.path) as base:
        names = [name for (name,) in base.execute("select name from pragma_table_info('items')")]
        shown = json.dumps([list(row) for row in base.execute("select * from items")])
    assert not {"system", "rank", "score"} & set(names)
    assert not any(system in shown for system in stage_outputs.SYSTEMS)


def test_the_same_seed_draws_the_same_and_each_pair_has_its_raters(make_store) -> None:
    one, same, other = make_store(name="a"), make_store(name="b"), make_store(name="c", seed=4)
    assert one.latest() == same.latest() != other.latest()
    raters: dict[int, set[str]] = {}
    for row in one.latest():
        raters.setdefault(row["item"], set()).add(row["rater"])
    assert {len(names) for names in raters.values()} == {2, 3}
    orders = [[row["item"] for row in one.queue(name)] for name in ("ann", "ben")]
    assert orders[0] != orders[1]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"name": "../x"}, "invalid study name '../x'"),
        ({"raters": ("ann", "<script>")}, "invalid rater name '<script>'"),
        ({"raters": ()}, "between 1 and 0"),
        ({"overlap": 4}, "between 1 and 3"),
        ({"systems": ("nonsense",)}, "no system 'nonsense'"),
        ({"split": "val"}, "ranked nothing for a learner's mistake of the split 'val'"),
        ({"depth": 0}, "ranked nothing for a learner's mistake"),
        ({"run": "nowhere"}, "no complete 04_retrieval"),
    ],
)
def test_a_study_that_cannot_be_drawn_is_refused_and_leaves_nothing(
    make_store, home: Path, changes, message
) -> None:
    with pytest.raises(ValueError, match=message):
        make_store(**changes)
    assert not (home / "data/ratings").exists()


def test_a_study_is_never_drawn_over(make_store) -> None:
    make_store()
    with pytest.raises(ValueError, match="exists and may hold grades"):
        make_store()


def test_exported_grades_go_into_05_unchanged(make_store) -> None:
    store = make_store(learners=5)
    with pytest.raises(ValueError, match="no grade yet"):
        ratings_export.export(store)
    grade_everything(store)
    rows = store.latest()
    made = ratings_export.export(store)
    ratings = feedback.read_ratings(made["ratings.csv"])
    assert ratings.height == len(rows) and not ratings["simulated"].any()
    retrieval, pairing = (
        artifacts.open_stage(stage_outputs.RUN, name) for name in ("04_retrieval", "02_pairing")
    )
    learners = retrieval.table("learners")
    judged, left_out = feedback.judgements(ratings, pairing.table("clips"), learners)
    assert left_out.is_empty()
    assert set(judged.select("learner_id", "clip_id", "rater", "grade").rows()) == {
        (row["learner_id"], row["clip_id"], row["rater"], row["grade"]) for row in rows
    }
    assert judged.sort("learner_id", "clip_id", "rater").equals(
        ratings_export.judgements(ratings_export.assignments(store)).sort(
            "learner_id", "clip_id", "rater"
        )
    )
    scores = feedback.score(retrieval.table("rankings"), judged, learners)
    assert scores["query_id"].n_unique() == 5


def test_qrels_are_helpful_where_05_says_helpful(make_store, tmp_path: Path) -> None:
    store = make_store(learners=5, share_by_all=1.0)
    grade_everything(store, grades={"ann": 1, "ben": 3, "eve": 2})
    lines = [
        line.split() for line in ratings_export.export(store)["qrels.txt"].read_text().splitlines()
    ]
    assert {grade for *_, grade in lines} == {"2"} and {zero for _, zero, *_ in lines} == {"0"}
    pair = {"learner_id": "l", "clip_id": "c", "simulated": False}
    for grades in ([0, 3], [1, 2], [2, 2], [3, 2], [0, 0, 3], [2, 2, 1], [3, 3, 0]):
        trec.write_qrels(
            tmp_path / "q",
            pl.DataFrame(
                [pair | {"rater": str(at), "grade": each} for at, each in enumerate(grades)]
            ),
        )
        grade = int((tmp_path / "q").read_text().split()[-1])
        assert (grade >= 2) == (sum(grades) / len(grades) >= feedback.HELPFUL)


def test_comments_cannot_run_in_a_spreadsheet(make_store, monkeypatch) -> None:
    store = make_store()
    grade_everything(store)
    with ratings_export.export(store)["comments.csv"].open(newline="") as file:
        said = {row["comment"] for row in csv.DictReader(file)}
    assert said == {"", "'=cmd()"}
    monkeypatch.setattr(
        store, "latest", lambda: [row | {"clip_id": "-kQ:0-9"} for row in Store.latest(store)]
    )
    assert (
        ",'-kQ:0-9," in ratings_export.export(store)["comments.csv"].read_text()
    )  # an id may begin as a formula does


def test_the_commands(home: Path) -> None:
    def run(*words: str) -> str:
        done = CliRunner().invoke(
            cli.app, ["rate", *words], catch_exceptions=False, standalone_mode=False
        )
        assert done.exit_code == 0
        return done.output

    words = (
        "--rater",
        "ann",
        "--rater",
        "ben",
        "--learners",
        "3",
        "--from",
        "pools",
        "--depth",
        "2",
    )
    drawn = run("draw", stage_outputs.RUN, "--study", "coaches", *words)
    assert "drawn from" in drawn and "0 of" in drawn and "sportskills rate serve coaches" in drawn
    assert "0 of" in run("status", "coaches")
    grade_everything(open_study("coaches"))
    told = run("status", "coaches")
    assert "alpha (ordinal) 1.00" in told and "pairs have all their grades" in told
    assert "--set 05.ratings=data/ratings/coaches/ratings.csv" in run("export", "coaches")
    with pytest.raises(ValueError, match="no study 'other' \\(coaches\\)"):
        run("status", "other")
    with pytest.raises(ValueError, match="invalid"):
        run("export", "../coaches")
