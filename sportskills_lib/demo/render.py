"""Pictures of the demo world: an articulated figure before a backdrop, drawn with OpenCV.

What varies from clip to clip (body, clothing, camera, speed, backdrop) is drawn independently of skill and fault, so
that nothing but the movement tells them. Frames are uint8 [T, H, W, 3], RGB.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from sportskills_lib.demo.body_motion import INDEX, POINTS, BodyMotion, joints, pose
from sportskills_lib.demo.settings import DemoConfig
from sportskills_lib.demo.skills import Skill

AT = {name: i for i, name in enumerate(POINTS)}
SHIFT = 4  # OpenCV's fixed-point bits: lines start and end between pixels
LIMBS = (  # (from, to, thickness, what covers it)
    ("hip_l", "kn_l", 1.15, "trousers"),
    ("kn_l", "ft_l", 0.95, "trousers"),
    ("hip_r", "kn_r", 1.15, "trousers"),
    ("kn_r", "ft_r", 0.95, "trousers"),
    ("pelvis", "chest", 2.3, "shirt"),
    ("sh_l", "el_l", 0.85, "skin"),
    ("el_l", "ha_l", 0.75, "skin"),
    ("sh_r", "el_r", 0.85, "shirt"),
    ("el_r", "ha_r", 0.75, "shirt"),
)
RODS = {  # a line from the hand: its length in body heights, and how much thicker it is
    "racket": (0.1, 0),
    "club": (0.38, 0),
    "bat": (0.3, 2),
    "pole": (0.4, 0),
    "foil": (0.34, 0),
    "stick": (0.38, 1),
}
SKINS = ((255, 224, 196), (234, 192, 150), (198, 145, 100), (141, 92, 58), (92, 58, 36))


@dataclass(frozen=True)
class Appearance:
    """How a clip looks, whatever is done in it."""

    skin: tuple[int, int, int]
    shirt: tuple[int, int, int]
    trousers: tuple[int, int, int]
    build: float  # thickness of the limbs
    height: float  # of the figure, as a share of the frame
    yaw_deg: float
    tilt_px: tuple[float, float]
    backdrop_seed: int
    speed: float
    offset: np.ndarray  # degrees added to every pose: the athlete's own manner

    @classmethod
    def draw(cls, rng: np.random.Generator) -> Appearance:
        """A body, clothes, a view and a backdrop, drawn with no regard to what will be
        performed.
        """
        return cls(
            skin=SKINS[rng.integers(len(SKINS))],
            shirt=_vivid(rng),
            trousers=_vivid(rng),
            build=rng.uniform(0.85, 1.25),
            height=rng.uniform(0.62, 0.72),
            yaw_deg=38 + rng.uniform(-25, 25),
            tilt_px=(rng.uniform(-0.06, 0.06), rng.uniform(-0.02, 0.02)),
            backdrop_seed=int(rng.integers(2**31)),
            speed=rng.uniform(0.85, 1.2),
            offset=rng.normal(0, 5, len(INDEX))
            * np.array([name not in ("lift", "dx") for name in INDEX]),
        )


def _rgb(hue: float, saturation: float, light: float) -> tuple[int, int, int]:
    hsv = np.array([[[hue, saturation, light]]], np.uint8)
    red, green, blue = cv2.cvtColor(hsv, cv2.COLOR_HSV2RGB)[0, 0].tolist()
    return red, green, blue


def _vivid(rng: np.random.Generator) -> tuple[int, int, int]:
    hue, light = rng.uniform(0, 180), rng.choice([70, 255])
    return _rgb(hue, rng.uniform(120, 255), light)


def backdrop(seed: int, size_px: int) -> np.ndarray:
    """A muted gradient, a floor and a few soft shapes: uint8 [H, W, 3]."""
    rng = np.random.default_rng([11, seed])
    top, bottom, floor = (np.array(_muted(rng), np.float32) for _ in range(3))
    ramp = np.linspace(0, 1, size_px, dtype=np.float32)[:, None, None]
    image = np.ascontiguousarray(
        np.broadcast_to(top * (1 - ramp) + bottom * ramp, (size_px, size_px, 3))
    )
    image[int(size_px * rng.uniform(0.72, 0.86)) :] = floor
    for _ in range(rng.integers(1, 5)):
        corner = rng.uniform(0, 0.8, 2) * size_px
        extent = rng.uniform(0.1, 0.35, 2) * size_px
        low, high = tuple(int(v) for v in corner), tuple(int(v) for v in corner + extent)
        cv2.rectangle(image, low, high, _muted(rng), -1)
    image = cv2.GaussianBlur(image, (0, 0), size_px / 60)
    return np.clip(image + rng.normal(0, 2.5, image.shape), 0, 255).astype(np.uint8)


def _muted(rng: np.random.Generator) -> tuple[int, int, int]:
    return _rgb(rng.uniform(0, 180), rng.uniform(15, 60), rng.uniform(130, 185))


def render_with_joints(
    motion: BodyMotion,
    appearance: Appearance,
    rng: np.random.Generator,
    *,
    equipment: str,
    frames: int,
    size_px: int,
) -> tuple[np.ndarray, np.ndarray]:
    """One performance of ``motion``: pictures uint8 [T, H, W, 3], and where the joints are in them,
    float32 [T, 15, 2], in frame widths.

    The movement fills about 70 to 95 % of the time, with a short wait before and after; the
    athlete's own manner and pace are added to it.
    """
    wait = rng.uniform(0.02, 0.12)
    length = np.clip(0.86 / appearance.speed, 0.6, 1 - wait)
    phase_T = (np.linspace(0, 1, frames) - wait) / length
    angles_TD = motion.at(phase_T) + appearance.offset + rng.normal(0, 1.5, (frames, len(INDEX)))
    places = _project(joints(angles_TD), appearance, 1)[..., :2].astype(np.float32)
    return _draw(angles_TD, appearance, equipment, size_px), places


def render_shot(
    shown: str,
    skill: Skill,
    appearance: Appearance,
    rng: np.random.Generator,
    frames: int,
    config: DemoConfig,
) -> np.ndarray:
    """Pictures uint8 [T, H, W, 3] of somebody who does ``skill`` as ``shown`` (correct, or the name of a fault), or
    of no demonstration: ``talk`` and ``outro`` (small gestures), ``sponsor`` (a card), ``broll`` (a moving camera).

    A performance takes about three seconds: longer clips hold the last pose.
    """
    size_px = config.size_px
    if shown == "sponsor":
        return _card(rng, frames, size_px)
    if shown == "broll":
        return _pan(appearance, rng, frames, size_px)
    if shown in ("talk", "outro"):
        return _draw(_gestures(appearance, rng, frames, config.fps), appearance, "none", size_px)
    active = min(frames, round(3.4 * config.fps))
    motion, equipment = skill.execute(shown), skill.equipment
    clip, _ = render_with_joints(
        motion, appearance, rng, equipment=equipment, frames=active, size_px=size_px
    )
    return np.concatenate([clip, np.repeat(clip[-1:], frames - active, axis=0)])


def _project(points: np.ndarray, appearance: Appearance, size_px: int) -> np.ndarray:
    """[T, 15, 3]: pixels right, pixels down, distance towards the camera."""
    ahead, high, aside = np.moveaxis(points, -1, 0)
    yaw, scale = np.radians(appearance.yaw_deg), appearance.height * size_px
    depth = -ahead * np.sin(yaw) + aside * np.cos(yaw)
    near = 1 + 0.12 * depth
    right = (ahead * np.cos(yaw) + aside * np.sin(yaw)) * scale * near
    x = size_px * (0.5 + appearance.tilt_px[0]) + right
    y = size_px * (0.88 + appearance.tilt_px[1]) - high * scale * near
    return np.stack([x, y, depth], -1)


def _draw(
    angles_TD: np.ndarray, appearance: Appearance, equipment: str, size_px: int
) -> np.ndarray:
    screen = _project(joints(angles_TD), appearance, size_px)
    fixed = np.round(screen[..., :2] * 2**SHIFT).astype(int)
    scene = backdrop(appearance.backdrop_seed, size_px)
    height_px = size_px * appearance.height
    limb_px, head_px = height_px * 0.052 * appearance.build, size_px * appearance.height * 0.075
    shadow = (int(size_px * 0.12), int(size_px * 0.025))
    out = np.empty((len(angles_TD), size_px, size_px, 3), np.uint8)
    for t, image in enumerate(out):
        image[:] = scene
        feet_px = screen[t, [AT["ft_r"], AT["ft_l"]], 0].mean()
        ground = (int(feet_px), int(size_px * 0.89))
        cv2.ellipse(image, ground, shadow, 0, 0, 360, (70, 70, 70), -1, cv2.LINE_AA)
        depth = {limb: screen[t, [AT[name] for name in limb[:2]], 2].mean() for limb in LIMBS}
        for limb in sorted(LIMBS, key=depth.__getitem__):
            start, stop, thick, cover = limb
            light = float(np.clip(0.84 + 0.9 * depth[limb], 0.62, 1.06))
            colour = [int(min(255, value * light)) for value in getattr(appearance, cover)]
            one, other = fixed[t, [AT[start], AT[stop]]].tolist()
            cv2.line(image, one, other, colour, max(1, round(limb_px * thick)), cv2.LINE_AA, SHIFT)
        head, radius = fixed[t, AT["head"]].tolist(), round(head_px * 2**SHIFT)
        cv2.circle(image, head, radius, appearance.skin, -1, cv2.LINE_AA, SHIFT)
        if equipment != "none":
            _draw_equipment(image, screen[t, :, :2], equipment, height_px)
    return out


def _draw_equipment(
    image: np.ndarray, screen: np.ndarray, equipment: str, height_px: float
) -> None:
    hand, elbow, other = (screen[AT[name]] for name in ("ha_r", "el_r", "ha_l"))
    along = (hand - elbow) / max(1e-6, float(np.linalg.norm(hand - elbow))) * height_px
    grey, thick = (40, 40, 45), max(1, round(height_px * 0.02))
    if equipment == "bar":
        reach = (other - hand) * 0.35
        ends = (hand - reach).astype(int), (other + reach).astype(int)
        cv2.line(image, *ends, grey, thick + 1, cv2.LINE_AA)
    if equipment in RODS:
        length, heavy = RODS[equipment]
        ends = hand.astype(int), (hand + along * length).astype(int)
        cv2.line(image, *ends, grey, thick + heavy, cv2.LINE_AA)
    if equipment in ("ball", "racket"):
        far, radius = (0.05, 0.045) if equipment == "ball" else (0.16, 0.06)
        colour, border = ((250, 170, 60), -1) if equipment == "ball" else (grey, thick)
        centre = (hand + along * far).astype(int)
        cv2.circle(image, centre, round(height_px * radius), colour, border, cv2.LINE_AA)


def _gestures(
    appearance: Appearance, rng: np.random.Generator, frames: int, fps: float
) -> np.ndarray:
    """Angles [T, DOFS] of somebody who stands and talks."""
    t = np.arange(frames) / fps
    rest = pose(sf_r=18, el_r=40, sf_l=12, el_l=30) + appearance.offset * 0.5
    angles_TD = np.tile(rest, (frames, 1))
    for name, size in (("el_r", 11.0), ("sf_r", 5.0), ("el_l", 7.0), ("head", 3.0)):
        wave = np.sin(2 * np.pi * rng.uniform(0.3, 0.6) * t + rng.uniform(0, 6.3))
        angles_TD[:, INDEX[name]] += size * wave
    return angles_TD


def _card(rng: np.random.Generator, frames: int, size_px: int) -> np.ndarray:
    image = np.full((size_px, size_px, 3), _muted(rng), np.uint8)
    low, high = (int(size_px * 0.2), int(size_px * 0.3)), (int(size_px * 0.8), int(size_px * 0.7))
    cv2.rectangle(image, low, high, _vivid(rng), -1)
    for row in range(3):
        y = int(size_px * (0.4 + 0.1 * row))
        cv2.line(
            image,
            (int(size_px * 0.3), y),
            (int(size_px * rng.uniform(0.5, 0.7)), y),
            (245, 245, 245),
            2,
        )
    return np.repeat(image[None], frames, 0)


def _pan(appearance: Appearance, rng: np.random.Generator, frames: int, size_px: int) -> np.ndarray:
    wide = backdrop(appearance.backdrop_seed, size_px * 2)
    start, speed = rng.uniform(0, 0.3) * size_px, rng.uniform(0.4, 0.7) * size_px / max(frames, 1)
    left = np.clip((start + speed * np.arange(frames)).astype(int), 0, size_px)
    top = size_px // 2
    return np.stack([wide[top : top + size_px, x : x + size_px] for x in left])
