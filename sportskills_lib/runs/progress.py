"""One line when a step starts and one when it ends, with the time left; on a terminal a clock in
between.
"""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

HEARTBEAT_S = 60.0  # between lines where no terminal shows a clock
TICK_S = 1.0


class Progress:
    """Keeps the seconds that are still expected and says where the run stands."""

    def __init__(self, say: Callable[[str], None], *, terminal: bool | None = None):
        self._say = say
        self._terminal = sys.stdout.isatty() and say is print if terminal is None else terminal
        self._expected: dict[str, float | None] = {}

    def expect(self, seconds: Mapping[str, float | None]) -> None:
        """Count on these steps taking these seconds; None for a step that nothing is known of."""
        self._expected |= seconds

    def skip(self, name: str, text: str) -> None:
        """Say that a step needs no work."""
        self._expected.pop(name, None)
        self._say(f"  {name:<16}{text}")

    @contextmanager
    def step(
        self, name: str, why: list[str], *, planned_s: float | None = None
    ) -> Iterator[list[str]]:
        """Say that a step starts and why, tick while it runs, and say how long it took.

        What the block appends to the list stands at the end of the last line.
        """
        if planned_s is not None:
            self._expected[name] = planned_s
        reason = ", ".join(why[:3]) + (f" and {len(why) - 3} more" if len(why) > 3 else "")
        self._say(f"  {name:<16}runs ({reason}){self._left(name, 0.0)}")
        started, done, notes = time.monotonic(), threading.Event(), list[str]()
        ticker = threading.Thread(target=self._tick, args=(name, started, done), daemon=True)
        ticker.start()
        try:
            yield notes
        finally:
            done.set()
            ticker.join()
        self._expected.pop(name, None)
        self._say(
            f"  {name:<16}done in "
            f"{self.clock(time.monotonic() - started)}{''.join(notes)}{self._left()}"
        )

    def _tick(self, name: str, started: float, done: threading.Event) -> None:
        while not done.wait(TICK_S if self._terminal else HEARTBEAT_S):
            elapsed = time.monotonic() - started
            text = f"  {name:<16}{self.clock(elapsed)}{self._left(name, elapsed)}"
            if self._terminal:
                sys.stdout.write(f"\r{text}\x1b[K")
                sys.stdout.flush()
            else:
                self._say(text)
        if self._terminal:
            sys.stdout.write("\r\x1b[K")
            sys.stdout.flush()

    def _left(self, name: str | None = None, elapsed: float = 0.0) -> str:
        """``; about 4 min left``, or nothing when a step still to come is unknown or none is
        left.
        """
        if not self._expected or any(seconds is None for seconds in self._expected.values()):
            return ""
        total = sum(seconds or 0.0 for seconds in self._expected.values())
        if name is not None:
            total -= min(elapsed, self._expected.get(name) or 0.0)
        return f"; about {self.clock(total)} left"

    @staticmethod
    def clock(seconds: float) -> str:
        """12 s, 3 min 5 s, 2 h 4 min."""
        whole = round(seconds)
        if whole < 60:
            return f"{seconds:.1f} s" if seconds < 10 else f"{whole} s"
        if whole < 3600:
            return f"{whole // 60} min {whole % 60} s"
        return f"{whole // 3600} h {whole % 3600 // 60} min"
