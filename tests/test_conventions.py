"""The rules of the house that a machine can check. Each checker is also shown an offence, which it
must catch.
"""

from __future__ import annotations

import ast
import importlib
import io
import json
import re
import subprocess
import sys
import tokenize
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

import sportskills_lib
from sportskills_lib.config import CONFIGS

ROOT = Path(sportskills_lib.__file__).resolve().parents[1]
LIBRARY = ROOT / "sportskills_lib"
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
MODULES = sorted(path for path in LIBRARY.rglob("*.py"))
LONGEST_MODULE, LONGEST_FUNCTION, LONGEST_CELL = 400, 53, 12  # functions: to come down to 50 again
MOST_PARAMETERS = 10  # settings that a parameters cell shows

STAGE_PACKAGES = ("curation", "pairing", "encoder", "retrieval", "evaluation")
FLOORS = (  # imports point up in this list, never down
    ("tables", "config", "stage_config", "presets", "metrics", "span_matching", "group_splits"),
    ("formats", "statistics", "runs"),
    ("video", "language", "models", "training", "plots", "learner_data"),
    (*STAGE_PACKAGES, "demo"),
    ("report", "viewing"),
    ("apps", "cli", "__init__"),  # the package offers Run, on first use
)
HEAVY = ("torch", "torchvision", "transformers", "peft", "open_clip", "accelerate", "sklearn")
CODE_THAT_LOADS_CODE = ("pickle", "cPickle", "dill", "cloudpickle", "marshal", "shelve", "joblib")
MAY_READ_TRUTH = {  # the folder of the demo's answers
    "sportskills_lib/config.py",  # only names the folder that 05 compares with
    "sportskills_lib/presets.py",
    "sportskills_lib/evaluation/demo_truth.py",
    "sportskills_lib/apps/audit/judge_vs_spans.py",
}


def relative(path: Path) -> str:
    return path.relative_to(ROOT).as_posix() if path.is_relative_to(ROOT) else path.name


def parsed(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


# ------------------------------------------------------------------------------------------ imports


def imported(tree: ast.AST) -> Iterator[tuple[int, str]]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.lineno, node.module
            yield from ((node.lineno, f"{node.module}.{alias.name}") for alias in node.names)


def floor(room: str) -> int:
    """Its place in FLOORS; a room that stands in none is an error, so that none is forgotten."""
    return next(level for level, rooms in enumerate(FLOORS) if room in rooms)


def upward_imports(room: str, source: str) -> list[str]:
    """Imports of ``room`` (a root module or package) that point up, or from one stage into
    another.
    """
    found = []
    for line, name in imported(ast.parse(source)):
        parts = name.split(".")
        if parts[0] != "sportskills_lib" or len(parts) < 2 or parts[1] == "__version__":
            continue
        other = parts[1]
        between_stages = room in STAGE_PACKAGES and other in STAGE_PACKAGES and room != other
        into_demo = other == "demo" and room not in ("demo", "cli")
        if floor(other) > floor(room) or between_stages or into_demo:
            found.append(f"{room}, line {line}: imports {name}")
    return found


def room_of(path: Path) -> str:
    parts = path.relative_to(LIBRARY).parts
    return parts[0].removesuffix(".py")


def test_imports_point_one_way() -> None:
    offences = [
        text for path in MODULES for text in upward_imports(room_of(path), path.read_text())
    ]
    assert offences == []


@pytest.mark.parametrize(
    ("room", "source"),
    [
        ("pairing", "from sportskills_lib.curation import captions"),
        ("tables", "def f():\n    from sportskills_lib import video"),
        ("runs", "from sportskills_lib.plots import style"),
        ("statistics", "from sportskills_lib.evaluation import summary"),
        ("evaluation", "import sportskills_lib.viewing.previews"),
        ("retrieval", "from sportskills_lib.demo.skills import SPORTS"),
        ("viewing", "from sportskills_lib.demo import skills"),
        ("curation", "from sportskills_lib.apps import sweep"),
    ],
)
def test_an_upward_import_is_caught(room: str, source: str) -> None:
    assert upward_imports(room, source)


def missing_imports(source: str) -> list[str]:
    """What the source wants from the library that the library does not have."""
    missing = []
    for node in ast.walk(ast.parse(source)):
        if not isinstance(node, ast.ImportFrom) or not (node.module or "").startswith(
            "sportskills_lib"
        ):
            continue
        for alias in node.names:
            where, name = str(node.module), alias.name
            try:
                if not hasattr(importlib.import_module(where), name):
                    importlib.import_module(f"{where}.{name}")
            except ModuleNotFoundError:
                missing.append(f"line {node.lineno}: {where}.{name}")
    return missing


@pytest.mark.parametrize(
    "path", sorted((ROOT / "benchmarks").glob("*.py")), ids=lambda path: path.stem
)
def test_benchmarks_ask_for_what_is_there(path: Path) -> None:
    assert missing_imports(path.read_text()) == []


@pytest.mark.parametrize(
    "source",
    [
        "from sportskills_lib.training.distributed import Crew",
        "from sportskills_lib import nobody",
    ],
)
def test_a_missing_import_is_caught(source: str) -> None:
    assert missing_imports(source)


def heavy_at_top(source: str) -> list[str]:
    """Heavy packages that are imported when the module is, not when a function is called."""
    outer = ast.parse(source)
    for node in ast.walk(outer):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) or (
            isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test)
        ):
            node.body = [ast.Pass()]
    return [f"line {line}: {name}" for line, name in imported(outer) if name.split(".")[0] in HEAVY]


def test_torch_is_imported_inside_functions() -> None:
    offences = {
        relative(path): found for path in MODULES if (found := heavy_at_top(path.read_text()))
    }
    assert offences == {}


def test_a_heavy_import_at_the_top_is_caught() -> None:
    assert heavy_at_top("import numpy\nfrom torch import nn") == [
        "line 2: torch",
        "line 2: torch.nn",
    ]
    assert heavy_at_top("class A:\n    import transformers") != []
    assert heavy_at_top("def f():\n    import torch\n") == []
    assert heavy_at_top("if TYPE_CHECKING:\n    import torch\n") == []


def test_no_module_loads_torch_when_it_is_imported() -> None:
    names = [
        ".".join(
            ("sportskills_lib", *path.relative_to(LIBRARY).with_suffix("").parts)
        ).removesuffix(".__init__")
        for path in MODULES
    ]
    script = (
        f"import importlib, sys\n[importlib.import_module(name) for name in {names!r}]\n"
        f"print([name for name in {HEAVY[:5]!r} if name in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, cwd=ROOT, timeout=120
    )
    assert done.stdout.strip() == "[]", done.stdout + done.stderr


def test_heavy_packages_stay_out_of_the_commands() -> None:
    script = (
        "import sys\nfrom sportskills_lib import cli\nsys.argv = ['sportskills', '--help']\n"
        "try:\n    cli.main()\nexcept SystemExit:\n    pass\n"
        "print([name for name in ('torch', 'polars', 'papermill', 'pydantic') if name in "
        "sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, cwd=ROOT, timeout=60
    )
    assert done.stdout.strip().splitlines()[-1] == "[]", done.stdout + done.stderr


# ------------------------------------------------------------------------------------------ cutoffs


CUTOFF = re.compile(
    r"@10\b|\b(evaluable|hits) at (10|ten)\b|\b(first|top) ten\b|at_ten|_at_10\b", re.I
)


def fixed_cutoffs(source: str) -> list[str]:
    """Lines that name the headline's k by hand instead of deriving it from metrics.HEADLINE_K."""
    return [line.strip() for line in source.splitlines() if CUTOFF.search(line)]


def test_labels_and_columns_derive_the_headlines_k() -> None:
    offences = {relative(path): fixed_cutoffs(path.read_text()) for path in MODULES}
    assert {path: lines for path, lines in offences.items() if lines} == {}


@pytest.mark.parametrize(
    "source",
    ['label = "recall@10"', '"No sport is evaluable at 10"', "among the first ten", "at_ten"],
)
def test_a_cutoff_by_hand_is_caught(source: str) -> None:
    assert fixed_cutoffs(source) == [source]


# --------------------------------------------------------------------------------------------- size


def too_long(source: str) -> list[str]:
    """The module, or the functions in it, that are longer than a reader should be asked to hold."""
    found = []
    if (lines := source.count("\n")) > LONGEST_MODULE:
        found.append(f"module of {lines} lines")
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            body = node.body[1:] if ast.get_docstring(node) and node.body[1:] else node.body
            length = (node.end_lineno or 0) - body[0].lineno + 1  # signature and docstring are free
            if length > LONGEST_FUNCTION:
                found.append(f"{node.name} of {length} lines")
    return found


def test_modules_and_functions_are_short() -> None:
    offences = {relative(path): found for path in MODULES if (found := too_long(path.read_text()))}
    assert offences == {}


def test_benchmarks_are_short_modules() -> None:
    lengths = {
        relative(path): path.read_text().count("\n")
        for path in sorted((ROOT / "benchmarks").glob("*.py"))
    }
    assert {path: lines for path, lines in lengths.items() if lines > LONGEST_MODULE} == {}


def test_long_ones_are_caught() -> None:
    body = "    x = 1\n"
    long = LONGEST_FUNCTION + 1
    assert too_long("def f():\n" + body * long) == [f"f of {long} lines"]
    assert too_long("def f():\n" + body * LONGEST_FUNCTION) == []
    lines = LONGEST_MODULE + 1
    assert too_long("x = 1\n" * lines) == [f"module of {lines} lines"]


# --------------------------------------------------------------------------------------- docstrings


def undocumented(source: str) -> list[str]:
    """Public functions, classes and methods without a docstring, and a module without one."""
    tree = ast.parse(source)
    found = [] if ast.get_docstring(tree) or not tree.body else ["the module"]

    def visit(node: ast.AST, prefix: str) -> None:
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
                if child.name.startswith("_"):
                    continue
                if not ast.get_docstring(child):
                    found.append(prefix + child.name)
                if isinstance(child, ast.ClassDef):
                    visit(child, f"{child.name}.")

    visit(tree, "")
    return found


def test_what_is_public_says_what_it_guarantees() -> None:
    offences = {
        relative(path): found for path in MODULES if (found := undocumented(path.read_text()))
    }
    assert offences == {}


def test_a_missing_docstring_is_caught() -> None:
    source = (
        '"""Module."""\nclass A:\n    """A."""\n    def f(self): ...\n    def _g(self): '
        "...\ndef h(): ...\n"
    )
    assert undocumented(source) == ["A.f", "h"]
    assert undocumented("x = 1") == ["the module"]


# ------------------------------------------------------------------------------------------- safety


def unsafe(source: str) -> list[str]:
    """Whatever would run code that came with data, or hand text to a shell."""
    tree, found = ast.parse(source), []
    for line, name in imported(tree):
        if name.split(".")[0] in CODE_THAT_LOADS_CODE:
            found.append(f"line {line}: {name}")
    for node in ast.walk(tree):
        if not isinstance(node, ast.Call):
            continue
        name = ast.unparse(node.func)
        given = {keyword.arg: ast.unparse(keyword.value) for keyword in node.keywords}
        for option in ("trust_remote_code", "shell", "allow_pickle"):
            if given.get(option) not in (None, "False"):
                found.append(f"line {node.lineno}: {option}")
        if given.get("weights_only") == "False" or (
            name == "torch.load" and given.get("weights_only") != "True"
        ):
            found.append(f"line {node.lineno}: torch.load without weights_only=True")
        if name in ("eval", "exec", "os.system", "os.popen"):
            found.append(f"line {node.lineno}: {name}")
    return found


def test_nothing_runs_code_that_comes_with_data() -> None:
    offences = {relative(path): found for path in MODULES if (found := unsafe(path.read_text()))}
    assert offences == {}


@pytest.mark.parametrize(
    "source",
    [
        "import pickle",
        "def f():\n    from joblib import load",
        "M.from_pretrained(x, trust_remote_code=True)",
        "run(x, shell=True)",
        "np.load(p, allow_pickle=True)",
        "torch.load(p)",
        "torch.load(p, weights_only=False)",
        "os.system(x)",
        "eval(x)",
    ],
)
def test_unsafe_code_is_caught(source: str) -> None:
    assert unsafe(source)


# -------------------------------------------------------------------------------------------- truth


def names_the_truth(source: str) -> list[str]:
    """String constants, docstrings apart, that name the folder of the demo's truth."""
    tree = ast.parse(source)
    prose = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    return [
        f"line {node.lineno}: {node.value!r}"
        for node in ast.walk(tree)
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in prose
        if re.search(r"(^|/)truth($|/)", node.value)
    ]


def test_only_tests_audits_and_the_demo_name_the_truth() -> None:
    offences = {
        relative(path): found
        for path in MODULES
        if room_of(path) != "demo" and relative(path) not in MAY_READ_TRUTH
        if (found := names_the_truth(path.read_text()))
    }
    assert offences == {}


def test_naming_the_truth_is_caught() -> None:
    assert names_the_truth('path = root / "truth" / "segments.parquet"')
    assert names_the_truth('path = "data/raw/demo/truth/relevance.parquet"')
    assert not names_the_truth('"""The truth/ folder is not read."""\nx = "the truth of it"')


# ---------------------------------------------------------------------------------------- notebooks


FORBIDDEN = (
    *(
        ast.FunctionDef,
        ast.AsyncFunctionDef,
        ast.ClassDef,
        ast.Lambda,
        ast.For,
        ast.AsyncFor,
        ast.While,
    ),
    *(ast.If, ast.IfExp, ast.Try, ast.TryStar, ast.With, ast.AsyncWith, ast.Match),
    *(ast.ListComp, ast.SetComp, ast.DictComp, ast.GeneratorExp),
)


def cell_offences(cells: list[dict[str, Any]]) -> list[str]:
    """What is wrong with a notebook's cells: too long, a forbidden construct, no prose before,
    outputs kept.
    """
    found = []
    for number, cell in enumerate(cells, start=1):
        source = "".join(cell["source"])
        if cell["cell_type"] != "code":
            continue
        free = "parameters" in cell["metadata"].get("tags", [])
        if len(source.splitlines()) > LONGEST_CELL and not free:
            found.append(f"cell {number}: {len(source.splitlines())} lines")
        kinds = sorted(
            {
                type(node).__name__
                for node in ast.walk(ast.parse(source))
                if isinstance(node, FORBIDDEN)
            }
        )
        found += [f"cell {number}: {kind}" for kind in kinds]
        if number == 1 or cells[number - 2]["cell_type"] != "markdown":
            found.append(f"cell {number}: no prose before it")
        if cell.get("outputs") or cell.get("execution_count"):
            found.append(f"cell {number}: not stripped")
        if not source.strip():
            found.append(f"cell {number}: empty")
    return found


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_cells_are_short_flat_explained_and_stripped(path: Path) -> None:
    assert cell_offences(json.loads(path.read_text())["cells"]) == []


@pytest.mark.parametrize(
    "source",
    [
        "x = [i for i in y]",
        "for i in y:\n    print(i)",
        "f = lambda: 1",
        "x = 1 if y else 2",
        "with a:\n    b",
        "x = 1\n" * 13,
        "import ast\n" * 13,
        "",
    ],
)
def test_a_bad_cell_is_caught(source: str) -> None:
    prose = {"cell_type": "markdown", "metadata": {}, "source": ["Why."]}
    code = {
        "cell_type": "code",
        "metadata": {},
        "source": [source],
        "outputs": [],
        "execution_count": None,
    }
    assert cell_offences([prose, code])
    fine = code | {"source": ["x = 1"]}
    assert cell_offences([prose, fine]) == []
    assert cell_offences([fine]) == ["cell 1: no prose before it"]
    assert cell_offences([prose, fine | {"execution_count": 3}]) == ["cell 2: not stripped"]


def parameter_offences(source: str, stage: str) -> list[str]:
    """How the parameters cell differs from `run` and the stage's config: names, types, defaults,
    comments. It shows `run` first and at most ten settings.
    """
    fields = CONFIGS[stage].model_fields
    expected = {"run": (str, "demo")} | {
        name: (field.annotation, field.get_default(call_default_factory=True))
        for name, field in fields.items()
    }
    found, seen = [], []
    comments = {
        token.start[0]
        for token in tokenize.generate_tokens(io.StringIO(source).readline)
        if token.type == tokenize.COMMENT
    }
    for node in ast.parse(source).body:
        if not (
            isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name) and node.value
        ):
            found.append(f"line {node.lineno}: not `name: type = value`")
            continue
        name = node.target.id
        seen.append(name)
        if name not in expected:
            found.append(f"{name} is not in the config, which has {', '.join(expected)}")
            continue
        kind, default = expected[name]
        if ast.literal_eval(node.value) != default:
            found.append(f"{name} is {ast.unparse(node.value)}, the config says {default!r}")
        if kind in (str, int, float, bool) and ast.unparse(node.annotation) != kind.__name__:
            found.append(f"{name} is annotated {ast.unparse(node.annotation)}")
        if node.lineno not in comments and node.end_lineno not in comments:
            found.append(f"{name} has no comment")
    if seen[:1] != ["run"] or len(seen) != len(set(seen)):
        found.append("does not begin with run, or has a name twice")
    if len(seen) > 1 + MOST_PARAMETERS:
        found.append(f"has {len(seen) - 1} settings, {MOST_PARAMETERS} at most")
    return found


@pytest.mark.parametrize(
    "path", [path for path in NOTEBOOKS if path.stem in CONFIGS], ids=lambda path: path.stem
)
def test_parameters_are_fields_of_the_config_with_its_defaults(path: Path) -> None:
    cells = [
        cell
        for cell in json.loads(path.read_text())["cells"]
        if "parameters" in cell["metadata"].get("tags", [])
    ]
    assert len(cells) == 1
    assert parameter_offences("".join(cells[0]["source"]), path.stem) == []


def test_wrong_parameters_are_caught() -> None:
    lines = ['run: str = "demo"  # name']
    fields = list(CONFIGS["01_curation"].model_fields.items())
    for name, field in fields[:MOST_PARAMETERS]:
        lines.append(f"{name}: {field.annotation.__name__} = {field.default!r}  # …")  # type: ignore[union-attr]
    assert parameter_offences("\n".join(lines), "01_curation") == []
    assert parameter_offences("\n".join(lines[:-1]), "01_curation") == []
    name, field = fields[MOST_PARAMETERS]
    another = f"{name}: {field.annotation.__name__} = {field.default!r}  # …"  # type: ignore[union-attr]
    assert parameter_offences("\n".join([*lines, another]), "01_curation")
    assert parameter_offences("\n".join(lines[1:]), "01_curation")
    assert parameter_offences("\n".join([*lines[:-1], lines[-1].split("  #")[0]]), "01_curation")
    assert parameter_offences("\n".join(lines).replace('"demo"', '"other"'), "01_curation")
    assert parameter_offences("\n".join([*lines[:-1], "more: int = 1  # …"]), "01_curation")


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_notebooks_name_the_kernel_that_make_lab_installs(path: Path) -> None:
    spec = json.loads(path.read_text())["metadata"]["kernelspec"]
    assert (spec["name"], spec["display_name"]) == ("sportskills", "SportSkills")
    assert "--name sportskills --display-name SportSkills" in (ROOT / "Makefile").read_text()


# -------------------------------------------------------------------------------- files in the tree


def tracked() -> list[Path]:
    done = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True)
    if done.returncode:
        pytest.skip("not a git checkout: tracked files are unknown")
    return [ROOT / name for name in done.stdout.split("\0") if name and (ROOT / name).is_file()]


def machine_paths(text: str) -> list[str]:
    """Absolute paths that only one machine has."""
    return re.findall(r"(?<![\w.~})/\]-])/(?:home|root|Users|work|mnt|opt|srv)/[\w.-]+", text)


def test_no_tracked_file_names_a_machine() -> None:
    offences = {}
    for path in tracked():
        try:
            text = path.read_text(encoding="utf-8")
        except UnicodeDecodeError:
            continue
        if path != Path(__file__).resolve() and (found := machine_paths(text)):
            offences[relative(path)] = found
    assert offences == {}


def test_a_machine_path_is_caught() -> None:
    for text in ("see /home/ada/data", 'x = "/root/.cache"', "(/Users/ada/x)", "path=/mnt/disk/a"):
        assert machine_paths(text)
    for text in ("data/runs/work/x", "../work/x", "~/work/x", "$HOME/work/x", "a /etc/hosts"):
        assert not machine_paths(text)


def lock_pins(text: str) -> dict[str, str]:
    return dict(re.findall(r"^([A-Za-z0-9_.-]+)==(\S+)", text, flags=re.MULTILINE))


def lock_offences(text: str) -> list[str]:
    """Lines of a lock that name an address, pin nothing, or come without a hash."""
    found = [
        line
        for line in text.splitlines()
        if "://" in line or line.startswith(("-", "@")) or " @ " in line
    ]
    blocks = [block for block in re.split(r"\n(?=\S)", text.strip()) if not block.startswith("#")]
    found += [
        block.split()[0]
        for block in blocks
        if "==" not in block.split()[0] or "--hash=sha256:" not in block
    ]
    return found


def test_the_lock_pins_with_hashes_and_names_no_address() -> None:
    assert lock_offences((ROOT / "requirements.lock").read_text()) == []


def test_a_bad_lock_is_caught() -> None:
    good = "a==1 \\\n    --hash=sha256:00\nb==2 \\\n    --hash=sha256:11\n"
    assert lock_offences(good) == []
    for bad in (
        "a==1\n",
        good + "c>=2 \\\n    --hash=sha256:1\n",
        "--index-url x\n" + good,
        "a @ file:x\n" + good,
    ):
        assert lock_offences(bad)


def normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def test_the_lock_holds_every_package_that_the_project_asks_for() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    pins = {normal(name) for name in lock_pins((ROOT / "requirements.lock").read_text())}
    asked = [*project["dependencies"], *project["optional-dependencies"]["dev"]]
    missing = [
        name for text in asked if normal(name := re.split(r"[\[<>=~! ]", text)[0]) not in pins
    ]
    assert missing == []


def conda_offences(text: str) -> list[str]:
    """Whatever lets a conda environment hold other packages than the lock."""
    named, found = yaml.safe_load(text)["dependencies"], []
    pip = next((entry["pip"] for entry in named if isinstance(entry, dict)), [])
    plain = [entry for entry in named if isinstance(entry, str)]
    found += [entry for entry in plain if re.split(r"[=<>]", entry)[0] not in ("python", "pip")]
    found += [] if "python=3.11" in plain else ["python is not 3.11"]
    found += [] if "-r requirements.lock" in pip else ["the lock is not named"]
    return found + [
        entry
        for entry in pip
        if entry not in ("-r requirements.lock", "--no-deps", "--require-hashes")
    ]


def test_conda_installs_what_the_lock_names() -> None:
    assert conda_offences((ROOT / "environment.yml").read_text()) == []


def test_another_package_in_conda_is_caught() -> None:
    good = "dependencies:\n  - python=3.11\n  - pip\n  - pip:\n      - -r requirements.lock\n"
    assert conda_offences(good) == []
    assert conda_offences(good + "      - numpy==2\n") == ["numpy==2"]
    assert conda_offences(good.replace("3.11", "3.12")) == ["python is not 3.11"]
    assert conda_offences(good.replace("  - pip\n", "  - pip\n  - numpy\n")) == ["numpy"]


def test_versions_agree_and_the_changelog_knows_them() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert project["version"] == sportskills_lib.__version__
    assert f"## {project['version']}" in (ROOT / "CHANGELOG.md").read_text()


# ------------------------------------------------------------------------------------ documentation


def documented_commands(text: str) -> list[str]:
    """Every `make …` and `sportskills …` in code spans and code blocks."""
    blocks = re.findall(r"```[a-z]*\n(.*?)```", text, flags=re.DOTALL)
    spans = re.findall(r"(?<!`)`([^`\n]+)`(?!`)", re.sub(r"```.*?```", "", text, flags=re.DOTALL))
    lines = [
        line.strip().removeprefix("$ ").split("#")[0].strip()
        for block in blocks
        for line in block.splitlines()
    ]
    return [line for line in (*lines, *spans) if re.match(r"(make|sportskills)( |$)", line)]


def command_offence(command: str, targets: set[str], options: dict[str, set[str]]) -> str | None:
    """Why the command would not be understood, or None."""
    words = command.split()
    if words[0] == "make":
        wrong = [
            word for word in words[1:] if "=" not in word and not word.startswith(("-", "'", '"'))
        ]
        wrong = [word for word in wrong if re.fullmatch(r"[a-z]+", word) and word not in targets]
        return f"make has no target {wrong[0]}" if wrong else None
    names = [word for word in words[1:] if not word.startswith("-")]
    if names and re.fullmatch(r"[a-z]+", names[0]) and names[0] not in options:
        return f"sportskills has no command {names[0]}"
    allowed = options.get(names[0], set()) | {"--help"} if names else {"--help", "--version"}
    wrong = [
        word for word in words[1:] if word.startswith("--") and word.split("=")[0] not in allowed
    ]
    return f"{names[0] if names else 'sportskills'} has no option {wrong[0]}" if wrong else None


@pytest.fixture(scope="module")
def known_commands() -> tuple[set[str], dict[str, set[str]]]:
    import typer.main

    from sportskills_lib.cli import app

    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), flags=re.MULTILINE))
    commands = typer.main.get_command(app).commands  # type: ignore[attr-defined]
    parts = {
        name: [command, *getattr(command, "commands", {}).values()]
        for name, command in commands.items()
    }
    options = {
        name: {opt for command in group for param in command.params for opt in param.opts}
        for name, group in parts.items()
    }
    return targets, options


@pytest.mark.parametrize(
    "name", ["README.md", *(f"docs/{p.name}" for p in sorted((ROOT / "docs").glob("*.md")))]
)
def test_documented_commands_exist(
    name: str, known_commands: tuple[set[str], dict[str, set[str]]]
) -> None:
    commands = documented_commands((ROOT / name).read_text())
    assert [
        found for command in commands if (found := command_offence(command, *known_commands))
    ] == []


def test_the_makefile_lists_what_it_promises(
    known_commands: tuple[set[str], dict[str, set[str]]],
) -> None:
    done = subprocess.run(["make", "help"], cwd=ROOT, capture_output=True, text=True, timeout=60)
    listed = set(re.findall(r"^  make ([a-z]+) ", done.stdout, flags=re.MULTILINE))
    assert {"reproduce", "test", "lint", "lab", "gpu", "clean"} <= listed <= known_commands[0]


def test_a_command_that_does_not_exist_is_caught(
    known_commands: tuple[set[str], dict[str, set[str]]],
) -> None:
    text = (
        "Do `make tset`, then\n```\nsportskills reproduce --form 03\n```\nand `sportskills "
        "repot`; not `other make`."
    )
    commands = documented_commands(text)
    assert len(commands) == 3
    assert all(command_offence(command, *known_commands) for command in commands)
    assert command_offence("make reproduce RUN=x ARGS='--from 03'", *known_commands) is None
    assert (
        command_offence("sportskills reproduce --run mine --set 03.seed=1", *known_commands) is None
    )


def broken_links(text: str, folder: Path) -> list[str]:
    """Links and pictures of a page that point to a file that is not there."""
    targets = re.findall(r"\]\(([^)#\s]+)[^)]*\)|<img[^>]*src=\"([^\"]+)\"", text)
    return [
        path
        for pair in targets
        for path in pair
        if path and "://" not in path and not (folder / path).exists()
    ]


LATER = {
    "docs/figures/per_sport_recall.png",
    "figures/per_sport_recall.png",
}  # copied from a report, after a demo run


@pytest.mark.parametrize(
    "name", ["README.md", *(f"docs/{p.name}" for p in sorted((ROOT / "docs").glob("*.md")))]
)
def test_pages_link_to_what_is_there(name: str) -> None:
    path = ROOT / name
    assert set(broken_links(path.read_text(), path.parent)) <= LATER


def test_a_broken_link_is_caught(tmp_path: Path) -> None:
    assert broken_links("[a](nowhere.md) ![b](none.png) [c](https://example.org)", tmp_path) == [
        "nowhere.md",
        "none.png",
    ]


# -------------------------------------------------------------------------------------------- tests


def test_test_files_have_names_of_their_own() -> None:
    names = [path.name for path in (ROOT / "tests").rglob("test_*.py")]
    assert len(names) == len(set(names))


def test_checkers_are_all_shown_an_offence() -> None:
    """A checker that catches nothing would pass for ever: each one above is called by a test named
    *_caught.
    """
    tree = parsed(Path(__file__))
    checkers = {
        node.name
        for node in tree.body
        if isinstance(node, ast.FunctionDef) and _returns_offences(node)
    }
    caught = [
        node
        for node in tree.body
        if isinstance(node, ast.FunctionDef) and node.name.endswith("_caught")
    ]
    called = {
        call.func.id
        for node in caught
        for call in ast.walk(node)
        if isinstance(call, ast.Call) and isinstance(call.func, ast.Name)
    }
    assert checkers - {"documented_commands", "tracked"} <= called


def _returns_offences(node: ast.FunctionDef) -> bool:
    return (
        node.returns is not None
        and ast.unparse(node.returns) == "list[str]"
        and not node.name.startswith("test_")
    )
