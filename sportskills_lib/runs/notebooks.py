"""One notebook, run without a screen: executed by papermill in a guarded kernel, shown as HTML.

papermill alone runs the notebook's own defaults when the ``parameters`` tag is gone, uses whatever
kernel a machine calls ``python3``, and leaves the kernel running when it is killed. Here each of
these is an error or cannot happen. The source notebook is only read.
"""

from __future__ import annotations

import json
import logging
import os
import re
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

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


def check_tag(path: Path) -> None:
    """ValueError unless the notebook has one cell tagged ``parameters``. Without it papermill would
    run the notebook's own defaults.

    That cell shows the settings that people change; papermill injects the others too, and the
    notebook reads them with ``from_parameters(globals())``.
    """
    if not path.is_file():
        raise ValueError(
            f"there is no notebook {path}: run this in a workspace, or set SPORTSKILLS_HOME to one"
        )
    cells = json.loads(path.read_text())["cells"]
    tagged = sum("parameters" in cell["metadata"].get("tags", []) for cell in cells)
    if tagged != 1:
        raise ValueError(
            f"notebooks/{path.name} has {tagged} cells tagged `parameters`, it needs one: add the "
            "tag to the cell that sets `run`"
        )


# ---------------------------------------------------------------------------------------- execution


@contextmanager
def guarded_kernel(home: Path, log: Path) -> Iterator[None]:
    """Make KERNEL known to Jupyter: this interpreter, guarded, whatever kernels are installed."""
    with tempfile.TemporaryDirectory(prefix="sportskills-") as folder:
        place = Path(folder) / "kernels" / KERNEL
        place.mkdir(parents=True)
        guard = [sys.executable, "-m", "sportskills_lib.runs.process_guard"]
        argv = [*guard, "ipykernel_launcher", "-f", "{connection_file}"]
        spec = {"argv": argv, "display_name": "SportSkills", "language": "python"}
        write_json(place / "kernel.json", spec)
        paths = os.pathsep.join(filter(None, (folder, os.environ.get("JUPYTER_PATH"))))
        before = dict(os.environ)
        os.environ.update(kernel_environment(home) | process_guard.watched_environment(log))
        os.environ["JUPYTER_PATH"] = paths
        try:
            yield
        finally:
            os.environ.clear()
            os.environ.update(before)


def execute(
    notebook: Path, executed: Path, parameters: Mapping[str, Any], *, home: Path, log: Path
) -> None:
    """Run ``notebook`` with ``parameters`` and write the result, cell by cell, to ``executed``.

    The kernel starts in the notebook's folder, as it does in JupyterLab. Raises
    :class:`NotebookError` when a cell fails or the kernel dies; the traceback is then in ``log``
    and in ``executed``.
    """
    import papermill

    executed.parent.mkdir(parents=True, exist_ok=True)
    executed.unlink(missing_ok=True)  # what a killed attempt left, perhaps half
    logger = logging.getLogger("papermill")
    handler = logging.FileHandler(log, encoding="utf-8", delay=True)  # its folder is made below
    handler.setFormatter(logging.Formatter("%(asctime)s %(message)s", "%H:%M:%S"))
    # it warns of every setting that the parameters cell does not show
    handler.addFilter(lambda record: "unknown parameter" not in record.getMessage())
    before = logger.handlers, logger.propagate, logger.level
    logger.handlers, logger.propagate, logger.level = [handler], False, logging.INFO
    with closing(handler), guarded_kernel(home, log):
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
        finally:
            logger.handlers, logger.propagate, logger.level = before
    result = json.loads(executed.read_text())
    result["metadata"]["kernelspec"] = {
        "name": "sportskills",
        "display_name": "SportSkills",
        "language": "python",
    }
    write_json(executed, result)


def _notebook_error(notebook: Path, executed: Path, error: Exception, log: Path) -> NotebookError:
    """Say which cell of the source notebook failed, and put the whole traceback at the end of the
    log.
    """
    text = f"{getattr(error, 'ename', type(error).__name__)}: {getattr(error, 'evalue', error)}"
    if type(error).__name__ == "DeadKernelError":
        text = "the kernel died (was it killed, or out of memory?)"
    trace = "\n".join(getattr(error, "traceback", None) or [str(error)])
    with log.open("a", encoding="utf-8") as file:
        file.write(f"\n{_COLOUR.sub('', trace)}\n")
    where = _failed_cell(notebook, executed)
    return NotebookError(f"notebooks/{notebook.name}", where, _COLOUR.sub("", text), log)


def _failed_cell(notebook: Path, executed: Path) -> str:
    """``cell 7 (first line of it)``, counted in the source notebook from 1: the last one that
    papermill began.
    """
    cells = json.loads(executed.read_text())["cells"] if executed.is_file() else []
    begun = [cell for cell in cells if cell["metadata"].get("papermill", {}).get("start_time")]
    if not begun:
        return "before its first cell"
    originals = ["".join(cell["source"]) for cell in json.loads(notebook.read_text())["cells"]]
    source = "".join(begun[-1]["source"])
    number = originals.index(source) + 1 if source in originals else len(begun)
    code = [line for line in source.splitlines() if line.strip() and not line.startswith("#")]
    return f"cell {number} ({''.join(code[:1]).strip()[:60]})"


# --------------------------------------------------------------------------------------------- HTML


def write_html(executed: Path, html: Path, changed: Mapping[str, Any] | None = None) -> None:
    """Write an executed notebook as one HTML page that loads nothing from elsewhere. Of the cell
    that papermill injected, which sets everything, only ``changed`` is shown.
    """
    import nbformat
    from nbconvert import HTMLExporter

    exporter = HTMLExporter(
        require_js_url="", mathjax_url="", jquery_url="", widget_renderer_url="", mermaid_js_url=""
    )
    notebook = nbformat.read(executed, as_version=4)
    for cell in notebook.cells:
        if changed is not None and "injected-parameters" in cell.metadata.get("tags", []):
            lines = [f"{name} = {value!r}" for name, value in changed.items()]
            cell.source = "\n".join(["# set for this run, in place of the values above", *lines])
    body, _ = exporter.from_notebook_node(notebook)
    html.parent.mkdir(parents=True, exist_ok=True)
    write_whole(html, body)
