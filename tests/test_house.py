"""The house as a whole: who imports whom, what things are called, what is declared, what is used.

Each checker is also shown an offence, as in test_conventions.py.
"""

from __future__ import annotations

import ast
import collections
import importlib.metadata
import json
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

import pytest

import sportskills_lib

ROOT = Path(sportskills_lib.__file__).resolve().parents[1]
LIBRARY = ROOT / "sportskills_lib"
MODULES = sorted(LIBRARY.rglob("*.py"))

MOST_AT_THE_ROOT = 8
SAME_PART = {  # module names that may occur in several packages, where they play the same part
    "stage", "commands", "figures", "rules_judge", "chat_judge", "distributed_job", "save",
}  # fmt: skip
PARTICIPLES = {
    "alike", "asked", "chosen", "counting", "describing", "drawn", "exploring", "fetching",
    "finetuning", "found", "given", "inspecting", "kept", "known", "launching", "left", "listed",
    "loading", "lost", "made", "meant", "mining", "named", "packing", "reading", "running", "said",
    "seen", "serving", "showing", "shown", "stepping", "supervising", "taken", "told", "wanted",
}  # fmt: skip
IN_FILES = {"Study.drawn"}  # fields that files of users hold under this name
NOT_IMPORTED = {  # declared, but used as programs or by name
    "decord2": "video/probe.py imports it by name, without CUDA",
    "ipykernel": "the kernel that notebooks run in",
    "jupyterlab": "what `make lab` opens",
    "tensorboard": "the default of 03's trackers",
}


def relative(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def imported_modules(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


# -------------------------------------------------------------------------------------------- rooms


def room_of(name: str) -> str:
    """The package of a dotted module name: the folder or module below the library."""
    parts = name.split(".")
    return parts[1] if len(parts) > 1 else ""


def circles(imports: Mapping[str, Iterable[str]]) -> list[str]:
    """Groups of rooms that reach each other through imports; ``imports`` are rooms by room."""
    reach: dict[str, set[str]] = {}
    for start in imports:
        pending, seen = [start], set[str]()
        while pending:
            for other in imports.get(pending.pop(), ()):
                if other not in seen:
                    seen.add(other)
                    pending.append(other)
        reach[start] = seen
    groups = {
        frozenset(other for other in reach if other in reach[room] and room in reach[other])
        for room in reach
    }
    return sorted(" ↔ ".join(sorted(group)) for group in groups if group)


def test_rooms_do_not_import_in_circles() -> None:
    imports: dict[str, set[str]] = collections.defaultdict(set)
    for path in MODULES:
        own = path.relative_to(LIBRARY).parts[0].removesuffix(".py")
        for name in imported_modules(ast.parse(path.read_text(encoding="utf-8"))):
            if name.startswith("sportskills_lib.") and (LIBRARY / room_of(name)).is_dir():
                imports[own] |= {room_of(name)} - {own}
    assert circles(imports) == []


def test_a_circle_is_caught() -> None:
    assert circles({"a": ["b"], "b": ["c"], "c": ["a"], "d": ["a"]}) == ["a ↔ b ↔ c"]
    assert circles({"a": ["b"], "b": ["c"]}) == []


def test_few_modules_stand_at_the_root() -> None:
    root = [path.stem for path in LIBRARY.glob("*.py") if path.stem != "__init__"]
    assert len(root) <= MOST_AT_THE_ROOT, root


# -------------------------------------------------------------------------------------------- names


def repeated(sources: Mapping[str, str]) -> list[str]:
    """Public classes, and modules outside SAME_PART, whose names occur twice; sources by path."""
    classes = collections.Counter(
        node.name
        for source in sources.values()
        for node in ast.parse(source).body
        if isinstance(node, ast.ClassDef) and not node.name.startswith("_")
    )
    stems = collections.Counter(Path(path).stem for path in sources)
    found = [f"class {name}" for name, count in classes.items() if count > 1]
    found += [
        f"module {stem}"
        for stem, count in stems.items()
        if count > 1 and stem not in SAME_PART | {"__init__"}
    ]
    return sorted(found)


def test_one_name_means_one_thing() -> None:
    assert repeated({relative(path): path.read_text(encoding="utf-8") for path in MODULES}) == []


def test_a_repeated_name_is_caught() -> None:
    assert repeated({"a/x.py": "class A: ...", "b/x.py": "class A: ..."}) == [
        "class A",
        "module x",
    ]
    assert repeated({"a/stage.py": "class _A: ...", "b/stage.py": "class _A: ..."}) == []


def participles(source: str, stem: str) -> list[str]:
    """Modules, classes, functions and fields that are called by a participle."""
    found = [f"module {stem}"] if stem in PARTICIPLES else []
    for node in ast.walk(ast.parse(source)):
        defines = isinstance(node, ast.ClassDef | ast.FunctionDef)
        if defines and node.name.strip("_").lower() in PARTICIPLES:
            found.append(node.name)
        if isinstance(node, ast.ClassDef):
            found += [
                f"{node.name}.{line.target.id}"
                for line in node.body
                if isinstance(line, ast.AnnAssign)
                and isinstance(line.target, ast.Name)
                and line.target.id in PARTICIPLES
                and f"{node.name}.{line.target.id}" not in IN_FILES
            ]
    return found


def test_names_are_nouns_and_verbs() -> None:
    offences = {
        relative(path): found
        for path in MODULES
        if (found := participles(path.read_text(encoding="utf-8"), path.stem))
    }
    assert offences == {}


def test_a_participle_is_caught() -> None:
    source = "class Said:\n    kept: int\n    def _told(self): ...\n    def tell(self): ..."
    assert participles(source, "asked") == ["module asked", "Said", "Said.kept", "_told"]
    assert participles("def find(): ...", "find") == []


# ---------------------------------------------------------------------------------------- packages


def normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def packages_of(
    sources: Iterable[str], own: set[str], distributions: Mapping[str, list[str]]
) -> dict[str, set[str]]:
    """The distributions that may provide each imported package; ``own`` names are the project's."""
    names = {name.split(".")[0] for text in sources for name in imported_modules(ast.parse(text))}
    return {
        name: {normal(each) for each in distributions.get(name, [])}
        for name in sorted(names - own - set(sys.stdlib_module_names))
    }


def undeclared(found: Mapping[str, set[str]], declared: set[str]) -> list[str]:
    """Imported packages that no declared distribution provides, among those that are installed."""
    return [name for name, providers in found.items() if providers and not providers & declared]


def _declared(*extras: str) -> set[str]:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    wanted = [*project["dependencies"]]
    wanted += [text for extra in extras for text in project["optional-dependencies"][extra]]
    return {normal(re.split(r"[\[<>=~! ]", text)[0]) for text in wanted}


def _sources(folder: str) -> list[str]:
    return [path.read_text(encoding="utf-8") for path in sorted((ROOT / folder).rglob("*.py"))]


def test_the_library_imports_what_it_declares_and_nothing_else() -> None:
    distributions = importlib.metadata.packages_distributions()
    own = {"sportskills_lib"}
    found = packages_of(_sources("sportskills_lib"), own, distributions)
    assert undeclared(found, _declared()) == []
    used = set().union(*found.values())
    assert sorted(_declared() - used - set(NOT_IMPORTED)) == []


def test_tests_and_benchmarks_import_what_is_declared() -> None:
    distributions = importlib.metadata.packages_distributions()
    own = {
        path.stem for folder in ("tests", "benchmarks") for path in (ROOT / folder).rglob("*.py")
    }
    found = packages_of(
        [*_sources("tests"), *_sources("benchmarks")], own | {"sportskills_lib"}, distributions
    )
    assert undeclared(found, _declared("dev", "benchmarks")) == []


def test_an_undeclared_package_is_caught() -> None:
    found = packages_of(["import PIL.Image\nfrom os import path"], set(), {"PIL": ["Pillow"]})
    assert found == {"PIL": {"pillow"}}
    assert undeclared(found, {"numpy"}) == ["PIL"]
    assert undeclared(found, {"pillow"}) == []


# ------------------------------------------------------------------------------------------- files

FOUND_BY_PATTERN = (  # what a program reads or writes by a pattern, not by each name
    r"notebooks/\d\d_\w+\.ipynb", r"docs/study(_\w+)?/.*", r"docs/[\w-]+\.md", r"tests/(.*/)?test_\w+\.py",
    r"(.*/)?(conftest|__init__)\.py", r"(.*/)?\.gitkeep", r"benchmarks/\w+\.(py|md)",
)  # fmt: skip
FOUND_BY_TOOLS = {
    "LICENSE", "Makefile", "README.md", "CHANGELOG.md", "pyproject.toml", "environment.yml",
    ".gitignore", ".ci/run", "sportskills_lib/py.typed",
}  # fmt: skip


def unused_files(texts: Mapping[str, str | None]) -> list[str]:
    """Files that no other file names; texts by path, None for what is not text."""
    unused = []
    for path in texts:
        if path in FOUND_BY_TOOLS or any(re.fullmatch(each, path) for each in FOUND_BY_PATTERN):
            continue
        name = Path(path).stem if path.endswith(".py") else Path(path).name
        word = re.compile(rf"(?<![\w]){re.escape(name)}(?![\w])")
        if not any(text and word.search(text) for other, text in texts.items() if other != path):
            unused.append(path)
    return unused


def test_every_file_is_used() -> None:
    done = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True)
    if done.returncode:
        pytest.skip("not a git checkout: tracked files are unknown")
    texts: dict[str, str | None] = {}
    for name in filter(None, done.stdout.split("\0")):
        if (ROOT / name).is_file() and not name.endswith("requirements.lock"):
            try:
                texts[name] = (ROOT / name).read_text(encoding="utf-8")
            except UnicodeDecodeError:
                texts[name] = None
    assert unused_files(texts) == []


def test_an_unused_file_is_caught() -> None:
    texts = {"data/try.ipynb": "{}", "a/used.py": "", "b/c.py": "import used", "x/d.toml": ""}
    assert unused_files(texts) == ["data/try.ipynb", "b/c.py", "x/d.toml"]


# ---------------------------------------------------------------------------------------- notebooks


@pytest.mark.parametrize(
    "path", sorted((ROOT / "notebooks").glob("*.ipynb")), ids=lambda path: path.stem
)
def test_notebooks_open_with_the_kernel_of_the_project(path: Path) -> None:
    kernel = json.loads(path.read_text(encoding="utf-8"))["metadata"]["kernelspec"]
    assert (kernel["name"], kernel["display_name"]) == ("sportskills", "SportSkills")
