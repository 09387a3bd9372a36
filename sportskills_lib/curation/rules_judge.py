"""Does a sentence tell how to do something with one's body? A judge by rules, the offline default.

A sentence gathers points for instruction (imperatives, second person, body, technique, movement,
manner, faults named) and against it (sponsors, greetings, stories, hygiene and gear). Many points
make it actionable, few or none make it not, and in between the judge says so: undecided (None). The
word lists are general vocabulary of coaching, written without the demo world's phrases; our choice,
since the paper used a language model for this.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from sportskills_lib.language.coaching_words import (
    BODY,
    FAULT_WORDS,
    MANNER,
    MOVES,
    TECHNIQUE,
    WEAK,
    gives_order,
    stem,
)

JUDGE = "rules-1"
ACTIONABLE, UNDECIDED = 2.0, 1.5  # points from which a sentence is actionable, or undecided

SPONSOR = re.compile(
    r"\b(subscrib\w*|like "
    r"button|comments?|notification\w*|description|discount|coupon|promo\w*|percent off|% off"
    r"|sponsor\w*|giveaway|merch\w*|patreon|affiliate|link (?:is "
    r")?(?:in|below)|links?\b.*\bbelow|sign up|free trial"
    r"|while (?:stocks|supplies) last|with every (?:order|purchase)"
    r"|brought to you|use (?:the|my|our) code|checkout|membership|our store|for sale|order "
    r"(?:now|today|yours))\b"
)
GREETING = re.compile(
    r"\b(welcome|hello|hi (?:guys|everyone|everybody|there|friends)|hey "
    r"(?:guys|everyone|everybody|there|friends|folks)"
    r"|ladies and gentlemen|we(?:'ll| will) (?:be|come) (?:right )?back"
    r"|what's up|good (?:morning|evening|afternoon)|thanks?\b|thank you|see "
    r"you|bye|goodbye|cheers|take care"
    r"|until next time|next (?:week|video|episode)|that's (?:it|all) for|stay tuned|my name "
    r"is|let me know"
    r"|in (?:this|today's|the next|my last|our next) (?:video|episode|lesson)|today's "
    r"(?:video|episode|lesson))\b"
)
STORY = re.compile(
    r"\b(i|we) (?:was|were|have been|had|used "
    r"to|started|grew|played|went|came|got|bought|met|won|lost|filmed"
    r"|made|moved"
    r"|trained|visited|travel\w*|remember|love\w*|loved|enjoy\w*|began|decided|took|spent|drove|recorded|shot "
    r"this|live"
    r"|work|am a|'m a|studied|coached|competed|broke|hurt|felt)\b|\bi'?ve been\b|\bwhen i "
    r"was\b|\bmy (?:story"
    r"|life|family"
    r"|coach|mother|father|brother|sister|wife|husband|daughter|son|kids|dog|car|day|favou?rite|career|gym)\b"
    r"|\b(?:years?|months?|weeks?|days?) (?:ago|old)\b|\bfor \w+ years\b|\blast "
    r"(?:year|summer|winter|week"
    r"|month|season|night"
    r"|weekend)\b|\byesterday\b|\bon (?:mon|tues|wednes|thurs|fri|satur|sun)day\b|\bthe "
    r"weather\b|\bmeet-?up\b"
)
OURSELVES = re.compile(
    r"\b(we|us|our|i)\b"
)  # who talks of himself and of no body tells no one what to do
HYGIENE = re.compile(
    r"\b(wash\w*|soap|saniti[sz]\w*|disinfect\w*|shower\w*|towels?|hygiene|germs|wipe\w*|laundry|bought|purchase\w*"
    r"|brand new|price\w*|cheap|expensive|dollars?|bucks|unbox\w*|website|app)\b"
)
# things of daily life: talk of them teaches nothing, unless they are images for the skill
EVERYDAY = re.compile(
    r"\b(cloth|water "
    r"bottle|drink\w*|snacks?|breakfast|lunch|dinner|coffee|cook\w*|recipe|bread|parking|tickets?"
    r"|cameras?|microphone|battery|phone)\b"
)
DIRECT = re.compile(
    r"\b(make sure|be sure|remember to|try to|try and|you "
    r"(?:want|need|have|should|must|can|could|will|may"
    r"|might|are going)"
    r"|you'll|you'd|you've|focus on|concentrate on|think (?:about|of)|imagine|pretend|as "
    r"if|the (?:key|trick"
    r"|idea|goal|aim)"
    r"|work on|aim (?:to|for)|it helps|this (?:is|means)|let's|important|always|never|do "
    r"not|don't|avoid"
    r"|instead|rather than"
    r"|without|look how|notice|see how|watch how|watch the|here (?:the|is|you|we)|i want "
    r"you|my (?:tip|advice"
    r"|cue)|needs? (?:this|to|a|the)|here is (?:a|the|my)|do it|do the"
    r"|one (?:tip|cue)|this way|like (?:this|that|so))\b"
)
FAULT = re.compile(
    r"\b(mistakes?|faults?|errors?|wrong\w*|incorrect\w*|bad|poor\w*|problem\w*|flaws?|cheat\w*|too "
    r"(?:\w+)"
    r"|(?:beginners?"
    r"|people|players?|athletes?|students?|most of us|many|folks|some of you) (?:\w+ "
    r")?(?:\w+)|lose|loses|losing|lost"
    r"|costs?|ruins?|kills?|robs?|wast\w+|hurts?|injur\w*|strain\w*|weak\w*|not "
    r"(?:enough|like)|should(?:n't"
    r"| not)|can't)\b"
)


@dataclass(frozen=True)
class Verdict:
    """``actionable`` None: undecided. ``reason`` names the evidence that weighed most."""

    actionable: bool | None
    reason: str
    points: float


def judge_sentence(text: str, *, topic: str = "") -> Verdict:
    """Whether ``text`` is actionable instruction; deterministic, and independent of other
    sentences.

    ``topic`` names what the video is about ("tennis serve"): its words count as technique, so that
    images ("paint the ceiling on your serve") are understood as advice.
    """
    lowered = " ".join(text.lower().replace("’", "'").split())
    words = re.findall(r"[a-z][a-z'-]*", lowered)
    evidence = _instruction(lowered, words)
    if _mentions(words, topic):
        evidence["topic"] = 1.0
    against = {
        name: weight
        for name, pattern, weight in (
            ("sponsor", SPONSOR, -4.0),
            ("greeting", GREETING, -4.0),
            ("story", STORY, -3.0),
            ("hygiene or gear", HYGIENE, -3.0),
            ("everyday things", EVERYDAY, 0.0 if "topic" in evidence else -3.0),
        )
        if weight and pattern.search(lowered)
    }
    if OURSELVES.search(lowered) and "second person" not in evidence and "body" not in evidence:
        evidence["ourselves"] = -0.7
    substance = sum(evidence.get(name, 0.0) for name in ("body", "technique", "movement", "topic"))
    points = round(sum(evidence.values()) + sum(against.values()), 2)
    if points >= ACTIONABLE and substance >= 1:
        return Verdict(True, "instruction: " + _strongest(evidence), points)
    if points >= UNDECIDED and not against:
        return Verdict(None, "undecided: " + _strongest(evidence), points)
    if against:
        return Verdict(False, min(against, key=lambda name: against[name]), points)
    return Verdict(False, "no instruction", points)


def _mentions(words: list[str], topic: str) -> bool:
    """One of the topic's words is said, in whatever form."""
    named = {stem(word) for word in re.findall(r"[a-z][a-z'-]*", topic.lower()) if len(word) > 2}
    return any(stem(word) in named or word.removesuffix("s") in named for word in words)


def _strongest(evidence: dict[str, float]) -> str:
    return ", ".join(sorted(evidence, key=lambda name: (-evidence[name], name))[:3])


def _instruction(lowered: str, words: list[str]) -> dict[str, float]:
    """Points for instruction, by kind."""
    body = sum(word in BODY for word in words)
    technique = sum(word in TECHNIQUE for word in words)
    stems = [stem(word) for word in words]
    moves = sum(0.5 if move in WEAK else 1.0 for move in stems if move in MOVES)
    evidence = {
        "body": min(1.0 * body, 2.0),
        "technique": min(0.7 * technique, 1.4),
        "movement": min(moves, 1.5),
        "manner": min(0.3 * sum(word in MANNER for word in words), 0.9),
        "imperative": 1.2 if gives_order(lowered) else 0.0,
        "second person": 0.5 if re.search(r"\b(you|your|you're|yourself)\b", lowered) else 0.0,
        "direct": 0.8 if DIRECT.search(lowered) else 0.0,
        "fault": 0.8 * (bool(FAULT.search(lowered)) + bool(re.search(FAULT_WORDS, lowered))),
        "condition": 0.4
        if re.search(r"\b(if|when|until|so that|because|otherwise|before|after|while)\b", lowered)
        else 0.0,
    }
    return {name: points for name, points in evidence.items() if points}
