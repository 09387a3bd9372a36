"""What a sentence says of the performance, on sentences written for this test."""

from __future__ import annotations

import pytest

from sportskills_lib.pairing.demonstrations import what_is_said


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
