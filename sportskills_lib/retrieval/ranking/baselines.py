"""What a relevance model is held against: scores that need no training, from chance to the oracle
that reads the expert.

``correct_scores`` is 02's label, which never sees the learner; ``borrowed_words`` lends a learner
what was said of the training mistakes that look most like it. Only the text oracle reads the
expert's comment on the learner.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping

import numpy as np
import polars as pl

from sportskills_lib.retrieval.relevance.known_mistakes import KIND, nearest_mistakes
from sportskills_lib.retrieval.supervision.text_similarity import Similarity


def random_scores(pairs: pl.DataFrame, seed: int) -> np.ndarray:
    """Chance: a number in [0, 1) for each pair that depends on its names and the seed alone, not on
    the order of rows.
    """
    names = [f"{seed}/{'/'.join(row)}" for row in pairs.select("learner_id", "clip_id").rows()]
    digests = [hashlib.blake2b(name.encode(), digest_size=8).digest() for name in names]
    return np.array([int.from_bytes(digest, "big") / 2**64 for digest in digests])


def same_skill_scores(
    pairs: pl.DataFrame, learners: pl.DataFrame, clips: pl.DataFrame, seed: int
) -> np.ndarray:
    """Clips of the learner's skill first, in random order: what knowing the skill alone is
    worth.
    """
    wanted = dict(learners.select("learner_id", "skill").iter_rows())
    shown = dict(clips.select("clip_id", "skill").iter_rows())
    same = [
        wanted[learner_id] is not None and wanted[learner_id] == shown[clip_id]
        for learner_id, clip_id in pairs.select("learner_id", "clip_id").iter_rows()
    ]
    return np.array(same, np.float64) + random_scores(pairs, seed)


def correct_scores(pairs: pl.DataFrame, clips: pl.DataFrame) -> np.ndarray:
    """1 for a clip that 02 calls a correct demonstration, else 0, [rows]."""
    shown = pl.col("demonstration").cast(pl.String) == "correct"
    correct = set(clips.filter(shown)["clip_id"])
    return np.array([clip_id in correct for clip_id in pairs["clip_id"]], np.float64)


def borrowed_words(
    pairs: pl.DataFrame,
    learners: pl.DataFrame,
    mistakes: pl.DataFrame,
    vectors: Mapping[str, np.ndarray],
    texts: Mapping[str, str],
    similarity: Similarity,
    *,
    nearest: int,
) -> np.ndarray:
    """How much each row's coach says what was said of the ``nearest`` training ``mistakes``
    (learner_id, sport, skill, comment) that look most like the learner's, of its skill; [rows].

    0 where no mistake of the skill is known.
    """
    scores = np.zeros(pairs.height)
    rows = pairs.with_row_index("row").group_by("learner_id", maintain_order=True)
    lists = rows.agg("row", "clip_id").join(
        learners.select("learner_id", *KIND).drop_nulls(), on="learner_id", maintain_order="left"
    )
    if mistakes.is_empty():
        return scores
    asked_NE, known_ME = (
        np.stack([vectors[name] for name in table["learner_id"]])
        if table.height
        else np.zeros((0, 1))
        for table in (lists, mistakes)
    )
    near = nearest_mistakes(lists, asked_NE, mistakes, known_ME, count=nearest)
    for rows_K, own, clip_ids in zip(near, lists["row"], lists["clip_id"], strict=True):
        said = mistakes["comment"][rows_K].to_list()
        alike_KC = similarity(said, [texts[clip_id] for clip_id in clip_ids])
        if said:
            scores[own.to_numpy()] = alike_KC.mean(0)
    return scores


def oracle_scores(
    pairs: pl.DataFrame, learners: pl.DataFrame, texts: Mapping[str, str], similarity: Similarity
) -> np.ndarray:
    """The expert's comment against what each candidate's coach says, [rows]: what a perfect
    description of the mistake would find; not a system one could use.
    """
    scores = np.zeros(pairs.height)
    comments = dict(learners.select("learner_id", "comment").iter_rows())
    table = pairs.select("learner_id", "clip_id").with_row_index("row")
    for (learner_id,), rows in table.group_by("learner_id", maintain_order=True):
        said = [texts[clip_id] for clip_id in rows["clip_id"]]
        scores[rows["row"].to_numpy()] = similarity([comments[str(learner_id)]], said)[0]
    return scores


def same_skill(pairs: pl.DataFrame, learners: pl.DataFrame, clips: pl.DataFrame) -> np.ndarray:
    """int64: the rows whose clip is of its learner's skill; a learner of unknown skill has none."""
    own = pairs.with_row_index("row").join(learners.select("learner_id", *KIND), on="learner_id")
    own = own.join(clips.select("clip_id", *KIND), on=["clip_id", *KIND])
    return own["row"].sort().to_numpy().astype(np.int64)
