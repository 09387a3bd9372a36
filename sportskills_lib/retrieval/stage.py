"""What notebook 04 calls: the library of clips, the relevance model over it, and every system's
rankings.

Each function takes an empty table of learners and then does nothing but return empty tables: a
folder of lessons without learners goes through the same cells, and no model is loaded.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

from sportskills_lib import models, tables
from sportskills_lib.config import RetrievalConfig
from sportskills_lib.learner_data import learners_source
from sportskills_lib.retrieval.ranking import first_stage, nearest, two_stage
from sportskills_lib.retrieval.relevance import calibration, describe, model, token_store
from sportskills_lib.retrieval.relevance import finetune as finetune_module
from sportskills_lib.retrieval.relevance.calibration import Calibration
from sportskills_lib.retrieval.relevance.visual_tokens import Grid
from sportskills_lib.retrieval.supervision.labelling import clip_texts
from sportskills_lib.runs import artifacts

if TYPE_CHECKING:
    import torch

ARMS = {"encoder_zero_shot": "zero_shot", "encoder_narrations": "narrations"}


def sources(config: RetrievalConfig) -> list[str]:
    """The raw folders and files that the stage reads: those of the settings that are there."""
    source = learners_source(config.learners)
    if source is None:
        return []
    videos = (
        "" if source.is_dir() else Path(config.learners).parent.as_posix()
    )  # a table's lie in its folder
    return [
        path
        for path in (config.learners, videos, config.ratings, config.model)
        if path and _local(path).exists()
    ]


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
    pairing, encoder = (
        artifacts.open_stage(run, "02_pairing"),
        artifacts.open_stage(run, "03_encoder"),
    )
    clips, pairs = pairing.table("clips", tables.Clips), pairing.table("pairs", tables.Pairs)
    narrations = artifacts.open_stage(run, "01_curation").table("narrations", tables.Narrations)
    frames = np.load(pairing.path("frames.npy"), mmap_mode="r")
    if len(frames) != clips.height:
        raise ValueError(
            f"frames.npy holds {len(frames)} clips, clips.parquet {clips.height}: rerun 02_pairing"
        )
    embeddings = encoder.table("embeddings", tables.Embeddings)
    return Library(
        clips, pairs, clip_texts(clips, pairs, narrations), frames, embeddings, encoder.folder
    )


def frame_shape(library: Library) -> tuple[int, int]:
    """Frames a clip and pixels a side: learners are read like the clips."""
    return int(library.frames.shape[1]), int(library.frames.shape[2])


# ---------------------------------------------------------------------------------- relevance model


@dataclass
class PairScorer:
    """The relevance model over learners and clips, with every video's visual tokens computed
    once.
    """

    vlm: model.VisionLanguageModel | None
    visual_NKD: torch.Tensor | None = None
    grid: Grid = (0, 0, 0)
    places: dict[str, int] = field(default_factory=dict)
    said: dict[int, str] = field(
        default_factory=dict
    )  # what the coach says, by row of the visual tokens
    quotes: bool = True  # whether the prompt quotes it

    @property
    def narrations(self) -> dict[int, str] | None:
        """What the prompt quotes, by row; None where it quotes nothing."""
        return self.said if self.quotes else None

    def scores(
        self, pairs: pl.DataFrame, *, video_of: Mapping[str, str] | None = None
    ) -> np.ndarray:
        """Score of each row's learner and clip, [rows]; ``video_of`` shows another learner's video
        instead.
        """
        scores = np.zeros(pairs.height)
        if self.vlm is None or self.visual_NKD is None or not pairs.height:
            return scores
        groups = (
            pairs.with_row_index("row")
            .group_by("learner_id", maintain_order=True)
            .agg("row", "clip_id")
        )
        shown = [
            (video_of or {}).get(learner_id, learner_id) for learner_id in groups["learner_id"]
        ]
        queries = [
            (self.places[learner_id], [self.places[clip_id] for clip_id in clip_ids])
            for learner_id, clip_ids in zip(shown, groups["clip_id"], strict=True)
        ]
        found = model.score_pairs(self.vlm, self.visual_NKD, self.grid, queries, self.narrations)
        for rows, part in zip(groups["row"], found, strict=True):
            scores[rows.to_numpy()] = part
        return scores

    def finetune(
        self,
        supervision: pl.DataFrame,
        lessons: pl.DataFrame,
        learners: pl.DataFrame,
        config: RetrievalConfig,
        *,
        folder: Path | None = None,
    ) -> pl.DataFrame:
        """Train the adapters in place on both kinds of supervision; the curve. Checkpoints are kept
        in ``folder``.
        """
        if self.vlm is None or self.visual_NKD is None:
            return pl.DataFrame(schema=finetune_module.CURVES)
        splits = dict(learners.select("learner_id", pl.col("split").cast(pl.String)).iter_rows())
        data = finetune_module.RelevanceData(
            self.visual_NKD,
            self.grid,
            pl.concat([supervision, lessons]),
            splits | dict.fromkeys(lessons["learner_id"], "train"),
            self.places,
            self.narrations,
            self.said,
        )
        names = [one.name for one in fields(finetune_module.FinetuneSettings)]
        settings = finetune_module.FinetuneSettings(**{n: getattr(config, n) for n in names})
        return finetune_module.finetune(
            self.vlm, data, settings, folder=folder, processes=config.processes
        )

    def speaks(self, pairs: pl.DataFrame, learners: pl.DataFrame) -> np.ndarray:
        """How much likelier each row's sentence is for its learner than for others of the sport,
        [rows].

        The others are training learners, one of each skill (the first by id).
        """
        scores = np.zeros(pairs.height)
        if self.vlm is None or self.visual_NKD is None or not pairs.height:
            return scores
        train = learners.filter(pl.col("split").cast(pl.String) == "train").sort("learner_id")
        others = dict(
            train.unique(["sport", "skill"], keep="first", maintain_order=True)
            .group_by("sport", maintain_order=True)
            .agg("learner_id")
            .iter_rows()
        )
        sports = dict(learners.select("learner_id", "sport").iter_rows())
        groups = (
            pairs.with_row_index("row")
            .group_by("learner_id", maintain_order=True)
            .agg("row", "clip_id")
        )
        for learner_id, rows, clip_ids in groups.iter_rows():
            texts = [self.said[self.places[clip_id]] for clip_id in clip_ids]
            asked = [learner_id, *others.get(sports[learner_id], [])]
            found = describe.sentence_logprobs(
                self.vlm, self.visual_NKD, self.grid, [(self.places[name], texts) for name in asked]
            )
            scores[np.asarray(rows)] = describe.surprise(found[0], found[1:])
        return scores

    def save(self, folder: Path) -> None:
        """Write the adapter; nothing without a model."""
        if self.vlm is not None:
            finetune_module.save_adapter(self.vlm, folder)


def open_scorer(
    learners: pl.DataFrame, learner_frames: np.ndarray, library: Library, config: RetrievalConfig
) -> PairScorer:
    """Load the checkpoint, add fresh adapters (they change nothing yet), and encode the videos that
    can be asked for.

    Only clips of sports that learners practise are encoded, unless all sports are searched.
    """
    import torch

    if not learners.height:
        return PairScorer(None)
    torch.manual_seed(config.seed)
    name = str(_local(config.model)) if _local(config.model).is_dir() else config.model
    vlm = model.load_vlm(name, device=config.device, quantize=config.quantize)
    vlm = finetune_module.add_lora(vlm, rank=config.lora_rank, alpha=config.lora_alpha)
    wanted = library.clips.with_row_index("row")
    if config.search == "sport":
        wanted = wanted.filter(pl.col("sport").is_in(learners["sport"].unique().implode()))
    places = {clip_id: place for place, clip_id in enumerate(wanted["clip_id"])}
    places |= {
        learner_id: len(places) + place for place, learner_id in enumerate(learners["learner_id"])
    }
    store = token_store.open_store(config.token_store_gb)
    kept = seen_frames(learner_frames.shape[1], config.frames)
    clip_tokens = model.encode_videos(
        vlm, library.frames[wanted["row"].to_numpy()][:, kept], store=store
    )
    visual = torch.cat(
        [clip_tokens, model.encode_videos(vlm, learner_frames[:, kept], store=store)]
    )
    said = {places[clip_id]: library.texts[clip_id] for clip_id in wanted["clip_id"]}
    return PairScorer(
        vlm,
        visual,
        vlm.grid(learner_frames[:, kept].shape[1:]),
        places,
        said,
        config.with_narration,
    )


def seen_frames(stored: int, wanted: int) -> np.ndarray:
    """Which of the stored frames the relevance model sees: ``wanted`` of them, evenly spaced; all
    for 0 or too many.
    """
    count = wanted if 0 < wanted < stored else stored
    return ((np.arange(count) + 0.5) * stored / count).astype(np.int64)


# ------------------------------------------------------------------------------------------ systems


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

    def of(split: str) -> Any:
        return learners.filter(pl.col("split").cast(pl.String) == split)["learner_id"].implode()

    return Candidates(
        pools.filter(pl.col("learner_id").is_in(of("test"))),
        supervision.filter(pl.col("learner_id").is_in(of("val"))).join(
            learners.select("learner_id", "participant"), on="learner_id", maintain_order="left"
        ),
    )


def learner_embeddings(
    library: Library, encoder: str, arm: str, learner_frames: np.ndarray, device: str
) -> np.ndarray:
    """float32 [M, D]: the learners' clips through the tower of one arm of 03."""
    tower = models.load_tower(library.encoder / "models" / encoder / arm, device=device)
    return tower.encode_frames(learner_frames)


def encoder_of(library: Library, wanted: str) -> str:
    """The encoder of 03 that is the first stage: the one that is wanted, or image where 03 has not
    trained it.
    """
    known = set(library.embeddings["model_id"].unique())
    return wanted if all(f"{wanted}:{arm}" in known for arm in ARMS.values()) else "image"


@dataclass(frozen=True)
class Ranked:
    """What 04 found: tables.Rankings of the judged pools, of the library and of variants, and how
    they came to be.
    """

    rankings: pl.DataFrame
    library: pl.DataFrame
    variants: pl.DataFrame
    choices: pl.DataFrame  # choice, weight, weak nDCG@10
    timings: pl.DataFrame  # part, seconds, items, item
    calibration: Calibration | None  # None without validation pairs of both kinds


def rank_all(
    asked: Candidates,
    learners: pl.DataFrame,
    learner_frames: np.ndarray,
    library: Library,
    scorer: PairScorer,
    zero_shot: np.ndarray,
    config: RetrievalConfig,
) -> Ranked:
    """Every system over the judged pools; the two stages over the library; the choices made on
    validation.

    ``zero_shot``: the model's scores of the pools before it was finetuned.
    """
    if not asked.pools.height:
        empty = nearest.stack_rankings([])
        return Ranked(empty, empty, empty, _choices([]), _Watch().table(), None)
    pools, validation, watch = asked.pools, asked.validation, _Watch()
    parts = _baselines(pools, learners, library, zero_shot, config.seed)
    stages, rows = _first_stages(validation, learners, learner_frames, library, config, watch)
    parts += [nearest.rank(system, pools, stage.scores(pools)) for system, stage in stages.items()]
    with watch("vlm_lora: scores", pools.height, "pair"):
        tuned = scorer.scores(pools)
    tuned_validation = scorer.scores(validation)
    parts.append(nearest.rank("vlm_lora", pools, tuned))
    if config.speaking_weight:  # a model that was not taught to speak has nothing to describe
        parts.append(nearest.rank("describe_then_retrieve", pools, scorer.speaks(pools, learners)))
    swapped = scorer.scores(pools, video_of=first_stage.swapped_learners(learners))
    parts.append(nearest.rank("vlm_lora_shuffled", pools, swapped))
    first = stages["encoder_narrations"]
    choice = first_stage.choose_weight(validation, first.scores(validation), tuned_validation)
    rows += choice.rows("fused: vlm_lora against encoder_narrations")
    two = two_stage.TwoStage(first, scorer.scores, choice.weight)
    parts.append(nearest.rank("fused", pools, two.fused(pools, first.scores(pools), tuned)))
    test = learners.filter(pl.col("learner_id").is_in(pools["learner_id"].unique().implode()))
    with watch("library: search and shortlist", test.height, "learner"):
        shortlisted = two_stage.library_rankings(
            two, test, library.clips, depth=config.shortlist, same_sport=config.search == "sport"
        )
    found = two_stage.variants(two, pools, first.scores(pools), tuned)
    probabilities = calibrate(asked, tuned_validation)
    return Ranked(
        nearest.stack_rankings(parts),
        shortlisted,
        found,
        _choices(rows),
        watch.table(),
        probabilities,
    )


def _first_stages(
    validation: pl.DataFrame,
    learners: pl.DataFrame,
    learner_frames: np.ndarray,
    library: Library,
    config: RetrievalConfig,
    watch: _Watch,
) -> tuple[dict[str, first_stage.FirstStage], list[tuple[str, float, float]]]:
    """The encoder's arms as retrievers, by system, and the choices made for them."""
    encoder, ids = encoder_of(library, config.first_stage), learners["learner_id"].to_list()
    stages: dict[str, first_stage.FirstStage] = {}
    rows: list[tuple[str, float, float]] = []
    for system, arm in ARMS.items():
        with watch(f"{system}: learners' vectors", learners.height, "learner"):
            vectors = learner_embeddings(library, encoder, arm, learner_frames, config.device)
        scorer = first_stage.encoder_scorer(
            library.embeddings, f"{encoder}:{arm}", library.pairs, ids, vectors
        )
        stages[system] = scorer.first_stage(validation)
        rows += stages[system].choice.rows(f"{system} ({encoder}): narration against pictures")
    return stages, rows


def _baselines(
    pools: pl.DataFrame, learners: pl.DataFrame, library: Library, zero_shot: np.ndarray, seed: int
) -> list[pl.DataFrame]:
    """The rankings that need no trained model: chance, the skill alone, the oracle, the model
    before finetuning.
    """
    scores = {
        "random": first_stage.random_scores(pools, seed),
        "same_skill_random": first_stage.same_skill_scores(pools, learners, library.clips, seed),
        "text_oracle": first_stage.oracle_scores(pools, learners, library.texts),
        "vlm_zero_shot": zero_shot,
    }
    return [nearest.rank(name, pools, value) for name, value in scores.items()]


def calibrate(asked: Candidates, scores: np.ndarray) -> Calibration | None:
    """Probabilities for the relevance model's scores, from the validation learners' weak labels
    (any positive helps).

    How well they hold is measured on participants left out of the fit. None without validation
    pairs of both kinds.
    """
    labels = (asked.validation["label"].to_numpy() > 0).astype(np.float64)
    groups = asked.validation["participant"].to_list()
    return (
        calibration.fit(scores, labels, groups=groups) if 0 < labels.sum() < len(labels) else None
    )


def save_calibration(found: Calibration | None, folder: Path) -> pl.DataFrame:
    """Write calibration.json, if there is one; its table of bins."""
    if found is None:
        return pl.DataFrame(schema=calibration.BINS_SCHEMA)
    calibration.save(found, folder)
    return found.bins


class _Watch:
    """How long the parts of a ranking took, for the curve of quality against seconds."""

    def __init__(self) -> None:
        self._rows: list[tuple[str, float, int, str]] = []

    @contextmanager
    def __call__(self, part: str, items: int, item: str) -> Iterator[None]:
        began = time.monotonic()
        yield
        self._rows.append((part, time.monotonic() - began, items, item))

    def table(self) -> pl.DataFrame:
        return pl.DataFrame(self._rows, schema=two_stage.TIMINGS, orient="row")


def _choices(rows: list[tuple[str, float, float]]) -> pl.DataFrame:
    kinds = {"choice": pl.String, "weight": pl.Float64, "weak_ndcg@10": pl.Float64}
    return pl.DataFrame(rows, schema=kinds, orient="row")


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
    kinds = supervision.group_by("reason").agg(pl.col("label").max()).rename({"reason": "kind"})
    everyone = kinds.join(pl.DataFrame({"learner_id": learner_ids.unique().sort()}), how="cross")
    counts = supervision.group_by(kind="reason", learner_id="learner_id").agg(
        rows=pl.len().cast(pl.Int64)
    )
    return (
        everyone.join(counts, on=["kind", "learner_id"], how="left")
        .with_columns(pl.col("rows").fill_null(0))
        .sort(pl.col("label").fill_null(-1), "kind", "learner_id", descending=[True, False, False])
    )


def headline(
    learners: pl.DataFrame, supervision: pl.DataFrame, curves: pl.DataFrame
) -> dict[str, Any]:
    """What `status` shows of the stage."""
    best = curves["val_ndcg@10"].drop_nans().max() if curves.height else None
    return {
        "learners": learners.height,
        "positives": supervision.filter(pl.col("label") > 0).height,
        "weak_validation_ndcg@10": None if best is None else round(float(best), 4),  # type: ignore[arg-type]
    }
