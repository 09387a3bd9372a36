"""What reruns a stage: on a copy of the library and its notebooks, one change at a time."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from sportskills_lib.config import CONFIGS
from sportskills_lib.runs import stage_code
from sportskills_lib.runs.artifacts import NOTEBOOKS, STAGES

ROOT = Path(stage_code.LIBRARY).parent
BEFORE_REPORT = STAGES[:4]


@pytest.fixture(scope="module")
def _copy(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, dict[str, str]]]:
    """A copy of the library, its notebooks and its lock; the parts of every stage's code."""
    home = tmp_path_factory.mktemp("keys") / "ws"
    skip = shutil.ignore_patterns("__pycache__")
    for name in ("sportskills_lib", "notebooks"):
        shutil.copytree(ROOT / name, home / name, ignore=skip)
    shutil.copyfile(ROOT / "requirements.lock", home / "requirements.lock")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(stage_code, "LIBRARY", home / "sportskills_lib")
        return home, {stage: parts(home, stage) for stage in NOTEBOOKS}


@pytest.fixture
def tree(_copy: tuple[Path, dict], monkeypatch: pytest.MonkeyPatch) -> Iterator[Tree]:
    """The copy, as it was before each test."""
    home, before = _copy
    monkeypatch.setattr(stage_code, "LIBRARY", home / "sportskills_lib")
    tree = Tree(home, before)
    yield tree
    for path, content in tree.originals.items():
        path.write_bytes(content)


class Tree:
    """A workspace whose files a test changes."""

    def __init__(self, home: Path, before: dict[str, dict[str, str]]):
        self.home, self.before, self.originals = home, before, dict[Path, bytes]()

    def replace(self, name: str, old: str, new: str) -> None:
        """Change the one place where ``old`` occurs first in the file."""
        path = self.home / name
        text = path.read_text()
        assert old in text, f"{name} has no {old!r}"
        self.originals.setdefault(path, path.read_bytes())
        path.write_text(text.replace(old, new, 1))

    def changed(self) -> dict[str, list[str]]:
        """Stage: the parts of its code that are no longer as before; none for an equal key."""
        differs = {}
        for stage in NOTEBOOKS:
            old, new = self.before[stage], parts(self.home, stage)
            if names := [name for name in {**old, **new} if old.get(name) != new.get(name)]:
                differs[stage] = names
        return differs


def parts(home: Path, stage: str) -> dict[str, str]:
    return stage_code.code_parts(home, stage, ["run", *CONFIGS[stage].model_fields])


def test_a_colour_concerns_only_the_stages_whose_figures_are_reported(tree: Tree) -> None:
    tree.replace("sportskills_lib/plots/style.py", "#0072B2", "#0072B3")
    assert tree.changed() and not tree.changed().keys() & set(BEFORE_REPORT)
    assert tree.changed()["05_evaluation"] == ["code sportskills_lib/plots/style.py"]


def test_no_presentation_decides_a_table_before_the_report(tree: Tree) -> None:
    for stage in BEFORE_REPORT:
        places = [name.partition("sportskills_lib/")[2] for name in tree.before[stage]]
        assert [
            place
            for place in places
            if place.startswith(("plots/", "viewing/", "report/")) or place.endswith("/figures.py")
        ] == []
        assert "package matplotlib" not in tree.before[stage]


def test_docstrings_comments_and_line_breaks_rerun_nothing(tree: Tree) -> None:
    losses = "sportskills_lib/encoder/losses.py"
    tree.replace(losses, '"""', '"""Other words. ')
    tree.replace(losses, "\ndef ", "\n# a comment\n\n\ndef ")
    tree.replace(losses, "(", "(  # a line break\n")
    tree.replace("sportskills_lib/tables.py", '"""', '"""Other words. ')
    for stage in NOTEBOOKS:
        tree.replace(f"notebooks/{stage}.ipynb", "# ", "# Other words: ")
        tree.replace(f"notebooks/{stage}.ipynb", "stage.finish(", "stage.finish(  ")
    assert tree.changed() == {}


def test_a_loss_reruns_the_encoder_and_nothing_before(tree: Tree) -> None:
    path = "sportskills_lib/encoder/losses.py"
    tree.replace(path, "\n\n\ndef ", "\n\nSMOOTHING = 0.1\n\n\ndef ")
    # Later stages follow because 03's tables, which are among their inputs, change.
    changed = tree.changed()
    assert changed["03_encoder"] == [f"code {path}"]
    assert not changed.keys() & {"01_curation", "02_pairing"}


def test_a_metric_reruns_what_computes_it(tree: Tree) -> None:
    tree.replace("sportskills_lib/metrics.py", "\n\n\ndef ", "\n\nOFFSET = 1\n\n\ndef ")
    assert not tree.changed().keys() & {"01_curation", "02_pairing"}
    assert {"03_encoder", "05_evaluation"} <= tree.changed().keys()
    assert all("code sportskills_lib/metrics.py" in names for names in tree.changed().values())


def test_only_pins_of_packages_that_a_stage_reaches_count(tree: Tree) -> None:
    pins = {line.split("==")[0] for line in (ROOT / "requirements.lock").read_text().splitlines()}
    for package in ("jupyterlab", "ruff", "pytest", "mypy"):
        assert package in pins
        tree.replace("requirements.lock", f"\n{package}==", f"\n{package}==99.")
    assert tree.changed() == {}
    tree.replace("requirements.lock", "\ntorch==", "\ntorch==99.")
    assert tree.changed()["03_encoder"] == ["package torch"]
    assert "05_evaluation" not in tree.changed()


def test_a_stage_s_notebook_counts_by_the_statements_that_its_tables_need(tree: Tree) -> None:
    notebook = "notebooks/01_curation.ipynb"
    tree.replace(notebook, "figures.per_sport(", "print(1, ")
    assert tree.changed() == {}
    tree.replace(notebook, "shards=stage.shards", "shards=stage.folder")
    assert tree.changed() == {"01_curation": [f"code {notebook}"]}


def test_presentation_counts_as_soon_as_a_table_needs_it(tree: Tree) -> None:
    tree.replace(
        "notebooks/01_curation.ipynb",
        'stage.save(\\"videos\\", curated.videos',
        'stage.save(\\"videos\\", figures.per_sport(curated.videos, curated.scan())',
    )
    names = tree.changed()["01_curation"]
    assert "code sportskills_lib/curation/figures.py" in names
    assert "code sportskills_lib/plots/style.py" in names


def test_a_data_file_beside_a_module_counts(tree: Tree) -> None:
    path = "sportskills_lib/curation/taxonomy.toml"
    tree.replace(path, "\n", "\n# a skill more\n")
    assert tree.changed()["01_curation"] == [f"code {path}"]


def test_statements_that_bind_what_others_read_are_kept() -> None:
    source = """
from sportskills_lib.pairing import figures
from sportskills_lib.pairing.stage import pair
paired = pair()
sheet = figures.contact_sheet(paired)
sheet
rows = figures.per_sport(paired)
stage.save("rows", rows)
print(rows)
totals["x"] = figures.motion(paired)
"""
    statements = list(_statements(source))
    kept = [stage_code.ast.unparse(node) for node in stage_code._without_showing(statements)]
    assert kept == [
        "from sportskills_lib.pairing import figures",
        "from sportskills_lib.pairing.stage import pair",
        "paired = pair()",
        "rows = figures.per_sport(paired)",
        "stage.save('rows', rows)",
        "totals['x'] = figures.motion(paired)",
    ]


def _statements(source: str) -> list:
    return stage_code.ast.parse(source).body


def test_a_notebook_that_cannot_be_parsed_is_named(tree: Tree) -> None:
    tree.replace("notebooks/01_curation.ipynb", "curated = curate(", "curated == = curate(")
    with pytest.raises(ValueError, match=r"01_curation\.ipynb cannot be parsed"):
        parts(tree.home, "01_curation")


def test_keys_of_a_demo_world_take_no_wording(tree: Tree) -> None:
    before = stage_code.module_parts("sportskills_lib.demo.world")
    tree.replace("sportskills_lib/demo/film.py", '"""', '"""Other words. ')
    assert stage_code.module_parts("sportskills_lib.demo.world") == before
    tree.replace("sportskills_lib/demo/film.py", "\n\n\ndef ", "\n\nGRAIN = 2\n\n\ndef ")
    after = stage_code.module_parts("sportskills_lib.demo.world")
    assert [name for name in after if after[name] != before.get(name)] == [
        "code sportskills_lib/demo/film.py"
    ]


def test_keys_load_no_torch() -> None:
    script = (
        "import json, sys\nfrom sportskills_lib.runs import artifacts\n"
        "[artifacts.code_parts(stage) for stage in artifacts.NOTEBOOKS]\n"
        "print(json.dumps([name for name in ('torch', 'transformers', 'matplotlib') "
        "if name in sys.modules]))"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, cwd=ROOT, timeout=120
    )
    assert json.loads(done.stdout) == [], done.stderr
