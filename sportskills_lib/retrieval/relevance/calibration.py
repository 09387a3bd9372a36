"""From a score to a probability that a clip helps: temperature and bias fitted on validation, and
how well they hold.

A finetuned model ranks well and still says 0.97 where it is right in half of the cases. Two numbers
mend that without changing any ranking: p = sigmoid(score / temperature + bias), fitted by the
negative log-likelihood of the validation pairs' labels. The bias takes up the share of helpful
pairs, which a listwise loss never sees. The expected calibration error before (temperature 1, bias
0) and after is kept with the table of the reliability curve; what is kept as "after" comes from
fits on the other learners (5 folds), not from the pairs' own fit, which would flatter itself.

Validation labels are weak: a calibrated probability says how often pairs *like those of the
supervision* are labelled helpful, not how often a coach would agree.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl
from scipy.optimize import minimize
from scipy.special import expit

from sportskills_lib.formats.files import write_whole

FILE = "calibration.json"
ENCODER_FILE = "encoder_calibration.json"  # of the first stage's score
BINS = 10
FOLDS = 5
TEMPERATURES = (
    1e-3,
    1e3,
)  # a fit that wants more is stopped there: scores that say nothing, or labels that they part
BINS_SCHEMA = {
    "when": pl.String,  # before or after calibration
    "low": pl.Float64,
    "high": pl.Float64,
    "pairs": pl.Int64,
    "said": pl.Float64,  # mean probability
    "helped": pl.Float64,  # mean label
}


@dataclass(frozen=True)
class Calibration:
    """p = sigmoid(score / temperature + bias), and its expected calibration error.

    ``groups`` is how many learners the pairs were of: what is called "after" was measured on
    learners that its fit had not seen. With 0 or 1 it was measured on the pairs of the fit itself.
    """

    temperature: float
    bias: float
    pairs: int
    groups: int
    nll_before: float
    nll_after: float
    ece_before: float
    ece_after: float
    bins: pl.DataFrame

    def probability(self, scores: np.ndarray | Sequence[float]) -> np.ndarray:
        """float64 [N]: how likely a clip with this score helps. Rises with the score: no ranking
        changes.
        """
        return expit(np.asarray(scores, np.float64) / self.temperature + self.bias)


def fit(
    scores: np.ndarray | Sequence[float],
    labels: np.ndarray | Sequence[float],
    *,
    groups: Sequence[str] = (),
) -> Calibration:
    """Fit on validation pairs: ``labels`` [N] are in [0, 1] (a weak label may stand between).

    ``groups`` [N] names the participant of each pair: whole ones are held out where the result is
    measured.

    ValueError without pairs, with one kind of label only, or with scores that are not finite: then
    there is nothing to calibrate on.
    """
    score_N, label_N = np.asarray(scores, np.float64), np.asarray(labels, np.float64)
    if not np.isfinite(score_N).all() or len(np.unique(label_N)) < 2:
        raise ValueError(
            f"{len(label_N)} validation pairs, but one kind of label, or a score that is not "
            "finite: there is nothing to calibrate on"
        )
    temperature, bias = _least_nll(score_N, label_N)
    logit_N, held = _held_out(score_N, label_N, groups)
    before, after = expit(score_N), expit(logit_N)
    table = pl.concat(
        [reliability(before, label_N, when="before"), reliability(after, label_N, when="after")]
    )
    return Calibration(
        temperature, bias, len(label_N), held, nll(score_N, label_N), nll(logit_N, label_N),
        ece(before, label_N), ece(after, label_N), table,
    )  # fmt: skip


def _held_out(
    score_N: np.ndarray, label_N: np.ndarray, groups: Sequence[str]
) -> tuple[np.ndarray, int]:
    """Calibrated logits, each from a fit on other groups, and how many groups; with fewer than two,
    the fit's own.
    """
    names, group_N = np.unique(np.asarray(groups, str), return_inverse=True)
    parts = [group_N % FOLDS != fold for fold in range(min(FOLDS, len(names)))]
    held_out = len(names) > 1 and all(np.ptp(label_N[part]) for part in parts)
    if not held_out:
        parts = [np.ones(len(label_N), bool)]
    logit_N = np.empty_like(score_N)
    for part in parts:
        temperature, bias = _least_nll(score_N[part], label_N[part])
        told = ~part if held_out else part
        logit_N[told] = score_N[told] / temperature + bias
    return logit_N, len(names) if held_out else 0


def _least_nll(score_N: np.ndarray, label_N: np.ndarray) -> tuple[float, float]:
    """Temperature within its bounds and bias of the least negative log-likelihood, which is convex
    in 1/temperature and bias.
    """
    scale = max(float(np.abs(score_N).max()), 1e-12)
    inputs_N2 = np.stack([score_N / scale, np.ones_like(score_N)], 1)

    def loss(weights: np.ndarray) -> tuple[float, np.ndarray]:
        logit_N = inputs_N2 @ weights
        return nll(logit_N, label_N), inputs_N2.T @ (expit(logit_N) - label_N) / len(label_N)

    bounds = [(scale / TEMPERATURES[1], scale / TEMPERATURES[0]), (None, None)]
    exact = {"ftol": 1e-15, "gtol": 1e-9, "maxiter": 1000}
    found = minimize(loss, [scale, 0.0], jac=True, method="L-BFGS-B", bounds=bounds, options=exact)
    return scale / float(found.x[0]), float(found.x[1])


def nll(logits: np.ndarray, labels: np.ndarray) -> float:
    """Mean negative log-likelihood of the labels."""
    return float(np.mean(np.logaddexp(0.0, logits) - labels * logits))


def reliability(probabilities: np.ndarray, labels: np.ndarray, *, when: str) -> pl.DataFrame:
    """One row a bin of equal width that holds pairs: what was said on average, and how often it
    helped.
    """
    edges = np.linspace(0, 1, BINS + 1)
    place = np.digitize(probabilities, edges[1:-1])
    rows = [
        (when, float(edges[i]), float(edges[i + 1]), int((place == i).sum()),
         float(probabilities[place == i].mean()), float(labels[place == i].mean()))
        for i in np.unique(place)
    ]  # fmt: skip
    return pl.DataFrame(rows, schema=BINS_SCHEMA, orient="row")


def ece(probabilities: np.ndarray, labels: np.ndarray) -> float:
    """Expected calibration error: mean distance of what was said from what helped, bins weighted by
    their pairs.
    """
    table = reliability(probabilities, labels, when="")
    said, helped, pairs = (table[name].to_numpy() for name in ("said", "helped", "pairs"))
    return float((np.abs(said - helped) * pairs).sum() / max(1, pairs.sum()))


def save(calibration: Calibration, folder: Path, name: str = FILE) -> None:
    """Write the calibration, whole or not at all."""
    content = vars(calibration) | {"bins": calibration.bins.to_dicts()}
    write_whole(folder / name, json.dumps(content, indent=2) + "\n")


def load(folder: Path, name: str = FILE) -> Calibration | None:
    """What :func:`save` wrote into this folder; None where there is no such file."""
    path = folder / name
    if not path.is_file():
        return None
    content = json.loads(path.read_text())
    try:
        return Calibration(**{**content, "bins": pl.DataFrame(content["bins"], schema=BINS_SCHEMA)})
    except (TypeError, KeyError) as error:
        raise ValueError(
            f"{path} is no calibration of this version ({error}): rerun 04_retrieval"
        ) from None
