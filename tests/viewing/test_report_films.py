"""The films of a page: playable where the source is there, a still and the reason where it is not,
safe names.
"""

from __future__ import annotations

import io
import re
from pathlib import Path

import av
import polars as pl
import pytest
import stage_outputs
from films import shot, write_film

from sportskills_lib.runs import artifacts
from sportskills_lib.viewing import report_films


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run whose source videos are one film of 20 s; clips that begin later have no frame in
    it.
    """
    folder = tmp_path_factory.mktemp("filmed")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SPORTSKILLS_HOME", str(folder))
        stage_outputs.write_stages(folder, sports=("golf",))
    (folder / "data/raw/demo/lessons").mkdir()
    write_film(folder / "data/raw/demo/lessons/a.mp4", shot(1, 200, moves=True), fps=10)
    return folder


def test_films_are_made_once_and_named_by_content(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SPORTSKILLS_HOME", str(home))
    clips = artifacts.open_stage(stage_outputs.RUN, "02_pairing").table("clips")
    learner = artifacts.open_stage(stage_outputs.RUN, "04_retrieval").table("learners")[
        "learner_id"
    ][0]
    early = clips.filter(pl.col("end_s") < 18)["clip_id"][0]
    late = clips.filter(pl.col("start_s") > 30)["clip_id"][0]
    (tmp_path / "before.mp4").write_bytes(b"a film of the page before")
    table = report_films.make(
        stage_outputs.RUN, [early, late, learner, early, "nobody:1-2"], tmp_path, workers=0
    )
    rows = {row["item_id"]: row for row in table.iter_rows(named=True)}
    assert set(rows) == {early, late, learner}
    assert dict(table.schema) == report_films.COLUMNS
    assert re.fullmatch(r"[0-9a-f]{20}\.mp4", rows[early]["file"]) and rows[early]["reason"] == ""
    with av.open(io.BytesIO((tmp_path / rows[early]["file"]).read_bytes())) as container:
        (stream,) = container.streams.video
        assert stream.codec_context.name == "h264" and stream.codec_context.pix_fmt == "yuv420p"
    assert rows[late]["file"] == "" and rows[late]["reason"].startswith("unreadable: ")
    assert rows[learner]["file"] == "" and rows[learner]["reason"].startswith("missing: ")
    assert all(row["still"][:4] == b"RIFF" for row in rows.values())
    assert "mind cue" in rows[early]["said"] and " at 10.0 s" in rows[early]["origin"]
    assert [path.name for path in tmp_path.iterdir()] == [rows[early]["file"]]
