"""Map a function over many items in worker processes, so that no single item can end the run.

Guarantees of :func:`map_shards`: results come in the order of the items, whatever the number of
workers; an item whose worker dies or exceeds its time limit is retried once, then it is a failed
result, never an exception, and a warning names it (a moment in which the machine was slow must not
cost a video unnoticed); finished chunks are kept on disk as Parquet and ``.npy`` (written under a
temporary name, then renamed), so that a killed run continues where it stopped; workers end when
their parent does.

A standard pool does not serve, since decoders do crash and hang: ``concurrent.futures`` declares
the whole pool broken when one worker is killed, ``multiprocessing.Pool`` waits for ever for the
lost item, and the workers of pebble's pool share one pipe and its lock: a worker that is killed
while it sends leaves both unusable, and the pool hangs in spite of its time limits. Here every
worker has a pipe of its own.
"""

from __future__ import annotations

import hashlib
import logging
import multiprocessing
import os
import shutil
import threading
import time
import traceback
from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import dataclass, field
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from sportskills_lib.runs.progress import ItemProgress

log = logging.getLogger("sportskills")

Value = dict[str, pl.DataFrame | np.ndarray]  # what a worker returns: named tables and arrays
START_TIMEOUT_S = 300.0  # a worker imports its libraries within this
RETRY_TIME_FACTOR = 2.0  # the time limit of an item that took too long, when it is retried
NAMES_PER_WARNING = 3
LOST_READER = {
    "crashed": "reader_crashed",
    "timeout": "reader_timeout",
}  # Result.reason → reason in dropped.parquet


@dataclass(frozen=True)
class Result:
    """The outcome of one item. ``reason`` is None when ``value`` is there, else ``crashed`` or
    ``timeout``.
    """

    index: int
    name: str
    value: Value | None = field(repr=False, default=None)
    reason: str | None = None
    detail: str = ""

    def table(self, key: str) -> pl.DataFrame:
        """The table ``key`` of the value."""
        part = (self.value or {})[key]
        assert isinstance(part, pl.DataFrame)
        return part

    def array(self, key: str) -> np.ndarray:
        """The array ``key`` of the value; after a resume it is memory-mapped."""
        part = (self.value or {})[key]
        assert isinstance(part, np.ndarray)
        return part


def map_shards(
    function: Callable[[Any], Value],
    items: Sequence[Any],
    *,
    workers: int = 2,
    timeout_s: float = 120.0,
    describe: Callable[[Any], str] = str,
    on_crash: Callable[[Any], Any] | None = None,
    prepare: Callable[[], object] | None = None,
    shards: Path | None = None,
    chunk: int = 16,
    label: str = "items",
) -> Iterator[Result]:
    """Yield ``function(item)`` for every item, in order.

    ``function`` and the items must pickle (module-level function). An item whose worker died is
    retried once in a fresh worker, as ``on_crash(item)`` if that is given; one that took longer
    than ``timeout_s`` is retried as it is, with twice the time. ``prepare`` (module-level, too) is
    called in every new worker before its first item: what it imports counts against no item's time.
    An exception that ``function`` raises is a mistake in our code: it is raised here, with the
    item's name. ``workers=0`` runs in this process, without protection, for debugging. With
    ``shards``, finished chunks of ``chunk`` items are kept there and recognised by the items'
    names. If items were lost in this call, it ends with a warning that names the first.
    """
    names = [describe(item) for item in items]
    bounds = [range(first, min(first + chunk, len(items))) for first in range(0, len(items), chunk)]
    keys = ["\n".join(names[i] for i in part).encode() for part in bounds]
    folders = [shards / hashlib.sha256(key).hexdigest()[:24] if shards else None for key in keys]
    done = [folder is not None and folder.is_dir() for folder in folders]
    todo = [i for part, ready in zip(bounds, done, strict=True) if not ready for i in part]
    progress = ItemProgress(label, len(items), resumed=len(items) - len(todo))

    def attempt(index: int, lost: str | None) -> tuple[Any, float]:
        """The item and its time limit; ``lost``: why it was lost before, if it was."""
        if lost == "crashed" and on_crash:
            return on_crash(items[index]), timeout_s
        return items[index], timeout_s * (RETRY_TIME_FACTOR if lost == "timeout" else 1)

    run, size = _in_pool if workers else _in_process, min(workers, len(todo))
    stream = run(function, prepare, size, attempt, names, todo, progress)
    lost = list[Result]()
    try:
        for part, folder, ready in zip(bounds, folders, done, strict=True):
            if ready and folder is not None:
                results = _load_chunk(folder, part.start)
            else:
                results = [next(stream) for _ in part]
                if folder is not None:
                    _save_chunk(folder, results, part.start)
            lost += [result for result in results if result.reason]
            yield from results
    finally:
        stream.close()
        progress.close()
        if progress.failed and lost:
            log.warning(
                lost_line(label, [f"{each.name} {each.reason}" for each in lost], len(items))
            )


def lost_line(label: str, lost: Sequence[str], total: int | None = None) -> str:
    """The warning about items that were lost twice to a crash or to time, with the remedy."""
    names = ", ".join(lost[:NAMES_PER_WARNING]) + (
        f" and {len(lost) - NAMES_PER_WARNING} more" if len(lost) > NAMES_PER_WARNING else ""
    )
    return (
        f"{label}: {len(lost)}{f' of {total}' if total else ''} LOST ({names}): each crashed "
        "or took too long, twice. "
        "Run it again (a stage with --from, since finished stages are skipped), with a larger "
        "timeout_s, or repair the files"
    )


# ---------------------------------------------------------------------------------------- processes


class _Worker:
    """A process that serves one item at a time over a pipe."""

    def __init__(self, function: Callable[[Any], Value], prepare: Callable[[], object] | None):
        context = multiprocessing.get_context("spawn")
        self.pipe, theirs = context.Pipe()
        self.process = context.Process(target=_serve, args=(theirs, function, prepare), daemon=True)
        self.process.start()
        theirs.close()
        self.index: int | None = None
        self.ready = False
        self.deadline = time.monotonic() + START_TIMEOUT_S

    def start(self, index: int, item: Any, timeout_s: float) -> None:
        self.index, self.deadline = index, time.monotonic() + timeout_s
        self.pipe.send(item)

    def end(self) -> None:
        if self.process.is_alive():
            self.process.kill()
        self.process.join()
        self.pipe.close()


def _serve(
    pipe: Connection, function: Callable[[Any], Value], prepare: Callable[[], object] | None
) -> None:
    """The worker's loop: items in, values out; ends with the pipe, or with the parent, even inside
    a hung decoder.
    """
    threading.Thread(target=_end_with_parent, args=(os.getppid(),), daemon=True).start()
    try:
        if prepare:
            prepare()
        pipe.send(("ready", None))
    except BrokenPipeError:
        return
    while True:
        try:
            item = pipe.recv()
        except (EOFError, ConnectionResetError):
            return
        try:
            answer: tuple[str, Any] = ("value", function(item))
        except Exception:
            answer = ("raised", traceback.format_exc())
        try:
            pipe.send(answer)
        except BrokenPipeError:
            return


def _end_with_parent(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(0.5)
    os._exit(1)


def _in_pool(
    function: Callable[[Any], Value],
    prepare: Callable[[], object] | None,
    workers: int,
    attempt: Callable[[int, str | None], tuple[Any, float]],
    names: list[str],
    todo: list[int],
    progress: ItemProgress,
) -> Generator[Result, None, None]:
    """Results for ``todo`` in that order. At most ``8 * workers`` results wait for their turn, to
    bound memory.
    """
    pool: list[_Worker] = []
    waiting, finished, lost = list(reversed(todo)), dict[int, Result](), dict[int, str]()
    try:
        for position, wanted in enumerate(todo):
            limit = todo[min(position + 8 * workers, len(todo)) - 1]
            while wanted not in finished:
                while len(pool) < min(
                    workers, len(waiting) + sum(w.index is not None for w in pool)
                ):
                    pool.append(_Worker(function, prepare))
                for worker in pool:
                    if worker.ready and worker.index is None and waiting and waiting[-1] <= limit:
                        index = waiting.pop()
                        worker.start(index, *attempt(index, lost.get(index)))
                for worker, result in _collect(pool, names):
                    if result.reason:
                        pool.remove(worker)
                        worker.end()
                    if result.reason and result.index not in lost:
                        lost[result.index] = result.reason
                        waiting.append(result.index)
                        continue
                    finished[result.index] = result
                    progress.update(failed=result.reason is not None)
            yield finished.pop(wanted)
    finally:
        for worker in pool:
            worker.end()


def _collect(pool: list[_Worker], names: list[str]) -> list[tuple[_Worker, Result]]:
    """Wait for the next outcomes: values, dead workers, workers past their deadline."""
    busy = [worker for worker in pool if worker.index is not None or not worker.ready]
    wait_s = max(0.0, min((worker.deadline for worker in busy), default=0.0) - time.monotonic())
    ready = set(wait([worker.pipe for worker in busy], timeout=min(wait_s, 5.0)))
    outcomes = []
    for worker in busy:
        index = -1 if worker.index is None else worker.index
        name = names[index] if index >= 0 else "start"
        if worker.pipe in ready:
            try:
                kind, content = worker.pipe.recv()
            except (EOFError, OSError):
                worker.process.join(5)
                detail = f"the worker process died (exit code {worker.process.exitcode})"
                if index < 0:
                    raise RuntimeError(f"a worker process cannot start: {detail}") from None
                outcomes.append((worker, Result(index, name, reason="crashed", detail=detail)))
                continue
            if kind == "raised":
                raise RuntimeError(
                    f"{name}: the worker function failed; this is a mistake in the "
                    f"library\n{content}"
                )
            if kind == "ready":
                worker.ready = True
                continue
            worker.index = None
            outcomes.append((worker, Result(index, name, value=content)))
        elif time.monotonic() > worker.deadline:
            if index < 0:
                raise RuntimeError(f"a worker process did not start within {START_TIMEOUT_S:.0f} s")
            outcomes.append(
                (
                    worker,
                    Result(index, name, reason="timeout", detail="no answer within the time limit"),
                )
            )
    return outcomes


def _in_process(  # the arguments of _in_pool
    function: Callable[[Any], Value],
    prepare: Callable[[], object] | None,
    workers: int,
    attempt: Callable[[int, str | None], tuple[Any, float]],
    names: list[str],
    todo: list[int],
    progress: ItemProgress,
) -> Generator[Result, None, None]:
    for index in todo:
        value = function(attempt(index, None)[0])
        progress.update()
        yield Result(index, names[index], value=value)


# ------------------------------------------------------------------------------------------- shards


def _save_chunk(folder: Path, results: list[Result], first: int) -> None:
    """Tables of the chunk's items one below the other (column ``_item``), arrays likewise along
    their first axis.
    """
    temporary = folder.with_name(f".{folder.name}.tmp")
    shutil.rmtree(temporary, ignore_errors=True)
    temporary.mkdir(parents=True)
    parts: dict[str, list[tuple[int, pl.DataFrame | np.ndarray]]] = {}
    for result in results:
        for key, part in (result.value or {}).items():
            parts.setdefault(key, []).append((result.index - first, part))
    lengths = []
    for key, rows in parts.items():
        lengths += [(key, item, len(part), isinstance(part, pl.DataFrame)) for item, part in rows]
        frames = [part for _, part in rows if isinstance(part, pl.DataFrame)]
        arrays = [part for _, part in rows if isinstance(part, np.ndarray)]
        if frames:
            pl.concat(frames).write_parquet(temporary / f"{key}.parquet")
        else:
            np.save(temporary / f"{key}.npy", np.concatenate(arrays))
    schema = {"key": pl.String, "item": pl.Int64, "rows": pl.Int64, "table": pl.Boolean}
    pl.DataFrame(lengths, schema=schema, orient="row").write_parquet(temporary / "_lengths.parquet")
    status = [(r.name, r.reason, r.detail, r.value is not None) for r in results]
    fields = {"name": pl.String, "reason": pl.String, "detail": pl.String, "value": pl.Boolean}
    pl.DataFrame(status, schema=fields, orient="row").write_parquet(temporary / "_status.parquet")
    temporary.rename(folder)


def _load_chunk(folder: Path, first: int) -> list[Result]:
    """The results again, equal to what was saved; arrays are memory-mapped."""
    values: dict[int, Value] = {}
    lengths = pl.read_parquet(folder / "_lengths.parquet")
    for (key,), rows in lengths.group_by("key", maintain_order=True):
        table = rows["table"][0]
        whole = (
            pl.read_parquet(folder / f"{key}.parquet")
            if table
            else np.load(folder / f"{key}.npy", mmap_mode="r")
        )
        start = 0
        for item, count in rows.select("item", "rows").iter_rows():
            values.setdefault(item, {})[str(key)] = whole[start : start + count]
            start += count
    status = pl.read_parquet(folder / "_status.parquet")
    return [
        Result(first + i, name, values.get(i, {}) if has_value else None, reason, detail)
        for i, (name, reason, detail, has_value) in enumerate(status.iter_rows())
    ]
