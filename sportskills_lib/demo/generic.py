"""Generic motions and their literal captions: what a public checkpoint would have seen before it meets a sport.

Random movements of the same figure, with no skill, no fault and no combination of the study: each holds one to three
states of the body for a while and moves everything else at random. Captions name some of the states. The base models
learn from these alone, by one loop (:func:`minimise`).
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from sportskills_lib.demo.body_motion import INDEX, PHASES, POINTS, BodyMotion, pose
from sportskills_lib.demo.phrases import LITERAL, cue_words, pick
from sportskills_lib.demo.render import Appearance, render_with_joints
from sportskills_lib.demo.skills import hold_state

if TYPE_CHECKING:
    import torch

log = logging.getLogger("sportskills")
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
HELD = tuple(state for group in GROUPS.values() for state in group)  # what a scene can hold
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
    bends = [INDEX[name] for name in ("kn_r", "kn_l", "el_r", "el_l")]  # in one direction only
    keys[:, bends] = np.abs(keys[:, bends])
    for state in states:
        hold_state(keys, state)
    return keys


def group_of(state: str) -> tuple[str, ...]:
    """The states that exclude each other, ``state`` among them."""
    return next(group for group in GROUPS.values() if state in group)


def describe(state: str, rng: np.random.Generator) -> str:
    """What a caption says of one state."""
    return pick(LITERAL[state][int(rng.integers(2))], rng)


def caption(states: list[str], rng: np.random.Generator) -> str:
    """A literal caption that names the states (one or two of them), as a clause or as an instruction.

    Half the captions go on about something else in the coaches' words, which so are known, but not as advice.
    """
    texts = [describe(state, rng) for state in states]
    frame = pick(FRAMES, rng) if len(texts) > 1 else "{a}."
    text = frame.format(a=texts[0], b=texts[-1])
    if rng.random() < 0.5:
        text = f"{text} There is a {pick(WORDS, rng)} and a {pick(WORDS, rng)}."
    return text[0].upper() + text[1:]


def draw_states(rng: np.random.Generator) -> list[str]:
    """Two or three states of different groups, in random order."""
    groups = [str(group) for group in rng.permutation(list(GROUPS))[: int(rng.integers(2, 4))]]
    if "knees" in groups and "leg" in groups:
        groups.remove("leg")
    return [str(rng.choice(GROUPS[group])) for group in groups]


class Scenes(NamedTuple):
    """Filmed movements, the joints' places in them, and the states that each holds."""

    frames: np.ndarray  # uint8 [N, T, H, W, 3]
    joints: np.ndarray  # float32 [N, T, 15, 2], in frame widths
    states: list[list[str]]


def make_scenes(
    count: int, rng: np.random.Generator, *, people: int = 1, frames: int = 8, size_px: int = 64
) -> Scenes:
    """``count`` scenes of random movements, each done by so many people that look different, one
    after another.
    """
    pictures = np.empty((count, frames, size_px, size_px, 3), np.uint8)
    joints = np.empty((count, frames, len(POINTS), 2), np.float32)
    states: list[list[str]] = []
    for i in range(count):
        if i % people == 0:
            held = draw_states(rng)
            motion = BodyMotion(body_keys(held, rng), PHASES)
        equipment, look = pick(EQUIPMENT, rng), Appearance.draw(rng)
        pictures[i], joints[i] = render_with_joints(
            motion, look, rng, equipment=equipment, frames=frames, size_px=size_px
        )
        states.append(held)
    return Scenes(pictures, joints, states)


def minimise(
    loss_of: Callable[[], torch.Tensor],
    parameters: Sequence[Any],
    *,
    steps: int,
    rate: Callable[[int], float],
    name: str,
    heads: Sequence[Any] = (),
    fused: bool = False,
) -> None:
    """Take ``steps`` of AdamW on fresh values of ``loss_of()``, the learning rate at each by ``rate``.
    Gradients are clipped, except those of ``heads`` that are thrown away.
    """
    import torch

    learned = [*parameters, *heads]
    optimizer = torch.optim.AdamW(learned, weight_decay=0.05, betas=(0.9, 0.98), fused=fused)
    for step in range(steps):
        for group in optimizer.param_groups:
            group["lr"] = rate(step)
        loss = loss_of()
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step()
        if (step + 1) % 50 == 0:
            log.info("%s: step %d of %d, loss %.2f", name, step + 1, steps, loss.item())
