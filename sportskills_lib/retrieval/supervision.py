"""Weak supervision: which clips help a learner, guessed from what an expert said of the learner.

A clip whose coach says much the same as the expert is a positive; clips of other skills, and clips of the same skill
whose coach clearly speaks of something else, are negatives; what lies between is masked, because unfiltered hard
negatives are often positives. Only learners of ``split`` over clips of ``split`` are paired; grades and truth are never
read. Every row says why it is there. All thresholds are ours.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import polars as pl

Similarity = Callable[[Sequence[str], Sequence[str]], np.ndarray]  # queries [Q], texts [N] -> float [Q, N]

SCHEMA: dict[str, Any] = {"learner_id": pl.String, "clip_id": pl.String, "label": pl.Float64, "reason": pl.String}
ADVICE, MISTAKE = "advice matches the comment", "mistake shown matches the comment"
OTHER_CUE, OTHER_SKILL, RANDOM = "same skill, other cue", "same sport, other skill", "random clip of the split"

FEEDBACK_FLOOR, FEEDBACK_WEIGHT = 0.3, 4.0  # comments at this similarity or above widen a query, with this weight


def tfidf_similarity(queries: Sequence[str], texts: Sequence[str]) -> np.ndarray:
    """Cosine of TF-IDF vectors (words and word pairs), fitted on the texts given: words that all share count least."""
    from sklearn.feature_extraction.text import TfidfVectorizer

    if not len(queries) or not len(texts):
        return np.zeros((len(queries), len(texts)))
    vectors = TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True, token_pattern=r"(?u)\b\w+\b")
    vectors.fit([*queries, *texts])
    return (vectors.transform(queries) @ vectors.transform(texts).T).toarray()


def expanded_similarity(comments: Sequence[str], names: Sequence[str]) -> Similarity:
    """TF-IDF of word pairs and triples, the query widened by the comments that resemble it (Rocchio's feedback).

    Coaches and experts say one thing in many ways, and an expert's remark often holds two of them: what is wrong and
    what to do instead. Comments that share one phrase therefore lend each other the other. Words of the ``names`` of
    sports and skills say nothing about the mistake and are left out.
    """
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.preprocessing import normalize

    ignored = sorted({word for name in names for word in re.findall(r"\w+", name.lower())})
    vectors = TfidfVectorizer(
        ngram_range=(2, 3), sublinear_tf=True, token_pattern=r"(?u)\b\w+\b", stop_words=ignored or None
    )
    memory = vectors.fit_transform(comments)

    def similarity(queries: Sequence[str], texts: Sequence[str]) -> np.ndarray:
        asked = vectors.transform(queries)
        alike = (asked @ memory.T).toarray()
        weight = np.where(alike >= FEEDBACK_FLOOR, alike, 0.0)
        weight /= np.maximum(weight.sum(1, keepdims=True), 1e-9)
        widened = normalize(asked.toarray() + FEEDBACK_WEIGHT * (weight @ memory))
        return np.asarray(widened @ vectors.transform(texts).T.toarray())

    return similarity


def clip_texts(clips: pl.DataFrame, pairs: pl.DataFrame, narrations: pl.DataFrame) -> dict[str, str]:
    """What is said over each clip: its narrations in order of time, joined; "" for a clip without one."""
    said = (
        pairs.join(narrations.select("narration_id", "text", "start_s"), on="narration_id")
        .sort("clip_id", "start_s", "narration_id")
        .group_by("clip_id", maintain_order=True)
        .agg(pl.col("text").str.join(" "))
    )
    texts = dict(said.iter_rows())
    return {clip_id: texts.get(clip_id, "") for clip_id in clips["clip_id"]}


def build_supervision(
    learners: pl.DataFrame,
    clips: pl.DataFrame,
    texts: dict[str, str],
    *,
    similarity: Similarity | None = None,
    positive_share: float = 0.2,
    negative_share: float = 0.05,
    mistake_label: float = 0.6,
    random_negatives: int = 4,
    skill_negatives: int = 12,
    seed: int = 0,
    splits: Sequence[str] = ("train", "val"),
) -> pl.DataFrame:
    """Rows learner_id, clip_id, label, reason, in order of ids.

    Within a learner's sport and skill the similarities to its comment are taken as shares of the largest one: at or
    above ``positive_share`` a clip is a positive (label 1 for a correct demonstration, ``mistake_label`` where the
    mistake itself is shown), at or below ``negative_share`` it is a negative, and between them it is left out.
    """
    rng = np.random.default_rng(seed)
    frames: list[pl.DataFrame] = []
    heard = learners.filter(pl.col("split").cast(pl.String).is_in(splits) & pl.col("is_mistake"))
    if similarity is None and heard.height:
        names = [*clips["sport"].unique(), *clips["skill"].unique()]
        similarity = expanded_similarity(heard.sort("learner_id")["comment"].to_list(), names)
    for split in splits:
        theirs = clips.filter(pl.col("split").cast(pl.String) == split).sort("clip_id")
        people = learners.filter((pl.col("split").cast(pl.String) == split) & pl.col("is_mistake")).sort("learner_id")
        for (sport, skill), group in people.group_by("sport", "skill", maintain_order=True):
            near = theirs.filter((pl.col("sport") == sport) & (pl.col("skill") == skill))
            far = theirs.filter((pl.col("sport") == sport) & (pl.col("skill") != skill))
            assert similarity is not None  # there are learners
            scores = similarity(group["comment"].to_list(), [texts[clip_id] for clip_id in near["clip_id"]])
            for learner_id, row in zip(group["learner_id"], scores, strict=True):
                frames.append(_matches(learner_id, near, row, positive_share, negative_share, mistake_label))
                frames.append(_drawn(learner_id, far, skill_negatives, OTHER_SKILL, rng))
                frames.append(
                    _drawn(learner_id, theirs.filter(pl.col("sport") != sport), random_negatives, RANDOM, rng)
                )
    table = pl.concat([pl.DataFrame(schema=SCHEMA), *frames])
    return table.unique(["learner_id", "clip_id"], keep="first", maintain_order=True).sort("learner_id", "clip_id")


def _matches(
    learner_id: str, near: pl.DataFrame, scores: np.ndarray, positive: float, negative: float, mistake_label: float
) -> pl.DataFrame:
    """A learner's rows among the clips of its skill, itself left out; none where no clip says anything alike."""
    others = (near["clip_id"] != learner_id).to_numpy()
    near, scores = near.filter(others), scores[others]
    best = scores.max(initial=0.0)
    if best <= 0:
        return pl.DataFrame(schema=SCHEMA)
    shares = scores / best
    correct = near["demonstration"].cast(pl.String).to_numpy() == "correct"
    rows: list[tuple[str, str, float, str]] = []
    for clip_id, share, is_correct in zip(near["clip_id"], shares, correct, strict=True):
        if share >= positive:
            rows.append((learner_id, clip_id, 1.0 if is_correct else mistake_label, ADVICE if is_correct else MISTAKE))
        elif share <= negative:
            rows.append((learner_id, clip_id, 0.0, OTHER_CUE))
    return pl.DataFrame(rows, schema=SCHEMA, orient="row")


def _drawn(learner_id: str, pool: pl.DataFrame, count: int, reason: str, rng: np.random.Generator) -> pl.DataFrame:
    """Up to ``count`` random clips of ``pool`` as negatives."""
    chosen = sorted(rng.permutation(pool.height)[:count].tolist())
    ids = pool["clip_id"].gather(chosen)
    rows = [(learner_id, clip_id, 0.0, reason) for clip_id in ids]
    return pl.DataFrame(rows, schema=SCHEMA, orient="row")


def lesson_learners(clips: pl.DataFrame, texts: dict[str, str]) -> pl.DataFrame:
    """Training clips that show a mistake, as further learners: the coach's sentence stands for the expert's comment.

    Columns learner_id (the clip's id), sport, skill, comment, is_mistake, split.
    """
    shown = clips.filter(
        (pl.col("demonstration").cast(pl.String) == "incorrect") & (pl.col("split").cast(pl.String) == "train")
    )
    said = pl.Series([texts[clip_id] for clip_id in shown["clip_id"]], dtype=pl.String)
    return shown.select(
        "sport", "skill", learner_id="clip_id", comment=said, is_mistake=pl.lit(True), split=pl.col("split")
    ).filter(pl.col("comment") != "")  # fmt: skip


def build_lesson_supervision(
    learners: pl.DataFrame, clips: pl.DataFrame, texts: dict[str, str], **settings: Any
) -> pl.DataFrame:
    """As :func:`build_supervision`, for the mistakes shown in training lessons; a clip is never its own candidate.

    The similarity is fitted on the experts' comments on training learners, which say what mends which mistake.
    """
    lessons = lesson_learners(clips, texts)
    heard = learners.filter((pl.col("split").cast(pl.String) == "train") & pl.col("is_mistake"))
    if not heard.height or not lessons.height:
        return pl.DataFrame(schema=SCHEMA)
    names = [*clips["sport"].unique(), *clips["skill"].unique()]
    similarity = expanded_similarity(heard.sort("learner_id")["comment"].to_list(), names)
    return build_supervision(lessons, clips, texts, similarity=similarity, splits=("train",), **settings)
