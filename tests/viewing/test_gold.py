"""Gold samples as pages and as a widget: strangers' text stays text, one key is one saved label,
errors come out.
"""

from __future__ import annotations

from html.parser import HTMLParser
from typing import Any

import polars as pl
import pytest

from sportskills_lib.plots import notebook_tables
from sportskills_lib.viewing import pair_auditor
from sportskills_lib.viewing.pair_auditor import PairAuditor
from sportskills_lib.viewing.previews import Preview

HOSTILE = '"><script>alert(1)</script><img src=x onerror=alert(2)> \u202e' + "long " * 500


def rows(text: str = "words", count: int = 3) -> pl.DataFrame:
    return pl.DataFrame(
        {
            "item_id": [f"{i}{text}" for i in range(count)],
            "text": text,
            "sport": text,
            "video_id": text,
            "start_s": [1.0] * count,
            "end_s": 2.0,
            "verdict": "yes",
            "confidence": [0.5] * count,
            "label": "",
            "note": "",
        }
    )


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
    strips = {frame["item_id"][0]: b"strip"}
    page = pair_auditor.sheet("What?", frame, strips, labels=("yes", "no"))
    page += pair_auditor.item(frame.row(0, named=True), strips, verdicts=True)
    scores = pl.DataFrame(
        [(HOSTILE, "yes", "recall", 0.5, 0.1, 0.9, 3), ("all", "yes", "x", None, None, None, 0)],
        orient="row",
    )
    page = pair_auditor.page("Gold sample", page + notebook_tables.html(scores))
    tags = Tags(page)
    assert "script" not in tags.seen and not {
        name for name in tags.attributes if name.startswith("on")
    }
    assert page.count("<img") == 2 and "default-src 'none'" in page
    assert len(page) < 30_000


def test_the_page_does_not_tell_what_the_judge_said() -> None:
    frame = rows().with_columns(verdict=pl.lit("secret"))
    assert "secret" not in pair_auditor.sheet("What?", frame, {}, labels=("yes", "no"))
    assert "secret" in pair_auditor.item(frame.row(0, named=True), {}, verdicts=True)


def labeller(
    saved: list[tuple[str, str, str]], frame: pl.DataFrame | None = None, **changes
) -> PairAuditor:
    options: dict[str, Any] = {
        "ask": "What?",
        "keys": {"y": "yes", "n": "no"},
        "films": lambda row: (),
        "save": lambda *all: saved.append(all),
    }
    return PairAuditor(rows() if frame is None else frame, **(options | changes))


def test_keys_and_buttons_label_one_after_another() -> None:
    saved: list[tuple[str, str, str]] = []
    made = labeller(saved)
    made.keyboard.press("y")
    made.keyboard.press("n")
    made.keyboard.press("z")
    made.keyboard.press("y")
    made.keyboard.press("x")
    assert [each[:2] for each in saved] == [("0words", "yes"), ("1words", "no"), ("1words", "yes")]
    assert "3 of 3, 2 labelled" in made.state.value
    with pytest.raises(KeyError):
        made.keyboard.press("q")


def test_a_verdict_is_seen_after_the_label_alone_and_that_is_noted() -> None:
    saved: list[tuple[str, str, str]] = []
    made = labeller(saved, rows().with_columns(verdict=pl.lit("secret")))
    made.keyboard.press("v")
    assert saved == [] and "secret" not in made.state.value and "label it first" in made.state.value
    made.keyboard.press("y")
    assert "secret" not in made.state.value + made.view.value
    made.keyboard.press("z")
    made.keyboard.press("v")
    assert "judge: <b><bdi>secret</bdi></b> <bdi>(0.50)</bdi>" in made.state.value
    made.keyboard.press("n")  # changed after it was seen
    assert saved == [
        ("0words", "yes", ""),
        ("0words", "yes", "verdict seen after yes"),
        ("0words", "no", ("verdict seen after yes")),
    ]
    assert "secret" not in made.state.value


def test_films_are_asked_for_as_items_come_and_not_again() -> None:
    asked: list[str] = []

    def films(row):
        asked.append(row["item_id"])
        return [("The clip", Preview(reason="missing"))]

    made = labeller([], rows(count=5000), films=films)
    assert asked == ["0words"] and "no film: missing" in made.view.value
    made.keyboard.press("v")
    made.keyboard.press("y")
    assert asked == ["0words", "1words"]


def test_what_saving_raises_comes_out_and_nothing_is_skipped() -> None:
    def full(*_: str) -> None:
        raise OSError("disk full")

    made = labeller([], save=full)
    with pytest.raises(OSError, match="disk full"):
        made.keyboard.press("y")
    assert made.place == 0 and not made.rows[0]["label"]
    assert "OSError: disk full" in made.keyboard.error


def test_a_sheet_without_items_opens() -> None:
    made = labeller([], rows(count=0))
    for key in ("y", "z", "x", "v"):
        made.keyboard.press(key)
    assert "nothing to label" in made.state.value
