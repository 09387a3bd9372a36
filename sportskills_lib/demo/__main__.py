"""Make one part of the demo world: ``python -m sportskills_lib.demo <part> <folder> [smoke]``.

`sportskills demo` starts one such process a part, so that each has its memory to itself and dies with its starter.
"""

from __future__ import annotations

import importlib
import logging
import sys
from pathlib import Path
from typing import Any

from sportskills_lib.demo.settings import DemoConfig

SMOKE: dict[str, dict[str, Any]] = {  # sizes of the small world's parts, by the maker's parameters
    "world": {"config": DemoConfig.smoke()},
    "activity": {"config": DemoConfig.smoke()},
    "base_clip": {"steps": 8, "corpus": 96, "batch": 16},
    "base_xclip": {"steps": 4, "corpus": 48, "batch": 8},
    "base_vlm": {"scenes": 96, "vision_steps": 4, "language_steps": 4, "batch": 8},
}


def make(part: str, folder: Path, *, smoke: bool = False) -> None:
    """Make ``part`` below ``folder``: the world's files, a stand-in for a public checkpoint, or
    the activity data set. The module of that name has its maker, ``make_<part>``.
    """
    target = folder / {"world": "", "activity": "activity"}.get(part, f"models/{part}")
    module = importlib.import_module(f"sportskills_lib.demo.{part}")
    getattr(module, f"make_{part}")(target, **(SMOKE[part] if smoke else {}))


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    make(sys.argv[1], Path(sys.argv[2]), smoke="smoke" in sys.argv[3:])
