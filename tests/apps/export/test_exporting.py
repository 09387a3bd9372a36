"""Exports read back by webdataset and by datasets; the same bytes however often cut off; names that
are safe.
"""

from __future__ import annotations

import io
import json
import tarfile
from dataclasses import replace
from pathlib import Path

import av
import polars as pl
import pytest
from films import write_film
from smoke_runs import make_run

from sportskills_lib import video
from sportskills_lib.apps.export import shard_writer
from sportskills_lib.runs import artifacts
from sportskills_lib.runs.worker_pool import map_shards
from sportskills_lib.viewing import retrieved_queries


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_run(tmp_path_factory.mktemp("export") / "ws")


@pytest.fixture(autouse=True)
def _workspace(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SPORTSKILLS_HOME", str(home))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")


def export(folder: Path, kind: shard_writer.Format, **options) -> shard_writer.Exported:
    return shard_writer.export(
        "t", folder, kind, workers=0, **{"side_px": 96, "clips_a_part": 1} | options
    )


def contents(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


def test_webdataset_reads_the_shards(tmp_path: Path) -> None:
    import webdataset

    done = export(tmp_path / "out", "webdataset", clips_a_part=2)
    clips = artifacts.open_stage("t", "02_pairing").table("clips")
    assert sum(done.clips.values()) == clips.height == 6
    shards = sorted(str(path) for path in (tmp_path / "out").glob("*.tar"))
    samples = list(webdataset.WebDataset(shards, shardshuffle=False, empty_check=False).decode())
    assert sorted(sample["json"]["clip_id"] for sample in samples) == clips["clip_id"].to_list()
    for sample in samples:
        assert sample["txt"] == sample["json"]["text"] and sample["json"]["licence"] == "unknown"
        assert sample["json"]["language"] == "en"
        with av.open(io.BytesIO(sample["mp4"])) as film:
            frames = list(film.decode(video=0))
        assert abs(len(frames) - 10 * (sample["json"]["end_s"] - sample["json"]["start_s"])) <= 1
    with tarfile.open(shards[0]) as tar:
        assert {(member.mtime, member.uid, member.uname) for member in tar} == {(0, 0, "")}
    listed = json.loads((tmp_path / "out/shards.json").read_text())
    assert [shard["name"] for shard in listed["shards"]] == [
        f"{split}-000000.tar" for split in ("train", "val", "test")
    ]
    assert "# Dataset card" in (tmp_path / "out/README.md").read_text()


def test_datasets_loads_the_folder_offline(tmp_path: Path) -> None:
    import datasets

    export(tmp_path / "out", "hf")
    loaded = datasets.load_dataset(str(tmp_path / "out"), cache_dir=str(tmp_path / "cache"))
    clips = artifacts.open_stage("t", "02_pairing").table("clips")
    assert {name: part.num_rows for name, part in loaded.items()} == {
        "train": 2,
        "validation": 2,
        "test": 2,
    }
    rows = [
        row
        for part in loaded.values()
        for row in part.cast_column("video", datasets.Video(decode=False))
    ]
    assert sorted(row["clip_id"] for row in rows) == clips["clip_id"].to_list()
    for row in rows:
        info = video.probe(row["video"]["path"])
        assert info.duration_s == pytest.approx(row["end_s"] - row["start_s"], abs=0.11)
        assert row["text"] and row["sport"] == "tennis"


def test_an_export_that_was_cut_off_goes_on_and_ends_with_the_same_bytes(
    tmp_path: Path, monkeypatch
) -> None:
    assert export(tmp_path / "whole", "webdataset").new_parts == 6
    left = [3]

    def dies(*words, **options):
        for result in map_shards(*words, **options):
            if not left[0]:
                raise KeyboardInterrupt
            left[0] -= 1
            yield result

    with monkeypatch.context() as patch:
        patch.setattr(shard_writer, "map_shards", dies)
        with pytest.raises(KeyboardInterrupt):
            export(tmp_path / "cut", "webdataset")
    assert len(list((tmp_path / "cut").glob("*.tar"))) == 3
    (tmp_path / "cut/.parts/test-000001.partial").write_bytes(b"half")
    assert export(tmp_path / "cut", "webdataset").new_parts == 3
    assert contents(tmp_path / "cut") == contents(tmp_path / "whole")
    assert export(tmp_path / "cut", "webdataset").new_parts == 0
    export(tmp_path / "steps", "webdataset", splits=("val",))
    assert export(tmp_path / "steps", "webdataset").new_parts == 4
    assert contents(tmp_path / "steps") == contents(tmp_path / "whole")


def test_a_clip_lost_to_time_is_cut_by_the_next_call(tmp_path: Path, monkeypatch) -> None:
    def loses_the_first(*words, **options):
        for result in map_shards(*words, **options):
            yield (
                result
                if result.index
                else replace(result, value=None, reason="timeout", detail="late")
            )

    with monkeypatch.context() as patch:
        patch.setattr(shard_writer, "map_shards", loses_the_first)
        assert [row["reason"] for row in export(tmp_path / "out", "webdataset").dropped] == [
            "reader_timeout"
        ]
    again = export(tmp_path / "out", "webdataset")
    assert (again.new_parts, again.dropped) == (1, [])
    export(tmp_path / "whole", "webdataset")
    assert contents(tmp_path / "out") == contents(tmp_path / "whole")


def test_the_page_beside_an_export_says_how_to_load_it(tmp_path: Path) -> None:
    export(tmp_path / "hf", "hf")
    export(tmp_path / "tars", "webdataset")
    page = (tmp_path / "hf/README.md").read_text()
    assert "# Dataset card" in page and "torchcodec" in page and "Video(decode=False)" in page
    assert "webdataset.WebDataset" in (tmp_path / "tars/README.md").read_text()


def test_a_folder_of_something_else_is_refused(tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine/thesis.txt").write_text("precious")
    with pytest.raises(ValueError, match="not empty and no export of ours"):
        export(tmp_path / "mine", "hf")
    assert (tmp_path / "mine/thesis.txt").read_text() == "precious"
    for place, said in (
        ("mine/thesis.txt", "is a file: name a folder"),
        ("mine/thesis.txt/x", "cannot be made"),
    ):
        with pytest.raises(ValueError, match=said):
            export(tmp_path / place, "webdataset")
    export(tmp_path / "out", "webdataset", splits=("val",))
    with pytest.raises(ValueError, match="holds another export"):
        export(tmp_path / "out", "webdataset", side_px=64)
    with pytest.raises(ValueError, match="no split or format 'dev'"):
        export(tmp_path / "new", "webdataset", splits=("dev",))


def test_a_video_that_is_gone_is_listed(home: Path, tmp_path: Path) -> None:
    film = home / "data/raw/mine/lesson1.mp4"
    data = film.read_bytes()
    film.write_bytes(b"no film")
    try:
        done = export(tmp_path / "out", "webdataset", clips_a_part=10)
    finally:
        film.write_bytes(data)
    assert [row["clip_id"].split(":")[0] for row in done.dropped] == ["lesson1", "lesson1"]
    lines = (tmp_path / "out/dropped.jsonl").read_text().splitlines()
    assert {json.loads(line)["reason"] for line in lines} == {"unreadable"} and len(lines) == 2
    assert sum(done.clips.values()) == 4


def test_names_are_safe_and_different() -> None:
    ids = ["-a:1-2", "a.b:1-2", "A:1-2", "a:1-2", "a:1_2"]
    names = shard_writer.file_names(ids)
    assert len({name.lower() for name in names.values()}) == 5
    assert all(
        name.startswith("clip_") and name.replace("_", "").replace("-", "").isalnum()
        for name in names.values()
    )
    assert names["-a:1-2"] == "clip_-a_1-2"
    assert shard_writer.file_names(reversed(ids)) == names
    for bad in ("../x", ".hidden", "a/b", "a\nb", ""):
        with pytest.raises(ValueError, match="not safe as a file name"):
            shard_writer.file_names([bad])


def test_a_cut_film_is_upright_whole_and_the_same_each_time(tmp_path: Path) -> None:
    import numpy as np

    frames = np.zeros((60, 90, 160, 3), np.uint8)
    frames[30:, :, 80:] = 255
    source = write_film(tmp_path / "wide.mp4", frames, fps=25)
    item = shard_writer.Item("x", source, {"clip_id": "x", "start_s": 0.8, "end_s": 2.0}, 120)
    film = shard_writer.cut(item)["film"]
    (tmp_path / "x.mp4").write_bytes(film.tobytes())  # type: ignore[union-attr]
    info = video.probe(tmp_path / "x.mp4")
    assert (info.width_px, info.height_px, len(info.times_s)) == (120, 68, 30)
    seen = video.read_frames(info, [0.1, 0.7], 120)[:, 60]
    assert seen[0].mean() < 20 and seen[1, :40].mean() < 20 and seen[1, 80:].mean() > 230
    assert np.array_equal(film, shard_writer.cut(item)["film"])


def test_videos_of_a_list_are_exported_from_where_they_lie(home: Path, tmp_path: Path) -> None:
    """A run over a CSV of files keeps absolute paths: there is no folder that they could leave."""
    named = tmp_path / "films.csv"
    named.write_text("path,sport,skill\n")
    outside = str(tmp_path / "elsewhere" / "a.mp4")
    paths = pl.DataFrame({"video_id": ["a", "b"], "path": [outside, "../../etc/passwd"]})
    assert retrieved_queries.below(str(named), paths.head(1)) == {"a": Path(outside)}
    assert retrieved_queries.below(str(tmp_path), paths) == {}
