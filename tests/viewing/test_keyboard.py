"""Keys, comments and errors of a widget; tests/viewing/test_lab.py uses them in a browser."""

from __future__ import annotations

import pytest

from sportskills_lib.viewing.keyboard import Keyboard


def message(keyboard: Keyboard, **content) -> None:
    """What the page sends: one message per action."""
    keyboard._handle_custom_msg(content, [])


def test_a_key_of_the_page_calls_its_function():
    pressed = []
    keyboard = Keyboard(
        {"j": ("", lambda: pressed.append("j")), " ": ("", lambda: pressed.append("space"))}
    )
    keyboard.press("j")
    message(keyboard, key=" ")
    message(keyboard, key=" ")
    assert pressed == ["j", "space", "space"] and keyboard.answers == 3
    with pytest.raises(KeyError):
        keyboard.press("q")


def test_the_page_gets_the_list_of_keys_in_order():
    keyboard = Keyboard({"j": ("next", print), "ArrowLeft": ("", print)})
    assert keyboard.get_state()["buttons"] == [
        {"key": "j", "name": "j", "label": "next"},
        {"key": "ArrowLeft", "name": "←", "label": ""},
    ]


def test_an_error_is_shown_and_raised_and_goes_with_the_next_success():
    def broken():
        raise ValueError("no <b>frames</b>" + "x" * 10_000)

    done: list[str] = []
    keys = {"x": ("", broken), "j": ("", lambda: None)}
    keyboard = Keyboard(keys, after=lambda: done.append("after"))
    with pytest.raises(ValueError, match="frames"):
        keyboard.press("x")
    assert keyboard.error.startswith("ValueError: no <b>frames") and len(keyboard.error) < 700
    assert keyboard.answers == 1  # an error is an answer, too
    keyboard.press("j")
    assert keyboard.error == "" and done == ["after", "after"]


def test_a_comment_reaches_the_item_it_was_typed_for():
    typed = []
    keyboard = Keyboard({}, comment_label="comment", on_comment=typed.append)
    message(keyboard, comment="hips", turn=0)
    assert keyboard.comment == {"turn": 0, "text": "hips"}  # a reloaded page shows it again
    keyboard.show_comment("")
    message(keyboard, comment="hips first", turn=0)  # late: another item is shown by now
    assert typed == ["hips"] and keyboard.comment == {"turn": 1, "text": ""}
