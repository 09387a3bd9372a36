"""Keys for widgets: press a key, or its button, and a function is called.

The buttons are the visible list of keys. The page's script turns a key into a click on its button,
and a click is one message of its own, so that keys and mouse take one way and fast typing neither
loses nor doubles a key (ipywidgets joins changes of a text box that follow each other fast). Keys
are heard while the focus is inside the box, and never while somebody types in a field; on a page
with nothing else (Voila) they are heard wherever the focus is. JupyterLab's own shortcuts, which
would delete cells, do not see them. A key that is held down counts once.

A key that nobody takes must not go unseen. Every answer of the kernel counts on in a class of the
status line; the page says so where a key, a choice or a text gets none for five seconds, and at
once when the kernel was restarted.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from html import escape
from typing import Any

import ipywidgets

from sportskills_lib.viewing.escape import text

Action = Callable[[], None]
NAMES = {
    " ": "space",
    "ArrowLeft": "←",
    "ArrowRight": "→",
    "ArrowUp": "↑",
    "ArrowDown": "↓",
    "Escape": "esc",
}
# Classes that the script looks for; a turn is the status line's count of answers.
BOX, LIST, KEY, STATUS, TURN = "sk-box", "sk-keys", "sk-key-", "sk-status", "sk-turn-"
CSS = """
.sk-box:focus{outline:none}.sk-box:focus-within{box-shadow:-3px 0 0 #0072B2}
.sk-keys{flex-flow:row wrap}.sk-keys button{width:auto!important;min-width:2.5em}
.sk-error{color:#B00020;font-weight:600;overflow-wrap:anywhere}
.sk-lost{background:#B00020;color:#fff;padding:.5em .8em;margin:.2em 0;border-radius:4px;font-weight:600;
line-height:1.4}
.sk-lost[hidden]{display:none}
"""
# It runs once a view: an image that cannot load is the one script that ipywidgets.HTML lets run.
SCRIPT = """
(function (start) {
  const GONE = 'The kernel was restarted or is gone: nothing is taken here any more. Run this cell again to go on.';
  const LATE = 'No answer yet: the kernel is busy, was restarted, or is gone. What you did last is not done; if this ' +
    'stays, run this cell again.';
  const SERVED = 'No answer from the server: what you just did is not saved. Look at your connection, then reload ' +
    'this page; all that was saved before is kept.';
  const field = (node) => node.matches && node.matches('input:not([type=button]):not([type=checkbox]),textarea,' +
    'select,[contenteditable=true]');
  function listen(box) {
    if (box.skListens) return;
    box.skListens = true;
    box.tabIndex = 0;
    box.dataset.lmSuppressShortcuts = 'true';
    const back = () => setTimeout(() => box.isConnected && box.focus({preventScroll: true}), 0);
    const alone = () => !document.querySelector('.jp-NotebookPanel') && !field(document.activeElement) &&
      document.querySelectorAll('.sk-box').length === 1;
    window.addEventListener('keydown', (event) => {
      // Many keyboards write [ and ] with AltGr (Windows says Ctrl+Alt) or Option: those are keys, no shortcuts.
      const written = event.getModifierState('AltGraph') ||
        (event.altKey && !event.ctrlKey && !event.metaKey && '[]'.includes(event.key));
      if (!box.isConnected || (!written && (event.ctrlKey || event.metaKey || event.altKey))) return;
      if (!box.contains(event.target) && !alone()) return;
      if (field(event.target)) {
        event.stopPropagation();
        if (event.key === 'Escape') box.focus({preventScroll: true});  // at once: the next key is no letter of the text
        return;
      }
      const code = (key) => Array.from(key).map((letter) => letter.codePointAt(0).toString(16)).join('-');
      const find = (key) => box.querySelector('.sk-key-' + code(key));
      const button = find(event.key) || find(event.key.toLowerCase());
      if (!button) return;
      event.preventDefault();
      event.stopImmediatePropagation();
      if (!event.repeat && !button.disabled) button.click();
      back();
    }, true);
    box.addEventListener('change', (event) => event.target.matches('select') && back());
    box.addEventListener('click', (event) => !field(event.target) && back());
    let late = null;
    const turn = () => {
      const status = box.querySelector('.sk-status');
      return status ? (status.className.match(/sk-turn-\\d+/) || [''])[0] : '';
    };
    // Text goes to the kernel when it has answered the text before, a click at once: a click waits for the text before
    // it, else the last letters would be the next item's.
    let typed = null;
    const settled = () => {
      const now = performance.now(), answers = turn();
      if (typed.answers !== answers) Object.assign(typed, {answers, seen: now, any: true});
      return (typed.any && now - typed.seen > 250) || now - typed.since > 3000;
    };
    box.addEventListener('click', (event) => {
      const button = typed && event.target.closest('.sk-keys button');
      if (!button) return;
      event.stopImmediatePropagation();
      event.preventDefault();
      (function wait() {
        if (typed && !settled()) { setTimeout(wait, 40); return; }
        typed = null;
        button.click();
      })();
    }, true);
    // What the kernel does not answer is said: it is busy or gone, and what was asked may be lost.
    const say = () => {
      const line = box.querySelector('.sk-lost'), gone = box.classList.contains('jupyter-widgets-disconnected');
      if (!line) return;
      const now = gone || late === turn() ? (document.body.dataset.voila ? SERVED : gone ? GONE : LATE) : '';
      if (line.textContent !== now) line.textContent = now;
      line.hidden = !now;
      return line;
    };
    const ask = () => {
      const before = turn();
      setTimeout(() => {
        if (turn() !== before) return;
        late = before;
        const line = say();
        if (line) line.scrollIntoView({block: 'nearest'});
      }, 5000);
    };
    new MutationObserver(say).observe(box, {attributes: true, subtree: true, attributeFilter: ['class']});
    box.addEventListener('click', (event) => event.target.closest('.sk-keys button') && ask());
    box.addEventListener('change', (event) => event.target.matches('select,input') && ask());
    box.addEventListener('input', (event) => {
      if (!event.target.matches('textarea')) return;
      ask();
      const now = performance.now();
      typed = {answers: turn(), seen: now, since: now, any: false};
    });
  }
  (function wait(left) {
    const box = start.closest('.sk-box');
    if (box) listen(box); else if (left) setTimeout(wait, 50, left - 1);
  })(100);
})(this)
"""


class Keys(ipywidgets.HBox):
    """The visible keys, as buttons; :meth:`press` does what a key does and raises what its function
    raised.
    """

    def __init__(
        self, handlers: Mapping[str, Action], status: ipywidgets.HTML, labels: Mapping[str, str]
    ):
        self.actions = {key: guarded(action, status) for key, action in handlers.items()}
        buttons = []
        for key in handlers:
            name, label = NAMES.get(key, key), labels.get(key, "")
            button = ipywidgets.Button(
                description=f"{name} {label}".strip(), tooltip=(f"key {name}")
            )
            button.add_class(key_class(key))
            button.on_click(lambda _, key=key: self.press(key))
            buttons.append(button)
        script = escape(SCRIPT, quote=True)
        lost = '<p class="sk-lost" role="alert" hidden></p>'
        runs = ipywidgets.HTML(
            f'<style>{CSS}</style>{lost}<img src="data:," alt="" hidden onerror="{script}">'
        )
        super().__init__([*buttons, runs])
        self.add_class(LIST)

    def press(self, key: str) -> None:
        """Do what the key does; KeyError for a key that has no function."""
        self.actions[key]()


def attach(
    box: ipywidgets.Box,
    handlers: Mapping[str, Action],
    status: ipywidgets.HTML,
    *,
    labels: Mapping[str, str] | None = None,
) -> Keys:
    """Call a handler when its key is pressed in ``box``, which gets the list of keys as its last
    child (returned).

    Keys are named as browsers name them (``KeyboardEvent.key``): "j", "1", " ", "Enter",
    "ArrowLeft"; a capital letter counts as the small one unless it has a handler. ``labels`` says
    what a key does. What a handler raises is shown in ``status``, which stands in the box, in red
    and raised again; the next handler that succeeds takes it away.
    """
    keys = Keys(handlers, status, labels or {})
    box.add_class(BOX)
    status.add_class(STATUS)
    box.children = (*box.children, keys)
    return keys


def key_class(key: str) -> str:
    """The class of a key's button: its code points in hexadecimal, so that any key makes a valid
    class.
    """
    return KEY + "-".join(f"{ord(letter):x}" for letter in key)


def guarded(action: Callable[..., Any], status: ipywidgets.HTML) -> Callable[..., None]:
    """``action`` for a callback: an error is shown in ``status`` with its type and message, and
    raised.

    A raised error alone would be out of sight: JupyterLab keeps what callbacks raise in its log.
    """

    def run(*arguments: Any) -> None:
        try:
            action(*arguments)
        except Exception as error:
            status.value = failed(error)
            raise
        else:
            if 'class="sk-error"' in status.value:
                status.value = ""
        finally:
            _count_on(status)

    return run


def _count_on(status: ipywidgets.HTML) -> None:
    turns = [name for name in status._dom_classes if name.startswith(TURN)]
    others = [name for name in status._dom_classes if name not in turns]
    count = int(turns[0].removeprefix(TURN)) if turns else 0
    status._dom_classes = (*others, f"{TURN}{count + 1}")


def failed(error: Exception) -> str:
    """The error as a line in red."""
    told = text(f"{type(error).__name__}: {error}")
    return f'<p class="sk-error" role="alert" style="color:#B00020">{told}</p>'
