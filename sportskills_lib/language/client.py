"""Ask a chat model many questions and get answers of a given shape, or a reason why there is none.

Guarantees of :meth:`ChatClient.ask_many`: one answer a prompt, in order; an answer is kept on disk
the moment it arrives and is never asked for again; at most ``concurrency`` questions are under way;
busy servers (429, 5xx) are asked again after the wait that they name; spending, as the server
counts tokens, never passes the budget of the account, over all its runs; and no answer of the
server, whatever it says or breaks, is an exception. Only what makes every answer impossible is one:
a wrong key, a model or an address that does not exist.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import json
import logging
import os
import random
import threading
import time
from collections.abc import Callable, Coroutine, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any, Generic, TypeVar

from pydantic import BaseModel, ValidationError

from sportskills_lib.config import ChatConfig
from sportskills_lib.language.cache import AnswerCache, Spent
from sportskills_lib.language.retries import Trouble, trouble_of, wait_s
from sportskills_lib.runs import artifacts

Shape = TypeVar("Shape", bound=BaseModel)
Keep = Callable[
    [int, Any], Mapping[str, str]
]  # number of the prompt, its answer → what the cache keeps, by key

KEY_VARIABLE, URL_VARIABLE = "OPENAI_API_KEY", "OPENAI_BASE_URL"
IMAGE_TOKENS = 2000  # what a picture is taken to cost until the server says
FRAME_TOKENS = 64  # what a server adds around a prompt
GIVE_UP = 8  # so many prompts in a row without an answer: the server is taken to be gone
GONE = Trouble(
    "given_up", f"{GIVE_UP} prompts in a row had no answer: the server is taken to be gone"
)
LOG_EVERY_S = 10.0

log = logging.getLogger("sportskills")


@dataclass(frozen=True)
class Prompt:
    """One question. ``system`` holds our words, ``user`` holds data, ``images`` are data URLs
    (:func:`data_url`).
    """

    version: str
    system: str
    user: str
    images: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for image in self.images:
            if not image.startswith("data:image/"):
                raise ValueError(
                    f"picture {image[:40]!r} is no data URL: use language.client.data_url"
                )


@dataclass(frozen=True)
class Answer(Generic[Shape]):
    """``value`` is None where there is no usable answer, and ``reason`` says why.

    Reasons: ``answered``; ``refused``, ``malformed`` (also: cut off), ``rejected`` (the server will
    not take the prompt), ``unreachable``, ``timeout``, ``busy``, ``given_up`` (the server was taken
    to be gone), ``budget``.
    """

    value: Shape | None
    reason: str
    detail: str = ""
    cached: bool = False


def data_url(picture: bytes, *, kind: str = "jpeg") -> str:
    """An encoded picture (JPEG, PNG) as a data URL, so that the server fetches nothing."""
    return f"data:image/{kind};base64,{base64.b64encode(picture).decode()}"


@dataclass
class ChatClient:
    """A model behind an OpenAI-compatible server. Prices are dollars for a million tokens;
    ``budget_usd`` 0: no limit.

    ``account`` names what the budget belongs to (a run's stage): its spending is summed over
    processes and reruns. The key comes from OPENAI_API_KEY; servers that want none are content
    without. Close it, or use it in ``with``.
    """

    url: str
    model: str
    cache: Path
    account: str = ""
    concurrency: int = 4
    timeout_s: float = 60.0
    attempts: int = 5
    max_tokens: int = 2048
    budget_usd: float = 0.0
    usd_in: float = 0.0
    usd_out: float = 0.0
    longest_wait_s: float = 120.0
    answers: AnswerCache = field(init=False, repr=False)

    def __post_init__(self) -> None:
        self.url = self.url or os.environ.get(URL_VARIABLE, "")
        if not self.url or not self.model:
            missing = (
                "address (chat_url, or OPENAI_BASE_URL)" if not self.url else "name (chat_model)"
            )
            raise ValueError(f"the chat model has no {missing}: give one, or judge by rules")
        if self.budget_usd and not (self.usd_in or self.usd_out):
            raise ValueError(
                f"a budget of {self.budget_usd} dollars without prices limits nothing: set the "
                "prices too"
            )
        self.answers = AnswerCache(self.cache)
        self._options: dict[str, Any] = {
            "temperature": 0,
            "max_tokens": self.max_tokens,
            "response_format": "schema",
        }
        self._silent = 0  # prompts in a row that got no answer

    def __enter__(self) -> ChatClient:
        return self

    def __exit__(self, *_: object) -> None:
        self.answers.close()

    def key(self, version: str, schema: type[BaseModel], *parts: str) -> str:
        """What an answer is kept under: model, version of the prompt, schema, and all that the
        model was shown.
        """
        return hashlib.sha256(
            json.dumps([self.model, version, _shape(schema), *parts]).encode()
        ).hexdigest()

    def spent(self) -> Spent:
        """What the account has cost so far."""
        return self.answers.spent(self.account)

    def ask_many(
        self, prompts: Sequence[Prompt], schema: type[Shape], *, keep: Keep | None = None
    ) -> list[Answer[Shape]]:
        """An answer for each prompt. ``keep`` chooses what is remembered of one; by default all,
        under its own key.

        May be called where an event loop runs already (a notebook). ValueError: wrong key, model or
        address.
        """
        return _in_a_thread(_Round(self, prompts, schema, keep).run())


@cache
def _shape(schema: type[BaseModel]) -> str:
    return json.dumps(schema.model_json_schema(), sort_keys=True)


class _Round(Generic[Shape]):
    """One call of ``ask_many``: what is under way, and what it may still cost."""

    def __init__(
        self, client: ChatClient, prompts: Sequence[Prompt], schema: type[Shape], keep: Keep | None
    ):
        self.client, self.prompts, self.schema, self.keep = client, prompts, schema, keep
        self.keys = [
            client.key(each.version, schema, each.system, each.user, *each.images)
            for each in prompts
        ]
        self.results: dict[str, Answer[Shape]] = {}
        self.spent_usd, self.reserved_usd = client.spent().cost_usd, 0.0
        self.not_before = 0.0  # the loop's time before which a busy server wants no question
        self.changed = asyncio.Condition()
        self.spoken = time.monotonic()

    async def run(self) -> list[Answer[Shape]]:
        from openai import AsyncOpenAI, DefaultAsyncHttpxClient

        first: dict[str, int] = {}
        for number, key in enumerate(self.keys):
            first.setdefault(key, number)
        todo = iter(first.items())
        client = self.client
        async with AsyncOpenAI(
            base_url=client.url,
            api_key=os.environ.get(KEY_VARIABLE) or "none",
            max_retries=0,
            timeout=client.timeout_s,
            http_client=DefaultAsyncHttpxClient(follow_redirects=False),
        ) as api:
            workers = [
                asyncio.create_task(self._work(api, todo))
                for _ in range(max(1, client.concurrency))
            ]
            try:
                await asyncio.gather(*workers)
            finally:
                for worker in workers:
                    worker.cancel()
                await asyncio.gather(*workers, return_exceptions=True)
        return [self.results[key] for key in self.keys]

    async def _work(self, api: Any, todo: Iterator[tuple[str, int]]) -> None:
        for key, number in todo:
            known = self.client.answers.load([key]).get(key)
            if known is not None:
                self.results[key] = Answer(
                    self.schema.model_validate_json(known), "answered", cached=True
                )
                continue
            most_usd = self._most_usd(self.prompts[number])
            if not await self._reserve(most_usd):
                detail = f"{self.spent_usd:.4f} of {self.client.budget_usd:.4f} dollars are spent"
                self.results[key] = Answer(None, "budget", detail)
                continue
            try:
                self.results[key] = await self._ask(api, key, number, most_usd)
            finally:
                async with self.changed:
                    self.reserved_usd -= most_usd
                    self.changed.notify_all()
            if time.monotonic() - self.spoken >= LOG_EVERY_S:
                self.spoken = time.monotonic()
                log.info(f"asked {self.client.model}: {len(self.results)} of {len(set(self.keys))}")

    # ---------------------------------------------------------------------------------------- money

    def _most_usd(self, prompt: Prompt) -> float:
        """What the prompt can cost at most: no tokenizer makes more tokens than there are bytes."""
        tokens = (
            len((prompt.system + prompt.user).encode())
            + FRAME_TOKENS
            + IMAGE_TOKENS * len(prompt.images)
        )
        return (tokens * self.client.usd_in + self.client.max_tokens * self.client.usd_out) / 1e6

    async def _reserve(self, most_usd: float) -> bool:
        """Whether the budget has room; what is under way may cost less than feared, so it is waited
        for.
        """
        budget_usd = self.client.budget_usd
        async with self.changed:
            while budget_usd and self.spent_usd + self.reserved_usd + most_usd > budget_usd:
                if self.reserved_usd <= 1e-12:
                    return False
                await self.changed.wait()
            self.reserved_usd += most_usd
            return True

    def _cost(self, usage: Any, most_usd: float) -> Spent:
        into, out = (getattr(usage, name, None) for name in ("prompt_tokens", "completion_tokens"))
        if not isinstance(into, int) or not isinstance(out, int):
            return Spent(1, 0, 0, most_usd)  # it does not say: the most that it can be
        return Spent(1, into, out, (into * self.client.usd_in + out * self.client.usd_out) / 1e6)

    # --------------------------------------------------------------------------------------- asking

    async def _ask(self, api: Any, key: str, number: int, most_usd: float) -> Answer[Shape]:
        """One prompt's answer, after as many attempts as it takes and is allowed."""
        prompt, options, tries, trouble = self.prompts[number], dict(self.client._options), 0, GONE
        while tries < self.client.attempts and self.client._silent < GIVE_UP:
            await asyncio.sleep(max(0.0, self.not_before - asyncio.get_running_loop().time()))
            try:
                async with asyncio.timeout(self.client.timeout_s):
                    reply = await api.chat.completions.create(
                        model=self.client.model,
                        messages=_messages(prompt),
                        **_sent(options, self.schema),
                    )
            except Exception as error:
                trouble = trouble_of(error, self.client.url, self.client.model)
                if (
                    trouble.reason == "rejected"
                    and (milder := relaxed(options, trouble.detail)) is not None
                ):
                    options = milder
                    continue
                if not trouble.passes:
                    self.client._silent = 0
                    return Answer(None, trouble.reason, trouble.detail)
                tries += 1
                pause_s = wait_s(trouble.after_s, tries, random.random())
                if pause_s > self.client.longest_wait_s:
                    break
                if trouble.after_s is not None:  # the server asked for a pause: all wait
                    self.not_before = max(
                        self.not_before, asyncio.get_running_loop().time() + pause_s
                    )
                elif tries < self.client.attempts:
                    await asyncio.sleep(pause_s)
                continue
            self.client._silent = 0
            self.client._options = options
            return self._received(reply, key, number, most_usd)
        self.client._silent += 1
        return Answer(None, trouble.reason, trouble.detail)

    def _received(self, reply: Any, key: str, number: int, most_usd: float) -> Answer[Shape]:
        """Check a reply, and write down its cost and what is to be kept, before anyone sees it."""
        answer = read_reply(reply, self.schema)
        kept: Mapping[str, str] = {}
        if answer.value is not None:
            kept = (
                self.keep(number, answer.value)
                if self.keep
                else {key: answer.value.model_dump_json()}
            )
        spent = self._cost(getattr(reply, "usage", None), most_usd)
        self.spent_usd += spent.cost_usd
        self.client.answers.record(
            account=self.client.account,
            model=self.client.model,
            version=self.prompts[number].version,
            outcome=answer.reason,
            spent=spent,
            answers=kept,
        )
        return answer


def _messages(prompt: Prompt) -> list[dict[str, Any]]:
    """Our words as the system's message, the data as the user's; pictures stand before the data."""
    content: Any = prompt.user
    if prompt.images:
        pictures = [{"type": "image_url", "image_url": {"url": url}} for url in prompt.images]
        content = [*pictures, {"type": "text", "text": prompt.user}]
    return [{"role": "system", "content": prompt.system}, {"role": "user", "content": content}]


def _sent(options: Mapping[str, Any], schema: type[BaseModel]) -> dict[str, Any]:
    """The request's options, the schema filled in."""
    sent = dict(options)
    if sent.get("response_format") == "schema":
        shape = {
            "name": schema.__name__.lstrip("_"),
            "strict": True,
            "schema": schema.model_json_schema(),
        }
        sent["response_format"] = {"type": "json_schema", "json_schema": shape}
    elif "response_format" in sent:
        sent["response_format"] = {"type": "json_object"}
    return sent


def relaxed(options: Mapping[str, Any], complaint: str) -> dict[str, Any] | None:
    """Milder options after a server's complaint: what it names is changed; else the answer's form
    is demanded less.

    None where nothing is left to give up. Servers differ in what they understand: some know no
    schemas, some only ``max_completion_tokens``, some no temperature.
    """
    milder = dict(options)
    if "max_completion_tokens" in complaint and "max_tokens" in milder:
        milder["max_completion_tokens"] = milder.pop("max_tokens")
    elif "temperature" in complaint and "temperature" in milder:
        del milder["temperature"]
    elif milder.get("response_format") == "schema":
        milder["response_format"] = "object"
    elif "response_format" in milder:
        del milder["response_format"]
    else:
        return None
    return milder


def read_reply(reply: Any, schema: type[Shape]) -> Answer[Shape]:
    """The answer in a reply: checked against the schema, or why it is none."""
    choices = getattr(reply, "choices", None)
    choice = choices[0] if isinstance(choices, list) and choices else None
    message, ending = getattr(choice, "message", None), getattr(choice, "finish_reason", None)
    content, refusal = getattr(message, "content", None), getattr(message, "refusal", None)
    if message is None or not isinstance(content, str | None):
        return Answer(None, "malformed", "the reply contains no message")
    text = content or ""
    if refusal or ending == "content_filter" or not text.strip():
        return Answer(None, "refused", str(refusal or "no words")[:200])
    start, end = text.find("{"), text.rfind("}")
    try:
        return Answer(
            schema.model_validate_json(text[start : end + 1] if 0 <= start < end else text),
            "answered",
        )
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        cut = " (cut off)" if ending == "length" else ""
        return Answer(
            None, "malformed", f"{'.'.join(map(str, first['loc']))}: {first['msg']}{cut}"[:200]
        )


def _in_a_thread(work: Coroutine[Any, Any, list[Answer[Shape]]]) -> list[Answer[Shape]]:
    """Run it to its end in a thread of its own; an interruption here cancels it there."""
    outcome: list[Any] = [None, None]
    loop = asyncio.new_event_loop()
    task = loop.create_task(work)

    def run() -> None:
        try:
            outcome[0] = loop.run_until_complete(task)
        except BaseException as error:
            outcome[1] = error
        finally:
            loop.run_until_complete(loop.shutdown_asyncgens())
            loop.close()

    thread = threading.Thread(target=run, name="chat", daemon=True)
    thread.start()
    try:
        while thread.is_alive():
            thread.join(0.5)
    except BaseException:
        loop.call_soon_threadsafe(task.cancel)
        thread.join(5)
        raise
    if outcome[1] is not None:
        raise outcome[1]
    return outcome[0]


def open_client(config: ChatConfig, *, account: str) -> ChatClient:
    """The client that a stage's config names; answers are kept in data/cache, for all runs of the
    workspace.
    """
    return ChatClient(
        url=config.chat_url,
        model=config.chat_model,
        cache=artifacts.workspace() / "data" / "cache" / "chat.sqlite",
        account=account,
        concurrency=config.chat_concurrency,
        timeout_s=config.chat_timeout_s,
        budget_usd=config.chat_budget_usd,
        usd_in=config.chat_usd_in,
        usd_out=config.chat_usd_out,
    )
