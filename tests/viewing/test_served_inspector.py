"""``sportskills inspect`` with a real server: the page is there for whoever has the link, and the
kernel behind it opened the run. No browser is needed.
"""

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import stage_outputs
from browsing import ROOT, Server, free_port


class ServedInspector(Server):
    """``sportskills inspect``, with the address that it prints as ``link``."""

    def __init__(self, port: int, home: Path):
        self.link = ""
        command = ["-m", "sportskills_lib.cli", "inspect", stage_outputs.RUN, "--port", str(port)]
        places = {"PYTHONPATH": str(ROOT), "SPORTSKILLS_HOME": str(home)}
        super().__init__(
            command, port, stdout=subprocess.PIPE, cwd=home, env=dict(os.environ) | places
        )

    def began(self) -> None:
        assert self.process.stdout
        self.link = next(line.strip() for line in self.process.stdout if "http://" in line)


@pytest.mark.slow
def test_the_inspector_is_served_to_whoever_has_the_link(inspected: Path) -> None:
    server = ServedInspector(free_port(), inspected)
    try:
        address = urlsplit(server.link)
        assert server.get(address.path)[0] == 302  # to the login
        status, _, body = server.get(f"{address.path}?{address.query}")
        page = body.decode()
        assert status == 200 and "<title>Inspector" in page and len(server.kernels()) == 1
        assert "widget-view+json" in page
        assert "Traceback" not in page and "inspection_widgets" not in page  # no error, no code
    finally:
        server.end()
        assert server.process.stdout
        server.process.stdout.close()
