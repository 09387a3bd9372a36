"""Ask a chat model many questions and get answers of a given shape, or a reason why there is none.

Guarantees of :meth:`ChatClient.ask_many`: one answer a prompt, in order; an answer is kept on disk
the moment it arrives and is never asked for again; at most ``concurrency`` questions are under way;
busy servers (429, 5xx) are asked again after the wait that they name (openai's own client does
that); spending, as the server counts tokens, never passes the budget of the account, over all its
runs; and no answer of the server, whatever it says or breaks, is an exception. Only what makes
every answer impossible is one: a wrong key, a model or an address that does not exist.
"""

from __future__ import annotations

import base64
import hashlib
import json
import logging
import os
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any, Generic, TypeVar

from pydantic import BaseModel, ValidationError

from sportskills_lib.config import ChatConfig
from sportskills_lib.language.cache import AnswerCache, Spent
from sportskills_lib.language.prompts import Prompt
from sportskills_lib.runs import artifacts

Shape = TypeVar("Shape", bound=BaseModel)
Keep = Callable[
    [int, Any], Mapping[str, str]
]  # number of the prompt, its answer → what the cache keeps, by key

KEY_VARIABLE, URL_VARIABLE = "OPENAI_API_KEY", "OPENAI_BASE_URL"
IMAGE_TOKENS = 2000  # what a picture is taken to cost until the server says
FRAME_TOKENS = 64  # what a server adds around a prompt
GIVE_UP = 8  # so many prompts in a row without an answer: the server is taken to be gone
SILENT = ("timeout", "busy", "unreachable")
REASONS = {
    403: "refused",
    408: "unreachable",
    409: "unreachable",
    425: "unreachable",
    429: "busy",
    451: "refused",
}
LOG_EVERY_S = 10.0

log = logging.getLogger("sportskills")


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


@dataclass
class ChatClient(AbstractContextManager["ChatClient"]):
    """The model and the server that ``config`` names, with its prices and the budget.

    ``account`` names what the budget belongs to (a run's stage): its spending is summed over
    processes and reruns; ``cache`` is the file of answers. The key comes from OPENAI_API_KEY;
    servers that want none are content without. Close it, or use it in ``with``.
    """

    config: ChatConfig
    cache: Path
    account: str = ""
    attempts: int = 5
    max_tokens: int = 2048
    answers: AnswerCache = field(init=False, repr=False)

    def __post_init__(self) -> None:
        config = self.config
        self.url, self.model = (
            config.chat_url or os.environ.get(URL_VARIABLE, ""),
            config.chat_model,
        )
        if not self.url or not self.model:
            missing = (
                "address (chat_url, or OPENAI_BASE_URL)" if not self.url else "name (chat_model)"
            )
            raise ValueError(f"the chat model has no {missing}: give one, or judge by rules")
        if config.chat_budget_usd and not (config.chat_usd_in or config.chat_usd_out):
            raise ValueError(
                f"a budget of {config.chat_budget_usd} dollars without prices limits nothing: set "
                "the prices too"
            )
        self.answers = AnswerCache(self.cache)
        self._options: dict[str, Any] = {
            "temperature": 0,
            "max_tokens": self.max_tokens,
            "response_format": "schema",
        }
        self._silent = 0  # prompts in a row that got no answer

    def __exit__(self, *_: object) -> None:
        self.answers.close()

    def key(self, prompt: Prompt, schema: type[BaseModel]) -> str:
        """What an answer is kept under: model, version of the prompt, schema, and all that the
        model was shown.
        """
        shown = prompt.system, prompt.user, *map(_data_url, prompt.images)
        parts = [self.model, prompt.version, _shape(schema), *shown]
        return hashlib.sha256(json.dumps(parts).encode()).hexdigest()

    def spent(self) -> Spent:
        """What the account has cost so far."""
        return self.answers.spent(self.account)

    def ask_many(
        self, prompts: Sequence[Prompt], schema: type[Shape], *, keep: Keep | None = None
    ) -> list[Answer[Shape]]:
        """An answer for each prompt. ``keep`` chooses what is remembered of one; by default all,
        under its own key.

        ``keep`` is called in threads, one at a time. ValueError: wrong key, model or address.
        """
        from openai import DefaultHttpxClient, OpenAI

        keys = [self.key(prompt, schema) for prompt in prompts]
        numbers = {key: number for number, key in enumerate(keys)}  # the same question once
        answers: dict[str, Answer[Shape]] = {}
        logged = time.monotonic()
        pool = ThreadPoolExecutor(self.config.chat_concurrency)
        try:
            with OpenAI(
                base_url=self.url,
                api_key=os.environ.get(KEY_VARIABLE) or "none",
                max_retries=self.attempts - 1,
                timeout=self.config.chat_timeout_s,
                http_client=DefaultHttpxClient(follow_redirects=False),
            ) as api:
                ask = _Round(self, api, prompts, schema, keep).answer
                asked = pool.map(ask, numbers, numbers.values())
                for key, answer in zip(numbers, asked, strict=True):
                    answers[key] = answer
                    if time.monotonic() - logged >= LOG_EVERY_S:
                        logged = time.monotonic()
                        log.info(f"asked {self.model}: {len(answers)} of {len(numbers)}")
        finally:  # after Ctrl-C or an error nobody waits for the requests under way
            pool.shutdown(wait=False, cancel_futures=True)
        return [answers[key] for key in keys]


@cache
def _shape(schema: type[BaseModel]) -> str:
    return json.dumps(schema.model_json_schema(), sort_keys=True)


class _Round(Generic[Shape]):
    """The questions of one ``ask_many``, and what those under way may still cost."""

    def __init__(
        self,
        client: ChatClient,
        api: Any,
        prompts: Sequence[Prompt],
        schema: type[Shape],
        keep: Keep | None,
    ):
        self.client, self.api, self.prompts = client, api, prompts
        self.schema, self.keep = schema, keep
        self.spent_usd, self.reserved_usd = client.spent().cost_usd, 0.0
        self.changed = threading.Condition()

    def answer(self, key: str, number: int) -> Answer[Shape]:
        """The answer to one prompt: the one that is known, else what the server says."""
        client, prompt = self.client, self.prompts[number]
        known = client.answers.load([key]).get(key)
        if known is not None:
            return Answer(self.schema.model_validate_json(known), "answered")
        if client._silent >= GIVE_UP:
            detail = f"{GIVE_UP} prompts in a row had no answer: the server is taken to be gone"
            return Answer(None, "given_up", detail)
        most_usd = self._most_usd(prompt)
        if not self._reserve(most_usd):
            detail = (
                f"{self.spent_usd:.4f} of {client.config.chat_budget_usd:.4f} dollars are spent"
            )
            return Answer(None, "budget", detail)
        try:
            return self._ask(key, number, most_usd)
        finally:
            with self.changed:
                self.reserved_usd -= most_usd
                self.changed.notify_all()

    def _most_usd(self, prompt: Prompt) -> float:
        """What the prompt can cost at most: no tokenizer makes more tokens than there are bytes."""
        tokens = (
            len((prompt.system + prompt.user).encode())
            + FRAME_TOKENS
            + IMAGE_TOKENS * len(prompt.images)
        )
        return self._usd(tokens, self.client.max_tokens)

    def _usd(self, tokens_in: int, tokens_out: int) -> float:
        prices = self.client.config
        return (tokens_in * prices.chat_usd_in + tokens_out * prices.chat_usd_out) / 1e6

    def _reserve(self, most_usd: float) -> bool:
        """Whether the budget has room; what is under way may cost less than feared, so it is waited
        for.
        """
        budget_usd = self.client.config.chat_budget_usd
        with self.changed:
            while budget_usd and self.spent_usd + self.reserved_usd + most_usd > budget_usd:
                if self.reserved_usd <= 1e-12:
                    return False
                self.changed.wait()
            self.reserved_usd += most_usd
            return True

    def _ask(self, key: str, number: int, most_usd: float) -> Answer[Shape]:
        """Ask, with milder options where the server does not understand; an answer and its cost are
        written down before anyone sees them.
        """
        client, prompt, options = self.client, self.prompts[number], dict(self.client._options)
        while True:
            try:
                reply = self.api.chat.completions.create(
                    model=client.model, messages=_messages(prompt), **_sent(options, self.schema)
                )
                break
            except Exception as error:
                reason, detail = _reason(error, client.url, client.model)
                milder = relaxed(options, detail) if reason == "rejected" else None
                if milder is None:
                    client._silent = client._silent + 1 if reason in SILENT else 0
                    return Answer(None, reason, detail)
                options = milder
        client._silent, client._options = 0, options
        answer = read_reply(reply, self.schema)
        spent = self._cost(getattr(reply, "usage", None), most_usd)
        with self.changed:
            self.spent_usd += spent.cost_usd
            kept: Mapping[str, str] = {}
            if answer.value is not None:
                whole = {key: answer.value.model_dump_json()}
                kept = self.keep(number, answer.value) if self.keep else whole
            client.answers.record(
                account=client.account,
                model=client.model,
                version=prompt.version,
                outcome=answer.reason,
                spent=spent,
                answers=kept,
            )
        return answer

    def _cost(self, usage: Any, most_usd: float) -> Spent:
        into, out = (getattr(usage, name, None) for name in ("prompt_tokens", "completion_tokens"))
        if not isinstance(into, int) or not isinstance(out, int):
            return Spent(1, 0, 0, most_usd)  # it does not say: the most that it can be
        return Spent(1, into, out, self._usd(into, out))


def _reason(error: Exception, url: str, model: str) -> tuple[str, str]:
    """The reason and the detail of an Answer, from what openai raised after its retries.

    ValueError for what no other question would get past: key, model, address.
    """
    import openai

    if isinstance(error, openai.APIStatusError):
        status, said = error.status_code, " ".join(str(error.message).split())[:300]
        if status == 401:
            raise ValueError(
                f"{url} refuses the key: set OPENAI_API_KEY to one that it knows"
            ) from None
        if status == 404 or 300 <= status < 400:
            raise ValueError(
                f"{url} has no chat model {model!r} ({status}: {said}): correct chat_url (often "
                "…/v1) or chat_model"
            ) from None
        other = "unreachable" if status >= 500 else "rejected"
        return REASONS.get(status, other), f"{status}: {said}"
    if isinstance(error, openai.APITimeoutError):
        return "timeout", "no answer within the time limit"
    if isinstance(error, openai.APIConnectionError):
        return "unreachable", f"no connection: {error.__cause__ or error}"[:300]
    if isinstance(error, openai.OpenAIError | ValueError):  # no JSON, or of another shape
        return "malformed", f"{type(error).__name__}: {error}"[:300]
    raise error


def _data_url(jpeg: bytes) -> str:
    return f"data:image/jpeg;base64,{base64.b64encode(jpeg).decode()}"


def _messages(prompt: Prompt) -> list[dict[str, Any]]:
    """Our words as the system's message, the data as the user's; pictures stand before the data."""
    content: Any = prompt.user
    if prompt.images:
        urls = map(_data_url, prompt.images)
        pictures = [{"type": "image_url", "image_url": {"url": url}} for url in urls]
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
    try:
        choice = reply.choices[0]
        text, refusal = (choice.message.content or "").strip(), choice.message.refusal
    except (AttributeError, IndexError, KeyError, TypeError):
        return Answer(None, "malformed", "the reply contains no message")
    if refusal or choice.finish_reason == "content_filter" or not text:
        return Answer(None, "refused", str(refusal or "no words")[:200])
    start, end = text.find("{"), text.rfind("}")
    try:
        return Answer(
            schema.model_validate_json(text[start : end + 1] if 0 <= start < end else text),
            "answered",
        )
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        cut = " (cut off)" if choice.finish_reason == "length" else ""
        return Answer(
            None, "malformed", f"{'.'.join(map(str, first['loc']))}: {first['msg']}{cut}"[:200]
        )


def open_client(config: ChatConfig, *, account: str) -> ChatClient:
    """The client that a stage's config names; answers are kept in data/cache, for all runs of the
    workspace.
    """
    cache = artifacts.workspace() / "data" / "cache" / "chat.sqlite"
    return ChatClient(config, cache, account)
