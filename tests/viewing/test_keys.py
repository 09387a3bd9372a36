"""Keys and their buttons do the same, and an error is seen; tests/viewing/test_lab.py presses them
in a browser.
"""

from __future__ import annotations

import ipywidgets
import pytest

from sportskills_lib.viewing import keys


def attached(handlers, **options):
    status = ipywidgets.HTML()
    box = ipywidgets.VBox([status])
    return box, keys.attach(box, handlers, status, **options), status


def test_a_key_and_its_button_call_the_same_function():
    pressed = []
    box, attached_keys, _ = attached(
        {"j": lambda: pressed.append("j"), " ": lambda: pressed.append("space")}
    )
    assert box.children[-1] is attached_keys
    attached_keys.press("j")
    attached_keys.children[1].click()
    assert pressed == ["j", "space"]
    with pytest.raises(KeyError):
        attached_keys.press("q")


def test_the_buttons_are_the_list_of_keys():
    _, attached_keys, _ = attached({"j": print, "ArrowLeft": print}, labels={"j": "next"})
    buttons = [child for child in attached_keys.children if isinstance(child, ipywidgets.Button)]
    assert [button.description for button in buttons] == ["j next", "←"]
    assert [keys.key_class(key) for key in ("j", " ", "<")] == [
        "sk-key-6a",
        "sk-key-20",
        "sk-key-3c",
    ]
    assert keys.key_class("ArrowLeft") in buttons[1]._dom_classes


def test_an_error_is_shown_as_text_and_raised_and_goes_with_the_next_success():
    def broken():
        raise ValueError("no <b>frames</b>" + "x" * 10_000)

    _, attached_keys, status = attached({"x": broken, "j": lambda: None})
    with pytest.raises(ValueError, match="frames"):
        attached_keys.press("x")
    assert "ValueError: no &lt;b&gt;frames" in status.value
    assert len(status.value) < 700
    attached_keys.press("j")
    assert status.value == ""


def test_a_status_that_is_no_error_stays():
    _, attached_keys, status = attached({"j": lambda: None})
    status.value = "<p>3 of 10</p>"
    attached_keys.press("j")
    assert status.value == "<p>3 of 10</p>"
