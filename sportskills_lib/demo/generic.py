"""Generic motions and their literal captions: what a public checkpoint would have seen before it meets a sport.

Random movements of the same figure, with no skill, no fault and no combination of the study: each holds one to three
states of the body for a while and moves everything else at random. Captions name some of the states. The base models
(``base_clip``, ``base_vlm``) learn from these alone.
"""

from __future__ import annotations

import numpy as np

from sportskills_lib.demo.body_motion import INDEX, PHASES, BodyMotion, pose
from sportskills_lib.demo.phrases import LITERAL, cue_words
from sportskills_lib.demo.render import Appearance, render_with_joints
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
FRAMES = (
    "{a} and {b}.",
    "A person moves, {a}, {b}.",
    "Here {a} while {b}.",
    "Somebody shows that {a}; {b}.",
)
WORDS = tuple(sorted(cue_words()))
EQUIPMENT = ("none", "none", "racket", "ball", "bar", "club", "bat", "pole", "stick")


def body_keys(states: list[str], rng: np.random.Generator) -> np.ndarray:
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
    """A literal caption that names the states (one or two of them), as a clause or as an instruction.

    Half the captions go on about something else in the coaches' words, which so are known, but not as advice.
    """
    texts = [LITERAL[state][int(rng.integers(2))][int(rng.integers(3))] for state in states]
    frame = FRAMES[int(rng.integers(len(FRAMES)))] if len(texts) > 1 else "{a}."
    text = frame.format(a=texts[0], b=texts[-1])
    if rng.random() < 0.5:
        text = f"{text} There is a {WORDS[int(rng.integers(len(WORDS)))]} and a {WORDS[int(rng.integers(len(WORDS)))]}."
    return text[0].upper() + text[1:]


def draw_states(rng: np.random.Generator) -> list[str]:
    """Two or three states of different groups, in random order."""
    groups = [str(group) for group in rng.permutation(list(GROUPS))[: int(rng.integers(2, 4))]]
    if "knees" in groups and "leg" in groups:
        groups.remove("leg")
    return [str(rng.choice(GROUPS[group])) for group in groups]


def generic_motion(
    rng: np.random.Generator, *, frames: int = 8, size_px: int = 64
) -> tuple[np.ndarray, np.ndarray, list[str]]:
    """One random movement: frames uint8 [T, H, W, 3], joints float32 [T, 15, 2], and its states
    in random order.
    """
    states = draw_states(rng)
    motion = BodyMotion(body_keys(states, rng), PHASES)
    equipment = EQUIPMENT[int(rng.integers(len(EQUIPMENT)))]
    look = Appearance.draw(rng)
    pictures, joints = render_with_joints(
        motion, look, rng, equipment=equipment, frames=frames, size_px=size_px
    )
    return pictures, joints, states


def generic_corpus(
    n: int, rng: np.random.Generator, *, frames: int = 8, size_px: int = 64
) -> tuple[np.ndarray, np.ndarray, list[list[str]]]:
    """``n`` movements: frames uint8 [n, T, H, W, 3], joints float32 [n, T, 15, 2], states."""
    pictures = np.empty((n, frames, size_px, size_px, 3), np.uint8)
    joints = np.empty((n, frames, 15, 2), np.float32)
    states = []
    for i in range(n):
        pictures[i], joints[i], held = generic_motion(rng, frames=frames, size_px=size_px)
        states.append(held)
    return pictures, joints, states
