"""What difference the test set could have shown between two training texts, per sport and overall,
and how many videos a claim would need: as a table over scores of 05, and in words.

Both follow from the clustered variance of the paired difference. Each video pulls on a sport's mean
difference by (its sum − mean × its queries) / queries. The squared standard error is the sum of
squared pulls over what makes it too small (:func:`bootstrap.shrinkage`, (C − 1) / C for C even
videos), and difference / standard error is tested as t with C − 1 degrees of freedom. Power is then
a tail of the noncentral t: a difference is *detectable* where 80 of 100 such test sets would give
an interval without 0. Over S sports, variances are added (and divided by S²), degrees of freedom
too. What a claim needs assumes videos like these, with as many queries each; it is a plan for the
next collection, never a verdict on this one. Where 80 are promised, simulation finds 70 to 84
(``benchmarks/intervals.py``): fewer for a dozen videos of uneven length, since the next dozen may
hold fewer clips.

The measured difference enters no column but its own: power "at the measured difference" only
restates p (Hoenig and Heisey, The Abuse of Power, 2001).
"""

from __future__ import annotations

import bisect
import math
from dataclasses import dataclass

import numpy as np
import polars as pl
from scipy.special import nctdtr, stdtrit

from sportskills_lib import metrics
from sportskills_lib.evaluation import comparisons, summary
from sportskills_lib.statistics import bootstrap

POWER, ALPHA = 0.8, 0.05  # the usual ones; ours to choose
MOST = 1_000_000  # videos: a claim that needs more is not worth a number
CLAIM = 0.05  # a difference that one would like to claim of a single sport; ours
COLUMNS = {
    "sport": pl.String,
    "encoder": pl.String,
    "difference": pl.Float64,
    "se": pl.Float64,
    "n": pl.Int64,
    "videos": pl.Int64,
    "independent": pl.Int64,
    "detectable": pl.Float64,
    "detectable_holm": pl.Float64,
    "videos_needed": pl.Int64,
    "videos_needed_holm": pl.Int64,
}


# ---------------------------------------------------------------------------------------- the table


def table(
    scores: pl.DataFrame, *, training: str = "narrations", baseline: str = "activity_skill"
) -> pl.DataFrame:
    """What the headline difference could have shown, in each sport and of the macro mean (sport
    ``mean``).

    difference and se (its clustered standard error), n, videos, independent (queries that would say
    as much if none shared a video; more than n where a video's clips differ more than others do),
    detectable (with 80 % power at 5 %), detectable_holm (the same for the smallest p of all sports
    under Holm's correction, at 5 % / sports), videos_needed and videos_needed_holm: videos with
    which :data:`CLAIM` would be found; of the mean, in all sports together.
    """
    rows = []
    for encoder, gaps in comparisons.paired_gaps(scores, training=training, baseline=baseline):
        gaps = gaps.rename({"sport": "stratum"})
        sports = sorted(gaps["stratum"].unique())
        parts = [
            (sport, gaps.filter(pl.col("stratum") == sport), ALPHA / len(sports))
            for sport in sports
        ]
        for sport, part, strict in (*parts, (summary.MEAN, gaps, ALPHA)):
            found = spread(part)
            se = found.se if math.isfinite(found.se) else None
            worth = None if math.isnan(found.independent) else round(found.independent)
            size = (found.queries, int(found.clusters_S.sum()), worth)
            least = (found.detectable(), found.detectable(alpha=strict))
            needed = (found.needed(CLAIM), found.needed(CLAIM, alpha=strict))
            rows.append((sport, encoder, found.value, se, *size, *least, *needed))
    return pl.DataFrame(rows, schema=COLUMNS, orient="row")


def in_words(reach: pl.DataFrame) -> str:
    """The table in a sentence or three for each encoder; what one sport shows is the median over
    sports.
    """
    said = []
    for encoder in (
        summary.ordered(reach["encoder"].unique(), summary.ENCODERS) if reach.height else ()
    ):
        own = reach.filter(pl.col("encoder") == encoder)
        sports, mean = own.filter(pl.col("sport") != summary.MEAN), own.row(-1, named=True)
        if mean["detectable"] is None:
            said.append(
                f"{encoder} encoder: too few videos, or no variation between them: the smallest "
                "detectable difference is unknown."
            )
            continue
        middle = sports.select(pl.col(pl.Float64, pl.Int64).median()).row(0, named=True)
        alike = "clips of one video are no more alike than clips of different videos"
        if mean["independent"] < mean["n"]:
            alike = (
                f"the {mean['n']} queries are as informative as {mean['independent']} from "
                "different videos"
            )
        text = (
            f"{encoder} encoder: with {mean['videos']} videos in {sports.height} sports, a "
            f"mean difference of {mean['detectable']:.3f} is detected in four of five cases; "
            f"{alike}. "
        )
        if middle["detectable"] is not None:
            text += (
                f"For a single sport ({middle['videos']:.0f} videos) the smallest detectable "
                f"difference is {middle['detectable']:.2f}, and {middle['detectable_holm']:.2f} "
                f"after Holm's correction for {sports.height} sports."
            )
        if middle["videos_needed"] is not None:
            text += (
                f" To detect {CLAIM:.2f} in a single sport takes about "
                f"{middle['videos_needed']:.0f} of its videos."
            )
        said.append(text)
    return (
        "\n".join(said)
        or f"No sport is evaluable at {metrics.HEADLINE_K}: no detectable difference is stated."
    )


# -------------------------------------------------------------------------- of one sport or several


@dataclass(frozen=True)
class Spread:
    """A mean paired difference of some strata: value, squared standard error by stratum, and what
    it rests on.
    """

    value: float
    variances_S: np.ndarray  # of each stratum's mean
    clusters_S: np.ndarray
    queries: int
    independent: float  # how many independent queries would give the same standard error

    @property
    def se(self) -> float:
        """Standard error of the mean over strata."""
        return math.sqrt(self.variances_S.sum()) / len(self.variances_S)

    def detectable(self, *, alpha: float = ALPHA) -> float | None:
        """The smallest difference found with power; None where nothing varies or a stratum has one
        video.
        """
        degrees = int((self.clusters_S - 1).sum())
        if degrees < 1 or not 0 < self.se < math.inf:
            return None
        return self.se * _distance(degrees, alpha)

    def needed(self, claim: float, *, alpha: float = ALPHA) -> int | None:
        """Videos, of all strata together and as many in each, with which a difference of ``claim``
        would be found; None beyond :data:`MOST` in each.
        """
        strata = len(self.clusters_S)
        # the standard error with one video in each
        spread = math.sqrt(float((self.variances_S * self.clusters_S).sum())) / strata
        if not 0 < spread < math.inf:
            return None

        def power(videos: int) -> float:
            return chance_to_find(claim * math.sqrt(videos) / spread, strata * (videos - 1), alpha)

        videos = bisect.bisect_left(range(MOST + 1), POWER, lo=2, key=power)
        return None if videos > MOST else videos * strata


def chance_to_find(distance: float, degrees: int, alpha: float) -> float:
    """Power of a two-sided t-test of a difference that lies ``distance`` standard errors from 0."""
    end = stdtrit(degrees, 1 - alpha / 2)
    return float(1 - nctdtr(degrees, distance, end) + nctdtr(degrees, distance, -end))


def _distance(degrees: int, alpha: float) -> float:
    """How many standard errors a difference must measure to be found with power."""
    low, high = 0.0, 4.0
    while chance_to_find(high, degrees, alpha) < POWER:
        high *= 2
    for _ in range(60):
        middle = (low + high) / 2
        found = chance_to_find(middle, degrees, alpha) >= POWER
        low, high = (low, middle) if found else (middle, high)
    return high


def spread(differences: pl.DataFrame) -> Spread:
    """Of rows stratum, cluster, difference, one for each query; every stratum counts once."""
    gap, stratum = pl.col("difference"), "stratum"
    rows = differences.with_columns(mean=gap.mean().over(stratum), all=pl.len().over(stratum))
    clustered = (
        rows.group_by(stratum, "cluster", maintain_order=True)
        .agg(pull=((gap - pl.col("mean")) / pl.col("all")).sum(), count=pl.len())
        .group_by(stratum, maintain_order=True)
        .agg(squares=(pl.col("pull") ** 2).sum(), clusters=pl.len(), counts="count")
    )
    strata = (
        rows.group_by(stratum, maintain_order=True)
        .agg(pl.col("mean").first(), plain=gap.var() / pl.len())
        .join(clustered, on=stratum)
        .sort(stratum)
    )
    clusters = strata["clusters"].to_numpy()
    shrunk = np.array([bootstrap.shrinkage(np.array(counts, float)) for counts in strata["counts"]])
    variances = np.divide(
        strata["squares"].to_numpy(), shrunk, out=np.full(len(shrunk), np.inf), where=clusters > 1
    )
    variances[variances < bootstrap.NOTHING] = 0.0
    plain, total = float(strata["plain"].fill_null(0.0).sum()), float(variances.sum())
    worth = rows.height * plain / total if 0 < total < math.inf else math.nan
    return Spread(float(strata["mean"].mean()), variances, clusters, rows.height, worth)  # type: ignore[arg-type]
