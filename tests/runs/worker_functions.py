"""Functions that test_worker_pool runs in worker processes: some of them end badly."""

from __future__ import annotations

import os
import signal
import time
from multiprocessing.connection import Connection
from pathlib import Path

import numpy as np
import polars as pl


def square(item: int) -> dict[str, pl.DataFrame | np.ndarray]:
    rows = [(item, item * item)] * (item % 3)
    frame = pl.DataFrame(rows, schema={"item": pl.Int64, "square": pl.Int64}, orient="row")
    return {"rows": frame, "noise": np.full((item % 4, 2), item, np.int16)}


def slow_square(item: int) -> dict[str, pl.DataFrame | np.ndarray]:
    time.sleep(0.02 * (item % 3))
    return square(item)


def die_on_seven(item: int) -> dict[str, pl.DataFrame | np.ndarray]:
    if item == 7:
        os.kill(os.getpid(), signal.SIGKILL)
    return square(item)


def hang_on_five(item: int) -> dict[str, pl.DataFrame | np.ndarray]:
    if item == 5:
        time.sleep(600)
    return square(item)


def slow_at_first(item: tuple[str, int]) -> dict[str, pl.DataFrame | np.ndarray]:
    """Hangs when it is first asked about an odd item, and answers the second time a little too late
    for one limit.
    """
    folder, number = item
    before = len(list(Path(folder).glob(f"{number}-*")))
    answer = note_and_square(item)
    if number % 2:
        time.sleep(2.6 if before else 600)
    return answer


PREPARED: list[int] = []


def prepare_slowly() -> None:
    time.sleep(1.5)
    PREPARED.append(os.getpid())


def needs_preparing(item: int) -> dict[str, pl.DataFrame | np.ndarray]:
    assert [os.getpid()] == PREPARED
    return square(item)


def fail_on_two(item: int) -> dict[str, pl.DataFrame | np.ndarray]:
    if item == 2:
        raise KeyError("a mistake of ours")
    return square(item)


def note_and_square(item: tuple[str, int]) -> dict[str, pl.DataFrame | np.ndarray]:
    """Leaves a file for every call, so that a test can count them."""
    folder, number = item
    Path(folder, f"{number}-{time.monotonic_ns()}").touch()
    return square(number)


def write_pid_and_sleep(item: str) -> dict[str, pl.DataFrame | np.ndarray]:
    Path(item).write_text(str(os.getpid()))
    time.sleep(600)
    return square(0)


def die_while_sending(item: int) -> dict[str, pl.DataFrame | np.ndarray]:
    """Item 7's process is killed when it has sent the head of its answer, but not the rest."""
    if item == 7:

        def send_half(connection: Connection, answer: bytes) -> None:
            os.write(connection.fileno(), (len(answer) + 10**6).to_bytes(4, "big") + answer)
            os.kill(os.getpid(), signal.SIGKILL)

        Connection._send_bytes = send_half  # type: ignore[attr-defined]
    return square(item)
