"""Checks of a run for leaks between splits, shown in every report: a comparison that leaks is worth
nothing.

Each check reads tables only and says what it looked at; a failed one names the first offender.
Nothing is repaired here: the remedy is in the stage that made the table.
"""

from __future__ import annotations

import polars as pl

from sportskills_lib.evaluation import recall

Check = tuple[str, int, str]  # what was checked, how many offend, the first of them


def checks(
    videos: pl.DataFrame,
    clips: pl.DataFrame,
    pairs: pl.DataFrame,
    narrations: pl.DataFrame,
    queries: pl.DataFrame,
    learners: pl.DataFrame,
    rankings: pl.DataFrame,
) -> pl.DataFrame:
    """check, offenders, first, passed: one row for each check."""
    hashed = clips.join(videos.select("video_id", "sha256"), on="video_id", how="left")
    rows = [
        _straddling("no video stands in two splits", clips, "video_id"),
        _straddling("no channel stands in two splits", clips, "channel"),
        _straddling("no video file (by sha256) stands in two splits", hashed, "sha256"),
        _straddling("no participant stands in two splits", learners, "participant"),
        _straddling("no take stands in two splits", learners, "take_id"),
        _seen_texts(clips, pairs, narrations, queries),
        _foreign_candidates(clips, learners, rankings),
    ]
    return pl.DataFrame(
        rows, schema={"check": pl.String, "offenders": pl.Int64, "first": pl.String}, orient="row"
    ).with_columns(passed=pl.col("offenders") == 0)


def _straddling(name: str, frame: pl.DataFrame, group: str) -> Check:
    wrong = (
        frame.group_by(group)
        .agg(pl.col("split").cast(pl.String).n_unique())
        .filter(pl.col("split") > 1)
        .sort(group)
    )
    return name, wrong.height, str(wrong[group][0]) if wrong.height else ""


def _seen_texts(
    clips: pl.DataFrame, pairs: pl.DataFrame, narrations: pl.DataFrame, queries: pl.DataFrame
) -> Check:
    seen = (
        clips.filter(pl.col("split").cast(pl.String) == "train")
        .select("clip_id")
        .join(pairs, on="clip_id")
        .join(narrations, on="narration_id")
        .select(wording=recall.normalised(pl.col("text")))
        .unique()
    )
    wrong = (
        queries.with_columns(wording=recall.normalised(pl.col("text")))
        .join(seen, on="wording")
        .sort("query_id")
    )
    first = wrong["query_id"][0] if wrong.height else ""
    return "no test query has the wording of a training narration", wrong.height, first


def _foreign_candidates(
    clips: pl.DataFrame, learners: pl.DataFrame, rankings: pl.DataFrame
) -> Check:
    """A test learner's candidates must be test clips, else a model may have been trained on
    them.
    """
    test = learners.filter(pl.col("split").cast(pl.String) == "test").select(query_id="learner_id")
    split = clips.select("clip_id", clip_split=pl.col("split").cast(pl.String))
    wrong = (
        rankings.select("query_id", "clip_id")
        .unique()
        .join(test, on="query_id")
        .join(split, on="clip_id", how="left")
        .filter(pl.col("clip_split").fill_null("unknown") != "test")
        .sort("query_id", "clip_id")
    )
    first = f"{wrong['query_id'][0]} ← {wrong['clip_id'][0]}" if wrong.height else ""
    return "test learners are offered test clips only", wrong.height, first
