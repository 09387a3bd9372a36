"""A finished run of 01 to 03 over six generated lessons of two sports, with an untrained toy tower
as its encoder.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from unittest import mock

import numpy as np
import polars as pl
from films import write_lesson
from smoke_runs import FAULT, HELLO, SHOWN, SOURCE, TALKED
from toys import make_toy_workspace

from sportskills_lib import models, tables
from sportskills_lib.config import CurationConfig, EncoderConfig, PairingConfig
from sportskills_lib.curation.stage import curate
from sportskills_lib.pairing.stage import pair, write_frames
from sportskills_lib.runs import artifacts

TINY = {
    "model_cfg": {
        "embed_dim": 16,
        "vision_cfg": {
            "layers": 2,
            "width": 16,
            "head_width": 8,
            "patch_size": 16,
            "image_size": 32,
        },
        "text_cfg": {
            "context_length": 16,
            "vocab_size": 49408,
            "width": 16,
            "heads": 2,
            "layers": 1,
        },
    },
    "preprocess_cfg": {"mean": [0.5, 0.5, 0.5], "std": [0.2, 0.2, 0.2]},
}
HOSTILE = "<script>alert('t')</script>\u202egnp"
URLS = (
    "https://www.youtube.com/watch?v=lesson0&t=3s",
    "javascript:alert(1)",
    "https://example.org/films/2?a=1#top",
)


def make_library(folder: Path) -> Path:
    """A workspace with the run ``t``: lessons 0 to 2 of tennis, 3 to 5 of golf; returns the
    workspace.
    """
    home = make_toy_workspace(folder)
    lessons = home / SOURCE
    for i in range(6):
        sport, skill = ("tennis", "serve") if i < 3 else ("golf", "swing")
        write_lesson(
            lessons,
            f"lesson{i}",
            [HELLO, SHOWN, TALKED, FAULT],
            channel=f"UC{i}",
            seed=10 * i,
            sport=sport,
            skill=skill,
        )
        sidecar = lessons / f"lesson{i}.info.json"
        more = {"title": HOSTILE, "channel": f"Coach & Sons {i}", "webpage_url": URLS[i % 3]}
        sidecar.write_text(json.dumps(json.loads(sidecar.read_text()) | more))
    with mock.patch.dict(os.environ, {"SPORTSKILLS_HOME": str(home)}):
        one, two = CurationConfig(source=SOURCE, workers=0), PairingConfig(source=SOURCE, workers=0)
        stage = artifacts.begin("t", "01_curation", one, source=SOURCE)
        curated = curate(lessons, one)
        stage.save("videos", curated.videos, tables.Videos)
        stage.save("narrations", curated.narrations, tables.Narrations)
        stage.finish(dropped=curated.dropped)
        stage = artifacts.begin("t", "02_pairing", two, source=SOURCE, after=("01_curation",))
        paired = pair(curated.videos, curated.narrations, lessons, two, shards=stage.shards)
        write_frames(stage.path("frames.npy"), paired, two, shards=stage.shards)
        for name in ("clips", "pairs", "judged"):
            stage.save(name, getattr(paired, name))
        stage.finish(dropped=paired.dropped)
        _encode(paired.clips, curated.narrations)
    return home


def _encode(clips: pl.DataFrame, narrations: pl.DataFrame) -> None:
    stage = artifacts.begin(
        "t", "03_encoder", EncoderConfig(model="toy"), after=("01_curation", "02_pairing")
    )
    tower = models.new_tower(TINY, seed=3)
    tower.save(stage.path("models/image/narrations/open_clip_config.json").parent)
    frames = np.load(artifacts.open_stage("t", "02_pairing").path("frames.npy"))
    said = narrations.filter(pl.col("actionable"))
    texts = tower.encode_texts(said["text"].to_list())
    items = [
        *(
            ("clip", *each)
            for each in zip(clips["clip_id"], tower.encode_frames(frames).tolist(), strict=True)
        ),
        *(("narration", *each) for each in zip(said["narration_id"], texts.tolist(), strict=True)),
    ]
    rows = [("image:narrations", *each) for each in items]
    stage.save(
        "embeddings",
        pl.DataFrame(rows, schema=tables.Embeddings.column_names(), orient="row"),
        tables.Embeddings,
    )
    stage.finish(seed=0)
