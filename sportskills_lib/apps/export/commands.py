"""``sportskills export``: a run's clips for other people's loaders."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer


def export(
    to: Annotated[
        Path, typer.Option(help="The folder to write; an export that was cut off goes on there.")
    ],
    run: Annotated[str, typer.Option("--run", help="Name of the run.")] = "demo",
    format_: Annotated[
        Literal["webdataset", "hf"],
        typer.Option("--format", help="webdataset (tar shards) or hf (a `datasets` folder)."),
    ] = "webdataset",
    split: Annotated[
        list[str] | None, typer.Option(help="train, val or test; may be repeated. Default: all.")
    ] = None,
    side_px: Annotated[int, typer.Option(min=16, help="Longest side of the films.")] = 320,
    clips_a_part: Annotated[int, typer.Option(min=1, help="Clips in a tar or folder.")] = 256,
    workers: Annotated[int, typer.Option(min=0, help="Processes that cut films.")] = 2,
) -> None:
    """Cut every clip out of its video and write it with its words and facts; the dataset card goes
    with it.
    """
    from sportskills_lib import tables
    from sportskills_lib.apps.export import shard_writer

    done = shard_writer.export(
        run,
        to,
        format_,
        splits=split or tables.SPLITS,
        clips_a_part=clips_a_part,
        side_px=side_px,
        workers=workers,
    )
    counts = ", ".join(f"{name} {count}" for name, count in done.clips.items())
    typer.echo(
        f"{to}: {counts or 'no clips'}; {done.new_parts} parts made now, {len(done.dropped)} clips "
        "dropped"
    )
