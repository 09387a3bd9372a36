"""``sportskills compare RUN_A RUN_B``: two finished runs, query by query, as a page with films."""

from __future__ import annotations

from typing import Annotated

import typer

EPILOG = (
    "Example: sportskills compare demo study-seeds.base-0123.s1. The page is "
    "reports/<first>-vs-<second>/index.html; "
    "runs that answered other queries, or over other clips, are refused (exit code 2)."
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
