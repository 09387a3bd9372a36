"""A finetuning that dies by SIGKILL: `python killed_finetuning.py <folder of a job> <step>
<where>`.

``where``: ``step``, at the beginning of that step; ``checkpoint``, while the next checkpoint is
written, when its tensors are there and the JSON that names them is not.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from sportskills_lib.retrieval.relevance import finetune
from sportskills_lib.training import loop


def die_at(patch: pytest.MonkeyPatch, step: int, where: str, die: Callable[..., Any]) -> None:
    """Have the next finetuning call ``die`` at that moment."""
    rate = loop.learning_rate_at
    if where == "checkpoint":
        patch.setattr(loop, "write_whole", die)
    else:
        patch.setattr(
            loop, "learning_rate_at", lambda now, *a: die() if now >= step else rate(now, *a)
        )


if __name__ == "__main__":
    folder, moment, where = sys.argv[1:]
    die_at(
        pytest.MonkeyPatch(),
        int(moment),
        where,
        lambda *_, **__: os.kill(os.getpid(), signal.SIGKILL),
    )
    finetune.run_job(Path(folder))
