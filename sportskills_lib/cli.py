"""``sportskills …``: a thin command line over runs/pipeline.py, with one exit code a kind of
failure.
"""

from __future__ import annotations

import io
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import click
import typer
import typer.core

from sportskills_lib import __version__
from sportskills_lib.apps.advise import commands as advise_commands
from sportskills_lib.apps.audit import commands as audit_commands
from sportskills_lib.apps.export import commands as export_commands
from sportskills_lib.apps.rate import commands as rate_commands
from sportskills_lib.apps.sweep import commands as sweep_commands
from sportskills_lib.curation.fetch import commands as fetch_commands

EPILOG = (
    "Exit codes: 0 done · 1 a stage failed · 2 invalid arguments (an unknown parameter, a "
    "missing folder) · 3 another process is running this run · 4 the disk is full · 5 no clip "
    "of the library fits (advise) · 130 interrupted · 143 terminated."
)
INTERRUPTED = 130
SECTIONS = {  # of `sportskills --help`; a test compares them with the commands
    "Run": ("reproduce", "status", "report", "plan", "demo", "doctor"),
    "Compare": ("compare", "sweep", "study"),
    "Look and measure": ("inspect", "audit", "rate"),
    "Data": ("fetch", "taxonomy", "probe", "export"),
    "Use": ("advise",),
}


class _SectionedGroup(typer.core.TyperGroup):
    """Lists the commands by what they are for, not by when they were added."""

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        for title, names in SECTIONS.items():
            with formatter.section(title):
                formatter.write_dl(
                    [(name, self.commands[name].get_short_help_str(300)) for name in names]
                )


app = typer.Typer(
    cls=_SectionedGroup,
    help="Learn physical skills from instructional video: seven notebooks, one command.\n\n"
    "Start with `sportskills reproduce`: it generates a demo world, runs the notebooks on it and "
    "writes a report.",
    epilog=EPILOG,
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)

app.add_typer(audit_commands.app, name="audit")
app.add_typer(fetch_commands.taxonomy_app, name="taxonomy")
app.add_typer(rate_commands.app, name="rate")
EXPORT = "Example: sportskills export --run mine --to shards --format webdataset --split train"
FETCH = "Example: sportskills fetch --sport judo --search --to data/raw/judo"
COMMANDS: dict[Callable[..., None], str] = {  # with the end of their help
    export_commands.export: EXPORT,
    advise_commands.advise: advise_commands.EPILOG,
    sweep_commands.sweep: sweep_commands.SWEEP_EPILOG,
    sweep_commands.study: sweep_commands.STUDY_EPILOG,
    sweep_commands.plan: sweep_commands.PLAN_EPILOG,
    rate_commands.inspect: rate_commands.INSPECT_EPILOG,
    fetch_commands.fetch: FETCH,
}
for command, epilog in COMMANDS.items():
    app.command(epilog=epilog)(command)

# files that stand for a folder
LISTS = {
    "--source": (".csv", ".tsv", ".parquet"),
    "--learners": (".csv", ".parquet", ".jsonl", ".json"),
}
Run = Annotated[
    str, typer.Option("--run", help="Name of the run: a folder below data/runs and reports.")
]


def _version(value: bool) -> None:
    if value:
        typer.echo(f"sportskills {__version__}")
        raise typer.Exit


@app.callback()
def _common(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version.")
    ] = False,
) -> None:
    pass


@app.command(epilog="Example: sportskills demo --part world --again")
def demo(
    part: Annotated[
        str,
        typer.Option(
            help="world, base_clip, base_vlm, base_xclip, activity, or all of the first three."
        ),
    ] = "all",
    activity: Annotated[
        bool, typer.Option("--activity", help="The activity data set, too.")
    ] = False,
    smoke: Annotated[
        bool, typer.Option("--smoke", help="The small world of the smoke preset.")
    ] = False,
    again: Annotated[bool, typer.Option("--again", help="Make it even when it stands.")] = False,
) -> None:
    """Make the demo world in data/raw/demo: lessons, learners, coaches' grades, stand-ins for
    public checkpoints.
    """
    from sportskills_lib.runs import demo_worlds
    from sportskills_lib.runs.errors import failures_named, full_disk_named
    from sportskills_lib.runs.progress import Progress

    names = [
        *(demo_worlds.DEFAULT if part == "all" else [part]),
        *(["activity"] if activity else []),
    ]
    parts = [demo_worlds.DemoPart(name, "smoke" if smoke else "demo") for name in names]
    progress = Progress(print)
    progress.expect(demo_worlds.planned([each for each in parts if again or each.reasons()]))
    with full_disk_named(parts[0].folder), failures_named():
        demo_worlds.make(parts, progress, again=again)


@app.command(
    epilog="Examples: sportskills reproduce --preset smoke --run try · "
    "sportskills reproduce --preset local --source ~/lessons --run mine · "
    "sportskills reproduce --run mine --from 03 --set 03.learning_rates=1e-3 --seed 1. " + EPILOG
)
def reproduce(
    run: Run = "demo",
    preset: Annotated[
        str | None,
        typer.Option(
            help=(
                "smoke (seconds), demo (minutes), local (your folder), paper (GPU). Default: "
                "as last time."
            )
        ),
    ] = None,
    source: Annotated[
        Path | None,
        typer.Option(help="Lessons: a folder in yt-dlp's layout, or a CSV or Parquet list."),
    ] = None,
    learners: Annotated[
        Path | None, typer.Option(help="Folder or file of learners for 04 (docs/learners.md).")
    ] = None,
    from_stage: Annotated[
        str | None, typer.Option("--from", help="Run this stage and those after it again.")
    ] = None,
    only: Annotated[str | None, typer.Option(help="Run this one stage again.")] = None,
    set_: Annotated[
        list[str] | None,
        typer.Option("--set", help="<stage>.<parameter>=<value>; may be given often."),
    ] = None,
    seed: Annotated[int | None, typer.Option(help="The seed of every stage that draws.")] = None,
    until: Annotated[str | None, typer.Option(help="End with this stage.")] = None,
    plan: Annotated[
        bool, typer.Option("--plan", help="Only say what would be done, and for how long.")
    ] = False,
) -> None:
    """Run the notebooks; finished stages are skipped, interrupted ones are resumed."""
    from sportskills_lib.apps.sweep.plans import plan_lines
    from sportskills_lib.runs import pipeline

    settings = pipeline.merged(
        pipeline.everywhere("source", _existing(source, "--source")) if source else {},
        pipeline.everywhere("learners", _existing(learners, "--learners")) if learners else {},
        pipeline.everywhere("seed", seed) if seed is not None else {},
        pipeline.parse_settings(set_ or []),
    )
    if plan:
        first, last = only or from_stage, only or until
        for line in plan_lines(run, preset, settings, first=first, last=last):
            typer.echo(line)
    else:
        pipeline.reproduce(
            run, preset, settings=settings, from_stage=from_stage, only=only, until=until
        )


@app.command(epilog="Example: sportskills status --run mine")
def status(run: Run = "demo") -> None:
    """Show each stage of a run: complete, changed, interrupted or not run yet; when; its rows;
    what differs.
    """
    from sportskills_lib.runs.pipeline import earlier_version_note, overview

    rows = overview(run)
    width = max(len(row.state) for row in rows)
    for row in rows:
        head = f"{row.state:<{width}}  {row.finished:<16} {row.took:>9}  {row.facts}"
        _print_lines(row.stage, head.rstrip(), row.why)
    if note := earlier_version_note(run, rows):
        typer.echo(note)


@app.command(epilog="Example: sportskills report --run mine --rebuild --open")
def report(
    run: Run = "demo",
    rebuild: Annotated[
        bool, typer.Option("--rebuild", help="Run 05_evaluation again first.")
    ] = False,
    open_: Annotated[bool, typer.Option("--open", help="Show it in a browser.")] = False,
) -> None:
    """Print where the run's report is."""
    from sportskills_lib.runs import pipeline
    from sportskills_lib.runs.errors import short_path

    if rebuild:
        pipeline.reproduce(run, only="05")
    page = pipeline.report_folder(run) / "index.html"
    if not page.is_file():
        raise ValueError(
            f"run {run!r} has no report: run `sportskills reproduce --run {run}` first"
        )
    typer.echo(short_path(page))
    if open_:
        typer.launch(str(page))


@app.command(
    epilog="Example: sportskills compare demo study-seeds.base-0123.s1. The page is "
    "reports/<first>-vs-<second>/index.html; runs that answered other queries, or over other "
    "clips, are refused (exit code 2)."
)
def compare(
    first: Annotated[str, typer.Argument(metavar="RUN_A", help="The baseline.")],
    second: Annotated[
        str, typer.Argument(metavar="RUN_B", help="The run whose differences from it are shown.")
    ],
    draws: Annotated[int, typer.Option(min=10, help="Bootstrap draws over source videos.")] = 2000,
    seed: Annotated[int, typer.Option(help="Of the draws.")] = 0,
) -> None:
    """Compare two runs: paired differences by sport, which queries moved, retrievals of both side
    by side.
    """
    from sportskills_lib.report import two_run_report, two_runs
    from sportskills_lib.runs.errors import short_path
    from sportskills_lib.viewing import report_films

    pair = two_runs.open_pair(first, second)
    found = two_run_report.measure(pair, draws=draws, seed=seed)
    cases = two_run_report.pick(pair, found["moved"])
    place = two_run_report.folder(pair.runs)
    filmed = report_films.make(second, two_run_report.items(cases), place / "previews")
    page = two_run_report.write(pair, found, cases, filmed)
    for sentence in two_run_report.summary_sentences(pair, found):
        typer.echo(sentence)
    typer.echo(short_path(page))


@app.command(epilog="Example: sportskills doctor")
def doctor() -> None:
    """Show system information: packages, threads, memory, disk, GPU, decoders."""
    from sportskills_lib.runs.doctor import examine

    facts = examine()
    for fact in facts:
        if fact.remedy:
            _print_lines(f"! {fact.name}", fact.value, f"→ {fact.remedy}")
        else:
            _print_lines(f"  {fact.name}", fact.value)
    if any(fact.remedy for fact in facts):
        raise typer.Exit(1)


@app.command(epilog="Example: sportskills probe ~/lessons/*.mp4")
def probe(
    files: Annotated[list[Path], typer.Argument(help="Video files, of any kind and in any state.")],
    timeout_s: Annotated[float, typer.Option(help="A file that takes longer is given up.")] = 60.0,
) -> None:
    """Show for each file which reader is used and why, and its rate, frames, rotation and size."""
    from sportskills_lib.video.table import examine_files

    for row in examine_files(files, timeout_s=timeout_s).iter_rows(named=True):
        if row["reader"] is None:
            typer.echo(f"{row['file']:<44} none    {row['why']}")
            continue
        typer.echo(
            f"{row['file']:<44} {row['reader']:<7} {row['codec']:<11} {row['fps']:8.3f} fps "
            f"{row['frames']:>6} frames "
            f"({row['key_frames']} key) {row['width_px']}x{row['height_px']} turned "
            f"{row['rotation_deg']} from "
            f"{row['start_s']} s for {row['duration_s']} s; {row['why']}"
        )


def _print_lines(name: str, *lines: str) -> None:
    """A name and the lines beside it, less empty ones; none can command the terminal."""
    from sportskills_lib.formats.files import escape_unprintable

    for place, line in enumerate(filter(None, lines)):
        typer.echo(f"{'' if place else name:<18} {escape_unprintable(line)}")


def _existing(path: Path, option: str) -> str:
    """The folder (or list) as the notebooks name it: relative to the workspace where it lies in it,
    absolute otherwise.
    """
    from sportskills_lib.runs.artifacts import workspace

    folder, home = path.expanduser().resolve(), workspace().resolve()
    is_list = folder.is_file() and folder.suffix.lower() in LISTS[option]
    if not (is_list or folder.is_dir()):
        raise ValueError(f"{option} {path} is no folder: name an existing one")
    if not (is_list or any(folder.iterdir())):
        raise ValueError(f"{option} {path} is empty: nothing can be read from it")
    return folder.relative_to(home).as_posix() if folder.is_relative_to(home) else str(folder)


def main() -> None:
    """The console script: every failure that we know ends with one line on stderr and its exit
    code.
    """
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))
    if isinstance(sys.stdout, io.TextIOWrapper):
        # a line that says what is left is worth nothing when it comes late
        sys.stdout.reconfigure(line_buffering=True)
    try:
        code = app(standalone_mode=False) or 0
        if code == INTERRUPTED:
            raise KeyboardInterrupt
        raise SystemExit(code)
    except click.ClickException as error:
        error.show()
        raise SystemExit(error.exit_code) from None
    except (KeyboardInterrupt, click.Abort):
        _end("interrupted: the same command goes on where this one stopped", INTERRUPTED)
    except ValueError as error:
        _end(str(error), 2)
    except Exception as error:
        code = getattr(error, "exit_code", None)
        if code is None:
            raise
        _end(f"FAILED {error}" if code == 1 else str(error), code)


def _end(text: str, code: int) -> None:
    sys.stdout.flush()
    typer.echo(text, err=True)
    raise SystemExit(code)


if __name__ == "__main__":
    main()
