"""Standard errors against the bootstrap, power against simulation, and what is said where nothing
can be said.
"""

from __future__ import annotations

import math

import numpy as np
import polars as pl
import pytest

from sportskills_lib.evaluation import comparisons, detectable_differences, summary
from sportskills_lib.statistics import bootstrap


def gap_rows(values: np.ndarray, sports: np.ndarray, videos: np.ndarray) -> pl.DataFrame:
    return pl.DataFrame(
        {"stratum": sports.astype(str), "cluster": videos.astype(str), "difference": values}
    )


def drawn(
    rng: np.random.Generator, videos: int, *, effect: float = 0.0, sports: int = 1
) -> tuple[np.ndarray, ...]:
    """Differences with an effect of videos; clips a video uneven."""
    sizes = rng.integers(3, 14, sports * videos)
    video = np.repeat(np.arange(sports * videos), sizes)
    values = effect + rng.normal(0, 0.2, sports * videos)[video] + rng.normal(0, 0.4, len(video))
    return values, video // videos, video


def test_the_standard_error_is_the_clustered_one():
    values, sport, video = drawn(np.random.default_rng(0), 40, sports=3)
    found = detectable_differences.spread(gap_rows(values, sport, video))
    scores = [
        pl.DataFrame(
            {
                "system": name,
                "query_id": np.arange(len(values)).astype(str),
                "metric": "m",
                "seed": 0,
                "value": row,
                "chance": 0.1,
                "sport": sport.astype(str),
                "cluster": video.astype(str),
            }
        )
        for name, row in (("one", values), ("two", values * 0))
    ]
    sampled = bootstrap.resample(pl.concat(scores), draws=4000, seed=0)
    means = sampled.drawn_SAD[:, 0].mean(axis=0)
    assert found.value == pytest.approx(sampled.difference("one", "two").value)
    assert found.se == pytest.approx(means.std() / math.sqrt(sampled.shrinkage_S.mean()), rel=0.04)
    alone = detectable_differences.spread(gap_rows(values, sport, np.arange(len(values))))
    assert alone.independent == pytest.approx(
        len(values), rel=0.02
    )  # without clusters, every query counts
    assert found.independent < 0.7 * len(values)


@pytest.mark.parametrize(
    ("degrees", "alpha", "far"), [(11, 0.05, 3.078), (1000, 0.05, 2.804), (11, 0.05 / 24, 5.008)]
)
def test_distances_are_those_of_the_noncentral_t(degrees, alpha, far):
    """z(0.975) + z(0.8) = 2.802 is the limit for many degrees of freedom."""
    got = detectable_differences._distance(degrees, alpha)
    assert got == pytest.approx(far, abs=2e-3)
    draws = np.random.default_rng(0).normal(got, 1, 100_000)
    draws /= np.sqrt(np.random.default_rng(1).chisquare(degrees, 100_000) / degrees)
    from scipy.stats import t

    assert (np.abs(draws) > t.ppf(1 - alpha / 2, degrees)).mean() == pytest.approx(0.8, abs=0.006)


def test_the_detectable_difference_is_found_four_times_in_five():
    """The detectable difference of one large collection holds for test sets of 12 videos drawn like
    it.
    """
    rng = np.random.default_rng(3)
    values, sport, video = drawn(rng, 6000)
    many = detectable_differences.spread(gap_rows(values, sport, video))
    effect = many.se * math.sqrt(6000 / 12) * detectable_differences._distance(11, 0.05)
    found = 0
    for _ in range(400):
        values, sport, video = drawn(rng, 12, effect=effect)
        found += bootstrap.randomisation_p(values, video.astype(str)) <= 0.05
    assert found / 400 == pytest.approx(0.8, abs=0.06)
    assert many.needed(effect) == pytest.approx(12, abs=1)


def test_what_a_claim_needs_is_what_would_detect_it():
    values, sport, video = drawn(np.random.default_rng(5), 12, sports=4)
    found = detectable_differences.spread(gap_rows(values, sport, video))
    needed = found.needed(0.05)
    assert needed % 4 == 0
    ratio = found.se * math.sqrt(12) / math.sqrt(needed / 4)
    assert detectable_differences.chance_to_find(0.05 / ratio, needed - 4, 0.05) >= 0.8
    fewer = found.se * math.sqrt(12) / math.sqrt(needed / 4 - 1)
    assert detectable_differences.chance_to_find(0.05 / fewer, needed - 8, 0.05) < 0.8
    assert found.needed(0.05, alpha=0.01) > needed > found.needed(0.1)
    assert found.needed(1e-6) is None


def score_rows(sports: tuple[str, ...], videos: int, *, noise: float = 0.3) -> pl.DataFrame:
    rng = np.random.default_rng(1)
    rows = [
        {
            "system": f"image/{arm}/text_to_video/within_sport",
            "query_id": f"{sport}{q}",
            "metric": "recall@10_single",
            "seed": 0,
            "value": level + noise * rng.normal(),
            "chance": 0.1,
            "sport": sport,
            "cluster": f"{sport}v{q % videos}",
        }
        for arm, level in (("narrations", 0.6), ("activity_skill", 0.4))
        for sport in sports
        for q in range(48)
    ]
    return pl.DataFrame(rows)


def test_the_table_has_every_sport_and_the_mean_and_is_said_in_words():
    reach = detectable_differences.table(score_rows(("golf", "judo", "luge"), 12))
    assert reach["sport"].to_list() == ["golf", "judo", "luge", summary.MEAN]
    assert reach["videos"].to_list() == [12, 12, 12, 36]
    golf, mean = reach.row(0, named=True), reach.row(-1, named=True)
    assert golf["detectable"] < golf["detectable_holm"]
    assert mean["detectable"] == mean["detectable_holm"] < golf["detectable"]
    said = detectable_differences.in_words(reach)
    assert "36 videos in 3 sports" in said and f"{mean['detectable']:.3f}" in said


def test_one_video_or_nothing_that_varies_says_so():
    one = detectable_differences.table(score_rows(("golf",), 1))
    assert one["detectable"].to_list() == [None, None] and one["videos_needed"].to_list() == [
        None,
        None,
    ]
    assert "the smallest detectable difference is unknown" in detectable_differences.in_words(one)
    even = detectable_differences.table(score_rows(("golf", "judo"), 6, noise=0.0))
    assert even["detectable"].null_count() == 3
    assert detectable_differences.in_words(
        detectable_differences.table(score_rows(("golf",), 3).clear())
    ).startswith("No sport is evaluable")


def test_differences_by_sport_carry_p_and_the_corrected_p():
    table = comparisons.differences_by_sport(
        score_rows(("golf", "judo", "luge"), 12), draws=50, seed=0
    )
    assert table["p_holm"].to_list() == bootstrap.holm(table["p"].to_list())
    assert (table["p_holm"] >= table["p"]).all()
    assert comparisons.differences_by_sport(score_rows(("golf",), 1), draws=50, seed=0)[
        "p_holm"
    ].to_list() == [None]


def test_two_videos_that_agree_but_for_rounding_promise_nothing():
    """Their variance is the rounding of equal numbers; a number of videos from it would have 34
    digits.
    """
    values = np.array([0.1, 0.2, 0.3, 0.3, 0.2, 0.1]) / 3
    found = detectable_differences.spread(gap_rows(values, np.zeros(6), np.repeat([0, 1], 3)))
    assert (
        found.se == 0
        and math.isnan(found.independent)
        and found.detectable() is None
        and found.needed(0.05) is None
    )
