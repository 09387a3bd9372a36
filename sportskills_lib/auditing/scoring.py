"""Precision and recall of a filter from a labelled sample, weighted back to the population, with intervals.

An item stands for ``stratum_size / labelled items of its stratum`` items of the run. Precision and recall are ratios of
such weights. The Wilson interval takes the effective number of items: that of a plain sample with the variance of this
stratified one (by linearisation of the ratio), or, where all or none are right, Kish's (the square of the weights' sum
over the sum of their squares). So unequal weights widen it; where only a handful of
misses was drawn from a large stratum, recall's interval still covers less than it says (51 of 60 draws in a test, where
57 were due): draw more. Strata without a label are left out and named.
Two judges on the same items are compared by their disagreements (McNemar's exact test, unweighted).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import polars as pl

from sportskills_lib import spans
from sportskills_lib.auditing import questions
from sportskills_lib.auditing.sheets import Sheet

Z = 1.959964  # 95 %
MIN_N = 10  # labelled items that a sport's figure needs below the line
WORST = 10


@dataclass(frozen=True)
class Audit:
    """What a labelled sample says of a judge. ``scores``: sport ("all" first), class, measure, value, low, high, n."""

    filter: str
    judge: str
    labelled: pl.DataFrame
    scores: pl.DataFrame
    unlabelled: int
    unsure: int
    empty_strata: list[str]

    def worst(self, count: int = WORST) -> pl.DataFrame:
        """The most confident mistakes: items whose label is not the verdict; those without a confidence come last."""
        wrong = self.labelled.filter(pl.col("label") != pl.col("verdict"))
        return wrong.sort("confidence", "item_id", descending=[True, False], nulls_last=True).head(count)


def wilson(share: float, n: float, *, z: float = Z) -> tuple[float, float]:
    """Wilson's interval of a share of ``n`` trials (which may be an effective number): low, high."""
    middle, spread = share + z * z / (2 * n), z * math.sqrt(share * (1 - share) / n + z * z / (4 * n * n))
    return max(0.0, (middle - spread) / (1 + z * z / n)), min(1.0, (middle + spread) / (1 + z * z / n))


def score(sheet: Sheet, *, verdicts: pl.DataFrame | None = None, judge: str | None = None) -> Audit:
    """Score the judge that the sample was drawn from, or another by its ``verdicts`` (item_id, verdict, confidence).

    ValueError when nothing is labelled.
    """
    frame = sheet.frame
    labelled = frame.filter((pl.col("label") != "") & (pl.col("label") != questions.UNSURE))
    if labelled.is_empty():
        raise ValueError(f"no item of the sample of {sheet.filter} is labelled: fill the column `label`, then score")
    strata = ["stratum_verdict", "sport"]
    weighted = labelled.with_columns(stratum_verdict="verdict").with_columns(
        weight=pl.col("stratum_size") / pl.len().over(strata)
    )
    if verdicts is not None:
        weighted = weighted.drop("verdict", "confidence").join(
            verdicts, on="item_id", how="left", maintain_order="left"
        )
    drawn = set(frame.select("verdict", "sport").unique().rows())
    empty = sorted(f"{verdict}, {sport}" for verdict, sport in drawn - set(weighted.select(strata).unique().rows()))
    rows = [("all", *row) for row in _measures(sheet.filter, weighted)]
    for (sport,), part in weighted.sort("sport").group_by("sport", maintain_order=True):
        rows += [(str(sport), *row) for row in _measures(sheet.filter, part) if row[-1] >= MIN_N]
    schema = dict.fromkeys(("sport", "class", "measure"), pl.String) | dict.fromkeys(
        ("value", "low", "high"), pl.Float64
    )
    return Audit(
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
        said, true = pl.col("verdict").is_in(members).fill_null(False), pl.col("label").is_in(members)
        right = (pl.col("label") == pl.col("verdict")) if len(members) == 1 else (said & true)
        rows.append((name, "precision", *_share(frame, said, right)))
        rows.append((name, "recall", *_share(frame, true, right)))
    return rows


def _share(frame: pl.DataFrame, among: pl.Expr, right: pl.Expr) -> tuple[float | None, float | None, float | None, int]:
    """The weighted share of ``right`` ``among`` the items, its interval, and how many items that is of."""
    flags = frame.select(stratum=pl.struct("stratum_verdict", "sport"), size="stratum_size", weight="weight",
                         among=among, hit=among & right)  # fmt: skip
    inside = flags.filter("among")
    if inside.is_empty():
        return None, None, None, 0
    whole = float(inside["weight"].sum())
    value = min(1.0, float(inside.filter("hit")["weight"].sum()) / whole)
    effective = whole**2 / float((inside["weight"] ** 2).sum())
    residual = pl.col("hit").cast(pl.Float64) - pl.col("among").cast(pl.Float64) * value
    n, size = pl.len(), pl.col("size").first()
    part = size**2 * (1 - n / size).clip(lower_bound=0) * residual.var().fill_null(0.0) / n
    variance = float(flags.group_by("stratum").agg(part=part)["part"].sum()) / whole**2
    if 0 < value < 1 and variance > 0:
        effective = min(float(inside.height), value * (1 - value) / variance)
    return value, *wilson(value, effective), inside.height


# ----------------------------------------------------------------------------------------------------- two judges


def verdicts_of(sheet: Sheet, run: str) -> pl.DataFrame:
    """What the judge of another run says of the sample's items: item_id, verdict, confidence.

    The same id is the same item; a window that lies elsewhere is matched by its span (half of the union at least), and
    an item that the other run does not have counts as turned down.
    """
    items = sheet.question.items(run)
    known = items.select("item_id", "verdict", "confidence")
    found = sheet.frame.select("item_id", "video_id", "start_s", "end_s").join(known, on="item_id", how="left")
    if sheet.filter == "demonstration":
        lost = found.filter(pl.col("verdict").is_null())
        near = spans.match_spans(lost, items.with_columns(clip_id="item_id"))
        by_span = near.select("video_id", "start_s", "end_s", other="clip_id").join(
            known.rename({"item_id": "other", "verdict": "near", "confidence": "near_confidence"}), on="other"
        )
        found = found.join(by_span, on=["video_id", "start_s", "end_s"], how="left").with_columns(
            verdict=pl.coalesce("verdict", "near"), confidence=pl.coalesce("confidence", "near_confidence")
        )
    return found.select("item_id", pl.col("verdict").fill_null(sheet.question.labels[-1]), "confidence")


@dataclass(frozen=True)
class Comparison:
    """Two judges on the same labelled items: how many both have right, only one, none; McNemar's exact p."""

    one: str
    other: str
    both: int
    only_one: int
    only_other: int
    neither: int

    @property
    def p_value(self) -> float:
        """Two-sided exact probability of so uneven disagreements, if neither judge were better; 1 without any."""
        n, few = self.only_one + self.only_other, min(self.only_one, self.only_other)
        return min(1.0, 2 * sum(math.comb(n, k) for k in range(few + 1)) / 2**n) if n else 1.0


def compare(one: Audit, other: Audit) -> Comparison:
    """The paired table of two audits of the same filter; ValueError when they share no labelled item."""
    columns = ["item_id", "label", "verdict"]
    both = one.labelled.select(columns).join(other.labelled.select(columns), on="item_id", suffix="_other")
    if one.filter != other.filter or both.is_empty():
        raise ValueError(f"{one.judge} and {other.judge} have no labelled item in common: label the same sample")
    clash = both.filter(pl.col("label") != pl.col("label_other"))
    if clash.height:
        raise ValueError(
            f"item {clash['item_id'][0]} is labelled {clash['label'][0]} and {clash['label_other'][0]} "
            f"({clash.height} such): agree on one label first"
        )
    first, second = both["verdict"] == both["label"], both["verdict_other"] == both["label"]
    return Comparison(
        one.judge,
        other.judge,
        both=int((first & second).sum()),
        only_one=int((first & ~second).sum()),
        only_other=int((~first & second).sum()),
        neither=int((~first & ~second).sum()),
    )
