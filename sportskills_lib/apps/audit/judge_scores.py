"""Precision and recall of a filter from a labelled sample, weighted back to the population, with
intervals.

An item stands for ``stratum_size / labelled items of its stratum`` items of the run. Precision and
recall are ratios of such weights; their intervals are those of ``statistics.proportions``.
Strata without a label are left out and named. Two judges on the same items are compared in pairs:
the weighted difference of the shares that they have right with its interval, and their
disagreements (McNemar's exact test, unweighted).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import polars as pl

from sportskills_lib import span_matching
from sportskills_lib.apps.audit.gold_sample import SPAN, UNSURE, Sheet
from sportskills_lib.statistics import proportions

# how the tables of a page are read
READING = (
    "<p>low to high: 95 % interval; n: items. Of two judges: the difference of the shares right, "
    "first minus second, and p of McNemar's exact test.</p>"
)
MIN_N = 10  # labelled items that a sport's figure needs below the line
WORST = 10
SCORES = {
    "sport": pl.String, "class": pl.String, "measure": pl.String,
    "value": pl.Float64, "low": pl.Float64, "high": pl.Float64, "n": pl.Int64,
}  # fmt: skip


@dataclass(frozen=True)
class JudgeScores:
    """A judge scored on a labelled sample. ``scores``: sport ("all" first), class, measure, value,
    low, high, n.
    """

    filter: str
    judge: str
    labelled: pl.DataFrame
    scores: pl.DataFrame
    unlabelled: int
    unsure: int
    empty_strata: list[str]

    def worst(self) -> pl.DataFrame:
        """The ``WORST`` most confident mistakes: items whose label is not the verdict; those
        without a confidence come last.
        """
        return (
            self.labelled.filter(pl.col("label") != pl.col("verdict"))
            .sort("confidence", "item_id", descending=[True, False], nulls_last=True)
            .head(WORST)
        )


def score(
    sheet: Sheet, *, verdicts: pl.DataFrame | None = None, judge: str | None = None
) -> JudgeScores:
    """Score the judge that the sample was drawn from, or another by its ``verdicts`` (item_id,
    verdict, confidence).

    ValueError when nothing is labelled.
    """
    labelled, labels = sheet.answers, sheet.frame["label"]
    if labelled.is_empty():
        raise ValueError(
            f"the sample of {sheet.filter} has no labelled item: fill the column `label` first"
        )
    weighted = labelled.with_columns(
        stratum_verdict="verdict", weight=pl.col("stratum_size") / pl.len().over("stratum")
    )
    if verdicts is not None:
        weighted = weighted.drop("verdict", "confidence").join(
            verdicts, on="item_id", how="left", maintain_order="left"
        )
    rows = [
        (sport, name, measure, *_share(part, members, recall=measure == "recall"))
        for sport, part in _parts(weighted)
        for name, members in sheet.question.classes.items()
        for measure in ("precision", "recall")
    ]
    scores = pl.DataFrame(rows, schema=SCORES, orient="row")
    return JudgeScores(
        filter=sheet.filter,
        judge=judge or f"run {sheet.run}",
        labelled=weighted,
        scores=scores.filter((pl.col("sport") == "all") | (pl.col("n") >= MIN_N)),
        unlabelled=int((labels == "").sum()),
        unsure=int((labels == UNSURE).sum()),
        empty_strata=sorted(set(sheet.frame["stratum"]) - set(labelled["stratum"])),
    )


def _parts(items: pl.DataFrame) -> Iterator[tuple[str, pl.DataFrame]]:
    """All items, then those of each sport that has enough of them."""
    yield "all", items
    large = items.filter(pl.len().over("sport") >= MIN_N).sort("sport")
    for (sport,), part in large.group_by("sport", maintain_order=True):
        yield str(sport), part


def _share(
    items: pl.DataFrame, members: tuple[str, ...], *, recall: bool
) -> tuple[float | None, float | None, float | None, int]:
    """The weighted share of what is right about a class, its interval, and how many items it is
    of.
    """
    said, true = (
        items[column].is_in(members).fill_null(False).to_numpy() for column in ("verdict", "label")
    )
    among = true if recall else said
    if not among.any():
        return None, None, None, 0
    weight = items["weight"].to_numpy()
    value = float(weight[said & true].sum() / weight[among].sum())
    interval = proportions.of_ratio(weight, _strata(items), said, true, recall=recall)
    return value, *interval, int(among.sum())


def _strata(items: pl.DataFrame) -> np.ndarray:
    """A number for each item by its verdict in the draw; intervals take its sports together, too
    small each alone.
    """
    return items["stratum_verdict"].rank("dense").to_numpy().astype(np.int64) - 1


# --------------------------------------------------------------------------------------- two judges


def verdicts_of(sheet: Sheet, run: str) -> pl.DataFrame:
    """The verdicts of another run's judge on the sample's items: item_id, verdict, confidence.

    The same id is the same item; a window that lies elsewhere is matched by its span (half of the
    union at least), and an item that the other run does not have counts as rejected.
    """
    items = sheet.question.items(run).select("item_id", *SPAN, "verdict", "confidence")
    wanted = sheet.frame.select("item_id", *SPAN, other=pl.col("item_id"))
    if sheet.filter == "demonstration":
        windows = items.collect()
        moved = wanted.join(windows, on="item_id", how="anti")
        near = span_matching.match_spans(moved, windows.rename({"item_id": "clip_id"}))
        wanted = wanted.join(near, on=SPAN, how="left", maintain_order="left").with_columns(
            other=pl.coalesce("clip_id", "other")
        )
    known = items.filter(pl.col("item_id").is_in(wanted["other"].to_list())).collect().drop(SPAN)
    rejected = pl.col("verdict").fill_null(sheet.question.labels[-1])
    return wanted.join(
        known.rename({"item_id": "other"}), on="other", how="left", maintain_order="left"
    ).select("item_id", rejected, "confidence")


def compare(one: JudgeScores, other: JudgeScores) -> pl.DataFrame:
    """Two audits of one filter on the items that both have: a row for "all", then for each sport
    with enough items; no row where they share no item.

    Columns: sport, n; how many both have right, only_one, only_other, neither; difference (share
    that the first has right less the other's, weighted), low, high; p_value (McNemar). ValueError
    where their labels of an item differ.
    """
    theirs = other.labelled.select("item_id", "label", "verdict")
    both = one.labelled.join(theirs, on="item_id", suffix="_other", maintain_order="left")
    if one.filter != other.filter or both.is_empty():
        return pl.DataFrame()
    clash = both.filter(pl.col("label") != pl.col("label_other"))
    if clash.height:
        raise ValueError(
            f"item {clash['item_id'][0]} is labelled {clash['label'][0]} and "
            f"{clash['label_other'][0]} "
            f"({clash.height} items differ): agree on one label first"
        )
    return pl.DataFrame([{"sport": sport, **_paired(part)} for sport, part in _parts(both)])


def _paired(items: pl.DataFrame) -> dict[str, float | int]:
    first, second = (
        (items[column] == items["label"]).fill_null(False).to_numpy()
        for column in ("verdict", "verdict_other")
    )
    weight = items["weight"].to_numpy()
    low, high = proportions.of_difference(weight, _strata(items), first, second)
    only_one, only_other = int((first & ~second).sum()), int((~first & second).sum())
    return {
        "n": items.height,
        "both": int((first & second).sum()),
        "only_one": only_one,
        "only_other": only_other,
        "neither": int((~first & ~second).sum()),
        "difference": float((weight * (first.astype(float) - second)).sum() / weight.sum()),
        "low": low,
        "high": high,
        "p_value": mcnemar(only_one, only_other),
    }


def mcnemar(only_one: int, only_other: int) -> float:
    """McNemar's exact two-sided p value of the disagreements; 1 without any."""
    from scipy import stats

    n = only_one + only_other
    return float(stats.binomtest(only_one, n).pvalue) if n else 1.0
