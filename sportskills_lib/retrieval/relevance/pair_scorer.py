"""The relevance model over named learners and clips: what 04 finetunes and ranks with, and `advise`
loads again.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import polars as pl

from sportskills_lib.config import RetrievalConfig
from sportskills_lib.retrieval.relevance.describe import sentence_logprobs, surprise
from sportskills_lib.retrieval.relevance.finetune import (
    CURVES,
    FinetuneSettings,
    RelevanceData,
    finetune,
    save_adapter,
)
from sportskills_lib.retrieval.relevance.model import (
    VisionLanguageModel,
    encode_videos,
    score_pairs,
)
from sportskills_lib.retrieval.relevance.token_store import TokenStore
from sportskills_lib.retrieval.relevance.visual_tokens import Grid

if TYPE_CHECKING:
    import torch


def seen_frames(stored: int, wanted: int) -> np.ndarray:
    """Which of the stored frames the relevance model sees: ``wanted`` of them, evenly spaced; all
    for 0 or too many.
    """
    count = wanted if 0 < wanted < stored else stored
    return ((np.arange(count) + 0.5) * stored / count).astype(np.int64)


@dataclass
class PairScorer:
    """The relevance model over learners and clips, with every video's visual tokens computed
    once.
    """

    vlm: VisionLanguageModel | None
    visual_NKD: torch.Tensor | None = None
    grid: Grid = (0, 0, 0)
    places: dict[str, int] = field(default_factory=dict)
    narrations: dict[int, str] = field(default_factory=dict)  # by row of the visual tokens
    with_narration: bool = True  # whether the prompt quotes them

    @property
    def quoted(self) -> dict[int, str] | None:
        """What the prompt quotes, by row; None where it quotes nothing."""
        return self.narrations if self.with_narration else None

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
        videos = [
            (video_of or {}).get(learner_id, learner_id) for learner_id in groups["learner_id"]
        ]
        queries = [
            (self.places[learner_id], [self.places[clip_id] for clip_id in clip_ids])
            for learner_id, clip_ids in zip(videos, groups["clip_id"], strict=True)
        ]
        parts = score_pairs(self.vlm, self.visual_NKD, self.grid, queries, self.quoted)
        for rows, part in zip(groups["row"], parts, strict=True):
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
            return pl.DataFrame(schema=CURVES)
        splits = dict(learners.select("learner_id", pl.col("split").cast(pl.String)).iter_rows())
        data = RelevanceData(
            self.visual_NKD,
            self.grid,
            pl.concat([supervision, lessons]),
            splits | dict.fromkeys(lessons["learner_id"], "train"),
            self.places,
            self.quoted,
            self.narrations,
        )
        names = [setting.name for setting in fields(FinetuneSettings)]
        settings = FinetuneSettings(**{name: getattr(config, name) for name in names})
        return finetune(self.vlm, data, settings, folder=folder, processes=config.processes)

    def description_scores(self, pairs: pl.DataFrame, learners: pl.DataFrame) -> np.ndarray:
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
            texts = [self.narrations[self.places[clip_id]] for clip_id in clip_ids]
            speakers = [learner_id, *others.get(sports[learner_id], [])]
            logprobs = sentence_logprobs(
                self.vlm,
                self.visual_NKD,
                self.grid,
                [(self.places[name], texts) for name in speakers],
            )
            scores[np.asarray(rows)] = surprise(logprobs[0], logprobs[1:])
        return scores

    def save(self, folder: Path) -> None:
        """Write the adapter; nothing without a model."""
        if self.vlm is not None:
            save_adapter(self.vlm, folder)


def encode_pairs(
    vlm: VisionLanguageModel,
    clips: tuple[Sequence[str], np.ndarray],
    learners: tuple[Sequence[str], np.ndarray],
    texts: Mapping[str, str],
    *,
    frames: int,
    with_narration: bool,
    store: TokenStore | None,
) -> PairScorer:
    """The scorer of these clips and learners, ids and frames uint8 [N, T, H, W, 3] of each.

    ``texts``: what is said over each clip; ``frames``: how many frames the model sees (0: all).
    """
    import torch

    seen = seen_frames(learners[1].shape[1], frames)
    parts = [encode_videos(vlm, part[:, seen], store=store) for _, part in (clips, learners)]
    places = {name: place for place, name in enumerate([*clips[0], *learners[0]])}
    return PairScorer(
        vlm,
        torch.cat(parts),
        vlm.grid(learners[1][:, seen].shape[1:]),
        places,
        {places[clip_id]: texts[clip_id] for clip_id in clips[0]},
        with_narration,
    )
