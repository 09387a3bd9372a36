"""What notebook 04 calls: the library of clips, the relevance model over it, and every system's rankings.

Each function takes an empty table of learners and then does nothing but return empty tables: a folder of lessons
without learners goes through the same cells, and no model is loaded.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

from sportskills_lib import artifacts, models, tables
from sportskills_lib.config import RetrievalConfig
from sportskills_lib.retrieval import describing, finetuning, nearest, relevance, systems, token_store
from sportskills_lib.retrieval.learners import learners_source
from sportskills_lib.retrieval.supervision import clip_texts
from sportskills_lib.retrieval.visual import Grid

if TYPE_CHECKING:
    import torch

ARMS = {"encoder_zero_shot": "zero_shot", "encoder_narrations": "narrations"}


def sources(config: RetrievalConfig) -> list[str]:
    """The raw folders and files that the stage reads: those of the settings that are there."""
    source = learners_source(config.learners)
    if source is None:
        return []
    videos = "" if source.is_dir() else Path(config.learners).parent.as_posix()  # a table's lie in its folder
    return [path for path in (config.learners, videos, config.ratings, config.model) if path and _local(path).exists()]


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
    pairing, encoder = artifacts.open_stage(run, "02_pairing"), artifacts.open_stage(run, "03_encoder")
    clips, pairs = pairing.table("clips", tables.Clips), pairing.table("pairs", tables.Pairs)
    narrations = artifacts.open_stage(run, "01_curation").table("narrations", tables.Narrations)
    frames = np.load(pairing.path("frames.npy"), mmap_mode="r")
    if len(frames) != clips.height:
        raise ValueError(f"frames.npy holds {len(frames)} clips, clips.parquet {clips.height}: rerun 02_pairing")
    embeddings = encoder.table("embeddings", tables.Embeddings)
    return Library(clips, pairs, clip_texts(clips, pairs, narrations), frames, embeddings, encoder.folder)


def frame_shape(library: Library) -> tuple[int, int]:
    """Frames a clip and pixels a side: learners are read like the clips."""
    return int(library.frames.shape[1]), int(library.frames.shape[2])


# ------------------------------------------------------------------------------------------------ relevance model


@dataclass
class PairScorer:
    """The relevance model over learners and clips, with every video's visual tokens computed once."""

    vlm: relevance.VisionLanguageModel | None
    visual_NKD: torch.Tensor | None = None
    grid: Grid = (0, 0, 0)
    places: dict[str, int] = field(default_factory=dict)
    said: dict[int, str] = field(default_factory=dict)  # what the coach says, by row of the visual tokens
    quotes: bool = True  # whether the prompt quotes it

    @property
    def narrations(self) -> dict[int, str] | None:
        """What the prompt quotes, by row; None where it quotes nothing."""
        return self.said if self.quotes else None

    def scores(self, pairs: pl.DataFrame, *, video_of: Mapping[str, str] | None = None) -> np.ndarray:
        """Score of each row's learner and clip, [rows]; ``video_of`` shows another learner's video instead."""
        scores = np.zeros(pairs.height)
        if self.vlm is None or self.visual_NKD is None or not pairs.height:
            return scores
        groups = pairs.with_row_index("row").group_by("learner_id", maintain_order=True).agg("row", "clip_id")
        shown = [(video_of or {}).get(learner_id, learner_id) for learner_id in groups["learner_id"]]
        queries = [
            (self.places[learner_id], [self.places[clip_id] for clip_id in clip_ids])
            for learner_id, clip_ids in zip(shown, groups["clip_id"], strict=True)
        ]
        found = relevance.score_pairs(self.vlm, self.visual_NKD, self.grid, queries, self.narrations)
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
        """Train the adapters in place on both kinds of supervision; the curve. Checkpoints are kept in ``folder``."""
        if self.vlm is None or self.visual_NKD is None:
            return pl.DataFrame(schema=finetuning.CURVES)
        return finetuning.finetune(
            self.vlm,
            self.visual_NKD,
            self.grid,
            pl.concat([supervision, lessons]),
            dict(learners.select("learner_id", pl.col("split").cast(pl.String)).iter_rows())
            | dict.fromkeys(lessons["learner_id"], "train"),
            self.places,
            self.narrations,
            self.said,
            folder=folder,
            processes=config.processes,
            **{one.name: getattr(config, one.name) for one in fields(finetuning.Settings)},
        )

    def speaks(self, pairs: pl.DataFrame, learners: pl.DataFrame) -> np.ndarray:
        """How much likelier each row's sentence is for its learner than for others of the sport, [rows].

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
        groups = pairs.with_row_index("row").group_by("learner_id", maintain_order=True).agg("row", "clip_id")
        for learner_id, rows, clip_ids in groups.iter_rows():
            texts = [self.said[self.places[clip_id]] for clip_id in clip_ids]
            asked = [learner_id, *others.get(sports[learner_id], [])]
            found = describing.sentence_logprobs(
                self.vlm, self.visual_NKD, self.grid, [(self.places[name], texts) for name in asked]
            )
            scores[np.asarray(rows)] = describing.surprise(found[0], found[1:])
        return scores

    def save(self, folder: Path) -> None:
        """Write the adapter; nothing without a model."""
        if self.vlm is not None:
            finetuning.save_adapter(self.vlm, folder)


def open_scorer(
    learners: pl.DataFrame, learner_frames: np.ndarray, library: Library, config: RetrievalConfig
) -> PairScorer:
    """Load the checkpoint, add fresh adapters (they change nothing yet), and encode the videos that can be asked for.

    Only clips of sports that learners practise are encoded.
    """
    import torch

    if not learners.height:
        return PairScorer(None)
    torch.manual_seed(config.seed)
    name = str(_local(config.model)) if _local(config.model).is_dir() else config.model
    vlm = relevance.load_vlm(name, device=config.device, quantize=config.quantize)
    vlm = finetuning.add_lora(vlm, rank=config.lora_rank, alpha=config.lora_alpha)
    wanted = library.clips.with_row_index("row").filter(pl.col("sport").is_in(learners["sport"].unique().implode()))
    places = {clip_id: place for place, clip_id in enumerate(wanted["clip_id"])}
    places |= {learner_id: len(places) + place for place, learner_id in enumerate(learners["learner_id"])}
    store = token_store.open_store(config.token_store_gb)
    clip_tokens = relevance.encode_videos(vlm, library.frames[wanted["row"].to_numpy()], store=store)
    visual = torch.cat([clip_tokens, relevance.encode_videos(vlm, learner_frames, store=store)])
    said = {places[clip_id]: library.texts[clip_id] for clip_id in wanted["clip_id"]}
    return PairScorer(vlm, visual, vlm.grid(learner_frames.shape[1:]), places, said, config.with_narration)


# -------------------------------------------------------------------------------------------------------- systems


@dataclass(frozen=True)
class Candidates:
    """What systems rank: pools of test learners; and the validation lists on which choices are made."""

    pools: pl.DataFrame  # learner_id, clip_id
    validation: pl.DataFrame  # learner_id, clip_id, label


def candidates(pools: pl.DataFrame, supervision: pl.DataFrame, learners: pl.DataFrame) -> Candidates:
    """Pools of the test learners only, and the weak labels of the validation learners."""

    def of(split: str) -> Any:
        return learners.filter(pl.col("split").cast(pl.String) == split)["learner_id"].implode()

    return Candidates(
        pools.filter(pl.col("learner_id").is_in(of("test"))),
        supervision.filter(pl.col("learner_id").is_in(of("val"))),
    )


def learner_embeddings(library: Library, arm: str, learner_frames: np.ndarray, device: str) -> np.ndarray:
    """float32 [M, D]: the learners' clips through the tower of one arm of 03."""
    tower = models.load_tower(library.encoder / "models" / "image" / arm, device=device)
    return tower.encode_frames(learner_frames)


def rank_all(
    asked: Candidates,
    learners: pl.DataFrame,
    learner_frames: np.ndarray,
    library: Library,
    scorer: PairScorer,
    zero_shot: np.ndarray,
    config: RetrievalConfig,
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """tables.Rankings of every system, and the choices made on validation (system, weight, weak nDCG@10).

    ``zero_shot``: the model's scores of the pools before it was finetuned.
    """
    if not asked.pools.height:
        return nearest.stack_rankings([]), _choices([])
    pools, validation = asked.pools, asked.validation
    parts = [
        nearest.rank("random", pools, systems.random_scores(pools, config.seed)),
        nearest.rank(
            "same_skill_random", pools, systems.same_skill_scores(pools, learners, library.clips, config.seed)
        ),
        nearest.rank("text_oracle", pools, systems.oracle_scores(pools, learners, library.texts)),
        nearest.rank("vlm_zero_shot", pools, zero_shot),
    ]
    rows: list[tuple[str, float, float]] = []
    first_stage: dict[str, tuple[np.ndarray, np.ndarray]] = {}
    for system, arm in ARMS.items():
        vectors = learner_embeddings(library, arm, learner_frames, config.device)
        encoder = systems.encoder_scorer(
            library.embeddings, f"image:{arm}", library.pairs, learners["learner_id"].to_list(), vectors
        )
        choice = systems.choose_weight(validation, *encoder.parts(validation))
        rows += [(f"{system}: narration against pictures", weight, value) for weight, value in choice.values.items()]
        first_stage[system] = (
            systems.blend(pools, *encoder.parts(pools), choice.weight),
            systems.blend(validation, *encoder.parts(validation), choice.weight),
        )
        parts.append(nearest.rank(system, pools, first_stage[system][0]))
    tuned, tuned_validation = scorer.scores(pools), scorer.scores(validation)
    parts.append(nearest.rank("vlm_lora", pools, tuned))
    if config.speaking_weight:  # a model that was not taught to speak has nothing to describe
        parts.append(nearest.rank("describe_then_retrieve", pools, scorer.speaks(pools, learners)))
    swapped = scorer.scores(pools, video_of=systems.swapped_learners(learners))
    parts.append(nearest.rank("vlm_lora_shuffled", pools, swapped))
    encoder_pools, encoder_validation = first_stage["encoder_narrations"]
    choice = systems.choose_weight(validation, encoder_validation, tuned_validation)
    rows += [("fused: vlm_lora against encoder_narrations", weight, value) for weight, value in choice.values.items()]
    parts.append(nearest.rank("fused", pools, systems.blend(pools, encoder_pools, tuned, choice.weight)))
    return nearest.stack_rankings(parts), _choices(rows)


def _choices(rows: list[tuple[str, float, float]]) -> pl.DataFrame:
    kinds = {"choice": pl.String, "weight": pl.Float64, "weak_ndcg@10": pl.Float64}
    return pl.DataFrame(rows, schema=kinds, orient="row")


def ratings_file(config: RetrievalConfig) -> Path | None:
    """The file that names the judged candidates; None when the setting is empty or the file is not there."""
    path = _local(config.ratings)
    return path if config.ratings and path.is_file() else None
