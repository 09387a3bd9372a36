"""What a sweep is made of: points of a grid (or named variants) times seeds, each of them an
ordinary run.

A member reads the stages before the swept one from its base run (artifacts.holder) and runs the
swept stage and those after it. 04 is left out unless it is the swept stage: it takes long, and its
rankings would belong to another question; a member's 05 therefore shows recall only. A member's
name comes from its point and seed, so that a larger grid finds the members of a smaller one.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from pydantic import BaseModel, ConfigDict

from sportskills_lib.config import CONFIGS, setting_name
from sportskills_lib.formats.files import digest
from sportskills_lib.runs import pipeline
from sportskills_lib.runs.artifacts import STAGES, run_folder, workspace
from sportskills_lib.runs.pipeline import Settings

RETRIEVAL = "04_retrieval"
# Without 04 there are no learners: 05 is told so, or it would list every rating as one that fits no
# learner.
RECALL_ONLY: Settings = {
    RETRIEVAL: {"learners": "", "ratings": ""},
    "05_evaluation": {"ratings": ""},
}
SLUG_LETTERS = 32
COMMA_OUTSIDE_BRACKETS = re.compile(r",(?![^\[]*\])")


class Point(NamedTuple):
    """One combination of settings; ``values`` are what differs between points, as they are
    shown.
    """

    label: str
    settings: Settings
    values: dict[str, str]


class Member(BaseModel):
    """One run of a sweep."""

    model_config = ConfigDict(frozen=True)
    run: str
    label: str
    values: dict[str, str]
    seed: int | None
    settings: Settings = {}  # all of them; not in the sweep.json of earlier versions


class Sweep(BaseModel):
    """Members over one base run, in order; ``sweep.json`` in its folder."""

    model_config = ConfigDict(frozen=True)
    name: str
    title: str
    stage: str  # whose settings vary
    base: str
    preset: str
    members: tuple[Member, ...]

    @property
    def base_stages(self) -> list[str]:
        """The stages that are read from the base run."""
        return list(STAGES[: STAGES.index(self.stage)])

    @property
    def left_out(self) -> list[str]:
        """The later stages that members do not execute."""
        return [RETRIEVAL] if STAGES.index(self.stage) < STAGES.index(RETRIEVAL) else []

    @property
    def stages(self) -> list[str]:
        """The stages that members execute."""
        return [name for name in STAGES[STAGES.index(self.stage) :] if name not in self.left_out]

    @property
    def judged(self) -> bool:
        """Whether members differ in 04, so that what is compared are its rankings, by coaches'
        grades.
        """
        return self.stage == RETRIEVAL

    @property
    def labels(self) -> list[str]:
        """The points of the sweep, in order; the first is what the others are compared with."""
        return list(dict.fromkeys(member.label for member in self.members))

    @property
    def folder(self) -> Path:
        """data/sweeps/<name>: the list of members, what became of them, their logs, the tables."""
        return sweep_folder(self.name)


def sweep_folder(name: str) -> Path:
    """data/sweeps/<name>, beside data/runs; the name is checked as a run's name is."""
    run_folder(name)
    return workspace() / "data" / "sweeps" / name


# --------------------------------------------------------------------------------------------- grid


def parse_grid(stage: str, texts: Iterable[str]) -> dict[str, list[str]]:
    """``["loss=info_nce,siglip", "frozen=[a,b],[]"]`` by parameter: commas separate values, and a
    list of several items stands in brackets; a bare value of a list parameter is a list of one.

    Values stay text, which the stage's config reads. ValueError for an unknown parameter.
    """
    grid: dict[str, list[str]] = {}
    for text in texts:
        name, _, values = (part.strip() for part in text.partition("="))
        alternatives = [part.strip() for part in COMMA_OUTSIDE_BRACKETS.split(values)]
        if not (name and all(alternatives)):
            raise ValueError(
                f"--grid {text!r} is not <parameter>=<value>,<value>, for example "
                "loss=info_nce,siglip or 'frozen=[a,b],[]'"
            )
        name = setting_name(stage, name.removeprefix(f"{stage[:2]}."))
        if name in grid or len(set(alternatives)) < len(alternatives):
            raise ValueError(f"--grid {text!r} names {name} or a value of it twice: remove one")
        grid[name] = alternatives
    return grid


def grid_points(stage: str, grid: Mapping[str, Sequence[str]]) -> list[Point]:
    """Every combination, the last parameter varying fastest; one point without settings for an
    empty grid.
    """
    points = []
    for values in itertools.product(*grid.values()):
        chosen = dict(zip(grid, values, strict=True))
        label = " ".join(f"{name}={value}" for name, value in chosen.items()) or "as the base"
        points.append(Point(label, {stage: dict(chosen)} if chosen else {}, chosen))
    return points


# ------------------------------------------------------------------------------------------ members


def plan_sweep(
    name: str,
    stage: str,
    points: Sequence[Point],
    *,
    base: str,
    seeds: Sequence[int] = (0,),
    fixed: Settings | None = None,
    title: str = "",
) -> Sweep:
    """The members, with their whole settings, every one of them checked: ValueError before anything
    has run.

    Settings are those of the base run, then ``fixed``, then the point's, then the seed of the swept
    stage.
    """
    if stage not in STAGES:
        raise ValueError(
            f"{stage} only shows what the stages made: sweep one of {', '.join(STAGES)}"
        )
    stored = pipeline.load_settings(base)
    if stored is None:
        first = STAGES[max(0, STAGES.index(stage) - 1)][:2]
        raise ValueError(
            f"there is no run {base!r}: `sportskills reproduce --run {base} --until {first}` "
            "makes it"
        )
    if pipeline.load_settings(name) is not None:
        raise ValueError(
            f"sweep {name!r} has the name of a run, whose report it would replace: choose "
            "another --name"
        )
    preset, settings = stored
    seeded = "seed" in CONFIGS[stage].model_fields
    if not seeded and len(seeds) > 1:
        raise ValueError(f"{stage} draws nothing, so there is no seed to vary: leave --seeds out")
    sweep = Sweep(name=name, title=title, stage=stage, base=base, preset=preset, members=())
    common = pipeline.merged(settings, RECALL_ONLY if sweep.left_out else {}, fixed or {})
    members = []
    for point, seed in itertools.product(points, seeds if seeded else [None]):
        own: Settings = {stage: {"seed": seed}} if seed is not None else {}
        whole = pipeline.merged(common, point.settings, own)
        run = _run_name(name, point, seed)
        try:
            pipeline.stage_configs(preset, whole)
        except ValueError as error:
            raise ValueError(f"{point.label}: {error}") from None
        members.append(
            Member(run=run, label=point.label, values=point.values, seed=seed, settings=whole)
        )
    return sweep.model_copy(update={"members": tuple(members)})


def _run_name(sweep: str, point: Point, seed: int | None) -> str:
    """A name that can be read and that no other point has."""
    words = "-".join(point.values.values()) or point.label
    slug = re.sub(r"[^A-Za-z0-9_.]+", "-", words).strip("-.")[:SLUG_LETTERS]
    name = f"{sweep}.{slug}-{digest(point.settings)[:4]}"
    return name if seed is None else f"{name}.s{seed}"
