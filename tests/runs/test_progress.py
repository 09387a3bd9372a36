"""Progress: lines where nobody watches, the time left after a slow start, and no bar in a log."""

from __future__ import annotations

import time

import pytest

from sportskills_lib.runs import progress
from sportskills_lib.runs.progress import ItemProgress, Progress


def test_lines_hold_count_rate_and_failures(monkeypatch: pytest.MonkeyPatch, capfd) -> None:
    monkeypatch.setattr(progress, "LINE_EVERY_S", 0.05)
    lines: list[str] = []
    count = ItemProgress("clips read", 6, resumed=2, say=lines.append)
    for failed in (False, True, False, False):
        time.sleep(0.06)
        count.update(failed=failed)
    count.close()
    assert 2 <= len(lines) <= 5
    assert lines[-1].startswith("clips read: 6 of 6, ") and "item/s" in lines[-1]
    assert lines[-1].endswith("left, 1 failed, 2 resumed")
    assert capfd.readouterr() == ("", "")


def test_nothing_is_logged_when_all_was_resumed() -> None:
    lines: list[str] = []
    ItemProgress("clips read", 3, resumed=3, say=lines.append).close()
    assert lines == []


def test_bars_are_off_where_tqdm_is_disabled(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress.sys.stderr, "isatty", lambda: True, raising=False)
    monkeypatch.delenv("TQDM_DISABLE", raising=False)
    assert progress._shows_bars()
    monkeypatch.setenv("TQDM_DISABLE", "1")
    assert not progress._shows_bars()


def test_the_time_left_grows_with_the_slowdown_of_finished_steps(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    now = [0.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])
    lines: list[str] = []
    steps = Progress(lines.append, terminal=False)
    steps.expect({"a": 10.0, "b": 30.0, "c": 20.0})
    with steps.step("a", ["not run yet"]):
        now[0] += 20.0
    assert lines[0].endswith("about 1 min 0 s left")
    assert lines[1].endswith("done in 20 s; about 1 min 40 s left")
    with steps.step("b", ["not run yet"]):
        now[0] += 30.0
    assert lines[3].endswith(f"about {Progress.clock(20.0 * 50 / 40)} left")
