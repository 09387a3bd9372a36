"""Pages in real browsers, for tests: a server in a process of its own, and browsers in another.

Slow, and in need of Chromium and Playwright, which the lock does not hold: set SPORTSKILLS_BROWSER
to a Python that has Playwright (1: this one), SPORTSKILLS_CHROMIUM to the browser if it is not
/usr/bin/chromium, and SPORTSKILLS_PICTURES to a folder that takes screenshots.
"""

from __future__ import annotations

import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil
import pytest

BROWSER = os.environ.get("SPORTSKILLS_BROWSER", "")
PYTHON = sys.executable if BROWSER == "1" else BROWSER
ROOT = Path(__file__).parents[1]
needs_browser = pytest.mark.skipif(
    not BROWSER, reason="SPORTSKILLS_BROWSER is not set (see tests/browsing.py)"
)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Server:
    """A server of pages with kernels, on this machine's ``port``, in a process of its own."""

    def __init__(self, command: Sequence[str], port: int, *, path: str = "/login", **options: Any):
        """Start it and wait until ``path`` is answered; what it prints is left to ``options`` and
        :meth:`began`.
        """
        self.port = port
        environment = dict(os.environ) | {"PYTHONPATH": str(ROOT)}
        self.process = subprocess.Popen(
            [sys.executable, *command], text=True, **{"env": environment} | options
        )
        try:
            self.began()
            for _ in range(600):
                if self.get(path)[0] == 200:
                    return
                assert self.process.poll() is None, (
                    f"the server ended with {self.process.returncode}"
                )
                time.sleep(0.1)
            raise AssertionError("the page does not answer")
        except BaseException:
            self.kill()
            raise

    def began(self) -> None:
        """Read what the server prints before it answers."""

    def get(self, path: str, **headers: str) -> tuple[int, str, bytes]:
        """Status, where it leads, and the body of a request; the path goes out as it is."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        try:
            connection.request("GET", path, headers=headers)
            reply = connection.getresponse()
            return reply.status, reply.getheader("Location") or "", reply.read()
        except OSError:
            return 0, "", b""
        finally:
            connection.close()

    def kernels(self) -> list[psutil.Process]:
        """The kernels, which are children of the server's process."""
        return [
            child
            for child in psutil.Process(self.process.pid).children(recursive=True)
            if child.status() != psutil.STATUS_ZOMBIE and "ipykernel_launcher" in child.cmdline()
        ]

    def end(self, number: signal.Signals = signal.SIGTERM) -> None:
        """Send the signal; no kernel may be left."""
        kernels = self.kernels()
        self.process.send_signal(number)
        try:
            self.process.wait(20)
            _, alive = psutil.wait_procs(kernels, timeout=10)
        finally:
            self.kill()
            for kernel in kernels:
                with suppress(psutil.NoSuchProcess):
                    kernel.kill()
        assert not alive

    def kill(self) -> None:
        """Kill what still runs of the server and its kernels."""
        if self.process.poll() is None:
            children = psutil.Process(self.process.pid).children(recursive=True)
            for process in (psutil.Process(self.process.pid), *children):
                process.kill()
            self.process.wait(20)


class Browsers:
    """A script that drives browsers (tests/browser_pages.py), in a process of its own; it ends when
    its input does.
    """

    def __init__(self, script: Path, asked: Mapping[str, Any]):
        environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
        self.process = subprocess.Popen(
            [PYTHON, str(script), json.dumps(asked)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment,
        )  # fmt: skip
        well, self.first = self._answer()
        assert well, self.first

    def _answer(self) -> Any:
        assert self.process.stdout
        line = self.process.stdout.readline()
        assert line, "the browsers are gone: see the lines above"
        return json.loads(line)

    def do(self, what: str, **asked: Any) -> Any:
        """What the browser answers; AssertionError, and a picture named failed, where it cannot."""
        assert self.process.stdin
        self.process.stdin.write(json.dumps({"do": what, **asked}) + "\n")
        self.process.stdin.flush()
        well, answer = self._answer()
        if not well and what != "picture":
            self.picture("failed", asked["page"])
        assert well, answer
        return answer

    def picture(self, name: str, page: str) -> None:
        """A screenshot in the folder SPORTSKILLS_PICTURES, if that is set."""
        if folder := os.environ.get("SPORTSKILLS_PICTURES"):
            self.do("picture", page=page, path=str(Path(folder) / f"{name}.png"))

    def close(self) -> None:
        assert self.process.stdin
        self.process.stdin.close()
        try:
            self.process.wait(30)
        except subprocess.TimeoutExpired:
            self.process.kill()
