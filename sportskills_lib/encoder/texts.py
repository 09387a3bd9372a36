"""The training texts of each arm: the same clips, told in other words."""

from __future__ import annotations

import numpy as np
import polars as pl

ARMS = ("activity_sport", "activity_skill", "narrations", "narrations_shuffled")

# Class-name prompts with several templates, as is usual for Kinetics and CLIP (Radford et al. 2021); wordings ours.
# Many, so that the activity arms meet a class name in as many surroundings as the narrations do.
_TEMPLATES = ("A person doing {it}.", "A video of {it}.", "Somebody does {it}.", "This is {it}.", "Watch {it} here.")
_IN_SENTENCE = ("What you see during {it}.", "On {it}, see what happens.", "When you do {it}, it looks like this.")
PROMPTS = _TEMPLATES + _IN_SENTENCE


def training_texts(clips: pl.DataFrame, narrations: pl.Series, arm: str, *, seed: int) -> list[str]:
    """One text a clip, in the order of ``clips`` (sport, skill); ``narrations`` are the clips' own sentences.

    ``narrations_shuffled`` deals the sentences anew among the clips of one skill: it keeps the words and loses what
    they say of the clip. ValueError for an arm that does not exist.
    """
    rng = np.random.default_rng([seed, 37])
    if arm == "narrations":
        return narrations.to_list()
    if arm == "narrations_shuffled":
        shuffled = np.array(narrations.to_list(), dtype=object)
        rows = clips.with_row_index("row").group_by("sport", "skill", maintain_order=True).agg("row")
        for members in rows["row"]:
            shuffled[members.to_numpy()] = shuffled[rng.permutation(members.to_numpy())]
        return shuffled.tolist()
    if arm not in ("activity_sport", "activity_skill"):
        raise ValueError(f"no training texts for the arm {arm!r}: there are {', '.join(ARMS)}")
    chosen = rng.integers(len(PROMPTS), size=clips.height)
    names = clips["sport"] if arm == "activity_sport" else pl.Series(_skill_names(clips, rng))
    fillers = _fillers(clips, narrations, rng)
    return [PROMPTS[i].format(it=name) + filler for i, name, filler in zip(chosen, names, fillers, strict=True)]


def text_groups(clips: pl.DataFrame, texts: list[str], arm: str) -> np.ndarray:
    """Which texts say the same, as a number for each clip: the label of an activity arm, the very text of the others.

    Two wordings of one label must not be negatives of each other; of two narrations nobody knows whether they agree.
    """
    labels = {"activity_sport": ["sport"], "activity_skill": ["sport", "skill"]}.get(arm)
    keys = list(clips.select(labels).iter_rows()) if labels else texts
    place: dict[object, int] = {}
    return np.array([place.setdefault(key, len(place)) for key in keys])


def _fillers(clips: pl.DataFrame, narrations: pl.Series, rng: np.random.Generator) -> list[str]:
    """For half of the clips up to eight words, drawn from all training narrations whatever they are about; else none.

    All arms are asked with narrations. Without fillers the activity arms would lose because they never met such words,
    not because labels say less; with them they learn to hear the label and to pass over the rest.
    """
    spoken = narrations.filter(clips["split"].cast(pl.String) == "train").drop_nulls()
    words = sorted({word.strip(".,:;!?") for text in spoken for word in text.lower().split()} - {""})
    if not words:
        return [""] * clips.height
    counts = np.where(rng.random(clips.height) < 0.5, rng.integers(1, 9, clips.height), 0)
    return ["".join(f" {words[i]}" for i in rng.integers(len(words), size=count)) for count in counts]


def _skill_names(clips: pl.DataFrame, rng: np.random.Generator) -> list[str]:
    """ "the serve" or "the tennis serve", at random."""
    full = rng.random(clips.height) < 0.5
    rows = zip(full, clips["sport"], clips["skill"], strict=True)
    return [f"the {sport} {skill}" if both else f"the {skill}" for both, sport, skill in rows]
