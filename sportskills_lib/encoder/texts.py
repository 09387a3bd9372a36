"""The training texts of each arm: the same clips, told in other words."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import get_args

import numpy as np
import polars as pl

from sportskills_lib.config import Arm

ARMS = get_args(Arm)
LABELS = {
    "activity_sport": ["sport"],
    "activity_skill": ["sport", "skill"],
    "activity_dataset": ["label"],
}

# Class-name prompts with several templates, as is usual for Kinetics and CLIP (Radford et al.
# 2021); wordings ours.
# Many, so that the activity arms meet a class name in as many surroundings as the narrations do.
PROMPTS = (
    "A person doing {it}.",
    "A video of {it}.",
    "Somebody does {it}.",
    "This is {it}.",
    "Watch {it} here.",
    "What you see during {it}.",
    "On {it}, see what happens.",
    "When you do {it}, it looks like this.",
)
# For labels that are deeds ("playing tennis"), as most of Kinetics' are.
DEED_PROMPTS = (
    "A person {it}.",
    "A video of {it}.",
    "Somebody is {it}.",
    "This is {it}.",
    "What you see is somebody {it}.",
    "Here they are {it}.",
    "{it}.",
    "Watch them {it} here.",
)


def training_texts(clips: pl.DataFrame, narrations: pl.Series, arm: str, *, seed: int) -> list[str]:
    """One text a clip, in the order of ``clips`` (sport, skill); ``narrations`` are the clips' own
    sentences.

    ``narrations_shuffled`` deals the sentences anew among the clips of one skill: it keeps the
    words and loses what they say of the clip. ``both`` gives the narrations; half of its draws in
    training take a prompt instead (see :mod:`.batch_sampler`). ``activity_dataset`` has prompts of
    the clips' ``label`` and nothing of the lessons' words: it is another data set. ValueError for
    an arm that does not exist.
    """
    rng = np.random.default_rng([seed, 37])
    if arm in ("narrations", "both"):
        return narrations.to_list()
    if arm == "activity_dataset":
        return label_prompts(clips["label"], rng)
    if arm == "narrations_shuffled":
        shuffled = np.array(narrations.to_list(), dtype=object)
        rows = (
            clips.with_row_index("row").group_by("sport", "skill", maintain_order=True).agg("row")
        )
        for members in rows["row"]:
            shuffled[members.to_numpy()] = shuffled[rng.permutation(members.to_numpy())]
        return shuffled.tolist()
    if arm not in ("activity_sport", "activity_skill"):
        raise ValueError(f"no training texts for the arm {arm!r}: there are {', '.join(ARMS)}")
    chosen = rng.integers(len(PROMPTS), size=clips.height)
    names = clips["sport"] if arm == "activity_sport" else pl.Series(_skill_names(clips, rng))
    carried = _carried(clips, narrations, list(names), rng)
    return [
        own or PROMPTS[i].format(it=name)
        for own, i, name in zip(carried, chosen, names, strict=True)
    ]


def text_groups(clips: pl.DataFrame, texts: list[str], arm: str) -> np.ndarray:
    """Which texts say the same, as a number for each clip: the label of an activity arm, the very
    text of the others.

    Two wordings of one label must not be negatives of each other; of two narrations nobody knows
    whether they agree.
    """
    return numbered(clips.select(LABELS[arm]).iter_rows() if arm in LABELS else texts)


def numbered(keys: Iterable[object]) -> np.ndarray:
    """Equal keys get equal numbers, counted from 0 in order of appearance."""
    place: dict[object, int] = {}
    return np.array([place.setdefault(key, len(place)) for key in keys])


def label_prompts(labels: pl.Series, rng: np.random.Generator) -> list[str]:
    """A prompt a label, of a random template; which templates fit depends on whether the label is a
    deed or a thing.

    Labels are read as words: "brush_hair", "ApplyEyeMakeup" and "Chopping wood" as public lists
    write them.
    """
    drawn, prompts = rng.random(len(labels)), []
    for label, u in zip(labels, drawn, strict=True):
        words = re.sub(r"_|(?<=[a-z])(?=[A-Z])", " ", str(label))
        deed = "".join(words.split()[:1]).lower().endswith("ing")
        pool = DEED_PROMPTS if deed else PROMPTS
        prompt = pool[int(u * len(pool))].format(it=words[0].lower() + words[1:] if deed else words)
        prompts.append(prompt[0].upper() + prompt[1:])
    return prompts


def skill_prompts(clips: pl.DataFrame, *, seed: int) -> list[str]:
    """A class-name prompt of each clip's skill, for the arm ``both``: its narrations need no
    carried sentences.
    """
    rng = np.random.default_rng([seed, 39])
    chosen = rng.integers(len(PROMPTS), size=clips.height)
    return [
        PROMPTS[i].format(it=name) for i, name in zip(chosen, _skill_names(clips, rng), strict=True)
    ]


def sentence_kinds(clips: pl.DataFrame, texts: list[str]) -> np.ndarray:
    """A number for each clip: equal where sport, skill and the words are.

    Words are compared without case, punctuation and spaces. Two such texts are probably true of
    both clips.
    """
    words = [" ".join(re.findall(r"[^\W_]+", str(text).lower())) for text in texts]
    return numbered(zip(clips["sport"], clips["skill"], words, strict=True))


def _carried(
    clips: pl.DataFrame, narrations: pl.Series, names: list[str], rng: np.random.Generator
) -> list[str | None]:
    """For half of the clips a sentence of another clip, of any sport, that now names this clip's
    label; else None.

    All arms are asked with narrations. An activity arm that never met whole sentences would lose
    because it cannot find the label in one, not because labels say less (measured on the demo: it
    named the skill of 92 % of what it found for a prompt, of 83 % for a narration). The sentence is
    drawn whatever the clip shows, so that only the label is true.
    """
    train = np.flatnonzero(
        ((clips["split"].cast(pl.String) == "train") & narrations.is_not_null()).to_numpy()
    )
    carried: list[str | None] = [None] * clips.height
    if not len(train):
        return carried
    texts, skills, sports = narrations.to_list(), clips["skill"].to_list(), clips["sport"].to_list()
    for i in np.flatnonzero(rng.random(clips.height) < 0.5):
        j = int(rng.choice(train))
        if j == i:
            continue
        named = (
            rf"(?:\b(?:the|a|an|my|your|this) )?\b(?:{re.escape(str(sports[j]))} "
            rf")?{re.escape(str(skills[j]))}\b"
        )
        before, *after = re.split(named, texts[j], maxsplit=1, flags=re.IGNORECASE)
        if not after:
            before, after = f"{before.rstrip('. ')}, ", ["."]
        carried[i] = before + names[i] + after[0]
    return carried


def _skill_names(clips: pl.DataFrame, rng: np.random.Generator) -> list[str]:
    """ "the serve" or "the tennis serve", at random."""
    full = rng.random(clips.height) < 0.5
    rows = zip(full, clips["sport"], clips["skill"], strict=True)
    return [f"the {sport} {skill}" if both else f"the {skill}" for both, sport, skill in rows]
