"""What each optimiser step sees: clips, the text that each is told with, and which of the pairs may
be negatives.

``BatchSampler.at(step)`` depends on the clips, the settings and the step alone, so that a run that
goes on from a checkpoint sees what it would have seen, without walking through the steps before.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass

import numpy as np
import polars as pl

from sportskills_lib import models
from sportskills_lib.config import EncoderConfig
from sportskills_lib.encoder.losses import allowed_pairs
from sportskills_lib.encoder.sport_batches import ClipSimilarity, SportBatches
from sportskills_lib.encoder.texts import (
    LABELS,
    numbered,
    sentence_kinds,
    skill_prompts,
    text_groups,
)

log = logging.getLogger("sportskills")


@dataclass(frozen=True)
class Batch:
    """B pairs: rows of the material, their texts, which texts say the same, and (None: all) which
    pairs count.
    """

    rows: np.ndarray
    texts: list[str]
    group_B: np.ndarray
    allowed_BB: np.ndarray | None


class BatchSampler:
    """The batches of one arm's training.

    ``clips`` is the whole material, ``rows`` the training clips among them, ``texts`` the arm's
    text of every clip.
    ``start`` is the tower before its first step, asked once for what "similarity" and hard
    negatives need; its vectors are kept, also for the next training with the same start and the
    same texts (trials of learning rates).

    The arm ``both`` draws, for each clip of each batch, either its narration or a prompt of its
    skill, with even chances. So it reads as many texts in as many steps as the other arms; two
    texts a clip would double what it reads. A prompt is true of every clip of its skill, whichever
    text was drawn for that one: such a pair is no negative.
    """

    def __init__(
        self,
        clips: pl.DataFrame,
        rows: np.ndarray,
        texts: list[str],
        config: EncoderConfig,
        *,
        arm: str,
        start: models.Tower | None = None,
        frames: np.ndarray | None = None,
    ):
        self.rows, self.config = rows, config
        train, told = clips[rows], [texts[i] for i in rows]
        self.texts, self.groups = told, text_groups(train, told, arm)
        self.prompts = skill_prompts(train, seed=config.seed) if arm == "both" else None
        self.skills = numbered(train.select("sport", "skill").iter_rows())
        wanted = (
            set(config.false_negatives)
            if arm not in LABELS
            else set(config.false_negatives) & {"video"}
        )
        self.videos = train["video_id"].to_numpy() if "video" in wanted else None
        self.kinds = sentence_kinds(train, told) if "skill_cue" in wanted else None
        self.vectors = _text_vectors(start, config, told) if "similarity" in wanted else None
        likeness = _likeness(start, frames, rows, train, config) if config.hard_negatives else None
        sizes, apart = (config.sports_per_batch, config.clips_per_sport), config.one_clip_per_video
        self.batches = SportBatches(
            train, *sizes, seed=config.seed, one_clip_per_video=apart, likeness=likeness
        )

    def at(self, step: int) -> Batch:
        """The batch of ``step``."""
        here = self.batches.at(step)
        prompt_B = np.zeros(len(here), bool)
        if self.prompts is not None:
            prompt_B = np.random.default_rng([self.config.seed, 43, step]).random(len(here)) < 0.5
        texts = [
            self.prompts[i] if p and self.prompts else self.texts[i]
            for i, p in zip(here, prompt_B, strict=True)
        ]
        group_B = np.where(prompt_B, -1 - self.skills[here], self.groups[here])
        return Batch(self.rows[here], texts, group_B, self._allowed(here, group_B, prompt_B))

    def _allowed(
        self, here: np.ndarray, group_B: np.ndarray, prompt_B: np.ndarray
    ) -> np.ndarray | None:
        if (
            self.videos is None
            and self.kinds is None
            and self.vectors is None
            and self.prompts is None
        ):
            return None
        said_B = ~prompt_B
        allowed_BB = allowed_pairs(
            group_B,
            video_B=None if self.videos is None else self.videos[here],
            # a prompt is like no narration: what it is true of is known
            kind_B=None
            if self.kinds is None
            else np.where(said_B, self.kinds[here], -1 - np.arange(len(here))),
            text_BD=None if self.vectors is None else self.vectors[here] * said_B[:, None],
            ceiling=self.config.text_ceiling,
        )
        skill_B = self.skills[here]
        return allowed_BB & ~((skill_B[:, None] == skill_B) & (prompt_B[:, None] != prompt_B))


_KEPT: dict[
    str, tuple[object, np.ndarray]
] = {}  # the last vectors of each kind, with what they are of


def _text_vectors(
    start: models.Tower | None, config: EncoderConfig, texts: list[str]
) -> np.ndarray:
    key = (config.model, config.pretrained, tuple(texts))
    if "texts" not in _KEPT or _KEPT["texts"][0] != key:
        assert start is not None, "similarity needs the start tower"
        _KEPT["texts"] = key, start.encode_texts(texts)
    return _KEPT["texts"][1]


def _likeness(
    start: models.Tower | None,
    frames: np.ndarray | None,
    rows: np.ndarray,
    train: pl.DataFrame,
    config: EncoderConfig,
) -> ClipSimilarity:
    """By the start tower: what clips look like, and what is said of them (their own narrations, for
    every arm).
    """
    key = (config.model, config.pretrained, tuple(train["clip_id"]))
    if "clips" not in _KEPT or _KEPT["clips"][0] != key:
        assert start is not None and frames is not None, (
            "hard negatives need the start tower and the frames"
        )
        log.info("hard negatives: the start tower looks at %d clips", len(rows))
        parts = [
            start.encode_frames(frames[rows[i : i + 64]]) for i in range(0, len(rows), 64)
        ]  # frames may be a map
        _KEPT["clips"] = (
            key,
            np.concatenate(parts) if parts else np.zeros((0, start.width), np.float32),
        )
    said = _text_vectors(start, config, train["text"].fill_null("").to_list())
    return ClipSimilarity(_KEPT["clips"][1], said, config.text_ceiling, config.hard_negatives)
