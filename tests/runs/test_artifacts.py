"""A stage's folder: complete or not there, resumed by key, recovered after a kill, checked on
opening, one writer.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import nbformat
import polars as pl
import pytest
from toys import toy_notebook

from sportskills_lib import tables
from sportskills_lib.config import CurationConfig, PairingConfig
from sportskills_lib.formats import files
from sportskills_lib.plots.style import save_figure
from sportskills_lib.runs import artifacts, stage_changes, writer_lock
from sportskills_lib.runs.artifacts import Stage

RUN, FIRST, SECOND = "r", "01_curation", "02_pairing"


def begin(**options: object) -> Stage:
    config = CurationConfig(**{"min_words": options.pop("min_words", 3)})
    return artifacts.begin(RUN, FIRST, config, source="data/raw/mine", **options)  # type: ignore[arg-type]


def make(value: int = 1) -> Path:
    stage = begin()
    stage.save("toy", pl.DataFrame({"value": [value]}))
    return stage.finish(seed=0, rows=1)


@pytest.fixture(autouse=True)
def unlocked(toy_workspace: Path):
    yield
    writer_lock.unlock_writer(artifacts.run_folder(RUN))


# ------------------------------------------------------------------------------------- completeness


def test_a_stage_is_there_only_when_it_is_finished(toy_workspace: Path) -> None:
    stage = begin()
    stage.save("toy", pl.DataFrame({"value": [1]}))
    assert not artifacts.is_complete(RUN, FIRST) and not stage.final.exists()
    with pytest.raises(
        ValueError, match="no complete 01_curation: run `sportskills reproduce --run r` first"
    ):
        artifacts.open_stage(RUN, FIRST)
    stage.finish(seed=3, rows=1)
    manifest = artifacts.open_stage(RUN, FIRST).manifest
    assert manifest["headline"] == {"rows": 1} and manifest["seed"] == 3
    assert manifest["outputs"]["toy.parquet"]["rows"] == 1
    assert (
        manifest["config"] == CurationConfig().model_dump()
        and manifest["format"] == artifacts.FORMAT
    )
    assert {
        "commit",
        "dirty",
        "packages",
        "device",
        "seconds",
        "peak_memory_mb",
        "key",
        "reads",
    } <= set(manifest)


def test_the_manifest_is_written_last(toy_workspace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    order: list[str] = []
    real_write, real_promote = artifacts.write_json, artifacts._promote
    monkeypatch.setattr(
        artifacts, "write_json", lambda p, v: (order.append(p.name), real_write(p, v))
    )
    monkeypatch.setattr(
        artifacts, "_promote", lambda p, f: (order.append("promote"), real_promote(p, f))
    )
    make()
    assert order[-2:] == ["manifest.json", "promote"]


def test_dropped_rows_are_saved_and_counted_by_reason(toy_workspace: Path) -> None:
    stage = begin()
    rows = [
        ("video", "a", "unreadable", "x"),
        ("video", "b", "unreadable", "y"),
        ("cue", "c", "late", "z"),
    ]
    stage.finish(dropped=tables.dropped_rows(rows))
    reader = artifacts.open_stage(RUN, FIRST)
    assert reader.manifest["dropped"] == {"late": 1, "unreadable": 2}
    assert reader.table("dropped", tables.Dropped).height == 3


def test_figures_and_files_of_one_s_own_are_listed(toy_workspace: Path) -> None:
    class Figure:
        def savefig(self, path: Path, metadata: dict) -> None:
            path.write_text(f"{metadata['Title']} {RUN in str(metadata)}")

    stage = artifacts.begin(
        RUN, FIRST, CurationConfig(source="data/raw/mine"), source="data/raw/mine"
    )
    save_figure(stage, "funnel", Figure())
    stage.path("models/a/weights.bin").write_bytes(b"w")
    stage.finish()
    reader = artifacts.open_stage(RUN, FIRST)
    assert set(reader.manifest["outputs"]) == {
        "figures/funnel.pdf", "figures/funnel.png", "figures/funnel.svg", "models/a/weights.bin",
    }  # fmt: skip
    assert reader.path("figures/funnel.pdf").read_text() == "funnel True"
    assert reader.path("models/a/weights.bin").read_bytes() == b"w"


def test_a_table_that_breaks_its_schema_is_not_saved(toy_workspace: Path) -> None:
    with pytest.raises(Exception, match=r"rule|valid|column"):
        begin().save(
            "pairs", pl.DataFrame({"clip_id": ["../x"], "narration_id": ["n"]}), tables.Pairs
        )
    assert not (artifacts.run_folder(RUN) / f".{FIRST}.partial" / "pairs.parquet").exists()


# ----------------------------------------------------------------------------------------- resuming


def test_the_same_key_finds_its_shards_and_nothing_else(toy_workspace: Path) -> None:
    stage = begin()
    (stage.shards / "0.parquet").write_bytes(b"done")
    stage.path("half.parquet").write_bytes(b"half")
    stage.path("figures/half.png").write_bytes(b"half")
    again = begin()
    assert (again.shards / "0.parquet").read_bytes() == b"done"
    assert sorted(path.name for path in again.folder.iterdir()) == ["key.json", "shards"]
    again.finish()
    assert sorted(path.name for path in again.final.iterdir()) == ["key.json", "manifest.json"]


@pytest.mark.parametrize("change", ["config", "source", "notebook"])
def test_another_key_clears_the_partial_folder(toy_workspace: Path, change: str) -> None:
    (begin().shards / "0.parquet").write_bytes(b"old")
    words = {}
    if change == "config":
        words["min_words"] = 4
    elif change == "source":
        (toy_workspace / "data/raw/mine/b.txt").write_text("a second lesson")
    else:
        notebook = toy_notebook(FIRST)
        notebook.cells[4]["source"] += "\nanother = 1"
        nbformat.write(notebook, toy_workspace / "notebooks" / f"{FIRST}.ipynb")
    assert list(begin(**words).shards.iterdir()) == []


def test_a_folder_killed_before_its_key_was_written_is_cleared(toy_workspace: Path) -> None:
    partial = artifacts.run_folder(RUN) / f".{FIRST}.partial"
    (partial / "shards").mkdir(parents=True)
    (partial / "shards" / "0.parquet").write_bytes(b"whose?")
    assert list(begin().shards.iterdir()) == []


@pytest.mark.parametrize("moment", ["manifest written", "old moved away", "new in place"])
def test_a_kill_between_the_renames_is_recovered(toy_workspace: Path, moment: str) -> None:
    final = make(1)
    partial, old = final.with_name(f".{FIRST}.partial"), final.with_name(f".{FIRST}.old")
    shutil.copytree(final, partial)
    pl.DataFrame({"value": [2]}).write_parquet(partial / "toy.parquet")
    manifest = json.loads((partial / "manifest.json").read_text())
    manifest["outputs"]["toy.parquet"] |= {
        "bytes": (partial / "toy.parquet").stat().st_size,
        "sha256": artifacts.sha256_file(partial / "toy.parquet"),
    }
    (partial / "manifest.json").write_text(json.dumps(manifest))
    if moment != "manifest written":
        final.rename(old)
    if moment == "new in place":
        partial.rename(final)
    artifacts.finish_renaming(RUN, FIRST)
    assert artifacts.open_stage(RUN, FIRST).table("toy")["value"].to_list() == [2]
    assert not partial.exists() and not old.exists()


# --------------------------------------------------------------------------------------------- keys


def test_changes_are_named_and_nothing_else_counts(toy_workspace: Path) -> None:
    make()
    assert stage_changes.changes(RUN, FIRST, CurationConfig()) == []
    assert stage_changes.changes(RUN, FIRST, CurationConfig(min_words=5)) == ["min_words 3 → 5"]
    lesson = toy_workspace / "data/raw/mine/a.txt"
    os.utime(lesson, (0, 0))
    assert stage_changes.changes(RUN, FIRST, CurationConfig()) == []
    lesson.write_text("another")
    assert stage_changes.changes(RUN, FIRST, CurationConfig()) == ["input data/raw/mine"]
    shutil.rmtree(lesson.parent)
    assert "does not exist" in stage_changes.changes(RUN, FIRST, CurationConfig())[0]


def test_settings_of_mere_ease_change_no_key_and_are_kept_in_the_manifest(
    toy_workspace: Path,
) -> None:
    make()
    assert stage_changes.changes(RUN, FIRST, CurationConfig(workers=7)) == []
    assert stage_changes.changes(RUN, FIRST, CurationConfig(workers=7, timeout_s=1)) == [
        "timeout_s 60.0 → 1.0"
    ]
    assert artifacts.open_stage(RUN, FIRST).manifest["config"]["workers"] == 2
    stage = begin()
    (stage.shards / "half.txt").write_text("done so far")
    again = artifacts.begin(RUN, FIRST, CurationConfig(workers=0), source="data/raw/mine")
    assert (again.shards / "half.txt").is_file()


def test_a_stage_that_ran_again_alike_leaves_the_next_one_standing(toy_workspace: Path) -> None:
    make(1)
    artifacts.begin(RUN, SECOND, PairingConfig(), after=(FIRST,)).finish()
    make(1)
    assert stage_changes.changes(RUN, SECOND, PairingConfig()) == []
    make(2)
    assert stage_changes.changes(RUN, SECOND, PairingConfig()) == ["input 01_curation"]


def test_what_may_be_missing_is_noticed_when_it_comes(toy_workspace: Path) -> None:
    begin(optional="data/raw/ratings.csv").finish()
    assert stage_changes.changes(RUN, FIRST, CurationConfig()) == []
    (toy_workspace / "data/raw/ratings.csv").write_text("a,b")
    assert stage_changes.changes(RUN, FIRST, CurationConfig()) == ["input data/raw/ratings.csv"]


def test_an_empty_source_is_no_source(toy_workspace: Path) -> None:
    assert artifacts.input_digests(RUN, source=artifacts.workspace() / "") == {}
    with pytest.raises(
        ValueError, match=r"nowhere does not exist: name an existing folder with --source"
    ):
        artifacts.input_digests(RUN, source="data/raw/nowhere")


def test_code_is_what_the_notebook_reaches(toy_workspace: Path) -> None:
    parts = artifacts.code_parts(FIRST)
    assert {
        "code sportskills_lib/runs/artifacts.py",
        "code sportskills_lib/tables.py",
        "code notebooks/01_curation.ipynb",
    } <= set(parts)
    assert not any("execution" in name or "demo" in name for name in parts)


def test_a_large_folder_is_known_by_sizes_and_times(
    toy_workspace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = toy_workspace / "data/raw/mine"
    by_content = files.fingerprint_folder(folder)
    monkeypatch.setattr(files, "FINGERPRINT_LIMIT_BYTES", 1)
    before = files.fingerprint_folder(folder)
    os.utime(folder / "a.txt", (0, 0))
    assert by_content != before != files.fingerprint_folder(folder)


# ------------------------------------------------------------------------------------------ reading


def test_an_altered_or_missing_file_is_refused_with_the_remedy(toy_workspace: Path) -> None:
    folder = make()
    reader = artifacts.open_stage(RUN, FIRST)
    content = (folder / "toy.parquet").read_bytes()
    (folder / "toy.parquet").write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    with pytest.raises(ValueError, match=r"hash differs\): rerun 01_curation"):
        reader.table("toy")
    assert reader.altered() == []
    (folder / "toy.parquet").unlink()
    assert reader.altered() == ["toy.parquet"]
    with pytest.raises(ValueError, match=r"has no toy\.parquet: rerun 01_curation"):
        reader.path("toy.parquet")


@pytest.mark.parametrize("run", ["../x", ".hidden", "a/b", "", "a b"])
def test_a_run_s_name_is_safe_as_a_folder(toy_workspace: Path, run: str) -> None:
    with pytest.raises(ValueError, match="invalid run name"):
        artifacts.run_folder(run)


# --------------------------------------------------------------------------------------------- lock

WRITER = """
from sportskills_lib.runs import artifacts, stage_changes, writer_lock
from sportskills_lib.config import CurationConfig
artifacts.begin("r", "01_curation", CurationConfig(), source="data/raw/mine")
print("writing", flush=True)
input()
"""


def test_a_second_writer_is_refused_until_the_first_dies(
    toy_workspace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    writer = subprocess.Popen(
        [sys.executable, "-c", WRITER], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert writer.stdout is not None and writer.stdout.readline() == "writing\n"
    monkeypatch.setenv("SPORTSKILLS_LOCK_TIMEOUT_S", "0.1")
    with pytest.raises(ValueError, match="another process is writing run 'r'"):
        begin()
    writer.kill()
    writer.communicate()
    begin().finish()


def test_a_cell_that_begins_twice_keeps_its_lock(
    toy_workspace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SPORTSKILLS_LOCK_TIMEOUT_S", "0.1")
    begin()
    begin().finish()
    begin()


def test_json_is_replaced_whole(toy_workspace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = toy_workspace / "value.json"
    artifacts.write_json(path, {"a": 1})

    class Unwritable:
        def __str__(self) -> str:
            raise OSError("the disk is full")

    with pytest.raises(OSError, match="full"):
        artifacts.write_json(path, {"a": Unwritable()})
    assert json.loads(path.read_text()) == {"a": 1}
