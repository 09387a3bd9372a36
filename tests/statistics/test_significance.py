"""The bootstrap against a plain loop, its coverage by simulation, and its refusal to compare what
is not paired.
"""

from __future__ import annotations

import itertools
import time

import numpy as np
import polars as pl
import pytest

from sportskills_lib import tables
from sportskills_lib.statistics import bootstrap as bootstrap_module


def score_rows(
    values: dict[str, np.ndarray], clusters: np.ndarray, sports: np.ndarray, *, seed: int = 0
) -> pl.DataFrame:
    """Rows of Scores: ``values`` by system, one entry a query."""
    parts = [
        pl.DataFrame(
            {
                "system": [system] * len(row),
                "query_id": [f"q{index:05d}" for index in range(len(row))],
                "metric": ["m"] * len(row),
                "seed": [0] * len(row),
                "value": row.astype(float),
                "chance": [0.1] * len(row),
                "sport": sports.astype(str),
                "cluster": clusters.astype(str),
            }
        )
        for system, row in values.items()
    ]
    return tables.Scores.validate(pl.concat(parts), cast=True)


@pytest.fixture
def small():
    rng = np.random.default_rng(0)
    clusters = np.array(["a", "a", "b", "b", "b", "c", "d", "d", "e", "e"])
    sports = np.array(["golf"] * 6 + ["judo"] * 4)
    return (
        score_rows({"one": rng.random(10), "two": rng.random(10)}, clusters, sports),
        clusters,
        sports,
    )


def test_equals_a_plain_loop_over_draws(small):
    """Same weights, drawn the same way, applied query by query: means, differences and ratios
    agree, in every draw.
    """
    scores, clusters, sports = small
    got = bootstrap_module.resample(scores, draws=50, seed=3)
    value = {
        system: scores.filter(pl.col("system") == system)["value"].to_numpy()
        for system in ("one", "two")
    }
    means = {}
    for system in ("one", "two"):
        by_sport = []
        for sport in ("golf", "judo"):
            names = sorted(set(clusters[sports == sport]))
            weights = bootstrap_module._weights(len(names), draws=50, seed=3, name=sport)
            drawn = []
            for row in weights:
                sample = []
                for name, times in zip(names, row, strict=True):
                    sample += list(value[system][(sports == sport) & (clusters == name)]) * int(
                        times
                    )
                drawn.append(np.mean(sample))
            by_sport.append(drawn)
            index = ("golf", "judo").index(sport)
            np.testing.assert_allclose(got.drawn_SAD[index, got.systems.index(system)], drawn)
            assert got.stratum(system, sport).value == pytest.approx(
                value[system][sports == sport].mean()
            )
        means[system] = np.mean(by_sport, axis=0)
    one, two = got._mean("one", None), got._mean("two", None)
    np.testing.assert_allclose((one - two).drawn_D, means["one"] - means["two"], atol=1e-12)
    np.testing.assert_allclose((one / two).drawn_D, means["one"] / means["two"])
    ratio = got.ratio("one", "two")
    macro = {
        name: np.mean([value[name][sports == sport].mean() for sport in ("golf", "judo")])
        for name in value
    }
    assert ratio.value == pytest.approx(macro["one"] / macro["two"])


def test_weights_draw_whole_clusters_with_replacement():
    weights = bootstrap_module._weights(7, draws=4000, seed=0, name="golf")
    assert (weights.sum(axis=1) == 7).all()
    np.testing.assert_allclose(weights.mean(axis=0), 1.0, atol=0.06)
    assert weights.var() == pytest.approx(6 / 7, rel=0.05)


def test_a_system_is_not_apart_from_itself_and_differences_are_paired():
    """Two systems that differ by a constant differ by it in every draw, however noisy their means
    are.
    """
    rng = np.random.default_rng(1)
    clusters, sports = np.repeat(np.arange(20), 5), np.repeat(["golf", "judo"], 50)
    value = rng.random(100)
    got = bootstrap_module.resample(
        score_rows({"one": value, "same": value.copy(), "more": value + 0.01}, clusters, sports),
        draws=200,
        seed=0,
    )
    assert got.difference("one", "same").excludes(0.0) is False
    gap = got.difference("more", "one")
    assert (gap.low, gap.high) == (pytest.approx(0.01), pytest.approx(0.01))
    assert gap.excludes(0.0) is True
    assert got.macro("one").high - got.macro("one").low > 0.05


def test_adding_a_sport_changes_no_other_sports_interval(small):
    scores, _, _ = small
    both = bootstrap_module.resample(scores, draws=100, seed=0)
    alone = bootstrap_module.resample(scores.filter(pl.col("sport") == "judo"), draws=100, seed=0)
    assert alone.stratum("one", "judo") == both.stratum("one", "judo")


def test_order_of_rows_does_not_matter(small):
    scores, _, _ = small
    shuffled = scores.sample(fraction=1.0, shuffle=True, seed=5)
    assert bootstrap_module.resample(shuffled, draws=100, seed=0).macro(
        "one"
    ) == bootstrap_module.resample(scores, draws=100, seed=0).macro("one")


def test_a_query_that_one_system_did_not_answer_is_an_error(small):
    scores, _, _ = small
    gone = scores.filter(~((pl.col("system") == "two") & (pl.col("query_id") == "q00004")))
    with pytest.raises(ValueError, match=r"two has no score for 1 queries.*q00004.*paired"):
        bootstrap_module.resample(gone, draws=10, seed=0)


def test_seeds_are_averaged_per_query_before_anything_else(small):
    scores, _, _ = small
    later = scores.with_columns(seed=pl.lit(1, dtype=pl.Int64), value=pl.col("value") + 0.2)
    got = bootstrap_module.resample(pl.concat([scores, later]), draws=50, seed=0)
    one = bootstrap_module.resample(scores, draws=50, seed=0)
    assert got.macro("one").value == pytest.approx(one.macro("one").value + 0.1)
    assert got.queries_S.tolist() == one.queries_S.tolist()
    spread = (
        bootstrap_module.seed_spread(pl.concat([scores, later]))
        .filter(pl.col("system") == "one")
        .row(0, named=True)
    )
    assert spread["seeds"] == 2
    assert spread["highest"] - spread["lowest"] == pytest.approx(0.2)
    with pytest.raises(ValueError, match="lack a seed"):
        bootstrap_module.resample(pl.concat([scores, later.head(3)]), draws=10, seed=0)


def test_one_cluster_gives_a_value_and_no_interval():
    rows = score_rows(
        {"one": np.array([0.0, 1.0])}, np.array(["v", "v"]), np.array(["golf", "golf"])
    )
    got = bootstrap_module.resample(rows, draws=10, seed=0)
    assert got.stratum("one", "golf") == bootstrap_module.Interval(0.5, None, None)
    assert got.macro("one").excludes(0.0) is None


def test_queries_without_a_value_are_left_out(small):
    scores, _, _ = small
    gone = scores.with_columns(value=pl.when(pl.col("sport") != "judo").then(pl.col("value")))
    got = bootstrap_module.resample(gone, draws=10, seed=0)
    assert got.strata == ("golf",)
    nothing = bootstrap_module.resample(
        scores.with_columns(value=pl.lit(None, dtype=pl.Float64)), draws=10, seed=0
    )
    assert nothing.strata == ()


def plain_percentiles(statistic: bootstrap_module.Statistic) -> tuple[float, float]:
    """What the interval would be without its two corrections."""
    low, high = np.quantile(statistic.drawn_D, [0.025, 0.975])
    return float(low), float(high)


def coverage(
    *, clustered: bool = True, plain: bool = False, trials: int = 400, sports: int = 4
) -> float:
    """How often the interval of the macro mean holds the true mean, when clips of one video
    resemble each other.
    """
    rng, clusters, size = np.random.default_rng(7), 12, 9
    sport = np.repeat(np.arange(sports), clusters * size)
    video = np.repeat(np.arange(sports * clusters), size)
    single = np.arange(len(video))
    held = 0
    for _ in range(trials):
        ability = rng.normal(0.0, 1.0, sports * clusters)
        values = (ability[video] + rng.normal(size=len(video)) > 0.0).astype(float)  # true mean 0.5
        rows = score_rows({"one": values}, video if clustered else single, sport)
        got = bootstrap_module.resample(rows, draws=300, seed=int(rng.integers(2**31)))
        mean = got.macro("one")
        low, high = plain_percentiles(got._mean("one", None)) if plain else (mean.low, mean.high)
        held += low <= 0.5 <= high
    return held / trials


@pytest.mark.slow
def test_the_clustered_interval_covers_and_the_naive_one_does_not():
    """400 trials know a coverage of 95 % to 1.1 points."""
    assert 0.93 <= coverage() <= 0.97
    assert coverage(clustered=False) <= 0.80
    assert 0.93 <= coverage(sports=1) <= 0.975
    assert coverage(sports=1, plain=True) < coverage(sports=1)


def test_a_resampled_variance_is_as_much_too_small_as_it_is_said_to_be():
    """Alike queries in each video: the mean squared pull over many worlds, over the true variance
    of the mean.
    """
    rng, counts = np.random.default_rng(0), np.array([40.0, 3, 3, 5, 9, 1])
    shares = counts / counts.sum()
    videos = rng.normal(size=(200_000, 6))
    means = videos @ shares
    pulls = shares * (videos - means[:, None])
    assert bootstrap_module.shrinkage(counts) == pytest.approx(
        (pulls**2).sum(axis=1).mean() / means.var(), rel=0.02
    )
    assert bootstrap_module.shrinkage(np.full(8, 5.0)) == pytest.approx(7 / 8)
    assert bootstrap_module.shrinkage(np.array([4.0])) == 0.0


def test_the_pull_of_each_cluster_is_what_leaving_it_out_changes(small):
    """The influences, by differences: for a ratio and a share too."""
    rng = np.random.default_rng(0)
    clusters, sports = np.repeat(np.arange(60), 3), np.repeat(["golf", "judo"], 90)
    values = {
        "one": rng.random(180) + 1,
        "two": rng.random(180) + 0.5,
        "three": rng.random(180) + 3,
    }
    got = bootstrap_module.resample(score_rows(values, clusters, sports), draws=400, seed=0)
    for statistic in (
        got._mean("one", None) / got._mean("two", None),
        got._mean("one", None) - got._mean("two", None),
    ):
        assert statistic.pull_C.sum() == pytest.approx(0.0, abs=1e-9)
        assert np.sqrt((statistic.pull_C**2).sum()) == pytest.approx(
            statistic.drawn_D.std(), rel=0.15
        )
    share = got.share("one", "two", "three")
    assert share.low < share.value < share.high


def test_a_demo_sized_bootstrap_takes_seconds():
    rng = np.random.default_rng(0)
    sports, video = np.repeat(np.arange(24), 100), np.repeat(np.arange(240), 10)
    rows = score_rows({f"arm{index}": rng.random(2400) for index in range(5)}, video, sports)
    began = time.perf_counter()
    bootstrap_module.resample(rows, draws=2000, seed=0)
    assert time.perf_counter() - began < 5


def far(sums, counts):
    """A difference in clustered standard errors, up to a factor."""
    mean = np.sum(sums) / np.sum(counts)
    return abs(mean) / np.sqrt(((sums - mean * np.array(counts)) ** 2).sum())


def test_randomisation_by_enumeration():
    """Three participants: all 8 patterns of signs can be listed; draws come near their share."""
    differences, people = np.array([0.3, 0.1, 0.2, -0.1]), ["a", "a", "b", "c"]
    patterns = [
        far(np.array([0.4, 0.2, -0.1]) * signs, [2, 1, 1])
        for signs in itertools.product((1, -1), repeat=3)
    ]
    exact = np.mean([value >= patterns[0] - 1e-9 for value in patterns])
    assert bootstrap_module.randomisation_p(differences, people, flips=20_000) == pytest.approx(
        exact, abs=1e-12
    )
    assert bootstrap_module.randomisation_p(differences[:2], people[:2]) is None
    assert bootstrap_module.randomisation_p(np.zeros(4), people) == 1.0


def test_an_effect_in_every_participant_has_a_small_p_and_noise_a_large_one():
    rng = np.random.default_rng(0)
    people = [f"p{i // 3}" for i in range(90)]
    noise = rng.normal(size=90)
    assert bootstrap_module.randomisation_p(noise + 1.0, people) < 0.001
    assert bootstrap_module.randomisation_p(noise - noise.mean(), people) > 0.9


def test_few_clusters_are_enumerated_whatever_the_seed():
    rng = np.random.default_rng(1)
    differences, people = rng.normal(0.2, 1, 24), [f"p{i % 6}" for i in range(24)]
    sums = np.array([differences[i::6].sum() for i in range(6)])
    patterns = [far(sums * signs, [4] * 6) for signs in itertools.product((1, -1), repeat=6)]
    exact = np.mean([value >= patterns[0] - 1e-9 for value in patterns])
    plain = [abs((sums * signs).sum()) for signs in itertools.product((1, -1), repeat=6)]
    assert exact == np.mean(
        [value >= plain[0] - 1e-9 for value in plain]
    )  # even clusters: the order of means
    assert bootstrap_module.randomisation_p(differences, people) == pytest.approx(exact, abs=1e-12)
    assert bootstrap_module.randomisation_p(differences, people, seed=9) == pytest.approx(
        exact, abs=1e-12
    )
    assert bootstrap_module.randomisation_p(differences, people, flips=31) != pytest.approx(
        exact, abs=1e-12
    )  # drawn
    assert (
        bootstrap_module.randomisation_p(np.ones(10), [f"p{i // 2}" for i in range(10)]) == 1 / 16
    )


def test_holms_worked_example():
    """Four tests, by hand: 0.005 × 4, 0.01 × 3, 0.03 × 2, and 0.04 that may not fall below the one
    before.
    """
    assert bootstrap_module.holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx(
        [0.03, 0.06, 0.06, 0.02]
    )
    assert bootstrap_module.holm([0.01, None, 0.6, 0.7]) == [pytest.approx(0.03), None, 1.0, 1.0]
    assert bootstrap_module.holm([]) == [] and bootstrap_module.holm([None]) == [None]


def test_holm_keeps_the_chance_of_any_false_claim():
    """20 sports without a difference: raw p claims something in most runs, the corrected in 5 of
    100.
    """
    p = np.random.default_rng(0).random((4000, 20))
    assert (p.min(axis=1) <= 0.05).mean() > 0.6
    false = np.mean([min(bootstrap_module.holm(row)) <= 0.05 for row in p.tolist()])
    assert false == pytest.approx(0.05, abs=0.012)


@pytest.mark.parametrize(("videos", "least"), [(2, 0.90), (3, 0.90), (5, 0.90)])
def test_few_videos_are_not_taken_for_certainty(videos, least):
    """No draw of two videos lies outside the two: such an interval misses the truth every second
    time.
    """
    rng, held, drawn = np.random.default_rng(videos), [], []
    sports = np.repeat(np.arange(400).astype(str), videos * 8)
    clusters = np.repeat(np.arange(400 * videos), 8)
    values = (
        rng.normal(0, 0.6, 400 * videos)[clusters] + rng.normal(0, 0.8, len(clusters)) > 0
    ).astype(float)
    rows = score_rows({"one": values}, clusters, sports)
    got = bootstrap_module.resample(rows, draws=200, seed=0)
    for sport in got.strata:
        low, high = plain_percentiles(got._mean("one", sport))
        held.append(not got.stratum("one", sport).excludes(0.5))
        drawn.append(low <= 0.5 <= high)
    assert np.mean(held) >= least > np.mean(drawn)


def test_the_interval_of_few_videos_is_students():
    from scipy.stats import t

    sums, rows = np.array([0.2, 0.5, 0.9]), np.repeat(["a", "b", "c"], 4)
    got = bootstrap_module.resample(
        score_rows({"one": np.repeat(sums, 4)}, rows, np.repeat("golf", 12)), draws=50, seed=0
    )
    low, high = t.interval(0.95, 2, sums.mean(), sums.std(ddof=1) / np.sqrt(3))
    assert (got.macro("one").low, got.macro("one").high) == (
        pytest.approx(low),
        pytest.approx(high),
    )


def test_nothing_over_nothing_is_no_ratio():
    clusters, sports = np.repeat(np.arange(12), 2), np.repeat("golf", 24)
    rows = score_rows(
        {"one": np.zeros(24), "none": np.zeros(24), "some": np.tile([0.0, 1.0], 12)},
        clusters,
        sports,
    )
    got = bootstrap_module.resample(rows, draws=50, seed=0)
    ratio = got.ratio("one", "none")
    assert (
        np.isnan(ratio.value)
        and (ratio.low, ratio.high) == (None, None)
        and ratio.excludes(1.0) is None
    )
    assert got.ratio("some", "none").value == np.inf and got.ratio("one", "some").value == 0
