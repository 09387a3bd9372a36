"""What difference the test set could have shown between two training texts, per sport and overall.

The arithmetic of power is in :mod:`sportskills_lib.statistics.power`; this is its table over scores
of 05 and the same in words.
"""

from __future__ import annotations

import math

import polars as pl

from sportskills_lib import metrics
from sportskills_lib.evaluation import comparisons, summary
from sportskills_lib.statistics.power import ALPHA, spread

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
                f"{encoder} encoder: too few videos, or nothing that varies, so nothing can be "
                "said of power."
            )
            continue
        middle = sports.select(pl.col(pl.Float64, pl.Int64).median()).row(0, named=True)
        alike = "clips of one video resemble each other no more than others do"
        if mean["independent"] < mean["n"]:
            alike = (
                f"the {mean['n']} queries say as much as {mean['independent']} that share no video"
            )
        text = (
            f"{encoder} encoder: with {mean['videos']} videos in {sports.height} sports, a "
            "mean difference of "
            f"{mean['detectable']:.3f} would be found 4 times in 5; {alike}. "
        )
        if middle["detectable"] is not None:
            text += (
                f"In a single sport ({middle['videos']:.0f} videos) it takes "
                f"{middle['detectable']:.2f}, and "
                f"{middle['detectable_holm']:.2f} where the smallest p of {sports.height} "
                "sports must hold."
            )
        if middle["videos_needed"] is not None:
            text += (
                f" To claim {CLAIM:.2f} of a single sport would take about "
                f"{middle['videos_needed']:.0f} of its videos."
            )
        said.append(text)
    return (
        "\n".join(said)
        or f"No sport is evaluable at {metrics.HEADLINE_K}, so nothing can be said of power."
    )
