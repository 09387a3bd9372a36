"""Generic motions and their literal captions: what a public checkpoint would have seen before it meets a sport.

Random movements of the same figure, with no skill, no fault and no combination of the study: each holds one to three
states of the body for a while and moves everything else at random. Captions name some of the states. The base models
(``base_clip``, ``base_vlm``) learn from these alone.
"""

from __future__ import annotations

import numpy as np

from sportskills_lib.demo.motion import INDEX, PHASES, Motion, pose
from sportskills_lib.demo.phrases import WORDINGS
from sportskills_lib.demo.render import Appearance, render_motion
from sportskills_lib.demo.skills import STATES

GROUPS = {  # states that exclude each other
    "elbow": ("arm_straight", "arm_bent"),
    "reach": ("arm_high", "arm_low", "arm_wide"),
    "free arm": ("free_arm_high", "free_arm_low"),
    "knees": ("knees_bent", "knees_straight"),
    "torso": ("chest_up", "folded_forward", "leaning_back", "leaning_sideways"),
    "feet": ("feet_wide", "feet_narrow"),
    "leg": ("leg_high", "leg_low"),
}
FRAMES = ("{a} and {b}.", "A person moves, {a}, {b}.", "Here {a} while {b}.", "Somebody shows that {a}; {b}.")
EQUIPMENT = ("none", "none", "racket", "ball", "bar", "club", "bat", "pole", "stick")


def _keys(states: list[str], rng: np.random.Generator) -> np.ndarray:
    """Five random key poses in which the named states hold throughout: [5, DOFS]."""
    keys = np.stack([pose() for _ in range(5)])
    for name, low, high in (
        ("lean", -10, 30), ("twist", -50, 50), ("sf_r", -40, 160), ("sa_r", 0, 50), ("el_r", 0, 110), ("sf_l", -40, 150),
        ("sa_l", 0, 50), ("el_l", 0, 110), ("hf_r", -20, 70), ("kn_r", 0, 80), ("hf_l", -20, 70), ("kn_l", 0, 80),
    ):  # fmt: skip
        keys[:, INDEX[name]] = rng.uniform(low, high) + rng.normal(0, (high - low) * 0.22, 5)
    keys[:, [INDEX["kn_r"], INDEX["kn_l"], INDEX["el_r"], INDEX["el_l"]]] = np.abs(
        keys[:, [INDEX["kn_r"], INDEX["kn_l"], INDEX["el_r"], INDEX["el_l"]]]
    )
    for state in states:
        STATES[state](keys, (0, 1, 2, 3, 4))
    return keys


def caption(states: list[str], rng: np.random.Generator) -> str:
    """A literal caption that names the states (one or two of them), as a clause or as an instruction."""
    texts = [WORDINGS[state][int(rng.integers(2))][int(rng.integers(3))] for state in states]
    if len(texts) == 1:
        text = texts[0]
    else:
        text = FRAMES[int(rng.integers(len(FRAMES)))].format(a=texts[0], b=texts[1])
    return text[0].upper() + text[1:]


def generic_motion(rng: np.random.Generator, *, frames: int = 8, size_px: int = 64) -> tuple[np.ndarray, list[str]]:
    """One random movement: frames uint8 [T, H, W, 3] and the names of its states, in random order."""
    groups = rng.permutation(list(GROUPS))[: int(rng.integers(2, 4))]
    if "knees" in groups and "leg" in groups:
        groups = groups[groups != "leg"]
    states = [str(rng.choice(GROUPS[str(group)])) for group in groups]
    motion = Motion(_keys(states, rng), PHASES)
    equipment = EQUIPMENT[int(rng.integers(len(EQUIPMENT)))]
    pictures = render_motion(motion, Appearance.draw(rng), rng, equipment=equipment, frames=frames, size_px=size_px)
    return pictures, states


def generic_motions(
    n: int, rng: np.random.Generator, *, frames: int = 8, size_px: int = 64
) -> tuple[np.ndarray, list[list[str]], list[str]]:
    """``n`` movements: frames uint8 [n, T, H, W, 3], their states, and one caption each (more: :func:`caption`)."""
    pictures = np.empty((n, frames, size_px, size_px, 3), np.uint8)
    states, captions = [], []
    for i in range(n):
        pictures[i], held = generic_motion(rng, frames=frames, size_px=size_px)
        states.append(held)
        captions.append(caption(held[:2], rng))
    return pictures, states, captions
