"""Two runs as pairs: differences by hand, what is refused, and the page of both."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import stage_outputs
from test_evaluation_notebook import Page

from sportskills_lib import tables
from sportskills_lib.evaluation import feedback, recall, summary
from sportskills_lib.plots import notebook_tables
from sportskills_lib.report import findings, run_report, save, two_run_report, two_runs
from sportskills_lib.runs import artifacts
from sportskills_lib.statistics.agreement import by_rater

FIRST, SECOND = stage_outputs.RUN, "other"


def second_run(home: Path, name: str, *stages: str) -> None:
    """A run that reads ``stages`` of the first one."""
    folder = home / "data" / "runs" / name
    folder.mkdir()
    (folder / "run.json").write_text(json.dumps({"base": {"run": FIRST, "stages": stages}}))


def evaluate(run: str) -> None:
    """What 05 saves and a comparison reads."""
    one, two, three, four = (artifacts.open_stage(run, name) for name in artifacts.STAGES[:4])
    clips = two.table("clips")
    queries, unasked = recall.test_queries(clips, two.table("pairs"), one.table("narrations"))
    stage = artifacts.begin(run, "05_evaluation", stage_outputs.config.EvaluationConfig())
    scores, top = recall.score_all(three.table("embeddings"), queries, clips, min_gallery=50)
    ratings = feedback.read_ratings("data/raw/demo/ratings.csv")
    judged, _ = feedback.judgements(ratings, clips, four.table("learners"))
    per_sport = summary.per_sport_recall(scores, draws=20, seed=0)
    frames = {"recall": scores, "retrievals": top, "judgements": judged, "raters": by_rater(judged),
              "feedback": feedback.score(four.table("rankings"), judged, four.table("learners")),
              "galleries": recall.galleries(clips, queries), "per_sport_recall": per_sport,
              "leaks": pl.DataFrame(), "seeds": pl.DataFrame()}  # fmt: skip
    for name, frame in frames.items():
        stage.save(name, frame)
    stage.finish(dropped=unasked)


@pytest.fixture(scope="module")
def _home(tmp_path_factory):
    """Two runs of 05: the same clips and learners, other vectors."""
    home = tmp_path_factory.mktemp("two")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SPORTSKILLS_HOME", str(home))
        stage_outputs.write_stages(home, sports=("archery", "golf", "judo"), small=("archery",))
        second_run(home, SECOND, "01_curation", "02_pairing", "04_retrieval")
        full = stage_outputs.clip_rows(("archery", "golf", "judo"), ("archery",))
        stage = artifacts.begin(SECOND, "03_encoder", stage_outputs.config.EncoderConfig(seed=3))
        stage.save(
            "embeddings",
            stage_outputs.embedding_rows(full, np.random.default_rng(7)),
            tables.Embeddings,
        )
        stage.save("curves", stage_outputs.curve_rows(np.random.default_rng(7)))
        stage.finish(seed=3)
        for run in (FIRST, SECOND):
            evaluate(run)
        return home


@pytest.fixture
def home(_home, monkeypatch) -> Path:
    monkeypatch.setenv("SPORTSKILLS_HOME", str(_home))
    return _home


@pytest.fixture
def pair(home) -> two_runs.RunPair:
    return two_runs.open_pair(FIRST, SECOND)


def test_differences_are_those_of_the_means(pair):
    gaps = two_runs.differences(pair, draws=100)
    assert set(gaps["sport"]) == {"golf", "judo", "mean"}  # archery is too small in both
    known = [
        artifacts.open_stage(run, "05_evaluation").table("per_sport_recall") for run in pair.runs
    ]
    asked = {
        "encoder": "image",
        "training": "narrations",
        "direction": "text_to_video",
        "scope": "within_sport",
        "metric": "recall@10_single",
    }
    for sport in ("golf", "judo", "mean"):
        first, second = (part.filter(sport=sport, **asked)["value"][0] for part in known)
        row = gaps.row(
            by_predicate=(pl.col("sport") == sport)
            & (pl.col("encoder") == "image")
            & (pl.col("training") == "narrations")
            & (pl.col("gallery") == "full"),
            named=True,
        )
        assert (row["first"], row["second"]) == pytest.approx((first, second))
        assert row["difference"] == pytest.approx(second - first)
        assert row["low"] <= row["difference"] <= row["high"]
        assert (row["p_holm"] is None) == (sport == "mean")
    both = gaps.filter(
        (pl.col("encoder") == "video")
        & (pl.col("training") == "zero_shot")
        & (pl.col("gallery") == "full")
    )
    tested = both.filter(pl.col("sport") != "mean").sort("p")
    assert tested["p_holm"][0] == pytest.approx(min(1.0, 2 * tested["p"][0]))


def test_a_run_differs_in_nothing_from_its_copy(home):
    shutil.copytree(artifacts.run_folder(FIRST), artifacts.run_folder("twin"), dirs_exist_ok=True)
    pair = two_runs.open_pair(FIRST, "twin")
    gaps = two_runs.differences(pair, draws=50)
    assert (
        (gaps["difference"] == 0).all()
        and (gaps["p"] == 1).all()
        and not gaps["ci_excludes_zero"].any()
    )
    assert set(two_runs.moved(pair)["way"]) == {"same"}
    assert two_runs.settings_that_differ(pair.runs).is_empty()
    judged = two_runs.judged_differences(pair, draws=50)
    assert (judged["difference"] == 0).all() and set(judged["system"]) == set(stage_outputs.SYSTEMS)
    assert (
        judged["p"].null_count() == judged.height
    )  # what cannot differ is no test, and costs the others nothing
    found = two_run_report.measure(pair, draws=10)
    image, *_, last = two_run_report.summary_sentences(pair, found)
    assert "nothing differs" in image and "rank alike in both runs" in last


def test_runs_whose_clips_are_of_one_video_have_no_p_and_still_a_page(home):
    pair = two_runs.open_pair(FIRST, SECOND)
    pair = replace(
        pair, scores=pair.scores.filter(pl.col("sport") == "judo").with_columns(cluster=pl.lit("v"))
    )
    found = two_run_report.measure(pair, draws=10)
    assert found["differences"]["p"].null_count() == found["differences"].height
    (sentence, *_) = two_run_report.summary_sentences(pair, found)
    assert "no p" in sentence


@pytest.mark.parametrize(
    ("stage", "table", "change", "words"),
    [
        (
            "02_pairing",
            "clips",
            lambda f: f.filter(pl.int_range(pl.len()) > 0),
            "test clips 1 differ",
        ),
        (
            "01_curation",
            "narrations",
            lambda f: f.with_columns(text=pl.col("text") + "!"),
            "queries 1?[0-9]+ differ",
        ),
        (
            "01_curation",
            "videos",
            lambda f: f.with_columns(sha256=pl.lit("changed")),
            "test clips [0-9]+ differ",
        ),
        (
            "05_evaluation",
            "recall",
            lambda f: f.with_columns(system="x" + pl.col("system")),
            "no arm in common",
        ),
    ],
)
def test_what_cannot_be_paired_is_refused_by_name(home, stage, table, change, words):
    shutil.rmtree(artifacts.run_folder("changed"), ignore_errors=True)
    shutil.copytree(artifacts.run_folder(FIRST), artifacts.run_folder("changed"))
    folder = artifacts.run_folder("changed") / stage
    frame = pl.read_parquet(folder / f"{table}.parquet")
    if table == "clips":
        frame = frame.sort(pl.col("split") != "test")
    change(frame).write_parquet(folder / f"{table}.parquet")
    manifest = json.loads((folder / "manifest.json").read_text())
    content = (folder / f"{table}.parquet").read_bytes()
    entry = {"bytes": len(content), "sha256": artifacts.sha256_file(folder / f"{table}.parquet")}
    manifest["outputs"][f"{table}.parquet"] |= entry
    (folder / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(ValueError, match=f"'synthetic' and 'changed' .*{words}"):
        two_runs.open_pair(FIRST, "changed")


def test_one_run_and_an_unfinished_one_are_refused(home):
    with pytest.raises(ValueError, match="'synthetic' is one run: name two"):
        two_runs.open_pair(FIRST, FIRST)
    with pytest.raises(ValueError, match="run 'nothing' has no complete 05_evaluation"):
        two_runs.open_pair(FIRST, "nothing")


def test_the_page_of_two_runs_stands_alone(pair, monkeypatch, capsys):
    import sys

    from sportskills_lib import cli

    monkeypatch.setattr(sys, "argv", ["sportskills", "compare", FIRST, SECOND, "--draws", "50"])
    with pytest.raises(SystemExit) as end:
        cli.main()
    assert end.value.code == 0
    said = capsys.readouterr().out
    assert "other minus synthetic, narrations, image encoder: recall@10" in said
    place = two_run_report.folder(pair.runs)
    assert said.strip().endswith("reports/synthetic-vs-other/index.html")
    page = Page((place / "index.html").read_text())
    for tag, attributes in page.tags:
        assert tag not in {"script", "iframe", "link", "object"}
        for name in ("src", "href"):
            target = attributes.get(name, "#")
            assert target.startswith(("#", "data:")) or (place / target).is_file(), target
    assert "seed" in page.text and "<b>$5</b>" in page.text and "Holm's correction" in page.text
    assert "no film: missing" in page.text  # the stand-in has no source videos
    for name in ("by_sport", "by_arm", "rank_changes", "judged"):
        for suffix in ("png", "svg", "pdf", "csv", "tex"):
            assert (place / "figures" / f"{name}.{suffix}").stat().st_size > 50
    facts = json.loads(
        (place / "figures" / "by_sport.svg").read_text().split("<dc:description>")[1].split("</")[0]
    )
    assert facts["run"] == "synthetic vs other"
    moved = pl.read_csv(place / "moved.csv")
    assert moved.columns[:5] == ["encoder", "query_id", "sport", "before", "after"]


def test_sports_of_very_different_size_are_a_warning():
    sizes = pl.DataFrame({"sport": ["golf", "judo"], "gallery": [300, 90]})
    (line,) = run_report.unbalanced(sizes)
    assert line.startswith("Unbalanced sports: golf has 300 test clips (77% of all), judo has 90.")
    assert run_report.unbalanced(sizes.with_columns(gallery=pl.lit(200))) == []
    assert run_report.unbalanced(sizes.head(1)) == []


def test_a_difference_without_an_interval_is_not_called_alike():
    row = {
        "kind": "difference",
        "encoder": "image",
        "training": "narrations",
        "baseline": "activity_skill",
        "value": 0.2,
        "low": None,
        "high": None,
        "n": 60,
        "sports": 1,
        "ci_excludes_zero": None,
        "note": "",
        "gallery": "full",
    }
    control = row | {"training": "narrations_shuffled"}
    kinds = {"low": pl.Float64, "high": pl.Float64, "ci_excludes_zero": pl.Boolean}
    said = findings.summary_sentences(
        pl.DataFrame([row, control], schema_overrides=kinds), pl.DataFrame(), pl.DataFrame()
    )
    assert len(said) == 2 and all("no interval" in line and "includes" not in line for line in said)
    assert findings.interval(0.03, 0.0003, 0.06, sign=True) == "+0.0300 [0.0003, 0.0600]"
    assert findings.interval(-0.21, -0.24, -0.18) == "−0.21 [−0.24, −0.18]"


def test_a_cell_of_a_page_is_short_and_turns_no_text_around() -> None:
    (row,) = notebook_tables.text_rows(
        pl.DataFrame({"text": ["\u202e<b>" + "x" * 10_000], "n": [3], "p": [0.01234]})
    )
    assert len(row[0]) == notebook_tables.LONGEST and row[0].startswith(" <b>x")
    assert row[1:] == ("3", "0.012")


def test_no_spreadsheet_runs_what_was_said(tmp_path) -> None:
    frame = pl.DataFrame(
        {"query_id": ["-abc:1-2", "b"], "text": ['=HYPERLINK("http://x")', None], "p": [-0.5, 0.5]}
    )
    save.write_data(tmp_path, "moved", frame)
    read = pl.read_csv(tmp_path / "moved.csv")
    assert read["text"].to_list() == ['\'=HYPERLINK("http://x")', None]
    assert read.drop("text").equals(frame.drop("text"))
