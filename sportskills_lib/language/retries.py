"""What went wrong with a request, whether it passes, and how long to wait."""

from __future__ import annotations

from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import NamedTuple

FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.5, 30.0
WILL_PASS = (408, 409, 425, 429)


class Trouble(NamedTuple):
    """``passes``: asking again may help. ``after_s``: the pause that the server asked for, if it
    did.
    """

    reason: str
    detail: str
    passes: bool = False
    after_s: float | None = None


def trouble_of(error: Exception, url: str, model: str) -> Trouble:
    """Name what was raised. ValueError for what no other question would get past: key, model,
    address.
    """
    import openai

    if isinstance(error, openai.APITimeoutError | TimeoutError):
        return Trouble("timeout", "no answer within the time limit", True)
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
        if status in WILL_PASS or status >= 500:
            after_s = retry_after_s(error.response.headers, datetime.now(UTC))
            return Trouble(
                "busy" if status == 429 else "unreachable", f"{status}: {said}", True, after_s
            )
        return Trouble("refused" if status in (403, 451) else "rejected", f"{status}: {said}")
    if isinstance(error, openai.APIConnectionError):
        return Trouble("unreachable", f"no connection: {error.__cause__ or error}"[:300], True)
    if isinstance(
        error, openai.OpenAIError | ValueError
    ):  # a reply that is no JSON, or of another shape
        return Trouble("malformed", f"{type(error).__name__}: {error}"[:300])
    raise error


def retry_after_s(headers: object, now: datetime) -> float | None:
    """The pause in a reply's headers: ``retry-after-ms``, or ``retry-after`` in seconds or as a
    date.
    """
    get = headers.get  # type: ignore[attr-defined]
    try:
        if text := get("retry-after-ms"):
            return max(0.0, float(text) / 1000)
        if not (text := get("retry-after")):
            return None
        if text.strip().replace(".", "", 1).isdigit():
            return float(text)
        return max(0.0, (parsedate_to_datetime(text) - now).total_seconds())
    except (TypeError, ValueError, OverflowError):
        return None


def wait_s(after_s: float | None, tries: int, chance: float) -> float:
    """The server's pause, or one that doubles with every try; ``chance`` in [0, 1) spreads askers
    apart.
    """
    if after_s is not None:
        return after_s + 0.1 * chance
    return min(LONGEST_PAUSE_S, FIRST_PAUSE_S * 2 ** (tries - 1)) * (0.5 + 0.5 * chance)
