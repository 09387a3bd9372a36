"""Sweeps with stand-ins for members: bases that are read and not copied, failures, kills, the table
and the page.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import polars as pl
import psutil
import pytest
import sweep_stand_in
from filelock import FileLock
from toys import toy_settings

from sportskills_lib.apps.sweep import members, results
from sportskills_lib.apps.sweep.grid import Member, Sweep, grid_points, parse_grid, plan_sweep
from sportskills_lib.runs import artifacts, pipeline
from sportskills_lib.runs.artifacts import STAGES
from sportskills_lib.runs.errors import RunError, RunLocked

ENCODER = "03_encoder"
HERE = Path(__file__).parent


@pytest.fixture
def base(toy_workspace: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A base run `demo` with 01 and 02, in a workspace where members are stand-ins and no page is
    made.
    """
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(HERE), str(HERE.parents[2])]))
    monkeypatch.setattr(members, "member_command", lambda member: ["sweep_stand_in", member.run])
    monkeypatch.setattr(
        members, "make_page", lambda sweep: pipeline.report_folder(sweep.name) / "index.html"
    )
    monkeypatch.setattr(pipeline, "run_stage", sweep_stand_in.run_stage)
    pipeline.reproduce("demo", "demo", settings=toy_settings(), until="02", say=lambda text: None)
    return "demo"


def sweep_of(base: str, *grid: str, seeds: int = 1, name: str = "s") -> Sweep:
    return plan_sweep(
        name,
        ENCODER,
        grid_points(ENCODER, parse_grid(ENCODER, grid)),
        base=base,
        seeds=range(seeds),
    )


def run(sweep: Sweep, jobs: int = 2) -> list[str]:
    said: list[str] = []
    members.run(sweep, jobs=jobs, say=said.append)
    return said


def stamp(member: Member) -> int:
    return (artifacts.run_folder(member.run) / ENCODER / "manifest.json").stat().st_mtime_ns


# -------------------------------------------------------------------------------------------- bases


def test_until_ends_with_that_stage(base: str) -> None:
    assert [artifacts.is_complete(base, stage) for stage in STAGES] == [
        True,
        True,
        False,
        False,
        False,
    ]
    with pytest.raises(ValueError, match="--until 01 comes before --from 02"):
        pipeline.reproduce(base, from_stage="02", until="01")


def test_a_member_reads_its_bases_stages_where_they_lie(base: str) -> None:
    sweep = sweep_of(base)
    members.prepare(sweep)
    member = sweep.members[0].run
    assert artifacts.open_stage(member, STAGES[1]).folder == artifacts.run_folder(base) / STAGES[1]
    assert not (artifacts.run_folder(member) / STAGES[1]).exists()
    with pytest.raises(ValueError, match=f"run '{member}' has no complete 03_encoder"):
        artifacts.open_stage(member, ENCODER)
    config = pipeline.stage_configs("demo", {})[STAGES[1]]
    with pytest.raises(ValueError, match="reads 02_pairing of its base 'demo': run it there"):
        artifacts.begin(member, STAGES[1], config)
    with pytest.raises(ValueError, match="reads 02_pairing of its base 'demo': run it there"):
        pipeline.reproduce(member, from_stage="02")


def test_hashes_of_a_base_are_checked(base: str) -> None:
    sweep = sweep_of(base)
    members.prepare(sweep)
    path = artifacts.run_folder(base) / STAGES[1] / "manifest.json"
    manifest = json.loads(path.read_text())
    (path.parent / "toy.parquet").write_bytes(b"other")
    manifest["outputs"] = {"toy.parquet": {"bytes": 5, "sha256": "0" * 64}}
    path.write_text(json.dumps(manifest))
    with pytest.raises(ValueError, match="hash differs"):
        artifacts.open_stage(sweep.members[0].run, STAGES[1]).path("toy.parquet")


def test_a_base_that_is_gone_is_named_and_so_is_a_circle(base: str) -> None:
    sweep = sweep_of(base)
    members.prepare(sweep)
    member = sweep.members[0].run
    shutil.rmtree(artifacts.run_folder(base))
    words = (
        "reads 02_pairing of its base: run 'demo' has no complete 02_pairing: run "
        "`sportskills reproduce --run demo`"
    )
    with pytest.raises(ValueError, match=words):
        artifacts.open_stage(member, STAGES[1])
    with pytest.raises(ValueError, match="has no complete 01_curation"):
        pipeline.reproduce(member)
    row = pipeline.overview(member)[0]
    assert row.state == "of demo" and "has no complete 01_curation" in row.why
    with pytest.raises(ValueError, match="has no complete 01_curation"):
        members.prepare(sweep)
    pipeline.save_settings(member, "demo", {}, base={"run": member, "stages": [STAGES[0]]})
    with pytest.raises(ValueError, match="name each other as base"):
        artifacts.holder(member, STAGES[0])


# --------------------------------------------------------------------------------------------- runs


def test_a_sweep_runs_skips_extends_and_survives_a_failure(
    base: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TOY_FAILS", "siglip")
    both = sweep_of(base, "loss=info_nce,siglip")
    words = r"1 of 2 members failed, first s\.siglip.*a toy failure.*log: data/runs/s\.siglip"
    with pytest.raises(RunError, match=words):
        run(both)
    known = members.states("s")
    assert [known[member.run]["state"] for member in both.members] == ["done", "failed"]
    found = results.open_sweep("s")
    table = results.member_table(found, results.recalls(found))
    assert table["state"].to_list() == ["done", "failed"]
    assert table["value_image:narrations"].to_list() == [pytest.approx(0.75), None]
    assert (
        "cell 4" in table["error"][1]
        and table["log"][1] == f"data/runs/{both.members[1].run}/logs/{ENCODER}.log"
    )

    before = stamp(both.members[0])
    monkeypatch.delenv("TOY_FAILS")
    said = run(both)
    assert sum("skipped, nothing changed" in line for line in said) == 1
    assert sum("done in" in line for line in said) == 1
    assert stamp(both.members[0]) == before
    assert {state["state"] for state in members.states("s").values()} == {"done"}
    states = {row.stage: row.state for row in pipeline.overview(both.members[1].run)}
    assert states == dict(
        zip(STAGES, ["of demo", "of demo", "complete", "complete", "complete"], strict=True)
    )

    wider = run(sweep_of(base, "loss=info_nce,siglip", seeds=2))
    assert (
        sum("skipped" in line for line in wider) == 2
        and sum("done in" in line for line in wider) == 2
    )


def test_members_share_the_cores(base: str, monkeypatch: pytest.MonkeyPatch) -> None:
    cores = os.sched_getaffinity(0)
    shares = members.core_shares(2)
    assert sorted({core for share in shares for core in share}) == sorted(cores)
    assert [len(share) for share in members.core_shares(4 * len(cores))] == [1] * 4 * len(cores)
    sweep = sweep_of(base, seeds=1)
    run(sweep, jobs=2)
    table = artifacts.open_stage(sweep.members[0].run, ENCODER).table("threads")
    assert table["cores"].to_list() == [len(shares[0])]
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0,3")
    assert members.gpus() == ["0", "3"]


def test_a_members_time_is_that_of_the_base_until_it_has_its_own(base: str) -> None:
    sweep = sweep_of(base)
    planned = pipeline.PLANNED_S["demo"]
    expected = planned[ENCODER] + planned[STAGES[4]]  # the base has neither stage yet
    assert members.expected_seconds(sweep, sweep.members[0]) == expected
    run(sweep)
    own = members.expected_seconds(sweep, sweep.members[0])
    assert own is not None and own < expected
    assert not members.is_complete(
        sweep_of(base, "loss=siglip"), sweep_of(base, "loss=siglip").members[0]
    )


def test_a_second_sweeper_of_the_same_name_is_refused(base: str) -> None:
    sweep = sweep_of(base)
    sweep.folder.mkdir(parents=True)
    with (
        FileLock(sweep.folder / ".lock"),
        pytest.raises(RunLocked, match="is being run by another process"),
    ):
        members.run(sweep)


SWEEPER = """
import sys
from pathlib import Path
from sportskills_lib.apps.sweep import members
from sportskills_lib.apps.sweep.grid import grid_points, parse_grid, plan_sweep
members.member_command = lambda member: ["sweep_stand_in", member.run]
points = grid_points("03_encoder", parse_grid("03_encoder", ["loss=info_nce,siglip"]))
members.run(plan_sweep("s", "03_encoder", points, base="demo"), jobs=1)
"""


def test_a_killed_sweep_leaves_nothing_running_and_goes_on(base: str, toy_workspace: Path) -> None:
    sweep = sweep_of(base, "loss=info_nce,siglip")
    first, second = (artifacts.run_folder(member.run) for member in sweep.members)
    environment = dict(os.environ) | {"TOY_SLEEP_S": "1"}
    sweeper = subprocess.Popen(
        [sys.executable, "-c", SWEEPER], env=environment, stdout=subprocess.DEVNULL
    )
    deadline = time.monotonic() + 120
    while (
        not (first / STAGES[4] / "manifest.json").is_file()
        or not (second / f".{ENCODER}.partial").is_dir()
    ):
        assert time.monotonic() < deadline and sweeper.poll() is None
        time.sleep(0.02)
    children = psutil.Process(sweeper.pid).children(recursive=True)
    sweeper.send_signal(signal.SIGKILL)
    sweeper.wait()
    gone, alive = psutil.wait_procs(children, timeout=20)
    assert not alive and gone
    before = stamp(sweep.members[0])
    said = run(sweep, jobs=1)
    assert "skipped, nothing changed" in said[1] and "done in" in said[2]
    assert stamp(sweep.members[0]) == before


# ------------------------------------------------------------------------------------------ results


@pytest.fixture
def found(base: str, monkeypatch: pytest.MonkeyPatch) -> Sweep:
    """A sweep whose four members are complete, made in this process."""
    sweep = sweep_of(base, "loss=info_nce,siglip", seeds=2)
    members.prepare(sweep)
    for member in sweep.members:
        pipeline.reproduce(member.run, say=lambda text: None)
    known = {member.run: {"state": "done", "error": "", "log": ""} for member in sweep.members}
    artifacts.write_json(sweep.folder / "states.json", known)
    return results.open_sweep("s")


def test_seeds_are_taken_together_with_their_spread(found: Sweep) -> None:
    over = results.over_seeds(results.recalls(found))
    row = over.filter(
        (pl.col("label") == "loss=info_nce") & (pl.col("training") == "narrations")
    ).row(0, named=True)
    assert row["mean"] == pytest.approx((9 + 8) / 24) and row["n"] == 2 and row["low"] is None
    assert row["sd"] == pytest.approx(
        (1 / 12) / 2**0.5
    )  # of two numbers: their distance over the root of two
    words = results.spoken(over)
    assert words.columns == ["label", "image:zero_shot", "image:activity_skill", "image:narrations"]
    assert words["image:narrations"][0] == "0.708 ± 0.059 (n = 2)"


def test_differences_are_paired_between_arms_and_between_points(found: Sweep) -> None:
    arms = results.arm_differences(found, draws=50)
    row = arms.filter(baseline="activity_skill", training="narrations", encoder="image")
    assert row["kind"].to_list() == ["difference", "ratio"] * 2 and set(row["seeds"]) == {2}
    assert row["value"].to_list() == pytest.approx([0.25, 8.5 / 5.5, 0.25, 9.5 / 6.5])
    points = results.point_differences(found, draws=50)
    gaps = {row["training"]: row["difference"] for row in points.iter_rows(named=True)}
    assert gaps == {
        "zero_shot": pytest.approx(0.0),
        "activity_skill": pytest.approx(1 / 12),
        "narrations": pytest.approx(1 / 12),
    }
    assert set(points["baseline"]) == {"loss=info_nce"} and set(points["seeds"]) == {2}


def test_only_seeds_that_both_points_have_are_compared(found: Sweep) -> None:
    lost = next(m.run for m in found.members if m.label == "loss=siglip" and m.seed == 1)
    shutil.rmtree(artifacts.run_folder(lost) / STAGES[4])
    points = results.point_differences(found, draws=50)
    assert set(points["seeds"]) == {1} and points["difference"].max() == pytest.approx(1 / 12)
    assert results.member_table(found, results.recalls(found)).height == 4


def test_the_figure_shows_every_point_and_tables_are_kept(found: Sweep) -> None:
    measured = results.recalls(found)
    figure = results.points_figure(found, measured)
    assert figure is not None
    axes = figure.axes[0]
    assert [text.get_text() for text in axes.get_yticklabels()] == ["loss=info_nce", "loss=siglip"]
    assert all(
        panel.dataLim.x1 <= panel.get_xlim()[1] for panel in figure.axes
    )  # nothing is drawn outside
    results.keep_figure(found, "sweep", figure)
    results.keep_tables(found, members=results.member_table(found, measured))
    kept = {path.name for path in found.folder.iterdir()}
    assert kept >= {"sweep.png", "sweep.svg", "sweep.pdf", "members.csv", "members.parquet"}
    table = pl.read_parquet(found.folder / "members.parquet")
    assert table["seed"].to_list() == [0, 1, 0, 1]
    assert table["low_image:narrations"][0] < 0.75 < table["high_image:narrations"][0]
    assert results.points_figure(found, measured.clear()) is None


def test_the_sweeps_notebook_makes_the_page(
    found: Sweep, toy_workspace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.undo()
    monkeypatch.setenv("SPORTSKILLS_HOME", str(toy_workspace))
    shutil.copyfile(
        HERE.parents[2] / "notebooks" / "sweep.ipynb", toy_workspace / "notebooks" / "sweep.ipynb"
    )
    page = members.make_page(sweep_of("demo", "loss=info_nce,siglip", seeds=2)).read_text()
    assert "0.708 ± 0.059 (n = 2)" in page and "data:image/png;base64" in page
    assert (found.folder / "members.csv").is_file()
