"""A small finished run of stages 01 and 02 over lessons that tests make for themselves."""

from __future__ import annotations

import os
from pathlib import Path
from unittest import mock

import polars as pl
from films import write_lesson
from toys import make_toy_workspace

from sportskills_lib import tables
from sportskills_lib.config import CurationConfig, PairingConfig
from sportskills_lib.curation.stage import curate
from sportskills_lib.pairing import dataset_card
from sportskills_lib.pairing.stage import pair
from sportskills_lib.runs import artifacts

HELLO = ("Hello and welcome back to my channel.", False)
SHOWN = ("Bend your knees and drop the hips before contact.", True)
FAULT = ("A common mistake is locking the front elbow.", True)
TALKED = ("Keep your chin over the front shoulder.", False)
SOURCE = "data/raw/mine"


def make_run(folder: Path, run: str = "t") -> Path:
    """A workspace with a run of four lessons, one of them a mirrored re-upload; returns the
    workspace.
    """
    home = make_toy_workspace(folder)
    lessons = home / SOURCE
    for i, channel in enumerate(("UCa", "UCb", "UCc")):
        write_lesson(
            lessons, f"lesson{i}", [HELLO, SHOWN, TALKED, FAULT], channel=channel, seed=10 * i
        )
    write_lesson(
        lessons,
        "-copy",
        [HELLO, SHOWN, TALKED, FAULT],
        channel="UCd",
        seed=10,
        upload_date="20250101",
        mirrored=True,
    )
    with mock.patch.dict(os.environ, {"SPORTSKILLS_HOME": str(home)}):
        one = CurationConfig(source=SOURCE, workers=0)
        stage = artifacts.begin(run, "01_curation", one, source=SOURCE)
        curated = curate(lessons, one)
        stage.save("videos", curated.videos, tables.Videos)
        stage.save("narrations", curated.narrations, tables.Narrations)
        stage.finish(dropped=curated.dropped)
        two = PairingConfig(source=SOURCE, workers=0)
        stage = artifacts.begin(run, "02_pairing", two, source=SOURCE, after=("01_curation",))
        paired = pair(curated.videos, curated.narrations, lessons, two, shards=stage.shards)
        lost = pl.concat([curated.dropped, paired.dropped])
        facts = dataset_card.make_card(
            curated.videos,
            curated.narrations,
            paired.clips,
            paired.pairs,
            lost,
            paired.links,
            name=run,
        )
        stage.path("card.md").write_text(dataset_card.to_markdown(facts))
        for name in ("clips", "pairs", "judged", "links"):
            stage.save(name, getattr(paired, name))
        stage.finish(dropped=paired.dropped)
    return home
