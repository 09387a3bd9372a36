"""What a page shows beside its figures: tables as text, warnings, notes and provenance."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import polars as pl

from sportskills_lib import metrics
from sportskills_lib.evaluation import feedback, recall, summary
from sportskills_lib.evaluation.recall_arrays import MULTI
from sportskills_lib.plots import style
from sportskills_lib.runs import artifacts
from sportskills_lib.runs import provenance as provenance_module

FEW_QUERIES, FEW_VIDEOS = 50, 8  # below these, a sport's own interval says little; ours
UNBALANCED = 3.0  # largest over smallest sport from which a page warns; ours
LONGEST = 300  # letters of a cell
NOTHING = 1e-6  # what sums of equal numbers in another order may differ by


@dataclass(frozen=True)
class TextTable:
    """A table as text: columns are (name, whether it holds text), rows are cells."""

    columns: list[tuple[str, bool]]
    rows: list[list[str]]


def text_table(frame: pl.DataFrame) -> TextTable:
    """Numbers with three decimals (ranks with one, p with four), yes and no, a dash for nothing."""
    columns = [(name.replace("_", " "), kind == pl.String) for name, kind in frame.schema.items()]
    digits = [
        0 if _whole(frame[name]) else 1 if "rank" in name else 4 if name in ("p", "p_holm") else 3
        for name in frame.columns
    ]
    return TextTable(
        columns, [[_cell(*pair) for pair in zip(row, digits, strict=True)] for row in frame.rows()]
    )


def _whole(column: pl.Series) -> bool:
    """Whether these are counts that an average made into floats."""
    return (
        column.dtype.is_float()
        and column.len() > column.null_count()
        and bool((column == column.round()).all())
    )


def _cell(value: Any, digits: int) -> str:
    if value is None:
        return "–"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):  # what is below the last digit keeps its first: −0.0003 is no 0
        small = 0 < abs(value) < 0.5 * 10**-digits
        return (
            f"{value:.1g}" if small and abs(value) > NOTHING else f"{value:.{digits}f}"
        ).replace("-", "−")
    return style.plain(
        str(value), limit=LONGEST
    )  # a page must stay a page; the table's file holds all of it


def moved_shown(moves: pl.DataFrame, most: int) -> TextTable:
    """The first ``most`` of what moved at all, ranks named as ranks."""
    if "way" in moves.columns:
        moves = moves.filter(pl.col("way") != "same").head(most)
    return text_table(moves.rename({"before": "rank before", "after": "rank after"}, strict=False))


def fixed_ratios(table: pl.DataFrame) -> pl.DataFrame:
    """The ratios in galleries of one size, or in whole ones where no sport is large enough."""
    fixed = table.filter(pl.col("gallery") == "fixed") if table.width else table
    return fixed if fixed.height else table


def between_encoders(table: pl.DataFrame) -> pl.DataFrame:
    """The rows that compare encoders, of narrations and skill labels."""
    if table.is_empty():
        return table
    shown = (pl.col("comparison") == "encoders") & pl.col("training").is_in(
        ["narrations", "activity_skill"]
    )
    return table.filter(shown).drop("comparison")


def over_sports(ranks: pl.DataFrame) -> pl.DataFrame:
    """The rows over all queries, without those of single sports."""
    return ranks.filter(pl.col("sport") == summary.MEAN).drop("sport") if ranks.width else ranks


FEEDBACK_SHOWN = (feedback.NDCG, feedback.RECALL, feedback.MRR, "grade@1")


def few_metrics(frame: pl.DataFrame) -> pl.DataFrame:
    """The metrics of feedback retrieval that a page shows; the files hold every one."""
    if "metric" not in frame.columns:
        return frame
    return frame.filter(pl.col("metric").is_in(FEEDBACK_SHOWN))


def manifests_of(run: str) -> dict[str, dict[str, Any]]:
    """The manifests of 01 to 05, by stage."""
    return {stage: artifacts.open_stage(run, stage).manifest for stage in artifacts.STAGES}


def settings(config: Mapping[str, Any]) -> TextTable:
    """Every setting of the stage, as a table."""
    return TextTable(
        [("setting", True), ("value", True)], [[name, str(value)] for name, value in config.items()]
    )


def warnings(
    found: Mapping[str, pl.DataFrame], manifests: Mapping[str, dict], config: dict
) -> list[str]:
    """What a reader must know before quoting a number."""
    lines = []
    if provenance_module.is_generated(str(manifests["01_curation"]["config"].get("source", ""))):
        lines.append(
            "The lessons are the generated demo world: these are demo figures, never results "
            "about sport."
        )
    raters = found["raters"]
    if raters.height and raters["simulated"].any():
        lines.append(
            "Every grade of feedback retrieval is by simulated raters; no coach has graded "
            "anything here."
        )
    lines += _small(found["per_sport_recall"], found["galleries"], config)
    lines += unbalanced(found["galleries"])
    leaks = found["leaks"]
    if leaks.is_empty():
        lines.append("No leak check was made in this run.")
    for row in leaks.filter(~pl.col("passed")).iter_rows(named=True) if leaks.height else ():
        lines.append(
            f"Leak check failed: {row['check']} ({row['offenders']} offend, first {row['first']})."
        )
    seeds = found["seeds"]
    if seeds.height and seeds["seeds"].max() == 1:
        lines.append(
            "One training seed: intervals cover the choice of queries and videos, not of the seed."
        )
    if any(manifest.get("dirty") for manifest in manifests.values()):
        lines.append("Some stages ran with uncommitted changes in the code.")
    return lines


def unbalanced(sizes: pl.DataFrame) -> list[str]:
    """A line where the largest sport has UNBALANCED times as many test clips as the smallest, or
    more.
    """
    if sizes.height < 2:
        return []
    ordered = sizes.sort("gallery", "sport", descending=[True, False])
    most, least = ordered.row(0, named=True), ordered.row(-1, named=True)
    if most["gallery"] < UNBALANCED * max(least["gallery"], 1):
        return []
    share = most["gallery"] / ordered["gallery"].sum()
    return [
        f"Unbalanced sports: {most['sport']} has {most['gallery']} test clips ({share:.0%} of "
        f"all), {least['sport']} "
        f"has {least['gallery']}. Macro means weigh every sport alike; means across sports "
        "weigh every query alike."
    ]


def _small(per_sport: pl.DataFrame, sizes: pl.DataFrame, config: dict) -> list[str]:
    lines = []
    asked = per_sport.filter(
        (pl.col("direction") == "text_to_video") & (pl.col("metric") == recall.SINGLE)
    )
    missing = {
        scope: set(asked.filter((pl.col("scope") == scope) & pl.col("value").is_null())["sport"])
        for scope in (recall.WITHIN, recall.FIXED)
    }
    out = sorted(missing[recall.WITHIN])
    if out:
        lines.append(
            f"Not evaluable at {metrics.HEADLINE_K} (fewer than {config.get('min_gallery')} test "
            "clips), in no figure and no mean: " + ", ".join(out) + "."
        )
    if small := sorted(missing[recall.FIXED] - missing[recall.WITHIN]):
        lines.append(
            f"Fewer than {config.get('gallery_size')} test clips, so only in the figures of "
            "whole galleries, not in "
            "those of one size: " + ", ".join(small) + "."
        )
    thin = sizes.filter(
        ~pl.col("sport").is_in(out)
        & ((pl.col("queries") < FEW_QUERIES) | (pl.col("videos") < FEW_VIDEOS))
    )
    if thin.height:
        names = [
            f"{sport} ({n} queries, {v} videos)"
            for sport, n, v in thin.select("sport", "queries", "videos").rows()
        ]
        lines.append("Small samples; a sport's own interval is rough: " + ", ".join(names) + ".")
    return lines


def dropped_counts(dropped: Mapping[str, pl.DataFrame]) -> pl.DataFrame:
    """stage, what, reason, count, example: most frequent first within a stage; files are named
    below the workspace.
    """
    parts = [pl.DataFrame(schema=_DROPPED)]
    for stage, frame in dropped.items():
        if frame.height:
            counted = frame.group_by("item_kind", "reason").agg(
                count=pl.len().cast(pl.Int64), example=pl.col("detail").first()
            )
            counted = counted.sort("count", "item_kind", "reason", descending=[True, False, False])
            parts.append(
                counted.select(
                    stage=pl.lit(stage),
                    what="item_kind",
                    reason="reason",
                    count="count",
                    example="example",
                )
            )
    below = pl.col("example").str.replace_all(f"{artifacts.workspace()}/", "", literal=True)
    return pl.concat(parts).with_columns(below.str.slice(0, 160))


_DROPPED = {
    "stage": pl.String,
    "what": pl.String,
    "reason": pl.String,
    "count": pl.Int64,
    "example": pl.String,
}


def provenance(manifests: Mapping[str, dict], now: dict[str, Any]) -> pl.DataFrame:
    """stage, finished, commit, seed, seconds, memory and versions, and the same of the code that
    writes the report.
    """
    rows = [
        (
            name,
            str(manifest.get("finished", "")),
            _commit(manifest),
            "–" if manifest.get("seed") is None else str(manifest["seed"]),
            str(manifest.get("seconds")),
            str(manifest.get("peak_memory_mb")),
            _versions(manifest),
        )
        for name, manifest in manifests.items()
    ]
    rows.append(("the report itself", "", _commit(now), "", "", "", _versions(now)))
    names = ["stage", "finished", "commit", "seed", "seconds", "peak_MB", "versions"]
    return pl.DataFrame(rows, schema=dict.fromkeys(names, pl.String), orient="row")


def _commit(manifest: Mapping[str, Any]) -> str:
    commit = manifest.get("commit")
    return "–" if not commit else commit[:10] + (" + changes" if manifest.get("dirty") else "")


def _versions(manifest: Mapping[str, Any]) -> str:
    packages = {
        name: version for name, version in (manifest.get("packages") or {}).items() if version
    }
    parts = [
        f"python {manifest.get('python')}",
        *(f"{name} {version}" for name, version in packages.items()),
    ]
    return ", ".join([*parts, str(manifest.get("device", ""))])


def mark_note(per_sport: pl.DataFrame) -> str:
    """What the marks over clips rest on."""
    known = per_sport["metric"].is_in([MULTI]).any()
    if known:
        return (
            "The mark “same cue and execution” comes from the demo's truth, which no stage "
            "has seen."
        )
    return (
        "Without the demo's truth only a query's own clip is known to be right; others may "
        "be right too."
    )


def film_note(films: pl.DataFrame) -> str:
    """How to look at the films, and how many are missing."""
    if films.is_empty():
        return ""
    missing = films.filter(pl.col("file") == "").height
    lost = (
        f" {missing} of {films.height} have no film, since their source could not be read."
        if missing
        else ""
    )
    return (
        "Stills move by themselves; a click plays the film, which lies in previews/ beside "
        f"this page.{lost}"
    )


def rater_note(raters: pl.DataFrame) -> str:
    """Who graded, and how much; empty when nobody did."""
    if raters.is_empty():
        return ""
    who = "Simulated raters" if raters["simulated"].any() else "Raters"
    return (
        f"{who}: {raters.height}, {int(raters['n'].sum())} grades from 0 (does not help) to 3 "
        "(shows exactly the fix). "
        "The gain of a clip is its mean grade; helpful means 2 or more. Intervals resample "
        "participants."
    )


def no_feedback(manifests: Mapping[str, dict], config: dict) -> str:
    """Why the report has no feedback retrieval."""
    learners = manifests["04_retrieval"]["config"].get("learners", "")
    if not learners:
        return (
            "This run has no learners: 04 was given no learners' folder, so no feedback is "
            "retrieved."
        )
    if not config.get("ratings"):
        return "This run has learners but no ratings file, so that rankings cannot be judged."
    return (
        "No grade of the ratings file fits a test learner and a kept clip, so that rankings "
        "cannot be judged."
    )
