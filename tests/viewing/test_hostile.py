"""Titles, captions, channels and ids from strangers are text in every view: nothing of them becomes
markup.
"""

from __future__ import annotations

from dataclasses import replace
from html.parser import HTMLParser

import numpy as np
import polars as pl
import pytest

from sportskills_lib import tables
from sportskills_lib.plots import notebook_tables
from sportskills_lib.viewing import (
    advice_page,
    funnel_view,
    inspection_widgets,
    markup,
    pair_auditor,
    retrieved_queries,
)
from sportskills_lib.viewing.inspector_view import Inspector
from sportskills_lib.viewing.keyboard import Keyboard
from sportskills_lib.viewing.markup import text
from sportskills_lib.viewing.previews import Preview

HOSTILE = {
    "script": "<script>alert(1)</script>",
    "attribute": "\"'><img src=x onerror=alert(2)>",
    "path": "../../../etc/passwd",
    "turned": "\u202egnp.exe\u2066\u200f",
    "long": "<b>" + "x" * 10_000,
    "control": "a\x00b\x1b[31m\ud7ff&lt;script&gt;",
}
ACTIVE = {"script", "iframe", "object", "embed", "link", "base", "form", "meta"}


class Reader(HTMLParser):
    """Collects what a browser would make of a fragment."""

    def __init__(self):
        super().__init__()
        self.tags, self.handlers, self.targets, self.said = [], [], [], []

    def handle_starttag(self, tag, attributes):
        self.tags.append(tag)
        self.handlers += [name for name, _ in attributes if name.startswith("on")]
        self.targets += [value or "" for name, value in attributes if name in ("src", "href")]

    def handle_data(self, data):
        self.said.append(data)


def _asked(bad: str) -> retrieved_queries.QueryResults:
    row = {
        "video_id": bad,
        "title": bad,
        "channel": bad,
        "sport": bad,
        "skill": bad,
        "start_s": 0.0,
        "end_s": 2.0,
        "demonstration": "correct",
        "said": bad,
    }
    queries = pl.DataFrame(
        {
            "query_id": [bad],
            "sport": [bad],
            "skill": [bad],
            "text": [bad],
            "shown": [bad],
            "own": [[bad]],
        }
    )
    hits = pl.DataFrame({"query_id": [bad], "rank": [1], "clip_id": [bad], "score": [0.5]})
    places = pl.DataFrame({"query_id": [bad], "place": [30.0]})
    items = retrieved_queries.ItemSources(
        {bad: row}, {bad: (np.zeros((1, 2, 8, 8, 3), np.uint8), 0)}, {}
    )
    return retrieved_queries.QueryResults(
        "narrations", queries, {bad: hits}, {bad: places}, items, 10, "its own clip"
    )


def inspected(bad: str) -> str:
    widget = inspection_widgets.InspectorWidget([_asked(bad)], films=False)
    return widget.output.value + widget.legend.value + Inspector(_asked(bad)).page()


def without_pictures(bad: str) -> str:
    made = _asked(bad)
    view = Inspector(replace(made, items=retrieved_queries.ItemSources({}, {}, {})))
    return view.page()


def explored(bad: str) -> str:
    item = f"{bad}:000000-002000"
    narrations = pl.DataFrame(
        {
            "narration_id": [item],
            "video_id": [bad],
            "start_s": [0.0],
            "text": [bad],
            "actionable": [True],
            "reason": [bad],
        }
    )
    judged = pl.DataFrame(
        {
            "clip_id": [item],
            "narration_ids": [[item]],
            "text": [bad],
            "said": ["correct"],
            "demonstration": [bad],
            "score": [1.0],
            "moved": [0.1],
        }
    )
    videos = pl.DataFrame(
        {
            "video_id": [bad],
            "title": [bad],
            "channel": [bad],
            "sport": [bad],
            "skill": [bad],
            "duration_s": [2.0],
        }
    )
    lines = tables.dropped_rows([("clip", item, bad, bad), ("video", bad, bad, bad)])
    clips = pl.DataFrame({"clip_id": ["other"], "split": ["test"]})
    made = funnel_view.funnel(videos, narrations, judged, clips, {"02_pairing": lines}, {})
    places = [funnel_view.FunnelPosition(number) for number in range(made.reasons.height)]
    strips = {item: b"strip"}
    return made.page(
        [
            *places,
            funnel_view.FunnelPosition(video=bad),
            funnel_view.FunnelPosition(video=bad + "2"),
        ],
        strips,
    )


def advised(bad: str) -> str:
    preview = Preview(b"film", b"strip")
    words = ("narration", "demonstration", "skill", "title", "channel", "video_id")
    one = dict.fromkeys(words, bad) | {"rank": 1, "start_s": 0.0, "end_s": 2.0, "preview": preview}
    one |= {"link": f"javascript:{bad}", "similarity": 0.5, "probability": None}
    facts = (bad, bad, 0.0, 2.0, Preview(reason=bad), [one], bad, [bad], (bad, 0.5))
    page = advice_page.AdviceView(*facts).page()
    return page[page.index("<body") :]


def labelled(bad: str) -> str:
    row = {
        "item_id": bad,
        "text": bad,
        "start_s": 0.0,
        "end_s": 1.0,
        "sport": bad,
        "video_id": bad,
        "confidence": 0.5,
        "verdict": bad,
        "label": bad,
    }
    frame = pl.DataFrame({"class": [bad]})
    return pair_auditor.item(row, {}, verdicts=True) + notebook_tables.html(frame)


def whole_page(bad: str) -> str:
    panel = markup.template("markup.jinja").film_panel(bad, bad, Preview(reason=bad))
    page = markup.document(bad, panel, about=bad)
    return page[page.index("<title>") :]


@pytest.mark.parametrize("name", HOSTILE)
@pytest.mark.parametrize(
    "shown", [inspected, without_pictures, explored, advised, labelled, whole_page]
)
def test_hostile_text_is_shown_as_text(shown, name):
    page = shown(HOSTILE[name])
    reader = Reader()
    reader.feed(page)
    assert not ACTIVE & set(reader.tags) and not reader.handlers
    assert all(target.startswith("data:") for target in reader.targets)
    assert not any(letter in page for letter in "\u202e\u2066\u200f\x00\x1b") or name not in (
        "turned",
        "control",
    )
    assert len(page) < 120_000
    assert {"script": "alert(1)", "attribute": "alert(2)", "path": "etc/passwd"}.get(
        name, ""
    ) in "".join(reader.said)


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_text_is_plain_in_controls(name):
    widget = inspection_widgets.InspectorWidget([_asked(HOSTILE[name])], films=False)
    labels = [
        label
        for control in (widget.query, widget.controls["sport"], widget.controls["skill"])
        for label, _ in control.options
    ]
    assert len(labels) == 5 and all(label.isprintable() and len(label) < 130 for label in labels)
    assert (
        widget.controls["skill"].options[1][1] == HOSTILE[name]
    )  # what is chosen stays what it is called


def test_an_error_is_plain_text_for_the_page():
    keyboard = Keyboard({})
    for bad in HOSTILE.values():
        keyboard.show_error(ValueError(bad))
        assert keyboard.error.isprintable() and len(keyboard.error) <= markup.MAX_CHARACTERS


def test_text_is_cut_isolated_and_plain():
    assert text("") == "" and text("a<b") == "<bdi>a&lt;b</bdi>" and text("a", bare=True) == "a"
    assert len(text("x" * 10_000, bare=True, limit=80)) == 80
    assert text("\u202egnp", bare=True) == " gnp"
