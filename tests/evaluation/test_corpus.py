"""What the corpus holds, counted by hand."""

from __future__ import annotations

import polars as pl
import pytest

from sportskills_lib.report import corpus


def material():
    videos = pl.DataFrame({"video_id": ["a", "b", "c"]})
    clips = pl.DataFrame(
        {
            "clip_id": ["a1", "a2", "b1"],
            "video_id": ["a", "a", "b"],
            "sport": ["golf $", "golf $", "<b>judo</b>"],
            "skill": ["putt", "swing", "throw"],
            "start_s": [0.0, 5.0, 1.0],
            "end_s": [2.0, 9.0, 4.0],
        }
    )
    pairs = pl.DataFrame(
        {"clip_id": ["a1", "a2", "a2", "b1"], "narration_id": ["n1", "n2", "n3", "n4"]}
    )
    texts = ["Bend your knees", "bend your knees", "Turn", "Hold the lapel tight"]
    return (
        videos,
        clips,
        pairs,
        pl.DataFrame({"narration_id": ["n1", "n2", "n3", "n4"], "text": texts}),
    )


def test_counts_durations_and_words():
    table = corpus.statistics(*material())
    assert table["sport"].to_list() == ["golf $", "<b>judo</b>", "all"]
    golf, judo, whole = table.iter_rows(named=True)
    assert (golf["clips"], golf["skills"], golf["videos"], golf["pairs"], golf["sentences"]) == (
        2,
        2,
        1,
        3,
        2,
    )
    assert (golf["clip_s_mean"], golf["clip_s_median"], golf["words_median"]) == (3.0, 3.0, 3.0)
    assert golf["words_mean"] == pytest.approx(2.33)
    assert judo["words_mean"] == 4.0
    assert (whole["clips"], whole["skills"], whole["videos"], whole["pairs"]) == (3, 3, 2, 4)
    assert whole["hours"] == pytest.approx(9 / 3600, abs=1e-4)


def test_the_figure_bears_strange_names_and_an_empty_corpus(tmp_path):
    videos, clips, pairs, narrations = material()
    table = corpus.statistics(videos, clips, pairs, narrations)
    corpus.figure(table, clips, pairs, narrations).savefig(tmp_path / "x.svg")
    text = (tmp_path / "x.svg").read_text()
    assert "golf $" in text and "&lt;b&gt;judo" in text
    empty = (videos, clips.head(0), pairs.head(0), narrations)
    nothing = corpus.statistics(*empty)
    assert nothing.is_empty()
    corpus.figure(nothing, *empty[1:]).savefig(tmp_path / "y.svg")
