"""``sportskills audit …``: draw a gold sample of a filter, and score the filter with what people
said of it.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from sportskills_lib.formats.files import room_for

if TYPE_CHECKING:
    import polars as pl

    from sportskills_lib.apps.audit.judge_scores import Audit

app = typer.Typer(
    help=(
        "Measure the filters: draw a gold sample, label it (a spreadsheet or a notebook), score it."
    ),
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
        Path, typer.Option(help="The CSV to write; the page with film strips goes beside it.")
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
    """Draw a stratified sample of what a filter decided, as a CSV to label and a page to look
    at.
    """
    from sportskills_lib.apps.audit import gold_sample, questions, sheets
    from sportskills_lib.apps.audit.strips import film_strips
    from sportskills_lib.viewing import labelling_view

    page_at = to.with_suffix(".html")
    if page_at == to:
        raise ValueError(
            f"--to {to} is where the page goes: name the CSV, such as {to.with_suffix('.csv')}"
        )
    for path in (to, page_at):
        if path.exists():
            raise ValueError(f"{path} exists and may hold labels: name another file with --to")
    room_for(to, "--to")
    drawn = gold_sample.draw(run, filter_, n=n, seed=seed)
    shown = film_strips(drawn.frame, run, workers=workers) if strips else {}
    labels = (*drawn.question.labels, questions.UNSURE)
    page = labelling_view.sheet(drawn.question.ask, drawn.frame, shown, labels=labels)
    page_at.write_text(page, encoding="utf-8")
    sheets.write(to, drawn)
    typer.echo(f"{drawn.frame.height} items in {to}; look at {page_at}; label: {', '.join(labels)}")


@app.command(epilog="Example: sportskills audit label gold.csv --port 8868")
def label(
    file: Annotated[Path, typer.Argument(help="A sample of `sportskills audit sample`.")],
    port: Annotated[
        int, typer.Option(min=1, max=65535, help="Port to listen on, on this machine alone.")
    ] = 8868,
) -> None:
    """Serve the pair auditor over a sample: films, what is said, one key a label, saved at once;
    Ctrl-C ends it.
    """
    import secrets

    from sportskills_lib.apps import serve_widget
    from sportskills_lib.apps.audit import sheets
    from sportskills_lib.runs import artifacts

    sheet, token = sheets.read(file), secrets.token_urlsafe(24)
    code = "from pathlib import Path\nfrom sportskills_lib.apps.audit import labels\n"
    code += f"labels.labeller(Path({str(file.resolve())!r})).widget"
    log = artifacts.run_folder(sheet.run) / "logs" / "label.log"

    def say() -> None:
        typer.echo(serve_widget.address("127.0.0.1", port, token))

    serve_widget.serve(
        code, title="Pair auditor", ip="127.0.0.1", port=port, token=token, log=log, say=say
    )


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
    """Precision and recall with 95 % intervals, the ten worst mistakes, and two judges on the same
    items.
    """
    from sportskills_lib.apps.audit import judge_scores, sheets
    from sportskills_lib.apps.audit.strips import film_strips
    from sportskills_lib.viewing import escape, labelling_view

    if to:
        _new_file(to, files)
    read = [sheets.read(path) for path in files]
    audits = [
        judge_scores.score(sheet, judge=f"{path.name}, run {sheet.run}")
        for path, sheet in zip(files, read, strict=True)
    ]
    if against:
        audits += [
            judge_scores.score(
                sheet, verdicts=judge_scores.verdicts_of(sheet, against), judge=f"run {against}"
            )
            for sheet in read
        ]
    body = []
    for number, audit in enumerate(audits):
        _say(audit)
        worst = audit.worst()
        shown = film_strips(worst, read[number % len(read)].run, workers=workers) if to else {}
        mistakes = "".join(
            labelling_view.item(row, shown, verdicts=True) for row in worst.iter_rows(named=True)
        )
        title = escape.text(f"{audit.filter}: {audit.judge}")
        body.append(
            f"<h2>{title}</h2>{labelling_view.scores(audit.scores)}<h3>Most confident "
            f"mistakes</h3>{mistakes}"
        )
    for number, one in enumerate(audits):
        for other in audits[number + 1 :]:
            if one.filter == other.filter and _shared(one, other):
                title = escape.text(f"{one.filter}: {one.judge} less {other.judge}")
                body.append(f"<h2>{title}</h2>{labelling_view.compared(_compared(one, other))}")
    if to:
        to.write_text(labelling_view.page("Audit", "".join(body)), encoding="utf-8")
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
    """Compare a run's clips with spans whose truth is known: what was found, what it was called,
    where it was cut.
    """
    from sportskills_lib.apps.audit import evidence_report as audited

    found = audited.against_truth(run, audited.read_truth(known), videos=videos)
    _table(found.confusion())
    _table(found.scores())
    macro = found.macro_f1()
    typer.echo(
        "macro F1 over what there is of correct, incorrect and none: "
        + (f"{macro:.3f}" if macro else "–")
    )
    typer.echo("Edges of the demonstrations found, in seconds:")
    _table(found.boundaries())


@app.command(
    epilog=(
        "Example: sportskills audit evidence gold.csv --run mine --judge vlm --model "
        "Qwen/Qwen2.5-VL-3B-Instruct"
    )
)
def evidence(
    truth: Annotated[
        Path, typer.Argument(help="A labelled sample, or video_id, start_s, end_s, demonstration.")
    ],
    run: Run = "demo",
    judge: Annotated[
        str | None, typer.Option(help="rules, vlm or chat. Default: the run's.")
    ] = None,
    model: Annotated[
        str | None, typer.Option(help="The model of judge vlm or chat. Default: the run's.")
    ] = None,
    device: Annotated[str | None, typer.Option(help="Where judge vlm runs: cpu or cuda.")] = None,
    lessons: Annotated[
        int, typer.Option(min=0, help="Lessons to draw; 0: all with a known truth.")
    ] = 0,
    to: Annotated[Path | None, typer.Option(help="A CSV with the table.")] = None,
) -> None:
    """Score the demonstration judge on words only, pictures only and both, and again with other
    lessons' words.
    """
    from sportskills_lib.apps.audit import evidence_report as audited

    if to:
        _new_file(to, [truth])
    changes: dict[str, Any] = {
        name: value
        for name, value in {"judge": judge, "device": device}.items()
        if value is not None
    }
    spans = audited.read_truth(truth)
    scores, reliability = audited.by_evidence(run, spans, model=model, lessons=lessons, **changes)
    _table(scores)
    typer.echo("Stated probability against how often it is right, of the windows by both:")
    _table(reliability)
    if to:
        scores.write_csv(to)


def _new_file(to: Path, read: list[Path]) -> None:
    """ValueError where ``--to`` cannot be written, or is one of the files that are read, before any
    work is done.
    """
    if to.is_dir() or any(to.resolve() == path.resolve() for path in read):
        raise ValueError(
            f"--to {to} is {'a folder' if to.is_dir() else 'what is read'}: name a new file"
        )
    room_for(to, "--to")


def _table(frame: pl.DataFrame) -> None:
    """Print a small table: columns aligned, numbers with three decimals."""
    rows = [
        [
            "–" if value is None else f"{value:.3f}" if isinstance(value, float) else str(value)
            for value in row
        ]
        for row in frame.iter_rows()
    ]
    columns = [
        [name, *cells] for name, cells in zip(frame.columns, zip(*rows, strict=True), strict=True)
    ]
    widths = [max(map(len, column)) for column in columns]
    for line in [frame.columns, *rows]:
        typer.echo(
            "  "
            + "  ".join(
                cell.ljust(width) for cell, width in zip(line, widths, strict=True)
            ).rstrip()
        )


def _shared(one: Audit, other: Audit) -> bool:
    return bool(set(one.labelled["item_id"]) & set(other.labelled["item_id"]))


def _say(audit: Audit) -> None:
    typer.echo(
        f"{audit.filter}, {audit.judge}: {audit.labelled.height} labelled, "
        f"{audit.unlabelled} not, "
        f"{audit.unsure} unsure"
    )
    if audit.empty_strata:
        named = "; ".join(audit.empty_strata[:5])
        typer.echo(
            f"  not represented, since none of them is labelled ({len(audit.empty_strata)}): "
            f"{named}"
        )
    for sport, kind, measure, value, low, high, n in audit.scores.iter_rows():
        figure = "–" if value is None else f"{value:.3f} [{low:.3f}, {high:.3f}]"
        typer.echo(f"  {sport:<16} {kind:<14} {measure:<9} {figure}  n {n}")
    for row in audit.worst().iter_rows(named=True):
        text = "".join(letter if letter.isprintable() else " " for letter in row["text"][:90])
        typer.echo(f"  wrong: said {row['verdict']}, is {row['label']}: {text}")


def _compared(one: Audit, other: Audit) -> pl.DataFrame:
    """The paired table of two judges, which is also said."""
    from sportskills_lib.apps.audit import judge_scores

    table = judge_scores.compare(one, other)
    typer.echo(f"{one.judge} less {other.judge}, share right on the same items:")
    for row in table.iter_rows(named=True):
        typer.echo(
            f"  {row['sport']:<16} {row['difference']:+.3f} [{row['low']:+.3f}, "
            f"{row['high']:+.3f}]  n {row['n']}: "
            f"both right {row['both']}, only the first {row['only_one']}, only the second "
            f"{row['only_other']}, "
            f"neither {row['neither']}; McNemar p {row['p_value']:.3g}"
        )
    return table
