"""Runs the members of a sweep in parallel, each in a guarded process of its own; one line per
member.

A member is an ordinary run: its process is ``sportskills reproduce --run <member>``, which can be
called by hand, too. Complete members are skipped, a failed member does not stop the others, and a
sweep that was killed goes on, since its members do. Only a full disk ends all of them.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sportskills_lib.apps.sweep.grid import Member, Sweep, sweep_folder
from sportskills_lib.runs import artifacts, notebooks, pipeline, process_guard
from sportskills_lib.runs.errors import (
    DiskFull,
    RunError,
    failures_named,
    full_disk_named,
    only_process,
    short_path,
)
from sportskills_lib.runs.pipeline import Say
from sportskills_lib.runs.progress import Progress

POLL_S = 0.2
NOTEBOOK = "sweep.ipynb"
DONE, FAILED, WAITING = "done", "failed", "not run"


@dataclass
class MemberProcess:
    """A member's process, when it began, and its log."""

    member: Member
    process: subprocess.Popen[bytes]
    started: float
    log: Path


# ------------------------------------------------------------------------------------------- states


def states(name: str) -> dict[str, dict[str, Any]]:
    """What became of each member so far, by its run: state, error, log; nothing of those that were
    not run.
    """
    path = sweep_folder(name) / "states.json"
    return json.loads(path.read_text()) if path.is_file() else {}


def prepare(sweep: Sweep) -> None:
    """Write sweep.json and every member's run.json. The base's stages must be complete; a member in
    use is an error.
    """
    for stage in sweep.base_stages:
        artifacts.open_stage(sweep.base, stage)
    sweep.folder.mkdir(parents=True, exist_ok=True)
    artifacts.write_json(sweep.folder / "sweep.json", sweep.model_dump(mode="json"))
    base = {"run": sweep.base, "stages": sweep.base_stages}
    for member in sweep.members:
        notes = {"base": base, "left_out": sweep.left_out, "sweep": sweep.name}
        pipeline.save_settings(member.run, sweep.preset, member.settings, **notes)


def is_complete(sweep: Sweep, member: Member) -> bool:
    """Whether every stage of the member is complete with its key of now."""
    configs = pipeline.stage_configs(sweep.preset, member.settings)
    return not any(
        pipeline.reasons(member.run, stage, configs[stage])
        for stage in artifacts.STAGES[len(sweep.base_stages) :]
    )


def expected_seconds(sweep: Sweep, member: Member) -> float | None:
    """An estimate: the seconds that the member's stages took last time, else those of the base, on
    all cores; None where a stage was never measured.
    """
    runs = {
        stage: member.run if artifacts.is_complete(member.run, stage) else sweep.base
        for stage in sweep.stages
    }
    seconds = [pipeline.planned_seconds(run, stage, sweep.preset) for stage, run in runs.items()]
    return None if None in seconds else sum(filter(None, seconds))


def plan_lines(sweep: Sweep) -> list[str]:
    """The members, a line each."""
    head = f"{sweep.name}: {len(sweep.members)} members over run {sweep.base}"
    return [head, *(f"{_place(sweep, member)}{member.run}" for member in sweep.members)]


def estimate(sweeps: Sequence[Sweep]) -> str:
    """One line: members, how many of them are complete, and the time of the others."""
    members = [(sweep, member) for sweep in sweeps for member in sweep.members]
    pending = [pair for pair in members if not is_complete(*pair)]
    seconds = [expected_seconds(*pair) for pair in pending]
    least = "more than" if None in seconds else "about"
    return (
        f"{len(members)} members, {len(members) - len(pending)} complete, {len(pending)} to run: "
        f"{least} {Progress.clock(sum(filter(None, seconds)))}, estimated from the seconds that "
        "the base's stages took, one member at a time"
    )


# ---------------------------------------------------------------------------------------------- run


def run(sweep: Sweep, *, jobs: int = 1, say: Say = print) -> Path:
    """Bring every member up to date, then make the sweep's page, and return its folder below
    reports/.

    RunError when a member failed, after the others were run and the page was made; RunLocked when
    this sweep is being run by another process; DiskFull at once.
    """
    began = time.monotonic()
    locked = f"sweep {sweep.name!r} is being run by another process: wait for it, or stop it"
    with only_process(sweep.folder / ".lock", locked), full_disk_named(sweep.folder):
        prepare(sweep)
        pending = [member for member in sweep.members if not is_complete(sweep, member)]
        known: dict[str, dict[str, Any]] = {}
        say(f"sweep {sweep.name}: {len(sweep.members)} members over {sweep.base}, {jobs} at a time")
        for member in sweep.members:
            if member not in pending:
                known[member.run] = {"state": DONE, "error": "", "log": ""}
                say(f"{_place(sweep, member)}skipped, nothing changed")
        artifacts.write_json(sweep.folder / "states.json", known)
        _run_all(sweep, pending, jobs, known, say)
        page = make_page(sweep)
    took = Progress.clock(time.monotonic() - began)
    say(f"sweep {sweep.name}: {short_path(page)}  ({took} in all)")
    if failed := [member.run for member in pending if known[member.run]["error"]]:
        first = known[failed[0]]
        raise RunError(
            f"{len(failed)} of {len(sweep.members)} members failed, first {failed[0]}: "
            f"{first['error']}; log: {first['log']}. The same command runs what failed again"
        )
    return page.parent


def make_page(sweep: Sweep) -> Path:
    """Execute the sweep's notebook over what its members left, and write it as
    reports/<sweep>/index.html.
    """
    home, executed = artifacts.workspace(), sweep.folder / "executed.ipynb"
    page = pipeline.report_folder(sweep.name) / "index.html"
    with failures_named():
        notebooks.execute(
            home / "notebooks" / NOTEBOOK,
            executed,
            {"sweep": sweep.name},
            home=home,
            log=sweep.folder / "logs" / "sweep.log",
        )
    notebooks.write_html(executed, page)
    return page


def _place(sweep: Sweep, member: Member) -> str:
    number, count = sweep.members.index(member) + 1, len(sweep.members)
    seed = "" if member.seed is None else f" seed {member.seed}"
    return f"  [{number:>{len(str(count))}}/{count}] {member.label}{seed}: "


# ---------------------------------------------------------------------------------------- processes


def _run_all(
    sweep: Sweep,
    pending: Sequence[Member],
    jobs: int,
    known: dict[str, dict[str, Any]],
    say: Say,
) -> None:
    """Keep ``jobs`` members going until none is left; note in ``known`` what became of each, and on
    disk at once.
    """
    waiting, running = list(pending), dict[int, MemberProcess]()  # by place among the cores
    try:
        while waiting or running:
            free = [slot for slot in range(jobs) if slot not in running]
            for slot in free[: len(waiting)]:
                running[slot] = _start(sweep, waiting.pop(0), slot, jobs)
            time.sleep(POLL_S)
            ended = [slot for slot, each in running.items() if each.process.poll() is not None]
            for each in [running.pop(slot) for slot in ended]:
                known[each.member.run] = outcome = _outcome(each)
                artifacts.write_json(sweep.folder / "states.json", known)
                took = Progress.clock(outcome["seconds"])
                said = (
                    f"FAILED after {took}: {outcome['error']}; log: {outcome['log']}"
                    if outcome["error"]
                    else f"done in {took}{pipeline.headline(each.member.run, artifacts.STAGES[-1])}"
                )
                say(f"{_place(sweep, each.member)}{said}")
                if each.process.returncode == DiskFull.exit_code:
                    raise DiskFull(outcome["error"])
    finally:
        for each in running.values():
            with suppress(ProcessLookupError):
                os.killpg(each.process.pid, signal.SIGKILL)  # its kernel's watchdog ends the rest
            each.process.wait()


def _start(sweep: Sweep, member: Member, slot: int, jobs: int) -> MemberProcess:
    """Start a member on its share of the cores (and, where there are several GPUs, on one of
    them).
    """
    log = sweep.folder / "logs" / f"{member.run}.log"
    cores = core_shares(jobs)[slot]
    environment = notebooks.kernel_environment(artifacts.workspace())
    if "OMP_NUM_THREADS" not in os.environ:  # what the user has set wins, as everywhere
        environment["OMP_NUM_THREADS"] = str(min(len(cores), notebooks.THREADS_CAP))
    if jobs > 1 and len(found := gpus()) > 1:
        environment["CUDA_VISIBLE_DEVICES"] = found[slot % len(found)]
    module, *words = member_command(member)
    process = process_guard.start(module, words, log, environment)
    if hasattr(os, "sched_setaffinity"):
        with suppress(ProcessLookupError):
            os.sched_setaffinity(
                process.pid, cores
            )  # 03 counts the cores that it may use, and so do its workers
    return MemberProcess(member, process, time.monotonic(), log)


def member_command(member: Member) -> list[str]:
    """The module and words that bring a member up to date; what anybody may type."""
    return ["sportskills_lib.cli", "reproduce", "--run", member.run]


def core_shares(jobs: int) -> list[list[int]]:
    """Which cores each of ``jobs`` members may use: equal shares; a core serves several where there
    are too few.
    """
    cores = (
        sorted(os.sched_getaffinity(0))
        if hasattr(os, "sched_getaffinity")
        else list(range(notebooks.cores()))
    )
    return [cores[slot::jobs] or [cores[slot % len(cores)]] for slot in range(jobs)]


def gpus() -> list[str]:
    """The GPUs that members may be spread over, as CUDA names them; none where the driver shows
    none.
    """
    if (named := os.environ.get("CUDA_VISIBLE_DEVICES")) is not None:
        return [name for name in named.split(",") if name.strip()]
    return [str(i) for i, _ in enumerate(Path("/proc/driver/nvidia/gpus").glob("*"))]


def _outcome(each: MemberProcess) -> dict[str, Any]:
    """The member's state as the table has it; of a failed one the last line of its log."""
    seconds, code = round(time.monotonic() - each.started, 1), each.process.returncode
    if code == 0:
        return {"state": DONE, "seconds": seconds, "error": "", "log": ""}
    last = (each.log.read_text(errors="replace").strip().splitlines() or ["it printed nothing"])[-1]
    error, named, log = last.removeprefix("FAILED ").rpartition("; log: ")
    if code < 0 or not named:  # no notebook failed: the member itself has something to read
        error, log = (f"killed by signal {-code}" if code < 0 else last), short_path(each.log)
    return {"state": FAILED, "seconds": seconds, "error": error, "log": log}
