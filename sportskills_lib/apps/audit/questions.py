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
SPAN = ["video_id", "start_s", "end_s"]
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

    @property
    def classes(self) -> dict[str, tuple[str, ...]]:
        """The classes that are scored, each with the labels that count as it: the first of two
        labels; of more each, and before them all but the last (*demonstration*).
        """
        if len(self.labels) == 2:
            return {self.labels[0]: self.labels[:1]}
        return {self.filter: self.labels[:-1]} | {label: (label,) for label in self.labels}


def question(name: str) -> Question:
    """The question of that filter; ValueError lists the known filters."""
    if name not in QUESTIONS:
        raise ValueError(f"unknown --filter {name!r}: use one of {', '.join(QUESTIONS)}")
    return QUESTIONS[name]


def _sentences(run: str) -> pl.LazyFrame:
    """Every sentence of 01, kept (yes), rejected (no) or undecided."""
    kept = pl.col("actionable")
    return _items(
        run,
        _scan(run, "01_curation", "narrations"),
        item_id=pl.col("narration_id"),
        verdict=pl.when(kept.is_null()).then(pl.lit("undecided"))
        .when(kept).then(pl.lit("yes")).otherwise(pl.lit("no")),
    )  # fmt: skip


def _windows(run: str) -> pl.LazyFrame:
    """Every window of 02 over words that teach: correct, incorrect or none."""
    shown, score = pl.col("demonstration").cast(pl.String), pl.col("score")
    return _items(
        run,
        _scan(run, "02_pairing", "judged").filter(pl.col("said") != "none"),
        item_id=pl.col("clip_id"),
        verdict=shown,
        confidence=pl.when(shown == "none").then(1 - score).otherwise(score),
    )


def _pairs(run: str) -> pl.LazyFrame:
    """Every two clips of 02 that were compared: copies (also under other words), or different."""
    judged = _scan(run, "02_pairing", "judged")
    spans = judged.select("clip_id", *SPAN, "text")
    other = spans.select(pl.all().name.prefix("other_"))
    links = _scan(run, "02_pairing", "links").join(spans, on="clip_id")
    alike, similarity = pl.col("verdict") != "different", pl.col("similarity")
    return _items(
        run,
        links.join(other, left_on="other_id", right_on="other_clip_id"),
        item_id=pl.concat_str("clip_id", "other_id", separator=" "),
        verdict=pl.when(alike).then(pl.lit("copy")).otherwise(pl.lit("different")),
        confidence=pl.when(alike).then(similarity).otherwise(1 - similarity),
        text=pl.concat_str("text", "other_text", separator=" / "),
    )


def _helps(run: str) -> pl.LazyFrame:
    """Every row of 04's supervision: a comment and what a coach says; helps, other, or undecided
    (masked).

    The first span is the learner's, by its take (a lesson's clip, where that stands for a learner),
    the other the clip's. The confidence is how far the similarity's share of the learner's best
    lies on the verdict's side.
    """
    clips, pairs = (_scan(run, "02_pairing", name).collect() for name in ("clips", "pairs"))
    texts = clip_texts(clips, pairs, _scan(run, "01_curation", "narrations").collect())
    said = pl.col("clip_id").replace_strict(texts, return_dtype=pl.String)
    coaches = clips.lazy().select("clip_id", "sport", *SPAN, text=said)
    lessons = coaches.rename({"clip_id": "learner_id", "text": "comment"})
    learners = _scan(run, "04_retrieval", "learners").with_columns(video_id="take_id")
    people = pl.concat([learners.select(lessons.collect_schema().names()), lessons])
    other = coaches.drop("sport").rename({name: f"other_{name}" for name in SPAN})
    names = ("supervision", "lesson_supervision", "supervision_masked")
    rows = pl.concat([_scan(run, "04_retrieval", name) for name in names])
    share = pl.col("similarity") / pl.col("similarity").max().over("learner_id")
    share, label = share.clip(0, 1).fill_nan(None), pl.col("label")
    return _items(
        run,
        rows.with_columns(share=share).join(people, on="learner_id").join(other, on="clip_id"),
        item_id=pl.concat_str("learner_id", "clip_id", separator=" "),
        verdict=pl.when(label > 0).then(pl.lit("helps")).when(label == 0).then(pl.lit("other"))
        .otherwise(pl.lit("undecided")),
        confidence=pl.when(label > 0).then("share").when(label == 0).then(1 - pl.col("share")),
        text=pl.concat_str("comment", "text", separator=" / "),
    )  # fmt: skip


def _scan(run: str, stage: str, name: str) -> pl.LazyFrame:
    """A table of a complete stage, its hash checked, not read yet."""
    return pl.scan_parquet(artifacts.open_stage(run, stage).path(f"{name}.parquet"))


def _items(run: str, frame: pl.LazyFrame, **columns: pl.Expr) -> pl.LazyFrame:
    """``ITEMS`` of the rows with these columns, the sport that of the video unless given; what is
    not there is null.
    """
    frame = frame.with_columns(**columns)
    if "sport" not in frame.collect_schema():
        videos = _scan(run, "01_curation", "videos").select("video_id", "sport")
        frame = frame.join(videos, on="video_id")
    there = frame.collect_schema()
    missing = {name: pl.lit(None) for name in ITEMS if name not in there}
    return frame.with_columns(**missing).select(*ITEMS).cast(pl.Schema(ITEMS))


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
