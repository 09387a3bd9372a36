"""The runner, on toy notebooks: what is skipped and why, what is resumed, what a failure says, what
a kill leaves.
"""

from __future__ import annotations

import errno
import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import nbformat
import polars as pl
import psutil
import pytest
from filelock import FileLock
from toys import make_toy_workspace, toy_notebook, toy_settings, toy_words

from sportskills_lib import tables
from sportskills_lib.config import CONFIGS, EncoderConfig
from sportskills_lib.runs import artifacts, demo_worlds, errors, notebooks, pipeline, process_guard
from sportskills_lib.runs.artifacts import NOTEBOOKS, STAGES
from sportskills_lib.runs.progress import Progress


def tables_of(home: Path, run: str) -> dict[str, pl.DataFrame]:
    folder = home / "data" / "runs" / run
    return {
        str(path.relative_to(folder)): pl.read_parquet(path)
        for path in sorted(folder.glob("0*/*.parquet"))
    }


def edit(path: Path, cell: int, source: str) -> None:
    notebook = nbformat.read(path, as_version=4)
    notebook.cells[cell]["source"] = source
    nbformat.write(notebook, path)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, list[str]]]:
    """A workspace in which the run `demo` was made undisturbed, and what the runner said."""
    home, lines = make_toy_workspace(tmp_path_factory.mktemp("made") / "ws"), list[str]()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SPORTSKILLS_HOME", str(home))
        pipeline.reproduce("demo", "demo", settings=toy_settings(), say=lines.append)
        yield home, lines


@pytest.fixture
def no_kernel(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Stages that the runner would run, without running any."""
    ran: list[str] = []
    monkeypatch.setattr(pipeline, "run_stage", lambda run, stage, config: ran.append(stage))
    return ran


def again(said: list[str] | None = None, **options: object) -> None:
    pipeline.reproduce("demo", say=(said if said is not None else []).append, **options)  # type: ignore[arg-type]


# --------------------------------------------------------------------------------------------- runs


def test_a_run_ends_with_stages_executed_notebooks_and_report(made: tuple[Path, list[str]]) -> None:
    home, lines = made
    for stage in NOTEBOOKS:
        folder = home / "data/runs/demo" / stage
        manifest = json.loads((folder / "manifest.json").read_text())
        assert manifest["headline"] == {"rows": 40}
        executed = json.loads((folder / "executed.ipynb").read_text())
        assert executed["metadata"]["kernelspec"]["name"] == "sportskills"
        assert (
            f"a line that {stage} printed"
            in (home / "reports/demo/nb" / f"{stage}.html").read_text()
        )
        assert (
            f"a line that {stage} printed"
            in (home / "data/runs/demo/logs" / f"{stage}.log").read_text()
        )
    assert "not run yet" in lines[0] and "left" in lines[0]
    assert lines[-1].startswith("report: reports/demo/index.html")


def test_the_page_of_a_notebook_loads_nothing_from_elsewhere(made: tuple[Path, list[str]]) -> None:
    page = (made[0] / "reports/demo/nb/01_curation.html").read_text()
    assert 'src="http' not in page and "@import url(" not in page


def test_the_page_of_a_notebook_shows_the_settings_that_were_changed_alone(
    tmp_path: Path,
) -> None:
    injected = nbformat.v4.new_code_cell("run = 'mine'\nsteps = 3\nseed = 0")
    injected.metadata["tags"] = ["injected-parameters"]
    nbformat.write(nbformat.v4.new_notebook(cells=[injected]), tmp_path / "n.ipynb")
    notebooks.write_html(tmp_path / "n.ipynb", tmp_path / "n.html", {"run": "<mine>", "steps": 3})
    page = (tmp_path / "n.html").read_text()
    assert "&lt;mine&gt;" in page and "steps" in page and "seed" not in page


def test_source_notebooks_are_not_written(made: tuple[Path, list[str]]) -> None:
    for stage in STAGES:
        notebook = nbformat.read(made[0] / "notebooks" / f"{stage}.ipynb", as_version=4)
        assert all(not cell.outputs and cell.execution_count is None for cell in notebook.cells)


def test_nothing_changed_runs_nothing(made: tuple[Path, list[str]], no_kernel: list[str]) -> None:
    said: list[str] = []
    started = time.monotonic()
    again(said)
    assert no_kernel == [] and time.monotonic() - started < 5
    assert [line.split()[0] for line in said[:7]] == list(NOTEBOOKS) and all(
        "nothing changed" in line for line in said[:7]
    )


def test_what_was_lost_to_a_crash_or_to_time_is_said_also_when_the_stage_is_skipped(
    toy_workspace: Path,
) -> None:
    config, said = CONFIGS["01_curation"](), list[str]()
    rows = [("video", f"v{i}", "reader_timeout", "") for i in range(4)] + [
        ("video", "x", "no_captions", "")
    ]
    artifacts.begin("r", "01_curation", config).finish(dropped=tables.dropped_rows(rows))
    pipeline._stage_or_error("r", "01_curation", config, [], Progress(said.append))
    assert "skipped, nothing changed\n" in said[0]
    assert (
        "01_curation: 4 LOST (v0 reader_timeout, v1 reader_timeout, v2 reader_timeout and 1 more)"
        in said[0]
    )
    assert "--from" in said[0]
    artifacts.begin("r", "01_curation", config).finish(dropped=tables.dropped_rows(rows[4:]))
    assert pipeline.lost_items("r", "01_curation") == ""


def test_an_existing_run_keeps_its_settings(made: tuple[Path, list[str]]) -> None:
    assert pipeline.load_settings("demo") == ("demo", toy_settings())


def test_a_changed_parameter_runs_its_stage_and_is_named(made: tuple[Path, list[str]]) -> None:
    config = pipeline.stage_configs(
        "demo", pipeline.merged(toy_settings(), {"05_evaluation": {"draws": "7"}})
    )
    assert pipeline.reasons("demo", "05_evaluation", config["05_evaluation"]) == ["draws 2000 → 7"]
    assert pipeline.reasons("demo", "04_retrieval", config["04_retrieval"]) == []


def test_changed_inputs_notebooks_and_files_are_named(
    made: tuple[Path, list[str]], no_kernel: list[str]
) -> None:
    home, configs = made[0], pipeline.stage_configs("demo", toy_settings())
    notebook, lesson = home / "notebooks/02_pairing.ipynb", home / "data/raw/mine/a.txt"
    table = home / "data/runs/demo/03_encoder/toy.parquet"
    before = notebook.read_bytes(), lesson.read_bytes(), table.read_bytes()
    try:
        edit(notebook, 5, "stage.finish(seed=1, rows=40)")
        lesson.write_text("another lesson")
        table.write_bytes(b"short")
        found = [pipeline.reasons("demo", stage, configs[stage]) for stage in STAGES[:4]]
    finally:
        for path, content in zip((notebook, lesson, table), before, strict=True):
            path.write_bytes(content)
    assert found[0] == ["input data/raw/mine"]
    assert found[1] == ["code notebooks/02_pairing.ipynb"]
    assert found[2] == ["toy.parquet is missing or altered"]
    assert found[3] == []


def test_from_runs_that_stage_and_the_later_ones(
    made: tuple[Path, list[str]], no_kernel: list[str]
) -> None:
    again(from_stage="04")
    assert no_kernel == ["04_retrieval", "05_evaluation", "06_analysis", "07_inspection"]
    no_kernel.clear()
    again(only="encoder")
    assert no_kernel == ["03_encoder"]


def test_a_missing_report_is_made_again(made: tuple[Path, list[str]], no_kernel: list[str]) -> None:
    page = made[0] / "reports/demo/index.html"
    page.unlink()
    try:
        again()
    finally:
        page.write_text("<p>done</p>")
    assert no_kernel == ["05_evaluation"]


def test_a_kill_after_the_manifest_keeps_stage_and_notebook(
    made: tuple[Path, list[str]], no_kernel: list[str]
) -> None:
    folder = made[0] / "data/runs/demo"
    (folder / "02_pairing/executed.ipynb").rename(folder / "work/02_pairing.ipynb")
    (folder / "02_pairing").rename(folder / ".02_pairing.partial")
    again()
    assert no_kernel == [] and (folder / "02_pairing/executed.ipynb").is_file()


def test_overview_says_complete_changed_and_cut_off(made: tuple[Path, list[str]]) -> None:
    rows = pipeline.overview("demo")
    assert [row.state for row in rows] == ["complete"] * 7 and rows[0].facts == "toy 40"
    partial = made[0] / "data/runs/demo/05_evaluation"
    manifest = partial / "manifest.json"
    text = manifest.read_text()
    manifest.unlink()
    assert pipeline.overview("demo")[4].state == "not run yet"
    manifest.write_text(text)


def test_a_run_of_an_earlier_version_opens_and_is_noted_once(made: tuple[Path, list[str]]) -> None:
    path = made[0] / "data/runs/demo/01_curation/manifest.json"
    before = path.read_text()
    manifest = json.loads(before) | {"format": 1, "code": {"sportskills_lib/artifacts.py": "0"}}
    path.write_text(json.dumps(manifest))
    try:
        rows = pipeline.overview("demo")
        assert artifacts.open_stage("demo", "01_curation").table("toy").height == 40
    finally:
        path.write_text(before)
    assert [row.state for row in rows[:2]] == ["earlier version", "complete"]
    assert "differs" not in rows[0].why
    note = pipeline.earlier_version_note("demo", rows)
    assert "`sportskills reproduce --run demo` runs them again" in note
    assert pipeline.earlier_version_note("demo", rows[1:]) == ""


# ---------------------------------------------------------------------------------------- wrong use


def test_settings_are_parsed_and_wrong_ones_refused(toy_workspace: Path) -> None:
    assert pipeline.parse_settings(["03.seed=1", "4.model=a=b"]) == {
        "03_encoder": {"seed": "1"},
        "04_retrieval": {"model": "a=b"},
    }
    for text in ("03.seed", "seed=1", "03=1"):
        with pytest.raises(ValueError, match=r"is not <stage>\.<parameter>=<value>"):
            pipeline.parse_settings([text])
    with pytest.raises(ValueError, match="unknown stage '09': "):
        pipeline.parse_settings(["09.seed=1"])


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"03_encoder": {"sead": 1}}, r"03_encoder has no parameter sead: did you mean seed\?"),
        (
            {"03_encoder": {"seed": "many"}},
            "03_encoder: seed='many': input should be a valid integer",
        ),
    ],
)
def test_a_wrong_parameter_is_refused_by_name(
    toy_workspace: Path, settings: dict, words: str
) -> None:
    with pytest.raises(ValueError, match=words):
        pipeline.reproduce("demo", "demo", settings=settings)


def test_an_unknown_preset_and_both_options_are_refused(toy_workspace: Path) -> None:
    with pytest.raises(ValueError, match="unknown preset 'tiny': use one of"):
        pipeline.reproduce("demo", "tiny")
    with pytest.raises(ValueError, match="exclude each other"):
        pipeline.reproduce("demo", only="03", from_stage="03")


def test_a_notebook_without_its_tag_is_refused(toy_workspace: Path) -> None:
    notebook = toy_notebook("03_encoder")
    notebook.cells[1].metadata["tags"] = []
    nbformat.write(notebook, toy_workspace / "notebooks/03_encoder.ipynb")
    with pytest.raises(ValueError, match="0 cells tagged `parameters`"):
        pipeline.reproduce("demo", "demo", settings=toy_settings())


def test_earlier_stages_must_be_there(toy_workspace: Path) -> None:
    with pytest.raises(ValueError, match="no complete 01_curation"):
        pipeline.reproduce("new", from_stage="03", settings=toy_settings())


def test_a_second_runner_is_refused(toy_workspace: Path) -> None:
    folder = toy_workspace / "data/runs/demo"
    folder.mkdir(parents=True)
    with (
        FileLock(folder / ".runner.lock"),
        pytest.raises(errors.RunLocked, match="another process is running"),
    ):
        pipeline.reproduce("demo", "demo", settings=toy_settings())


# ----------------------------------------------------------------------------------------- failures


def run_first(home: Path, cell: str) -> None:
    edit(home / "notebooks/01_curation.ipynb", 4, cell)
    pipeline.reproduce("demo", "demo", settings=toy_settings(), only="01", say=lambda line: None)


def test_a_failure_names_notebook_cell_and_log(toy_workspace: Path) -> None:
    with pytest.raises(errors.RunError) as caught:
        run_first(toy_workspace, "# a comment\nraise ValueError('clip v17 ends\\nlate')")
    assert str(caught.value) == (
        "notebooks/01_curation.ipynb, cell 5 (raise ValueError('clip v17 ends\\nlate')): "
        "ValueError: clip v17 ends late; log: data/runs/demo/logs/01_curation.log"
    )
    log = (toy_workspace / "data/runs/demo/logs/01_curation.log").read_text()
    assert "Traceback" in log and "\x1b[" not in log
    assert not artifacts.is_complete("demo", "01_curation")


def test_a_long_traceback_becomes_its_first_line_and_its_cause() -> None:
    frames = "".join(f"  File x, line {number}, in f\n" for number in range(50))
    text = (
        "notebooks/03.ipynb, cell 4 (train()): RuntimeError: a worker "
        f"failed\n{frames}TypeError: no dict\nhelp\n"
    )
    line = errors.one_line(text)
    assert (
        line == "notebooks/03.ipynb, cell 4 (train()): RuntimeError: a worker failed … "
        "TypeError: "
        "no dict"
    )
    assert len(errors.one_line("x" * 1000)) == errors.LONGEST_LINE + 2


def test_a_kernel_that_dies_is_named(toy_workspace: Path) -> None:
    with pytest.raises(
        errors.RunError, match=r"cell 5 \(import os; os\._exit\(9\)\): the kernel died"
    ):
        run_first(toy_workspace, "import os; os._exit(9)")


def test_a_full_disk_in_a_notebook_is_one_line_with_the_folder(toy_workspace: Path) -> None:
    with pytest.raises(
        errors.DiskFull, match=r"data/runs/demo has \d+ MB free .* stages and shards are kept"
    ):
        run_first(toy_workspace, "raise OSError(28, 'No space left on device')")


def test_an_error_while_nothing_is_free_is_a_full_disk(
    toy_workspace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(errors, "NO_ROOM_BYTES", 2**80)
    with pytest.raises(OSError, match="requested and 0 written"), errors.failures_named():
        raise errors.NotebookError(
            "notebooks/02.ipynb", "cell 4", "OSError: 8 requested and 0 written", Path("x.log")
        )


def test_a_full_disk_in_the_runner_is_the_same(
    toy_workspace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(path: Path, value: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device", str(path))

    monkeypatch.setattr(artifacts, "write_json", full)
    with pytest.raises(errors.DiskFull, match="the disk is full"):
        pipeline.reproduce("demo", "demo", settings=toy_settings(), say=lambda line: None)


def test_a_notebook_that_does_not_finish_its_stage_is_an_error(toy_workspace: Path) -> None:
    edit(toy_workspace / "notebooks/01_curation.ipynb", 5, "1 + 1")
    with pytest.raises(errors.RunError, match=r"never called stage\.finish"):
        pipeline.reproduce(
            "demo", "demo", settings=toy_settings(), only="01", say=lambda line: None
        )


# ------------------------------------------------------------------------------------------- kernel


def test_the_kernel_gets_quiet_threads_unless_told(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for name in ("OMP_NUM_THREADS", "OMP_WAIT_POLICY", "TQDM_DISABLE"):
        monkeypatch.delenv(name, raising=False)
    environment = notebooks.kernel_environment(tmp_path)
    assert environment["OMP_WAIT_POLICY"] == "PASSIVE" and environment["TQDM_DISABLE"] == "1"
    assert 1 <= int(environment["OMP_NUM_THREADS"]) <= notebooks.THREADS_CAP
    assert environment["SPORTSKILLS_HOME"] == str(tmp_path)
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    assert notebooks.kernel_environment(tmp_path)["OMP_NUM_THREADS"] == "3"


CHILD = """
import multiprocessing, os, sys, time

def write(path):
    while True:
        with open(path, "a") as file:
            file.write("x")
        time.sleep(0.01)

if __name__ == "__main__":
    context = multiprocessing.get_context(sys.argv[1])
    workers = [context.Process(target=write, args=(f"{sys.argv[2]}/{i}",)) for i in range(2)]
    [worker.start() for worker in workers]
    [worker.join() for worker in workers]
"""
RUNNER = """
import os, subprocess, sys
from pathlib import Path
from sportskills_lib.runs import process_guard as guard
command = [sys.executable, "-m", "sportskills_lib.runs.process_guard", "guarded_child", *sys.argv[1:]]
subprocess.Popen(command, start_new_session=True, env=os.environ | guard.watched_environment(Path(sys.argv[2], "log"))).wait()
"""


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_workers_stop_writing_when_the_runner_is_killed(tmp_path: Path, method: str) -> None:
    (tmp_path / "guarded_child.py").write_text(CHILD)
    root = str(Path(process_guard.__file__).parents[2])
    environment = os.environ | {"PYTHONPATH": os.pathsep.join((str(tmp_path), root))}
    runner = subprocess.Popen(
        [sys.executable, "-c", RUNNER, method, str(tmp_path)], env=environment
    )
    files = [tmp_path / "0", tmp_path / "1"]
    deadline = time.monotonic() + 30
    while not all(path.is_file() for path in files) and time.monotonic() < deadline:
        time.sleep(0.05)
    runner.kill()
    runner.wait()
    time.sleep(0.5)
    sizes = [path.stat().st_size for path in files]
    time.sleep(0.5)
    assert [path.stat().st_size for path in files] == sizes and min(sizes) > 0


# -------------------------------------------------------------------------------------------- kills


def start_runner(home: Path, run: str) -> subprocess.Popen[str]:
    environment = os.environ | {"SPORTSKILLS_HOME": str(home), "TOY_SLEEP_S": "0.1"}
    words = [
        sys.executable,
        "-m",
        "sportskills_lib.cli",
        "reproduce",
        "--run",
        run,
        "--preset",
        "demo",
        *toy_words(),
    ]
    return subprocess.Popen(
        words,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )


def guarded_processes(home: Path) -> list[psutil.Process]:
    found = []
    for process in psutil.process_iter():
        try:
            if process.status() != psutil.STATUS_ZOMBIE and process.environ().get(
                "SPORTSKILLS_HOME"
            ) == str(home):
                found.append(process)
        except psutil.Error:
            continue
    return found


def gone(home: Path, within_s: float = 10.0) -> bool:
    deadline = time.monotonic() + within_s
    while guarded_processes(home) and time.monotonic() < deadline:
        time.sleep(0.05)
    return not guarded_processes(home)


@pytest.mark.slow
def test_kills_at_random_moments_change_no_row(
    made: tuple[Path, list[str]], tmp_path: Path
) -> None:
    home = make_toy_workspace(tmp_path / "ws")
    draw = random.Random(2)
    for kill in range(5):
        runner = start_runner(home, "demo")
        time.sleep(draw.uniform(1.0, 4.0))
        if kill == 0:
            os.killpg(runner.pid, signal.SIGKILL)
        else:
            runner.kill()
        runner.communicate()
        assert gone(home), f"kill {kill}: something outlived its runner: {guarded_processes(home)}"
    last = start_runner(home, "demo")
    said, _ = last.communicate(timeout=120)
    assert last.returncode == 0, said
    expected, found = tables_of(made[0], "demo"), tables_of(home, "demo")
    assert list(found) == list(expected)
    assert all(found[name].equals(expected[name]) for name in expected)
    leftovers = [
        path.name
        for path in (home / "data/runs/demo").iterdir()
        if path.suffix in (".partial", ".old")
    ]
    assert leftovers == []


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_interrupted_runs_end_with_their_code_and_leave_no_process(
    tmp_path: Path, number: int, code: int
) -> None:
    home = make_toy_workspace(tmp_path / "ws")
    edit(home / "notebooks/01_curation.ipynb", 3, "import time; time.sleep(60)")
    runner = start_runner(home, "demo")
    partial = home / "data/runs/demo/.01_curation.partial"
    deadline = time.monotonic() + 30
    while not partial.is_dir() and time.monotonic() < deadline:
        time.sleep(0.05)
    time.sleep(0.3)
    runner.send_signal(number)
    said, _ = runner.communicate(timeout=30)
    assert runner.returncode == code, said
    assert gone(home)


# --------------------------------------------------------------------------------- worlds, progress


def test_the_parts_of_the_demo_world_follow_from_the_configs(toy_workspace: Path) -> None:
    configs = pipeline.stage_configs("demo", {})
    assert [part.name for part in demo_worlds.demo_parts(configs)] == [
        "world",
        "base_clip",
        "base_vlm",
    ]
    only = {stage: configs[stage] for stage in STAGES[:2]}
    assert [part.name for part in demo_worlds.demo_parts(only)] == ["world"]
    chosen = {"03_encoder": EncoderConfig(activity_source="data/raw/demo/activity")}
    assert [part.target.name for part in demo_worlds.demo_parts(chosen)] == [
        "base_clip",
        "activity",
    ]
    assert demo_worlds.demo_parts(pipeline.stage_configs("demo", toy_settings())) == []
    with pytest.raises(ValueError, match="no part 'video'; it has world, base_clip, base_vlm"):
        demo_worlds.DemoPart("video")


def test_a_part_stands_only_with_its_files_and_its_code(
    toy_workspace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    part, made = demo_worlds.DemoPart("world", "smoke"), []

    def make(calls: list[demo_worlds.Call]) -> None:
        made.extend(words for _, words, _ in calls)
        part.target.mkdir(parents=True, exist_ok=True)

    monkeypatch.setattr(demo_worlds, "run_guarded", make)
    said: list[str] = []
    assert part.reasons() == ["not made yet"]
    demo_worlds.make([part], Progress(said.append))
    demo_worlds.make([part], Progress(said.append))
    assert (
        len(made) == 1
        and made[0] == ["world", str(part.folder), "smoke"]
        and "up to date" in said[-1]
    )
    demo_worlds.make([part], Progress(said.append), again=True)
    assert len(made) == 2
    marker = part.marker
    marker.write_text(
        json.dumps(json.loads(marker.read_text()) | {"code sportskills_lib/demo/world.py": "old"})
    )
    assert part.reasons() == ["code sportskills_lib/demo/world.py"]
    part.target.rmdir()
    assert part.reasons() == ["not made yet"]


def test_a_part_that_fails_names_its_last_line_and_log(toy_workspace: Path) -> None:
    log = toy_workspace / "part.log"
    with pytest.raises(
        errors.NotebookError, match=r"json\.tool /nowhere, exit code 2: .*No such file"
    ):
        demo_worlds.run_guarded([("json.tool", ["/nowhere"], log)])
    assert log.is_file()


def test_when_one_part_fails_the_others_end(toy_workspace: Path) -> None:
    calls = [
        ("http.server", ["--bind", "127.0.0.1", "0"], toy_workspace / "long.log"),
        ("json.tool", ["/nowhere"], toy_workspace / "short.log"),
    ]
    started = time.monotonic()
    with pytest.raises(errors.NotebookError, match=r"json\.tool /nowhere, exit code 2"):
        demo_worlds.run_guarded(calls)
    assert time.monotonic() - started < 20 and gone(toy_workspace)


def test_progress_counts_down_and_is_silent_about_the_unknown() -> None:
    said: list[str] = []
    progress = Progress(said.append, terminal=False)
    progress.expect({"a": 100.0, "b": 50.0})
    with progress.step("a", ["x", "y", "z", "w", "v"]) as notes:
        notes.append(" · 3 rows")
    progress.skip("b", "stands")
    assert " ".join(said[0].split()) == "a runs (x, y, z and 2 more); about 2 min 30 s left"
    assert said[1].endswith("· 3 rows; about 50 s left") and said[2].split() == ["b", "stands"]
    progress.expect({"c": None, "d": 5.0})
    with progress.step("c", ["x"]):
        pass
    assert "left" not in said[3]


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.04, "0.0 s"), (9.96, "10.0 s"), (12, "12 s"), (185, "3 min 5 s"), (7440, "2 h 4 min")],
)
def test_clock(seconds: float, text: str) -> None:
    assert Progress.clock(seconds) == text


def test_a_world_behind_a_link_is_not_removed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is made anew is removed first: through a link that would be somebody else's."""
    mine, other = tmp_path / "mine", tmp_path / "other"
    (other / "models" / "base_clip").mkdir(parents=True)
    (mine / "data" / "raw").mkdir(parents=True)
    (mine / "data" / "raw" / "demo").symlink_to(other)
    monkeypatch.setattr(artifacts, "workspace", lambda: mine)
    with pytest.raises(ValueError, match="is a link to"):
        demo_worlds._make_now([demo_worlds.DemoPart("base_clip")])
    assert (other / "models" / "base_clip").is_dir()
