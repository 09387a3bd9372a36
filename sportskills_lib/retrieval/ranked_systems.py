"""What notebook 04 calls to rank: every system over the judged pools, the two stages over the
library, and what is chosen for that on the validation learners.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

import numpy as np
import polars as pl

from sportskills_lib.config import RetrievalConfig
from sportskills_lib.retrieval.ranking import baselines, two_stage
from sportskills_lib.retrieval.ranking.first_stage import WEAK_SCORE, EncoderVectors, FirstStage
from sportskills_lib.retrieval.ranking.systems import DUAL, Systems, add_words, blind, dual_search
from sportskills_lib.retrieval.ranking.two_stage import ENCODER, RELEVANCE, YES_NO, RankingChoices
from sportskills_lib.retrieval.relevance import calibration
from sportskills_lib.retrieval.relevance.calibration import Calibration
from sportskills_lib.retrieval.relevance.known_mistakes import (
    CALIBRATION_FILE,
    NAMED,
    NAMES,
    TRIED,
    spoken_of,
)
from sportskills_lib.retrieval.relevance.pair_scorer import PairScorer
from sportskills_lib.retrieval.stage import Candidates, LearnerVectors, Library, encoder_of
from sportskills_lib.retrieval.supervision.labelling import comments_similarity

Timing = tuple[str, float, int, str]
NAMED_MISTAKES = NAMED | {"probability": pl.Float64}
CHOICES = {
    "choice": pl.String,
    "weight": pl.Float64,
    WEAK_SCORE: pl.Float64,
    "chosen": pl.Boolean,
}
TIMINGS = {"part": pl.String, "seconds": pl.Float64, "items": pl.Int64, "item": pl.String}


@dataclass(frozen=True)
class RetrievalResult:
    """What 04 ranked: tables.Rankings of the judged pools, of those of their clips that are of the
    learner's skill, of the library and of variants, and how they came to be.
    """

    rankings: pl.DataFrame
    same_skill: pl.DataFrame
    library: pl.DataFrame
    variants: pl.DataFrame
    choices: pl.DataFrame  # choice, weight, weak_score, chosen
    timings: pl.DataFrame  # part, seconds, items, item
    # of the search's score; None without validation pairs of both kinds
    calibration: Calibration | None
    encoder_calibration: Calibration | None = None  # of encoder_narrations
    ranking_choices: RankingChoices | None = None  # None where nothing was ranked
    search: FirstStage | None = None  # of the dual scorer; None where it was not trained
    mistake_names: pl.DataFrame = field(default_factory=lambda: pl.DataFrame(schema=NAMED_MISTAKES))
    mistake_calibration: Calibration | None = None  # of the names' scores


def rank_all(
    candidates: Candidates,
    learners: pl.DataFrame,
    learner_vectors: LearnerVectors,
    library: Library,
    scorer: PairScorer,
    zero_shot: np.ndarray,
    config: RetrievalConfig,
) -> RetrievalResult:
    """Every system over the judged pools; the two stages over the library; the choices made on
    validation, on clips of the learner's skill alone.

    ``zero_shot``: the model's scores of the pools before it was finetuned.
    """
    pools = candidates.pools
    timings: list[Timing] = []
    if not pools.height:
        empty = two_stage.rank(pools, {})
        tried, timed = pl.DataFrame(schema=CHOICES), pl.DataFrame(schema=TIMINGS)
        return RetrievalResult(empty, empty, empty, empty, tried, timed, None)
    clips = library.clips
    lists = candidates.validation[baselines.same_skill(candidates.validation, learners, clips)]
    systems, made = Systems(lists), (learners, library, config)
    vectors, choices = _add_encoders(systems, learner_vectors, timings, *made)
    _add_words(systems, vectors, *made)
    search = _add_model(systems, scorer, *made)
    first = ENCODER if search is None else DUAL
    weight = systems.blend(RELEVANCE, first, YES_NO, needs_proof=True)
    choices = replace(choices, search=first, relevance_weight=weight)
    with _timed(timings, f"{YES_NO}: scores", pools.height, "pair"):
        scores = systems.scores(pools)
    scores["vlm_zero_shot"] = zero_shot
    if config.speaking_weight:  # a model that was not taught to speak has nothing to describe
        scores["describe_then_retrieve"] = scorer.description_scores(pools, learners)
    retriever = search or vectors.first_stage(choices.blend)
    stages = two_stage.TwoStage(retriever, scorer.scores, choices.relevance_weight, first)
    test = learners.filter(pl.col("learner_id").is_in(pools["learner_id"].unique().implode()))
    with _timed(timings, "library: search and shortlist", test.height, "learner"):
        found = two_stage.shortlists(
            stages, test, clips, depth=config.shortlist, same_sport=config.search == "sport"
        )
        shortlists = stages.rankings(found)
    # probabilities are said of what a search finds, so they are fitted on that
    asked = learners.join(candidates.validation, on="learner_id", how="semi")
    near = two_stage.shortlists(
        stages, asked, clips, depth=config.shortlist, same_sport=config.search == "sport"
    )
    seen = candidates.validation.join(near, on=["learner_id", "clip_id"], how="semi")
    own = baselines.same_skill(pools, learners, clips)
    own_scores = {name: values[own] for name, values in scores.items()}
    return RetrievalResult(
        two_stage.rank(pools, systems.blended(pools, scores)),
        two_stage.rank(pools[own], systems.blended(pools[own], own_scores)),
        shortlists,
        two_stage.variants(stages, pools, scores[first], scores[YES_NO]),
        pl.DataFrame(systems.rows, schema=CHOICES, orient="row"),
        pl.DataFrame(timings, schema=TIMINGS, orient="row"),
        calibrate(seen, search.scores if search else scorer.scores),
        calibrate(candidates.validation, vectors.first_stage(choices.blend).scores),
        choices,
        search,
        *name_mistakes(scorer, learners, library, config),
    )


def _add_encoders(
    systems: Systems,
    learner_vectors: LearnerVectors,
    timings: list[Timing],
    learners: pl.DataFrame,
    library: Library,
    config: RetrievalConfig,
) -> tuple[EncoderVectors, RankingChoices]:
    """Both arms of 03, chance and the label; the vectors of encoder_narrations, and how it looks at
    clips.
    """
    encoder, clips = encoder_of(library, config.first_stage), library.clips
    for system, arm in learner_vectors.items():  # encoder_narrations is the last
        timings.append((f"{system}: learners' vectors", arm.seconds, learners.height, "learner"))
        vectors = arm.vectors
        own_blend, choice = vectors.blend(systems.lists)
        systems.rows += choice.rows(f"{system} ({encoder}): narration against pictures")
        systems.add(system, vectors.first_stage(own_blend).scores)
    chance = partial(baselines.random_scores, seed=config.seed)
    skill = partial(baselines.same_skill_scores, learners=learners, clips=clips, seed=config.seed)
    correct = partial(baselines.correct_scores, clips=clips)
    systems.add("random", chance)
    systems.add("same_skill_random", skill)
    systems.add("correct", correct)
    systems.add(
        "correct_of_skill", lambda pairs: 2 * (skill(pairs) // 1) + correct(pairs) + chance(pairs)
    )
    systems.blend("encoder_correct", ENCODER, "correct")
    return vectors, RankingChoices(encoder, own_blend, 0.0)


def _add_words(
    systems: Systems,
    vectors: EncoderVectors,
    learners: pl.DataFrame,
    library: Library,
    config: RetrievalConfig,
) -> None:
    """What experts' words do: lent by the training mistakes that look alike, and the oracle, which
    reads those on the learner.
    """
    clips, texts = library.clips, library.texts
    known = learners.filter(pl.col("is_mistake") & (pl.col("split").cast(pl.String) != "test"))
    mistakes, reading = spoken_of(learners, clips, texts)
    borrow = partial(
        baselines.borrowed_words,
        learners=learners,
        mistakes=mistakes,
        vectors={**vectors.clips, **vectors.learners},
        texts=texts,
        similarity=reading,
    )
    add_words(systems, borrow)
    systems.blend("comments_knn", ENCODER, "words")
    systems.blend("comments_knn_correct", "comments_knn", "correct")
    every = comments_similarity(known, clips)
    oracle = partial(baselines.oracle_scores, learners=learners, texts=texts, similarity=every)
    systems.add("text_oracle", oracle)


def _add_model(
    systems: Systems,
    scorer: PairScorer,
    learners: pl.DataFrame,
    library: Library,
    config: RetrievalConfig,
) -> FirstStage | None:
    """The relevance model: yes/no, and, where it was trained, the dual scorer, by itself, with the
    label, and asked without the learner.
    """
    systems.add(YES_NO, scorer.scores)
    systems.blend("fused", ENCODER, YES_NO)
    if scorer.vectors is None:
        return None
    systems.add("vlm_dual", scorer.dual_scores)
    search, choice = dual_search(scorer, systems.lists, library.clips)
    systems.rows += choice.rows(f"{DUAL}: correct against vlm_dual")
    systems.add(DUAL, search.scores)
    systems.add("relevance_blind", blind(search, learners).scores)
    return search


def name_mistakes(
    scorer: PairScorer, learners: pl.DataFrame, library: Library, config: RetrievalConfig
) -> tuple[pl.DataFrame, Calibration | None]:
    """What the dual scorer says is wrong with the learners outside training, with a probability:
    calibrated on those of validation, for whom a name counts as right where it is as like the
    expert's comment as a positive must be (``positive_share``).
    """
    if scorer.mistakes is None or scorer.vectors is None:
        return pl.DataFrame(schema=NAMED_MISTAKES), None
    split = pl.col("split").cast(pl.String)
    asked = learners.filter("is_mistake", split != "train")
    rows = [scorer.places[name] for name in asked["learner_id"]]
    tried = scorer.mistakes.names(asked, scorer.vectors[0][rows], count=TRIED)
    named = tried.filter(pl.col("rank") <= NAMES)
    _, reading = spoken_of(learners, library.clips, library.texts)
    said, right, people = scorer.mistakes.table, list[float](), list[str]()
    told = asked.filter(split == "val").select("learner_id", "participant", "sport", "comment")
    for name, participant, sport, comment in told.iter_rows():
        alike = reading([comment], said.filter(sport=sport)["comment"].to_list()).max(initial=1e-9)
        own = tried.filter(learner_id=name)["comment"].to_list()
        right += (reading([comment], own)[0] / alike >= config.positive_share).tolist()
        people += [participant] * len(own)
    scores = tried.join(told, on="learner_id", how="semi", maintain_order="left")["score"]
    if not 0 < sum(right) < len(right):
        return named.with_columns(probability=pl.lit(None, pl.Float64)), None
    fitted = calibration.fit(scores.to_numpy(), right, groups=people)
    return named.with_columns(probability=fitted.probability(named["score"].to_numpy())), fitted


@contextmanager
def _timed(rows: list[Timing], part: str, items: int, item: str) -> Iterator[None]:
    """Add how long a part took, for the curve of quality against seconds."""
    began = time.monotonic()
    yield
    rows.append((part, time.monotonic() - began, items, item))


def calibrate(
    lists: pl.DataFrame, score: Callable[[pl.DataFrame], np.ndarray]
) -> Calibration | None:
    """Probabilities for a system's scores of the validation pairs, from their weak labels (any
    positive helps).

    How well they hold is measured on participants left out of the fit. None without validation
    pairs of both kinds.
    """
    labels = (lists["label"].to_numpy() > 0).astype(np.float64)
    groups = lists["participant"].to_list()
    if not 0 < labels.sum() < len(labels):
        return None
    return calibration.fit(score(lists), labels, groups=groups)


def save_ranking(result: RetrievalResult, folder: Path) -> pl.DataFrame:
    """Write what `advise` needs to rank as 04 does: ranking.json, the index of clips, and the
    calibrations where there are any. Returns the relevance model's table of bins.
    """
    if result.ranking_choices is not None:
        result.ranking_choices.save(folder)
    if result.search is not None:
        two_stage.save_index(result.search.gallery, folder)
    for fitted, name in (
        (result.encoder_calibration, calibration.ENCODER_FILE),
        (result.mistake_calibration, CALIBRATION_FILE),
    ):
        if fitted is not None:
            calibration.save(fitted, folder, name)
    if result.calibration is None:
        return pl.DataFrame(schema=calibration.BINS_SCHEMA)
    calibration.save(result.calibration, folder)
    return result.calibration.bins
