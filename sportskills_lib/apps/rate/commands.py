"""``sportskills rate …``: draw what coaches grade, serve the page, export the grades. ``sportskills
inspect``.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

app = typer.Typer(
    help=(
        "Let coaches grade clips for learners' mistakes: draw a study, serve its page, export "
        "the grades."
    ),
    no_args_is_help=True,
)
Ip = Annotated[
    str,
    typer.Option(
        help="Address to listen on. 127.0.0.1: only this machine (a tunnel may lead there)."
    ),
]
Port = Annotated[int, typer.Option(min=1, max=65535, help="Port to listen on.")]
StudyName = Annotated[str, typer.Argument(help="Name of the study.")]
INSPECT_EPILOG = (
    "Example: sportskills inspect demo --port 8867 · sportskills inspect demo "
    "study-seeds.base-0123.s1"
)


@app.command(
    epilog=(
        "Example: sportskills rate draw demo --study coaches --rater ann --rater ben "
        "--rater eve --learners 24"
    )
)
def draw(
    run: Annotated[str, typer.Argument(help="The run whose 04 ranked clips for learners.")],
    rater: Annotated[list[str], typer.Option(help="Name of a rater; give it once for each.")],
    study: Annotated[
        str | None, typer.Option(help="Name of the study. Default: the run's.")
    ] = None,
    learners: Annotated[
        int, typer.Option(min=0, help="Learners to draw, spread over sports; 0: all.")
    ] = 0,
    depth: Annotated[
        int, typer.Option(min=1, help="The first so many clips of every system are pooled.")
    ] = 5,
    system: Annotated[
        list[str] | None, typer.Option(help="Only these systems; may be given often.")
    ] = None,
    rankings: Annotated[
        Literal["library", "pools"],
        typer.Option("--from", help="library (all clips) or pools (clips judged before)."),
    ] = "library",
    split: Annotated[str, typer.Option(help="Learners of this split.")] = "test",
    overlap: Annotated[int, typer.Option(min=1, help="Raters of each learner.")] = 2,
    by_all: Annotated[
        float, typer.Option(min=0, max=1, help="Share of the learners that all raters grade.")
    ] = 0.1,
    seed: Annotated[int, typer.Option(help="Of the draw, the shares and the orders.")] = 0,
    wordless: Annotated[
        bool, typer.Option(help="Do not show what is said over a clip: pictures alone are graded.")
    ] = False,
) -> None:
    """Draw which clips are graded for which learners, by whom, and in which order; nothing tells
    whose clip it is.
    """
    from sportskills_lib.apps.rate import candidate_draw, ratings_export, store

    wanted = store.Study(
        study or run,
        run,
        rankings,
        tuple(system or ()),
        depth,
        split,
        tuple(rater),
        overlap,
        by_all,
        seed,
        words=not wordless,
    )
    drawn = candidate_draw.draw(wanted, learners=learners)
    typer.echo(f"drawn from {', '.join(drawn.study.systems)}:")
    for line in ratings_export.status(drawn):
        typer.echo(line)
    typer.echo(f"next: sportskills rate serve {drawn.study.name}")


@app.command(epilog="Example: sportskills rate serve coaches --port 8866")
def serve(
    study: StudyName,
    port: Port = 8866,
    ip: Ip = "127.0.0.1",
    workers: Annotated[
        int, typer.Option(min=0, help="Processes that make films before the page opens.")
    ] = 2,
) -> None:
    """Serve the page on which raters grade: a link for each, no Python and no code; ends with
    Ctrl-C.
    """
    from sportskills_lib.apps import serve_widget
    from sportskills_lib.apps.rate import page

    store = page.open_study(study)
    serve_widget.check_port(ip, port)
    lost = page.StudyFilms(store.study.run).prepare(store.latest(), workers=workers)
    for line in lost[:10]:
        typer.echo(f"no film of {line}")
    if lost:
        typer.echo(
            f"{len(lost)} films are missing: their pairs say so and may stay without a grade"
        )
    token = serve_widget.token_of(store.path.parent / "token")

    def say() -> None:
        typer.echo("links, one for each rater, who can grade in no other's name with it:")
        for name in store.study.raters:
            typer.echo(
                f"  {name:<20} "
                f"{serve_widget.address(ip, port, token, rater=name, key=page.key_of(store, name))}"
            )

    code = f"from sportskills_lib.apps.rate import page\npage.served({store.study.name!r})"
    log = store.path.parent / "kernels.log"
    serve_widget.serve(code, title="Rating", ip=ip, port=port, token=token, log=log, say=say)


@app.command(epilog="Example: sportskills rate status coaches")
def status(study: StudyName) -> None:
    """Say how far each rater is, and how well raters agree so far."""
    from sportskills_lib.apps.rate import page, ratings_export

    for line in ratings_export.status(page.open_study(study)):
        typer.echo(line)


@app.command(epilog="Example: sportskills rate export coaches")
def export(study: StudyName) -> None:
    """Write ratings.csv (for 04 and 05; of a wordless study: ratings_wordless.csv), qrels.txt
    (for trec_eval) and comments.csv beside the study's file.
    """
    from sportskills_lib.apps.rate import page, ratings_export
    from sportskills_lib.runs.errors import full_disk_named, short_path

    store = page.open_study(study)
    with full_disk_named(store.path.parent):
        made = ratings_export.export(store)
    rows = store.latest()
    typer.echo(f"{sum(row['grade'] is not None for row in rows)} of {len(rows)} grades")
    for path in made.values():
        typer.echo(f"  {short_path(path)}")
    ratings = short_path(next(iter(made.values())))
    typer.echo(
        f"next: sportskills reproduce --run {store.study.run} --set 04.ratings={ratings} --set "
        f"05.ratings={ratings}"
    )


@app.command("import", epilog="Example: sportskills rate import data/raw/coaches/mapping.toml")
def import_ratings(
    mapping: Annotated[
        Path, typer.Argument(help="TOML file: the table, its columns, its grades (docs/rating.md).")
    ],
) -> None:
    """Write the judgements of any table as <mapping>_ratings.csv (for 04 and 05), and its rows that
    are none, with the reason, as <mapping>_dropped.csv.
    """
    from sportskills_lib.apps.rate import ratings_import
    from sportskills_lib.formats import files

    for name, table in zip(("ratings", "dropped"), ratings_import.read(mapping), strict=True):
        path = mapping.with_name(f"{mapping.stem}_{name}.csv")
        files.write_whole(path, table.write_csv())
        typer.echo(f"{table.height} rows {name}: {path}")


def inspect(
    run: Annotated[str, typer.Argument(help="The run to look into.")] = "demo",
    against: Annotated[
        str | None, typer.Argument(help="A second run, its systems beside those of the first.")
    ] = None,
    port: Port = 8867,
    ip: Ip = "127.0.0.1",
) -> None:
    """Serve the retrieval inspector of a run, or of two side by side, as a page: no code; ends with
    Ctrl-C.
    """
    from sportskills_lib.apps import serve_widget
    from sportskills_lib.runs import artifacts

    runs = [run, *([against] if against else [])]
    if len(set(runs)) < len(runs):
        raise ValueError(f"run {run!r} is given twice: name another run to compare with, or none")
    for name in runs:
        artifacts.open_stage(name, "05_evaluation")
    log: Path = artifacts.run_folder(run) / "logs" / "inspect.log"
    code = (
        "from sportskills_lib.viewing import inspection_widgets\n"
        f"inspection_widgets.browse({', '.join(map(repr, runs))})"
    )
    serve_widget.serve(code, title="Inspector", ip=ip, port=port, log=log)
