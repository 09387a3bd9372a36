"""Gold samples as pages and as a widget: strangers' text stays text, one key is one saved label, errors come out."""

from __future__ import annotations

from html.parser import HTMLParser

import numpy as np
import polars as pl
import pytest

from sportskills_lib.viewing import gold
from sportskills_lib.viewing.labelling import Labeller

HOSTILE = '"><script>alert(1)</script><img src=x onerror=alert(2)> \u202e' + "long " * 500


def rows(text: str = "words", count: int = 3) -> pl.DataFrame:
    return pl.DataFrame(
        {
            "item_id": [f"{i}{text}" for i in range(count)], "text": text, "sport": text, "video_id": text,
            "start_s": [1.0] * count, "end_s": 2.0, "verdict": "yes", "confidence": [0.5] * count, "label": "",
        }
    )  # fmt: skip


class Tags(HTMLParser):
    def __init__(self, text: str):
        super().__init__()
        self.seen: set[str] = set()
        self.attributes: set[str] = set()
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.seen.add(tag)
        self.attributes |= {name for name, _ in attrs}


def test_hostile_text_stays_text() -> None:
    frame = rows(HOSTILE)
    strips = {frame["item_id"][0]: np.zeros((3, 8, 8, 3), np.uint8)}
    page = gold.sheet("What?", frame, strips, labels=("yes", "no"))
    page += gold.item(frame.row(0, named=True), strips, verdicts=True)
    scores = pl.DataFrame(
        [(HOSTILE, "yes", "recall", 0.5, 0.1, 0.9, 3), ("all", "yes", "x", None, None, None, 0)], orient="row"
    )
    page += gold.scores(scores)
    tags = Tags(page)
    assert "script" not in tags.seen and not {name for name in tags.attributes if name.startswith("on")}
    assert page.count("<img") == 2 and "default-src 'none'" in page
    assert len(page) < 30_000


def test_the_page_does_not_tell_what_the_judge_said() -> None:
    frame = rows().with_columns(verdict=pl.lit("secret"))
    assert "secret" not in gold.sheet("What?", frame, {}, labels=("yes", "no"))
    assert "secret" in gold.item(frame.row(0, named=True), {}, verdicts=True)


def labeller(saved: list[tuple[str, str]], frame: pl.DataFrame | None = None) -> Labeller:
    return Labeller(
        rows() if frame is None else frame, ask="What?", keys={"y": "yes", "n": "no"}, strips={},
        save=lambda item, label: saved.append((item, label)),
    )  # fmt: skip


def test_keys_and_buttons_label_one_after_another() -> None:
    saved: list[tuple[str, str]] = []
    made = labeller(saved)
    made.key.value = "y"
    made.key.value = "yx"
    assert "is none of" in made.state.value
    made.buttons[1].click()
    made.press("z")
    made.press("y")
    assert saved == [("0words", "yes"), ("1words", "no"), ("1words", "yes")]
    assert "3 of 3, 2 labelled" in made.state.value


def test_keys_that_arrive_together_or_are_taken_back_count_once() -> None:
    saved: list[tuple[str, str]] = []
    made = labeller(saved, rows(count=5))
    for typed in ("y", "yn", "ynny", "ynn", "ny"):  # two keys in one message; one taken away; another text put in
        made.key.value = typed
    assert [label for _, label in saved] == ["yes", "no", "no", "yes"]


def test_what_saving_raises_comes_out_and_nothing_is_skipped() -> None:
    def full(item: str, label: str) -> None:
        raise OSError("disk full")

    made = Labeller(rows(), ask="What?", keys={"y": "yes"}, strips={}, save=full)
    with pytest.raises(OSError, match="disk full"):
        made.press("y")
    assert made.place == 0 and not made.rows[0]["label"]
    assert "Not saved:</b> <bdi>OSError: disk full" in made.state.value


def test_a_sheet_without_items_opens() -> None:
    made = labeller([], rows(count=0))
    made.press("y")
    assert "nothing to label" in made.state.value
