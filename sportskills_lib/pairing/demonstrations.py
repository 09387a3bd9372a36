"""Is a skill shown, and rightly or wrongly? A judge by rules: pixels tell whether, words tell which.

Something is demonstrated when enough of the picture is moved across, a shift of the whole picture undone: a talking
coach, a still card and a pan fall short. A sentence speaks of a mistake when it names one, forbids something first of
all, or tells of a failing rather than giving an order. The vocabulary is general; the paper used a vision-language
model here. The measure cannot tell sport from other busy work (welding, washing up): that needs a model that knows
what it sees.
"""

from __future__ import annotations

import math
import re

from sportskills_lib.pairing.motion import Motion
from sportskills_lib.vocabulary import FAULT_WORDS, gives_order

VERIFIER = "rules-1"
HALF_MOVED = 0.014  # share of the picture moved across at which the score is 0.5; ours, set on push-ups and idle shots
STEEPNESS = 3.0  # per doubling

_NOT = r"(?:don't|do not|never|avoid|stop|quit|no more|not|nobody|resist)"
_LEAD = re.compile(rf"^(?:(?:so|now|and|but|okay|ok|also|please|just|here|then|well|um|uh|again),? )*{_NOT}\b")
_FAULTY = re.compile(FAULT_WORDS)
_HABIT = re.compile(
    r"\b(cheat\w*|lazy|problems?|trouble|fails?|failing|failed|failure|common(?:ly)?|typical(?:ly)?|habit|beginners?"
    r"|(?:most|many|some|a lot of) (?:people|players|athletes|of you|of us)|tend(?:s|ing)? to|usually|mess(?:es)? up"
    r"|broken|ugly|unsafe|dangerous|risky|red flag|watch out|beware|careful|let this happen)\b"
)
_MENDED = re.compile(
    r"\b(?:fix|fixes|correct|cure|cures|solve|solves|mend|prevent) (?:this|that|the|it|your|these|those)\b"
)
_TOO = re.compile(
    r"(?<!not )(?<!never )\b(?:too|overly|way too) \w+|\bnot enough\b|\bhardly\b|\bbarely\b|\bonly (?:half|go)"
)
_COST = re.compile(
    r"\b(los(?:e|es|ing|t)|costs?|kills?|robs?|ruins?|wastes?|wasting|leaks?|leaking|(?:takes|taking) (?:the"
    r"|all|your|away)"
    r"|strains?|hurts?|injur\w+|slows? (?:you|it|everything)|weakens?|throws? (?:you|it|everything|off)"
    r"|gives? away|spoils?"
    r"|pulls? you off|off balance|without (?:any )?(?:power|control|balance)|no (?:power|control|balance"
    r"|drive|room|rotation))\b"
)
_FAILING = re.compile(
    r"\b(collaps\w+|sag\w*|flar\w+|bounc\w+|drift\w*|droop\w*|cav(?:e|es|ing)|sway\w*|slouch\w*|slump\w*"
    r"|stiffen\w*|wobbl\w*"
    r"|buckl\w+|hunch\w*|lag(?:s|ging)|rush(?:es|ed|ing)|stall\w*|creep\w*|fl(?:ies|ying)|drops|dropping"
    r"|dropped|falls|falling"
    r"|rounds|rounding|rounded|lifts|lifting|rises|rising|stays|staying|stayed|locks|locking|stops|stopping"
    r"|skips|skipping"
    r"|forgets?|forgetting|forgot|leans|leaning|twists|twisting|pokes|reaches|reaching|overreach\w*|crosses|crossing"
    r"|comes|goes|opens|opening|turns|tips|tilts|swings|starts|ends|breaks|folds|folding|leads|drags|dragging|sinks)\b"
)
_DENIED = re.compile(r"\b(isn't|aren't|doesn't|didn't|don't|won't|never|is not|are not|does not|without|instead of)\b")
_ORDER = re.compile(
    r"\b(make sure|be sure|remember to|try to|you (?:want|need|should|must|have to|can|will want)|you'll want|focus on"
    r"|think (?:about|of)|concentrate|imagine|the (?:key|trick|goal|idea|aim|secret)|aim (?:to|for)|work on"
    r"|let's|should"
    r"|must|needs? to|has to|have to)\b"
)
_GOOD = re.compile(
    r"\b(correct(?:ly)?|proper(?:ly)?|good|great|perfect(?:ly)?|nice(?:ly)?|ideal\w*|better|best|clean|stronger|faster"
    r"|smoother|safer|improv\w+|easier|easily|helps?|gains?|gives? you|lets? you|right way|(?:is|was"
    r"|that's) (?:the|a) right"
    r"|more (?:power|speed|control|balance|distance|spin|height|drive))\b"
)
_LIKE_THIS = re.compile(r"\b(like this|this is what|see how|look how|notice how|watch how|look what|see what|here)\b")


def motion_score(motion: Motion) -> float:
    """0 … 1: how much the pictures look like a demonstration; 0.5 at ``HALF_MOVED``."""
    if motion.moved <= 0:
        return 0.0
    return round(1 / (1 + math.exp(-STEEPNESS * math.log2(motion.moved / HALF_MOVED) / 2)), 4)


def what_is_said(text: str) -> str:
    """Whether an actionable sentence speaks of a correct or an incorrect performance."""
    return "incorrect" if mistake_points(text) > 0.5 else "correct"


def mistake_points(text: str) -> float:
    """Evidence that ``text`` speaks of a mistake, less the evidence that it gives an order."""
    lowered = " ".join(re.sub(r"[^a-z' ]", " ", text.lower().replace("’", "'")).split())
    points = 0.0
    points += 2.5 if _LEAD.search(lowered) else 0.0
    points += 3.5 if _FAULTY.search(lowered) else 0.0
    points += 1.5 if _HABIT.search(lowered) else 0.0
    points -= 3.0 if _MENDED.search(lowered) else 0.0
    points += 1.5 if _TOO.search(lowered) else 0.0
    points += 1.5 if _COST.search(lowered) else 0.0
    orders = gives_order(text, positive=True)
    if not orders:
        points += 1.2 if _FAILING.search(lowered) else 0.0
        points += 0.8 if _DENIED.search(lowered) else 0.0
        points += 0.4 if _LIKE_THIS.search(lowered) else 0.0
        points += 0.4 if re.match(r"(?:\w+ )?(?:if|when) you\b", lowered) else 0.0
    points -= 2.0 if orders else 0.0
    points -= 1.5 if _ORDER.search(lowered) else 0.0
    points -= 1.0 if re.search(r"\b(instead|rather than)\b", lowered) else 0.0
    points -= 1.5 if _GOOD.search(lowered) else 0.0
    return round(points, 2)


def moved_at(score: float) -> float:
    """The share of the picture moved across at which :func:`motion_score` is ``score`` (strictly between 0 and 1)."""
    return HALF_MOVED * 2 ** (2 * math.log(score / (1 - score)) / STEEPNESS)
