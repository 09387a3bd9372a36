"""How far a run is, and how long it will take: bars in JupyterLab and on a terminal, plain lines
elsewhere.

A bar is tqdm's. Without a terminal, and in headless notebooks (TQDM_DISABLE is set there), the same
facts are lines in the log, at most one per LINE_EVERY_S.
"""

from __future__ import annotations

import logging
import os
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

log = logging.getLogger("sportskills")

LINE_EVERY_S = 10.0  # between lines about items, where no bar is shown
STEP_LINE_EVERY_S = 60.0  # between lines about a step of the pipeline, likewise
TICK_S = 1.0
LINE = "{desc}: {n_fmt} of {total_fmt}, {rate_noinv_fmt}, {remaining} left{postfix}"


class ItemProgress:
    """Progress over items of about equal cost, with their rate and the time left.

    ``resumed`` of the ``total`` items were finished before. Lines go to ``say``; giving it means
    that no bar is shown.
    """

    def __init__(
        self,
        label: str,
        total: int,
        *,
        resumed: int = 0,
        unit: str = "item",
        say: Callable[[str], None] | None = None,
    ):
        self.failed, self._resumed = 0, resumed
        options: dict[str, Any] = {"total": total, "initial": resumed, "desc": label, "unit": unit}
        self._is_bar = say is None and _shows_bars()
        if self._is_bar:
            from tqdm.auto import tqdm
        else:
            from tqdm.std import tqdm  # type: ignore[assignment]

            options |= {"bar_format": LINE, "file": _Lines(say or log.info), "leave": False}
            options |= {"mininterval": LINE_EVERY_S, "delay": LINE_EVERY_S, "miniters": 1}
        self._bar = tqdm(**options, disable=False)
        self._show_counts()

    def update(self, count: int = 1, *, failed: bool = False) -> None:
        """``count`` more items are finished."""
        self.failed += failed
        if failed:
            self._show_counts()
        self._bar.update(count)

    def close(self) -> None:
        """End the bar, or log the last line if any item was finished since the start."""
        if not self._is_bar and self._bar.n > self._resumed:
            self._bar.refresh()
        self._bar.close()

    def _show_counts(self) -> None:
        counts = {"failed": self.failed, "resumed": self._resumed}
        text = ", ".join(f"{count} {name}" for name, count in counts.items() if count)
        if text:
            self._bar.set_postfix_str(text, refresh=False)


def _shows_bars() -> bool:
    """Whether somebody watches: a terminal, or a notebook that is not run headless."""
    if os.environ.get("TQDM_DISABLE"):
        return False
    return sys.stderr.isatty() or "ipykernel.kernelapp" in sys.modules


class _Lines:
    """A file for tqdm that passes on what would be drawn, without the carriage returns."""

    def __init__(self, say: Callable[[str], None]):
        self._say = say

    def write(self, text: str) -> None:
        if line := text.strip():
            self._say(line)

    def flush(self) -> None:
        """Nothing is held back."""


class Progress:
    """Progress of a pipeline: a line when a step starts and when it ends, with the time left.

    The time left is the planned time of the steps to come, multiplied by how much longer than
    planned the finished ones took (never by less than 1: short steps say little). On a terminal a
    clock runs in between, elsewhere there is a line per STEP_LINE_EVERY_S.
    """

    def __init__(self, say: Callable[[str], None], *, terminal: bool | None = None):
        self._say = say
        self._terminal = sys.stdout.isatty() and say is print if terminal is None else terminal
        self._planned_s: dict[str, float | None] = {}
        self._finished_planned_s, self._finished_s = 0.0, 0.0

    def expect(self, seconds: Mapping[str, float | None]) -> None:
        """Plan these seconds for these steps; None for a step of unknown length."""
        self._planned_s |= seconds

    def skip(self, name: str, text: str) -> None:
        """Report that a step needs no work."""
        self._planned_s.pop(name, None)
        self._say(f"  {name:<16}{text}")

    @contextmanager
    def step(
        self, name: str, why: list[str], *, planned_s: float | None = None
    ) -> Iterator[list[str]]:
        """Report that a step starts and why, the time while it runs, and how long it took.

        What the block appends to the list is printed at the end of the last line.
        """
        if planned_s is not None:
            self._planned_s[name] = planned_s
        reason = ", ".join(why[:3]) + (f" and {len(why) - 3} more" if len(why) > 3 else "")
        self._say(f"  {name:<16}runs ({reason}){self._time_left(name, 0.0)}")
        started, done, notes = time.monotonic(), threading.Event(), list[str]()
        ticker = threading.Thread(target=self._tick, args=(name, started, done), daemon=True)
        ticker.start()
        try:
            yield notes
        finally:
            done.set()
            ticker.join()
        seconds = time.monotonic() - started
        if planned := self._planned_s.pop(name, None):
            self._finished_planned_s += planned
            self._finished_s += seconds
        self._say(f"  {name:<16}done in {self.clock(seconds)}{''.join(notes)}{self._time_left()}")

    def _tick(self, name: str, started: float, done: threading.Event) -> None:
        from tqdm.std import tqdm

        with tqdm(
            bar_format="{desc}", file=sys.stdout, leave=False, disable=not self._terminal
        ) as bar:
            while not done.wait(TICK_S if self._terminal else STEP_LINE_EVERY_S):
                elapsed = time.monotonic() - started
                text = f"  {name:<16}{self.clock(elapsed)}{self._time_left(name, elapsed)}"
                if self._terminal:
                    bar.set_description_str(text)
                else:
                    self._say(text)

    def _time_left(self, name: str | None = None, elapsed: float = 0.0) -> str:
        """``; about 4 min left``, or nothing when a step to come is of unknown length or none
        is left.
        """
        if not self._planned_s or any(seconds is None for seconds in self._planned_s.values()):
            return ""
        slowdown = max(self._finished_s / max(self._finished_planned_s, 1e-9), 1.0)
        left_s = {step: (planned or 0.0) * slowdown for step, planned in self._planned_s.items()}
        if name in left_s:
            left_s[name] = max(left_s[name] - elapsed, 0.0)
        return f"; about {self.clock(sum(left_s.values()))} left"

    @staticmethod
    def clock(seconds: float) -> str:
        """12 s, 3 min 5 s, 2 h 4 min."""
        whole = round(seconds)
        if whole < 60:
            return f"{seconds:.1f} s" if seconds < 10 else f"{whole} s"
        if whole < 3600:
            return f"{whole // 60} min {whole % 60} s"
        return f"{whole // 3600} h {whole % 3600 // 60} min"
