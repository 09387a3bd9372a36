"""Which clips help: a learner's clip embedded, and ranked as 04 ranks its test learners.

The weights are those that 04 chose on its validation learners: how much the encoder looks at what
is said rather than at the pictures, and how much the relevance model adds. Without 04, or with
another encoder than that of 04's first stage, pictures and words count half each. Without 04 the
encoder alone decides, and no probability is given; nor is one without 04's calibration.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
import polars as pl

from sportskills_lib import models
from sportskills_lib.apps.advise.fit_check import cached
from sportskills_lib.apps.advise.learner_clip import LearnerClip
from sportskills_lib.apps.advise.run_library import MISTAKE, AdviceLibrary
from sportskills_lib.formats.files import digest
from sportskills_lib.retrieval.ranking.first_stage import UNCHOSEN, FirstStage
from sportskills_lib.retrieval.ranking.two_stage import (
    ENCODER,
    RELEVANCE,
    YES_NO,
    TwoStage,
)
from sportskills_lib.retrieval.relevance.dual_scorer import load_head, search_vectors
from sportskills_lib.retrieval.relevance.model import encode_videos, load_vlm
from sportskills_lib.retrieval.relevance.pair_scorer import encode_pairs, seen_frames
from sportskills_lib.retrieval.relevance.served import Server
from sportskills_lib.retrieval.relevance.visual_tokens import open_store
from sportskills_lib.retrieval.stage import checkpoint
from sportskills_lib.runs.content_store import ContentStore

TEXTS = {"learner_id": pl.String, "sport": pl.String}
LEARNER = "learner"  # the learner's id in the tables of one ranking
Log = Callable[[str], None]


@dataclass(frozen=True)
class RankedClips:
    """Rows of the library, the best first, with what the order is made of. ``probability`` is None
    without one.
    """

    rows: np.ndarray  # int64 [K]
    similarity: np.ndarray  # [K] cosine of the pictures
    probability: np.ndarray | None  # [K]
    how: str  # what decided, in words
    rankings: pl.DataFrame  # tables.Rankings of the systems that had a part
    mistake: tuple[str, float | None] | None = None  # what looks wrong, and how likely it is right


def embed(
    library: AdviceLibrary, learner: LearnerClip, cache: ContentStore, log: Log
) -> np.ndarray:
    """float32 [D]: the learner's clip by the run's encoder; kept, so that the model is loaded once
    per clip.
    """

    def encode() -> np.ndarray:
        log(f"embedding with the {library.encoder} encoder of run {library.run}")
        return models.load_tower(library.tower).encode_frames(learner.frames[None])[0]

    facts = ("advice-2", *learner.span, "vector", library.encoder, library.digests[:2])
    return cached(cache, learner.path, facts, encode)


def rank(
    library: AdviceLibrary,
    learner: LearnerClip,
    learner_D: np.ndarray,
    rows: np.ndarray,
    *,
    depth: int,
    sport: str | None,
    cache: ContentStore,
    log: Log,
    server: Server | None = None,
) -> RankedClips:
    """The rows of the library that may be suggested, the best first; at most ``depth`` of them.

    ``sport``: the learner's, among whose known mistakes the name of this one is looked for. With a
    ``server`` the relevance model is asked there instead of being loaded. One that 04 gave no
    weight is not asked at all.
    """
    choices, ids = library.choices, library.clips["clip_id"].gather(rows)
    score = partial(_score_shortlist, library, learner, cache, log, server)
    weight = choices.relevance_weight if choices else 0.0
    known = choices and choices.encoder == library.encoder and {*ids} <= {*library.gallery}
    search, mistake = choices.search if choices and known else ENCODER, None
    if search == ENCODER:
        vectors = replace(library.vectors, learners={LEARNER: learner_D})
        blend = library.blend
        if blend is None:  # in units of the spread among the clips that may be suggested
            asked = pl.DataFrame({"learner_id": LEARNER, "clip_id": ids})
            blend, _ = vectors.blend(asked, UNCHOSEN)
        first = vectors.first_stage(blend)
    else:
        asked = pl.DataFrame({"learner_id": [LEARNER], "sport": [sport]}, schema_overrides=TEXTS)
        asked_D = _search_vector(library, learner, learner_D, asked, cache, log)
        first = FirstStage({LEARNER: asked_D}, library.gallery)
        mistake = _name(library, asked, asked_D)
    stages = TwoStage(first, score if weight else None, weight, search)
    # a fused score is relative to its shortlist: another says how likely a clip helps
    scored = YES_NO if weight and search == ENCODER else search
    rankings = stages.rankings(stages.shortlist([LEARNER], ids.to_list(), depth=depth))
    order = rankings.filter(system=RELEVANCE if weight else search)["clip_id"]
    best = _rows_of(library, order)
    calibration, probability = library.calibrations.get(scored), None
    if calibration is not None:
        by_clip = dict(rankings.filter(system=scored).select("clip_id", "score").iter_rows())
        probability = calibration.probability([by_clip[clip_id] for clip_id in order])
    how = _explain(library, stages, len(best))
    alike = library.clip_ND[best] @ learner_D
    return RankedClips(best, alike, probability, how, rankings, mistake)


def _name(
    library: AdviceLibrary, asked: pl.DataFrame, query_D: np.ndarray
) -> tuple[str, float | None] | None:
    """What looks wrong, in the words of somebody who saw the like, and how likely that is right
    (None: not calibrated); None where nobody spoke of such.
    """
    named = library.mistakes.names(asked, query_D[None]) if library.mistakes else None
    if named is None or named.is_empty():
        return None
    fitted = library.calibrations.get(MISTAKE)
    said, score = named.row(0, named=True)["comment"], named["score"].to_numpy()
    return said, float(fitted.probability(score)[0]) if fitted else None


def _search_vector(
    library: AdviceLibrary,
    learner: LearnerClip,
    learner_D: np.ndarray,
    asked: pl.DataFrame,
    cache: ContentStore,
    log: Log,
) -> np.ndarray:
    """float32 [D]: the learner's clip as 04's search asks for it; kept, as :func:`embed`.

    ``learner_D``: by the encoder of 04's first stage; ``asked``: learner_id and sport.
    """
    assert library.retrieval is not None
    config, folder = library.retrieval.manifest["config"], library.retrieval.folder

    def encode() -> np.ndarray:
        log(f"reading the clip with the relevance model of run {library.run}")
        vlm = load_vlm(checkpoint(config["model"]), device=config["device"])
        seen = seen_frames(learner.frames.shape[0], config["frames"])
        store = open_store(config["token_store_gb"])
        visual_1KD = encode_videos(vlm, learner.frames[None][:, seen], store=store)
        encoder_1E = visual_1KD.float().new_tensor(learner_D[None])
        head, lent_1R = load_head(folder / "adapter", visual_1KD), None
        if library.mistakes:
            lent_1R = encoder_1E.new_tensor(library.mistakes.lend(asked, learner_D[None]))
        return search_vectors(head, visual_1KD, encoder_1E, lent_1R)[0]

    facts = ("advice-4", *learner.span, "search", asked["sport"][0], library.digests)
    return cached(cache, learner.path, facts, encode)


def _rows_of(library: AdviceLibrary, clip_ids: pl.Series) -> np.ndarray:
    """Rows of the library, int64 [K]."""
    places = {clip_id: row for row, clip_id in enumerate(library.clips["clip_id"])}
    return np.array([places[clip_id] for clip_id in clip_ids], np.int64)


def _score_shortlist(
    library: AdviceLibrary,
    learner: LearnerClip,
    cache: ContentStore,
    log: Log,
    server: Server | None,
    pairs: pl.DataFrame,
) -> np.ndarray:
    """The relevance model's score of each clip of ``pairs`` [K], by a server or kept in the
    cache.
    """
    rows = _rows_of(library, pairs["clip_id"])
    if server:
        return served_scores(library, learner, rows, log, server)
    clips = digest(pairs["clip_id"].to_list())
    facts = ("advice-2", *learner.span, "relevance", library.digests, clips)
    score = partial(relevance_scores, library, learner, pairs, rows, log)
    return cached(cache, learner.path, facts, score)


def _explain(library: AdviceLibrary, stages: TwoStage, count: int) -> str:
    words = library.blend.narration_weight if library.blend else UNCHOSEN
    shares = f"{100 * (1 - words):.0f} % pictures, {100 * words:.0f} % words"
    text = f"the {library.encoder} encoder: {shares}"
    if stages.search != ENCODER:
        text = "the relevance model of 04 and 02's label of correct demonstrations"
    if library.choices is not None:
        weight = f"{100 * stages.relevance_weight:.0f} %"
        text += f"; of the nearest {count}, {weight} the yes or no of the relevance model of 04"
    return text


def served_scores(
    library: AdviceLibrary, learner: LearnerClip, rows: np.ndarray, log: Log, server: Server
) -> np.ndarray:
    """float64 [K]: :func:`relevance_scores` from a server that holds 04's model, within
    ``served.SCORE_TOLERANCE``.

    A pair that the server does not answer is ranked last, with a log line; ValueError where it
    answers none.
    """
    assert library.retrieval is not None
    config = library.retrieval.manifest["config"]
    log(f"comparing with {len(rows)} clips by {server.model} at {server.url}")
    seen, texts = seen_frames(learner.frames.shape[0], config["frames"]), library.clips["text"]
    pairs = [
        (
            learner.frames[seen],
            np.asarray(library.frames[row])[seen],
            texts[row] if config["with_narration"] else None,
        )
        for row in rows.tolist()
    ]
    replies = server.scores(pairs)
    scores = np.array([reply.score for reply in replies])
    failures = [reply.reason for reply in replies if reply.reason]
    if len(failures) == len(replies):
        raise ValueError(
            f"{server.url} scored none of {len(replies)} clips ({failures[0]}): check the server, "
            "or leave --served out"
        )
    if failures:
        log(
            f"{len(failures)} of {len(replies)} clips were not scored and rank last ({failures[0]})"
        )
    return np.where(np.isfinite(scores), scores, np.nanmin(scores) - 1.0)


def relevance_scores(
    library: AdviceLibrary, learner: LearnerClip, pairs: pl.DataFrame, rows: np.ndarray, log: Log
) -> np.ndarray:
    """float64 [K]: 04's relevance model on the learner's clip beside each clip of ``pairs``, whose
    rows of the library are ``rows``.
    """
    assert library.retrieval is not None
    config, folder = library.retrieval.manifest["config"], library.retrieval.folder
    log(f"comparing with {len(rows)} clips by the relevance model of run {library.run}")
    vlm = load_vlm(
        checkpoint(config["model"]),
        device=config["device"],
        adapter=folder / "adapter",
        quantize=config["quantize"],
    )
    return encode_pairs(
        vlm,
        (pairs["clip_id"].to_list(), np.asarray(library.frames[rows])),
        ([LEARNER], learner.frames[None]),
        dict(library.clips.select("clip_id", "text").iter_rows()),
        frames=config["frames"],
        with_narration=config["with_narration"],
        store=open_store(config["token_store_gb"]),
    ).scores(pairs)
