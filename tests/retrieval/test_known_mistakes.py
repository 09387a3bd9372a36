"""What was said of training mistakes: lent to learners who look alike, and the name of a mistake."""

from __future__ import annotations

import numpy as np
import polars as pl

from sportskills_lib.retrieval.relevance import known_mistakes
from sportskills_lib.retrieval.relevance.known_mistakes import KnownMistakes, nearest_mistakes
from sportskills_lib.retrieval.supervision.text_similarity import WidenedWords

TABLE = pl.DataFrame(
    {
        "learner_id": ["a", "b", "c", "d"],
        "sport": ["golf", "golf", "golf", "judo"],
        "skill": ["putt", "putt", "drive", "throw"],
        "comment": ["bend it", "bend it", "turn it", "fall it"],
    }
)
VIDEO = np.array([[1.0, 0], [0.9, 0.1], [0, 1], [1, 0]], np.float32)
WORDS = np.eye(4, dtype=np.float32)
TEXT = np.zeros((4, 2), np.float32)
KNOWN = KnownMistakes(TABLE, VIDEO, WORDS, TEXT, 2)
ASKED = pl.DataFrame(
    {"learner_id": ["a", "x", "y"], "sport": ["golf", "golf", None], "skill": ["putt", None, None]}
)
QUERIES = np.array([[1.0, 0], [0, 1], [1, 0]], np.float32)


def test_the_nearest_are_of_the_same_kind_and_never_the_asked_one_itself() -> None:
    near = nearest_mistakes(ASKED, QUERIES, TABLE, VIDEO, count=2)
    assert [rows.tolist() for rows in near] == [[1], [2, 1], [0, 3]]


def test_words_are_lent_within_the_sport() -> None:
    lent = KNOWN.lend(ASKED, QUERIES)
    assert lent.tolist() == [[0, 0.5, 0.5, 0], [0, 0.5, 0.5, 0], [0.5, 0, 0, 0.5]]
    nobody = pl.DataFrame({"learner_id": ["z"], "sport": ["chess"]})
    assert not KNOWN.lend(nobody, QUERIES[:1]).any()


def test_a_mistake_is_named_by_the_comment_of_its_sport_that_fits_best_once_each() -> None:
    query = np.array([[0, 0, 0, 0, 0.5, 0.6, 0.1, 0.9, 1]])  # the last is the label's
    named = KNOWN.names(ASKED.filter(learner_id="x"), query)
    assert named["comment"].to_list() == ["bend it", "turn it"]
    assert named["mistake_id"].to_list() == ["b", "c"] and named["rank"].to_list() == [1, 2]
    anywhere = KNOWN.names(ASKED.filter(learner_id="y"), query)
    assert anywhere["comment"][0] == "fall it"


def test_what_is_saved_is_read_back(tmp_path) -> None:
    KNOWN.save(tmp_path)
    again = KnownMistakes.read(tmp_path, 2)
    assert again is not None and again.table.equals(TABLE)
    np.testing.assert_array_equal(again.words_MR, WORDS)
    np.testing.assert_array_equal(again.lend(ASKED, QUERIES), KNOWN.lend(ASKED, QUERIES))
    assert KnownMistakes.read(tmp_path / "elsewhere", 2) is None


def test_only_training_mistakes_that_somebody_spoke_of_are_known() -> None:
    learners = TABLE.with_columns(
        is_mistake=pl.Series([True, True, False, True]),
        split=pl.Series(["train", "test", "train", "val"]),
    )
    clips = pl.DataFrame(
        {
            "clip_id": ["k", "l"],
            "sport": ["golf", "golf"],
            "skill": ["putt", "putt"],
            "demonstration": ["incorrect", "correct"],
            "split": ["train", "train"],
        }
    )
    known, _ = known_mistakes.spoken_of(learners, clips, {"k": "it drops", "l": "it stays"})
    assert known["learner_id"].to_list() == ["a", "k"]


def test_vectors_of_words_have_the_similarities_as_products() -> None:
    comments = [
        f"the {limb} {fault} too soon" for limb in ("knee", "arm") for fault in ("drops", "opens")
    ]
    reading = WidenedWords(comments, ["golf"])
    texts = ["the knee drops", "the arm opens", "nothing of this"]
    asked, said = reading.vectors_of(comments, texts, width=128)
    exact = reading(comments, texts)
    np.testing.assert_allclose(asked @ said.T, exact, atol=0.1)
    assert (np.argmax(asked @ said[:2].T, 1) == np.argmax(exact[:, :2], 1)).all()
    nothing = WidenedWords(["word"], []).vectors_of(["a b"], ["c d"], width=8)
    assert [part.shape for part in nothing] == [(1, 0), (1, 0)]
    assert reading([], texts).shape == (0, 3)
