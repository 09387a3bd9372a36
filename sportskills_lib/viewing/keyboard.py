"""The keys of a widget: press a key, or its button, and a function is called.

:class:`Keyboard` is the one piece of JavaScript of this project (widget.js, through anywidget). Its
buttons are the visible list of keys. A key clicks its button, and each click is one message, so
that keys and mouse take the same way and fast typing neither loses nor doubles a key. Keys are heard
while the focus is in the widget's box, and never while somebody types in a field; on a page with
nothing else (Voila) they are heard wherever the focus is. JupyterLab's own shortcuts, which would
delete cells, do not see them. A key that is held down counts once.

The page reports an action that gets no answer within five seconds, and at once a kernel that was
restarted: each answer raises the trait ``answers`` by one.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import anywidget
import ipywidgets
import traitlets

from sportskills_lib.viewing.markup import STYLE_FILE, plain

Action = Callable[[], None]
NAMES = {
    " ": "space",
    "ArrowLeft": "←",
    "ArrowRight": "→",
    "ArrowUp": "↑",
    "ArrowDown": "↓",
    "Escape": "esc",
}


class Keyboard(anywidget.AnyWidget):
    """Buttons with keys, a comment field and a film player where wanted, and a line for errors.

    ``keys``: key → (what it does in words, function), by the browsers' names
    (``KeyboardEvent.key``): "j", "1", " ", "Enter", "ArrowLeft"; a capital letter counts as the
    small one unless it has a function. ``after`` is called after each, also if it raised. With ``player`` the films of the box are played by one clock, in
    the page alone. With ``comment_label`` there is a text field; what is typed goes to
    ``on_comment``.
    """

    _esm = Path(__file__).with_name("widget.js")
    _css = STYLE_FILE
    buttons: Any = traitlets.List().tag(sync=True)  # {key, name, label} in order
    player = traitlets.Bool(False).tag(sync=True)
    comment_label = traitlets.Unicode().tag(sync=True)
    comment: Any = traitlets.Dict({"turn": 0, "text": ""}).tag(sync=True)
    error = traitlets.Unicode().tag(sync=True)  # plain text; shown in red
    answers: Any = traitlets.Int(0).tag(sync=True)

    def __init__(
        self,
        keys: Mapping[str, tuple[str, Action]],
        *,
        after: Action = lambda: None,
        player: bool = False,
        comment_label: str = "",
        on_comment: Callable[[str], None] = lambda text: None,
    ):
        buttons = [
            {"key": key, "name": NAMES.get(key, key), "label": label}
            for key, (label, _) in keys.items()
        ]
        super().__init__(buttons=buttons, player=player, comment_label=comment_label)
        self._keys, self._after, self._on_comment = keys, after, on_comment
        self.on_msg(self._receive)

    def box(self, *children: ipywidgets.Widget) -> ipywidgets.VBox:
        """The widget's children, the keyboard among them, as the box in which keys are heard."""
        box = ipywidgets.VBox(children)
        box.add_class("sk-box")
        return box

    def press(self, key: str) -> None:
        """Do what the key does; KeyError for a key that has no function."""
        with self.guard():
            try:
                self._keys[key][1]()
            finally:
                self._after()

    def write(self, text: str) -> None:
        """Do what typing in the comment field does; ``text`` is all that the field then holds."""
        self.comment = {**self.comment, "text": text}
        with self.guard():
            self._on_comment(text)

    def show_comment(self, text: str) -> None:
        """Put another text into the comment field; what is still on its way from it is dropped."""
        self.comment = {"turn": self.comment["turn"] + 1, "text": text}

    @contextmanager
    def guard(self) -> Iterator[None]:
        """Around what a callback does, or as its decorator: an error is shown with its type and
        message, and raised.

        A raised error alone would be out of sight: JupyterLab keeps what callbacks raise in its
        log. The next action that succeeds removes the message.
        """
        try:
            yield
        except Exception as error:
            self.show_error(error)
            raise
        else:
            self.error = ""
        finally:
            self.answers += 1

    def show_error(self, error: Exception) -> None:
        """Show the type and the message of an error in red."""
        self.error = plain(f"{type(error).__name__}: {error}")

    def _receive(self, _: Any, message: Mapping[str, Any], buffers: Sequence[Any]) -> None:
        if "key" in message:
            self.press(message["key"])
        elif message.get("turn") == self.comment["turn"]:
            self.write(str(message["comment"]))


def is_interactive() -> bool:
    """Whether somebody can use a widget: a kernel that JupyterLab or Notebook started for a
    notebook, not a batch run. Without, the same content is static HTML.
    """
    return "JPY_SESSION_NAME" in os.environ and not os.environ.get("SPORTSKILLS_HEADLESS")
