"""What was said of training mistakes: lent to learners whose videos look like theirs, and the name
of what a learner does wrong.

Training mistakes are the learners of the training split on whom an expert commented, and training
clips that show a mistake. A learner is lent the words said of those of its sport that look most
like it by the video encoder, never its own. Words are vectors here
(:meth:`text_similarity.WidenedWords.vectors_of`). The name of a learner's mistake is the comment
that the dual scorer would find, were comments clips.

Legend: N learners, M mistakes, E width of the encoder's vector, R width of the words', W of a
text's, D of the dual scorer's.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl

from sportskills_lib.retrieval.supervision.labelling import comments_similarity, lesson_learners
from sportskills_lib.retrieval.supervision.text_similarity import WidenedWords

KIND = ("sport", "skill")
WIDTH = 128  # of the words
FILE, CALIBRATION_FILE = "mistakes.parquet", "mistake_calibration.json"
NAMES, TRIED = 3, 20  # names of a learner's mistake, and those that their scores are calibrated on
NAMED = {
    "learner_id": pl.String,
    "rank": pl.Int64,
    "mistake_id": pl.String,
    "comment": pl.String,
    "score": pl.Float64,
}


def nearest_mistakes(
    asked: pl.DataFrame,
    asked_NE: np.ndarray,
    mistakes: pl.DataFrame,
    known_ME: np.ndarray,
    *,
    count: int,
    kind: Sequence[str] = KIND,
) -> list[np.ndarray]:
    """Rows of the at most ``count`` mistakes (learner_id, sport, skill) of each asked one's
    ``kind`` that look most like it, the nearest first. Where it is not known (null), all count.
    """
    ids, *kinds_M = (mistakes[name].to_numpy() for name in ("learner_id", *kind))
    rows_of: dict[tuple[str | None, ...], np.ndarray] = {}
    found = []
    for vector_E, (name, *own) in zip(
        asked_NE, asked.select("learner_id", *kind).iter_rows(), strict=True
    ):
        key = tuple(own)
        if key not in rows_of:
            fits = [kind_M == one for kind_M, one in zip(kinds_M, own, strict=True) if one]
            rows_of[key] = np.flatnonzero(np.logical_and.reduce([ids == ids, *fits]))
        rows = rows_of[key][ids[rows_of[key]] != name]
        found.append(rows[np.argsort(-(known_ME[rows] @ vector_E), kind="stable")[:count]])
    return found


def spoken_of(
    learners: pl.DataFrame, clips: pl.DataFrame, texts: dict[str, str]
) -> tuple[pl.DataFrame, WidenedWords]:
    """The training mistakes that somebody spoke of (learner_id, sport, skill, comment): experts of
    learners, coaches over clips; and the measure fitted on the experts' comments.
    """
    columns, split = ["learner_id", "sport", "skill", "comment"], pl.col("split").cast(pl.String)
    taught = learners.filter("is_mistake", split == "train")
    shown = lesson_learners(clips, texts)
    every = pl.concat([taught.select(columns), shown.select(columns)])
    return every, comments_similarity(taught, clips)


@dataclass(frozen=True)
class KnownMistakes:
    """Training mistakes (learner_id, sport, skill, comment) with the vectors of their videos, of
    the words said of them, and of these as a text of the dual scorer; rows in the same order.
    """

    table: pl.DataFrame
    video_ME: np.ndarray
    words_MR: np.ndarray
    text_MW: np.ndarray
    nearest: int  # mistakes that a learner is lent the words of

    def lend(self, asked: pl.DataFrame, asked_NE: np.ndarray) -> np.ndarray:
        """float32 [N, R]: the mean words of the nearest mistakes of the sport of each of ``asked``
        (learner_id, sport; null: any); 0 where none is known.
        """
        lent_NR = np.zeros((asked.height, self.words_MR.shape[1]), np.float32)
        near = nearest_mistakes(
            asked, asked_NE, self.table, self.video_ME, count=self.nearest, kind=("sport",)
        )
        for row, rows in enumerate(near):
            if len(rows):
                lent_NR[row] = self.words_MR[rows].mean(0)
        return lent_NR

    def names(
        self, asked: pl.DataFrame, query_ND: np.ndarray, *, count: int = NAMES
    ) -> pl.DataFrame:
        """learner_id, rank, mistake_id, comment, score: the ``count`` comments that say best what
        each of ``asked`` does wrong, by its vector as the search asks; each text once.
        """
        width, words = self.text_MW.shape[1], self.words_MR.shape[1]
        said_MD = np.hstack([self.text_MW, np.zeros_like(self.text_MW), self.words_MR])
        score_NM = query_ND[:, : 2 * width + words] @ said_MD.T
        sport_M, parts = self.table["sport"].to_numpy(), [pl.DataFrame(schema=NAMED)]
        rows = asked.select("learner_id", "sport").iter_rows()
        for (learner_id, sport), score_M in zip(rows, score_NM, strict=True):
            known = self.table.select(
                "comment",
                learner_id=pl.lit(learner_id),
                mistake_id="learner_id",
                score=pl.Series(score_M, dtype=pl.Float64),
            ).filter(pl.Series(sport_M == sport) if sport else pl.lit(True))
            best = known.sort("score", descending=True, maintain_order=True)
            best = best.unique("comment", keep="first", maintain_order=True).head(count)
            parts.append(best.with_columns(rank=pl.int_range(1, pl.len() + 1)).select(NAMED.keys()))
        return pl.concat(parts)

    def save(self, folder: Path) -> None:
        """Write ``mistakes.parquet``."""
        vectors = {"video": self.video_ME, "words": self.words_MR, "text": self.text_MW}
        table = self.table.with_columns(
            pl.Series(name, values, dtype=pl.Array(pl.Float32, values.shape[1]))
            for name, values in vectors.items()
        )
        table.write_parquet(folder / FILE)

    @classmethod
    def read(cls, folder: Path, nearest: int) -> KnownMistakes | None:
        """What :meth:`save` wrote; None where there is no such file."""
        if not (folder / FILE).is_file():
            return None
        table = pl.read_parquet(folder / FILE)
        video, words, text = (table[name].to_numpy() for name in ("video", "words", "text"))
        known = table.select("learner_id", *KIND, "comment")
        return cls(known, video, words, text, nearest)
