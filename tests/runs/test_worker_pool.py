"""map_shards: order, workers that die or hang, resuming, and no process left behind."""

from __future__ import annotations

import logging
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import worker_functions
from hypothesis import given, settings
from hypothesis import strategies as st

from sportskills_lib.runs.worker_pool import Result, map_shards


def same(results: list[Result], items: list[int]) -> None:
    """The results are those of ``square`` on ``items``, in order."""
    assert [result.name for result in results] == [str(item) for item in items]
    assert [result.index for result in results] == list(range(len(items)))
    for result, item in zip(results, items, strict=True):
        expected = worker_functions.square(item)
        assert result.table("rows").equals(expected["rows"])
        np.testing.assert_array_equal(result.array("noise"), expected["noise"])


@pytest.mark.parametrize("workers", [1, 3])
def test_results_come_in_order_whatever_the_number_of_workers(workers: int) -> None:
    same(
        list(map_shards(worker_functions.slow_square, range(30), workers=workers)), list(range(30))
    )


def test_a_worker_that_dies_costs_one_item() -> None:
    results = list(map_shards(worker_functions.die_on_seven, range(12), workers=2))
    assert [(r.index, r.reason) for r in results if r.reason] == [(7, "crashed")]
    assert "exit code -9" in results[7].detail
    same([r for r in results if not r.reason][:7], list(range(7)))


def test_a_worker_killed_while_it_sends_costs_one_item() -> None:
    results = list(map_shards(worker_functions.die_while_sending, range(12), workers=2))
    assert [(r.index, r.reason) for r in results if r.reason] == [(7, "crashed")]


def test_an_item_that_killed_its_worker_is_tried_again_as_on_crash_says() -> None:
    results = list(
        map_shards(
            worker_functions.die_on_seven, range(12), workers=2, on_crash=lambda item: item + 100
        )
    )
    assert all(result.reason is None for result in results)
    assert results[7].table("rows").equals(worker_functions.square(107)["rows"])


def test_a_worker_that_hangs_costs_one_item() -> None:
    started = time.monotonic()
    results = list(map_shards(worker_functions.hang_on_five, range(8), workers=2, timeout_s=1.0))
    assert [(r.index, r.reason) for r in results if r.reason] == [(5, "timeout")]
    assert time.monotonic() - started < 30


def test_an_item_that_took_too_long_is_tried_once_more_with_twice_the_time(tmp_path: Path) -> None:
    items = [(str(tmp_path), number) for number in range(4)]
    results = list(map_shards(worker_functions.slow_at_first, items, workers=2, timeout_s=2.0))
    assert [(r.index, r.reason) for r in results] == [(number, None) for number in range(4)]
    assert sorted(path.name.split("-")[0] for path in tmp_path.iterdir()) == [
        "0",
        "1",
        "1",
        "2",
        "3",
        "3",
    ]


def test_what_a_worker_imports_first_counts_against_no_item() -> None:
    prepare = worker_functions.prepare_slowly
    results = list(
        map_shards(
            worker_functions.needs_preparing, range(3), workers=1, timeout_s=0.7, prepare=prepare
        )
    )
    same(results, list(range(3)))


def test_lost_items_are_said_aloud_with_what_to_do(
    caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    options = {"workers": 2, "shards": tmp_path, "chunk": 4, "describe": lambda item: f"v{item}"}
    for heard in (True, False):  # the second time all of it comes from the shards
        caplog.clear()
        list(map_shards(worker_functions.die_on_seven, range(9), label="videos read", **options))
        said = [
            record.getMessage() for record in caplog.records if record.levelno == logging.WARNING
        ]
        assert len(said) == heard
        if heard:
            assert said[0].startswith("videos read: 1 of 9 LOST (v7 crashed)")
            assert "--from" in said[0] and "timeout_s" in said[0]


def test_an_exception_of_the_function_is_raised_with_the_item() -> None:
    with pytest.raises(
        RuntimeError, match=r"(?s)^2: the worker function failed.*a mistake of ours"
    ):
        list(map_shards(worker_functions.fail_on_two, range(5), workers=2))


@settings(max_examples=25, deadline=None)
@given(count=st.integers(0, 12), chunk=st.integers(1, 5))
def test_shards_give_back_what_was_computed(
    tmp_path_factory: pytest.TempPathFactory, count: int, chunk: int
) -> None:
    folder = tmp_path_factory.mktemp("shards")
    for _ in range(2):
        results = map_shards(
            worker_functions.square, range(count), workers=0, shards=folder, chunk=chunk
        )
        same(list(results), list(range(count)))


def test_finished_chunks_are_not_computed_again(tmp_path: Path) -> None:
    calls, shards = tmp_path / "calls", tmp_path / "shards"
    calls.mkdir()
    items = [(str(calls), number) for number in range(10)]
    stream = map_shards(worker_functions.note_and_square, items, workers=0, shards=shards, chunk=4)
    for _ in range(4):
        next(stream)
    stream.close()  # as a kill after the first chunk
    assert len(list(calls.iterdir())) == 4
    results = list(
        map_shards(worker_functions.note_and_square, items, workers=0, shards=shards, chunk=4)
    )
    assert len(list(calls.iterdir())) == 10
    assert [int(r.table("rows").height) for r in results] == [i % 3 for i in range(10)]


def test_failures_are_kept_in_shards_too(tmp_path: Path) -> None:
    for _ in range(2):
        results = list(
            map_shards(worker_functions.die_on_seven, range(9), workers=1, shards=tmp_path, chunk=3)
        )
        assert [(r.index, r.name, r.reason) for r in results if r.reason] == [(7, "7", "crashed")]
    assert not [
        path for path in tmp_path.rglob("*") if path.suffix not in ("", ".parquet", ".npy", ".json")
    ]


def test_workers_end_with_a_parent_that_is_killed(tmp_path: Path) -> None:
    note, here = tmp_path / "pid", Path(__file__).parent
    code = (
        "from sportskills_lib.runs.worker_pool import map_shards\n"
        "import worker_functions\n"
        "if __name__ == '__main__': list(map_shards(worker_functions.write_pid_and_sleep, "
        f"[{str(note)!r}], workers=1))"
    )
    script = tmp_path / "parent.py"
    script.write_text(code)
    paths = os.pathsep.join([str(here), str(here.parent)])
    parent = subprocess.Popen([sys.executable, str(script)], env=os.environ | {"PYTHONPATH": paths})
    deadline = time.monotonic() + 60
    while not (note.is_file() and note.read_text()) and time.monotonic() < deadline:
        time.sleep(0.05)
    worker = int(note.read_text())
    parent.send_signal(signal.SIGKILL)
    parent.wait()
    while time.monotonic() < deadline and Path(f"/proc/{worker}").exists():
        time.sleep(0.1)
    assert not Path(f"/proc/{worker}").exists()


def test_progress_is_a_line_at_the_end_when_nobody_watches(
    caplog: pytest.LogCaptureFixture,
) -> None:
    with caplog.at_level(logging.INFO, logger="sportskills"):
        list(map_shards(worker_functions.square, range(50), workers=0, label="numbers squared"))
    lines = [record.getMessage() for record in caplog.records]
    assert len(lines) == 1
    assert lines[0].startswith("numbers squared: 50 of 50")
