"""``sportskills advise``: here is how I do it; which clips should I watch?"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Annotated

import typer

NOTHING_FITS = 5  # docs/exit_codes.md
EPILOG = (
    "Examples: sportskills advise my_serve.mp4 --sport tennis · "
    "sportskills advise my_serve.mp4 --sport tennis --skill serve --start 3.5 --end 6 --run "
    "mine --to serve.html · "
    "sportskills advise my_serve.mp4 --sport tennis --json - | jq. "
    "Ends with 5, and a page that says why, where nothing in the library fits."
)

Served = Annotated[
    tuple[str, str] | None,
    typer.Option(
        metavar="URL MODEL",
        help="An OpenAI-compatible server (…/v1) and the name there of 04's model.",
    ),
]


def advise(
    video: Annotated[Path, typer.Argument(help="Your video: one file, of any kind that plays.")],
    sport: Annotated[
        str | None, typer.Option(help="Only clips of this sport. Default: all sports.")
    ] = None,
    skill: Annotated[
        str | None, typer.Option(help="Only clips of this skill of the sport.")
    ] = None,
    run: Annotated[
        str, typer.Option("--run", help="The run whose clips and models are used.")
    ] = "demo",
    start: Annotated[
        float | None,
        typer.Option(
            "--start", help="Second at which the action starts. Default: found by its motion."
        ),
    ] = None,
    end: Annotated[
        float | None, typer.Option("--end", help="Second at which it ends; goes with --start.")
    ] = None,
    top: Annotated[int, typer.Option(min=1, max=50, help="Clips to show.")] = 5,
    shortlist: Annotated[
        int | None,
        typer.Option(
            min=1,
            help=(
                "Nearest clips that the relevance model looks at, the slow part. Default: as "
                "04, or 20."
            ),
        ),
    ] = None,
    encoder: Annotated[
        str | None, typer.Option(help="image, video or native. Default: video where 03 has it.")
    ] = None,
    served: Served = None,
    to: Annotated[Path, typer.Option(help="The page to write.")] = Path("advice.html"),
    json_: Annotated[
        str | None,
        typer.Option(
            "--json", help="Write the list here, too; - prints it, and nothing else, to stdout."
        ),
    ] = None,
) -> None:
    """Show which clips of a run's library help with what you do in a video: a page with films, and
    a list.

    The page opens without a network: your clip beside the suggested ones, each with what its coach
    says, where it is from, and how likely it is to help, where the run's 04 was calibrated.
    """
    _check_targets(video, to, json_)
    from sportskills_lib.apps.advise.advise import AdviceRequest, advise, as_rows
    from sportskills_lib.formats.files import write_whole
    from sportskills_lib.runs.artifacts import write_json
    from sportskills_lib.runs.errors import full_disk_named

    request = AdviceRequest(video, run, sport, skill, start, end, top, shortlist, encoder, served)
    with full_disk_named(to.parent):
        view = advise(request, lambda line: typer.echo(line, err=True))
        page = view.page()
        to.parent.mkdir(parents=True, exist_ok=True)
        write_whole(to, page)
        if json_ not in (None, "-"):
            Path(str(json_)).parent.mkdir(parents=True, exist_ok=True)
            write_json(Path(str(json_)), as_rows(view))
    if json_ == "-":
        sys.stdout.write(json.dumps(as_rows(view), indent=2) + "\n")
    else:
        _show(as_rows(view), to, len(page))
    if view.why:
        typer.echo(f"nothing fits: {view.why}", err=True)
        raise typer.Exit(NOTHING_FITS)


def _check_targets(video: Path, to: Path, json_: str | None) -> None:
    """ValueError where the page or the list would fall on something that is not ours to write."""
    for option, path in (
        ("--to", to),
        ("--json", Path(json_) if json_ not in (None, "-") else None),
    ):
        if path is None:
            continue
        if path.is_dir():
            raise ValueError(f"{option} {path} is a folder: name the file to write")
        folder = next(each for each in path.absolute().parents if each.exists())
        if not folder.is_dir() or not os.access(folder, os.W_OK):
            raise ValueError(
                f"{option} {path} cannot be written: {folder} is no folder of yours, name another"
            )
        if path.exists() and video.exists() and path.samefile(video):
            raise ValueError(f"{option} {path} is the video itself: name another file")
    if json_ not in (None, "-") and Path(str(json_)).absolute() == to.absolute():
        raise ValueError(f"--to and --json both name {to}: the page and the list are two files")


def _show(rows: list[dict[str, object]], to: Path, size: int) -> None:
    from sportskills_lib.plots.style import plain

    for row in rows:
        probability = row["probability"]
        percent = "" if probability is None else f"{100 * float(str(probability)):3.0f} %  "
        span = f"{row['start_s']} to {row['end_s']} s"
        narration = plain(str(row["narration"]), limit=100)
        typer.echo(f"{row['rank']:>2}  {percent}{row['video_id']} {span}  {narration}")
    typer.echo(f"{to} ({size / 1000:.0f} kB)")
