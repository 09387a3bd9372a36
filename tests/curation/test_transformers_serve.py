"""The chat judge against a real server: `transformers serve` on loopback, with a tiny untrained
model made here.

Such a model talks nonsense, which is the point: every sentence must come back, undecided, and
nothing may be asked twice. The server takes a minute or more to start, so this runs only where
SPORTSKILLS_SERVE=1 asks for it.
"""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from sportskills_lib.config import ChatConfig
from sportskills_lib.curation.chat_judge import Verdicts, judge_videos
from sportskills_lib.language.client import ChatClient
from sportskills_lib.language.prompts import Prompt

START_S = 600.0
SAID = [
    "Bend your knees and turn the hips.",
    "Hello and welcome back.",
    "Keep the elbow high as you pull.",
]

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        os.environ.get("SPORTSKILLS_SERVE") != "1",
        reason="set SPORTSKILLS_SERVE=1 to start a server",
    ),
]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A folder with the demo's kind of Qwen2.5-VL, not trained."""
    from sportskills_lib.demo import base_vlm

    folder = tmp_path_factory.mktemp("model")
    recipe = base_vlm.Recipe()
    tokenizer = base_vlm.build_tokenizer(SAID * 20, vocabulary=400)
    vlm = base_vlm.build_model(tokenizer, recipe)
    vlm.processor.save_pretrained(folder)
    vlm.stock.save_pretrained(folder)
    return str(folder)


@pytest.fixture(scope="module")
def url(model: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with socket.socket() as door:
        door.bind(("127.0.0.1", 0))
        port = door.getsockname()[1]
    program = str(Path(sys.executable).with_name("transformers"))
    command = [
        program,
        "serve",
        model,
        "--host",
        "127.0.0.1",
        "--port",
        str(port),
        "--device",
        "cpu",
    ]
    log = tmp_path_factory.mktemp("log") / "serve.log"
    environment = {**os.environ, "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"}
    with log.open("w") as file:
        server = subprocess.Popen(command, stdout=file, stderr=subprocess.STDOUT, env=environment)
    try:
        end = time.monotonic() + START_S
        while server.poll() is None and time.monotonic() < end:
            try:
                urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=2).close()
                break
            except OSError:
                time.sleep(0.5)
        else:
            pytest.fail(f"transformers serve did not start: {log.read_text()[-2000:]}")
        yield f"http://127.0.0.1:{port}/v1"
    finally:
        server.terminate()
        server.wait(30)


def test_nonsense_is_undecided_and_nothing_is_lost(url: str, model: str, tmp_path: Path) -> None:
    config = ChatConfig(chat_url=url, chat_model=model, chat_concurrency=2)
    with ChatClient(config, tmp_path / "chat.sqlite", max_tokens=24) as chat:
        found = judge_videos(chat, [("golf swing", SAID)])[0]
        spent = chat.spent()
    assert [verdict.actionable for verdict in found] == [None] * len(SAID)
    assert all(
        verdict.reason.startswith(("undecided malformed", "undecided refused")) for verdict in found
    )
    assert spent.calls == 1 + len(SAID)  # together, then each alone
    assert spent.prompt_tokens > 0 and 0 < spent.completion_tokens <= 24 * spent.calls


def test_it_takes_pictures(url: str, model: str, tmp_path: Path) -> None:
    import cv2

    picture = cv2.imencode(".jpg", np.full((112, 112, 3), 128, np.uint8))[1].tobytes()
    config = ChatConfig(chat_url=url, chat_model=model)
    with ChatClient(config, tmp_path / "chat.sqlite", max_tokens=8) as chat:
        answer = chat.ask_many(
            [Prompt("v", "Answer.", "What is it?", images=(picture,))], Verdicts
        )[0]
    assert (answer.value, answer.reason in ("malformed", "refused")) == (None, True)
