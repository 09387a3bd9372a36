"""``sportskills advise``: here is how I do it; which clips should I watch?"""

from __future__ import annotations

import json
import sys
from functools import partial
from pathlib import Path
from typing import Annotated, Any

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
    from sportskills_lib.apps.advise.advise import advise, as_rows
    from sportskills_lib.formats.files import room_for_file, write_whole
    from sportskills_lib.plots.style import plain
    from sportskills_lib.runs.errors import full_disk_named

    room_for_file(to, "--to", others=[video])
    listed = Path(json_) if json_ not in (None, "-") else None
    if listed:
        room_for_file(listed, "--json", others=[video, to])
    with full_disk_named(to.parent):
        view = advise(
            video, run, partial(typer.echo, err=True), sport=sport, skill=skill, start_s=start,
            end_s=end, top=top, shortlist=shortlist, encoder=encoder, served=served,
        )  # fmt: skip
        page, rows = view.page(), as_rows(view)
        text = json.dumps(rows, indent=2) + "\n"
        write_whole(to, page)
        if listed:
            write_whole(listed, text)
    if json_ == "-":
        sys.stdout.write(text)
    else:
        if view.mistake:
            typer.echo(f"may be wrong: {plain(view.mistake[0])}")
        _show(rows, to, len(page))
    if view.why:
        typer.echo(f"nothing fits: {view.why}", err=True)
        raise typer.Exit(NOTHING_FITS)


def _show(rows: list[dict[str, Any]], to: Path, size: int) -> None:
    from sportskills_lib.plots.style import plain

    for row in rows:
        sure = row["probability"]
        percent = "" if sure is None else f"{100 * sure:3.0f} %  "
        span = f"{row['start_s']} to {row['end_s']} s"
        narration = plain(row["narration"], limit=100)
        typer.echo(f"{row['rank']:>2}  {percent}{row['video_id']} {span}  {narration}")
    typer.echo(f"{to} ({size / 1000:.0f} kB)")
