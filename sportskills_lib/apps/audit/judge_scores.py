"""Precision and recall of a filter from a labelled sample, weighted back to the population, with
intervals.

An item stands for ``stratum_size / labelled items of its stratum`` items of the run. Precision and
recall are ratios of such weights; their intervals are those of ``statistics.proportions``.
Strata without a label are left out and named. Two judges on the same items are compared in pairs:
the weighted difference of the shares that they have right with its interval, and their
disagreements (McNemar's exact test, unweighted).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import polars as pl

from sportskills_lib import span_matching
from sportskills_lib.apps.audit import questions
from sportskills_lib.apps.audit.sheets import Sheet
from sportskills_lib.statistics import proportions

MIN_N = 10  # labelled items that a sport's figure needs below the line
WORST = 10


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

    def worst(self, count: int = WORST) -> pl.DataFrame:
        """The most confident mistakes: items whose label is not the verdict; those without a
        confidence come last.
        """
        wrong = self.labelled.filter(pl.col("label") != pl.col("verdict"))
        return wrong.sort("confidence", "item_id", descending=[True, False], nulls_last=True).head(
            count
        )


def score(
    sheet: Sheet, *, verdicts: pl.DataFrame | None = None, judge: str | None = None
) -> JudgeScores:
    """Score the judge that the sample was drawn from, or another by its ``verdicts`` (item_id,
    verdict, confidence).

    ValueError when nothing is labelled.
    """
    frame = sheet.frame
    labelled = frame.filter((pl.col("label") != "") & (pl.col("label") != questions.UNSURE))
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
    empty = sorted(set(frame["stratum"]) - set(labelled["stratum"]))
    rows = [("all", *row) for row in _measures(sheet.filter, weighted)]
    large = weighted.filter(pl.len().over("sport") >= MIN_N).sort("sport")
    for (sport,), part in large.group_by("sport", maintain_order=True):
        rows += [(str(sport), *row) for row in _measures(sheet.filter, part) if row[-1] >= MIN_N]
    schema = dict.fromkeys(("sport", "class", "measure"), pl.String) | dict.fromkeys(
        ("value", "low", "high"), pl.Float64
    )
    return JudgeScores(
        filter=sheet.filter,
        judge=judge or f"run {sheet.run}",
        labelled=weighted,
        scores=pl.DataFrame(rows, schema=schema | {"n": pl.Int64}, orient="row"),
        unlabelled=frame.filter(pl.col("label") == "").height,
        unsure=frame.filter(pl.col("label") == questions.UNSURE).height,
        empty_strata=empty,
    )


Measure = tuple[str, str, float | None, float | None, float | None, int]


def _measures(filter_: str, frame: pl.DataFrame) -> list[Measure]:
    """class, measure, value, low, high, n: precision and recall of each class."""
    rows = []
    for name, members in questions.positives(filter_).items():
        said = frame["verdict"].is_in(members).fill_null(False).to_numpy()
        true = frame["label"].is_in(members).to_numpy()
        rows.append((name, "precision", *_share(frame, said, true, recall=False)))
        rows.append((name, "recall", *_share(frame, said, true, recall=True)))
    return rows


def _share(
    frame: pl.DataFrame, said: np.ndarray, true: np.ndarray, *, recall: bool
) -> tuple[float | None, float | None, float | None, int]:
    """The weighted share of what is right, its interval, and how many items it is of."""
    among = true if recall else said
    if not among.any():
        return None, None, None, 0
    weight = frame["weight"].to_numpy()
    value = float(weight[said & true].sum() / weight[among].sum())
    return (
        value,
        *proportions.of_ratio(weight, _strata(frame), said, true, recall=recall),
        int(among.sum()),
    )


def _strata(frame: pl.DataFrame) -> np.ndarray:
    """A number for each item by its verdict in the draw; intervals take its sports together, too
    small each alone.
    """
    return frame["stratum_verdict"].rank("dense").to_numpy().astype(np.int64) - 1


# --------------------------------------------------------------------------------------- two judges


def verdicts_of(sheet: Sheet, run: str) -> pl.DataFrame:
    """The verdicts of another run's judge on the sample's items: item_id, verdict, confidence.

    The same id is the same item; a window that lies elsewhere is matched by its span (half of the
    union at least), and an item that the other run does not have counts as rejected.
    """
    items = sheet.question.items(run)
    if sheet.filter != "demonstration":
        items = items.filter(pl.col("item_id").is_in(sheet.frame["item_id"].to_list()))
    known = items.select("item_id", "verdict", "confidence").collect()
    found = sheet.frame.select("item_id", "video_id", "start_s", "end_s").join(
        known, on="item_id", how="left"
    )
    if sheet.filter == "demonstration":
        lost = found.filter(pl.col("verdict").is_null())
        near = span_matching.match_spans(lost, items.with_columns(clip_id="item_id").collect())
        by_span = near.select("video_id", "start_s", "end_s", other="clip_id").join(
            known.rename({"item_id": "other", "verdict": "near", "confidence": "near_confidence"}),
            on="other",
        )
        found = found.join(by_span, on=["video_id", "start_s", "end_s"], how="left").with_columns(
            verdict=pl.coalesce("verdict", "near"),
            confidence=pl.coalesce("confidence", "near_confidence"),
        )
    return found.select(
        "item_id", pl.col("verdict").fill_null(sheet.question.labels[-1]), "confidence"
    )


def compare(one: JudgeScores, other: JudgeScores) -> pl.DataFrame:
    """Two audits of one filter on the items that both have: a row for "all", then for each sport
    with enough items.

    Columns: sport, n; how many both have right, only_one, only_other, neither; difference (share
    that the first has right less the other's, weighted), low, high; p_value (McNemar). ValueError
    when they share no labelled item.
    """
    columns = ["item_id", "label", "verdict"]
    both = one.labelled.join(
        other.labelled.select(columns), on="item_id", suffix="_other", maintain_order="left"
    )
    if one.filter != other.filter or both.is_empty():
        raise ValueError(
            f"{one.judge} and {other.judge} have no labelled item in common: label the same sample"
        )
    clash = both.filter(pl.col("label") != pl.col("label_other"))
    if clash.height:
        raise ValueError(
            f"item {clash['item_id'][0]} is labelled {clash['label'][0]} and "
            f"{clash['label_other'][0]} "
            f"({clash.height} items differ): agree on one label first"
        )
    rows = [{"sport": "all", **_paired(both)}]
    large = both.filter(pl.len().over("sport") >= MIN_N).sort("sport")
    for (sport,), part in large.group_by("sport", maintain_order=True):
        rows.append({"sport": str(sport), **_paired(part)})
    return pl.DataFrame(rows)


def _paired(items: pl.DataFrame) -> dict[str, float | int]:
    first = (items["verdict"] == items["label"]).fill_null(False).to_numpy()
    second = (items["verdict_other"] == items["label"]).fill_null(False).to_numpy()
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
    n, few = only_one + only_other, min(only_one, only_other)
    return min(1.0, 2 * sum(math.comb(n, k) for k in range(few + 1)) / 2**n) if n else 1.0
