"""The inspector: filters and marks against 05's own functions, every step by key, and what a step
costs.
"""

from __future__ import annotations

import shutil
from dataclasses import replace

import polars as pl
import pytest
import stage_outputs
from IPython.display import HTML
from keys import press

from sportskills_lib.apps import serve_widget
from sportskills_lib.apps.rate import commands
from sportskills_lib.evaluation import demo_truth, recall
from sportskills_lib.report import cases
from sportskills_lib.runs import artifacts
from sportskills_lib.viewing import inspection_widgets, inspector_view, previews, retrieved_queries
from sportskills_lib.viewing.inspector_view import APART, FAILURES, NEAR, Inspector
from sportskills_lib.viewing.previews import Preview, Span


def test_marks_are_those_that_05_gives(kinds):
    pairing = artifacts.open_stage(stage_outputs.RUN, "02_pairing")
    clips, narrations = (
        pairing.table("clips"),
        artifacts.open_stage(stage_outputs.RUN, "01_curation").table("narrations"),
    )
    queries, _ = recall.test_queries(clips, pairing.table("pairs"), narrations)
    retrieved = artifacts.open_stage(stage_outputs.RUN, "05_evaluation").table("retrievals")
    oracle = cases.retrieved(
        queries, retrieved, clips, demo_truth.true_groups("data/raw/demo/truth", clips)
    ).sample(300, seed=0)
    by_id = {row["query_id"]: row for row in kinds[0].queries.to_dicts()}
    for query, clip, mark in oracle.select("query_id", "clip_id", "mark").iter_rows():
        assert kinds[0].mark(by_id[query], clip) == mark


def test_filters_let_through_what_they_say(kinds):
    view = Inspector(kinds[0])
    begin = view.start()
    every = view.matching_queries(begin)
    assert every["place"].to_list() == sorted(every["place"].to_list(), reverse=True)
    failed, near = (
        view.matching_queries(view.choose(begin, show=show)) for show in (FAILURES, NEAR)
    )
    assert failed["query_id"].to_list() == every.filter(pl.col("place") > 10)["query_id"].to_list()
    assert near["place"].is_between(10, 20, closed="right").all() and near.height
    apart = view.matching_queries(view.choose(begin, show=APART)).head(1).row(0, named=True)
    gap = (1 / every["place"] - 1 / every["other_place"]).abs().max()
    assert abs(1 / apart["place"] - 1 / apart["other_place"]) == gap
    golf = view.matching_queries(view.choose(begin, sport="golf"))
    assert 0 < golf.height < every.height
    words = every["text"][0][5:25]
    assert set(view.matching_queries(view.choose(begin, words=words.upper()))["text"]) == set(
        every.filter(pl.col("text").str.contains(words, literal=True))["text"]
    )


def test_a_learner_is_a_failure_when_no_clip_that_helps_is_near(kinds):
    learners = kinds[1]
    view = Inspector(learners)
    state = view.choose(view.start(), show=FAILURES)
    for row in view.matching_queries(state).head(20).iter_rows(named=True):
        hits = (
            learners.hits[state.system].filter(pl.col("query_id") == row["query_id"]).sort("rank")
        )
        grades = [learners.grades.get((row["query_id"], clip), 0) for clip in hits["clip_id"]]
        assert all(grade < 2 for grade in grades[:5])


def test_two_systems_show_where_they_differ(kinds):
    view = Inspector(kinds[0])
    state = view.start()
    html = view.html(state)
    assert html.count('class="system"') == 2 and "only here" in html
    assert html.count("<figure") == 1 + 2 * inspector_view.TOP
    assert view.html(replace(state, other="")).count('class="system"') == 1
    same = view.html(replace(state, other=state.system))
    assert "only here" not in same and "both: rank 1" in same


def test_every_key_steps_and_shows_what_the_view_shows(kinds):
    widget = inspection_widgets.InspectorWidget(kinds, films=False)
    for key in "jjkfsdabxtgvvffjm":
        shown = press(widget, key)
        assert shown == widget.view.html(widget.state)
    assert widget.view.results.kind == "learners"
    widget.go(widget.view.start())
    first = widget.state
    assert press(widget, "j") != press(widget, "k") and widget.state == first
    assert press(widget, "k") and widget.state == first  # the ends hold
    swapped = press(widget, "x")
    assert (widget.state.system, widget.state.other) == (first.other, first.system)
    now, before = widget.view.query(widget.state), widget.view.query(first)
    assert now and before and now["query_id"] == before["query_id"] and swapped


def test_the_mouse_takes_the_same_way(kinds):
    widget = inspection_widgets.InspectorWidget(kinds, films=False)
    widget.controls["sport"].value = "judo"
    assert widget.state.sport == "judo" and ">judo<" in widget.output.value
    widget.controls["show"].value = APART
    widget.query.value = 3
    assert widget.state.number == 3 and widget.output.value == widget.view.html(widget.state)
    widget.controls["words"].value = "nobody says this"
    assert "no query" in widget.output.value
    press(widget, "j")
    widget.controls["words"].value = ""
    assert "no query" not in widget.output.value


def test_an_error_in_a_step_is_shown_and_raised(kinds, monkeypatch):
    widget = inspection_widgets.InspectorWidget(kinds, films=False)

    def broken(*_, **__):
        raise RuntimeError("no <frames>")

    monkeypatch.setattr(Inspector, "html", broken)
    with pytest.raises(RuntimeError, match="frames"):
        press(widget, "j")
    assert "RuntimeError: no <frames>" in widget.keyboard.error
    monkeypatch.undo()
    press(widget, "j")
    assert widget.keyboard.error == ""


def test_films_replace_small_pictures_within_the_budget(kinds):
    view = Inspector(kinds[0])
    state = view.start()
    films = dict.fromkeys(view.clip_ids(state), b"film")
    assert view.html(state, films).count("<video") == 1 + 2 * inspector_view.TOP
    heavy = dict.fromkeys(films, bytes(300_000))
    html = view.html(state, heavy)
    assert 1 <= html.count("<video") < 5 and len(html) < 2_000_000
    assert html.count("<video") + html.count("<img") == 1 + 2 * inspector_view.TOP


def test_films_come_in_the_background_and_their_errors_are_seen(kinds, monkeypatch):
    monkeypatch.setattr(
        previews,
        "make_previews",
        lambda spans, **_: {span.name: Preview(b"film" + span.name.encode()) for span in spans},
    )
    monkeypatch.setattr(
        retrieved_queries.ItemSources,
        "span",
        lambda self, item: Span(item, stage_outputs.Path("x"), 0, 1),
    )
    widget = inspection_widgets.InspectorWidget(kinds)
    widget.films.thread.join(60)
    assert widget.output.value.count("<video") == 1 + 2 * inspector_view.TOP
    monkeypatch.setattr(previews, "make_previews", lambda *_, **__: 1 / 0)
    widget.go(widget.view.choose(widget.state, show=APART))
    widget.films.thread.join(60)
    assert "ZeroDivisionError" in widget.keyboard.error


def test_headless_is_the_page_and_a_notebook_gets_the_widget(kinds, monkeypatch, tmp_path):
    monkeypatch.delenv("JPY_SESSION_NAME", raising=False)
    shown = inspection_widgets.inspect_here(
        kinds, keep=tmp_path / "page.html", about="run <b> · generated demo world"
    )
    assert "run &lt;b&gt; · generated demo world" in (tmp_path / "page.html").read_text(
        encoding="utf-8"
    )
    assert isinstance(shown, HTML) and shown.data in (tmp_path / "page.html").read_text(
        encoding="utf-8"
    )
    for view in map(Inspector, kinds):
        assert all(view.html(state) in shown.data for state in view.cases())
    assert isinstance(inspection_widgets.inspect_here([], keep=tmp_path / "page.html"), HTML)
    counted = inspection_widgets.counts(kinds)
    assert (counted["hits"] + counted["failures"] == counted["queries"]).all()
    view, (said, of_learners) = (
        Inspector(kinds[0]),
        inspection_widgets.finding(kinds, counted).split("\n\n"),
    )
    failed = view.matching_queries(view.choose(view.start(), show=FAILURES)).height
    assert f"{failed} of {kinds[0].queries.height} fail" in said
    assert of_learners.startswith("**learners, ") and inspection_widgets.finding(
        [], counted
    ).startswith("Nothing")


def test_two_runs_stand_side_by_side(inspected, monkeypatch):
    monkeypatch.setenv("SPORTSKILLS_HOME", str(inspected))
    both = retrieved_queries.read(stage_outputs.RUN, stage_outputs.RUN)
    assert all(name.startswith("synthetic: ") for name in both[0].hits)
    view = Inspector(both[0])
    assert view.html(view.start()).count('class="system"') == 2
    known = retrieved_queries._of_run
    none = {
        "other": [
            replace(part, queries=part.queries.with_columns(query_id=pl.lit("x")))
            for part in known(stage_outputs.RUN, "")
        ]
    }
    monkeypatch.setattr(
        retrieved_queries, "_of_run", lambda run, prefix: none.get(run) or known(run, prefix)
    )
    with pytest.raises(ValueError, match="'synthetic' and 'other' asked nothing in common"):
        retrieved_queries.read(stage_outputs.RUN, "other")
    assert retrieved_queries.folder_of("") == "" and str(
        retrieved_queries.folder_of("mine")
    ).endswith("mine/05_evaluation")


def test_a_clip_is_right_for_the_run_that_cut_it(kinds):
    one = kinds[0]
    name, query = min(one.hits), one.queries.row(0, named=True)
    recut = one.queries.with_columns(own=pl.lit(["cut otherwise"]).cast(pl.List(pl.String)))
    both = retrieved_queries._joined(
        [one, replace(one, queries=recut, hits={f"other: {name}": one.hits[name]})]
    )
    wanted = both.queries.row(by_predicate=pl.col("query_id") == query["query_id"], named=True)
    assert {both.mark(wanted, clip) for clip in ("cut otherwise", query["own"][0])} == {cases.OWN}
    learners = next(each for each in kinds if each.kind == "learners")
    pair = next(iter(learners.grades))
    more = replace(learners, grades={("new", "clip"): 3.0, pair: 9.0})
    known = retrieved_queries._joined([learners, more]).grades
    assert known == learners.grades | {("new", "clip"): 3.0}


def test_a_path_that_leaves_its_folder_is_no_file(tmp_path, monkeypatch):
    monkeypatch.setenv("SPORTSKILLS_HOME", str(tmp_path))
    paths = pl.DataFrame({"id": ["a", "b", "c"], "path": ["a.mp4", "../b.mp4", "/etc/passwd"]})
    assert set(retrieved_queries.below("data/raw/mine", paths)) == {"a"}


def test_the_page_is_of_one_run_or_of_two(inspected, monkeypatch):
    served: list[str] = []
    monkeypatch.setenv("SPORTSKILLS_HOME", str(inspected))
    monkeypatch.setattr(
        serve_widget, "serve", lambda code, **_: served.append(code.splitlines()[-1])
    )
    other = inspected / "data/runs/other"
    shutil.copytree(inspected / "data/runs" / stage_outputs.RUN, other)
    commands.inspect(stage_outputs.RUN)
    commands.inspect(stage_outputs.RUN, "other")
    assert served == [
        f"inspection_widgets.browse('{stage_outputs.RUN}')",
        f"inspection_widgets.browse('{stage_outputs.RUN}', 'other')",
    ]
    for wrong, said in ((stage_outputs.RUN, "given twice"), ("nobody", "nobody"), ("a'b", "a'b")):
        with pytest.raises(ValueError, match=said):
            commands.inspect(stage_outputs.RUN, wrong)
    shutil.rmtree(other)
