"""What notebook 04 calls: the library of clips, the relevance model over it, and every system's
rankings.

Each function takes an empty table of learners and then does nothing but return empty tables: a
folder of lessons without learners goes through the same cells, and no model is loaded.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from sportskills_lib import metrics, models, tables
from sportskills_lib.config import RetrievalConfig
from sportskills_lib.learner_data import learners_source
from sportskills_lib.retrieval.ranking import two_stage
from sportskills_lib.retrieval.ranking.first_stage import (
    WEAK_NDCG,
    EncoderVectors,
    blend,
    choose_weight,
    encoder_vectors,
    oracle_scores,
    random_scores,
    same_skill_scores,
    swapped_learners,
)
from sportskills_lib.retrieval.ranking.two_stage import RankingChoices
from sportskills_lib.retrieval.relevance import calibration, finetune
from sportskills_lib.retrieval.relevance.calibration import Calibration
from sportskills_lib.retrieval.relevance.finetune import VALIDATION_NDCG, add_lora
from sportskills_lib.retrieval.relevance.model import load_vlm
from sportskills_lib.retrieval.relevance.pair_scorer import PairScorer, encode_pairs
from sportskills_lib.retrieval.relevance.visual_tokens import open_store
from sportskills_lib.retrieval.supervision.labelling import clip_texts
from sportskills_lib.runs import artifacts

TIMINGS = {"part": pl.String, "seconds": pl.Float64, "items": pl.Int64, "item": pl.String}
ARMS = {"encoder_zero_shot": "zero_shot", "encoder_narrations": "narrations"}


def sources(config: RetrievalConfig) -> list[str]:
    """The raw folders and files that the stage reads: those of the settings that are there."""
    source = learners_source(config.learners)
    if source is None:
        return []
    paths = [config.learners, config.ratings, config.model]
    if source.is_file():  # a table's videos lie in its folder
        paths.insert(1, Path(config.learners).parent.as_posix())
    return [path for path in paths if path and _local(path).exists()]


def _local(path: str) -> Path:
    return artifacts.workspace() / path


@dataclass(frozen=True)
class Library:
    """The clips of 02 with their sentences and frames, and the towers of 03."""

    clips: pl.DataFrame
    pairs: pl.DataFrame
    texts: dict[str, str]
    frames: np.ndarray  # uint8 [N, T, H, W, 3], row i is clip i
    embeddings: pl.DataFrame
    encoder: Path  # folder of 03


def open_library(run: str) -> Library:
    """Read 01, 02 and 03 of a run."""
    curation, pairing, encoder = (artifacts.open_stage(run, name) for name in artifacts.STAGES[:3])
    clips, pairs = pairing.table("clips", tables.Clips), pairing.table("pairs", tables.Pairs)
    narrations = curation.table("narrations", tables.Narrations)
    frames = np.load(pairing.path("frames.npy"), mmap_mode="r")
    embeddings = encoder.table("embeddings", tables.Embeddings)
    return Library(
        clips, pairs, clip_texts(clips, pairs, narrations), frames, embeddings, encoder.folder
    )


def ratings_file(config: RetrievalConfig) -> Path | None:
    """The file that names the judged candidates; None when the setting is empty or the file is not
    there.
    """
    path = _local(config.ratings)
    return path if config.ratings and path.is_file() else None


def rows_per_learner(supervision: pl.DataFrame, learner_ids: pl.Series) -> pl.DataFrame:
    """How many rows of each kind each learner has, also none: kind, label, learner_id, rows.

    ``kind`` is the reason; a masked row's label is null.
    """
    kinds = supervision.group_by(kind="reason").agg(pl.col("label").max())
    counts = supervision.group_by("learner_id", kind="reason").agg(rows=pl.len().cast(pl.Int64))
    return (
        kinds.join(pl.DataFrame({"learner_id": learner_ids.unique().sort()}), how="cross")
        .join(counts, on=["kind", "learner_id"], how="left")
        .with_columns(pl.col("rows").fill_null(0))
        .sort(pl.col("label").fill_null(-1), "kind", "learner_id", descending=[True, False, False])
    )


@dataclass(frozen=True)
class Candidates:
    """What systems rank: pools of test learners; and the validation lists on which choices are
    made.
    """

    pools: pl.DataFrame  # learner_id, clip_id
    validation: pl.DataFrame  # learner_id, clip_id, label, participant


def candidates(
    pools: pl.DataFrame, supervision: pl.DataFrame, learners: pl.DataFrame
) -> Candidates:
    """Pools of the test learners only, and the weak labels of the validation learners."""

    test, val = (learners.filter(pl.col("split") == split) for split in ("test", "val"))
    people = val.select("learner_id", "participant")
    return Candidates(
        pools.join(test, on="learner_id", how="semi", maintain_order="left"),
        supervision.join(people, on="learner_id", maintain_order="left"),
    )


# ---------------------------------------------------------------------------------- relevance model


def open_scorer(
    learners: pl.DataFrame, learner_frames: np.ndarray, library: Library, config: RetrievalConfig
) -> PairScorer:
    """Load the checkpoint, add fresh adapters (they change nothing yet), and encode the learners
    and the clips that can be ranked: those of sports that learners practise, or all of them.
    """
    import torch

    if not learners.height:
        return PairScorer(None)
    torch.manual_seed(config.seed)
    vlm = load_vlm(checkpoint(config.model), device=config.device, quantize=config.quantize)
    vlm = add_lora(vlm, rank=config.lora_rank, alpha=config.lora_alpha)
    clips = library.clips.with_row_index("row")
    if config.search == "sport":
        clips = clips.filter(pl.col("sport").is_in(learners["sport"].unique().implode()))
    return encode_pairs(
        vlm,
        (clips["clip_id"].to_list(), library.frames[clips["row"].to_numpy()]),
        (learners["learner_id"].to_list(), learner_frames),
        library.texts,
        frames=config.frames,
        with_narration=config.with_narration,
        store=open_store(config.token_store_gb),
    )


def finetune_scorer(
    scorer: PairScorer,
    supervision: pl.DataFrame,
    lessons: pl.DataFrame,
    learners: pl.DataFrame,
    config: RetrievalConfig,
    *,
    folder: Path | None = None,
) -> pl.DataFrame:
    """Train the scorer's adapters in place on both kinds of supervision; the curve. Checkpoints are
    kept in ``folder``.
    """
    own = supervision.join(
        learners.select("learner_id", pl.col("split").cast(pl.String)),
        on="learner_id",
        maintain_order="left",
    )
    taught = pl.concat([own, lessons.with_columns(split=pl.lit("train"))])
    return finetune.finetune(scorer, taught, config, folder=folder)


def checkpoint(name: str) -> str:
    """A folder of the workspace, or the hub id that it is otherwise."""
    return str(_local(name)) if _local(name).is_dir() else name


# ------------------------------------------------------------------------------------------ systems


def learner_embeddings(
    library: Library, encoder: str, arm: str, learner_frames: np.ndarray, device: str
) -> np.ndarray:
    """float32 [M, D]: the learners' clips through the tower of one arm of 03."""
    return models.load_tower(
        library.encoder / "models" / encoder / arm, device=device
    ).encode_frames(learner_frames)


def arm_vectors(
    library: Library,
    encoder: str,
    arm: str,
    learners: pl.DataFrame,
    learner_frames: np.ndarray,
    device: str,
) -> EncoderVectors:
    """Vectors of the learners, the clips and their narrations by one arm of 03."""
    vectors = learner_embeddings(library, encoder, arm, learner_frames, device)
    by_learner = dict(zip(learners["learner_id"], vectors, strict=True))
    return encoder_vectors(library.embeddings, f"{encoder}:{arm}", library.pairs, by_learner)


def encoder_of(library: Library, wanted: str) -> str:
    """The encoder of 03 that is the first stage: the one that is wanted, or image where 03 has not
    trained it.
    """
    known = set(library.embeddings["model_id"].unique())
    return wanted if all(f"{wanted}:{arm}" in known for arm in ARMS.values()) else "image"


@dataclass(frozen=True)
class RetrievalResult:
    """What 04 ranked: tables.Rankings of the judged pools, of the library and of variants, and how
    they came to be.
    """

    rankings: pl.DataFrame
    library: pl.DataFrame
    variants: pl.DataFrame
    choices: pl.DataFrame  # choice, weight, weak nDCG@k
    timings: pl.DataFrame  # part, seconds, items, item
    calibration: (
        Calibration | None
    )  # of the relevance model; None without validation pairs of both kinds
    encoder_calibration: Calibration | None = None  # of encoder_narrations
    ranking_choices: RankingChoices | None = None  # None where nothing was ranked


def rank_all(
    candidates: Candidates,
    learners: pl.DataFrame,
    learner_frames: np.ndarray,
    library: Library,
    scorer: PairScorer,
    zero_shot: np.ndarray,
    config: RetrievalConfig,
) -> RetrievalResult:
    """Every system over the judged pools; the two stages over the library; the choices made on
    validation.

    ``zero_shot``: the model's scores of the pools before it was finetuned.
    """
    pools, validation = candidates.pools, candidates.validation
    timings: list[tuple[str, float, int, str]] = []
    rows: list[tuple[str, float, float]] = []
    kinds = {"choice": pl.String, "weight": pl.Float64, WEAK_NDCG: pl.Float64}
    if not pools.height:
        empty = two_stage.rank(pools, {})
        return RetrievalResult(
            empty, empty, empty, pl.DataFrame(schema=kinds), pl.DataFrame(schema=TIMINGS), None
        )
    scores = {
        "random": random_scores(pools, config.seed),
        "same_skill_random": same_skill_scores(pools, learners, library.clips, config.seed),
        "text_oracle": oracle_scores(pools, learners, library.texts),
        "vlm_zero_shot": zero_shot,
    }
    encoder = encoder_of(library, config.first_stage)
    for system, arm in ARMS.items():  # encoder_narrations, the last, is the first stage of `fused`
        with _timed(timings, f"{system}: learners' vectors", learners.height, "learner"):
            encoded = arm_vectors(library, encoder, arm, learners, learner_frames, config.device)
        own_blend, choice = encoded.blend(validation)
        first = encoded.first_stage(own_blend)
        rows += choice.rows(f"{system} ({encoder}): narration against pictures")
        scores[system] = first.scores(pools)
    with _timed(timings, "vlm_lora: scores", pools.height, "pair"):
        scores["vlm_lora"] = scorer.scores(pools)
    tuned_validation, first_validation = scorer.scores(validation), first.scores(validation)
    if config.speaking_weight:  # a model that was not taught to speak has nothing to describe
        scores["describe_then_retrieve"] = scorer.description_scores(pools, learners)
    scores["vlm_lora_shuffled"] = scorer.scores(pools, video_of=swapped_learners(learners))
    choice = choose_weight(validation, first_validation, tuned_validation)
    rows += choice.rows("fused: vlm_lora against encoder_narrations")
    both = scores["encoder_narrations"], scores["vlm_lora"]
    scores["fused"] = blend(pools, *both, choice.weight)
    stages = two_stage.TwoStage(first, scorer.scores, choice.weight)
    test = learners.filter(pl.col("learner_id").is_in(pools["learner_id"].unique().implode()))
    same_sport = config.search == "sport"
    with _timed(timings, "library: search and shortlist", test.height, "learner"):
        found = two_stage.shortlists(
            stages, test, library.clips, depth=config.shortlist, same_sport=same_sport
        )
        shortlists = stages.rankings(found)
    return RetrievalResult(
        two_stage.rank(pools, scores),
        shortlists,
        two_stage.variants(stages, pools, *both),
        pl.DataFrame(rows, schema=kinds, orient="row"),
        pl.DataFrame(timings, schema=TIMINGS, orient="row"),
        calibrate(candidates, tuned_validation),
        calibrate(candidates, first_validation),
        RankingChoices(encoder, own_blend, choice.weight),
    )


@contextmanager
def _timed(
    rows: list[tuple[str, float, int, str]], part: str, items: int, item: str
) -> Iterator[None]:
    """Add how long a part took, for the curve of quality against seconds."""
    began = time.monotonic()
    yield
    rows.append((part, time.monotonic() - began, items, item))


def calibrate(candidates: Candidates, scores: np.ndarray) -> Calibration | None:
    """Probabilities for a system's scores of the validation pairs, from their weak labels (any
    positive helps).

    How well they hold is measured on participants left out of the fit. None without validation
    pairs of both kinds.
    """
    labels = (candidates.validation["label"].to_numpy() > 0).astype(np.float64)
    groups = candidates.validation["participant"].to_list()
    return (
        calibration.fit(scores, labels, groups=groups) if 0 < labels.sum() < len(labels) else None
    )


def save_ranking(result: RetrievalResult, folder: Path) -> pl.DataFrame:
    """Write what `advise` needs to rank as 04 does: ranking.json, and the calibrations where there
    are any. Returns the relevance model's table of bins.
    """
    if result.ranking_choices is not None:
        result.ranking_choices.save(folder)
    if result.encoder_calibration is not None:
        calibration.save(result.encoder_calibration, folder, calibration.ENCODER_FILE)
    if result.calibration is None:
        return pl.DataFrame(schema=calibration.BINS_SCHEMA)
    calibration.save(result.calibration, folder)
    return result.calibration.bins


def headline(
    learners: pl.DataFrame, supervision: pl.DataFrame, curves: pl.DataFrame
) -> dict[str, Any]:
    """What `status` shows of the stage."""
    best = curves[VALIDATION_NDCG].drop_nans().max() if curves.height else None
    return {
        "learners": learners.height,
        "positives": supervision.filter(pl.col("label") > 0).height,
        metrics.at_k("weak_validation_ndcg"): None if best is None else round(float(best), 4),  # type: ignore[arg-type]
    }
