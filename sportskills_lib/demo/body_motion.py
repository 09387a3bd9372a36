"""Articulated motion: a figure with 20 degrees of freedom, key poses, and forward kinematics.

Angles are degrees. The figure faces +x, y is up, z is to its right; it is seen by a camera that turns about y. A motion
is a few key poses with their phases; between them every angle follows a smooth step, as trained movements do.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

# lean: torso forward; side: torso to the right; twist: shoulders about the torso; then for the right (r) and the left (l)
# side: sf shoulder flexion (0 hanging, 90 forward, 180 overhead), sa shoulder abduction, el elbow flexion, hf hip
# flexion, ha hip abduction, kn knee flexion; lift: height above the ground, in body heights / 100.
DOFS = (
    "lean side twist sf_r sa_r el_r sf_l sa_l el_l hf_r ha_r kn_r hf_l ha_l kn_l lift dx head".split()  # noqa: SIM905
)
INDEX = {name: i for i, name in enumerate(DOFS)}
PHASES = np.array(
    [0.0, 0.25, 0.5, 0.75, 1.0]
)  # of the five key poses: ready, load, drive, contact, finish

# Segment lengths in body heights: after Winter, Biomechanics and Motor Control of Human Movement, rounded.
TORSO, NECK, HEAD, UPPER_ARM, FOREARM, THIGH, SHIN = 0.30, 0.06, 0.075, 0.19, 0.19, 0.25, 0.25
SHOULDER_HALF, HIP_HALF = 0.11, 0.07
POINTS = "pelvis chest head sh_r el_r ha_r sh_l el_l ha_l hip_r kn_r ft_r hip_l kn_l ft_l".split()  # noqa: SIM905


def pose(**angles: float) -> np.ndarray:
    """A pose by name; what is not named stands at rest."""
    values = np.zeros(len(DOFS))
    values[[INDEX["ha_r"], INDEX["ha_l"]]] = 8.0
    values[[INDEX["el_r"], INDEX["el_l"]]] = 12.0
    for name, value in angles.items():
        values[INDEX[name]] = value
    return values


@dataclass(frozen=True)
class BodyMotion:
    """Key poses [5, DOFS] at phases [5]; ``phases`` may be uneven: that is the motion's timing."""

    keys: np.ndarray
    phases: np.ndarray

    def at(self, phase_T: np.ndarray) -> np.ndarray:
        """Angles [T, DOFS] at phases in [0, 1]; phases outside hold the first or last pose."""
        phase_T = np.clip(phase_T, 0.0, 1.0)
        right = np.clip(
            np.searchsorted(self.phases, phase_T, side="right"), 1, len(self.phases) - 1
        )
        start, stop = self.phases[right - 1], self.phases[right]
        u = np.clip((phase_T - start) / np.maximum(stop - start, 1e-6), 0.0, 1.0)
        u = (u * u * (3 - 2 * u))[:, None]
        return self.keys[right - 1] * (1 - u) + self.keys[right] * u


def _limb(flexion: np.ndarray, abduction: np.ndarray, side: float) -> np.ndarray:
    f, a = np.radians(flexion), np.radians(abduction)
    return np.stack([np.sin(f) * np.cos(a), -np.cos(f) * np.cos(a), side * np.sin(a)], axis=-1)


def _tilt(vector: np.ndarray, lean: np.ndarray, side: np.ndarray) -> np.ndarray:
    """Turn [T, 3] forward by ``lean`` and to the right by ``side`` (degrees)."""
    c, s = np.cos(np.radians(lean)), np.sin(np.radians(lean))
    x, y, z = vector[:, 0] * c + vector[:, 1] * s, vector[:, 1] * c - vector[:, 0] * s, vector[:, 2]
    c, s = np.cos(np.radians(side)), np.sin(np.radians(side))
    return np.stack([x, y * c - z * s, z * c + y * s], axis=-1)


def joints(angles_TD: np.ndarray) -> np.ndarray:
    """Forward kinematics: the positions of POINTS, [T, 15, 3] in body heights, lowest foot on the
    ground (plus ``lift``).
    """
    a = {name: angles_TD[:, i] for name, i in INDEX.items()}
    zero = np.zeros(len(angles_TD))
    up = _tilt(np.stack([zero, zero + 1, zero], -1), a["lean"], a["side"])
    twist = np.radians(a["twist"])
    across = _tilt(np.stack([np.sin(twist), zero, np.cos(twist)], -1), a["lean"], a["side"])
    points = {"pelvis": np.zeros((len(angles_TD), 3))}
    points["chest"] = TORSO * up
    head = _tilt(np.stack([zero, zero + 1, zero], -1), a["lean"] + a["head"], a["side"])
    points["head"] = points["chest"] + (NECK + HEAD) * head
    for name, side in (("r", 1.0), ("l", -1.0)):
        shoulder = points["chest"] + side * SHOULDER_HALF * across
        upper = _tilt(_limb(a[f"sf_{name}"], a[f"sa_{name}"], side), a["lean"], a["side"])
        lower = _limb(a[f"sf_{name}"] + a[f"el_{name}"], a[f"sa_{name}"] * 0.6, side)
        elbow = shoulder + UPPER_ARM * upper
        hand = elbow + FOREARM * _tilt(lower, a["lean"], a["side"])
        hip = np.stack([zero, zero, zero + side * HIP_HALF], -1)
        knee = hip + THIGH * _limb(a[f"hf_{name}"], a[f"ha_{name}"], side)
        shin = _limb(a[f"hf_{name}"] - a[f"kn_{name}"], a[f"ha_{name}"] * 0.8, side)
        points |= {f"sh_{name}": shoulder, f"el_{name}": elbow, f"ha_{name}": hand}
        points |= {f"hip_{name}": hip, f"kn_{name}": knee, f"ft_{name}": knee + SHIN * shin}
    ground = np.minimum(points["ft_r"][:, 1], points["ft_l"][:, 1])
    shift = np.stack([a["dx"] / 100, a["lift"] / 100 - ground, zero], -1)
    return np.stack([points[name] + shift for name in POINTS], 1)
