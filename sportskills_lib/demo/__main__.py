"""Make one part of the demo world: ``python -m sportskills_lib.demo <part> <folder> [smoke]``.

`sportskills demo` starts one such process a part, so that each has its memory to itself and dies with its starter.
"""

from __future__ import annotations

import sys
from pathlib import Path

PARTS = ("world", "base_clip", "base_vlm", "base_xclip", "activity")


def make(part: str, folder: Path, *, smoke: bool = False) -> None:
    """Make ``part`` below ``folder``: the world's files, a stand-in for a public checkpoint, or
    the activity data set.
    """
    if part == "world":
        from sportskills_lib.demo.settings import DemoConfig
        from sportskills_lib.demo.world import make_world

        make_world(folder, DemoConfig.smoke() if smoke else DemoConfig(), progress=print)
    elif part == "base_clip":
        from sportskills_lib.demo.base_clip import make_base_clip

        make_base_clip(
            folder / "models" / part, **({"steps": 8, "corpus": 96, "batch": 16} if smoke else {})
        )
    elif part == "base_vlm":
        from sportskills_lib.demo.base_vlm import Recipe, build_base_vlm

        small = Recipe(scenes=96, vision_steps=4, language_steps=4, batch=8)
        build_base_vlm(folder / "models" / part, recipe=small if smoke else Recipe())
    elif part == "base_xclip":
        from sportskills_lib.demo.base_xclip import make_base_xclip

        make_base_xclip(
            folder / "models" / part, **({"steps": 4, "corpus": 48, "batch": 8} if smoke else {})
        )
    elif part == "activity":
        from sportskills_lib.demo.activity import make_activity
        from sportskills_lib.demo.settings import DemoConfig

        make_activity(folder / part, DemoConfig.smoke() if smoke else DemoConfig())
    else:
        raise ValueError(f"the demo world has no part {part!r}; it has {', '.join(PARTS)}")


if __name__ == "__main__":
    make(sys.argv[1], Path(sys.argv[2]), smoke="smoke" in sys.argv[3:])
