"""``sportskills sweep | study | plan``: many runs over one base, the study, and dry runs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

SWEEP_EPILOG = (
    "Examples: sportskills sweep 03 --grid learning_rates=1e-3,2e-3 loss=info_nce,siglip "
    "--seeds 3 --jobs 2 · "
    "sportskills sweep 03 --base mine --grid 'frozen=[visual.conv,visual.bn],[]' --plan. "
    "Commas separate values, "
    "brackets make a list (quote them). The table is data/sweeps/<name>/members.csv, the page "
    "reports/<name>/index.html"
)
STUDY_EPILOG = "Example: sportskills study --only ablations --plan"
PLAN_EPILOG = (
    "Examples: sportskills plan --preset paper · sportskills plan 03 --run mine --set "
    "03.model=ViT-L-14"
)

Set = Annotated[
    list[str] | None,
    typer.Option("--set", help=("<stage>.<parameter>=<value>; may be given often.")),
]
Jobs = Annotated[int | None, typer.Option(min=1, help="Members at a time; they share the cores.")]


def sweep(
    stage: Annotated[str, typer.Argument(help="The stage whose settings vary: 03, 04 or 05.")],
    more: Annotated[
        list[str] | None, typer.Argument(help="Further values of --grid.", metavar="[GRID]...")
    ] = None,
    grid: Annotated[
        list[str] | None,
        typer.Option("--grid", help="<parameter>=<value>,<value> …; all combinations."),
    ] = None,
    seeds: Annotated[
        int, typer.Option(min=1, help="Seeds 0, 1, … of the stage, for every combination.")
    ] = 1,
    jobs: Jobs = None,
    base: Annotated[
        str, typer.Option(help="The run whose earlier stages every member reads.")
    ] = "demo",
    name: Annotated[
        str | None, typer.Option(help="Name of the sweep; default: sweep-<stage>.")
    ] = None,
    set_: Set = None,
    plan: Annotated[
        bool, typer.Option("--plan", help="Only list the members and estimate the time.")
    ] = False,
) -> None:
    """Run a stage and those after it with every combination of settings, over the earlier stages of
    one run.
    """
    from sportskills_lib.apps.sweep import grid as grids
    from sportskills_lib.apps.sweep import members
    from sportskills_lib.runs import pipeline

    full = pipeline.stage_name(stage)
    planned = grids.plan_sweep(
        name or f"sweep-{full[:2]}",
        full,
        grids.grid_points(full, grids.parse_grid(full, [*(grid or []), *(more or [])])),
        base=base,
        seeds=range(seeds),
        fixed=pipeline.parse_settings(set_ or []),
        title=f"{full} over {base}",
    )
    if plan:
        typer.echo("\n".join([*members.plan_lines(planned), members.estimate([planned])]))
    else:
        members.run(planned, jobs=jobs or 1)


def study(
    file: Annotated[
        Path | None, typer.Option(help="The list of sweeps; default: notebooks/study.toml.")
    ] = None,
    only: Annotated[
        list[str] | None, typer.Option(help="Only these of its sweeps; may be given often.")
    ] = None,
    jobs: Jobs = None,
    base: Annotated[
        str | None,
        typer.Option(help="The run whose 01 and 02 are read; default: the one in the list."),
    ] = None,
    preset: Annotated[
        str | None, typer.Option(help="The preset of a base that does not exist yet.")
    ] = None,
    set_: Set = None,
    to: Annotated[
        Path | None, typer.Option(help="Where tables and figures are copied; default: docs/study.")
    ] = None,
    plan: Annotated[
        bool, typer.Option("--plan", help="Only list the members and estimate the time.")
    ] = False,
) -> None:
    """Run the study's list of sweeps: seeds, controls, ablations. Complete members are skipped."""
    from sportskills_lib.apps.sweep import study_file as studies
    from sportskills_lib.runs import pipeline

    chosen = studies.read(file, only=only, base=base, preset=preset)
    fixed = pipeline.parse_settings(set_ or [])
    if plan:
        typer.echo("\n".join(studies.plan_lines(chosen, fixed)))
    else:
        studies.run(chosen, fixed, jobs=jobs, to=to)


def plan(
    stage: Annotated[str | None, typer.Argument(help="One stage; default: all.")] = None,
    run: Annotated[
        str | None, typer.Option("--run", help="Name of the run; default: the preset's name.")
    ] = None,
    preset: Annotated[
        str | None, typer.Option(help="smoke, demo, local or paper. Default: as last time.")
    ] = None,
    set_: Set = None,
) -> None:
    """Show which stages a run would execute and why, with the seconds measured before, without
    running anything.
    """
    from sportskills_lib.apps.sweep.plans import plan_lines
    from sportskills_lib.runs import pipeline

    settings = pipeline.parse_settings(set_ or [])
    named = run or preset or "demo"
    for line in plan_lines(named, preset, settings, first=stage, last=stage):
        typer.echo(line)
