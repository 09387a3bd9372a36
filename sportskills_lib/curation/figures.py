"""The figures and views of notebook 01."""

from __future__ import annotations

import polars as pl
from matplotlib.figure import Figure

from sportskills_lib.curation.stage import CurationTables
from sportskills_lib.plots.charts import Step, draw_funnel


def funnel(curated: CurationTables) -> Figure:
    """Videos found and usable, sentences and what the judge says of them, reasons of everything
    dropped.
    """
    lost = curated.dropped.filter(pl.col("item_kind") == "video").height
    short = curated.dropped.filter(pl.col("item_kind") == "narration").height
    said = curated.headline()
    steps: list[Step] = [
        ("videos found", curated.videos.height + lost, "videos"),
        ("videos usable", curated.videos.height, "videos"),
        ("sentences said", said["narrations"] + short, "sentences"),
        ("long enough", said["narrations"], "sentences"),
        ("actionable", said["actionable"], "sentences"),
        ("undecided", said["undecided"], "sentences"),
    ]
    open_ = curated.dropped.filter(pl.col("item_kind") == "verdict")[
        "item_id"
    ]  # counted among what was dropped
    left = ~pl.col("actionable").fill_null(False) & ~pl.col("narration_id").is_in(open_.implode())
    reason = pl.col("reason").str.split(":").list.first()
    reasons = curated.scan().filter(left).select(item_kind=pl.lit("narration"), reason=reason)
    return draw_funnel(
        steps, pl.concat([curated.dropped.lazy().select("item_kind", "reason"), reasons])
    )


def finding(curated: CurationTables) -> str:
    """What came out, in a sentence with its counts."""
    said = curated.headline()
    share = said["actionable"] / said["narrations"] if said["narrations"] else 0.0
    return (
        f"**{said['actionable']:,} of {said['narrations']:,} sentences ({share:.0%}) are judged "
        f"actionable**, in {said['videos']:,} videos; {said['undecided']:,} are undecided."
    )


def examples(
    narrations: pl.LazyFrame | pl.DataFrame, *, actionable: bool | None, count: int = 6
) -> pl.DataFrame:
    """A few sentences with this verdict, of as many reasons as possible (what stands before a
    reason's colon).

    Within a reason they are chosen by their ids' hash, so that a rerun shows the same ones. Of a
    scan no more than
    ``count`` sentences of each of the ``count`` most frequent reasons are held.
    """
    kind = pl.col("reason").fill_null("").str.split(":").list.first()
    order = pl.col("narration_id").hash(seed=0)
    chosen = narrations.lazy().filter(pl.col("actionable").eq_missing(actionable))
    chosen = chosen.select("text", "reason", "video_id", "start_s", kind=kind, order=order)
    kinds = (
        chosen.group_by("kind")
        .len()
        .top_k(count, by=["len", "kind"])
        .collect(engine="streaming")["kind"]
    )
    parts = [chosen.filter(kind=one).bottom_k(count, by="order") for one in kinds.sort()]
    shown = pl.concat(parts or [chosen]).collect(engine="streaming").sort("kind", "order")
    return (
        shown.with_columns(turn=pl.int_range(pl.len()).over("kind"))
        .sort("turn", "kind")
        .head(count)
        .drop("turn", "kind", "order")
    )


def per_sport(videos: pl.DataFrame, narrations: pl.LazyFrame | pl.DataFrame) -> pl.DataFrame:
    """Videos, channels, hours, sentences and actionable sentences of each sport."""
    said = (
        narrations.lazy()
        .group_by("video_id")
        .agg(sentences=pl.len(), actionable=pl.col("actionable").sum())
        .collect(engine="streaming")
    )
    return (
        videos.join(said, on="video_id", how="left")
        .group_by("sport")
        .agg(
            videos=pl.len(),
            channels=pl.col("channel").n_unique(),
            hours=(pl.col("duration_s").sum() / 3600).round(2),
            sentences=pl.col("sentences").sum(),
            actionable=pl.col("actionable").sum(),
        )
        .sort("sport")
    )
