"""The chat client against a server that fails in every way that servers do: nothing lost, nothing
asked twice.
"""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import sqlite3
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest
from chat_server import Reply, chat_server, user_text
from pydantic import BaseModel, ConfigDict

from sportskills_lib.config import ChatConfig
from sportskills_lib.language.cache import AnswerCache, Spent
from sportskills_lib.language.client import GIVE_UP, ChatClient, relaxed
from sportskills_lib.language.prompts import Prompt


class Echo(BaseModel):
    """The shape of the answers here."""

    model_config = ConfigDict(extra="forbid")

    said: str


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (
        "HTTP_PROXY",
        "HTTPS_PROXY",
        "ALL_PROXY",
        "http_proxy",
        "https_proxy",
        "all_proxy",
    ):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("OPENAI_API_KEY", "k")
    monkeypatch.setattr("openai._base_client.INITIAL_RETRY_DELAY", 0.01)


def prompts(count: int) -> list[Prompt]:
    return [Prompt("echo-1", "Say it again, as JSON.", f"word {i}") for i in range(count)]


def echo(request: dict, number: int) -> Reply:
    return Reply(json.dumps({"said": user_text(request)}))


def client(url: str, folder: Path, **options) -> ChatClient:
    """A client of the server; ``options`` are the client's own, and settings without ``chat_``."""
    own = {name: options.pop(name) for name in ("account", "attempts") if name in options}
    own |= {"max_tokens": options.pop("max_tokens", 2048)}
    settings = {"model": "m", "url": url} | options
    config = ChatConfig.from_parameters({f"chat_{name}": settings[name] for name in settings})
    return ChatClient(config, folder / "chat.sqlite", **own)


def test_answers_come_in_order_and_are_never_asked_for_again(tmp_path: Path) -> None:
    questions = prompts(30)
    with chat_server(echo) as server:
        with client(server.url, tmp_path, concurrency=3) as chat:
            first = chat.ask_many([*questions, questions[0]], Echo)
            again = chat.ask_many(questions, Echo)
        with client(server.url, tmp_path) as later:
            last = later.ask_many(questions[::-1], Echo)
    assert [answer.value.said for answer in first if answer.value] == [
        *(f"word {i}" for i in range(30)),
        "word 0",
    ]
    assert again == first[:30]
    assert last == first[29::-1]
    assert len(server.requests) == 30
    assert server.most_at_once <= 3


def test_a_request_is_well_formed(tmp_path: Path) -> None:
    with chat_server(echo) as server, client(server.url, tmp_path) as chat:
        chat.ask_many([Prompt("v", "our words", "data", images=(b"\xff\xd8 a picture",))], Echo)
    request = server.requests[0]
    assert request["messages"][0] == {"role": "system", "content": "our words"}
    shown = request["messages"][1]["content"]
    assert (
        shown[0]
        == {"type": "image_url", "image_url": {"url": "data:image/jpeg;base64,/9ggYSBwaWN0dXJl"}}
        and shown[1]["text"] == "data"
    )
    shape = request["response_format"]["json_schema"]
    assert (
        shape["strict"],
        shape["schema"]["additionalProperties"],
        shape["schema"]["required"],
    ) == (
        True,
        False,
        ["said"],
    )


def test_the_key_names_model_prompt_schema_and_text(tmp_path: Path) -> None:
    class Other(Echo):
        pass

    one, two = (
        client("http://x", tmp_path),
        client("http://x", tmp_path, model="n"),
    )
    words = Prompt("v", "a", "b")
    keys = [one.key(words, Echo), two.key(words, Echo), one.key(words, Other)]
    others = (("w", "a", "b"), ("v", "ab", ""), ("v", "a", "c"), ("v", "a", "b", (b"x",)))
    keys += [one.key(Prompt(*parts), Echo) for parts in others]
    assert len(set(keys)) == len(keys)


FAULTS = {
    "429": Reply("slow down", status=429, headers={"Retry-After": "0"}),
    "500": Reply("oops", status=500),
    "503 as a page": Reply(
        status=503, body=b"<html>busy</html>", headers={"Content-Type": "text/html"}
    ),
    "slow": Reply('{"said": "late"}', delay_s=0.6),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_what_passes_is_asked_again_until_answered(fault: str, tmp_path: Path) -> None:
    seen: Counter[str] = Counter()

    def sometimes(request: dict, number: int) -> Reply:
        seen[user_text(request)] += 1
        return FAULTS[fault] if seen[user_text(request)] == 1 else echo(request, number)

    with chat_server(sometimes) as server, client(server.url, tmp_path, timeout_s=0.4) as chat:
        answers = chat.ask_many(prompts(4), Echo)
        chat.ask_many(prompts(4), Echo)
    assert [answer.reason for answer in answers] == ["answered"] * 4
    assert set(seen.values()) == {2}


BAD = {
    "not JSON": (Reply("I think that it is fine."), "malformed"),
    "broken JSON": (Reply('{"said": "x'), "malformed"),
    "another shape": (Reply('{"say": "x"}'), "malformed"),
    "cut off": (Reply('{"said": "x', finish="length"), "malformed"),
    "a body that breaks off": (Reply(body=b'{"choices": [{"mess'), "malformed"),
    "a body of another shape": (Reply(body=b'{"choices": {"a": 1}}'), "malformed"),
    "a list": (Reply(body=b"[1, 2]"), "malformed"),
    "a page": (Reply(body=b"<html>", headers={"Content-Type": "text/html"}), "malformed"),
    "a refusal": (Reply(None, refusal="I cannot help with that"), "refused"),
    "a filter": (Reply("", finish="content_filter"), "refused"),
    "no words": (Reply(""), "refused"),
    "moderation": (Reply("flagged", status=403), "refused"),
    "too early": (Reply("later", status=425), "unreachable"),
    "too long": (Reply("context length exceeded", status=400), "rejected"),
    "always 500": (Reply("oops", status=500), "unreachable"),
    "always 429": (Reply("quota", status=429), "busy"),
    "a pause too long": (Reply("tomorrow", status=429, headers={"Retry-After": "86400"}), "busy"),
    "always slow": (Reply('{"said": "x"}', delay_s=0.5), "timeout"),
}


@pytest.mark.parametrize("name", BAD)
def test_no_usable_answer_costs_that_prompt_alone_and_a_rerun_asks_only_it(
    name: str, tmp_path: Path
) -> None:
    reply, reason = BAD[name]
    well = False

    def one_bad(request: dict, number: int) -> Reply:
        return reply if "word 2" in user_text(request) and not well else echo(request, number)

    with chat_server(one_bad) as server:
        with client(server.url, tmp_path, attempts=2, timeout_s=0.3) as chat:
            answers = chat.ask_many(prompts(5), Echo)
        assert [answer.reason for answer in answers] == [
            "answered",
            "answered",
            reason,
            "answered",
            "answered",
        ]
        assert answers[2].value is None and answers[2].detail
        server.requests.clear()
        well = True
        with client(server.url, tmp_path) as chat:
            assert all(answer.value for answer in chat.ask_many(prompts(5), Echo))
        assert [user_text(request) for request in server.requests] == ["word 2"]


def test_words_around_the_json_do_no_harm(tmp_path: Path) -> None:
    fenced = Reply('<think>hm</think> Here it is:\n```json\n{"said": "x"}\n```')
    with (
        chat_server(lambda request, number: fenced) as server,
        client(server.url, tmp_path) as chat,
    ):
        assert chat.ask_many(prompts(1), Echo)[0].value == Echo(said="x")


@pytest.mark.parametrize(
    ("knows", "complaint"),
    [
        (lambda r: "response_format" not in r, "unknown field response_format"),
        (
            lambda r: r.get("response_format", {}).get("type") != "json_schema",
            "json_schema is not supported",
        ),
        (lambda r: "max_tokens" not in r, "use max_completion_tokens instead of max_tokens"),
        (lambda r: "temperature" not in r, "temperature is fixed"),
    ],
)
def test_what_a_server_does_not_understand_is_left_out_from_then_on(
    knows, complaint: str, tmp_path: Path
) -> None:
    def picky(request: dict, number: int) -> Reply:
        return echo(request, number) if knows(request) else Reply(complaint, status=422)

    with chat_server(picky) as server, client(server.url, tmp_path, concurrency=1) as chat:
        answers = chat.ask_many(prompts(4), Echo)
    assert all(answer.value for answer in answers)
    assert all(knows(request) for request in server.requests[-3:])
    assert len(server.requests) <= 4 + 2


def test_nothing_is_left_out_for_ever() -> None:
    options, steps = {"temperature": 0, "response_format": "schema"}, 0
    while (milder := relaxed(options, "no")) is not None:
        options, steps = milder, steps + 1
    assert (options, steps) == ({"temperature": 0}, 2)


def test_the_servers_pause_is_waited_for(tmp_path: Path) -> None:
    times: list[float] = []

    def busy_once(request: dict, number: int) -> Reply:
        times.append(time.monotonic())
        return (
            Reply("wait", status=429, headers={"Retry-After": "0.6"})
            if number == 0
            else echo(request, number)
        )

    with chat_server(busy_once) as server, client(server.url, tmp_path, concurrency=1) as chat:
        assert all(answer.value for answer in chat.ask_many(prompts(3), Echo))
    assert times[1] - times[0] >= 0.6
    assert len(times) == 4


def test_a_server_that_is_gone_is_not_asked_for_ever(tmp_path: Path) -> None:
    with chat_server(echo) as server:
        pass
    with client(server.url, tmp_path, attempts=2, concurrency=2) as chat:
        answers = chat.ask_many(prompts(60), Echo)
    reasons = Counter(answer.reason for answer in answers)
    assert reasons["unreachable"] <= GIVE_UP + 2 and reasons["given_up"] >= 60 - GIVE_UP - 2


@pytest.mark.parametrize(
    ("status", "remedy"), [(401, "OPENAI_API_KEY"), (404, "chat_model"), (308, "chat_url")]
)
def test_what_no_question_gets_past_is_an_error_with_a_remedy(
    status: int, remedy: str, tmp_path: Path
) -> None:
    reply = Reply(
        "no", status=status, headers={"Location": "http://127.0.0.1:9/"} if status == 308 else {}
    )
    with (
        chat_server(lambda request, number: reply) as server,
        client(server.url, tmp_path) as chat,
        pytest.raises(ValueError, match=remedy),
    ):
        chat.ask_many(prompts(3), Echo)


def test_an_error_does_not_wait_for_what_is_under_way(tmp_path: Path) -> None:
    def slow(request: dict, number: int) -> Reply:
        first = user_text(request) == "word 0"
        return Reply("no", status=401, delay_s=0.3) if first else Reply("late", delay_s=2.0)

    with chat_server(slow) as server, client(server.url, tmp_path, concurrency=3) as chat:
        began = time.monotonic()
        with pytest.raises(ValueError, match="OPENAI_API_KEY"):
            chat.ask_many(prompts(9), Echo)
        assert time.monotonic() - began < 1.5
    assert len(server.requests) == 3


def test_settings_that_cannot_work_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("OPENAI_BASE_URL", raising=False)
    with pytest.raises(ValueError, match="address"):
        client("", tmp_path)
    with pytest.raises(ValueError, match="chat_model"):
        client("http://x", tmp_path, model="")
    with pytest.raises(ValueError, match="set the prices"):
        client("http://x", tmp_path, budget_usd=1)
    (tmp_path / "chat.sqlite").write_bytes(b"this is no data base, whatever its name says" * 100)
    with pytest.raises(ValueError, match="move it away"):
        client("http://x", tmp_path)


def test_the_budget_stops_cleanly_and_counts_earlier_runs(tmp_path: Path) -> None:
    prices = {
        "usd_in": 1.0,
        "usd_out": 2.0,
        "max_tokens": 50,
    }  # a call costs 120 millionths, at most about 200
    with chat_server(echo) as server:
        with client(server.url, tmp_path, account="a", budget_usd=0.0010, **prices) as chat:
            first = chat.ask_many(prompts(20), Echo)
            spent = chat.spent()
        assert spent.cost_usd <= 0.0010
        assert (
            spent.calls
            == len(server.requests)
            == sum(answer.reason == "answered" for answer in first)
            >= 6
        )
        assert {answer.reason for answer in first} == {"answered", "budget"}
        with client(server.url, tmp_path, account="a", budget_usd=0.0010, **prices) as chat:
            again = chat.ask_many(prompts(20), Echo)
        assert [answer.reason for answer in again] == [answer.reason for answer in first]
        assert len(server.requests) == spent.calls
        with client(server.url, tmp_path, account="a", budget_usd=0.01, **prices) as chat:
            assert all(answer.value for answer in chat.ask_many(prompts(20), Echo))
            assert chat.spent() == (20, 2000, 200, pytest.approx(20 * 120e-6))
    assert Counter(map(user_text, server.requests)).most_common(1)[0][1] == 1


def test_it_runs_where_an_event_loop_runs(tmp_path: Path) -> None:
    async def cell() -> int:
        with client(server.url, tmp_path) as chat:
            return sum(answer.value is not None for answer in chat.ask_many(prompts(3), Echo))

    with chat_server(echo) as server:
        assert asyncio.run(cell()) == 3


ASKER = """
import sys
sys.path[:0] = sys.argv[4:]
from pathlib import Path
from test_client import Echo, client, prompts
with client(sys.argv[1], Path(sys.argv[2]), concurrency=2) as chat:
    answers = chat.ask_many(prompts(int(sys.argv[3])), Echo)
print(sum(answer.value is not None for answer in answers))
"""


def ask_in_a_process(url: str, folder: Path, count: int) -> subprocess.Popen:
    here = Path(__file__).parent
    command = [
        sys.executable,
        "-c",
        ASKER,
        url,
        str(folder),
        str(count),
        str(here),
        str(here.parent),
    ]
    return subprocess.Popen(
        command, stdout=subprocess.PIPE, text=True, env={**os.environ, "OPENAI_API_KEY": "k"}
    )


def test_after_a_kill_only_what_was_under_way_is_asked_again(tmp_path: Path) -> None:
    with chat_server(
        lambda request, number: Reply(echo(request, number).text, delay_s=0.05)
    ) as server:
        for stop in (8, 20):
            asker = ask_in_a_process(server.url, tmp_path, 40)
            while len(server.requests) < stop and asker.poll() is None:
                time.sleep(0.01)
            asker.send_signal(signal.SIGKILL)
            asker.communicate()
        asker = ask_in_a_process(server.url, tmp_path, 40)
        assert asker.communicate(timeout=60)[0].strip() == "40"
    times = Counter(map(user_text, server.requests))
    assert len(times) == 40 and max(times.values()) <= 3
    assert sum(times.values()) - 40 <= 2 * 2  # two kills, two questions under way


def test_several_processes_share_one_file(tmp_path: Path) -> None:
    with chat_server(echo) as server:
        askers = [ask_in_a_process(server.url, tmp_path, 60) for _ in range(3)]
        assert [asker.communicate(timeout=90)[0].strip() for asker in askers] == ["60"] * 3
    with sqlite3.connect(tmp_path / "chat.sqlite") as base:
        assert base.execute("select count(*) from answers").fetchone() == (60,)
        assert base.execute("select count(*) from spending").fetchone() == (len(server.requests),)
        assert base.execute("pragma integrity_check").fetchone() == ("ok",)


def test_many_keys_are_looked_up_at_once(tmp_path: Path) -> None:
    cache = AnswerCache(tmp_path / "c.sqlite")
    keys = {f"k{i}": str(i) for i in range(40_000)}
    cache.record(
        account="", model="m", version="v", outcome="answered", spent=Spent(1), answers=keys
    )
    assert cache.load([*keys, "unknown"]) == keys
    cache.close()


def test_no_key_is_written_down(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "secret-key-of-mine")
    with chat_server(echo) as server, client(server.url, tmp_path) as chat:
        chat.ask_many(prompts(2), Echo)
        assert "secret-key-of-mine" not in repr(chat)
    assert not any(
        re.search(rb"secret-key-of-mine", path.read_bytes()) for path in tmp_path.iterdir()
    )
