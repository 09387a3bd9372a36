"""The widgets, driven as a user would; an error in a callback fails."""

from __future__ import annotations

import ipywidgets
import pytest
from IPython.display import HTML

from sportskills_lib.evaluation import cases
from sportskills_lib.viewing import widgets

SYSTEM = "image/narrations/text_to_video/within_sport"
OTHER = "image/zero_shot/text_to_video/within_sport"


def test_choosing_shows_what_the_pure_view_shows(view):
    browser = widgets.Browser(view, SYSTEM)
    first = browser.query.value
    assert first == view.asked(SYSTEM, view.sports()[0])[0][0]
    assert view.html(SYSTEM, first) in browser.output.value
    shown = browser.choose(sport="judo", order="best first", system=OTHER)
    best = view.asked(OTHER, "judo", failures_first=False)[0][0]
    assert browser.query.value == best
    assert view.html(OTHER, best) in shown
    last = view.asked(OTHER, "judo", failures_first=False)[-1][0]
    assert view.html(OTHER, last) in browser.choose(query=last)


def test_an_error_in_a_callback_is_shown_and_raised(view, monkeypatch):
    browser = widgets.Browser(view, SYSTEM)

    def broken(*_, **__):
        raise RuntimeError("no frames")

    monkeypatch.setattr(type(view), "html", broken)
    with pytest.raises(RuntimeError, match="no frames"):
        browser.choose(sport="judo")
    assert "This view failed" in browser.output.value
    monkeypatch.undo()
    assert "This view failed" not in browser.choose(sport="golf")


def test_headless_is_static_html_and_a_notebook_gets_the_widget(view, monkeypatch):
    picked = cases.pick(view.scores, SYSTEM, None, each=1)
    monkeypatch.delenv("JPY_SESSION_NAME", raising=False)
    shown = widgets.browse(view, picked, SYSTEM)
    assert isinstance(shown, HTML)
    assert shown.data == widgets.static(view, picked, SYSTEM).data
    monkeypatch.setenv("JPY_SESSION_NAME", "notebooks/05_evaluation.ipynb")
    assert isinstance(widgets.browse(view, picked, SYSTEM), ipywidgets.Widget)
    monkeypatch.setenv("SPORTSKILLS_HEADLESS", "1")
    assert isinstance(widgets.browse(view, picked, SYSTEM), HTML)


def test_a_view_without_queries_opens(view):
    from dataclasses import replace

    empty = replace(view, queries=view.queries.head(0), marked=view.marked.head(0))
    picked = cases.pick(view.scores.head(0), SYSTEM, None)
    assert "<figure" not in widgets.static(empty, picked, SYSTEM).data
