"""What is put before chat models, and what is common to the judges that ask them.

Data come from strangers. They stand in the user's message only, as values in one JSON object
(:func:`data_prompt`), so that nothing said in a video can end its own quotation; the system's
message says that they are data. A model may still be talked round by what it reads: a judge asks
about a text that speaks to a model rather than to a learner (:func:`addresses_a_model`) alone, or
not at all.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel, ConfigDict

UNSURE = (0.4, 0.6)  # a probability between these decides nothing
_TO_A_MODEL = re.compile(
    r"\b(?:ignore|disregard|forget|override)\b.{0,40}\b(?:instructions?|prompts?|rules|above|previous|prior|everything)\b"
    r"|\b(?:system|developer) (?:prompt|message|instructions?)\b|\b(?:language "
    r"model|chatbot|ai assistant|llm)\b"
    r"|\b(?:as|you are) an? (?:ai|assistant|judge|classifier|annotator)\b"
    r"|\b(?:answer|reply|respond|output|return|say|print|mark|label|classify|rate)\b.{0,40}"
    r"\b(?:true|false|json|actionable|verdicts?|probability)\b"
    r"|\"(?:line|verdicts?|actionable|probability)\"|<\|?/?(?:im_start|im_end|system|user|assistant)\b|\[/?inst\]",
    re.IGNORECASE,
)


@dataclass(frozen=True)
class Prompt:
    """One question. ``system`` holds our words, ``user`` holds data, ``images`` are JPEG files (no
    addresses, so that a server fetches nothing).
    """

    version: str
    system: str
    user: str
    images: tuple[bytes, ...] = ()


class AnswerShape(BaseModel):
    """Base of what a model is to answer: the fields that are named, and no others."""

    model_config = ConfigDict(extra="forbid")


def data_prompt(version: str, system: str, data: Mapping[str, Any]) -> Prompt:
    """The prompt that shows ``data`` as one JSON object.

    JSON escapes what could end a string; ``<`` and ``>`` are escaped as well, since chat formats
    mark roles with them.
    """
    shown = json.dumps(data, ensure_ascii=False).replace("<", "\\u003c").replace(">", "\\u003e")
    return Prompt(version, system, shown)


def addresses_a_model(text: str) -> bool:
    """Whether a text looks as if it spoke to a model: orders about answers, roles, marks of a
    chat's format.
    """
    return bool(_TO_A_MODEL.search(text))


def is_unsure(verdict: bool, probability: float) -> bool:
    """Whether a yes or no decides nothing: its probability is near a half, or contradicts it."""
    return UNSURE[0] < probability < UNSURE[1] or verdict != (probability >= 0.5)
