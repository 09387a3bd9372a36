"""The study: a list of sweeps in a file, run one after the other, its tables and figures copied to
docs/study.

Resumable, since its sweeps are. A point of the list whose setting no config has is left out,
loudly: it is named before anything runs and on the study's page, so that a list may be written
before the code that it asks for. What is copied names its runs, commit, settings and seeds, so that
every figure can be traced.
"""

from __future__ import annotations

import shutil
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl

from sportskills_lib.apps.sweep import members as members_module
from sportskills_lib.apps.sweep import results
from sportskills_lib.apps.sweep.estimates import member_seconds, members_planned
from sportskills_lib.apps.sweep.grid import Point, Sweep, plan_sweep
from sportskills_lib.config import CONFIGS, current_name
from sportskills_lib.formats.files import write_whole
from sportskills_lib.runs import artifacts, pipeline
from sportskills_lib.runs.artifacts import STAGES
from sportskills_lib.runs.errors import RunError, shown
from sportskills_lib.runs.pipeline import Say, Settings
from sportskills_lib.runs.progress import Progress

STAGE = STAGES[2]
KEYS = {"base", "preset", "jobs", "limit_minutes", "sweep"}
SWEEP_KEYS = {"name", "title", "stage", "seeds", "set", "points", "together", "transfer"}
COPIED = (
    "members.csv",
    "over_seeds.csv",
    "arm_differences.csv",
    "point_differences.csv",
    "sweep.png",
    "shortlist_depth.csv",
    "shortlist_depth.png",
)


@dataclass(frozen=True)
class Entry:
    """One sweep of the list, and which of 05's figures over several runs it ends with."""

    name: str
    title: str
    seeds: list[int]
    fixed: Settings
    points: dict[str, Settings]
    together: bool  # figures by sport over all members, which must differ in the seed alone
    transfer: bool  # which group of sports helps which, over members trained on groups
    stage: str = STAGE  # whose settings vary


@dataclass(frozen=True)
class Study:
    """The list, and what was left out of it with the reason."""

    base: str
    preset: str
    jobs: int
    limit_minutes: float
    entries: list[Entry]
    left_out: list[str]
    name: str = "study"  # the file's, and of the folder in docs

    @property
    def before(self) -> str:
        """The last stage that every member reads from the base."""
        first = max([entry.stage for entry in self.entries], default=STAGE)
        return STAGES[STAGES.index(first) - 1]


# --------------------------------------------------------------------------------------------- read


def read(
    file: Path | None = None,
    *,
    only: list[str] | None = None,
    base: str | None = None,
    preset: str | None = None,
) -> Study:
    """The list of sweeps; ValueError names a key that is unknown, a sweep that ``only`` names in
    vain, or bad TOML.
    """
    path = file or artifacts.workspace() / "notebooks" / "study.toml"
    if not path.is_file():
        raise ValueError(f"there is no list of sweeps {shown(path)}: name one with --file")
    try:
        text = tomllib.loads(path.read_text(encoding="utf-8"))
    except tomllib.TOMLDecodeError as error:
        raise ValueError(f"{shown(path)}: {error}") from None
    _known(text, KEYS, shown(path))
    left_out: list[str] = []
    entries = [entry for words in text.get("sweep", []) if (entry := _entry(words, left_out))]
    if unknown := sorted(set(only or []) - {name for each in entries for name in _names(each)}):
        raise ValueError(
            f"the study has no sweep {', '.join(unknown)}; it has "
            f"{', '.join(e.name for e in entries)}"
        )
    chosen = [entry for entry in entries if not only or set(_names(entry)) & set(only)]
    left_out = [text for text in left_out if any(text.startswith(entry.name) for entry in chosen)]
    facts = (
        base or text.get("base", "demo"),
        preset or text.get("preset", "demo"),
        int(text.get("jobs", 1)),
    )
    return Study(*facts, float(text.get("limit_minutes", 0)), chosen, left_out, path.stem)


def _names(entry: Entry) -> tuple[str, str]:
    """The sweep's name, and the same without the study's: ablations."""
    return entry.name, entry.name.removeprefix("study-")


def _known(words: dict[str, Any], keys: set[str], where: str) -> None:
    if unknown := sorted(set(words) - keys):
        raise ValueError(
            f"{where} has the unknown key {', '.join(unknown)}; known are {', '.join(sorted(keys))}"
        )


def _entry(words: dict[str, Any], left_out: list[str]) -> Entry | None:
    """One sweep, without the points (or all of it) whose settings no config has; those are told in
    ``left_out``.
    """
    _known(words, SWEEP_KEYS, f"sweep {words.get('name', '?')}")
    name = words["name"]
    fixed, missing = _settings(words.get("set", {}))
    left_out += [f"{name}: {text}" for text in missing]
    points = {}
    for label, values in (words.get("points") or {"as the base": {}}).items():
        settings, unknown = _settings(values)
        if unknown:
            left_out.append(f"{name}, {label}: {', '.join(unknown)}")
        else:
            points[label] = settings
    more = (
        bool(words.get("together")),
        bool(words.get("transfer")),
        pipeline.stage_name(str(words.get("stage", "03"))),
    )
    return Entry(name, words.get("title", name), words.get("seeds", [0]), fixed, points, *more)


def _settings(values: dict[str, Any]) -> tuple[Settings, list[str]]:
    """``{"03.loss": "siglip"}`` by stage, and the settings that no config has or takes, with the
    reason.
    """
    settings: Settings = {}
    missing = []
    for name, value in values.items():
        number, _, parameter = name.partition(".")
        stage, parameter = pipeline.stage_name(number), current_name(parameter)
        if parameter not in CONFIGS[stage].model_fields:
            missing.append(f"{stage} has no parameter {parameter}")
        else:
            settings.setdefault(stage, {})[parameter] = value
    return settings, missing


# --------------------------------------------------------------------------------------------- plan


def sweeps(study: Study, fixed: Settings) -> list[tuple[Entry, Sweep]]:
    """Every sweep of the study with its members; the base must have been begun. ``fixed`` goes over
    the list's own.
    """
    found = []
    for entry in study.entries:
        points = [Point(label, settings, {}) for label, settings in entry.points.items()]
        common = pipeline.merged(entry.fixed, fixed)
        options: dict[str, Any] = {
            "base": study.base,
            "seeds": entry.seeds,
            "fixed": common,
            "title": entry.title,
        }
        found.append((entry, plan_sweep(entry.name, entry.stage, points, **options)))
    return found


def planned(study: Study, fixed: Settings) -> list[str]:
    """What would be run and for how long: an estimate; a base that is not there yet is named, not
    made.
    """
    lines = [f"left out: {text}" for text in study.left_out]
    if pipeline.load_settings(study.base) is None:
        names = ", ".join(entry.name for entry in study.entries)
        return [
            *lines,
            (
                f"run {study.base} is not made yet: up to {study.before} first, then {names}; "
                "their time is not known yet"
            ),
        ]
    found = sweeps(study, fixed)
    for _, sweep in found:
        lines += members_planned(sweep)
    return [*lines, estimate(study, [sweep for _, sweep in found])]


def estimate(study: Study, found: list[Sweep]) -> str:
    """One line: members, how many of them stand, and the time of the rest."""
    members = [(sweep, member) for sweep in found for member in sweep.members]
    pending = [
        (sweep, member) for sweep, member in members if not members_module.stands(sweep, member)
    ]
    seconds = [member_seconds(sweep, member) for sweep, member in pending]
    total = sum(value or 0.0 for value in seconds)
    over = " — above its limit" if study.limit_minutes and total > 60 * study.limit_minutes else ""
    about = (
        "its time is not known" if None in seconds else (f"about {Progress.clock(total)} to come")
    )
    limit = f" (limit {study.limit_minutes:.0f} min{over})" if study.limit_minutes else ""
    return (
        f"study: {len(members)} members, {len(members) - len(pending)} stand; {about}, an "
        f"estimate{limit}"
    )


# ---------------------------------------------------------------------------------------------- run


def run(
    study: Study,
    fixed: Settings,
    *,
    jobs: int | None = None,
    to: Path | None = None,
    say: Say = print,
) -> Path:
    """Make the base's earlier stages if they must be, run every sweep, and copy what they found;
    returns the folder.

    A sweep with failed members does not stop the others: RunError in the end, after everything has
    been copied.
    """
    for text in study.left_out:
        say(f"left out: {text}")
    stored = pipeline.load_settings(study.base)
    pipeline.reproduce(study.base, None if stored else study.preset, until=study.before, say=say)
    found = sweeps(study, fixed)
    say(estimate(study, [sweep for _, sweep in found]))
    failed = []
    for _, sweep in found:
        try:
            members_module.run(sweep, jobs=jobs or study.jobs, say=say)
        except RunError as error:
            if error.exit_code != RunError.exit_code:
                raise
            failed.append(str(error))
            say(f"FAILED {error}")
    folder = to or artifacts.workspace() / "docs" / study.name
    copy(study, found, folder)
    say(f"study: {shown(folder / 'README.md')}")
    if failed:
        raise RunError(
            f"{len(failed)} of {len(found)} sweeps have failed members; first: {failed[0]}"
        )
    return folder


# --------------------------------------------------------------------------------------------- copy


def copy(study: Study, found: list[tuple[Entry, Sweep]], folder: Path) -> None:
    """Tables and figures of each sweep to ``folder/<sweep>``, and README.md with what each is and
    where it is from.

    No vectors, no table of a megabyte: what is written is what is committed. Both are in
    ``reports/`` and data/sweeps.
    """
    folder.mkdir(parents=True, exist_ok=True)
    page = [_HEAD.format(base=study.base)]
    if study.left_out:
        page += [
            "Left out, since no config has the setting:\n",
            *(f"- {text}" for text in study.left_out),
            "",
        ]
    for entry, sweep in found:
        place = folder / sweep.name
        shutil.rmtree(place, ignore_errors=True)
        place.mkdir()
        for name in COPIED:
            if (sweep.folder / name).is_file():
                shutil.copyfile(sweep.folder / name, place / name)
        page += [*_section(sweep, place), *_figures(entry, sweep, place)]
    write_whole(folder / "README.md", "\n".join(page).rstrip() + "\n")


_HEAD = """# The study, as it was run

Written by `make study` over run `{base}`; do not edit it. Demo figures are demo figures, never results about sport.
Every number comes from the CSV files beside it; a member's settings are in `data/runs/<run>/run.json` and in the
manifests of its stages. Intervals are 95 %, from resampling source videos within sport; ± is the standard deviation
over seeds.
"""


def _section(sweep: Sweep, place: Path) -> Iterator[str]:
    """The sweep's heading, table over seeds, figure, differences between points and provenance."""
    found = results.open_sweep(sweep.name)
    measured = results.recalls(found)
    mean = f"Macro mean of {found.metric} over sports, {found.direction}, {found.scope}."
    judged = (
        f"Mean of {found.metric} over the test learners, each system ranking the "
        "candidates that coaches judged."
    )
    yield f"\n## {sweep.title}\n\n{judged if found.judged else mean}\n"
    yield markdown(results.spoken(results.over_seeds(measured)))
    if (place / "sweep.png").is_file():
        yield f"\n![{sweep.title}]({sweep.name}/sweep.png)\n"
    if (place / "shortlist_depth.png").is_file():
        yield (
            "\nWhat the relevance model is worth for its seconds, when it alone reorders the "
            "encoder's best:\n"
        )
        yield f"![Quality against seconds over depth]({sweep.name}/shortlist_depth.png)\n"
    if len(found.labels) == 1 and (arms := results.arm_differences(found)).height:
        yield "\nArms against each other, paired over queries, seeds averaged per query first:\n"
        yield markdown(arms.drop("label"))
    points = results.point_differences(found)
    if points.height:
        yield "\nEvery point minus the first, paired over queries:\n"
        yield markdown(points.drop("baseline"))
    yield "\nFrom these runs:\n"
    table = results.member_table(found, measured)
    seconds = [name for name in table.columns if name.startswith("seconds_")]
    yield markdown(table.select("run", "label", "seed", "state", *seconds, "commit"))
    yield f"\nSettings over the preset `{sweep.preset}`, of all members, then of each point:\n"
    whole = {member.label: _words(sweep.stage, member.settings) for member in sweep.members}
    common = set.intersection(*(set(words) for words in whole.values()))
    yield f"- all: `{' '.join(word for word in next(iter(whole.values())) if word in common)}`"
    for label, words in whole.items():
        if own := [word for word in words if word not in common]:
            yield f"- {label}: `{' '.join(own)}`"


def _words(stage: str, settings: Settings) -> list[str]:
    """Settings as --set takes them, without the seed of the swept stage."""
    words = [
        f"{stage[:2]}.{name}={value!r}"
        for stage, each in settings.items()
        for name, value in each.items()
    ]
    return [word for word in words if not word.startswith(f"{stage[:2]}.seed=")]


def _figures(entry: Entry, sweep: Sweep, place: Path) -> Iterator[str]:
    """05's figures and tables over several runs, where the list asks for them; none while a member
    has no numbers.
    """
    done = [member["run"] for member in results.open_sweep(sweep.name).done()]
    if not (entry.together or entry.transfer) or len(done) < len(sweep.members):
        return
    written: list[Path] = []
    if entry.together:
        from sportskills_lib.report import several_seeds as together  # type: ignore[attr-defined]

        written += together.write(done, place, for_docs=True)
    if entry.transfer:
        from sportskills_lib.report import transfer  # type: ignore[attr-defined]

        written += transfer.write(done, place, for_docs=True, names=_group_names(sweep))
    yield f"\nOver these {len(done)} runs together:\n"
    for path in sorted(path for path in written if path.suffix == ".png"):
        yield f"![{path.stem.replace('_', ' ')}]({place.name}/{path.relative_to(place).as_posix()})\n"


def _group_names(sweep: Sweep) -> dict[tuple[str, ...], str]:
    """The label of each group of training sports."""
    groups = {
        member.label: member.settings.get(STAGE, {}).get("train_sports", [])
        for member in sweep.members
    }
    return {tuple(sorted(sports)): label for label, sports in groups.items()}


def markdown(frame: pl.DataFrame) -> str:
    """The table in Markdown: numbers to three places, what is missing left empty, bars escaped."""

    def cell(value: Any) -> str:
        text = "" if value is None else f"{value:.3f}" if isinstance(value, float) else str(value)
        return text.replace("|", "\\|").replace("\n", " ")

    lines = [frame.columns, ["---"] * frame.width, *frame.rows()]
    return "\n".join("| " + " | ".join(map(cell, line)) + " |" for line in lines)
