"""Keys of widgets, for tests."""

from __future__ import annotations

from typing import Any


def press(widget: Any, key: str) -> str:
    """Do what a key of the widget does, raise what it raised, and return the HTML shown."""
    widget.keyboard.press(key)
    return str(widget.output.value)
