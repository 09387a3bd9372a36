"""Is a skill shown, and rightly or wrongly? A judge by rules: pixels tell whether, words tell
which.

Something is demonstrated when enough of the picture is moved across, a shift of the whole picture
undone: a talking coach, a still card and a pan fall short. A sentence speaks of a mistake when it
names one, forbids something first of all, or tells of a failing rather than giving an order. The
vocabulary is general; the paper used a vision-language model here. The measure cannot tell sport
from other busy work (welding, washing up): that needs a model that knows what it sees. So still
pictures speak strongly against a demonstration, and busy ones only weakly for it.

Probabilities are a sum of log-odds: a prior, what moves, and, for right or wrong, what is said. All
weights are ours. Those of the words were fitted on the demo's training lessons and push-ups and
then flattened, since real speech is messier; those of motion are a prior belief that the demo's
training lessons and push-ups agree with. ``audit`` shows how well the probabilities hold on lessons
whose truth is known.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence

import numpy as np

from sportskills_lib.language.coaching_words import FAULT_WORDS, gives_order
from sportskills_lib.pairing.judge_protocol import Evidence

# share of the picture moved across at which, under teaching words, a demonstration is as likely as
# not; set on push-ups and idle shots
HALF_MOVED = 0.014
PER_DOUBLING = 1.5  # log-odds gained by each doubling of what moves
# and at most these odds for a demonstration: cooks and welders move as much as athletes
MOST_ODDS = 4.0
# priors: under teaching words, other words, words unheard
SHOWN_IF_TAUGHT, SHOWN_ELSE = 0.9, 0.4
TAUGHT_IF_IDLE = 0.02  # a sentence that stage 01 turned down teaches after all
# log-odds per point of ``mistake_points``, and where they are even
MISTAKE_SLOPE, MISTAKE_AT = 2.0, 0.65

_NOT = r"(?:don't|do not|never|avoid|stop|quit|no more|not|nobody|resist)"
_LEAD = rf"^(?:(?:so|now|and|but|okay|ok|also|please|just|here|then|well|um|uh|again),? )*{_NOT}\b"
# what speaks of a mistake, and by how much; below 0: what speaks against one
_POINTS = (
    (2.5, re.compile(_LEAD)),  # forbids something first of all
    (3.5, re.compile(FAULT_WORDS)),  # names a fault
    # a habit
    (
        1.5,
        re.compile(
            r"\b(cheat\w*|lazy|problems?|trouble|fails?|failing|failed|failure|common(?:ly)?|typical(?:ly)?|habit|beginners?"
            r"|(?:most|many|some|a lot of) (?:people|players|athletes|of you|of us)|tend(?:s|ing)? "
            r"to|usually|mess(?:es)? up"
            r"|broken|ugly|unsafe|dangerous|risky|red flag|watch out|beware|careful|let this happen)\b"
        ),
    ),
    # mends one
    (
        -3.0,
        re.compile(
            r"\b(?:fix|fixes|correct|cure|cures|solve|solves|mend|prevent) "
            r"(?:this|that|the|it|your|these|those)\b"
        ),
    ),
    # too much, or not enough
    (
        1.5,
        re.compile(
            r"(?<!not )(?<!never )\b(?:too|overly|way too) \w+|\bnot "
            r"enough\b|\bhardly\b|\bbarely\b|\bonly (?:half|go)"
        ),
    ),
    # what it costs
    (
        1.5,
        re.compile(
            r"\b(los(?:e|es|ing|t)|costs?|kills?|robs?|ruins?|wastes?|wasting|leaks?|leaking|(?:takes|taking) "
            r"(?:the"
            r"|all|your|away)"
            r"|strains?|hurts?|injur\w+|slows? (?:you|it|everything)|weakens?|throws? "
            r"(?:you|it|everything|off)"
            r"|gives? away|spoils?"
            r"|pulls? you off|off balance|without (?:any )?(?:power|control|balance)|no "
            r"(?:power|control|balance"
            r"|drive|room|rotation))\b"
        ),
    ),
    # tells what to do
    (
        -1.5,
        re.compile(
            r"\b(make sure|be sure|remember to|try to|you (?:want|need|should|must|have to|can|will "
            r"want)|you'll want|focus on"
            r"|think (?:about|of)|concentrate|imagine|the (?:key|trick|goal|idea|aim|secret)|aim "
            r"(?:to|for)|work on"
            r"|let's|should"
            r"|must|needs? to|has to|have to)\b"
        ),
    ),
    (-1.0, re.compile(r"\b(instead|rather than)\b")),
    # praises
    (
        -1.5,
        re.compile(
            r"\b(correct(?:ly)?|proper(?:ly)?|good|great|perfect(?:ly)?|nice(?:ly)?|ideal\w*|better|best|clean|stronger|faster"
            r"|smoother|safer|improv\w+|easier|easily|helps?|gains?|gives? you|lets? you|right "
            r"way|(?:is|was"
            r"|that's) (?:the|a) right"
            r"|more (?:power|speed|control|balance|distance|spin|height|drive))\b"
        ),
    ),
)
# what speaks of a mistake in a sentence that gives no order
_POINTS_OF_A_TALE = (
    # something fails
    (
        1.2,
        re.compile(
            r"\b(collaps\w+|sag\w*|flar\w+|bounc\w+|drift\w*|droop\w*|cav(?:e|es|ing)|sway\w*|slouch\w*|slump\w*"
            r"|stiffen\w*|wobbl\w*"
            r"|buckl\w+|hunch\w*|lag(?:s|ging)|rush(?:es|ed|ing)|stall\w*|creep\w*|fl(?:ies|ying)|drops|dropping"
            r"|dropped|falls|falling"
            r"|rounds|rounding|rounded|lifts|lifting|rises|rising|stays|staying|stayed|locks|locking|stops|stopping"
            r"|skips|skipping"
            r"|forgets?|forgetting|forgot|leans|leaning|twists|twisting|pokes|reaches|reaching|overreach\w*|crosses|crossing"
            r"|comes|goes|opens|opening|turns|tips|tilts|swings|starts|ends|breaks|folds|folding|leads|drags|dragging|sinks)\b"
        ),
    ),
    # something is denied
    (
        0.8,
        re.compile(
            r"\b(isn't|aren't|doesn't|didn't|don't|won't|never|is not|are not|does not|without|instead "
            r"of)\b"
        ),
    ),
    # something is shown
    (
        0.4,
        re.compile(
            r"\b(like this|this is what|see how|look how|notice how|watch how|look what|see what|here)\b"
        ),
    ),
    (0.4, re.compile(r"^(?:\w+ )?(?:if|when) you\b")),
)
AN_ORDER = -2.0


def what_is_said(text: str) -> str:
    """Whether an actionable sentence speaks of a correct or an incorrect performance."""
    return "incorrect" if mistake_points(text) > MISTAKE_AT else "correct"


def mistake_points(text: str) -> float:
    """Evidence that ``text`` speaks of a mistake, less the evidence that it gives an order."""
    lowered = " ".join(re.sub(r"[^a-z' ]", " ", text.lower().replace("’", "'")).split())
    orders = gives_order(text, positive=True)
    told = _POINTS if orders else (*_POINTS, *_POINTS_OF_A_TALE)
    points = sum(worth for worth, pattern in told if pattern.search(lowered))
    return round(points + (AN_ORDER if orders else 0), 2)


class RulesJudge:
    """The offline default: no model, no frames, the same answer every time."""

    name = "rules-2"

    def probabilities(self, items: Sequence[Evidence]) -> np.ndarray:
        """float64 [N, 3]: correct, incorrect, none."""
        rows = [_three(item) for item in items]
        return np.array(rows, np.float64).reshape(len(rows), 3)


def _three(item: Evidence) -> tuple[float, float, float]:
    taught, prior = (1.0, SHOWN_IF_TAUGHT) if item.teaches else (TAUGHT_IF_IDLE, SHOWN_ELSE)
    mistake = _sigmoid(MISTAKE_SLOPE * (mistake_points(item.text) - MISTAKE_AT))
    shown = taught * _sigmoid(math.log(prior / (1 - prior)) + motion_log_odds(item.moved))
    return shown * (1 - mistake), shown * mistake, 1 - shown


def motion_log_odds(moved: float) -> float:
    """How much this share of the picture moved across speaks for a demonstration: log-odds, at most
    log 4.
    """
    at_half = -math.log(SHOWN_IF_TAUGHT / (1 - SHOWN_IF_TAUGHT))
    return min(
        PER_DOUBLING * math.log2(max(moved, 1e-4) / HALF_MOVED) + at_half, math.log(MOST_ODDS)
    )


def _sigmoid(log_odds: float) -> float:
    return 1 / (1 + math.exp(-log_odds))
