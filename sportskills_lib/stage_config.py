"""What every stage's settings have in common: how they are read, renamed and entered into keys.

The settings themselves are in :mod:`sportskills_lib.config`.
"""

from __future__ import annotations

import difflib
import json
import logging
from collections.abc import Iterable, Mapping
from typing import Any, Self, get_origin

from pydantic import BaseModel, ConfigDict, model_validator

log = logging.getLogger("sportskills")

# Marks a field that changes only speed, memory or disk use: it is no part of a stage's key.
RUNTIME_ONLY: dict[str, Any] = {"changes_results": False}
# Old name of a setting: its name today. Old names are accepted with a warning for one release.
RENAMED: dict[str, str] = {
    "sports_a_batch": "sports_per_batch",
    "clips_a_sport": "clips_per_sport",
    "one_clip_a_video": "one_clip_per_video",
    "learners_a_step": "learners_per_step",
    "learners_a_pass": "learners_per_pass",
}


def current_name(setting: str) -> str:
    """The name of a setting today; logs a warning when ``setting`` is its old name."""
    if setting in RENAMED:
        log.warning(
            "the setting %s is now %s: the old name is accepted until the next release",
            setting,
            RENAMED[setting],
        )
    return RENAMED.get(setting, setting)


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """The end of an error about an unknown ``name``: the nearest known name, else all of them."""
    names = list(known)
    nearest = difflib.get_close_matches(name, names, n=1)
    return f"did you mean {nearest[0]}?" if nearest else f"use one of {', '.join(names)}"


def parse_list(name: str, text: str) -> list[Any]:
    """``a,b``, ``[a,b]`` or JSON (``["a", "b"]``) as a list; ValueError for unbalanced brackets
    names the setting.
    """
    try:
        value = json.loads(text)
    except ValueError:
        value = None
    if isinstance(value, list):
        return value
    if text.startswith("[") != text.endswith("]") or "[" in text[1:]:
        raise ValueError(f"{name}={text!r} is not a list: write a,b or [a,b]")
    items = text.removeprefix("[").removesuffix("]").split(",")
    return [item.strip() for item in items if item.strip()]


class StageConfig(BaseModel):
    """Settings of one stage: frozen, flat, and an unknown name is an error.

    Values may be text, as on the command line: it is read by the field's type, and a list by
    :func:`parse_list`.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    @model_validator(mode="before")
    @classmethod
    def _read_names_and_lists(cls, values: Any) -> Any:
        if not isinstance(values, Mapping):
            return values
        settings = {current_name(name): value for name, value in values.items()}
        lists = {
            name: parse_list(name, settings[name].strip())
            for name, field in cls.model_fields.items()
            if get_origin(field.annotation) is list and isinstance(settings.get(name), str)
        }
        return settings | lists

    @classmethod
    def from_parameters(cls, namespace: Mapping[str, Any]) -> Self:
        """Pick this stage's fields out of a notebook's variables:
        ``CurationConfig.from_parameters(globals())``.

        A value under an old name wins: papermill injects it after the cell that sets the new one.
        """
        values = {name: namespace[name] for name in cls.model_fields if name in namespace}
        old = {
            current_name(name): namespace[name]
            for name, new in RENAMED.items()
            if name in namespace and new in cls.model_fields
        }
        return cls(**values | old)

    def key_settings(self) -> dict[str, Any]:
        """The settings that can change the stage's tables, as JSON values: those not marked
        ``RUNTIME_ONLY``. A change of the others reruns nothing.
        """
        runtime = {
            name
            for name, field in type(self).model_fields.items()
            if field.json_schema_extra == RUNTIME_ONLY
        }
        return self.model_dump(mode="json", exclude=runtime)
