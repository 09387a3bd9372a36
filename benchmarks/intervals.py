"""Do the intervals hold what they promise? Coverage and false alarms by simulation, at the sizes
that runs have.

    python benchmarks/intervals.py [--trials 2000] [--draws 1000]

A world is drawn many times: sports with 12, 20 or 60 test videos (and 2, 3, 5), clips a video
skewed (log-normal, from one to dozens), two systems whose scores are 0 or 1 (recall@10 of one
clip). Clips of a video share how hard it is, for both systems and for each by itself, so that
scores have the intraclass correlation named: 0.05 is what the demo run has, 0.2 is where an
interval that ignores videos falls to the coverage of three quarters that others report. ``sizes
tell`` makes long videos the easier ones, too. Each interval is asked whether it holds the true mean
(of very many videos).

* coverage: of one sport's mean (single), of the mean over 6 sports (macro), of a paired difference
  in one sport. ``naive`` resamples clips as if each were a video of its own.
* false alarms: how often two systems that are alike are called different at 5 %: by the
  randomisation test, and by the t-test that takes each clip for a video; and how often any of 24
  such sports is, with and without Holm.
* power: how often the difference that the table of power calls detectable is found; 80 % is
  promised.

The last column of each table is the standard error of the simulation itself, in points.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import polars as pl

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from sportskills_lib.evaluation import detectable_differences as power
from sportskills_lib.statistics import bootstrap

VIDEOS, CORRELATIONS, MEAN_CLIPS, SKEW = (12, 20, 60), (0.05, 0.2), 9, 0.8
FEW = (2, 3, 5)  # videos: here the default is Student's t
KINDS = ("percentile", "expanded")


@dataclass(frozen=True)
class World:
    """One way of drawing test sets."""

    videos: int
    correlation: float  # of two clips' scores of one video
    sports: int = 1
    effect: float = 0.0  # of the second system, on the scale of the normal that is cut
    tell: float = 0.0  # how much easier videos with many clips are

    def draw(self, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        """The scores of two systems [2, Q], and the video of each query."""
        videos = self.videos * self.sports
        log_size = rng.normal(0, SKEW, videos)
        size = np.maximum(1, np.round(MEAN_CLIPS * np.exp(log_size - SKEW**2 / 2)).astype(int))
        video = np.repeat(np.arange(videos), size)
        shared = latent(self.correlation)
        own = np.sqrt(shared / 2) * rng.normal(
            size=(3, videos)
        )  # half of what a video does, it does to both systems
        ease = own[0] + own[1:] + self.tell * log_size
        noise = np.sqrt((1 - shared) / 2) * rng.normal(size=(3, len(video)))
        values = ease[:, video] + noise[0] + noise[1:] - 0.25  # about 0.4 are right
        values[1] += self.effect
        return (values > 0).astype(float), video


def latent(correlation: float) -> float:
    """The correlation of two normals that, cut at 0.25, correlate so: by bisection over the
    bivariate normal.
    """
    from scipy.stats import multivariate_normal, norm

    share, low, high = norm.cdf(-0.25), 0.0, 0.99
    for _ in range(30):
        middle = (low + high) / 2
        both = multivariate_normal.cdf([-0.25, -0.25], cov=[[1, middle], [middle, 1]])
        low, high = (
            (low, middle)
            if (both - share**2) / (share * (1 - share)) >= correlation
            else (middle, high)
        )
    return high


def rows_of(values: np.ndarray, cluster: np.ndarray, sport: np.ndarray) -> pl.DataFrame:
    """Scores of both systems as :func:`significance.resample` takes them."""
    count = values.shape[1]
    return pl.DataFrame(
        {
            "system": np.repeat(["one", "two"], count),
            "query_id": np.tile(np.arange(count), 2),
            "metric": "m",
            "seed": 0,
            "value": values.ravel(),
            "chance": 0.1,
            "sport": np.tile(sport, 2),
            "cluster": np.tile(cluster, 2),
        }
    ).with_columns(pl.col("sport", "cluster", "query_id").cast(pl.String))


def truths(world: World) -> tuple[float, float]:
    """The mean of the second system and its difference from the first, over 300,000 videos'
    clips.
    """
    values, _ = replace(world, videos=300_000, sports=1).draw(np.random.default_rng(1))
    return float(values[1].mean()), float((values[1] - values[0]).mean())


def coverage(
    world: World, *, trials: int, draws: int, naive: bool = False
) -> dict[str, list[bool]]:
    """Whether each interval held the truth, by what was asked and the kind of interval; every sport
    is asked. ``percentile``: plain quantiles of the draws, which the library only corrects.
    """
    mean, gap = truths(world)
    rng, held = np.random.default_rng([world.videos, 3]), {}
    for _ in range(trials):
        values, video = world.draw(rng)
        cluster = np.arange(len(video)) if naive else video
        sampled = bootstrap.resample(
            rows_of(values, cluster, video // world.videos),
            draws=draws,
            seed=int(rng.integers(2**31)),
        )
        for sport in sampled.strata:
            first, second = (sampled._mean(name, sport) for name in ("one", "two"))
            own, paired = (
                sampled.stratum("two", sport),
                sampled.difference("two", "one", stratum=sport),
            )
            note(held, "single", own, second, mean)
            note(held, "paired", paired, second - first, gap)
        note(held, "macro", sampled.macro("two"), sampled._mean("two", None), mean)
    return held


def note(
    held: dict[str, list[bool]],
    asked: str,
    interval: bootstrap.Interval,
    statistic: bootstrap.Statistic,
    truth: float,
) -> None:
    """Note whether the interval, and plain percentiles of the same draws, held the truth."""
    low, high = np.quantile(statistic.drawn_D, [0.025, 0.975])
    held.setdefault(f"{asked} expanded", []).append(not interval.excludes(truth))
    held.setdefault(f"{asked} percentile", []).append(bool(low <= truth <= high))


def percent(flags: list[bool]) -> str:
    return f"{100 * np.mean(flags):5.1f}"


def coverage_lines(trials: int, draws: int) -> Iterator[str]:
    yield "| videos a sport | correlation | asked | naive | percentile | expanded | ± |"
    yield "|---|---|---|---|---|---|---|"
    for tell in (0.0, 0.3):
        for correlation in CORRELATIONS if not tell else CORRELATIONS[1:]:
            for videos in VIDEOS if tell or correlation < 0.2 else (*FEW, *VIDEOS):
                world = World(videos, correlation, sports=6, effect=0.3, tell=tell)
                held = coverage(world, trials=trials, draws=draws)
                plain = coverage(world, trials=max(trials // 5, 1), draws=draws // 2, naive=True)
                for asked in ("single", "macro", "paired"):
                    cells = [percent(plain[f"{asked} expanded"])]
                    cells += [percent(held[f"{asked} {kind}"]) for kind in KINDS]
                    error = 100 * np.sqrt(0.05 * 0.95 / len(held[f"{asked} expanded"]))
                    name = f"{videos}{', sizes tell' if tell else ''}"
                    yield (
                        f"| {name} | {correlation} | {asked} | "
                        + " | ".join(cells)
                        + f" | {error:.1f} |"
                    )


def false_alarms(world: World, *, trials: int) -> dict[str, list[bool]]:
    """How often alike systems are called different, sport by sport and over all sports of a
    world.
    """
    from scipy.stats import ttest_1samp

    rng, found = (
        np.random.default_rng([world.videos, 5]),
        {"naive": [], "test": [], "any": [], "any holm": []},
    )
    for _ in range(trials):
        values, video = world.draw(rng)
        gap, sport = values[1] - values[0], video // world.videos
        p = []
        for place in range(world.sports):
            own, of = gap[sport == place], video[sport == place]
            p.append(bootstrap.randomisation_p(own, of, seed=int(rng.integers(2**31))) or 1.0)
            found["naive"].append(bool(own.any()) and float(ttest_1samp(own, 0).pvalue) <= 0.05)
        found["test"] += [each <= 0.05 for each in p]
        found["any"].append(min(p) <= 0.05)
        found["any holm"].append(min(bootstrap.holm(p)) <= 0.05)
    return found


def alarm_lines(trials: int) -> Iterator[str]:
    yield (
        "| videos a sport | correlation | clips as videos | test | any of 24 | any, Holm | ± "
        "(one), ± (any) |"
    )
    yield "|---|---|---|---|---|---|---|"
    for correlation in CORRELATIONS:
        for videos in VIDEOS:
            found = false_alarms(World(videos, correlation, sports=24), trials=trials)
            cells = [percent(found[name]) for name in ("naive", "test", "any", "any holm")]
            errors = [
                100 * np.sqrt(0.05 * 0.95 / len(found[name])) for name in ("test", "any holm")
            ]
            yield (
                f"| {videos} | {correlation} | "
                + " | ".join(cells)
                + f" | {errors[0]:.1f}, {errors[1]:.1f} |"
            )


def power_lines(trials: int, draws: int) -> Iterator[str]:
    yield (
        "| videos | correlation | detectable difference | promised | found by the interval | "
        "by the test | ± |"
    )
    yield "|---|---|---|---|---|---|---|"
    for correlation in CORRELATIONS:
        for videos in VIDEOS:
            low, high = 0.0, 2.0
            for _ in range(12):  # the effect of which 80 % are promised to be found
                world = World(20_000, correlation, effect=(low + high) / 2)
                values, video = world.draw(np.random.default_rng(2))
                rows = pl.DataFrame(
                    {"stratum": "one", "cluster": video, "difference": values[1] - values[0]}
                )
                many = power.spread(rows)
                promised = power.chance_to_find(
                    many.value / (many.se * np.sqrt(20_000 / videos)), videos - 1, 0.05
                )
                low, high = (low, world.effect) if promised >= power.POWER else (world.effect, high)
            rng, found, apart = np.random.default_rng([videos, 7]), [], []
            for _ in range(trials):
                values, video = World(videos, correlation, effect=high).draw(rng)
                found.append(
                    (bootstrap.randomisation_p(values[1] - values[0], video) or 1.0) <= 0.05
                )
                sampled = bootstrap.resample(
                    rows_of(values, video, video // videos),
                    draws=draws,
                    seed=int(rng.integers(2**31)),
                )
                apart.append(bool(sampled.difference("two", "one").excludes(0.0)))
            cells = (f"{many.value:.3f}", f"{100 * promised:.1f}", percent(apart), percent(found))
            yield (
                f"| {videos} | {correlation} | "
                + " | ".join(cells)
                + f" | {100 * np.sqrt(0.16 / trials):.1f} |"
            )


def main() -> int:
    """Simulate and print three tables."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--trials", type=int, default=2000, help="worlds a row")
    parser.add_argument("--draws", type=int, default=1000, help="of the bootstrap")
    parser.add_argument(
        "--only", choices=("coverage", "false alarms", "power"), help="one of the tables"
    )
    asked = parser.parse_args()
    began = time.perf_counter()
    for title, lines in (
        (
            "Coverage of the 95 % interval, in percent of intervals that hold the true mean",
            coverage_lines(asked.trials, asked.draws),
        ),
        ("False alarms at 5 %, systems alike, in percent", alarm_lines(max(asked.trials // 2, 1))),
        ("Power at the detectable difference, in percent", power_lines(asked.trials, asked.draws)),
    ):
        if asked.only and not title.lower().startswith(asked.only):
            continue
        print(f"\n{title}\n")
        for line in lines:
            print(line, flush=True)
    print(f"\n{time.perf_counter() - began:.0f} s")
    return 0


if __name__ == "__main__":
    sys.exit(main())
