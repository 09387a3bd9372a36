"""The retrieval browser's pure view and the pictures in it."""

from __future__ import annotations

import base64
import io
import re
from dataclasses import replace
from html.parser import HTMLParser

import numpy as np
import polars as pl
import pytest
from PIL import Image

from sportskills_lib.evaluation import cases
from sportskills_lib.viewing import pictures, retrievals

SYSTEM = "image/narrations/text_to_video/within_sport"
HOSTILE = '"><script>alert(1)</script><img src=x onerror=alert(2)> \u202egnp.exe ' + "long " * 2000


def pictures_in(html: str) -> list[Image.Image]:
    return [Image.open(io.BytesIO(base64.b64decode(data))) for data in re.findall(r"base64,([A-Za-z0-9+/=]+)", html)]


def test_shows_the_query_its_own_clip_and_the_top_five_in_order(view):
    query = view.asked(SYSTEM, "golf")[0][0]
    html = view.html(SYSTEM, query)
    hits = view.marked.filter((pl.col("system") == SYSTEM) & (pl.col("query_id") == query)).sort("rank").head(5)
    labels = re.findall(r'<span class="mark"><bdi>(.*?)</bdi>', html)
    assert labels[0] == "asked for"
    assert labels[1:] == [
        f"{rank} {retrievals.SIGNS[mark]} {mark}" for rank, mark in hits.select("rank", "mark").rows()
    ]
    shown = pictures_in(html)
    assert len(shown) == 6
    assert all(picture.n_frames == 4 for picture in shown)
    own = view.queries.row(by_predicate=pl.col("query_id") == query, named=True)["own"][0]
    row = view.clips["clip_id"].to_list().index(own)
    first = np.asarray(shown[0].convert("RGB"), dtype=int)
    assert np.abs(first - view.frames[row, 0].astype(int)).mean() < 6


def test_marks_are_what_the_tables_say(view):
    marks = view.marked.filter(pl.col("system") == SYSTEM)
    own = {(query, clip) for query, clips in view.queries.select("query_id", "own").rows() for clip in clips}
    skill = dict(view.clips.select("clip_id", "skill").rows())
    asked = dict(view.queries.select("query_id", "skill").rows())
    for query, clip, mark in marks.select("query_id", "clip_id", "mark").rows():
        assert (mark == cases.OWN) == ((query, clip) in own)
        if mark == cases.OTHER:
            assert skill[clip] != asked[query]
        else:
            assert skill[clip] == asked[query]
    assert set(marks["mark"]) >= {cases.OWN, cases.SAME_CUE, cases.SAME_SKILL}


def test_queries_come_worst_first_or_best_first(view):
    ranks = [rank for _, _, rank in view.asked(SYSTEM, "judo")]
    assert ranks == sorted(ranks, reverse=True)
    assert [rank for _, _, rank in view.asked(SYSTEM, "judo", failures_first=False)] == sorted(ranks)


class Tags(HTMLParser):
    def __init__(self, text: str):
        super().__init__()
        self.seen: list[tuple[str, dict]] = []
        self.text = ""
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.seen.append((tag, dict(attrs)))

    def handle_data(self, data):
        self.text += data


def test_hostile_text_is_shown_as_text(view):
    evil = replace(
        view,
        queries=view.queries.with_columns(text=pl.lit(HOSTILE)),
        said=dict.fromkeys(view.said, HOSTILE),
        clips=view.clips.with_columns(video_id=pl.lit(HOSTILE)),
    )
    query = evil.queries["query_id"][0]
    html = evil.page([(HOSTILE, SYSTEM, query)])
    tags = Tags(html)
    assert {tag for tag, _ in tags.seen} <= {
        "style", "p", "h3", "div", "figure", "img", "figcaption", "span", "br", "bdi", "q",
    }  # fmt: skip
    assert all(set(attributes) <= {"class", "src", "alt", "width"} for _, attributes in tags.seen)
    assert all(attributes["src"].startswith("data:image/webp") for tag, attributes in tags.seen if tag == "img")
    assert "<script>alert(1)</script>" in tags.text
    assert len(tags.text) < 12_000  # 10,000 characters of a title do not fill the page


def test_a_page_of_cases_is_small(view):
    picked = cases.pick(view.scores, SYSTEM, SYSTEM.replace("narrations", "activity_skill"))
    html = view.page(retrievals.chosen_cases(picked, SYSTEM))
    assert picked["kind"].to_list() == ["good", "good", "typical", "typical", "bad", "bad"]
    assert html.count('<div class="retrieval">') == 6
    assert len(html) < 1_500_000


def test_picks_are_good_typical_and_bad(view):
    picked = cases.pick(view.scores, SYSTEM, None, each=1)
    rank = dict(picked.select("kind", "own_rank").rows())
    all_ranks = cases.ranks(view.scores, SYSTEM)["own_rank"]
    assert rank["good"] <= 10
    assert rank["bad"] == all_ranks.max()
    assert abs(rank["typical"] - all_ranks.median()) <= 1
    assert picked["query_id"].n_unique() == 3


def test_frames_of_another_run_are_refused(view):
    with pytest.raises(ValueError, match=r"frames.npy has 3 clips, clips.parquet"):
        retrievals.view(
            view.clips, pl.DataFrame(), pl.DataFrame(), view.frames[:3], view.queries, view.marked, view.scores
        )


def test_the_default_system_is_within_sport_if_any_sport_is_evaluable(view):
    assert retrievals.default_system(view.scores) == SYSTEM
    null = view.scores.with_columns(
        value=pl.when(~pl.col("system").str.ends_with("within_sport")).then(pl.col("value"))
    )
    assert retrievals.default_system(null) == SYSTEM.replace("within_sport", "across_sports")


def test_animation_and_strip():
    clip = np.random.default_rng(0).integers(0, 255, (8, 32, 32, 3), dtype=np.uint8)
    moving = Image.open(io.BytesIO(pictures.animation(clip, frames_per_s=4)))
    assert (moving.n_frames, moving.size, moving.info["loop"]) == (8, (32, 32), 0)
    assert Image.open(io.BytesIO(pictures.strip(clip, moments=3))).size == (96, 32)
    assert 'alt="&quot;&gt;"' in pictures.image_tag(b"x", alt='">')
