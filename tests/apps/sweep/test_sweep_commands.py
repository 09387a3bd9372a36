"""`sportskills sweep | study | plan` and `reproduce --plan`: what they print, refuse, and leave
alone.
"""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from toys import toy_settings, toy_words

from sportskills_lib import cli
from sportskills_lib.apps.sweep import members
from sportskills_lib.apps.sweep.grid import Sweep
from sportskills_lib.runs import pipeline


@pytest.fixture
def call(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], toy_workspace: Path):
    """Call the command line as the console script does: exit code, what it printed, what it
    complained of.
    """

    def run(*words: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["sportskills", *words])
        with pytest.raises(SystemExit) as end:
            cli.main()
        captured = capsys.readouterr()
        return int(end.value.code or 0), captured.out, captured.err

    pipeline.save_settings("demo", "demo", toy_settings())
    return run


GRID = ("--grid", "learning_rates=1e-3,2e-3", "loss=info_nce,siglip")


def test_a_sweeps_plan_lists_members_and_makes_nothing(call, toy_workspace: Path) -> None:
    code, out, _ = call("sweep", "03", *GRID, "--seeds", "3", "--plan")
    assert code == 0 and "12 members over run demo" in out
    assert "[12/12] learning_rates=2e-3 loss=siglip seed 2: sweep-03.2e-3-siglip-" in out
    assert "12 members, 0 complete, 12 to run: about" in out and ", estimated from" in out
    assert not (toy_workspace / "data" / "sweeps").exists()


def test_a_sweep_is_run_with_what_was_asked(call, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[Sweep, int]] = []
    monkeypatch.setattr(members, "run", lambda sweep, jobs: asked.append((sweep, jobs)))
    assert (
        call("sweep", "encoder", *GRID, "--jobs", "3", "--name", "mine", "--set", "05.draws=9")[0]
        == 0
    )
    sweep, jobs = asked[0]
    assert (sweep.name, sweep.stage, jobs, len(sweep.members)) == ("mine", "03_encoder", 3, 4)
    assert all(member.settings["05_evaluation"]["draws"] == "9" for member in sweep.members)
    assert call("sweep", "03")[0] == 0 and asked[1][0].name == "sweep-03" and asked[1][1] == 1


@pytest.mark.parametrize(
    ("words", "error"),
    [
        (("sweep", "03", "--grid", "rate=1"), "03_encoder has no parameter rate: use one of model"),
        (
            ("sweep", "03", "steps=1,x"),
            "steps=x: 03_encoder: steps='x': input should be a valid integer",
        ),
        (
            ("sweep", "06"),
            "06_analysis only shows what the stages made: sweep one of 01_curation",
        ),
        (("sweep", "08"), "unknown stage '08'"),
        (("sweep", "03", "--base", "none"), "there is no run 'none'"),
        (("sweep", "03", "--name", "../x"), "invalid run name '../x'"),
        (("study", "--file", "none.toml"), "there is no list of sweeps none.toml"),
        (("plan", "--preset", "tiny"), "unknown preset 'tiny'"),
    ],
)
def test_wrong_use_ends_with_code_2_and_one_line(call, words: tuple[str, ...], error: str) -> None:
    code, _, err = call(*words)
    assert code == 2 and error in err and err.strip().count("\n") == 0


def test_plans_run_nothing(call, toy_workspace: Path) -> None:
    code, out, _ = call("plan", "03", "--preset", "paper")
    assert code == 0 and "preset paper; nothing has been loaded" in out
    code, out, _ = call(
        "reproduce", "--run", "new", "--preset", "demo", "--from", "03", "--plan", *toy_words()
    )
    assert code == 0 and "03_encoder" in out and "01_curation" not in out and "05_evaluation" in out
    assert not (toy_workspace / "data/runs/new").exists()
