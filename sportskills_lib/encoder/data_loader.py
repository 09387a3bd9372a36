"""Batches made ahead of the model, in threads: frames read from the map, drawn, shifted, pinned for
a GPU.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np

Made = TypeVar("Made")


@dataclass
class Waiting:
    """How long the model waited for data."""

    seconds: float = 0.0


def ahead(
    make: Callable[[Any], Made],
    items: Iterable[Any],
    *,
    threads: int,
    waiting: Waiting,
) -> Iterator[Made]:
    """Yield ``make(item)`` for every item, in order, at most two a thread made before they are
    asked for.

    Threads suffice: reading and copying arrays lets the interpreter go. ``threads=0`` makes each
    when it is asked for. The time between asking and having goes to ``waiting``.
    """
    stream, made = iter(items), deque[Future[Made]]()
    with ThreadPoolExecutor(max(1, threads)) as pool:
        try:
            while True:
                started = time.monotonic()
                for item in stream:
                    made.append(pool.submit(make, item))
                    if len(made) > 2 * threads:
                        break
                if not made:
                    return
                value = made.popleft().result()
                waiting.seconds += time.monotonic() - started
                yield value
        finally:
            pool.shutdown(wait=False, cancel_futures=True)


@dataclass(frozen=True)
class FrameBatch:
    """One process's part of a batch: frames (uint8 [b, T, H, W, 3]) or their features ([b, T, D]),
    and their times.
    """

    clips: np.ndarray
    time_BT: np.ndarray  # when each frame is, as a share of its clip


def draw_frames(
    clips: np.ndarray,
    rows: np.ndarray,
    share: slice,
    *,
    count: int,
    shift_px: int,
    rng: np.random.Generator,
) -> FrameBatch:
    """``count`` random frames of each clip of ``rows[share]``, in order; pictures are all shifted
    alike.

    ``clips``: uint8 [N, T, H, W, 3], or features [N, T, D], which cannot be shifted. Draws are
    made for the whole batch, so that how many processes share it changes nothing.
    """
    total = clips.shape[1]
    moments = np.sort(
        np.stack([rng.choice(total, min(count, total), replace=False) for _ in rows]), axis=1
    )[share]
    batch = clips[rows[share, None], moments]
    if clips.ndim == 5:
        down, right = rng.integers(-shift_px, shift_px + 1, 2)
        batch = np.roll(batch, (int(down), int(right)), axis=(2, 3))
    return FrameBatch(batch, ((moments + 0.5) / total).astype(np.float32))
