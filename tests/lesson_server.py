"""An HTTP server on loopback with lessons as a video site shows them: a page with a player,
captions, a film.
"""

from __future__ import annotations

import json
import tempfile
import threading
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import films

FAULTS = ("404", "403", "429", "truncated", "slow", "no_captions", "too_long", "idle")
DURATION_S, LONG_S, STEP_S = 24.0, 4000.0, 2.0
TEACHING = (
    "Bend your knees before you throw.",
    "Keep your elbow high and your wrist loose.",
    "Turn your hips toward the target.",
    "Then push off your back foot.",
    "Don't drop your shoulder.",
    "Finish with your arm straight.",
)
IDLE = (
    "Welcome back to the channel.",
    "Thanks to our sponsor.",
    "I bought this in my favourite shop last year.",
)


def webvtt(sentences: Sequence[str], *, every_s: float = 4.0) -> str:
    """Captions with one sentence every few seconds."""
    cues = [
        f"{films.stamp(i * every_s)} --> {films.stamp((i + 1) * every_s - 0.5)}\n{text}\n"
        for i, text in enumerate(sentences)
    ]
    return "\n".join(["WEBVTT\n", *cues])


class Site:
    """Lessons by name; ``faults`` says what is wrong with some. ``asked`` counts requests by path.

    All show the same film, whose grey is 20, 25, 30 … as :data:`STEP_S` after :data:`STEP_S` goes
    by, and say ``said``. What is slow never comes. The answer to ``hold``, a path, stops half way,
    which ``held`` tells; so a test may kill whoever asked without a race.
    """

    def __init__(
        self,
        faults: dict[str, str],
        *,
        said: Sequence[str] = TEACHING,
        every_s: float = 4.0,
        duration_s: float = DURATION_S,
    ):
        self.faults, self.duration_s = faults, duration_s
        self.said = webvtt(said, every_s=every_s)
        self.asked: Counter[str] = Counter()
        with tempfile.TemporaryDirectory() as folder:
            frames = films.grey_steps(int(duration_s / STEP_S)).repeat(int(10 * STEP_S), axis=0)
            self.film = films.write_film(
                Path(folder) / "film.mp4", frames, options={"g": "30"}
            ).read_bytes()
        self.address, self.hold = "", ""
        self.held, self.stopped = threading.Event(), threading.Event()

    def url(self, name: str) -> str:
        """The page of a lesson."""
        return f"{self.address}/watch/{name}"

    def answer(self, path: str, ranged: str) -> tuple[int, dict[str, str], bytes, int]:
        """Status, headers, body, and how many bytes of it are sent."""
        _, kind, name = path.split("/")
        name = name.split(".")[0]
        fault = self.faults.get(name, "")
        first = self.asked[path] == 1
        if fault in ("404", "403"):
            return int(fault), {}, b"", 0
        if fault == "429" and kind == "captions" and first:
            return 429, {"Retry-After": "0"}, b"", 0
        if fault == "slow":
            self.stopped.wait()
        if kind == "watch":
            return self._whole("text/html", self._page(name, fault).encode())
        if kind == "captions":
            return self._whole(
                "text/vtt", (webvtt(IDLE) if fault == "idle" else self.said).encode()
            )
        start = (
            int(ranged.removeprefix("bytes=").split("-")[0]) if ranged.startswith("bytes=") else 0
        )
        body, size = self.film[start:], len(self.film)
        kept = max(0, size // 2 - start) if fault == "truncated" else len(body)
        headers = {"Content-Type": "video/mp4", "Accept-Ranges": "bytes"}
        if ranged:
            headers["Content-Range"] = f"bytes {start}-{size - 1}/{size}"
        return (206 if ranged else 200), headers, body, kept

    def _whole(self, kind: str, body: bytes) -> tuple[int, dict[str, str], bytes, int]:
        return 200, {"Content-Type": kind}, body, len(body)

    def _page(self, name: str, fault: str) -> str:
        track = (
            []
            if fault == "no_captions"
            else [{"file": f"/captions/{name}.vtt", "kind": "captions", "label": "en"}]
        )
        lesson = {
            "title": f"Lesson {name}",
            "duration": LONG_S if fault == "too_long" else self.duration_s,
            "sources": [
                {"file": f"/film/{name}.mp4", "type": "video/mp4", "height": 64, "width": 64}
            ],
            "tracks": track,
        }
        setup = json.dumps({"playlist": [lesson]})
        return f"<html><title>x</title><body><script>jwplayer('p').setup({setup});</script></body></html>"


@contextmanager
def serving(site: Site) -> Iterator[Site]:
    """Serve the site until the block ends."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            site.asked[self.path] += 1
            with suppress(BrokenPipeError, ConnectionResetError):
                status, headers, body, kept = site.answer(self.path, self.headers.get("Range", ""))
                self.send_response(status)
                for key, value in headers.items():
                    self.send_header(key, value)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                if self.command == "GET" and self.path == site.hold:
                    self.wfile.write(body[: kept // 2])
                    site.held.set()
                    site.stopped.wait()
                elif self.command == "GET":
                    self.wfile.write(body[:kept])
            self.close_connection = True

        do_HEAD = do_GET

        def log_message(self, format: str, *args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(
        target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True
    )
    thread.start()
    site.address = f"http://127.0.0.1:{server.server_port}"
    try:
        yield site
    finally:
        site.stopped.set()
        server.shutdown()
        server.server_close()
        thread.join()
