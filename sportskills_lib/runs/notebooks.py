"""One notebook, run without a screen: parameters checked, executed by papermill in a guarded
kernel, shown as HTML.

papermill alone only warns of a parameter that the notebook does not have, runs the notebook's own
defaults when the
``parameters`` tag is gone, uses whatever kernel a machine calls ``python3``, and leaves the kernel
running when it is killed. Here each of these is an error or cannot happen. The source notebook is
only read.
"""

from __future__ import annotations

import ast
import json
import logging
import os
import re
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sportskills_lib.config import CONFIGS, did_you_mean
from sportskills_lib.formats.files import write_whole
from sportskills_lib.runs import process_guard
from sportskills_lib.runs.artifacts import write_json
from sportskills_lib.runs.errors import NotebookError

KERNEL = "sportskills-headless"
THREADS_CAP = 8
START_TIMEOUT_S = 180
_COLOUR = re.compile(r"\x1b\[[0-9;]*m")


def cores() -> int:
    """The processor cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def kernel_environment(home: Path) -> dict[str, str]:
    """What a stage's process gets: quiet threads, a fixed hash seed, no progress bars, the
    workspace, the library.

    What the user has set wins, except for the workspace. OpenMP must be told before torch is
    imported; with the default busy-waiting a small model's step takes 4 to 20 times longer on two
    cores.
    """
    threads = str(min(cores(), THREADS_CAP))
    defaults = {
        "OMP_NUM_THREADS": threads,
        "OMP_WAIT_POLICY": "PASSIVE",
        "TOKENIZERS_PARALLELISM": "false",
        "CUBLAS_WORKSPACE_CONFIG": ":4096:8",
        "PYTHONHASHSEED": "0",
        "TQDM_DISABLE": "1",
        "HF_HUB_DISABLE_PROGRESS_BARS": "1",
    }
    library = str(Path(__file__).resolve().parents[2])
    path = os.pathsep.join(filter(None, (library, os.environ.get("PYTHONPATH"))))
    return defaults | dict(os.environ) | {"SPORTSKILLS_HOME": str(home), "PYTHONPATH": path}


# --------------------------------------------------------------------------------------- parameters


def notebook_parameters(path: Path) -> list[str]:
    """The names that the notebook's one ``parameters`` cell sets; ValueError when there is no such
    cell, or two.
    """
    if not path.is_file():
        raise ValueError(
            f"there is no notebook {path}: run this in a workspace, or set SPORTSKILLS_HOME to one"
        )
    tagged = [
        cell
        for cell in json.loads(path.read_text())["cells"]
        if cell["cell_type"] == "code" and "parameters" in cell["metadata"].get("tags", [])
    ]
    if len(tagged) != 1:
        raise ValueError(
            f"notebooks/{path.name} has {len(tagged)} cells tagged `parameters`, it needs one: "
            "add the tag to the cell "
            "that sets `run` (otherwise it would run with its defaults, whatever it is told)"
        )
    names = []
    for node in ast.parse("".join(tagged[0]["source"])).body:
        targets = node.targets if isinstance(node, ast.Assign) else [getattr(node, "target", None)]
        names += [target.id for target in targets if isinstance(target, ast.Name)]
    return names


def check_parameters(path: Path, parameters: Mapping[str, Any]) -> None:
    """ValueError when a stage's config does not have one of ``parameters``, naming those it has.

    The parameters cell shows the settings that people change; papermill injects the others too,
    and the notebook reads them with ``from_parameters(globals())``. A notebook that is no stage has
    the parameters of its cell.
    """
    shown = notebook_parameters(path)
    config = CONFIGS.get(path.stem)
    known = shown if config is None else ["run", *config.model_fields]
    if unknown := [name for name in parameters if name not in known]:
        raise ValueError(
            f"notebooks/{path.name} has no parameter {unknown[0]}: "
            f"{did_you_mean(unknown[0], known)}"
        )


# ---------------------------------------------------------------------------------------- execution


@contextmanager
def guarded_kernel(home: Path, log: Path) -> Iterator[None]:
    """Make KERNEL known to Jupyter: this interpreter, guarded, whatever kernels are installed."""
    with tempfile.TemporaryDirectory(prefix="sportskills-") as folder:
        place = Path(folder) / "kernels" / KERNEL
        place.mkdir(parents=True)
        argv = [
            sys.executable,
            "-m",
            "sportskills_lib.runs.process_guard",
            "ipykernel_launcher",
            "-f",
            "{connection_file}",
        ]
        spec = {"argv": argv, "display_name": "SportSkills", "language": "python"}
        write_json(place / "kernel.json", spec)
        added = (
            kernel_environment(home)
            | process_guard.watched_environment()
            | {process_guard.LOG_VARIABLE: str(log)}
        )
        added["JUPYTER_PATH"] = os.pathsep.join(
            filter(None, (folder, os.environ.get("JUPYTER_PATH")))
        )
        before = dict(os.environ)
        os.environ.update(added)
        try:
            yield
        finally:
            os.environ.clear()
            os.environ.update(before)


@contextmanager
def _logging_to(log: Path) -> Iterator[None]:
    """Send papermill's account of the run, with everything that cells print, to ``log``."""
    log.parent.mkdir(parents=True, exist_ok=True)
    log.write_bytes(b"")
    logger, handler = (
        logging.getLogger("papermill"),
        logging.FileHandler(log, mode="a", encoding="utf-8"),
    )
    handler.setFormatter(logging.Formatter("%(asctime)s %(message)s", "%H:%M:%S"))
    level, propagate = logger.level, logger.propagate
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    logger.propagate = False
    try:
        yield
    finally:
        logger.removeHandler(handler)
        logger.setLevel(level)
        logger.propagate = propagate
        handler.close()


def execute(
    notebook: Path, executed: Path, parameters: Mapping[str, Any], *, home: Path, log: Path
) -> None:
    """Run ``notebook`` with ``parameters`` and write the result, cell by cell, to ``executed``.

    The kernel starts in the notebook's folder, as it does in JupyterLab. Raises
    :class:`NotebookError` when a cell fails or the kernel dies; the traceback is then in ``log``
    and in ``executed``.
    """
    import papermill

    check_parameters(notebook, parameters)
    executed.parent.mkdir(parents=True, exist_ok=True)
    with _logging_to(log), guarded_kernel(home, log):
        try:
            papermill.execute_notebook(
                str(notebook),
                str(executed),
                parameters=dict(parameters),
                kernel_name=KERNEL,
                language="python",
                cwd=str(notebook.parent),
                progress_bar=False,
                log_output=True,
                start_timeout=START_TIMEOUT_S,
            )
        except OSError:
            raise
        except Exception as error:
            raise _notebook_error(notebook, executed, error, log) from error
    _restore_kernel_name(executed)


def _notebook_error(notebook: Path, executed: Path, error: Exception, log: Path) -> NotebookError:
    """Say which cell of the source notebook failed, and put the whole traceback at the end of the
    log.
    """
    name, trace = getattr(error, "ename", None), getattr(error, "traceback", None)
    if name:
        text = f"{name}: {getattr(error, 'evalue', '')}"
    elif type(error).__name__ == "DeadKernelError":
        text = "the kernel died (was it killed, or out of memory?)"
    else:
        text = f"{type(error).__name__}: {error}"
    with log.open("a", encoding="utf-8") as file:
        file.write("\n" + _COLOUR.sub("", "\n".join(trace or [str(error)])) + "\n")
    return NotebookError(
        f"notebooks/{notebook.name}", _failed_cell(notebook, executed), _COLOUR.sub("", text), log
    )


def _failed_cell(notebook: Path, executed: Path) -> str:
    """``cell 7 (first line of it)``, counted in the source notebook from 1."""
    try:
        cells = json.loads(executed.read_text())["cells"]
    except (OSError, ValueError):
        return "before its first cell"
    at = next((i for i, cell in enumerate(cells) if _has_failed(cell)), None)
    if at is None:
        return "before its first cell"
    source = "".join(cells[at]["source"])
    originals = ["".join(cell["source"]) for cell in json.loads(notebook.read_text())["cells"]]
    number = originals.index(source) + 1 if source in originals else at + 1
    first = next(
        (line for line in source.splitlines() if line.strip() and not line.startswith("#")), ""
    )
    return f"cell {number} ({first.strip()[:60]})"


def _has_failed(cell: dict[str, Any]) -> bool:
    """Whether papermill says so, or the cell was begun and never answered: its kernel died."""
    noted = cell["metadata"].get("papermill", {})
    answered = "shell.execute_reply" in cell["metadata"].get("execution", {})
    begun = cell["cell_type"] == "code" and noted.get("start_time") is not None
    return noted.get("status") == "failed" or (begun and not answered)


def _restore_kernel_name(executed: Path) -> None:
    notebook = json.loads(executed.read_text())
    notebook["metadata"]["kernelspec"] = {
        "name": "sportskills",
        "display_name": "SportSkills",
        "language": "python",
    }
    write_json(executed, notebook)


# --------------------------------------------------------------------------------------------- HTML


def write_html(executed: Path, html: Path) -> None:
    """Write an executed notebook as one HTML page that loads nothing from elsewhere.

    Of the parameters that papermill set, only those are shown that differ from the cell that
    explains them.
    """
    import nbformat
    from nbconvert import HTMLExporter

    notebook = _without_repeats(nbformat.read(executed, as_version=4), html.stem)
    exporter = HTMLExporter(
        require_js_url="", mathjax_url="", jquery_url="", widget_renderer_url="", mermaid_js_url=""
    )
    body, _ = exporter.from_notebook_node(notebook)
    html.parent.mkdir(parents=True, exist_ok=True)
    write_whole(html, body)


def _without_repeats(notebook: Any, stage: str = "") -> Any:
    """The notebook with no value shown twice: the cell of injected parameters keeps those that
    differ from the parameters cell or, where it does not show them, from the stage's defaults.
    """
    tagged = {tag: cell for cell in notebook.cells for tag in cell.metadata.get("tags", [])}
    told, injected = tagged.get("parameters"), tagged.get("injected-parameters")
    if told is None or injected is None:
        return notebook
    defaults = {
        name: ("", repr(field.get_default(call_default_factory=True)))
        for name, field in (CONFIGS[stage].model_fields if stage in CONFIGS else {}).items()
    }
    known = defaults | _assigned(told.source)
    changed = [
        line
        for name, (line, value) in _assigned(injected.source).items()
        if known.get(name, ("", ""))[1] != value
    ]
    injected.source = "\n".join(["# set for this run, in place of the values above", *changed])
    if not changed:
        notebook.cells.remove(injected)
    return notebook


def _assigned(source: str) -> dict[str, tuple[str, str]]:
    """Name: its line and its value, of a cell that holds literal assignments and comments."""
    found = {}
    for node in ast.parse(source).body:
        if isinstance(node, ast.Assign | ast.AnnAssign) and node.value is not None:
            target = node.targets[0] if isinstance(node, ast.Assign) else node.target
            found[ast.unparse(target)] = (ast.unparse(node), ast.unparse(node.value))
    return found
