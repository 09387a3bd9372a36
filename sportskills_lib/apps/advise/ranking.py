"""Which clips help: the encoder's nearest, the relevance model over the shortlist, and whether
anything fits at all.

The order of a run is that of its own 04: how much the encoder looks at what is said rather than at
the pictures, and how much the relevance model adds to the encoder, are the weights that 04 chose on
its validation learners (0.5, where it had none, or chose for another encoder). Without 04 the
encoder alone decides, and no probability is given; nor is one without 04's calibration.

Whether anything fits is asked where a sport is named: a learner whose clip looks more like the
clips of other sports is not advised. A clip's *margin* is its similarity to the nearest clip of the
sport, less that to the nearest clip of another one. 04's validation learners say which margins are
usual; without 20 of them the run's own validation clips do, each against the clips of other
channels, though learners, filmed otherwise than lessons, have smaller margins. The threshold is the
one that all but :data:`REFUSED` of them pass. How many of them would be stopped under the name of
another sport is told with it: that is what the check is worth.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from sportskills_lib import models
from sportskills_lib.apps.advise.learner_clip import Learner
from sportskills_lib.apps.advise.run_library import Library
from sportskills_lib.retrieval.ranking import first_stage, nearest
from sportskills_lib.retrieval.relevance import calibration, model, token_store
from sportskills_lib.retrieval.relevance.served import Server
from sportskills_lib.retrieval.stage import seen_frames
from sportskills_lib.runs import artifacts
from sportskills_lib.runs.content_store import ContentStore
from sportskills_lib.runs.fingerprints import digest

REFUSED = 0.05  # share of those like the ones that set the threshold that it may refuse
FEWEST = 20  # validation learners, or clips, that it takes to set one
MOST = 500  # and at most so many clips are asked …
MOST_LEARNERS = 200  # … or so many learners, who must be embedded first
FIRST, FUSED = "encoder_narrations", "fused"  # how 04 names these choices


@dataclass(frozen=True)
class Check:
    """What margin a clip of its own sport has. ``threshold`` is None where there was too little to
    set one (``why``).

    ``stopped``: share of those asked that it stops under another sport's name; ``asked`` of them,
    who are ``whose``.
    """

    threshold: float | None
    stopped: float = 0.0
    asked: int = 0
    why: str = ""
    whose: str = "validation clips"


@dataclass(frozen=True)
class Ranked:
    """Rows of the library, the best first, with what the order is made of. ``probability`` is None
    without one.
    """

    rows: np.ndarray  # int64 [K]
    similarity: np.ndarray  # [K] cosine of the pictures
    probability: np.ndarray | None  # [K]
    how: str  # what decided, in words


def check_of(library: Library, cache: ContentStore | None, say: Callable[[str], None]) -> Check:
    """The margins of 04's validation learners; without them of the run's validation clips, against
    other channels.
    """
    sports = sorted(set(library.clips["sport"]))
    if len(sports) < 2:
        return Check(None, why="the library has one sport, so there is none to compare with")
    of = np.array([sports.index(name) for name in library.clips["sport"]])
    asked, vectors = validation_learners(library, cache, say)
    whose, meant = (
        "validation learners",
        np.array([sports.index(name) for name in asked["sport"]], int),
    )
    alike = vectors @ library.clip_ND.T
    if not asked.height:
        rows = _evenly(
            np.flatnonzero((library.clips["split"].cast(pl.String) == "val").to_numpy()), MOST
        )
        if len(rows) < FEWEST:
            return Check(None, why=f"the run has {len(rows)} validation clips; it takes {FEWEST}")
        whose, meant, channels = "validation clips", of[rows], library.clips["channel"].to_numpy()
        alike = library.clip_ND[rows] @ library.clip_ND.T
        alike[channels[rows][:, None] == channels[None]] = -1.0
    best = np.stack(
        [alike[:, of == sport].max(1) for sport in range(len(sports))], axis=1
    )  # [V, sports]
    margins = margins_of(best)
    own = np.eye(len(sports), dtype=bool)[meant]
    threshold = least_margin(margins[own])
    return Check(threshold, float((margins[~own] < threshold).mean()), len(meant), whose=whose)


def least_margin(margins: np.ndarray) -> float:
    """The threshold below which the next clip of the same kind falls in at most :data:`REFUSED` of
    cases.

    The share is that over all draws of N margins and the next one (the order statistic of split
    conformal prediction), not that of the N themselves, which a small N would flatter. [N], N at
    least 1 / REFUSED - 1.
    """
    return float(np.sort(margins)[int(REFUSED * (len(margins) + 1)) - 1])


def validation_learners(
    library: Library, cache: ContentStore | None, say: Callable[[str], None]
) -> tuple[pl.DataFrame, np.ndarray]:
    """Rows (learner_id, sport) and vectors [V, D] of 04's validation learners whose sport has
    clips; none if too few.

    Their vectors are kept: they are embedded once for a run's models.
    """
    nobody = pl.DataFrame(schema={"learner_id": pl.String, "sport": pl.String})
    nothing = np.zeros((0, library.clip_ND.shape[1]), np.float32)
    if library.retrieval is None:
        return nobody, nothing
    people = library.retrieval.table("learners").with_row_index("row")
    people = people.filter(
        (pl.col("split").cast(pl.String) == "val") & pl.col("sport").is_in(list(library.sports()))
    ).sort("learner_id")
    if people.height < FEWEST:
        return nobody, nothing
    people = people[_evenly(np.arange(people.height), MOST_LEARNERS)]
    path = library.retrieval.path("learner_frames.npy")
    key = (
        cache.key(path, "check-1", library.encoder, library.digests, people["learner_id"].to_list())
        if cache
        else ""
    )
    vectors = cache.get(key) if cache else None
    if vectors is None:
        say(f"embedding {people.height} validation learners, once for this run")
        frames = np.load(path, mmap_mode="r")[people["row"].to_numpy()]
        vectors = models.load_tower(library.tower).encode_frames(frames)
        if cache:
            cache.put(key, vectors)
    return people.select("learner_id", "sport"), vectors


def _evenly(rows: np.ndarray, most: int) -> np.ndarray:
    return (
        rows[np.linspace(0, len(rows) - 1, min(len(rows), most)).astype(int)] if len(rows) else rows
    )


def margins_of(nearest: np.ndarray) -> np.ndarray:
    """[V, S] nearest similarity in each sport → how far each sport is ahead of the best other
    one.
    """
    order = np.sort(nearest, axis=1)
    best, second = order[:, -1:], order[:, -2:-1]
    return np.where(nearest == best, nearest - second, nearest - best)


def margin(library: Library, learner_D: np.ndarray, sport: str) -> float:
    """How much more the learner's clip resembles the sport's nearest clip than the nearest of
    another sport.
    """
    alike, own = library.clip_ND @ learner_D, (library.clips["sport"] == sport).to_numpy()
    return float(alike[own].max() - alike[~own].max())


def embed(
    library: Library, learner: Learner, cache: ContentStore | None, say: Callable[[str], None]
) -> np.ndarray:
    """float32 [D]: the learner's clip by the run's encoder; kept, so that the model is loaded once
    a clip.
    """

    def make() -> np.ndarray:
        say(f"embedding with the {library.encoder} encoder of run {library.run}")
        return models.load_tower(library.tower).encode_frames(learner.frames[None])[0]

    return _kept(cache, learner, ("vector", library.encoder, library.digests[:2]), make)


def _kept(
    cache: ContentStore | None, learner: Learner, facts: Any, make: Callable[[], np.ndarray]
) -> np.ndarray:
    if cache is None:
        return make()
    key = cache.key(learner.path, "advice-1", learner.start_s, learner.end_s, facts)
    found = cache.get(key)
    if found is None:
        found = make()
        cache.put(key, found)
    return found


def rank(
    library: Library,
    learner: Learner,
    learner_D: np.ndarray,
    rows: np.ndarray,
    *,
    shortlist: int,
    cache: ContentStore | None,
    say: Callable[[str], None],
    server: Server | None = None,
) -> Ranked:
    """The rows of the library that may be suggested, the best first; at most ``shortlist`` of them.

    Ties stand in order of clip_id. With a ``server`` the relevance model is asked there instead of
    being loaded.
    """
    said = chosen_weight(library.retrieval, f"{FIRST} ({library.encoder})")
    pictures, words = library.clip_ND[rows] @ learner_D, library.said_ND[rows] @ learner_D
    units, sure = encoder_units(library, said, cache, say)
    first = (1 - said) * pictures / (units[0] or spread(pictures)) + said * words / (
        units[1] or spread(words)
    )
    order = np.lexsort((library.clips["clip_id"].to_numpy()[rows], -first))[:shortlist]
    rows, first, pictures = rows[order], first[order], pictures[order]
    how = f"the {library.encoder} encoder: {_share(1 - said)} pictures, {_share(said)} words"
    if library.retrieval is None:
        return Ranked(rows, pictures, None, how)
    added, fitted = chosen_weight(library.retrieval, FUSED), _calibration(library.retrieval.folder)
    if not added:
        probability = None if sure is None else sure.probability(first)
        return Ranked(
            rows,
            pictures,
            probability,
            f"{how}; 04's validation gave its relevance model no weight",
        )
    facts = (
        "relevance",
        library.digests,
        digest(library.clips["clip_id"].to_numpy()[rows].tolist()),
    )
    if server:
        scores = served_scores(library, learner, rows, say, server)
    else:
        scores = _kept(cache, learner, facts, lambda: relevance_scores(library, learner, rows, say))
    probability = None if fitted is None else np.asarray(fitted.probability(scores), np.float64)
    order = np.lexsort(
        (
            np.arange(len(rows)),
            -((1 - added) * first / spread(first) + added * scores / spread(scores)),
        )
    )
    how = f"{how}; of the nearest {len(rows)}, {_share(added)} the relevance model of 04"
    return Ranked(
        rows[order], pictures[order], None if probability is None else probability[order], how
    )


def _share(weight: float) -> str:
    return f"{100 * weight:.0f} %"


def spread(scores: np.ndarray) -> float:
    """The deviation of scores, in units of which they can be added up; 1 where they are equal."""
    found = float(scores.std()) if len(scores) else 0.0
    return found if found > 1e-12 else 1.0


def encoder_units(
    library: Library, said: float, cache: ContentStore | None, say: Callable[[str], None]
) -> tuple[tuple[float, float], calibration.Calibration | None]:
    """The usual spread of pictures and of words among 04's validation pairs, and the calibration of
    their sum.

    Zeros and None without such pairs. A probability must be that of the score that ranks: of clips
    that the encoder has put first, most help, whatever a score that had no part in it says.
    """
    people, vectors = validation_learners(library, cache, say)
    if library.retrieval is None or not people.height:
        return (0.0, 0.0), None
    places = people.select("learner_id").with_row_index("place")
    pairs = library.retrieval.table("supervision").join(
        places, on="learner_id", maintain_order="left"
    )
    pairs = pairs.join(
        library.clips.select("clip_id").with_row_index("row"), on="clip_id", maintain_order="left"
    )
    who, what = vectors[pairs["place"].to_numpy()], pairs["row"].to_numpy()
    pictures, words = (who * library.clip_ND[what]).sum(1), (who * library.said_ND[what]).sum(1)
    units = nearest.usual_spread(pairs, pictures), nearest.usual_spread(pairs, words)
    labels = (pairs["label"].to_numpy() > 0).astype(np.float64)
    if not 0 < labels.sum() < len(labels):
        return (0.0, 0.0), None
    return units, calibration.fit(
        (1 - said) * pictures / units[0] + said * words / units[1], labels
    )


def chosen_weight(retrieval: artifacts.StageReader | None, name: str) -> float:
    """The weight that 04 chose on validation, by its own rule; systems.UNCHOSEN without a
    choice.
    """
    if retrieval is None or "choices.parquet" not in retrieval.manifest["outputs"]:
        return first_stage.UNCHOSEN
    tried = first_stage.chosen(retrieval.table("choices")).filter(
        pl.col("choice").str.starts_with(name), "chosen"
    )
    return float(tried["weight"][0]) if tried.height else first_stage.UNCHOSEN


def _calibration(folder: Path) -> calibration.Calibration | None:
    """04's calibration, where it has one that was fitted on something."""
    found = calibration.load(folder)
    return found if found is not None and found.pairs else None


def served_scores(
    library: Library, learner: Learner, rows: np.ndarray, say: Callable[[str], None], server: Server
) -> np.ndarray:
    """float64 [K]: :func:`relevance_scores` from a server that holds 04's model, within
    ``serving.SCORE_TOLERANCE``.

    A pair that the server does not answer stands last, and is said; ValueError where it answers
    none.
    """
    assert library.retrieval is not None
    config = library.retrieval.manifest["config"]
    say(f"comparing with {len(rows)} clips by {server.model} at {server.url}")
    kept = seen_frames(learner.frames.shape[0], config["frames"])
    own, texts = learner.frames[kept], library.clips["text"].to_list()
    said = [texts[row] if config["with_narration"] else None for row in rows.tolist()]
    pairs = [
        (own, np.asarray(library.frames[row])[kept], words)
        for row, words in zip(rows.tolist(), said, strict=True)
    ]
    found = server.scores(pairs)
    scores = np.array([each.score for each in found])
    lost = [each.reason for each in found if each.reason]
    if len(lost) == len(found):
        raise ValueError(
            f"{server.url} scored none of {len(found)} clips ({lost[0]}): leave --served out, "
            "or mend it"
        )
    if lost:
        say(f"{len(lost)} of {len(found)} clips were not scored and stand last ({lost[0]})")
    return np.where(np.isfinite(scores), scores, np.nanmin(scores) - 1.0)


def relevance_scores(
    library: Library, learner: Learner, rows: np.ndarray, say: Callable[[str], None]
) -> np.ndarray:
    """float32 [K]: 04's relevance model on the learner's clip beside each of ``rows``; 1 query, K
    candidates.
    """
    import torch

    assert library.retrieval is not None
    config = library.retrieval.manifest["config"]
    local = artifacts.workspace() / config["model"]
    say(f"comparing with {len(rows)} clips by the relevance model of run {library.run}")
    vlm = model.load_vlm(
        str(local) if local.is_dir() else config["model"],
        device=config["device"],
        adapter=library.retrieval.folder / "adapter",
    )
    kept = seen_frames(learner.frames.shape[0], config["frames"])
    store = token_store.open_store(config["token_store_gb"])
    own = model.encode_videos(vlm, learner.frames[None, kept], store=store)
    clips = model.encode_videos(vlm, np.asarray(library.frames[rows])[:, kept], store=store)
    tokens = torch.cat([own, clips])
    texts = library.clips["text"].to_list()
    said = (
        {place: texts[row] for place, row in enumerate(rows.tolist(), start=1)}
        if config["with_narration"]
        else None
    )
    queries = [(0, list(range(1, len(rows) + 1)))]
    return model.score_pairs(vlm, tokens, vlm.grid(learner.frames[kept].shape), queries, said)[0]
