"""The dataset card that a run of 02 writes: what is in the data set, by whom it may be used, and
what is weak in it.

Two pure functions: :func:`make_card` counts tables into a plain dictionary (the card.json),
:func:`to_markdown` writes that as a page (the card.md). Titles are not shown; sports, licences,
languages and reasons come from strangers and are escaped, so that neither a table nor a page breaks
on them.
"""

from __future__ import annotations

import re
from typing import Any

import polars as pl

from sportskills_lib import tables

Card = dict[str, Any]
FEW_CLIPS = 50  # a sport with fewer test clips gives no figure worth a bar
UNKNOWN = "unknown"
MAX_CELL = 80


def make_card(
    videos: pl.DataFrame,
    narrations: pl.DataFrame,
    clips: pl.DataFrame,
    pairs: pl.DataFrame,
    dropped: pl.DataFrame,
    links: pl.DataFrame,
    *,
    name: str,
) -> Card:
    """Counts, hours, words, tables per sport and split, licences, languages, the funnel and what is
    weak.

    ``dropped`` holds the rows of 01 and of 02 together; ``links`` is duplicates.LINKS.
    """
    used = videos.join(clips, on="video_id", how="semi")
    said = narrations.join(pairs, on="narration_id", how="semi")
    length_s = (clips["end_s"] - clips["start_s"]).sum() if clips.height else 0.0
    card: Card = {
        "name": name,
        "counts": {
            "videos_read": videos.height,
            "videos_with_clips": used.height,
            "channels": clips["channel"].n_unique(),
            "sports": clips["sport"].n_unique(),
            "skills": clips.select("sport", "skill").n_unique() if clips.height else 0,
            "clips": clips.height,
            "pairs": pairs.height,
            "hours_of_clips": round(length_s / 3600, 3),
            "hours_of_source_video": round(float(used["duration_s"].sum()) / 3600, 3),
            "words": int(said["text"].str.count_matches(r"\S+").sum()),
            "different_sentences": said["text"].str.to_lowercase().n_unique(),
        },
        "splits": _by(clips, "split"),
        "demonstrations": _by(clips, "demonstration"),
        "sports": per_sport(clips).to_dicts(),
        "licences": _shares(used, clips, "licence"),
        "languages": _shares(used, clips, "language"),
        "judges": {
            "actionability": sorted(said["judge"].unique()),
            "demonstration": sorted(clips["verifier"].unique()),
            "transcription": _counts(said, "transcription"),
        },
        "funnel": _funnel(videos, narrations, clips, pairs),
        "dropped": dropped.group_by("item_kind", "reason").len("count").sort(
            "count", "item_kind", "reason", descending=[True, False, False]
        ).to_dicts(),
        "copies": _counts(links, "verdict"),
    }  # fmt: skip
    return card | {"weaknesses": weaknesses(card)}


def _counts(frame: pl.DataFrame, column: str) -> dict[str, int]:
    return dict(
        frame.group_by(pl.col(column).cast(pl.String).fill_null(UNKNOWN))
        .len("n")
        .sort("n", column, descending=[True, False])
        .iter_rows()
    )


def _by(clips: pl.DataFrame, column: str) -> list[dict[str, Any]]:
    return (
        clips.group_by(pl.col(column).cast(pl.String))
        .agg(
            clips=pl.len(),
            channels=pl.col("channel").n_unique(),
            videos=pl.col("video_id").n_unique(),
            sports=pl.col("sport").n_unique(),
            hours=((pl.col("end_s") - pl.col("start_s")).sum() / 3600).round(3),
        )
        .sort(column)
        .to_dicts()
    )


def per_sport(clips: pl.DataFrame) -> pl.DataFrame:
    """One row a sport: channels, videos, skills, clips by split and by what they show, minutes of
    clips.
    """
    split, shown = pl.col("split").cast(pl.String), pl.col("demonstration").cast(pl.String)
    return (
        clips.group_by("sport")
        .agg(
            skills=pl.col("skill").n_unique(),
            channels=pl.col("channel").n_unique(),
            videos=pl.col("video_id").n_unique(),
            clips=pl.len(),
            **{name: (split == name).sum() for name in tables.SPLITS},
            correct=(shown == "correct").sum(),
            incorrect=(shown == "incorrect").sum(),
            minutes=((pl.col("end_s") - pl.col("start_s")).sum() / 60).round(1),
        )
        .sort("sport")
    )


def _shares(used: pl.DataFrame, clips: pl.DataFrame, column: str) -> list[dict[str, Any]]:
    """Videos and clips by licence or language; those without one count as unknown."""
    named = used.select("video_id", pl.col(column).fill_null(UNKNOWN))
    return (
        clips.join(named, on="video_id")
        .group_by(column)
        .agg(videos=pl.col("video_id").n_unique(), clips=pl.len())
        .sort("clips", column, descending=[True, False])
        .to_dicts()
    )


def _funnel(
    videos: pl.DataFrame, narrations: pl.DataFrame, clips: pl.DataFrame, pairs: pl.DataFrame
) -> list[dict[str, Any]]:
    verdicts = narrations["actionable"]
    steps = [
        ("videos read", videos.height),
        ("sentences", narrations.height),
        ("sentences that teach", int(verdicts.sum())),
        ("sentences left undecided", int(verdicts.is_null().sum())),
        ("sentences with a clip", pairs["narration_id"].n_unique()),
        ("clips", clips.height),
    ]
    return [{"step": step, "count": count} for step, count in steps]


def weaknesses(card: Card) -> list[str]:
    """What a user should know before trusting the data, from the card's own counts; each is one
    sentence.
    """
    untested = [row["sport"] for row in card["sports"] if not row["train"] or not row["test"]]
    thin = [row["sport"] for row in card["sports"] if row["test"] and row["test"] < FEW_CLIPS]
    unlicensed, unnamed = (
        sum(row["clips"] for row in card[f"{kind}s"] if row[kind] == UNKNOWN)
        / max(1, sum(row["clips"] for row in card[f"{kind}s"]))
        for kind in ("licence", "language")
    )
    transcription = card["judges"]["transcription"]
    automatic = sum(n for kind, n in transcription.items() if kind != "manual")
    heard = automatic / max(1, sum(transcription.values()))
    judges = [*card["judges"]["actionability"], *card["judges"]["demonstration"]]
    shared = card["copies"].get("same_pictures", 0)
    told = [
        (
            unlicensed > 0,
            f"{unlicensed:.0%} of the clips are of videos whose licence is not known: assume that "
            "they may not be passed on.",
        ),
        (
            unnamed > 0,
            f"{unnamed:.0%} of the clips are of videos whose language is not stated.",
        ),
        (
            untested,
            f"{len(untested)} sports have too few channels for both a training and a test split: "
            f"{_join_names(untested)}.",
        ),
        (
            thin,
            f"{len(thin)} sports have fewer than {FEW_CLIPS} test clips: {_join_names(thin)}.",
        ),
        (
            automatic,
            f"{heard:.0%} of the sentences were transcribed by a machine and may contain wrong "
            "words.",
        ),
        (
            any(judge.startswith("rules") for judge in judges),
            f"The filters are automatic ({_join_names(judges)}): no person has seen most of these "
            "clips; the command sportskills audit sample draws a sample to measure the filters.",
        ),
        (
            shared,
            f"{shared} pairs of clips have the same pictures but different words; each pair is in "
            "one split.",
        ),
        (
            True,
            "Copies that were sped up, cropped or largely covered by graphics are not recognised.",
        ),
    ]
    return [sentence for holds, sentence in told if holds]


def _join_names(names: list[str]) -> str:
    return ", ".join(names[:12]) + (f" and {len(names) - 12} more" if len(names) > 12 else "")


# ----------------------------------------------------------------------------------------- markdown


def to_markdown(card: Card) -> str:
    """The card as a page of Markdown; every text that may come from strangers is escaped."""
    counts, judges = card["counts"], card["judges"]
    heard = ", ".join(
        f"{escape_cell(kind)} {count:,}" for kind, count in judges["transcription"].items()
    )
    parts = [
        f"# Dataset card: {escape_cell(card['name'])}",
        f"{counts['clips']:,} clips of {counts['sports']} sports ({counts['skills']} skills), "
        "each with what a coach "
        f"says over it: {counts['pairs']:,} pairs, {counts['hours_of_clips']:,.2f} hours of "
        "clips cut from "
        f"{counts['videos_with_clips']:,} videos ({counts['hours_of_source_video']:,.2f} "
        "hours) of "
        f"{counts['channels']:,} channels, {counts['words']:,} words in "
        f"{counts['different_sentences']:,} different "
        "sentences. Clips are spans of other people's videos: the licence of each video holds "
        "for its clips.",
        (
            "## Splits\n\nA channel is in one split, together with channels that share pictures "
            "with it.\n\n"
        )
        + _table(card["splits"]),
        "## What is shown\n\n" + _table(card["demonstrations"]),
        "## Sports\n\n" + _table(card["sports"]),
        "## Licences\n\n" + _table(card["licences"]),
        "## Languages\n\n" + _table(card["languages"]),
        "## How it was made\n\n"
        f"- Judge of what is actionable: {escape_cell(_join_names(judges['actionability']))}\n"
        f"- Judge of what is shown: {escape_cell(_join_names(judges['demonstration']))}\n"
        f"- Sentences by kind of transcription: {heard}",
        "### The funnel\n\n" + _table(card["funnel"]),
        "### What was dropped, and why\n\n" + _table(card["dropped"]),
        "### Copies\n\nPairs of clips that look alike, by the result of the comparison.\n\n"
        + _table(
            [{"verdict": verdict, "pairs": count} for verdict, count in card["copies"].items()]
        ),
        "## Known weaknesses\n\n"
        + "\n".join(f"- {escape_cell(text, limit=2000)}" for text in card["weaknesses"]),
    ]
    return "\n\n".join(parts) + "\n"


def _table(rows: list[dict[str, Any]]) -> str:
    if not rows:
        return "nothing"
    names = list(rows[0])
    numeric = [isinstance(rows[0][name], int | float) for name in names]
    lines = [
        "| " + " | ".join(name.replace("_", " ") for name in names) + " |",
        "|" + "|".join("--:" if number else "---" for number in numeric) + "|",
    ]
    return "\n".join(
        [
            *lines,
            *("| " + " | ".join(escape_cell(row[name]) for name in names) + " |" for row in rows),
        ]
    )


def escape_cell(value: Any, *, limit: int = MAX_CELL) -> str:
    """``value`` as text that is one line of a Markdown table and no markup: no tag, link, emphasis
    or bidi mark.
    """
    if isinstance(value, int | float):
        return f"{value:,}"
    text = "".join(letter if letter.isprintable() else " " for letter in str(value))
    text = " ".join(text.split())
    text = text if len(text) <= limit else text[: limit - 1] + "…"
    text = text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return re.sub(r"([\\`*_\[\]|#~!])", r"\\\1", text)
