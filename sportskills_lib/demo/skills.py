"""The demo world's sports, skills, executions and faults: 24 sports, three skills each, three faults a skill.

A skill is one of twelve archetypes of motion, varied by a draw of its own; a fault puts one visible state of the body
(or the timing) in place of the state the skill asks for, by 40 degrees or more over several key poses. The choice of
sports, skills and faults is ours; nothing here is measured from athletes.
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass

import numpy as np

from sportskills_lib.demo.body_motion import INDEX, PHASES, BodyMotion, pose

ALL, LATE, MIDDLE = (0, 1, 2, 3, 4), (2, 3, 4), (1, 2, 3)


# A state of the body and the angles that put it there. Captions and narrations speak of these states.
STATES: dict[str, dict[str, float]] = {
    "arm_straight": dict(el_r=4),
    "arm_bent": dict(el_r=115),
    "arm_high": dict(sf_r=160, sa_r=10),
    "arm_low": dict(sf_r=10, sa_r=8),
    "arm_wide": dict(sf_r=25, sa_r=85, el_r=10),
    "arm_close": dict(sa_r=4),
    "free_arm_high": dict(sf_l=130, sa_l=20, el_l=20),
    "free_arm_low": dict(sf_l=0, sa_l=6, el_l=6),
    "knees_bent": dict(hf_r=62, kn_r=95, hf_l=62, kn_l=95),
    "knees_straight": dict(hf_r=4, kn_r=4, hf_l=-4, kn_l=4),
    "chest_up": dict(lean=4),
    "folded_forward": dict(lean=62),
    "leaning_back": dict(lean=-38),
    "leaning_sideways": dict(side=38),
    "feet_wide": dict(ha_r=34, ha_l=34),
    "feet_narrow": dict(ha_r=1, ha_l=1),
    "leg_high": dict(hf_r=105, kn_r=25),
    "leg_low": dict(hf_r=12, kn_r=10),
}
TIMINGS = ("full_finish", "short_finish", "full_backswing", "no_backswing")


def hold_state(keys: np.ndarray, state: str, at: tuple[int, ...] = ALL) -> None:
    """Put the body into ``state`` in the key poses ``at`` of ``keys`` [5, DOFS]."""
    for name, value in STATES[state].items():
        keys[list(at), INDEX[name]] = value


def cue_kind(cue: str) -> str:
    """What one has to see to tell this cue: a ``pose``, which a single picture shows, or the
    ``timing`` of a movement.
    """
    return "timing" if cue in TIMINGS else "pose"


@dataclass(frozen=True)
class Fault:
    """What goes wrong: ``name`` in place of ``good`` (both states or timings), at the key poses
    ``at``.
    """

    good: str
    name: str
    at: tuple[int, ...] = ALL


@dataclass(frozen=True)
class Skill:
    """One motion of a sport, with three ways of getting it wrong."""

    sport: str
    name: str
    doing: str  # "hitting a tennis serve"
    equipment: str
    motion: BodyMotion
    faults: tuple[Fault, ...]

    @property
    def executions(self) -> tuple[str, ...]:
        """``correct``, then the names of the faults."""
        return ("correct", *(fault.name for fault in self.faults))

    def execute(self, execution: str) -> BodyMotion:
        """The motion as it looks in one execution: ``correct`` or the name of a fault."""
        keys = self.motion.keys.copy()
        if execution == "short_finish":  # stops dead at the drive: the last poses are never reached
            keys[3:] = keys[2]
        elif execution == "no_backswing":  # begins at the drive: the first poses are skipped
            keys[:2] = keys[2]
        elif execution != "correct":
            shown = next(fault.at for fault in self.faults if fault.name == execution)
            hold_state(keys, execution, shown)
        return BodyMotion(keys, self.motion.phases)


@dataclass(frozen=True)
class DemoSport:
    """A sport and its skills."""

    name: str
    skills: tuple[Skill, ...]


# Archetype: five key poses, and the faults that make sense for it (more than three: skills of a kind differ).
_ready = {"hf_r": 25, "kn_r": 40, "hf_l": 25, "kn_l": 40, "lean": 12}
_bent = {"hf_r": 55, "kn_r": 85, "hf_l": 55, "kn_l": 85}
ARCHETYPES: dict[str, tuple[list[np.ndarray], list[Fault]]] = {
    "overhead": (
        [
            pose(sf_r=20, el_r=60, sf_l=40),
            pose(sf_r=-40, el_r=30, sf_l=150, sa_l=15, lean=-12, **_bent),
            pose(sf_r=120, el_r=30, sa_r=25, sf_l=140, lean=-5, hf_l=20, kn_l=30),
            pose(sf_r=170, el_r=4, sf_l=120, lean=10, lift=6),
            pose(sf_r=45, el_r=8, sf_l=110, lean=28, hf_l=30, kn_l=35),
        ],
        [
            Fault("arm_straight", "arm_bent", LATE),
            Fault("free_arm_high", "free_arm_low"),
            Fault("arm_high", "arm_low", LATE),
            Fault("chest_up", "leaning_sideways"),
            Fault("full_finish", "short_finish"),
        ],
    ),
    "sidearm": (
        [
            pose(sf_r=30, sa_r=20, el_r=50, sf_l=30, el_l=50, **_ready),
            pose(sf_r=-45, sa_r=45, el_r=20, twist=-50, sf_l=60, **_bent),
            pose(sf_r=10, sa_r=60, el_r=10, twist=-10, sf_l=30, **_bent),
            pose(sf_r=70, sa_r=35, el_r=8, twist=25, **_bent),
            pose(sf_r=130, sa_r=-10, el_r=60, twist=60, **_ready),
        ],
        [
            Fault("knees_bent", "knees_straight"),
            Fault("chest_up", "folded_forward"),
            Fault("full_finish", "short_finish"),
            Fault("feet_wide", "feet_narrow"),
            Fault("arm_straight", "arm_bent", MIDDLE),
        ],
    ),
    "two_hand_swing": (
        [
            pose(sf_r=35, sf_l=35, sa_r=-8, sa_l=-8, lean=32, hf_r=18, kn_r=25, hf_l=18, kn_l=25),
            pose(sf_r=110, el_r=70, sf_l=95, sa_l=-30, el_l=4, twist=-80, lean=28),
            pose(sf_r=70, el_r=30, sf_l=70, el_l=4, twist=-30, lean=30),
            pose(sf_r=35, el_r=4, sf_l=35, el_l=4, twist=20, lean=30),
            pose(sf_r=120, el_r=20, sf_l=120, el_l=80, twist=85, lean=4),
        ],
        [
            Fault("full_backswing", "no_backswing"),
            Fault("knees_straight", "knees_bent"),
            Fault("full_finish", "short_finish"),
            Fault("chest_up", "leaning_back"),
            Fault("feet_wide", "feet_narrow"),
        ],
    ),
    "kick": (
        [
            pose(sf_r=15, sf_l=15),
            pose(hf_r=-40, kn_r=70, sf_l=90, sa_l=30, lean=8),
            pose(hf_r=25, kn_r=60, sf_l=100, sa_l=30, lean=4, hf_l=12, kn_l=18),
            pose(hf_r=80, kn_r=6, sf_l=60, sf_r=-30, lean=-6, hf_l=8, kn_l=12),
            pose(hf_r=115, kn_r=20, sf_l=40, sf_r=-30, lean=-8),
        ],
        [
            Fault("leg_high", "leg_low", LATE),
            Fault("chest_up", "leaning_back"),
            Fault("free_arm_high", "free_arm_low"),
            Fault("full_backswing", "no_backswing"),
            Fault("arm_low", "arm_high"),
        ],
    ),
    "squat": (
        [
            pose(sf_r=85, sf_l=85, ha_r=24, ha_l=24),
            pose(sf_r=85, sf_l=85, ha_r=28, ha_l=28, hf_r=55, kn_r=70, hf_l=55, kn_l=70, lean=20),
            pose(sf_r=85, sf_l=85, ha_r=30, ha_l=30, hf_r=95, kn_r=115, hf_l=95, kn_l=115, lean=26),
            pose(sf_r=85, sf_l=85, ha_r=28, ha_l=28, hf_r=95, kn_r=115, hf_l=95, kn_l=115, lean=24),
            pose(sf_r=85, sf_l=85, ha_r=24, ha_l=24),
        ],
        [
            Fault("knees_bent", "knees_straight"),
            Fault("chest_up", "folded_forward"),
            Fault("feet_wide", "feet_narrow"),
            Fault("free_arm_high", "free_arm_low"),
            Fault("arm_straight", "arm_bent"),
        ],
    ),
    "jump": (
        [
            pose(sf_r=10, sf_l=10),
            pose(sf_r=-45, sf_l=-45, lean=30, **_bent),
            pose(sf_r=90, sf_l=90, lean=6, lift=8),
            pose(sf_r=165, sf_l=165, lift=26, hf_r=-6, hf_l=-6),
            pose(sf_r=60, sf_l=60, lean=14, **_bent),
        ],
        [
            Fault("arm_high", "arm_low", LATE),
            Fault("full_backswing", "no_backswing"),
            Fault("free_arm_high", "free_arm_low", LATE),
            Fault("feet_narrow", "feet_wide"),
            Fault("knees_straight", "knees_bent"),
        ],
    ),
    "lunge": (
        [
            pose(sf_r=70, el_r=80, sf_l=-30, sa_l=30, el_l=60, **_ready),
            pose(sf_r=80, el_r=60, sf_l=-20, sa_l=40, hf_r=50, kn_r=55, hf_l=10, kn_l=35),
            pose(sf_r=90, el_r=6, sf_l=-30, sa_l=50, hf_r=80, kn_r=45, hf_l=-20, kn_l=10),
            pose(sf_r=92, el_r=4, sf_l=-40, sa_l=45, hf_r=88, kn_r=85, hf_l=-45, kn_l=8, dx=8),
            pose(sf_r=90, el_r=4, sf_l=-40, sa_l=45, hf_r=85, kn_r=85, hf_l=-42, kn_l=8, dx=8),
        ],
        [
            Fault("arm_straight", "arm_bent", LATE),
            Fault("chest_up", "folded_forward"),
            Fault("arm_close", "arm_wide"),
            Fault("leg_high", "leg_low"),
            Fault("chest_up", "leaning_back"),
        ],
    ),
    "push": (
        [
            pose(sf_r=40, el_r=120, sf_l=40, el_l=120, **_bent),
            pose(sf_r=60, el_r=125, sf_l=60, el_l=115, lean=6, **_bent),
            pose(sf_r=110, el_r=70, sf_l=100, el_l=70, hf_r=15, kn_r=20, hf_l=15, kn_l=20),
            pose(sf_r=155, el_r=8, sf_l=145, el_l=20, lift=6),
            pose(sf_r=160, el_r=4, sf_l=140, el_l=25, lift=3),
        ],
        [
            Fault("arm_straight", "arm_bent", LATE),
            Fault("arm_close", "arm_wide", ALL),
            Fault("chest_up", "leaning_back"),
            Fault("free_arm_high", "free_arm_low"),
            Fault("knees_straight", "knees_bent", LATE),
        ],
    ),
    "pull": (
        [
            pose(sf_r=95, el_r=4, sf_l=95, el_l=4, lean=38, hf_r=60, kn_r=90, hf_l=60, kn_l=90),
            pose(sf_r=80, el_r=8, sf_l=80, el_l=8, lean=24, hf_r=50, kn_r=60, hf_l=50, kn_l=60),
            pose(sf_r=40, el_r=60, sf_l=40, el_l=60, lean=6, hf_r=40, kn_r=40, hf_l=40, kn_l=40),
            pose(
                sf_r=-25, el_r=115, sf_l=-25, el_l=115, lean=-8, hf_r=35, kn_r=30, hf_l=35, kn_l=30
            ),
            pose(
                sf_r=-25, el_r=115, sf_l=-25, el_l=115, lean=-8, hf_r=35, kn_r=30, hf_l=35, kn_l=30
            ),
        ],
        [
            Fault("chest_up", "folded_forward"),
            Fault("arm_close", "arm_wide"),
            Fault("full_finish", "short_finish"),
            Fault("knees_bent", "knees_straight"),
            Fault("feet_narrow", "feet_wide"),
        ],
    ),
    "stride": (
        [
            pose(hf_r=70, kn_r=80, hf_l=-20, kn_l=15, sf_r=-40, el_r=85, sf_l=50, el_l=85, lean=12),
            pose(hf_r=20, kn_r=20, hf_l=15, kn_l=70, sf_r=0, el_r=85, sf_l=0, el_l=85, lean=12),
            pose(
                hf_r=-25,
                kn_r=15,
                hf_l=75,
                kn_l=80,
                sf_r=50,
                el_r=85,
                sf_l=-40,
                el_l=85,
                lean=12,
                lift=3,
            ),
            pose(hf_r=15, kn_r=70, hf_l=20, kn_l=20, sf_r=0, el_r=85, sf_l=0, el_l=85, lean=12),
            pose(
                hf_r=72,
                kn_r=82,
                hf_l=-22,
                kn_l=15,
                sf_r=-40,
                el_r=85,
                sf_l=50,
                el_l=85,
                lean=12,
                lift=3,
            ),
        ],
        [
            Fault("leg_high", "leg_low"),
            Fault("arm_bent", "arm_straight"),
            Fault("chest_up", "leaning_back"),
            Fault("arm_close", "arm_wide"),
            Fault("chest_up", "folded_forward"),
        ],
    ),
    "balance": (
        [
            pose(sf_r=20, sf_l=20),
            pose(sf_r=60, sa_r=60, sf_l=60, sa_l=60, hf_r=45, kn_r=50),
            pose(sf_r=85, sa_r=60, sf_l=100, sa_l=50, hf_r=85, kn_r=30),
            pose(sf_r=90, sa_r=55, sf_l=120, sa_l=40, hf_r=95, kn_r=15),
            pose(sf_r=90, sa_r=55, sf_l=120, sa_l=40, hf_r=95, kn_r=15),
        ],
        [
            Fault("leg_high", "leg_low"),
            Fault("free_arm_high", "free_arm_low"),
            Fault("chest_up", "leaning_sideways"),
            Fault("arm_straight", "arm_bent"),
            Fault("chest_up", "folded_forward"),
        ],
    ),
    "hinge": (
        [
            pose(sf_r=30, sf_l=30, ha_r=20, ha_l=20),
            pose(sf_r=55, sf_l=55, lean=45, hf_r=20, kn_r=25, hf_l=20, kn_l=25, ha_r=20, ha_l=20),
            pose(sf_r=70, sf_l=70, lean=62, hf_r=22, kn_r=28, hf_l=22, kn_l=28, ha_r=20, ha_l=20),
            pose(sf_r=45, sf_l=45, lean=30, hf_r=12, kn_r=15, hf_l=12, kn_l=15, ha_r=20, ha_l=20),
            pose(sf_r=10, sf_l=10, lean=0, ha_r=20, ha_l=20),
        ],
        [
            Fault("knees_straight", "knees_bent"),
            Fault("arm_straight", "arm_bent"),
            Fault("feet_wide", "feet_narrow"),
            Fault("full_finish", "short_finish"),
            Fault("arm_close", "arm_wide"),
        ],
    ),
}

# sport: three of (skill, verb, archetype, equipment)
_WORLD: dict[str, list[tuple[str, str, str, str]]] = {
    "tennis": [("serve", "hitting", "overhead", "racket"), ("forehand", "hitting", "sidearm", "racket"), ("split step", "doing", "jump", "racket")],
    "golf": [("full swing", "making", "two_hand_swing", "club"), ("bunker stance", "taking", "squat", "club"), ("hip turn drill", "doing", "hinge", "club")],
    "baseball": [("pitch", "throwing", "overhead", "ball"), ("batting swing", "taking", "two_hand_swing", "bat"), ("fielding crouch", "doing", "squat", "none")],
    "basketball": [("free throw", "shooting", "push", "ball"), ("rebound jump", "doing", "jump", "none"), ("defensive slide", "doing", "stride", "none")],
    "soccer": [("instep kick", "striking", "kick", "none"), ("throw-in", "taking", "overhead", "ball"), ("goalkeeper jump", "doing", "jump", "none")],
    "volleyball": [("spike", "hitting", "overhead", "none"), ("overhand set", "playing", "push", "ball"), ("dig stance", "holding", "squat", "none")],
    "badminton": [("smash", "hitting", "overhead", "racket"), ("net lunge", "doing", "lunge", "racket"), ("drive shot", "hitting", "sidearm", "racket")],
    "boxing": [("jab", "throwing", "lunge", "none"), ("hook", "throwing", "sidearm", "none"), ("footwork drill", "doing", "stride", "none")],
    "judo": [("osoto sweep", "doing", "kick", "none"), ("lapel pull", "doing", "pull", "none"), ("bow stance", "holding", "hinge", "none")],
    "sprinting": [("high knee drill", "doing", "stride", "none"), ("block start", "doing", "lunge", "none"), ("bounding jump", "doing", "jump", "none")],
    "handball": [("jump shot", "shooting", "overhead", "ball"), ("chest pass", "making", "push", "ball"), ("side shot", "shooting", "sidearm", "ball")],
    "weightlifting": [("overhead press", "doing", "push", "bar"), ("deadlift", "doing", "hinge", "bar"), ("front squat", "doing", "squat", "bar")],
    "gymnastics": [("arabesque", "holding", "balance", "none"), ("straight jump", "doing", "jump", "none"), ("pike fold", "doing", "hinge", "none")],
    "rowing": [("drive phase", "rowing", "pull", "bar"), ("body swing", "doing", "hinge", "bar"), ("leg press start", "doing", "squat", "bar")],
    "skating": [("crossover push", "doing", "stride", "none"), ("spiral", "holding", "balance", "none"), ("salchow takeoff", "doing", "kick", "none")],
    "skiing": [("telemark lunge", "doing", "lunge", "pole"), ("pole plant", "doing", "pull", "pole"), ("tuck position", "holding", "squat", "pole")],
    "cricket": [("fast delivery", "bowling", "overhead", "ball"), ("cover drive", "playing", "two_hand_swing", "bat"), ("sweep shot", "playing", "sidearm", "bat")],
    "javelin": [("standing throw", "making", "overhead", "pole"), ("crossover run", "doing", "stride", "pole"), ("block step", "doing", "lunge", "pole")],
    "fencing": [("direct lunge", "making", "lunge", "foil"), ("advance step", "doing", "stride", "foil"), ("parry sweep", "making", "sidearm", "foil")],
    "archery": [("draw", "making", "pull", "pole"), ("anchor stance", "holding", "balance", "pole"), ("bow raise", "doing", "push", "pole")],
    "table tennis": [("topspin loop", "hitting", "sidearm", "racket"), ("ready crouch", "holding", "squat", "racket"), ("push stroke", "playing", "lunge", "racket")],
    "karate": [("front kick", "doing", "kick", "none"), ("reverse punch", "throwing", "lunge", "none"), ("crane stance", "holding", "balance", "none")],
    "field hockey": [("drag flick", "making", "two_hand_swing", "stick"), ("reverse hit", "playing", "sidearm", "stick"), ("low tackle", "making", "lunge", "stick")],
    "swimming": [("freestyle catch drill", "doing", "pull", "none"), ("track start", "doing", "hinge", "none"), ("streamline jump", "doing", "jump", "none")],
}  # fmt: skip


def _skill(sport: str, name: str, verb: str, archetype: str, equipment: str) -> Skill:
    rng = np.random.default_rng([7, zlib.crc32(f"{sport}/{name}".encode())])
    poses, options = ARCHETYPES[archetype]
    drawn: np.ndarray = np.stack(poses)
    keys = drawn + rng.normal(0, 9, drawn.shape[1]) * drawn.any(axis=0)
    keys[:, [INDEX["lift"], INDEX["dx"]]] = drawn[:, [INDEX["lift"], INDEX["dx"]]]
    shuffled = [options[i] for i in rng.permutation(len(options))]
    faults = tuple({fault.good: fault for fault in shuffled}.values())[
        :3
    ]  # of three different cues
    for fault in faults:  # the skill done well shows the good state: so the fault is visible
        if fault.good in STATES:
            hold_state(keys, fault.good, LATE if fault.good == "leg_high" else fault.at)
    phases = np.sort(np.clip(PHASES + np.r_[0, rng.normal(0, 0.04, 3), 0], 0, 1))
    article = "an" if sport[0] in "aeiou" else "a"
    doing = f"{verb} {article} {sport} {name}"
    return Skill(sport, name, doing, equipment, BodyMotion(keys, phases), faults)


SPORTS: tuple[DemoSport, ...] = tuple(
    DemoSport(sport, tuple(_skill(sport, *row) for row in rows)) for sport, rows in _WORLD.items()
)
