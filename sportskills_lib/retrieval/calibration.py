"""From scores to probabilities: one temperature and one bias, fitted on validation (Platt, 1999; Guo et al., 2017)."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl

from sportskills_lib.files import write_whole

FILE = "calibration.json"
BINS = 10
TABLE = {"when": pl.String, "bin": pl.Int64, "predicted": pl.Float64, "observed": pl.Float64, "n": pl.Int64}


@dataclass(frozen=True)
class Calibration:
    """``probability = sigmoid(score / temperature + bias)``; how far off the scores were before, and after."""

    temperature: float
    bias: float
    ece_before: float
    ece_after: float
    bins: pl.DataFrame  # when (before, after), bin, predicted, observed, n

    def probability(self, scores: np.ndarray) -> np.ndarray:
        """float64: the calibrated probability of each score."""
        return _sigmoid(np.asarray(scores, np.float64) / self.temperature + self.bias)


def fit(scores: np.ndarray, labels: np.ndarray) -> Calibration:
    """The temperature and bias of the largest likelihood; 1 and 0 where there is but one kind of label."""
    scores, wanted = np.asarray(scores, np.float64), (np.asarray(labels) > 0).astype(np.float64)
    slope, bias = _maximum_likelihood(scores, wanted) if 0 < wanted.sum() < len(wanted) else (1.0, 0.0)
    before, after = _sigmoid(scores), _sigmoid(slope * scores + bias)
    rows = [*_bins("before", before, wanted), *_bins("after", after, wanted)]
    table = pl.DataFrame(rows, schema=TABLE, orient="row")
    return Calibration(1 / slope, bias, _error(table, "before"), _error(table, "after"), table)


def _maximum_likelihood(scores: np.ndarray, wanted: np.ndarray, *, rounds: int = 100) -> tuple[float, float]:
    """Slope and bias by Newton's method with a small ridge towards (1, 0); the slope stays above 0."""
    inputs = np.stack([scores, np.ones_like(scores)], axis=1)
    prior, ridge, found = np.array([1.0, 0.0]), 1e-3, np.array([1.0, 0.0])
    for _ in range(rounds):
        chance = _sigmoid(inputs @ found)
        slope = inputs.T @ (chance - wanted) + ridge * (found - prior)
        curve = (inputs * (chance * (1 - chance))[:, None]).T @ inputs + ridge * np.eye(2)
        step = np.linalg.solve(curve, slope)
        found = found - step / max(1.0, float(np.abs(step).max()))
        if np.abs(step).max() < 1e-9:
            break
    return max(float(found[0]), 1e-6), float(found[1])


def _bins(when: str, chance: np.ndarray, wanted: np.ndarray) -> list[tuple[str, int, float, float, int]]:
    places = np.minimum((chance * BINS).astype(int), BINS - 1)
    return [
        (when, int(place), float(chance[places == place].mean()), float(wanted[places == place].mean()), int(n))
        for place, n in zip(*np.unique(places, return_counts=True), strict=True)
    ]


def _error(table: pl.DataFrame, when: str) -> float:
    """Expected calibration error: the mean gap of predicted and observed over bins, by their size."""
    rows = table.filter(pl.col("when") == when)
    if not rows.height:
        return float("nan")
    gap = (rows["predicted"] - rows["observed"]).abs()
    return float((gap * rows["n"]).sum() / rows["n"].sum())


def _sigmoid(values: np.ndarray) -> np.ndarray:
    return np.exp(-np.logaddexp(0.0, -values))


def save(calibration: Calibration, folder: Path) -> None:
    """calibration.json in ``folder``."""
    facts = {name: getattr(calibration, name) for name in ("temperature", "bias", "ece_before", "ece_after")}
    write_whole(folder / FILE, json.dumps(facts | {"bins": calibration.bins.to_dicts()}, indent=2) + "\n")


def load(folder: Path) -> Calibration:
    """What :func:`save` wrote; FileNotFoundError without."""
    facts = json.loads((folder / FILE).read_text(encoding="utf-8"))
    return Calibration(**facts | {"bins": pl.DataFrame(facts["bins"], schema=TABLE, orient="row")})
