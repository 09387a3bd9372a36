"""Notebooks 05 to 07, cell by cell in this process, on stand-in stage outputs: what they leave on
disk and in the report.
"""

from __future__ import annotations

import json
import re
import shutil
from html.parser import HTMLParser
from pathlib import Path

import polars as pl
import pytest
import stage_outputs
from PIL import Image

from sportskills_lib import tables
from sportskills_lib.evaluation import checks, comparisons, recall_arrays, summary
from sportskills_lib.report import html_page, run_report
from sportskills_lib.runs import artifacts

NOTEBOOKS = Path(__file__).parents[2] / "notebooks"
RUN = stage_outputs.RUN


def execute_one(notebook: str, **parameters) -> dict:
    """Run every cell up to those that people rate in; ``parameters`` are set after the parameters cell, as papermill would."""
    namespace: dict = {}
    for cell in json.loads((NOTEBOOKS / f"{notebook}.ipynb").read_text())["cells"]:
        if "".join(cell["source"]).startswith("## Rate it yourself"):
            break
        if cell["cell_type"] == "code":
            exec("".join(cell["source"]), namespace)
            if "parameters" in cell["metadata"].get("tags", []):
                namespace.update({"run": RUN, "draws": 100} | parameters)
    return namespace


def execute(**parameters) -> dict:
    """05 and then 06; the variables of both, those of 05 where both have one."""
    evaluated = execute_one("05_evaluation", **parameters)
    return execute_one("06_analysis") | evaluated


@pytest.fixture(scope="module")
def _done(tmp_path_factory):
    """One undisturbed run, for the tests that only read it."""
    folder = tmp_path_factory.mktemp("evaluated")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SPORTSKILLS_HOME", str(folder))
        stage_outputs.write_stages(
            folder, sports=("archery", "golf", "judo", "tennis"), small=("archery",), judged=True
        )
        return folder, execute()


@pytest.fixture
def done(_done, monkeypatch) -> dict:
    monkeypatch.setenv("SPORTSKILLS_HOME", str(_done[0]))
    return _done[1]


class Page(HTMLParser):
    """The tags and attributes of a page, and its text."""

    def __init__(self, text: str):
        super().__init__()
        self.tags: list[tuple[str, dict]] = []
        self.said: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data):
        self.said.append(data)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.said).split())


def place() -> Path:
    return artifacts.workspace() / "reports" / RUN


def page() -> Page:
    return Page((place() / "index.html").read_text())


def test_leaves_the_tables_that_others_rely_on(done):
    recall = pl.read_csv(place() / "per_sport_recall.csv")
    assert tuple(recall.columns) == summary.COLUMNS
    assert set(recall["training"]) == set(stage_outputs.ARMS)
    assert set(recall["encoder"]) == {"image", "video"}
    metrics = {*recall_arrays.own_metrics(), *recall_arrays.relevant_metrics()}
    assert set(recall["metric"]) == metrics >= {"recall@10_single", "recall@10_multi", "hit@10"}
    assert set(recall["scope"]) == {"within_sport", "within_sport_fixed", "across_sports"}
    assert set(recall["sport"]) == {"archery", "golf", "judo", "tennis", "mean"}
    archery = recall.filter((pl.col("sport") == "archery") & (pl.col("scope") == "within_sport"))
    assert archery["value"].is_null().all()
    mean = recall.filter((pl.col("sport") == "mean") & (pl.col("value").is_not_null()))
    assert (mean["low"] <= mean["value"]).all()
    assert (mean["value"] <= mean["high"]).all()
    feedback = pl.read_csv(place() / "feedback_retrieval.csv")
    assert feedback.columns == ["pool", "system", "metric", "value", "low", "high", "n"]
    assert set(feedback["system"]) == set(stage_outputs.SYSTEMS)
    assert set(feedback["pool"]) == {"same_skill", "judged"}
    for name in ("per_sport_recall.png", "per_sport_recall.svg", "per_sport_recall.tex", "headline.csv", "index.html",
                 "ratios_by_sport.csv", "understanding_means.csv", "understanding_differences.csv", "cue_kinds.csv",
                 "corpus.csv", "figures/corpus.png", "figures/understanding.svg", "figures/cue_kinds.png",
                 "figures/encoders.csv", "figures/per_sport_recall_fixed.tex"):  # fmt: skip
        assert (place() / name).stat().st_size > 100, name
    assert "not evaluable" in (place() / "per_sport_recall.tex").read_text()
    captions = [path.read_text() for path in place().rglob("*.tex")]
    assert len(captions) > 10 and all(
        r"\caption{Generated demo world: " in text for text in captions
    )
    assert "simulated raters" in (place() / "feedback_retrieval.tex").read_text()
    stage = artifacts.open_stage(RUN, "05_evaluation")
    for name in stage.manifest["outputs"]:
        stage.path(name)
    stage.table("recall", tables.Scores)
    stage.table("judgements", tables.Judgements)


def test_the_macro_mean_is_the_mean_of_evaluable_sports(done):
    rows = summary.of_figure(done["per_sport"], "image").filter(pl.col("training") == "narrations")
    sports = rows.filter(pl.col("sport").is_in(["golf", "judo", "tennis"]))
    mean = rows.row(by_predicate=pl.col("sport") == "mean", named=True)
    assert mean["value"] == pytest.approx(sports["value"].mean())
    assert mean["n"] == sports["n"].sum()
    facts = comparisons.headline_facts(done["headline"], done["feedback_table"])
    other = summary.of_figure(done["per_sport"], "image").filter(
        (pl.col("training") == "activity_skill") & (pl.col("sport") == "mean")
    )
    assert facts["gain"] == pytest.approx(mean["value"] - other["value"][0], abs=1e-4)


def test_the_page_opens_from_a_file_and_escapes_what_strangers_wrote(done):
    shown = page()
    for tag, attributes in shown.tags:
        assert tag not in {"script", "iframe", "link", "object"}
        assert not any(name.startswith("on") for name in attributes)
        for name in ("src", "href"):
            target = attributes.get(name, "#")
            assert target.startswith(
                ("#", "data:", "nb/", "figures/", "previews/", "inspector.html")
            ), target
            assert target.startswith(("#", "data:", "nb/")) or (place() / target).is_file(), target
    assert "mind cue" in shown.text
    assert "<b>$5</b>" in shown.text  # as text: the narrations of the stand-in hold markup
    assert "simulated raters" in shown.text
    assert "demo figures, never results about sport" in shown.text
    assert "archery" in shown.text
    assert (
        "Narrations close" in shown.text
        and "of the gap between the skill oracle and the cue oracle" in shown.text
    )
    assert "With narration training, the video encoder scores" in shown.text
    assert "Understanding beyond retrieval" in shown.text and "By the kind of cue" in shown.text


def test_rows_without_the_truth_are_the_same(_done, workspace):
    before = _done[1]["per_sport"].filter(pl.col("metric").str.ends_with("single"))
    shutil.rmtree(workspace / "data" / "raw" / "demo" / "truth")
    after = execute()["per_sport"]
    assert after.equals(before)
    assert "own clip is known to be right" in page().text


def test_a_rebuilt_report_is_the_same_page(done):
    path = place() / "index.html"
    before = path.read_text()
    run_report.write(RUN)
    assert re.sub(r"\s+", " ", path.read_text()) == re.sub(r"\s+", " ", before)


def test_executed_notebooks_are_kept_and_linked(done):
    nb = place() / "nb"
    nb.mkdir()
    (nb / "01_curation.html").write_text("<p>")
    (place() / "old.png").write_bytes(b"stale")
    run_report.write(RUN)
    links = [attributes.get("href") for tag, attributes in page().tags if tag == "a"]
    assert {"nb/01_curation.html", "nb/05_evaluation.html", "nb/06_analysis.html"} <= set(links)
    assert not {"nb/07_inspection.html", "inspector.html", "funnel.html"} & set(links)
    assert (nb / "01_curation.html").is_file()
    assert not (place() / "old.png").exists()


def test_no_learners_and_no_evaluable_sport(tmp_path, monkeypatch):
    """What a small folder of real lessons looks like: the report says why, and shows the table
    across sports.
    """
    monkeypatch.setenv("SPORTSKILLS_HOME", str(tmp_path))
    stage_outputs.write_stages(tmp_path, sports=("golf",), small=("golf",), learners=False)
    done = execute(ratings="", truth="")
    assert not (place() / "per_sport_recall.png").exists()
    recall = pl.read_csv(place() / "per_sport_recall.csv", infer_schema_length=None)
    assert recall.filter(pl.col("scope") == "within_sport")["value"].is_null().all()
    assert done["headline"].is_empty()
    text = page().text
    assert "No sport is evaluable at 10" in text
    assert "Across sports" in text
    assert (
        pl.read_csv(place() / "across_sports.csv")
        .filter(pl.col("training") == "narrations")["value"]
        .min()
        > 0.5
    )
    assert "All 27 test clips are one gallery" in text
    assert pl.read_csv(place() / "feedback_retrieval.csv").is_empty()
    assert "cannot be judged" in text or "no learners" in text


def test_no_test_clips_at_all(tmp_path, monkeypatch):
    monkeypatch.setenv("SPORTSKILLS_HOME", str(tmp_path))
    stage_outputs.write_stages(tmp_path, sports=("golf",), learners=False, only_train=True)
    execute(ratings="", truth="")
    assert "No sport" in page().text


def test_a_sport_below_the_size_of_all_galleries_is_shown_apart(done):
    per_sport = done["per_sport"].with_columns(
        value=pl.when((pl.col("sport") == "golf") & (pl.col("scope") == "within_sport_fixed"))
        .then(None)
        .otherwise("value")
    )
    found = {name: pl.DataFrame() for name in ("raters", "seeds", "leaks")}
    found |= {"per_sport_recall": per_sport, "galleries": done["sizes"]}
    lines = run_report.warnings(
        found, {"01_curation": {"config": {}}}, {"min_gallery": 50, "gallery_size": 100}
    )
    assert any(
        line.startswith("Fewer than 100 test clips") and line.endswith(": golf.") for line in lines
    )
    assert any(line.startswith("Not evaluable at 10") and "archery" in line for line in lines)
    own = {"01_curation": {"config": {"source": "lessons"}}}
    own["03_encoder"] = {"config": {"model": "data/raw/demo/models/base_clip"}}
    toys = run_report.warnings(found, own, {})
    assert any("toys trained on drawn figures" in line for line in toys)
    assert not any("toys trained on drawn figures" in line for line in lines)


def test_a_planted_leak_is_a_warning_on_the_page(done):
    """Each check is planted once; the page repeats what failed among its warnings."""
    clips = done["clips"].with_columns(pl.col("split").cast(pl.String))
    first = clips.filter(pl.col("split") == "train").row(0, named=True)
    moved = clips.with_columns(
        split=pl.when(pl.col("clip_id") == first["clip_id"]).then(pl.lit("val")).otherwise("split")
    )
    query, other = (
        done["queries"].row(0, named=True),
        clips.filter(pl.col("split") == "train")["clip_id"][-1],
    )
    copied = done["narrations"].with_columns(
        text=pl.when(pl.col("narration_id") == other + "n")
        .then(pl.lit(query["text"]))
        .otherwise("text")
    )
    person = done["learners"].with_columns(
        split=pl.when(pl.col("learner_id") == done["learners"]["learner_id"][0])
        .then(pl.lit("train"))
        .otherwise(pl.col("split").cast(pl.String))
    )
    offered = done["rankings"].with_columns(
        clip_id=pl.when(pl.int_range(pl.len()) == pl.len() - 1)
        .then(pl.lit(first["clip_id"]))
        .otherwise("clip_id")
    )
    names = ("videos", "clips", "pairs", "narrations", "queries", "learners", "rankings")
    given = {name: done[name] for name in names}
    assert checks.leaks(**given)["passed"].all()
    leaks = checks.leaks(
        **given | {"clips": moved, "narrations": copied, "learners": person, "rankings": offered}
    )
    failed = dict(leaks.filter(~pl.col("passed")).select("check", "first").rows())
    assert failed["no video stands in two splits"] == first["video_id"]
    assert failed["no channel stands in two splits"] == first["channel"]
    assert failed["no participant stands in two splits"] == done["learners"]["participant"][0]
    assert failed["no test query has the wording of a training narration"] == query["query_id"]
    assert failed["test learners are offered test clips only"].endswith(first["clip_id"])
    found = {name: pl.DataFrame() for name in ("raters", "seeds")}
    found |= {"per_sport_recall": done["per_sport"], "galleries": done["sizes"], "leaks": leaks}
    lines = run_report.warnings(found, {"01_curation": {"config": {}}}, {"min_gallery": 50})
    assert sum(line.startswith("Leak check failed") for line in lines) == len(failed)


HOSTILE = (
    "<script>alert(1)</script>",
    '" onload=alert(1) x="',
    "../../etc/passwd",
    "\u202egnp.exe",
    "x" * 10_000,
)


def test_hostile_words_are_text_in_the_blocks_of_films():
    """Titles, narrations, comments and ids of strangers stand on the page as text, and close no
    tag.
    """
    shown = pl.DataFrame(
        {
            "kind": "good",
            "query_id": ["q"] * 2,
            "sport": HOSTILE[0],
            "text": HOSTILE[1],
            "system": HOSTILE[2],
            "own_rank": 1.0,
            "baseline_rank": 3.0,
            "rank": [0, 1],
            "clip_id": ["a", "b"],
            "mark": ("own clip"),
            "score": 0.1,
        }
    )
    offered = pl.DataFrame(
        {
            "kind": "failure",
            "learner_id": "L",
            "sport": HOSTILE[3],
            "comment": HOSTILE[4],
            "system": HOSTILE[0],
            "value": 0.5,
            "rank": 1,
            "clip_id": HOSTILE[1],
            "grade": None,
        }
    )
    films = pl.DataFrame(
        {
            "item_id": ["a", "b"],
            "file": ["", "0.mp4"],
            "still": b"",
            "said": HOSTILE[0],
            "origin": HOSTILE[1],
            "reason": HOSTILE[2],
        }
    )
    cases = '{% from "parts.jinja" import learner_case, query_case with context %}'
    cases += "{{ query_case(asked) }}{{ learner_case(offered) }}"
    text = (
        html_page.environment()
        .from_string(cases)
        .render(
            asked=shown.to_dicts(),
            offered=offered.to_dicts(),
            films={row["item_id"]: row for row in films.to_dicts()},
        )
    )
    tags = Page(text).tags
    assert {tag for tag, _ in tags}.isdisjoint({"script", "iframe", "object"})
    assert not any(name.startswith("on") for _, attributes in tags for name in attributes)
    assert [attributes["src"] for tag, attributes in tags if tag == "video"] == ["previews/0.mp4"]
    assert "<script>alert(1)</script>" in Page(text).text and "x" * 301 not in text
    known = Page(text).text
    assert "own clip at rank 1, under skill labels at 3" in known
    assert "1 ✓ own clip" in known and "1 not graded" in known and "no film was kept" in known


def test_inspection_adds_films_beside_the_page_stills_in_it_and_its_pages(done):
    execute_one("07_inspection")
    shown = page()
    links = [attributes.get("href") for tag, attributes in shown.tags if tag == "a"]
    assert {"inspector.html", "funnel.html"} <= set(links)
    stills = [
        attributes["src"]
        for tag, attributes in shown.tags
        if tag == "img" and "webp" in attributes["src"][:40]
    ]
    assert (
        len(stills) >= 20
    )  # the stand-in has no source videos, so that every film is a still with its reason
    assert "no film: missing: " in shown.text
    (policy,) = [
        attributes["content"] for tag, attributes in shown.tags if "http-equiv" in attributes
    ]
    assert (
        policy.startswith("default-src 'none'") and "script" not in policy and "http" not in policy
    )


def test_every_figure_lies_beside_the_page_with_its_rows_and_its_origin(done):
    stages = ("05_evaluation", "06_analysis")
    configs = [artifacts.open_stage(RUN, name).manifest["key"]["config"] for name in stages]
    pictures = sorted((place() / "figures").glob("*.png"))
    names = {path.stem for path in pictures}
    assert {
        "rank_changes",
        "filmstrips",
        "feedback_filmstrips",
        "per_sport_recall",
        "understanding",
        "curves",
    } <= names
    for path in pictures:
        for suffix in (".svg", ".pdf", ".csv", ".tex"):
            assert path.with_suffix(suffix).stat().st_size > 20, path.with_suffix(suffix)
        with Image.open(path) as picture:
            assert picture.text["Run"] == RUN and picture.text["Config"] in configs
