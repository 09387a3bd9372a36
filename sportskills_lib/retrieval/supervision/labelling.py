"""Weak supervision: which clips help a learner, guessed from what an expert said of the learner.

A clip whose coach says much the same as the expert is a positive; clips of other skills, clips of
the same skill whose coach clearly speaks of something else, and clips that the first stage ranks
high are negatives. What lies between is masked, because unfiltered hard negatives are often
positives. So is any negative that is nearly as like the comment as the learner's own positives
(positive-aware, after NV-Retriever, arXiv 2407.15831), by a similarity that may be another than the
one that chose the positives: a second reader sees what the first one missed. Only learners of a
split over clips of that split are paired; grades and truth are never read. Every row, masked ones
too, says why it is there and how alike it is. All thresholds are ours.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl

from sportskills_lib.config import RetrievalConfig
from sportskills_lib.retrieval.supervision.text_similarity import Similarity, WidenedWords

FirstStage = Callable[
    [Sequence[str], Sequence[str]], np.ndarray
]  # learner_ids [Q], clip_ids [N] -> float [Q, N]
Judge = Callable[
    [pl.DataFrame], pl.DataFrame
]  # near pairs -> mends (yes, no, unsure; null: not asked), corrects

SCHEMA: dict[str, Any] = {
    "learner_id": pl.String,
    "clip_id": pl.String,
    "label": pl.Float64,  # null: masked, and never taught
    "reason": pl.String,
    # of the coach's words to the comment; what its size means depends on the measure
    "similarity": pl.Float64,
    # what the comment corrects, in a chat model's words; null where none was asked
    "corrects": pl.String,
}
ADVICE, MISTAKE = "advice matches the comment", "mistake shown matches the comment"
OTHER_CUE, OTHER_SKILL, RANDOM = (
    "same skill, other cue",
    "same sport, other skill",
    "random clip of the split",
)
MINED, OTHER_ADVICE = (
    "high in the first stage",
    "same sport, other cue",
)  # the latter where no skill is known
SAID_YES, SAID_NO = (
    "chat model: mends what the comment corrects",
    "chat model: corrects something else",
)
BETWEEN, UNSURE = "masked: neither alike nor unlike enough", "masked: the chat model is unsure"
LIKE_POSITIVES = "masked: nearly as like the comment as the positives"
RANKED_LIKE_POSITIVES = "masked: the first stage ranks it with the positives"
SEVERAL = 5  # so many times the clips wanted are drawn, since some of them are masked


def clip_texts(
    clips: pl.DataFrame, pairs: pl.DataFrame, narrations: pl.DataFrame
) -> dict[str, str]:
    """What is said over each clip: its narrations in order of time, joined; "" for a clip without
    one.
    """
    said = (
        pairs.join(narrations.select("narration_id", "text", "start_s"), on="narration_id")
        .sort("clip_id", "start_s", "narration_id")
        .group_by("clip_id", maintain_order=True)
        .agg(pl.col("text").str.join(" "))
    )
    texts = dict(said.iter_rows())
    return {clip_id: texts.get(clip_id, "") for clip_id in clips["clip_id"]}


def lesson_learners(clips: pl.DataFrame, texts: dict[str, str]) -> pl.DataFrame:
    """Training clips that show a mistake, as further learners: the coach's sentence stands for the
    expert's comment.

    Columns learner_id (the clip's id), sport, skill, comment, is_mistake, split.
    """
    shown = clips.filter((pl.col("demonstration") == "incorrect") & (pl.col("split") == "train"))
    said = pl.Series([texts[clip_id] for clip_id in shown["clip_id"]], dtype=pl.String)
    return shown.select(
        "sport",
        "skill",
        "split",
        learner_id="clip_id",
        comment=said,
        is_mistake=pl.lit(True),
    )


def build_supervision(
    learners: pl.DataFrame,
    clips: pl.DataFrame,
    texts: dict[str, str],
    config: RetrievalConfig,
    *,
    similarity: Similarity | None = None,
    masking: Similarity | None = None,
    first_stage: FirstStage | None = None,
    judge: Judge | None = None,
) -> pl.DataFrame:
    """Rows learner_id, clip_id, label, reason, similarity, in order of ids; masked ones have no
    label.

    Within a learner's sport and skill (its sport, where no skill is known) the similarities to its
    comment are taken as shares of the largest one: at or above ``positive_share`` a clip is a
    positive (label 1 for a correct demonstration,
    ``mistake_label`` where the mistake itself is shown), at or below ``negative_share`` it is a
    negative, and between them it is masked. ``judge`` may decide such pairs otherwise. ``masking``
    is the reading that masks negatives (None: ``similarity``, and that is None for TF-IDF);
    ``first_stage`` ranks the clips among which negatives are mined. A clip without words is paired
    with nobody.
    """
    heard = learners.filter(
        (pl.col("split") != "test") & pl.col("is_mistake") & (pl.col("comment") != "")
    ).sort("split", "learner_id")
    if not heard.height:
        return pl.DataFrame(schema=SCHEMA)
    similarity = similarity or comments_similarity(heard, clips)
    said = pl.Series("text", [texts[clip_id] for clip_id in clips["clip_id"]], pl.String)
    spoken = clips.with_columns(said).filter(pl.col("text") != "").sort("clip_id")
    blocks = list(_blocks(heard, spoken, similarity))
    near = pl.concat([pl.DataFrame(schema=NEAR), *[_near(block, config) for block in blocks]])
    if judge is not None:
        near = _judged(near.drop("corrects").hstack(judge(near)), config)
    decided = near.partition_by("learner_id", as_dict=True)
    rng, rows = np.random.default_rng(config.seed), list[Row]()
    for block in blocks:
        drawn = _draw(block, config, rng)
        readings = _read(block, drawn, similarity, masking, first_stage)
        for place, learner_id in enumerate(block.people["learner_id"]):
            own = decided.get((learner_id,), near.clear())
            rows += _learner(block, place, own, drawn[place], readings[place], config)
    table = pl.DataFrame(rows, schema=SCHEMA, orient="row")
    table = table.unique(["learner_id", "clip_id"], keep="first", maintain_order=True)
    check_splits(table, heard, clips)
    return table.sort("learner_id", "clip_id")


def comments_similarity(heard: pl.DataFrame, clips: pl.DataFrame) -> WidenedWords:
    """The measure that needs no model, fitted on the experts' comments of ``heard``."""
    names = [*clips["sport"].unique(), *clips["skill"].unique()]
    return WidenedWords(heard.sort("learner_id")["comment"].to_list(), names)


def check_splits(table: pl.DataFrame, learners: pl.DataFrame, clips: pl.DataFrame) -> None:
    """ValueError if a row's learner and clip stand in different splits, or the learner is the
    clip.
    """
    split = pl.col("split").cast(pl.String)
    wrong = (
        table.join(learners.select("learner_id", theirs=split), on="learner_id", how="left")
        .join(clips.select("clip_id", its=split), on="clip_id", how="left")
        .filter(
            pl.col("theirs").ne_missing(pl.col("its")) | (pl.col("learner_id") == pl.col("clip_id"))
        )
    )
    if wrong.height:
        row = wrong.row(0, named=True)
        raise ValueError(
            f"learner {row['learner_id']} ({row['theirs']}) is paired with clip "
            f"{row['clip_id']} ({row['its']}): "
            "supervision never crosses splits; give learners and clips of one video or person "
            "one split"
        )


# ----------------------------------------------------------------------------------- block by block

Row = tuple[str, str, float | None, str, float, str | None]  # as SCHEMA
NEAR = SCHEMA | {
    "share": pl.Float64,
    "comment": pl.String,
    "text": pl.String,
    "correct": pl.Boolean,
    "sport": pl.String,
    "skill": pl.String,
}


@dataclass(frozen=True)
class _Block:
    """The learners of one split, sport and skill, and the clips of that split: of their sport, and
    of others.
    """

    people: pl.DataFrame
    pool: (
        pl.DataFrame
    )  # with columns text, and near: of the same skill, or any of the sport where none is known
    others: pl.DataFrame
    scores: np.ndarray  # [people, pool]: similarity of comment and text


def _blocks(heard: pl.DataFrame, clips: pl.DataFrame, measure: Similarity) -> Iterator[_Block]:
    groups = heard.group_by("split", "sport", "skill", maintain_order=True)
    for (split, sport, skill), people in groups:
        near = pl.lit(True) if skill is None else pl.col("skill") == skill
        theirs = clips.filter(pl.col("split") == split)
        pool = theirs.filter(pl.col("sport") == sport).with_columns(near=near)
        scores = measure(people["comment"].to_list(), pool["text"].to_list())
        yield _Block(people, pool, theirs.filter(pl.col("sport") != sport), scores)


def _near(block: _Block, config: RetrievalConfig) -> pl.DataFrame:
    """What the similarity says of every learner and clip of one skill; nothing where no clip says
    anything alike.
    """
    near = block.pool.filter("near")
    scores = block.scores[:, block.pool["near"].to_numpy()]
    both = block.people.select("learner_id", "comment", "sport", "skill").join(
        near.select("clip_id", "text", "demonstration"), how="cross", maintain_order="left_right"
    )
    share = pl.col("similarity") / pl.col("similarity").max().over("learner_id")
    enough = pl.col("similarity").max().over("learner_id") > max(0.0, config.similarity_floor)
    both = (
        both.with_columns(similarity=pl.Series(scores.ravel(), dtype=pl.Float64))
        .filter(pl.col("clip_id") != pl.col("learner_id"))
        .filter(enough)
        .with_columns(share=share, correct=pl.col("demonstration").cast(pl.String) == "correct")
    )
    good, bad = pl.col("share") >= config.positive_share, pl.col("share") <= config.negative_share
    unlike = (
        pl.when(pl.col("skill").is_null()).then(pl.lit(OTHER_ADVICE)).otherwise(pl.lit(OTHER_CUE))
    )
    alike = pl.when("correct").then(pl.lit(ADVICE)).otherwise(pl.lit(MISTAKE))
    return both.select(
        pl.exclude("demonstration"),
        label=pl.when(good).then(_worth(config)).when(bad).then(0.0),
        reason=pl.when(good).then(alike).when(bad).then(unlike).otherwise(pl.lit(BETWEEN)),
        corrects=None,
    ).select(pl.col(name).cast(kind) for name, kind in NEAR.items())


def _worth(config: RetrievalConfig) -> pl.Expr:
    return pl.when("correct").then(1.0).otherwise(config.mistake_label)


def _judged(near: pl.DataFrame, config: RetrievalConfig) -> pl.DataFrame:
    """The same with the judge's word (``mends``) for the similarity's; unsure masks, null changes
    nothing.
    """
    yes, no, unsure = (pl.col("mends") == word for word in ("yes", "no", "unsure"))
    label = (
        pl.when(yes)
        .then(_worth(config))
        .when(no)
        .then(0.0)
        .when(unsure)
        .then(None)
        .otherwise("label")
    )
    said = (
        pl.when(yes)
        .then(pl.lit(SAID_YES))
        .when(no)
        .then(pl.lit(SAID_NO))
        .when(unsure)
        .then(pl.lit(UNSURE))
    )
    return near.with_columns(label=label, reason=said.otherwise("reason")).select(*NEAR)


# places in the pool (other skills), and in the others, in the order of the draw
Drawn = tuple[np.ndarray, np.ndarray]


def _draw(block: _Block, config: RetrievalConfig, rng: np.random.Generator) -> list[Drawn]:
    """For each learner all clips of other skills, and some of other sports, in random order."""
    far = np.flatnonzero(~block.pool["near"].to_numpy())
    several = SEVERAL * config.random_negatives
    return [
        (rng.permutation(far), rng.permutation(block.others.height)[:several])
        for _ in range(block.people.height)
    ]


# of one learner: the reading that masks and the first stage, of the pool [N] (None: no mining), and
# the similarity and the reading that masks, of the drawn clips of other sports
Reading = tuple[np.ndarray, np.ndarray | None, np.ndarray, np.ndarray]


def _read(
    block: _Block, drawn: list[Drawn], similarity: Similarity, masking: Similarity | None,
    first_stage: FirstStage | None,
) -> list[Reading]:  # fmt: skip
    comments, ids = block.people["comment"].to_list(), block.people["learner_id"].to_list()
    places = np.unique(np.concatenate([random for _, random in drawn]))
    texts = block.others["text"].gather(places).to_list()
    alike = similarity(comments, texts)
    also, second = alike, block.scores
    if masking is not None:
        also = masking(comments, texts)
        second = masking(comments, block.pool["text"].to_list())
    ranked = first_stage(ids, block.pool["clip_id"].to_list()) if first_stage else None
    found = [np.searchsorted(places, random) for _, random in drawn]
    return [
        (second[row], None if ranked is None else ranked[row], alike[row, at], also[row, at])
        for row, at in enumerate(found)
    ]


def _learner(
    block: _Block,
    place: int,
    own: pl.DataFrame,
    drawn: Drawn,
    reading: Reading,
    config: RetrievalConfig,
) -> list[Row]:
    """One learner's rows; where a clip comes twice, the first row counts."""
    learner_id, ids = block.people["learner_id"][place], block.pool["clip_id"]
    scores, (second, ranked, alike, also) = block.scores[place], reading
    at = ids.search_sorted(own["clip_id"]).to_numpy()  # the pool is sorted
    label = own["label"].to_numpy()
    positive, closed = np.zeros(len(ids), bool), (ids == learner_id).to_numpy()
    positive[at[label > 0]] = True
    closed[at[np.isnan(label) | (own["reason"] == SAID_NO).to_numpy()]] = True

    def masks(alike: np.ndarray) -> np.ndarray:
        return np.where(near_positives(alike, second[positive], config), LIKE_POSITIVES, "")

    def rows(kind: str, chosen: list[Choice], names: pl.Series, alike: np.ndarray) -> list[Row]:
        return [
            (learner_id, names[i], label, why or kind, float(alike[i]), None)
            for i, label, why in chosen
        ]

    (far, random), found = drawn, list[Row]()
    if ranked is not None:
        mined = mine(ranked, second, positive, closed, config)
        found += rows(MINED, mined, ids, scores)
        far = far[~np.isin(far, [i for i, label, _ in mined if label is not None])]
    masked = (pl.col("label") == 0) & (pl.col("reason") != SAID_NO)
    masked &= pl.lit(pl.Series(masks(second[at]) != "", dtype=pl.Boolean))
    found += own.select(SCHEMA.keys()).with_columns(
        label=pl.when(masked).then(None).otherwise("label"),
        reason=pl.when(masked).then(pl.lit(LIKE_POSITIVES)).otherwise("reason"),
    ).rows()  # fmt: skip
    others = first_unmasked(far, masks(second[far]), config.skill_negatives)
    found += rows(OTHER_SKILL, others, ids, scores)
    others = first_unmasked(np.arange(len(random)), masks(also), config.random_negatives)
    return found + rows(RANDOM, others, block.others["clip_id"].gather(random), alike)


# ---------------------------------------------------------------------------------------- negatives

# place of a clip in a pool, its label (0, or None for a masked one), and why it is masked, or ""
Choice = tuple[int, float | None, str]


def near_positives(alike: np.ndarray, positives: np.ndarray, config: RetrievalConfig) -> np.ndarray:
    """bool [N]: which of ``alike`` [N] lie above the mean of the ``positives`` less the config's
    margin; none without positives, or where nothing is to be masked.
    """
    if config.mask_against == "none" or not len(positives):
        return np.zeros(len(alike), bool)
    return alike > positives.mean() - config.mask_margin


def first_unmasked(places: np.ndarray, reasons: np.ndarray, count: int) -> list[Choice]:
    """The first ``count`` of ``places`` without a reason to mask them, and those masked on the way:
    a mask costs no negative.
    """
    free = reasons == ""
    reached = np.cumsum(free) - free < count  # how many free ones come before each place
    chosen = zip(places[reached].tolist(), reasons[reached].tolist(), strict=True)
    return [(place, None if reason else 0.0, reason) for place, reason in chosen]


def mine(
    ranked: np.ndarray,
    alike: np.ndarray,
    positive: np.ndarray,
    closed: np.ndarray,
    config: RetrievalConfig,
) -> list[Choice]:
    """``mined_negatives`` from the first stage's ``mined_depth`` best, as :func:`first_unmasked`.

    ``ranked`` [N]: the first stage's scores of the learner's candidates; ``alike`` [N]: similarity
    to the comment; ``positive`` and ``closed`` bool [N]: clips that are positives, and others that
    may not be taken. The first stage's own scores are held to the margin as well, in deviations of
    the candidates' scores, so that it means the same for any first stage.
    """
    spread = float(ranked.std()) or 1.0
    order = np.argsort(-ranked, kind="stable")[: config.mined_depth]
    order = order[~(positive | closed)[order]]
    near = near_positives(alike[order], alike[positive], config)
    high = near_positives(ranked[order] / spread, ranked[positive] / spread, config)
    reasons = np.select([near, high], [LIKE_POSITIVES, RANKED_LIKE_POSITIVES], "")
    return first_unmasked(order, reasons, config.mined_negatives)
