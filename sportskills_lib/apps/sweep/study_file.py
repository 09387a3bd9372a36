"""The study: a list of sweeps in a file, run one after the other, its tables and figures copied to
docs/study.

Complete members are skipped, so a study that was interrupted goes on. Every setting of the list is
checked before anything runs.
"""

from __future__ import annotations

import shutil
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import polars as pl
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from sportskills_lib.apps.sweep import members as members_module
from sportskills_lib.apps.sweep import results
from sportskills_lib.apps.sweep.grid import Point, Sweep, plan_sweep
from sportskills_lib.config import setting_name
from sportskills_lib.formats.files import write_whole
from sportskills_lib.report import several_seeds, transfer
from sportskills_lib.runs import artifacts, pipeline
from sportskills_lib.runs.artifacts import STAGES
from sportskills_lib.runs.errors import RunError, short_path
from sportskills_lib.runs.pipeline import Say, Settings
from sportskills_lib.stage_config import did_you_mean


def settings_by_stage(values: dict[str, Any]) -> Settings:
    """``{"03.loss": "siglip"}`` by stage; ValueError for a setting that the stage does not have."""
    settings: Settings = {}
    for name, value in values.items():
        number, _, parameter = name.partition(".")
        stage = pipeline.stage_name(number)
        settings.setdefault(stage, {})[setting_name(stage, parameter)] = value
    return settings


ListedSettings = Annotated[Settings, BeforeValidator(settings_by_stage)]


class StudySweep(BaseModel):
    """One sweep of the list; settings are written as for --set, ``{"03.loss": "siglip"}``."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    name: str
    title: str = ""
    stage: Annotated[str, BeforeValidator(pipeline.stage_name)] = STAGES[2]  # whose settings vary
    seeds: list[int] = [0]
    settings: ListedSettings = Field({}, alias="set")  # of all its members
    points: dict[str, ListedSettings] = {"as the base": {}}
    together: bool = False  # figures by sport over all members, which must differ in the seed alone
    transfer: bool = False  # which group of sports helps which, over members trained on groups


class StudyList(BaseModel):
    """The sweeps of a list, and the run whose stages they read."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    name: str  # the file's, and of the folder in docs
    base: str = "demo"
    preset: str = "demo"  # of a base that has yet to be made
    jobs: int = 1
    sweep: list[StudySweep] = []

    @property
    def before(self) -> str:
        """The last stage that every member reads from the base."""
        first = max((each.stage for each in self.sweep), default=STAGES[2])
        return STAGES[STAGES.index(first) - 1]


# --------------------------------------------------------------------------------------------- read


def read(
    file: Path | None = None,
    *,
    only: list[str] | None = None,
    base: str | None = None,
    preset: str | None = None,
) -> StudyList:
    """The list of sweeps, or those whose names ``only`` has (with or without the leading
    ``study-``); ValueError names what the file or ``only`` has wrong.
    """
    path = file or artifacts.workspace() / "notebooks" / "study.toml"
    if not path.is_file():
        raise ValueError(f"there is no list of sweeps {short_path(path)}: name one with --file")
    given = {"base": base, "preset": preset}
    try:
        text = tomllib.loads(path.read_text(encoding="utf-8"))
        text |= {name: value for name, value in given.items() if value}
        study = StudyList.model_validate({"name": path.stem} | text)
    except tomllib.TOMLDecodeError as error:
        raise ValueError(f"{short_path(path)}: {error}") from None
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(map(str, first["loc"]))
        message = first["msg"].removeprefix("Value error, ")
        raise ValueError(f"{short_path(path)}: {place}: {message}") from None
    names = {each.name.removeprefix("study-"): each for each in study.sweep}
    wanted = [name.removeprefix("study-") for name in only or names]
    for name in wanted:
        if name not in names:
            raise ValueError(f"the study has no sweep {name}: {did_you_mean(name, names)}")
    return study.model_copy(
        update={"sweep": [each for name, each in names.items() if name in wanted]}
    )


# --------------------------------------------------------------------------------------------- plan


def plan_study(study: StudyList, fixed: Settings) -> list[Sweep]:
    """Every sweep of the study with its members; the base must have settings. ``fixed`` wins over
    the list's own.
    """
    return [
        plan_sweep(
            each.name,
            each.stage,
            [Point(label, settings, {}) for label, settings in each.points.items()],
            base=study.base,
            seeds=each.seeds,
            fixed=pipeline.merged(each.settings, fixed),
            title=each.title or each.name,
        )
        for each in study.sweep
    ]


def plan_lines(study: StudyList, fixed: Settings) -> list[str]:
    """What would be run and for how long: an estimate. ValueError names the command that makes a
    base which does not exist yet.
    """
    sweeps = plan_study(study, fixed)
    lines = [line for sweep in sweeps for line in members_module.plan_lines(sweep)]
    return [*lines, members_module.estimate(sweeps)]


# ---------------------------------------------------------------------------------------------- run


def run(
    study: StudyList,
    fixed: Settings,
    *,
    jobs: int | None = None,
    to: Path | None = None,
    say: Say = print,
) -> Path:
    """Bring the base's earlier stages up to date, run every sweep, and copy the results; returns
    the folder.

    A sweep with failed members does not stop the others: RunError in the end, after everything has
    been copied.
    """
    stored = pipeline.load_settings(study.base)
    pipeline.reproduce(study.base, None if stored else study.preset, until=study.before, say=say)
    sweeps = plan_study(study, fixed)
    say(members_module.estimate(sweeps))
    failed = []
    for sweep in sweeps:
        try:
            members_module.run(sweep, jobs=jobs or study.jobs, say=say)
        except RunError as error:
            if error.exit_code != RunError.exit_code:
                raise
            failed.append(str(error))
            say(f"FAILED {error}")
    folder = to or artifacts.workspace() / "docs" / study.name
    copy(study, sweeps, folder)
    say(f"study: {short_path(folder / 'README.md')}")
    if failed:
        raise RunError(
            f"{len(failed)} of {len(sweeps)} sweeps have failed members; first: {failed[0]}"
        )
    return folder


# --------------------------------------------------------------------------------------------- copy


def copy(study: StudyList, sweeps: list[Sweep], folder: Path) -> None:
    """Tables and figures of each sweep to ``folder/<sweep>``, and README.md, which shows them.

    Neither vectors nor tables of a megabyte, which a repository could not bear: those are in
    ``reports/`` and data/sweeps.
    """
    folder.mkdir(parents=True, exist_ok=True)
    page = [_HEAD.format(base=study.base, name=study.name)]
    for listed, sweep in zip(study.sweep, sweeps, strict=True):
        place = folder / sweep.name
        shutil.rmtree(place, ignore_errors=True)
        place.mkdir()
        for path in (*sweep.folder.glob("*.csv"), *sweep.folder.glob("*.png")):
            shutil.copyfile(path, place / path.name)
        _write_figures(listed, sweep, place)
        page += _section(sweep, place)
    write_whole(folder / "README.md", "\n".join(page).rstrip() + "\n")


_HEAD = """# The study, as it was run

Written by `make study` over run `{base}`; do not edit it. Demo figures are demo figures, never results about sport.
Every number comes from the CSV files beside it: `members.csv` names runs, seeds, seconds and commits. What a sweep
varies is in `{name}.toml`; a member's whole settings are in `data/runs/<run>/run.json`. Intervals are 95 %, from resampling
source videos within sport; ± is the standard deviation over seeds.
"""


def _section(sweep: Sweep, place: Path) -> Iterator[str]:
    """The sweep's heading, table over seeds, paired differences and figures."""
    yield f"\n## {sweep.title}\n\nMean of {results.metric_shown(sweep)}.\n"
    yield markdown(results.spoken(results.over_seeds(results.recalls(sweep))))
    if len(sweep.labels) == 1:
        differences, title = results.arm_differences(sweep), "Arms against each other"
    else:
        differences, title = results.point_differences(sweep), "Every point minus the first"
    if differences.height:
        yield f"\n{title}, paired over queries, seeds averaged per query first:\n"
        yield markdown(differences)
    for path in sorted(place.rglob("*.png")):
        name = path.stem.replace("_", " ")
        yield f"\n![{name}]({place.name}/{path.relative_to(place).as_posix()})"


def _write_figures(listed: StudySweep, sweep: Sweep, place: Path) -> None:
    """05's figures and tables over several runs, where the list asks for them; none while a member
    has no numbers.
    """
    runs = [member.run for member in results.done(sweep)]
    if len(runs) < len(sweep.members):
        return
    if listed.together:
        several_seeds.write(runs, place, for_docs=True)
    if listed.transfer:
        names = {
            tuple(sorted(settings.get(STAGES[2], {}).get("train_sports", []))): label
            for label, settings in listed.points.items()
        }
        transfer.write(runs, place, for_docs=True, names=names)


def markdown(frame: pl.DataFrame) -> str:
    """The table in Markdown: numbers to three places, what is missing left empty, bars escaped."""

    def cell(value: Any) -> str:
        text = "" if value is None else f"{value:.3f}" if isinstance(value, float) else str(value)
        return text.replace("|", "\\|").replace("\n", " ")

    lines = [frame.columns, ["---"] * frame.width, *frame.rows()]
    return "\n".join("| " + " | ".join(map(cell, line)) + " |" for line in lines)
