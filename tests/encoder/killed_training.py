"""Trainings that die: `python killed_training.py <folder of a job> <step> <step> …`, each in a process of its own.

At each step given, a forked process is killed at the beginning of that step; the third one while it writes a
checkpoint, when the tensors are there and the JSON that names them is not. Forked before any training, since autograd's
threads do not survive a fork.
"""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

from sportskills_lib.encoder import checkpoints, launching, training


def _die(*_: object, **__: object) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def _train_until(folder: Path, moment: int, *, writing: bool) -> None:
    rate = training.learning_rate_at
    if writing:
        checkpoints.write_whole = _die
    else:
        training.learning_rate_at = lambda step, *a: _die() if step >= moment else rate(step, *a)
    training.train(launching.read_job(folder))


if __name__ == "__main__":
    for number, word in enumerate(sys.argv[2:]):
        child = os.fork()
        if child == 0:
            _train_until(Path(sys.argv[1]), int(word), writing=number == 2)
            os._exit(0)
        status = os.waitpid(child, 0)[1]
        if not os.WIFSIGNALED(status):
            sys.exit(f"the training that was to die at step {word} lived on")
