"""A small workspace whose notebooks do next to nothing, for tests of the runner and of stage
folders.
"""

from __future__ import annotations

from pathlib import Path

import nbformat

from sportskills_lib.config import CONFIGS
from sportskills_lib.runs.artifacts import NOTEBOOKS

ROWS = 40

# One toy stage: it works through shards as real stages do, so that a kill may come at any moment.
TOY_BODY = """
from pathlib import Path
import os, time
import polars as pl
from sportskills_lib.runs import artifacts
from sportskills_lib.config import CONFIGS
"""
TOY_BEGIN = """
config = CONFIGS["{stage}"].from_parameters(globals())
stage = artifacts.begin(run, "{stage}", config, source={source}, after={after})
"""
TOY_WORK = """
for shard in range(4):
    path = stage.shards / f"{{shard}}.parquet"
    time.sleep(float(os.environ.get("TOY_SLEEP_S", "0")))
    if not path.is_file():
        rows = [(f"{stage}-{{i}}", i * {factor}) for i in range(shard, {rows}, 4)]
        frame = pl.DataFrame(rows, schema=["name", "value"], orient="row")
        frame.write_parquet(path.with_suffix(".tmp"))
        path.with_suffix(".tmp").rename(path)
"""
TOY_SAVE = """
table = pl.concat([pl.read_parquet(stage.shards / f"{{shard}}.parquet") for shard in range(4)]).sort("value")
stage.save("toy", table)
print("a line that {stage} printed")
"""
TOY_END = """
stage.finish(seed=0, rows={rows})
"""
TOY_REPORT = """
report = artifacts.workspace() / "reports" / run
report.mkdir(parents=True, exist_ok=True)
(report / "index.html").write_text("<p>done</p>")
"""


def toy_notebook(stage: str, *, cells: list[str] | None = None) -> nbformat.NotebookNode:
    """A notebook that does a stage's bookkeeping around a table of ROWS rows."""
    number = NOTEBOOKS.index(stage)
    lines = ['run: str = "demo"']
    for name, field in CONFIGS[stage].model_fields.items():
        lines.append(f"{name} = {field.get_default(call_default_factory=True)!r}")
    source = 'artifacts.workspace() / "data/raw/mine"' if number == 0 else "None"
    words = {
        "stage": stage,
        "factor": number + 1,
        "rows": ROWS,
        "source": source,
        "after": NOTEBOOKS[:number][-1:],
    }
    body = (
        [text.format(**words) for text in (TOY_BEGIN, TOY_WORK, TOY_SAVE)]
        if cells is None
        else cells
    )
    end = [TOY_REPORT] if number == 4 else []
    sources = [TOY_BODY, "\n".join(lines), *body, *end, TOY_END.format(**words)]
    notebook = nbformat.v4.new_notebook(
        cells=[nbformat.v4.new_code_cell(text.strip()) for text in sources]
    )
    notebook.cells[1].metadata["tags"] = ["parameters"]
    for i, cell in enumerate(notebook.cells):
        cell["id"] = f"cell-{i}"
    return notebook


def make_toy_workspace(folder: Path) -> Path:
    """A workspace with toy notebooks and a raw folder; nothing in it reads the demo world."""
    for name in ("notebooks", "data/raw/mine", "data/runs", "reports", "sportskills_lib"):
        (folder / name).mkdir(parents=True)
    (folder / "data/raw/mine/a.txt").write_text("one lesson")
    for stage in NOTEBOOKS:
        nbformat.write(toy_notebook(stage), folder / "notebooks" / f"{stage}.ipynb")
    return folder


def toy_settings() -> dict[str, dict[str, str]]:
    """Settings under which no stage reads the demo world."""
    return {
        stage: {
            name: "data/raw/mine"
            for name, field in config.model_fields.items()
            if isinstance(field.default, str) and field.default.startswith("data/raw/")
        }
        for stage, config in CONFIGS.items()
    }


def toy_words() -> list[str]:
    """The same settings as words of the command line."""
    pairs = [
        (stage, name, value)
        for stage, values in toy_settings().items()
        for name, value in values.items()
    ]
    return [word for stage, name, value in pairs for word in ("--set", f"{stage}.{name}={value}")]
