"""What a sentence says of the performance, on sentences written for this test."""

from __future__ import annotations

import numpy as np
import pytest

from sportskills_lib.pairing.judge_protocol import Evidence, decide
from sportskills_lib.pairing.rules_judge import HALF_MOVED, RulesJudge, what_is_said


@pytest.mark.parametrize(
    "text",
    [
        "Bend your knees and stay low.",
        "now rotate the hips before the hands come through",
        "Keep the elbow in rather than letting it fly.",
        "Make sure the back heel never leaves the floor.",
        "You want to land softly on the ball of the foot.",
        "To fix this mistake, turn the shoulders first.",
        "If you brace the core you gain a lot of power.",
        "That is the correct grip, thumb around the bar.",
        "The shoulders should stay over the board.",
        "Reach as far as you can and breathe to the side.",
    ],
)
def test_advice_speaks_of_a_correct_performance(text: str) -> None:
    assert what_is_said(text) == "correct"


@pytest.mark.parametrize(
    "text",
    [
        "Don't let the knees cave in.",
        "never lock the elbow at the top",
        "Here the wrist collapses and the racket face opens.",
        "A common mistake is standing too upright.",
        "Most beginners drop the shoulder too early.",
        "Look at the error in this one, the chin pokes forward.",
        "Leaning back robs you of all your power.",
        "This is wrong because the hips stay still.",
        "Stop lifting your head.",
        "the front arm never extends and the punch has no power",
        "Avoid crossing your feet.",
    ],
)
def test_a_mistake_named_speaks_of_an_incorrect_one(text: str) -> None:
    assert what_is_said(text) == "incorrect"


ADVICE, FAULT = "Bend your knees and stay low.", "Never lock the elbow at the top."


def test_rules_need_words_that_teach_and_something_that_moves() -> None:
    judge = RulesJudge()
    items = [
        Evidence("a", ADVICE, True, 0.2),
        Evidence("b", FAULT, True, 0.2),
        Evidence("c", ADVICE, False, 0.2),
    ]
    items += [Evidence("d", ADVICE, True, 0.001), Evidence("e", FAULT, True, 0.0)]
    both = judge.probabilities(items)
    np.testing.assert_allclose(both.sum(axis=1), 1)
    assert both.argmax(axis=1).tolist() == [0, 1, 2, 2, 2]
    assert judge.probabilities([]).shape == (0, 3)


def test_it_is_as_likely_as_not_where_it_says_and_busy_pictures_prove_little() -> None:
    shares = (HALF_MOVED, 0.3, 1.0)
    none = RulesJudge().probabilities([Evidence("a", ADVICE, True, share) for share in shares])[
        :, 2
    ]
    assert none[0] == pytest.approx(0.5)
    assert none[1] == none[2] > 0.02


def test_low_confidence_is_marked_and_no_answer_is_no_number() -> None:
    table = decide(np.array([[0.5, 0.3, 0.2], [0.1, 0.8, 0.1], [np.nan] * 3]), min_confidence=0.6)
    assert table["demonstration"].to_list() == ["correct", "incorrect", "none"]
    assert table["undecided"].to_list() == [True, False, True]
    assert table["score"].to_list() == [0.5, 0.8, None]
    assert table["p_none"].to_list() == [0.2, 0.1, None]
    assert decide(np.empty((0, 3)), min_confidence=0.6).height == 0
