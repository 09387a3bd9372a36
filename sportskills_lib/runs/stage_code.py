"""What decides a stage's tables besides its config and inputs: code and packages, part by part.

Code counts as a syntax tree without docstrings and comments, so that wording and line breaks rerun
nothing. A stage's code is its notebook up to the cell that finishes the stage, and every library
module that these cells reach through imports. Before 05, statements that only show something are
left out first; what nothing else reaches (plots, figures, widgets) is then no part of the key. No
module is excluded because of its folder: one that a table needs counts, wherever it is.

Of the lock, only the pins of packages that this code imports count, and of what they require.
Nothing is imported here: source text is parsed, and the environment's metadata is read.
"""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Iterable, Iterator
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Any, NamedTuple

from sportskills_lib.formats.files import digest, sha256_file

PACKAGE = "sportskills_lib"
LIBRARY = Path(__file__).resolve().parents[1]
FIRST_REPORTING_STAGE = "05"  # from here on, figures and pages are part of what a stage makes
PRESENTATION = ("plots/*", "viewing/*", "*/figures.py")  # below the library
SHOWING_BUILTINS = ("print", "display")
WRITES_NO_TABLE = (  # modules of a stage may import these; no table depends on them
    "__init__.py",  # environment variables and the version
    "runs/open_run.py",  # reads complete stages
    "runs/progress.py",
    "runs/provenance.py",  # what a manifest and a figure say of their origin
    "runs/stage_code.py",
)


class Code(NamedTuple):
    """A piece of Python: a digest of its tree, and the names that it imports or mentions."""

    digest: str
    library: frozenset[str]  # dotted names of library modules, and of what is taken from them
    packages: frozenset[str]  # top-level names of everything else that is imported
    files: frozenset[str]  # string constants that may name a data file in the module's folder


def _read(tree: ast.Module) -> Code:
    """The code of a tree, which loses its docstrings and its imports for type checkers."""
    for node in ast.walk(tree):
        if isinstance(body := getattr(node, "body", None), list):
            body[:] = [each for each in body if not _is_prose(each)]
    nodes = list(ast.walk(tree))
    imports = {name for node in nodes for name in _imports(node)}
    texts = {node.value for node in nodes if isinstance(node, ast.Constant)}
    words = {text for text in texts if isinstance(text, str)}
    modules = {text for text in words if re.fullmatch(PACKAGE + r"(\.\w+)+", text)}  # python -m
    library = {name for name in imports if name.split(".")[0] == PACKAGE} | modules
    return Code(
        digest(_fields(tree)),
        frozenset(library),
        frozenset(name.split(".")[0] for name in imports - library),
        frozenset(text for text in words if re.fullmatch(r"\w+\.\w{1,8}", text)),
    )


def _is_prose(node: ast.stmt) -> bool:
    if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
        return isinstance(node.value.value, str)
    return isinstance(node, ast.If) and ast.unparse(node.test).endswith("TYPE_CHECKING")


def _fields(node: Any) -> Any:
    """The tree as lists. Empty fields are left out, since Pythons differ in which there are."""
    if isinstance(node, list):
        return [_fields(each) for each in node]
    if not isinstance(node, ast.AST):
        return repr(node)
    fields = [(name, value) for name, value in ast.iter_fields(node) if value not in (None, [])]
    return [type(node).__name__, [(name, _fields(value)) for name, value in fields]]


def _imports(node: ast.AST) -> Iterator[str]:
    if isinstance(node, ast.ImportFrom) and node.module:
        yield node.module
        yield from (f"{node.module}.{alias.name}" for alias in node.names)
    elif isinstance(node, ast.Import):
        yield from (alias.name for alias in node.names)


# ----------------------------------------------------------------------------------------- modules


@cache
def _read_text(source: str) -> Code:
    """Each version of a module is parsed once per process: stages share most of their modules."""
    return _read(ast.parse(source))


def _module(name: str) -> Path | None:
    base = LIBRARY.joinpath(*name.split(".")[1:])
    places = (base.with_suffix(".py"), base / "__init__.py")
    return next((path for path in places if path.is_file()), None)


def _reached(names: Iterable[str]) -> dict[Path, Code]:
    """The library modules of these dotted names and all that they import, directly or not."""
    pending, modules = list(names), dict[Path, Code]()
    while pending:
        path = _module(pending.pop())
        if path and path not in modules and _place(path) not in WRITES_NO_TABLE:
            modules[path] = _read_text(path.read_text(encoding="utf-8"))
            pending.extend(modules[path].library)
    return modules


def _place(path: Path) -> str:
    return path.relative_to(LIBRARY).as_posix()


def _module_parts(modules: dict[Path, Code]) -> dict[str, str]:
    parts = {f"code {PACKAGE}/{_place(path)}": code.digest for path, code in modules.items()}
    named = {path.with_name(name) for path, code in modules.items() for name in code.files}
    data = [path for path in named if path.is_file()]
    return parts | {f"code {PACKAGE}/{_place(path)}": sha256_file(path)[:16] for path in data}


def module_parts(*names: str) -> dict[str, str]:
    """The library modules that these reach, and the data files beside them that they name: "code
    <file>" with a digest.
    """
    return dict(sorted(_module_parts(_reached(names)).items()))


# ---------------------------------------------------------------------------------------- notebooks


def code_parts(home: Path, stage: str, parameters: Iterable[str]) -> dict[str, str]:
    """What the stage's tables follow from, in the workspace ``home``: "code <file>" with a digest,
    "package <name>" with the pinned version. ``parameters`` are the names that the config covers.
    """
    notebook = home / "notebooks" / f"{stage}.ipynb"
    statements = list(_deciding_statements(notebook, set(parameters)))
    if stage < FIRST_REPORTING_STAGE:
        statements = _without_showing(statements)
    start = _read(ast.Module(statements, []))
    modules = _reached(start.library)
    packages = start.packages.union(*(code.packages for code in modules.values()))
    parts = _module_parts(modules) | _pins(packages, home / "requirements.lock")
    return dict(sorted((parts | {f"code notebooks/{notebook.name}": start.digest}).items()))


def _deciding_statements(notebook: Path, parameters: set[str]) -> Iterator[ast.stmt]:
    """The statements up to the cell that finishes the stage, imports one name at a time.

    Values of parameters are left out: they are in the config, whatever sets them.
    """
    for cell in json.loads(notebook.read_text(encoding="utf-8"))["cells"]:
        source = "".join(cell["source"])
        if cell["cell_type"] != "code":
            continue
        covered = parameters if "parameters" in cell["metadata"].get("tags", []) else set()
        try:
            body = ast.parse(re.sub(r"(?m)^[%!].*$", "", source)).body  # IPython's own lines
        except SyntaxError as error:
            raise ValueError(f"notebooks/{notebook.name} cannot be parsed: {error}") from None
        for node in body:
            if isinstance(node, ast.Import | ast.ImportFrom):
                fields = dict(ast.iter_fields(node))
                yield from (type(node)(**(fields | {"names": [name]})) for name in node.names)
            elif not _bound(node) & covered:
                yield node
        if "stage.finish(" in source:
            return


def _bound(node: ast.stmt) -> set[str]:
    """The names that an import or a plain assignment binds; none for another statement."""
    if isinstance(node, ast.Import | ast.ImportFrom):
        return {(alias.asname or alias.name).split(".")[0] for alias in node.names}
    if not isinstance(node, ast.Assign | ast.AnnAssign):
        return set()
    targets = node.targets if isinstance(node, ast.Assign) else [node.target]
    names = {target.id for target in targets if isinstance(target, ast.Name)}
    return names if len(names) == len(targets) else set()


def _without_showing(statements: list[ast.stmt]) -> list[ast.stmt]:
    """The statements without those that only show or draw, and without unused imports.

    A statement only shows when it is a bare value, or calls presentation and saves nothing, and
    when no other statement reads what it assigns.
    """
    showing = set(SHOWING_BUILTINS)
    for node in statements:
        if any(_is_presentation(name) for name in _imports(node)):
            showing |= _bound(node)
    left_out = [node for node in statements if _may_only_show(node, showing)]
    while True:
        rest = [node for node in statements if node not in left_out]
        read = {
            each.id
            for node in rest
            for each in ast.walk(node)
            if isinstance(each, ast.Name) and isinstance(each.ctx, ast.Load)
        }
        if not (needed := [node for node in left_out if _bound(node) & read]):
            return rest
        left_out = [node for node in left_out if node not in needed]


def _is_presentation(name: str) -> bool:
    path = _module(name) if name.startswith(f"{PACKAGE}.") else None
    if path is None:
        return name.split(".")[0] in ("IPython", "matplotlib") or (
            "." in name and name.startswith(PACKAGE) and _is_presentation(name.rpartition(".")[0])
        )
    return any(Path(_place(path)).match(pattern) for pattern in PRESENTATION)


def _may_only_show(node: ast.stmt, showing: set[str]) -> bool:
    if isinstance(node, ast.Import | ast.ImportFrom):
        return True
    saving = ("save", "save_scan", "finish")
    if any(isinstance(each, ast.Attribute) and each.attr in saving for each in ast.walk(node)):
        return False
    value = getattr(node, "value", None) if isinstance(node, ast.Expr) or _bound(node) else None
    bare = isinstance(node, ast.Expr) and not isinstance(value, ast.Call)
    while isinstance(value, ast.Call | ast.Attribute | ast.Subscript):
        value = value.func if isinstance(value, ast.Call) else value.value
    return isinstance(value, ast.Name) and (bare or value.id in showing)


# ----------------------------------------------------------------------------------------- packages


def _pins(imports: Iterable[str], lock: Path) -> dict[str, str]:
    """The locked versions of the packages that these imports come from, and of all that those
    require; {} without a lock.
    """
    text = lock.read_text() if lock.is_file() else ""
    locked = {_normal(name): pin for name, pin in re.findall(r"(?m)^([\w.-]+)==([^\s;\\]+)", text)}
    distributions, pins = _distributions(), dict[str, str]()
    pending = [name for each in imports for name in distributions.get(each, [each])]
    while pending:
        name = _normal(pending.pop())
        if name in locked and f"package {name}" not in pins:
            pins[f"package {name}"] = locked[name]
            pending.extend(_requirements(name))
    return pins


def _normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


_distributions = cache(metadata.packages_distributions)


@cache
def _requirements(name: str) -> list[str]:
    """The names that a package requires, without its extras; [] where it is not installed."""
    try:
        texts = metadata.requires(name) or []
    except metadata.PackageNotFoundError:
        return []
    return [re.split(r"[^\w.-]", text, maxsplit=1)[0] for text in texts if "extra ==" not in text]
