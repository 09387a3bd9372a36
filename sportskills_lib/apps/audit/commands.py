"""``sportskills audit …``: draw a gold sample of a filter, and score the filter with people's
labels.
"""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from sportskills_lib.formats.files import room_for_file
from sportskills_lib.plots.style import plain

if TYPE_CHECKING:
    import polars as pl

    from sportskills_lib.apps.audit.judge_scores import JudgeScores

app = typer.Typer(
    help="Measure the filters: draw a gold sample, label it (spreadsheet or notebook), score it.",
    no_args_is_help=True,
)
Run = Annotated[str, typer.Option("--run", help="Name of the run.")]


@app.command(
    epilog=(
        "Example: sportskills audit sample --run mine --filter actionability --n 200 --to gold.csv"
    )
)
def sample(
    filter_: Annotated[
        str,
        typer.Option("--filter", help="actionability, demonstration, duplicates or supervision."),
    ],
    to: Annotated[
        Path, typer.Option(help="The CSV to write; the page with film strips is written beside it.")
    ],
    run: Run = "demo",
    n: Annotated[
        int, typer.Option("--n", min=1, help="Items to draw, spread over verdicts and sports.")
    ] = 100,
    seed: Annotated[int, typer.Option(help="Of the draw.")] = 0,
    workers: Annotated[int, typer.Option(min=0, help="Processes that read video.")] = 2,
    strips: Annotated[
        bool, typer.Option("--strips/--no-strips", help="Whether the page shows film strips.")
    ] = True,
) -> None:
    """Draw a stratified sample of a filter's decisions: a CSV to label, and a page to look at."""
    from sportskills_lib.apps.audit import gold_sample, labels
    from sportskills_lib.viewing import pair_auditor

    page = to.with_suffix(".html")
    if page == to:
        raise ValueError(
            f"--to {to} is the name of the page: name the CSV, such as {to.with_suffix('.csv')}"
        )
    for path in (to, page):
        if path.exists():
            raise ValueError(f"{path} exists and may contain labels: name another file with --to")
    room_for_file(to, "--to")
    drawn = gold_sample.draw(run, filter_, n=n, seed=seed)
    shown = labels.film_strips(drawn.frame, run, workers=workers) if strips else {}
    answers = (*drawn.question.labels, gold_sample.UNSURE)
    items = pair_auditor.sheet(drawn.question.ask, drawn.frame, shown, labels=answers)
    page.write_text(pair_auditor.page("Gold sample", items), encoding="utf-8")
    gold_sample.write(to, drawn)
    typer.echo(f"{drawn.frame.height} items in {to}; look at {page}; label: {', '.join(answers)}")


@app.command(epilog="Example: sportskills audit label gold.csv --port 8868")
def label(
    file: Annotated[Path, typer.Argument(help="A sample of `sportskills audit sample`.")],
    port: Annotated[
        int, typer.Option(min=1, max=65535, help="Port to listen on, on this machine alone.")
    ] = 8868,
) -> None:
    """Serve the pair auditor for a sample: films, sentences, one key per label, saved at once;
    Ctrl-C ends it.
    """
    from sportskills_lib.apps import serve_widget
    from sportskills_lib.apps.audit import gold_sample
    from sportskills_lib.runs import artifacts

    log = artifacts.run_folder(gold_sample.read(file).run) / "logs" / "label.log"
    code = "from pathlib import Path\nfrom sportskills_lib.apps.audit import labels\n"
    code += f"labels.labeller(Path({str(file.resolve())!r})).widget"
    serve_widget.serve(code, title="Pair auditor", ip="127.0.0.1", port=port, log=log)


@app.command(epilog="Example: sportskills audit score gold.csv --against other --to audit.html")
def score(
    files: Annotated[list[Path], typer.Argument(help="Labelled samples.")],
    against: Annotated[
        str | None, typer.Option(help="A run whose judge is scored on the same items too.")
    ] = None,
    to: Annotated[
        Path | None, typer.Option(help="A page with the scores and the worst mistakes.")
    ] = None,
    workers: Annotated[int, typer.Option(min=0, help="Processes that read video.")] = 2,
) -> None:
    """Print precision and recall with 95 % intervals and the ten most confident mistakes, and
    compare two judges on the same items.
    """
    from sportskills_lib.apps.audit import gold_sample, judge_scores, labels
    from sportskills_lib.plots import notebook_tables
    from sportskills_lib.viewing import markup, pair_auditor

    if to:
        room_for_file(to, "--to", others=files)
    scored = []
    for path in files:
        sheet = gold_sample.read(path)
        for warning in sheet.warnings():
            typer.echo(f"{path.name}: {warning}", err=True)
        scored.append((sheet, judge_scores.score(sheet, judge=f"{path.name}, run {sheet.run}")))
        if against:
            verdicts = judge_scores.verdicts_of(sheet, against)
            other = judge_scores.score(sheet, verdicts=verdicts, judge=f"run {against}")
            scored.append((sheet, other))
    body = []
    for sheet, scores in scored:
        _print_scores(scores)
        worst = scores.worst()
        strips = labels.film_strips(worst, sheet.run, workers=workers) if to else {}
        items = [pair_auditor.item(row, strips, verdicts=True) for row in worst.to_dicts()]
        title = markup.text(f"{scores.filter}: {scores.judge}")
        body.append(f"<h2>{title}</h2>{notebook_tables.html(scores.scores)}{judge_scores.READING}")
        body.append(f"<h3>Most confident mistakes</h3>{''.join(items)}")
    for (_, one), (_, other) in itertools.combinations(scored, 2):
        table = judge_scores.compare(one, other)
        if table.height:
            typer.echo(f"{one.judge} minus {other.judge}, share right on the same items:")
            _print_table(table)
            title = markup.text(f"{one.filter}: {one.judge} minus {other.judge}")
            body.append(f"<h2>{title}</h2>{notebook_tables.html(table)}{judge_scores.READING}")
    if to:
        to.write_text(pair_auditor.page("Audit", "".join(body)), encoding="utf-8")
        typer.echo(f"page: {to}")


@app.command(epilog="Example: sportskills audit spans my_spans.csv --run mine")
def spans(
    known: Annotated[
        Path, typer.Argument(help="A labelled sample, or video_id, start_s, end_s, demonstration.")
    ],
    run: Run = "demo",
    videos: Annotated[
        str, typer.Option(help="Only videos whose id matches, such as 'pushUp*'.")
    ] = "*",
) -> None:
    """Compare a run's clips with spans whose truth is known: which were found, how they were
    classified, and how far off their edges are.
    """
    from sportskills_lib.apps.audit import judge_vs_spans

    matches = judge_vs_spans.audit_run(run, judge_vs_spans.read_truth(known), videos=videos)
    _print_table(matches.confusion())
    _print_table(matches.scores())
    f1 = matches.macro_f1()
    typer.echo(
        "macro F1 over the classes that occur (correct, incorrect, none): "
        + ("–" if f1 is None else f"{f1:.3f}")
    )
    typer.echo("Errors of the edges of the demonstrations found, in seconds:")
    _print_table(matches.boundaries())


def _print_table(frame: pl.DataFrame) -> None:
    """Print a small table: columns aligned, numbers with three decimals."""
    import polars as pl

    plain = {
        "tbl_formatting": "NOTHING",
        "tbl_hide_column_data_types": True,
        "tbl_hide_dataframe_shape": True,
        "tbl_rows": -1,
        "tbl_cols": -1,
        "tbl_width_chars": 200,
        "fmt_str_lengths": 90,
        "float_precision": 3,
    }
    with pl.Config(**plain):  # type: ignore[arg-type]
        typer.echo(str(frame))


def _print_scores(scores: JudgeScores) -> None:
    typer.echo(
        f"{scores.filter}, {scores.judge}: {scores.labelled.height} labelled, "
        f"{scores.unlabelled} not labelled, {scores.unsure} unsure"
    )
    if scores.empty_strata:
        names = "; ".join(scores.empty_strata[:5])
        typer.echo(
            f"  {len(scores.empty_strata)} strata without a labelled item are left out: {names}"
        )
    _print_table(scores.scores)
    for row in scores.worst().iter_rows(named=True):
        words = plain(row["text"], limit=90)
        typer.echo(f"  wrong: verdict {row['verdict']}, label {row['label']}: {words}")
