"""The relevance model behind an OpenAI-compatible server (vLLM): the same prompt, the same score,
over HTTP.

The model is a base with 04's adapter, named as the model, or one whole checkpoint. One request
holds the chat of :func:`model.relevance_messages`, each video as its frames (PNG, so that nothing
is lost, in vLLM's ``video/jpeg`` list), and asks for one token with the log-probabilities of the
likeliest. Both answers are divided by the same sum, so the difference of their log-probabilities is
the difference of their logits: the score.
``SCORE_TOLERANCE`` is what a server in the same precision may differ by (log-probabilities are
rounded on the wire and kernels differ); in bfloat16 against float32 it may be more.

An answer that is not among the likeliest has no log-probability. It is then taken for as likely as
the least of those that are: the score is a bound. Without both answers, or when the server
fails, the score is NaN with a reason: rank what is finite, and report the rest.

    vllm serve BASE --enable-lora --lora-modules coach=adapter/ --enable-prefix-caching
    --limit-mm-per-prompt '{"video": 2}' --max-logprobs 20
"""

from __future__ import annotations

import base64
import io
import math
import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from sportskills_lib.language.client import KEY_VARIABLE
from sportskills_lib.retrieval.relevance.model import NOMINAL_FPS, relevance_messages

SCORE_TOLERANCE = (
    1e-3  # a score of a float32 server against ours; tested with the stock model behind a server
)
TOP = 20  # log-probabilities asked for: the most that the interface gives
ANSWERS = ("yes", "no")


@dataclass(frozen=True)
class Served:
    """A pair's score, or why it is NaN."""

    score: float
    reason: str = ""


@dataclass(frozen=True)
class Server:
    """Where the model is served. The key is read from OPENAI_API_KEY; servers that want none are
    content without.
    """

    url: str
    model: str
    concurrency: int = 8
    timeout_s: float = 120.0
    attempts: int = 4  # of a request that the server answers with "try again", or not at all

    def __post_init__(self) -> None:
        if not self.url or not self.model:
            missing = "address" if not self.url else "model's name"
            raise ValueError(f"served scoring has no {missing}: give both, or score with load_vlm")

    def scores(self, pairs: Sequence[tuple[np.ndarray, np.ndarray, str | None]]) -> list[Served]:
        """A score for each (learner's frames, clip's frames, narration), frames uint8 [T, H, W, 3],
        in their order.
        """
        from openai import DefaultHttpxClient, OpenAI

        videos = {id(video): video for pair in pairs for video in pair[:2]}
        urls = {key: frames_url(video) for key, video in videos.items()}  # a learner's is in many
        asked = [
            request(self.model, urls[id(one)], urls[id(two)], said) for one, two, said in pairs
        ]
        with (
            OpenAI(
                base_url=self.url,
                api_key=os.environ.get(KEY_VARIABLE) or "none",
                max_retries=self.attempts - 1,
                timeout=self.timeout_s,
                http_client=DefaultHttpxClient(follow_redirects=False),
            ) as api,
            ThreadPoolExecutor(max(1, self.concurrency)) as pool,
        ):
            return list(pool.map(partial(self._ask, api), asked))

    def _ask(self, api: Any, asked: dict[str, Any]) -> Served:
        """One request; ValueError where the server knows no such model, or not this key."""
        from openai import APIError, APIStatusError

        try:
            return read_score(api.chat.completions.create(**asked))
        except APIStatusError as error:
            said = f"status {error.status_code}: {str(error)[:200]}"
            if error.status_code in (401, 403, 404):
                raise ValueError(
                    f"{self.url} refuses model {self.model!r} ({said}): check address and name"
                ) from None
            return Served(math.nan, said)
        except APIError as error:
            return Served(math.nan, f"{type(error).__name__}: {error}")


def request(model: str, learner_url: str, clip_url: str, narration: str | None) -> dict[str, Any]:
    """The request for one pair: the chat with its two videos filled in, one token, the likeliest
    log-probabilities.
    """
    urls = iter((learner_url, clip_url))
    (message,) = relevance_messages(narration)
    content = [
        part if part["type"] == "text" else {"type": "video_url", "video_url": {"url": next(urls)}}
        for part in message["content"]
    ]
    kept = {
        "do_sample_frames": False,
        "fps": NOMINAL_FPS,
    }  # all frames as they are, at the rate that ours have
    return {
        "model": model,
        "messages": [{"role": "user", "content": content}],
        "max_tokens": 1,
        "temperature": 0,
        "logprobs": True,
        "top_logprobs": TOP,
        "extra_body": {"mm_processor_kwargs": kept},
    }


def frames_url(frames_THWC: np.ndarray) -> str:
    """A video as a data URL of its frames, PNG each, which change no pixel."""
    from PIL import Image

    parts = []
    for frame in frames_THWC:
        file = io.BytesIO()
        Image.fromarray(np.asarray(frame)).save(file, "png")
        parts.append(base64.b64encode(file.getvalue()).decode())
    return "data:video/jpeg;base64," + ",".join(parts)


def read_score(reply: Any) -> Served:
    """The difference of the answers' log-probabilities at the first token."""
    choices = getattr(reply, "choices", None)
    logprobs = choices[0].logprobs if choices else None
    if logprobs is None or not logprobs.content:
        return Served(math.nan, "the server sends no log-probabilities: start it with them allowed")
    likeliest = {one.token: float(one.logprob) for one in logprobs.content[0].top_logprobs or []}
    if not set(ANSWERS) & set(likeliest):
        shown = ", ".join(repr(token) for token in list(likeliest)[:3])
        return Served(math.nan, f"neither yes nor no among the likeliest tokens ({shown} …)")
    least = min(likeliest.values())
    yes, no = (likeliest.get(answer, least) for answer in ANSWERS)
    return Served(yes - no)
