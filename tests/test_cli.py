"""The command line: what each way of going wrong prints, and with which exit code."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from pathlib import Path

import nbformat
import pytest
import typer.main
from filelock import FileLock
from toys import toy_notebook, toy_words

from sportskills_lib import cli
from sportskills_lib.runs import artifacts, demo_worlds, doctor, errors, pipeline
from sportskills_lib.runs.artifacts import NOTEBOOKS
from sportskills_lib.runs.progress import Progress

ROOT = Path(cli.__file__).resolve().parents[1]


class Ended:
    """How a call of the command line ended."""

    def __init__(self, code: int, out: str, err: str):
        self.code, self.out, self.err = code, out, err


@pytest.fixture
def call(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    """Call the command line in this process, as the console script does."""

    def run(*words: str) -> Ended:
        monkeypatch.setattr(sys, "argv", ["sportskills", *words])
        with pytest.raises(SystemExit) as end:
            cli.main()
        captured = capsys.readouterr()
        return Ended(int(end.value.code or 0), captured.out, captured.err)

    return run


@pytest.fixture
def ran(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Stages that would be run, each standing in for its notebook with an empty complete folder."""
    stages: list[str] = []

    def stand_in(run: str, stage: str, config: object) -> None:
        stages.append(stage)
        number = NOTEBOOKS.index(stage)
        source = "data/raw/mine" if number == 0 else None
        artifacts.begin(run, stage, config, source=source, after=NOTEBOOKS[:number][-1:]).finish(
            rows=number
        )  # type: ignore[arg-type]

    monkeypatch.setattr(pipeline, "run_stage", stand_in)
    return stages


# --------------------------------------------------------------------------------------------- help


@pytest.mark.parametrize(
    "command",
    [
        [],
        ["demo"],
        ["reproduce"],
        ["status"],
        ["report"],
        ["compare"],
        ["doctor"],
        ["advise"],
        ["export"],
        ["audit", "sample"],
        ["audit", "score"],
        ["sweep"],
        ["study"],
        ["plan"],
    ],
)
def test_help_teaches_with_an_example(call, command: list[str]) -> None:
    ended = call(*command, "--help")
    assert ended.code == 0 and ("Example" in ended.out or not command)
    assert "sportskills" in ended.out


def test_help_lists_every_command_in_one_section() -> None:
    names = [name for section in cli.SECTIONS.values() for name in section]
    assert sorted(names) == sorted(typer.main.get_command(cli.app).commands)  # type: ignore[attr-defined]


def test_help_lists_commands_and_exit_codes(call) -> None:
    text = " ".join(call("--help").out.split())
    for word in (
        "demo",
        "reproduce",
        "status",
        "report",
        "doctor",
        "Exit codes: 0 done",
        "4 the disk is full",
    ):
        assert word in text


def test_version_and_no_words(call) -> None:
    assert call("--version").out.startswith("sportskills 0.")
    assert call().code == 2


def test_documented_exit_codes_are_those_of_the_code() -> None:
    page = (ROOT / "docs/exit_codes.md").read_text()
    table = {int(code) for code in re.findall(r"^\| (\d+) \|", page, flags=re.MULTILINE)}
    help_codes = {int(code) for code in re.findall(r"(?:: | · )(\d+) ", cli.EPILOG)}
    classes = (errors.RunError, errors.RunLocked, errors.DiskFull)
    assert table == help_codes >= {kind.exit_code for kind in classes}


def test_help_is_quick() -> None:
    command = [sys.executable, "-m", "sportskills_lib.cli", "--help"]
    times = []
    for _ in range(3):
        started = time.monotonic()
        subprocess.run(command, check=True, capture_output=True, cwd=ROOT)
        times.append(time.monotonic() - started)
    assert min(times) < 0.7


# ---------------------------------------------------------------------------------------- reproduce


def test_reproduce_runs_status_shows_and_a_second_call_skips(
    call, ran: list[str], toy_workspace: Path
) -> None:
    (toy_workspace / "reports/t").mkdir(parents=True)
    (toy_workspace / "reports/t/index.html").write_text("<p>done</p>")
    first = call("reproduce", "--run", "t", "--preset", "demo", *toy_words())
    assert first.code == 0, first.err
    assert ran == list(NOTEBOOKS) and "report: reports/t/index.html" in first.out
    second = call("reproduce", "--run", "t")
    assert second.code == 0 and len(ran) == 7 and second.out.count("nothing changed") == 7
    status = call("status", "--run", "t")
    assert status.code == 0 and status.out.count("complete") == 7 and "rows 4" in status.out
    assert call("reproduce", "--run", "t", "--seed", "3").code == 0
    assert ran[7:] == [
        stage for stage in NOTEBOOKS if "seed" in pipeline.CONFIGS[stage].model_fields
    ]
    assert call("report", "--run", "t").out.strip() == "reports/t/index.html"


def test_a_source_is_taken_from_the_command_line(call, ran: list[str], toy_workspace: Path) -> None:
    source = toy_workspace / "data/raw/mine"
    words = [word for word in toy_words() if word != "--set" and ".source=" not in word]
    sets = [part for word in words for part in ("--set", word)]
    ended = call("reproduce", "--run", "t", "--preset", "demo", "--source", str(source), *sets)
    assert ended.code == 0, ended.err
    assert artifacts.open_stage("t", "01_curation").manifest["config"]["source"] == "data/raw/mine"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--set", "03.sead=1"], "03_encoder has no parameter sead: did you mean seed?"),
        (["--set", "03.seed=many"], "03_encoder: seed='many': input should be a valid integer"),
        (["--set", "seed=1"], "--set 'seed=1' is not <stage>.<parameter>=<value>"),
        (["--from", "09"], "unknown stage '09': "),
        (
            ["--from", "03"],
            "run 'new' has no complete 01_curation: run `sportskills reproduce --run new` first",
        ),
        (["--preset", "tiny"], "unknown preset 'tiny': use one of demo, smoke, local, paper"),
        (["--preset", "local"], "the preset local reads a folder of yours: name it with --source"),
        (["--source", "nowhere"], "--source nowhere is no folder: name an existing one"),
        (["--only", "03", "--from", "03"], "--only and --from exclude each other"),
    ],
)
def test_wrong_use_is_one_line_and_code_2(
    call, ran: list[str], toy_workspace: Path, words: list[str], message: str
) -> None:
    settings = [] if words == ["--preset", "local"] else toy_words()
    ended = call("reproduce", "--run", "new", *settings, *words)
    assert ended.code == 2 and ended.err.startswith(message) and ended.err.count("\n") == 1
    assert ran == []


def test_an_empty_folder_is_refused(call, toy_workspace: Path) -> None:
    (toy_workspace / "empty").mkdir()
    ended = call("reproduce", "--run", "new", "--source", str(toy_workspace / "empty"))
    assert ended.code == 2 and "is empty: nothing can be read from it" in ended.err


def test_an_unknown_option_is_named(call) -> None:
    ended = call("reproduce", "--form", "03")
    assert ended.code == 2 and "--form" in ended.err


@pytest.mark.parametrize("command", ["status", "report"])
def test_a_run_that_is_not_there_is_said_so(call, toy_workspace: Path, command: str) -> None:
    ended = call(command, "--run", "nothing")
    assert ended.code == 2 and "sportskills reproduce --run nothing" in ended.err


def test_a_locked_run_is_code_3(call, toy_workspace: Path) -> None:
    folder = toy_workspace / "data/runs/t"
    folder.mkdir(parents=True)
    with FileLock(folder / ".runner.lock"):
        ended = call("reproduce", "--run", "t", *toy_words())
    assert ended.code == 3 and "another process is running" in ended.err


def test_a_failed_stage_is_code_1_and_its_last_line_names_cell_and_log(
    call, toy_workspace: Path
) -> None:
    notebook = toy_notebook("01_curation")
    notebook.cells[3]["source"] = "raise ValueError('no lesson can be read')"
    nbformat.write(notebook, toy_workspace / "notebooks/01_curation.ipynb")
    ended = call("reproduce", "--run", "t", "--preset", "demo", *toy_words())
    assert ended.code == 1
    assert ended.err.strip().splitlines()[-1] == (
        "FAILED notebooks/01_curation.ipynb, cell 4 (raise ValueError('no lesson can be read')): "
        "ValueError: no lesson can be read; log: data/runs/t/logs/01_curation.log"
    )


def test_a_full_disk_is_code_4(call, toy_workspace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(run: str, stage: str, config: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(pipeline, "run_stage", full)
    ended = call("reproduce", "--run", "t", "--preset", "demo", *toy_words())
    assert (
        ended.code == 4
        and "the disk is full: data/runs" in ended.err
        and ended.err.count("\n") == 1
    )


def test_an_interrupt_is_code_130(
    call, toy_workspace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(run: str, stage: str, config: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(pipeline, "run_stage", interrupted)
    ended = call("reproduce", "--run", "t", "--preset", "demo", *toy_words())
    assert ended.code == 130 and "the same command goes on" in ended.err


def test_a_defect_of_ours_keeps_its_traceback(
    toy_workspace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(run: str, stage: str, config: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(pipeline, "run_stage", broken)
    monkeypatch.setattr(
        sys, "argv", ["sportskills", "reproduce", "--run", "t", "--preset", "demo", *toy_words()]
    )
    with pytest.raises(ZeroDivisionError):
        cli.main()


# ------------------------------------------------------------------------------------- demo, doctor


def test_demo_makes_the_parts_that_are_asked_for(
    call, toy_workspace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[tuple[str, str, bool]] = []

    def make(parts: list[demo_worlds.DemoPart], progress: Progress, *, again: bool = False) -> None:
        made.extend((part.name, part.world, again) for part in parts)

    monkeypatch.setattr(demo_worlds, "make", make)
    assert call("demo").code == 0
    assert made == [(name, "demo", False) for name in ("world", "base_clip", "base_vlm")]
    made.clear()
    assert call("demo", "--part", "world", "--activity").code == 0
    assert made == [(name, "demo", False) for name in ("world", "activity")]
    made.clear()
    assert call("demo", "--part", "world", "--smoke", "--again").code == 0
    assert made == [("world", "smoke", True)]
    ended = call("demo", "--part", "moon")
    assert ended.code == 2 and "no part 'moon'; it has world, base_clip, base_vlm" in ended.err


def test_doctor_names_facts_and_remedies(call, monkeypatch: pytest.MonkeyPatch) -> None:
    torch = [
        doctor.Fact("torch", "2.15.0, 2 threads"),
        doctor.Fact("gpu", "none (the demo needs none)"),
    ]
    monkeypatch.setattr(doctor, "_torch", lambda: torch)
    monkeypatch.setattr(
        doctor, "_packages", lambda: doctor.Fact("packages", "1 of 2 as locked", "run make")
    )
    monkeypatch.setenv("SPORTSKILLS_HOME", str(ROOT))
    ended = call("doctor")
    names = {line[2:].split()[0] for line in ended.out.splitlines()}
    assert {
        "python",
        "packages",
        "OMP_NUM_THREADS",
        "OMP_WAIT_POLICY",
        "machine",
        "disk",
        "torch",
        "decoders",
    } <= names
    assert ended.code == 1 and re.search(r"! packages +1 of 2 as locked\n +→ run make", ended.out)


def test_lines_stand_beside_their_name_and_command_no_terminal(capsys) -> None:
    cli._print_lines("02_pairing", "complete", "", "dropped: some_stranger[bold]\x1b[31m")
    out = capsys.readouterr().out
    assert out == f"02_pairing{' ' * 9}complete\n{' ' * 19}dropped: some_stranger[bold]\\x1b[31m\n"


def test_doctor_compares_packages_with_the_lock(toy_workspace: Path) -> None:
    assert doctor._packages().remedy == "run this in a workspace"
    (toy_workspace / "requirements.lock").write_text(
        "pytest==0.0.1 \\\n    --hash=x\nno-such-package==1\nruff==1 \\\n"
    )
    fact = doctor._packages()
    assert (
        "0 of 3 as locked; pytest " in fact.value
        and "no-such-package absent (locked 1)" in fact.value
    )


def test_doctor_warns_of_spinning_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_WAIT_POLICY", "ACTIVE")
    monkeypatch.setenv("OMP_NUM_THREADS", "2")
    assert "4 to 20 times" in doctor._threads()[1].remedy
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    assert doctor._threads()[1].remedy == ""


def test_doctor_survives_a_broken_torch(monkeypatch: pytest.MonkeyPatch) -> None:
    for broken in ("raise ImportError", "import os; os.abort()"):
        monkeypatch.setattr(doctor, "ASK_TORCH", broken)
        assert doctor._torch()[0].value == "cannot be imported"


def test_the_module_runs_as_a_script(toy_workspace: Path) -> None:
    command = [sys.executable, "-m", "sportskills_lib.cli", "status", "--run", "none"]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, capture_output=True, text=True, env=environment)
    assert (
        done.returncode == 2
        and done.stderr.startswith("there is no run 'none'")
        and done.stdout == ""
    )
