"""A chat server of our own on loopback: it remembers what it was asked and behaves as a test
wants.
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

Request = dict[str, Any]


@dataclass(frozen=True)
class Reply:
    """``text`` is the model's message, unless ``body`` is given: then that is sent as it stands."""

    text: str | None = ""
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes | None = None
    delay_s: float = 0.0
    refusal: str | None = None
    finish: str = "stop"
    tokens: tuple[int, int] = (100, 10)


@dataclass
class ChatServer:
    """Where it listens, and every request that it got."""

    url: str
    requests: list[Request] = field(default_factory=list)
    most_at_once: int = 0

    def asked(self) -> list[dict[str, Any]]:
        """The data of every request: the user's message, which must be one JSON object."""
        return [json.loads(user_text(request)) for request in self.requests]


def user_text(request: Request) -> str:
    """The text of the user's message."""
    content = request["messages"][-1]["content"]
    return content if isinstance(content, str) else content[-1]["text"]


@contextmanager
def chat_server(answer: Callable[[Request, int], Reply]) -> Iterator[ChatServer]:
    """Serve ``answer(request, number)`` until the block ends; ``number`` counts requests from 0."""
    lock, under_way = threading.Lock(), [0]

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            request = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            with lock:
                number = len(server.requests)
                server.requests.append(request)
                under_way[0] += 1
                server.most_at_once = max(server.most_at_once, under_way[0])
            reply = answer(request, number)
            time.sleep(reply.delay_s)
            message = {"role": "assistant", "content": reply.text, "refusal": reply.refusal}
            usage = {
                "prompt_tokens": reply.tokens[0],
                "completion_tokens": reply.tokens[1],
                "total_tokens": 0,
            }
            whole = {
                "id": "x",
                "object": "chat.completion",
                "created": 0,
                "model": request["model"],
                "usage": usage,
                "choices": [{"index": 0, "message": message, "finish_reason": reply.finish}],
            }
            if reply.status != 200:
                whole = {"error": {"message": reply.text, "type": "error"}}
            body = json.dumps(whole).encode() if reply.body is None else reply.body
            with lock:
                under_way[0] -= 1
            try:
                self.send_response(reply.status)
                for name, value in {"Content-Type": "application/json", **reply.headers}.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)
            except OSError:
                self.close_connection = True

        def log_message(self, *_: object) -> None:
            pass

    http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    http.daemon_threads = True
    server = ChatServer(f"http://127.0.0.1:{http.server_port}/v1")
    thread = threading.Thread(
        target=http.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True
    )
    thread.start()
    try:
        yield server
    finally:
        http.shutdown()
        http.server_close()


def verdicts(request: Request, decide: Callable[[str], bool], *, probability: float = 0.95) -> str:
    """What a well-behaved judge says: ``decide(text)`` for each line that it is asked about."""
    data = json.loads(user_text(request))
    texts = {line["line"]: line["text"] for line in data["transcript"]}
    said = []
    for line in data["judge"]:
        yes = decide(texts[line])
        likely = probability if yes else 1 - probability
        said.append(
            {"line": line, "actionable": yes, "probability": round(likely, 3), "why": "because"}
        )
    return json.dumps({"verdicts": said})
