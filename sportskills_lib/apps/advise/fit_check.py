"""Does anything in the library fit? A learner whose clip looks more like the clips of other sports
is not advised.

A clip's *margin* is its similarity to the nearest clip of the sport, less that to the nearest clip
of another one. 04's validation learners show which margins are usual; without 20 of them the run's
own validation clips do, each against the clips of other channels, though learners, filmed otherwise
than lessons, have smaller margins. The threshold is the one that all but :data:`REFUSED` of them
pass. The share of them that it would stop under another sport's name is reported with it: that is
what the check is worth.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from sportskills_lib import models
from sportskills_lib.apps.advise.run_library import AdviceLibrary
from sportskills_lib.runs.content_store import ContentStore

REFUSED = 0.05  # share of those like the ones that set the threshold that it may refuse
FEWEST = 20  # validation learners, or clips, that it takes to set one
MOST_CLIPS, MOST_LEARNERS = 500, 200  # that set it; learners must be embedded first


@dataclass(frozen=True)
class FitCheck:
    """What margin a clip of its own sport has. ``threshold`` is None where there was too little to
    set one (``reason``).

    ``stopped``: the share of the ``count`` ``population`` that it stops under another sport's name.
    """

    threshold: float | None
    stopped: float = 0.0
    count: int = 0
    population: str = "validation clips"
    reason: str = ""

    @property
    def worth(self) -> str:
        """What the threshold passes and stops, in words."""
        return (
            f"The threshold passes {100 * (1 - REFUSED):.0f} % of {self.count} {self.population} "
            f"under their own sport, and stops {100 * self.stopped:.0f} % of them under another's."
        )


def measure_fit(
    library: AdviceLibrary, cache: ContentStore, log: Callable[[str], None]
) -> FitCheck:
    """The margins of 04's validation learners; without them of the run's validation clips, against
    other channels.
    """
    sports, clips = library.sports, library.clips
    if len(sports) < 2:
        return FitCheck(None, reason="the library has one sport, so there is none to compare with")
    population, learners = "validation learners", _validation_learners(library, cache, log)
    if learners is not None:
        sport_V, alike_VN = learners[0], learners[1] @ library.clip_ND.T
    else:
        population, channels = "validation clips", clips["channel"].to_numpy()
        is_val = (clips["split"].cast(pl.String) == "val").to_numpy()
        rows = _spread_evenly(np.flatnonzero(is_val), MOST_CLIPS)
        if len(rows) < FEWEST:
            return FitCheck(
                None, reason=f"the run has {len(rows)} validation clips; it takes {FEWEST}"
            )
        sport_V, alike_VN = clips["sport"].gather(rows), library.clip_ND[rows] @ library.clip_ND.T
        alike_VN[channels[rows][:, None] == channels[None]] = -1.0
    sport_N, own = clips["sport"].to_numpy(), np.array(sports) == sport_V.to_numpy()[:, None]
    margins = margins_of(
        np.stack([alike_VN[:, sport_N == sport].max(1) for sport in sports], axis=1)
    )
    threshold = least_margin(margins[own])
    return FitCheck(threshold, float((margins[~own] < threshold).mean()), len(own), population)


def least_margin(margins: np.ndarray) -> float:
    """The threshold below which the next clip of the same kind falls in at most :data:`REFUSED` of
    cases.

    The share is that over all draws of N margins and the next one (the order statistic of split
    conformal prediction), not that of the N themselves, which a small N would flatter. [N], N at
    least 1 / REFUSED - 1.
    """
    return float(np.sort(margins)[int(REFUSED * (len(margins) + 1)) - 1])


def _validation_learners(
    library: AdviceLibrary, cache: ContentStore, log: Callable[[str], None]
) -> tuple[pl.Series, np.ndarray] | None:
    """Sports [V] and vectors [V, D] of 04's validation learners whose sport has clips; None if too
    few.

    Their vectors are kept: they are embedded once for a run's models.
    """
    if library.retrieval is None:
        return None
    everyone = library.retrieval.table("learners").with_row_index("row").sort("learner_id")
    is_val = pl.col("split").cast(pl.String) == "val"
    learners = everyone.filter(is_val & pl.col("sport").is_in(library.sports))
    if learners.height < FEWEST:
        return None
    learners = learners[_spread_evenly(np.arange(learners.height), MOST_LEARNERS)]
    path = library.retrieval.path("learner_frames.npy")

    def embed() -> np.ndarray:
        log(f"embedding {learners.height} validation learners, once for this run")
        frames = np.load(path, mmap_mode="r")[learners["row"].to_numpy()]
        return models.load_tower(library.tower).encode_frames(frames)

    facts = ("check-1", library.encoder, library.digests, learners["learner_id"].to_list())
    return learners["sport"], cached(cache, path, facts, embed)


def cached(
    cache: ContentStore, path: Path, facts: tuple[Any, ...], compute: Callable[[], np.ndarray]
) -> np.ndarray:
    """What the cache has for this file and these facts, else what ``compute`` gives."""
    key = cache.key(path, *facts)
    array = cache.get(key)
    if array is None:
        array = compute()
        cache.put(key, array)
    return array


def _spread_evenly(rows: np.ndarray, most: int) -> np.ndarray:
    return rows[np.linspace(0, len(rows) - 1, min(len(rows), most)).astype(int)]


def margins_of(nearest_VS: np.ndarray) -> np.ndarray:
    """[V, S] nearest similarity in each sport → how far each sport is ahead of the best other
    one.
    """
    order = np.sort(nearest_VS, axis=1)
    best, second = order[:, -1:], order[:, -2:-1]
    return np.where(nearest_VS == best, nearest_VS - second, nearest_VS - best)


def margin(library: AdviceLibrary, learner_D: np.ndarray, sport: str) -> float:
    """How much more the learner's clip resembles the sport's nearest clip than the nearest of
    another sport.
    """
    alike, own = library.clip_ND @ learner_D, (library.clips["sport"] == sport).to_numpy()
    return float(alike[own].max() - alike[~own].max())
