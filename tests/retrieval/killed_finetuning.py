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
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

from sportskills_lib.retrieval.relevance import distributed_job, finetune
from sportskills_lib.training import checkpoints


def die_at(patch: pytest.MonkeyPatch, step: int, where: str, die: Callable[..., Any]) -> None:
    """Have the next finetuning call ``die`` at that moment."""
    rate = finetune.rate_share
    if where == "checkpoint":
        patch.setattr(checkpoints, "write_whole", die)
    else:
        patch.setattr(
            finetune, "rate_share", lambda now, steps: die() if now >= step else rate(now, steps)
        )


if __name__ == "__main__":
    folder, moment, where = sys.argv[1:]
    die_at(
        pytest.MonkeyPatch(),
        int(moment),
        where,
        lambda *_, **__: os.kill(os.getpid(), signal.SIGKILL),
    )
    vlm, material, plan = distributed_job.read_job(Path(folder))
    finetune.finetune(vlm, *vars(material).values(), folder=Path(folder), **asdict(plan))
