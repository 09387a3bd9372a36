"""SportSkills: learning physical skills from instructional video, as a research workspace.

Importing the package sets two OpenMP variables before torch can be imported anywhere: with the
default busy-waiting, a small model's step takes 4 to 20 times longer on a machine with few cores.
Two more tell polars to show 30 rows of a table and 80 characters of a text, where it would cut a
list of sports and most sentences. A value set by the user wins.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sportskills_lib.runs.open_run import Run as Run

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
os.environ.setdefault("POLARS_FMT_MAX_ROWS", "30")
os.environ.setdefault("POLARS_FMT_STR_LEN", "80")

__version__ = "0.2.0"


def __getattr__(name: str) -> Any:
    """``Run`` on first use, so that importing the package loads neither polars nor torch."""
    if name != "Run":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from sportskills_lib.runs.open_run import Run

    return Run
