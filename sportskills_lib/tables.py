"""The tables that stages share, and the rules within and between them.

Each table is one dataframely schema: ``Clips.validate(frame, cast=True)`` raises an error that
names the broken rule,
``Clips.filter(frame)`` returns the good rows and the failed ones. Rules that need two tables are
the ``check_*`` functions below; they name the row, the value and the remedy. Times are seconds from
the start of the video.
"""

from __future__ import annotations

from collections.abc import Iterable

import dataframely as dy
import polars as pl

ID_PATTERN = (
    r"^[A-Za-z0-9_-][A-Za-z0-9_.:-]*$"  # no slash, no leading dot: an id is safe as a file name
)
SPLITS = ("train", "val", "test")
DEMONSTRATIONS = ("correct", "incorrect", "none")
DroppedRow = tuple[str, str, str, str]  # item_kind, item_id, reason, detail: a row of Dropped


def _id(**options) -> dy.String:
    return dy.String(nullable=False, regex=ID_PATTERN, **options)


class _Span(dy.Schema):
    start_s = dy.Float64(nullable=False, min=0)
    end_s = dy.Float64(nullable=False)

    @dy.rule()
    def span_has_length(cls) -> pl.Expr:
        return pl.col("end_s") > pl.col("start_s")


class Videos(dy.Schema):
    """One source video."""

    video_id = _id(primary_key=True)
    path = dy.String(nullable=False)  # relative to the source folder
    title = dy.String(nullable=True)
    channel = dy.String(nullable=False)  # channel id; videos without one are a channel of their own
    sport = dy.String(nullable=True)
    skill = dy.String(nullable=True)
    search_term = dy.String(nullable=True)
    language = dy.String(nullable=True)
    licence = dy.String(nullable=True)
    upload_date = dy.String(nullable=True)  # YYYYMMDD; of two copies the earlier one is kept
    duration_s = dy.Float64(nullable=False, min_exclusive=0)
    fps = dy.Float64(nullable=False, min_exclusive=0)
    width_px = dy.Int64(nullable=False, min=1)
    height_px = dy.Int64(nullable=False, min=1)
    sha256 = dy.String(nullable=False)


class Narrations(_Span):
    """One sentence said in a video."""

    narration_id = _id(primary_key=True)
    video_id = _id()
    text = dy.String(nullable=False, min_length=1)
    transcription = dy.Enum(["manual", "automatic", "recognised"], nullable=False)
    actionable = dy.Bool(nullable=True)  # null: undecided
    judge = dy.String(nullable=False)
    reason = dy.String(nullable=False)


class Clips(_Span):
    """One span of a video, with what it shows."""

    clip_id = _id(primary_key=True)
    video_id = _id()
    channel = dy.String(nullable=False)
    sport = dy.String(nullable=False)
    skill = dy.String(nullable=False)
    demonstration = dy.Enum(DEMONSTRATIONS, nullable=False)
    verifier = dy.String(nullable=False)
    score = dy.Float64(nullable=True)
    split = dy.Enum(SPLITS, nullable=False)


class Pairs(dy.Schema):
    """A clip and the narration that tells how the skill is done: the (v, t) of the paper."""

    clip_id = _id(primary_key=True)
    narration_id = _id(primary_key=True)


class Learners(_Span):
    """One clip of somebody trying a skill. ``comment`` builds supervision; it is never a model's
    input.
    """

    learner_id = _id(primary_key=True)
    take_id = dy.String(nullable=False)
    participant = dy.String(nullable=False)
    path = dy.String(nullable=False)  # relative to the learners' folder
    sport = dy.String(nullable=False)
    skill = dy.String(nullable=True)
    comment = dy.String(nullable=False)
    is_mistake = dy.Bool(nullable=False)
    split = dy.Enum(SPLITS, nullable=False)


class Judgements(dy.Schema):
    """A coach's grade of how well a clip helps a learner (qrels). 0: does not help … 3: shows
    exactly the fix.
    """

    learner_id = _id(primary_key=True)
    clip_id = _id(primary_key=True)
    rater = dy.String(nullable=False, primary_key=True)
    grade = dy.Int64(nullable=False, min=0, max=3)
    simulated = dy.Bool(nullable=False)


class Embeddings(dy.Schema):
    """A vector of fixed width; the model id names weights, frames and reader."""

    model_id = dy.String(nullable=False, primary_key=True)
    item_kind = dy.Enum(["clip", "narration", "learner"], nullable=False, primary_key=True)
    item_id = dy.String(nullable=False, primary_key=True)
    vector = dy.List(dy.Float32(nullable=False), nullable=False)


class Rankings(dy.Schema):
    """A TREC run ("system" here: a run is a folder): rank from 1, score never rising, ties broken
    by clip_id.
    """

    system = dy.String(nullable=False, primary_key=True)
    query_id = dy.String(nullable=False, primary_key=True)
    rank = dy.Int64(nullable=False, min=1, primary_key=True)
    clip_id = _id()
    score = dy.Float64(nullable=False)


class Scores(dy.Schema):
    """One number per query, with its sport and cluster (source video), so that every mean can be
    bootstrapped.
    """

    system = dy.String(nullable=False, primary_key=True)
    query_id = dy.String(nullable=False, primary_key=True)
    metric = dy.String(nullable=False, primary_key=True)
    seed = dy.Int64(nullable=False, primary_key=True)
    value = dy.Float64(nullable=True)  # null: the metric is not defined for this query
    chance = dy.Float64(nullable=True)
    sport = dy.String(nullable=False)
    cluster = dy.String(nullable=False)


class Dropped(dy.Schema):
    """One thing that a stage did not keep, and why: nothing vanishes."""

    item_kind = dy.String(nullable=False)  # file, video, cue, narration, verdict, clip, take …
    item_id = dy.String(nullable=False)
    reason = dy.String(nullable=False)  # a short name, counted in the manifest
    detail = dy.String(nullable=False)


def span_id(owner: str, start_s: float, end_s: float) -> str:
    """``v17:012400-015900``: the owner's id and the span in milliseconds, so that reruns agree."""
    return f"{owner}:{round(start_s * 1000):06d}-{round(end_s * 1000):06d}"


def dropped_rows(rows: Iterable[DroppedRow]) -> dy.DataFrame[Dropped]:
    """Rows of (item_kind, item_id, reason, detail) as a table."""
    return Dropped.validate(
        pl.DataFrame(list(rows), schema=list(Dropped.column_names()), orient="row"), cast=True
    )


def check_keys(
    frame: pl.DataFrame, key: str, parent: pl.DataFrame, *, child_name: str, parent_name: str
) -> None:
    """Every ``key`` of ``frame`` stands in ``parent``; else ValueError with the first that does
    not.
    """
    orphans = frame.filter(~pl.col(key).is_in(parent[key].implode()))
    if orphans.height:
        raise ValueError(
            f"{child_name}: {orphans.height} rows name a {key} that {parent_name} does not "
            "have, first "
            f"{orphans[key][0]!r}: rerun the stage that makes {child_name}"
        )


def check_spans(
    spans: pl.DataFrame, videos: pl.DataFrame, *, key: str, slack_s: float = 0.05
) -> None:
    """Every span ends inside its video (within ``slack_s``, the rounding of containers)."""
    late = spans.join(videos.select("video_id", "duration_s"), on="video_id").filter(
        pl.col("end_s") > pl.col("duration_s") + slack_s
    )
    if late.height:
        row = late.row(0, named=True)
        raise ValueError(
            f"{key} {row[key]} ends at {row['end_s']:.2f} s; its video lasts "
            f"{row['duration_s']:.2f} s: "
            "rerun 01_curation and 02_pairing"
        )


def check_no_straddling(frame: pl.DataFrame, group: str, *, split: str = "split") -> None:
    """No ``group`` (video, channel, participant) stands in two splits: that would be leakage."""
    straddling = (
        frame.group_by(group)
        .agg(pl.col(split).cast(pl.String).unique())
        .filter(pl.col(split).list.len() > 1)
    )
    if straddling.height:
        row = straddling.sort(group).row(0, named=True)
        raise ValueError(
            f"{group} {row[group]!r} is in the splits {', '.join(sorted(row[split]))} "
            f"({straddling.height} such): a split must hold whole {group}s; rerun the stage "
            "that assigns splits"
        )


def check_rankings(rankings: pl.DataFrame) -> None:
    """Ranks run 1, 2, 3 …, scores never rise and equal scores stand in order of clip_id."""
    ordered = rankings.sort("system", "query_id", "rank")
    within = ["system", "query_id"]
    wrong = ordered.with_columns(
        gap=pl.col("rank") - pl.col("rank").shift(1, fill_value=0).over(within),
        rise=pl.col("score") - pl.col("score").shift(1).over(within),
        before=pl.col("clip_id").shift(1).over(within),
    ).filter(
        (pl.col("gap") != 1)
        | (pl.col("rise") > 0)
        | ((pl.col("rise") == 0) & (pl.col("before") >= pl.col("clip_id")))
    )
    if wrong.height:
        row = wrong.row(0, named=True)
        raise ValueError(
            f"rankings of {row['system']}, query {row['query_id']}: rank {row['rank']} "
            f"({row['clip_id']}) breaks the "
            "order (ranks from 1 without gaps, scores never rising, ties by clip_id)"
        )
