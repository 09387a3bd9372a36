"""Plans: the stages that would run, the seconds measured before, and no torch in the planner."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from sportskills_lib.apps.sweep import plans


def test_a_plan_says_when_own_films_meet_the_demos_toy_models(
    toy_workspace: Path,
) -> None:

    def said(**encoder: str) -> bool:
        settings = {"01_curation": {"source": "data/raw/mine"}, "03_encoder": encoder}
        lines = plans.plan_lines("mine", "local", settings, first="01", last="01")
        return any("03_encoder start from the demo's stand-ins, toys" in line for line in lines)

    assert said() and not said(model="ViT-B-32", pretrained="openai")
    assert not any("stand-ins" in line for line in plans.plan_lines("demo", "demo", {}, last="01"))


def test_the_plan_of_the_paper_preset(toy_workspace: Path) -> None:
    lines = list(plans.plan_lines("paper", "paper", {}))
    assert "nothing has been loaded, downloaded or run" in lines[0]
    assert sum("not run yet" in line for line in lines) == 7
    assert not (toy_workspace / "data/runs/paper").exists()
    measured = list(plans.plan_lines("demo", "demo", {}, first="02", last="02"))
    assert len(measured) == 2 and "45 s, estimated from runs of this preset" in measured[1]


def test_planning_and_sweeping_load_no_torch() -> None:
    script = (
        "import sys\nfrom sportskills_lib.apps.sweep import grid, plans, "
        "members, study_file\n"
        "print([name for name in ('torch', 'open_clip', 'transformers') if name in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, timeout=120
    )
    assert done.stdout.strip() == "[]", done.stdout + done.stderr
