"""The question about each filter, and every item that the filter decided in a run: the population
of a sample.

A filter's *items* are a lazy table: item_id, verdict, sport, confidence (0 … 1, null where the
judge gives none), text, and one or two spans of video to look at; a run may have millions. A new
filter is a new entry of ``QUESTIONS`` and a function that lists its items.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import polars as pl

from sportskills_lib.retrieval.supervision.labelling import clip_texts
from sportskills_lib.runs import artifacts

ITEMS: dict[str, type[pl.DataType]] = {
    "item_id": pl.String,
    "verdict": pl.String,
    "sport": pl.String,
    "confidence": pl.Float64,
    "text": pl.String,
    "video_id": pl.String,
    "start_s": pl.Float64,
    "end_s": pl.Float64,
    "other_video_id": pl.String,  # of a pair, the clip that it may be a copy of
    "other_start_s": pl.Float64,
    "other_end_s": pl.Float64,
}
UNSURE = "unsure"  # a label that scores leave out


@dataclass(frozen=True)
class Question:
    """The question to a person about each item of a filter, and the possible answers (the filter's
    verdicts).
    """

    filter: str
    ask: str
    labels: tuple[str, ...]
    items: Callable[[str], pl.LazyFrame]

    @property
    def keys(self) -> dict[str, str]:
        """One key for each label: its first letter."""
        return {label[0]: label for label in (*self.labels, UNSURE)}


def question(name: str) -> Question:
    """The question of that filter; ValueError lists the known filters."""
    if name not in QUESTIONS:
        raise ValueError(f"unknown --filter {name!r}: use one of {', '.join(QUESTIONS)}")
    return QUESTIONS[name]


def _sentences(run: str) -> pl.LazyFrame:
    """Every sentence of 01, kept (yes), rejected (no) or undecided."""
    curation = artifacts.open_stage(run, "01_curation")
    said, videos = (
        pl.scan_parquet(curation.path("narrations.parquet")),
        curation.table("videos").lazy(),
    )
    verdict = pl.when(pl.col("actionable")).then(pl.lit("yes")).otherwise(pl.lit("no"))
    return _items(
        said.join(videos.select("video_id", "sport"), on="video_id").select(
            pl.all(),
            item_id="narration_id",
            verdict=pl.when(pl.col("actionable").is_null())
            .then(pl.lit("undecided"))
            .otherwise(verdict),
        )
    )


def _windows(run: str) -> pl.LazyFrame:
    """Every window of 02 over words that teach: correct, incorrect or none."""
    judged = (
        artifacts.open_stage(run, "02_pairing")
        .table("judged")
        .lazy()
        .filter(pl.col("said") != "none")
    )
    videos = artifacts.open_stage(run, "01_curation").table("videos").lazy()
    score = pl.col("score")
    sure = pl.when(pl.col("demonstration") == "none").then(1 - score).otherwise(score)
    return _items(
        judged.join(videos.select("video_id", "sport"), on="video_id").select(
            pl.all(),
            item_id="clip_id",
            verdict=pl.col("demonstration").cast(pl.String),
            confidence=sure,
        )
    )


def _pairs(run: str) -> pl.LazyFrame:
    """Every two clips of 02 that were compared: copies (also under other words), or different."""
    pairing = artifacts.open_stage(run, "02_pairing")
    judged, videos = (
        pairing.table("judged").lazy(),
        artifacts.open_stage(run, "01_curation").table("videos").lazy(),
    )
    spans = judged.select("clip_id", "video_id", "start_s", "end_s", "text")
    other = spans.select(pl.all().name.prefix("other_"))
    links = (
        pairing.table("links")
        .lazy()
        .join(spans, on="clip_id")
        .join(other, left_on="other_id", right_on="other_clip_id")
    )
    alike = pl.col("verdict") != "different"
    return _items(
        links.join(videos.select("video_id", "sport"), on="video_id").select(
            pl.exclude("text", "verdict"),
            item_id=pl.concat_str("clip_id", "other_id", separator=" "),
            verdict=pl.when(alike).then(pl.lit("copy")).otherwise(pl.lit("different")),
            confidence=pl.when(alike).then("similarity").otherwise(1 - pl.col("similarity")),
            text=pl.concat_str("text", "other_text", separator=" / "),
        )
    )


def _helps(run: str) -> pl.LazyFrame:
    """Every row of 04's supervision: a comment and what a coach says; helps, other, or undecided
    (masked).

    The first span is the learner's, by its take (a lesson's clip, where that stands for a learner),
    the other the clip's. The confidence is how far the similarity's share of the learner's best
    lies on the verdict's side.
    """
    retrieval, pairing = (
        artifacts.open_stage(run, "04_retrieval"),
        artifacts.open_stage(run, "02_pairing"),
    )
    span = ["start_s", "end_s"]
    clips = pairing.table("clips").select("clip_id", "video_id", "sport", *span)
    narrations = artifacts.open_stage(run, "01_curation").table("narrations")
    texts = clip_texts(clips, pairing.table("pairs"), narrations)
    said = pl.DataFrame(
        {"clip_id": list(texts), "text": list(texts.values())}, schema=["clip_id", "text"]
    )
    learners = retrieval.table("learners").select(
        "learner_id", "sport", *span, "comment", video_id="take_id"
    )
    lessons = clips.join(said.rename({"text": "comment"}), on="clip_id").rename(
        {"clip_id": "learner_id"}
    )
    people = pl.concat([learners, lessons.select(learners.columns)])
    names = ("supervision", "lesson_supervision", "supervision_masked")
    rows = pl.concat([pl.scan_parquet(retrieval.path(f"{name}.parquet")) for name in names])
    other = (
        clips.join(said, on="clip_id")
        .drop("sport")
        .rename({name: f"other_{name}" for name in ("video_id", *span)})
    )
    share = pl.col("similarity") / pl.col("similarity").max().over("learner_id")
    label = pl.col("label")
    return _items(
        rows.with_columns(share=share.clip(0, 1).fill_nan(None))
        .join(people.lazy(), on="learner_id")
        .join(other.lazy(), on="clip_id")
        .select(
            pl.exclude("text"),
            item_id=pl.concat_str("learner_id", "clip_id", separator=" "),
            verdict=pl.when(label > 0).then(pl.lit("helps")).when(label == 0).then(pl.lit("other"))
            .otherwise(pl.lit("undecided")),
            confidence=pl.when(label > 0).then("share").when(label == 0).then(1 - pl.col("share")),
            text=pl.concat_str("comment", "text", separator=" / "),
        )
    )  # fmt: skip


def _items(frame: pl.LazyFrame) -> pl.LazyFrame:
    columns = frame.collect_schema().names()
    missing = [
        pl.lit(None, dtype=kind).alias(name) for name, kind in ITEMS.items() if name not in columns
    ]
    return frame.with_columns(missing).select(*ITEMS).cast(pl.Schema(ITEMS))


QUESTIONS = {
    "actionability": Question(
        "actionability",
        (
            "Does the sentence tell how to do something with body or equipment, or what goes wrong "
            "in doing it?"
        ),
        ("yes", "no"),
        _sentences,
    ),
    "demonstration": Question(
        "demonstration",
        (
            "Do the pictures show what the sentence is about, done right (correct), done wrong "
            "(incorrect), or not (none)?"
        ),
        ("correct", "incorrect", "none"),
        _windows,
    ),
    "duplicates": Question(
        "duplicates",
        (
            "Are both strips the same recording (mirrored, recoloured or cut elsewhere counts as "
            "the same)?"
        ),
        ("copy", "different"),
        _pairs,
    ),
    "supervision": Question(
        "supervision",
        "The first strip shows a learner, the first sentence is what an expert said of it. "
        "Would the second clip, with "
        "what its coach says, help this learner with that mistake (helps), or is it about "
        "something else (other)?",
        ("helps", "other"),
        _helps,
    ),
}


def positives(name: str) -> dict[str, tuple[str, ...]]:
    """The classes that are scored, each with the verdicts that count as it (*demonstration*:
    correct or incorrect).
    """
    labels = question(name).labels
    if name == "demonstration":
        return {"demonstration": ("correct", "incorrect")} | {label: (label,) for label in labels}
    return {labels[0]: labels[:1]}
