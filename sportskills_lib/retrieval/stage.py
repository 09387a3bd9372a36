"""What notebook 04 calls: the library of clips, and the relevance model over it
(:mod:`ranked_systems` ranks).

Each function takes an empty table of learners and then does nothing but return empty tables: a
folder of lessons without learners goes through the same cells, and no model is loaded.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from sportskills_lib import metrics, models, tables
from sportskills_lib.config import RetrievalConfig
from sportskills_lib.learner_data import learners_source
from sportskills_lib.retrieval.ranking.baselines import KIND
from sportskills_lib.retrieval.ranking.first_stage import EncoderVectors, encoder_vectors
from sportskills_lib.retrieval.relevance import finetune
from sportskills_lib.retrieval.relevance.candidate_lists import VALIDATION_NDCG
from sportskills_lib.retrieval.relevance.finetune import add_lora
from sportskills_lib.retrieval.relevance.known_mistakes import spoken_of
from sportskills_lib.retrieval.relevance.model import load_vlm
from sportskills_lib.retrieval.relevance.pair_scorer import PairScorer, encode_pairs
from sportskills_lib.retrieval.relevance.visual_tokens import open_store
from sportskills_lib.retrieval.supervision.labelling import clip_texts, lesson_learners
from sportskills_lib.runs import artifacts

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
    learners: pl.DataFrame,
    learner_frames: np.ndarray,
    library: Library,
    vectors: LearnerVectors,
    config: RetrievalConfig,
) -> PairScorer:
    """Load the checkpoint, add fresh adapters (they change nothing yet), and encode the learners
    and the clips that can be ranked: those of sports that learners practise, or all of them.

    ``vectors``: of :func:`encode_learners`, which the dual scorer reads beside the visual tokens.
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
    scorer = encode_pairs(
        vlm,
        (clips["clip_id"].to_list(), library.frames[clips["row"].to_numpy()]),
        (learners["learner_id"].to_list(), learner_frames),
        library.texts,
        frames=config.frames,
        with_narration=config.with_narration,
        store=open_store(config.token_store_gb),
    )
    encoder = vectors["encoder_narrations"].vectors
    known = {**encoder.clips, **encoder.learners}
    rows_NE = np.stack([known[name] for name in scorer.places])
    scorer.encoder_NE = torch.from_numpy(rows_NE).float().to(vlm.device)
    return scorer


def finetune_scorer(
    scorer: PairScorer,
    supervision: pl.DataFrame,
    lessons: pl.DataFrame,
    learners: pl.DataFrame,
    library: Library,
    config: RetrievalConfig,
    *,
    folder: Path | None = None,
) -> pl.DataFrame:
    """Train the scorer in place on both kinds of supervision; the curves. Checkpoints are kept in
    ``folder``.
    """
    if not learners.height:
        return finetune.finetune(scorer, supervision, config)
    facts = ["learner_id", *KIND, "comment", "split"]
    shown = lesson_learners(library.clips, library.texts)
    people = pl.concat(
        [part.select(facts).cast({"split": pl.String}) for part in (learners, shown)]
    )
    mistakes, reading = spoken_of(learners, library.clips, library.texts)
    asked = people if config.search == "sport" else people.with_columns(sport=None)
    scorer.lend_words(asked, mistakes, reading, nearest=config.lent_comments)
    taught = pl.concat([supervision, lessons]).join(people, on="learner_id", maintain_order="left")
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


@dataclass(frozen=True)
class ArmVectors:
    """Vectors by one arm of 03, and how long the learners' took."""

    vectors: EncoderVectors
    seconds: float


LearnerVectors = dict[str, ArmVectors]  # by the system that ranks by them


def encode_learners(
    learners: pl.DataFrame, learner_frames: np.ndarray, library: Library, config: RetrievalConfig
) -> LearnerVectors:
    """The learners, the clips and their narrations by both arms of the encoder that is the first
    stage; nothing without learners.
    """
    found: LearnerVectors = {}
    if not learners.height:
        return found
    encoder = encoder_of(library, config.first_stage)
    for system, arm in ARMS.items():
        began = time.monotonic()
        vectors = arm_vectors(library, encoder, arm, learners, learner_frames, config.device)
        found[system] = ArmVectors(vectors, time.monotonic() - began)
    return found


def encoder_of(library: Library, wanted: str) -> str:
    """The encoder of 03 that is the first stage: the one that is wanted, or image where 03 has not
    trained it.
    """
    known = set(library.embeddings["model_id"].unique())
    return wanted if all(f"{wanted}:{arm}" in known for arm in ARMS.values()) else "image"


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
