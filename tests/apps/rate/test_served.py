"""The served page in real browsers: two raters at once, one loses the connection, the server is
killed; and intruders.

Slow: see tests/browsing.py for what it needs.
"""

from __future__ import annotations

import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from browsing import ROOT, Browsers, Server, free_port, needs_browser

from sportskills_lib.apps.rate.store import Store

pytestmark = needs_browser


class Served(Server):
    """``sportskills rate serve coaches``."""

    def __init__(self, port: int):
        self.links: dict[str, str] = {}
        command = ["-m", "sportskills_lib.cli", "rate", "serve", "coaches", "--port", str(port)]
        super().__init__(command, port, stdout=subprocess.PIPE, cwd=ROOT)

    def began(self) -> None:
        assert self.process.stdout
        for line in self.process.stdout:
            name, _, url = line.strip().partition(" ")
            if "http://" in url:
                self.links[name] = url.strip()
            if len(self.links) == 2:
                break


@pytest.fixture
def store(make_store) -> Store:
    return make_store(learners=4, depth=4, raters=("ann", "ben"), overlap=2)


@pytest.fixture
def server(store: Store) -> Iterator[list[Served]]:
    """The running server, in a list, so that a test may put another in its place."""
    running = [Served(free_port())]
    yield running
    if running[0].process.poll() is None:
        running[0].end()


@pytest.fixture
def browsers(server: list[Served]) -> Iterator[Browsers]:
    made = Browsers(Path(__file__).with_name("two_raters.py"), server[0].links)
    yield made
    made.close()


def graded(store: Store) -> dict[str, dict[int, int]]:
    """What each rater gave: place → grade, in the rater's order."""
    found: dict[str, dict[int, int]] = {}
    for row in store.latest():
        if row["grade"] is not None:
            found.setdefault(row["rater"], {})[row["place"]] = row["grade"]
    return found


def given(rater: str, place: int) -> int:
    """The grade that a rater will give at a place."""
    return (3 * place + ord(rater[0])) % 4


def test_two_raters_at_once_a_lost_connection_and_a_killed_server(store, server, browsers) -> None:
    count, at = len(store.queue("ann")), {"ann": 0, "ben": 0}
    assert count == len(store.queue("ben")) >= 20
    figures: dict[str, list[float]] = {"seconds": [], "bytes": []}

    def go_on(steps: int, *raters: str) -> dict[str, Any]:
        plan = {
            rater: [given(rater, at[rater] + step) for step in range(steps)] for rater in raters
        }
        done = browsers.do("grade", plan=plan)
        for name, values in figures.items():
            values += done[name]
        at.update({rater: at[rater] + steps for rater in raters})
        return done["heads"]

    def all_is_there() -> bool:
        return graded(store) == {
            rater: {place: given(rater, place) for place in range(at[rater])} for rater in at
        }

    assert "0 of" in browsers.first["ann"] and "pair 1" in browsers.first["ben"]
    requests = browsers.do("requests", page="ann")
    here = f"http://127.0.0.1:{server[0].port}/"
    outside = [url for url in requests if not url.startswith((here, "data:", "blob:"))]
    assert all(
        "fontawesome" in url for url in outside
    )  # Voila asks for a font; the page's policy forbids it
    go_on(5, "ann", "ben")
    assert all_is_there()

    # Ann's browser vanishes with half a comment typed; Ben goes on; Ann comes back to where she
    # was.
    browsers.do("comment", page="ann", text="elbow <b>first</b>")
    browsers.do("vanish", page="ann")
    go_on(3, "ben")
    browsers.do("open", page="ann")
    head = browsers.do("evaluate", page="ann", script="document.querySelector('.state').innerText")
    assert f"5 of {count} graded · pair 6" in head
    typed = browsers.do("evaluate", page="ann", script="document.querySelector('textarea').value")
    assert typed == "elbow <b>first</b>"
    go_on(4, "ann", "ben")

    # A key that bounces grades one pair, not two: the second press was not meant for the pair that
    # came meanwhile.
    time.sleep(0.5)
    browsers.do("press", page="ann", keys=[str(given("ann", at["ann"]))] * 2)
    browsers.do(
        "wait",
        page="ann",
        script="document.querySelector('.state').innerText.includes('ignored')",
    )
    at["ann"] += 1
    assert all_is_there()

    # The server is killed; what is pressed then is said to be unsaved; the same links lead on after
    # a restart.
    port = server[0].port
    server[0].end(signal.SIGKILL)
    browsers.do("press", page="ann", keys=["1"])
    browsers.do("wait", page="ann", script="!document.querySelector('.sk-lost').hidden")
    browsers.picture("rater_lost", "ann")
    assert all_is_there()
    server[0] = Served(port)
    for rater in at:
        browsers.do("reload", page=rater)
        assert f"{at[rater]} of {count} graded · pair {at[rater] + 1}" in browsers.do(
            "head", page=rater
        )
    go_on(count - 13, "ann", "ben")
    browsers.picture("rater", "ben")
    for rater in at:
        heads = go_on(count - at[rater], rater)
        assert f"{count} of {count} graded" in heads[rater]

    assert at == {"ann": count, "ben": count} and all_is_there()
    history = store.history()
    assert len(history) == 2 * count == len({(row["rater"], row["item"]) for row in history})
    assert [row["comment"] for row in history if row["comment"]] == ["elbow <b>first</b>"]
    seconds, sizes = sorted(figures["seconds"]), sorted(figures["bytes"])
    middle = len(seconds) // 2
    print(
        f"\n{len(seconds)} grades by two raters: median {seconds[middle]:.2f} s, slowest "
        f"{seconds[-1]:.2f} s"
    )
    print(f"bytes a step: median {sizes[middle]}, most {sizes[-1]}")
    assert seconds[len(seconds) // 2] < 1.0 and sizes[-1] < 2e6


def test_films_stay_together_and_step_by_frames(store, browsers) -> None:
    def films(script: str) -> Any:
        listed = "const v = [...document.querySelectorAll('video')];"
        return browsers.do(
            "evaluate", page="ann", script=(f"(() => {{{listed} return {script}}})()")
        )

    apart = []
    for _ in range(40):
        one, two, *still = films("[v[0].currentTime, v[1].currentTime, v[0].paused, v[1].paused]")
        if not any(still):
            apart.append(abs(one - two))
        time.sleep(0.05)
    print(f"\n{len(apart)} looks while both play: apart by at most {max(apart):.3f} s")
    assert len(apart) > 10 and max(apart) < 0.1
    browsers.do("press", page="ann", keys=["r"])
    browsers.do("press", page="ann", keys=["ArrowRight"])
    time.sleep(0.5)
    before = films("v.map(f => f.currentTime)")
    browsers.do("press", page="ann", keys=["ArrowRight"])
    time.sleep(0.5)
    after = films("v.map(f => f.currentTime)")
    assert [round(b - a, 2) for a, b in zip(before, after, strict=True)] == [
        0.1,
        0.1,
    ]  # 10 frames a second
    browsers.do("press", page="ann", keys=["]"])
    time.sleep(0.5)
    one, two = films("v.map(f => f.currentTime)")
    assert round(two - one, 2) == 0.1
    browsers.do("press", page="ann", keys=["s"])
    time.sleep(0.5)
    assert films("v[0].playbackRate") == 0.5 and "0.5×" in films(
        "document.querySelector('.sk-play-state').innerText"
    )


def test_strangers_are_refused_and_no_file_is_served(store, server) -> None:
    token = (store.path.parent / "token").read_text().strip()
    for query in (
        "/",
        "/?token=wrong",
        "/?token=",
        f"/?token={token[:-1]}",
        f"/?Token={token}&rater=ann",
    ):
        status, location, _ = server[0].get(query)
        assert status == 302 and "/login" in location, query
    assert server[0].kernels() == []
    assert server[0].get(f"/?token={token}", Host="evil.example")[0] == 403
    secrets = [b"SQLite format", b"root:", b"import page", token.encode(), b"learner_id"]
    up = "../" * 12
    for path in (
        "/voila/files/page.ipynb", "/page.ipynb", "/token", "/voila/files/token", "/voila/tree", "/files/",
        "/api/contents", "/api/kernels", "/api/sessions", "/data/ratings/coaches/ratings.sqlite",
        f"/voila/files/{up}etc/passwd", f"/voila/static/{up}etc/passwd", f"/voila/labextensions/{up}etc/passwd",
        f"/voila/templates/lab/static/{up}etc/passwd", f"/voila/files/{store.path}", f"/voila/static/{store.path}",
        f"/voila/files/{up.replace('/', '%2f').replace('.', '%2e')}etc/passwd",
    ):  # fmt: skip
        for query in ("", f"?token={token}"):
            status, location, body = server[0].get(path + query)
            assert status != 200 and not any(each in body for each in secrets), (
                path,
                status,
                body[:200],
            )
    assert server[0].kernels() == []
    status, _, body = server[0].get(f"/?token={token}&rater=%3Cscript%3Ealert(1)%3C/script%3E")
    assert status == 200 and b"alert(1)</script>" not in body
    assert b"sportskills_lib" not in body and b"page.served" not in body  # no code
    assert len(server[0].kernels()) == 1


def test_a_kernel_ends_when_its_rater_is_gone(store, monkeypatch) -> None:
    script = (
        "import sys\nfrom sportskills_lib.apps import serve_widget\nfrom pathlib import Path\n"
        "serve_widget.serve('1', title='x', ip='127.0.0.1', port=int(sys.argv[1]), token='t' * 20, "
        "log=Path(sys.argv[2]), "
        "say=lambda: None, cull_s=2)"
    )
    port = free_port()
    made = Server(["-c", script, str(port), str(store.path.parent / "log")], port)
    assert made.get(f"/?token={'t' * 20}")[0] == 200
    assert len(made.kernels()) == 1
    for _ in range(300):
        if not made.kernels():
            break
        time.sleep(0.1)
    assert made.kernels() == []
    made.end()
