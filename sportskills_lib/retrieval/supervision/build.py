"""What notebook 04 calls for weak supervision: the config's readings, first stage and judge, over
the whole library.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import polars as pl

from sportskills_lib.config import RetrievalConfig
from sportskills_lib.retrieval import stage
from sportskills_lib.retrieval.supervision.chat_judge import chat_judge
from sportskills_lib.retrieval.supervision.labelling import (
    SCHEMA,
    FirstStage,
    build_supervision,
    comments_similarity,
    lesson_learners,
)
from sportskills_lib.retrieval.supervision.text_similarity import Similarity, open_similarity


def supervise(
    learners: pl.DataFrame,
    learner_frames: np.ndarray,
    library: stage.Library,
    config: RetrievalConfig,
    *,
    account: str = "",
) -> tuple[pl.DataFrame, pl.DataFrame, pl.DataFrame]:
    """Weak supervision of the train and val learners, that of the mistakes shown in training
    lessons, and the masked.

    ``account`` names whose budget a chat model's answers are paid from.
    """
    if not learners.height:
        return (pl.DataFrame(schema=SCHEMA),) * 3
    readers: dict[str, Any] = readings(learners, library, config) | {
        "first_stage": first_stage(learners, learner_frames, library, config)
        if config.mined_negatives
        else None,
        "judge": chat_judge(config, account=account),
    }
    own = build_supervision(learners, library.clips, library.texts, config, **readers)
    lessons = own.clear()
    if config.lesson_mistakes:
        lessons = build_lesson_supervision(
            learners, library.clips, library.texts, config, **readers
        )
    masked = pl.concat([own, lessons]).filter(pl.col("label").is_null())
    return own.drop_nulls("label"), lessons.drop_nulls("label"), masked


def readings(
    learners: pl.DataFrame, library: stage.Library, config: RetrievalConfig
) -> dict[str, Similarity | None]:
    """What reads how alike comments and narrations are: for the positives (``similarity``), and for
    the masks.

    Texts of test clips are not among those that a measure is centred on. Nothing is loaded that no
    mask needs.
    """
    known = library.clips.filter(pl.col("split").cast(pl.String) != "test")["clip_id"]
    corpus = [library.texts[clip_id] for clip_id in known]
    tower = library.encoder / "models" / "image" / stage.ARMS["encoder_narrations"]
    reading = open_similarity(config.text_similarity, corpus, tower=tower, device=config.device)
    second = config.mask_similarity if config.mask_against != "none" else ""
    if second in ("", config.text_similarity):
        return {"similarity": reading, "masking": None}
    masking = open_similarity(second, corpus, tower=tower, device=config.device)
    if masking is None:
        heard = learners.filter(pl.col("is_mistake") & (pl.col("split").cast(pl.String) != "test"))
        masking = comments_similarity(heard, library.clips)
    return {"similarity": reading, "masking": masking}


def first_stage(
    learners: pl.DataFrame,
    learner_frames: np.ndarray,
    library: stage.Library,
    config: RetrievalConfig,
) -> FirstStage:
    """The encoder that 03 trained on narrations, as the first stage: a clip's pictures and its
    words count alike.

    A lesson's clip may stand for a learner.
    """
    arm, tower = stage.ARMS["encoder_narrations"], stage.encoder_of(library, config.first_stage)
    encoder = stage.arm_vectors(library, tower, arm, learners, learner_frames, config.device)
    asked = {**encoder.clips, **encoder.learners}

    def ranked(learner_ids: Sequence[str], clip_ids: Sequence[str]) -> np.ndarray:
        both = [encoder.clips[name] + encoder.narrations.get(name, 0.0) for name in clip_ids]
        return np.stack([asked[name] for name in learner_ids]) @ np.stack(both).T / 2

    return ranked


# ------------------------------------------------------------------------------ lessons as learners


def build_lesson_supervision(
    learners: pl.DataFrame,
    clips: pl.DataFrame,
    texts: dict[str, str],
    config: RetrievalConfig,
    **readers: Any,
) -> pl.DataFrame:
    """As :func:`build_supervision`, for the mistakes shown in training lessons; a clip is never its
    own candidate.

    The similarity without a model is fitted on the experts' comments on training learners, which
    say what mends which mistake.
    """
    heard = learners.filter((pl.col("split") == "train") & pl.col("is_mistake"))
    if not heard.height:
        return pl.DataFrame(schema=SCHEMA)
    readers["similarity"] = readers.get("similarity") or comments_similarity(heard, clips)
    return build_supervision(lesson_learners(clips, texts), clips, texts, config, **readers)
