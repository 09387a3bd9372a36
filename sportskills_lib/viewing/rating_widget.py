"""The coach rater: a learner's clip, what is to be mended in words, and a candidate clip side by
side, to be graded.

Blind: nothing on the page says which system proposed the clip, at which rank, or where it is from.
:class:`Sitting` holds what a rater does as plain steps; views are functions that return HTML;
:class:`Rater` is the thin widget. It knows no files: it is given items, films, and what to call
with a grade. Texts come from strangers: all are escaped.
"""

from __future__ import annotations

import base64
import io
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cache, partial
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sportskills_lib.viewing.escape import text
from sportskills_lib.viewing.previews import Preview

if TYPE_CHECKING:
    from IPython.display import HTML

SCALE = {
    3: ("shows the fix", "shows exactly what this learner has to do instead"),
    2: (
        "helps",
        (
            "is about this mistake, but shows it only in part, less clearly, or only how it "
            "looks "
            "when done wrong"
        ),
    ),
    1: ("same skill", "shows the skill, but nothing that would mend this mistake"),
    0: ("does not help", "another skill, nothing to see, or misleading"),
}
LEAST_LOOK_S = 0.4  # a key within this time of a new pair was meant for the one before
SHOWN = 3  # pairs on the static page
PLAYER = (
    (" ", "space", "toggle", "play or stop both"),
    ("ArrowLeft", "←", "back", "a frame back"),
    ("ArrowRight", "→", "forward", "a frame on"),
    ("s", "s", "slower", "1×, ½×, ¼×"),
    ("r", "r", "restart", "from the start"),
    ("[", "[", "earlier", "clip a frame earlier"),
    ("]", "]", "later", "clip a frame later"),
    ("c", "c", "comment", ("write a comment (esc ends it)")),
)
CSS = """
.sk-rater{font:15px/1.45 system-ui,sans-serif;max-width:72em;margin:0 auto;color:#1b1b1b}
.sk-rater p{margin:.25em 0}.sk-rater .soft{color:#5a5a5a;font-size:13px}
.sk-rater .said{border-left:4px solid #0072B2;padding:.15em .8em;font-size:18px;overflow-wrap:anywhere;max-height:8em;
overflow-y:auto}
.sk-rater .said bdi{unicode-bidi:isolate}
.sk-films{display:grid;grid-template-columns:1fr 1fr;gap:14px}.sk-films>*{min-width:0}
.sk-rater figure{margin:0}.sk-rater figcaption{font-weight:600;margin-bottom:3px}
.sk-rater video,.sk-rater .none{display:block;width:100%;height:46vh;max-height:430px;object-fit:contain;
background:#000;border-radius:6px}
.sk-rater .none{background:#eee;color:#5a5a5a;display:grid;place-content:center;text-align:center}
.sk-rater .bar button{font:13px system-ui,sans-serif;border:1px solid #bbb;border-radius:4px;background:#f6f6f6;
padding:.2em .55em;margin:0 .25em .2em 0;cursor:pointer}
.sk-rater .bar kbd{font-weight:700;margin-right:.35em}
.sk-rater progress{width:11em;vertical-align:middle;accent-color:#0072B2}
.sk-rater table{border-collapse:collapse}.sk-rater td{padding:.1em .8em .1em 0;vertical-align:top}
.sk-grades button{height:2.6em!important;font-weight:600}
"""


@dataclass
class Item:
    """A pair to grade. ``number`` is its name towards whoever saves; ``revision``: of the grade
    that is shown.
    """

    number: int
    feedback: str
    sport: str
    skill: str
    grade: int | None = None
    comment: str = ""
    revision: int = 0
    learner: str = ""  # the name of the learner's clip: pairs that follow may share it


Films = Callable[[Item], tuple[Preview, Preview]]  # of the learner and of the clip
Save = Callable[
    [Item, int, str, float], int
]  # item, grade, comment, unix time at which it was shown → revision


@dataclass
class Sitting:
    """What one rater does: where it stands, and one step a key. ``turn`` counts steps, refused ones
    too.
    """

    items: list[Item]
    save: Save
    draft: Callable[[Item, str], Any] = lambda item, comment: None
    clock: Callable[[], float] = time.time
    place: int = 0
    turn: int = 0
    shown: float = 0.0
    notice: str = ""
    comment: str = field(default="", init=False)

    def __post_init__(self) -> None:
        self._go(next((at for at, item in enumerate(self.items) if item.grade is None), 0))

    @property
    def item(self) -> Item | None:
        """The pair that is shown."""
        return self.items[self.place] if self.items else None

    @property
    def done(self) -> int:
        """How many pairs have a grade."""
        return sum(item.grade is not None for item in self.items)

    def grade(self, value: int) -> None:
        """Save the grade with the comment, then go to the next pair without one. What saving raises
        comes out.
        """
        self.turn, self.notice = self.turn + 1, ""
        item = self.item
        if item is None:
            return
        if self.clock() - self.shown < LEAST_LOOK_S:
            self.notice = (
                "That key came as this pair appeared, and was not taken: look at it first."
            )
            return
        item.revision = self.save(item, value, self.comment, self.shown)
        item.grade, item.comment = value, self.comment
        after = [*range(self.place + 1, len(self.items)), *range(self.place)]
        self._go(next((at for at in after if self.items[at].grade is None), self.place))
        self.notice = f"Saved: {value}, {SCALE[value][0]}."

    def step(self, by: int) -> None:
        """Go to a pair before or after, graded or not; a changed comment of a graded pair is saved
        with its grade.
        """
        self.turn, self.notice = self.turn + 1, ""
        if self.item is None:
            return
        self.keep_comment()
        self._go(min(max(self.place + by, 0), len(self.items) - 1))

    def write(self, comment: str) -> None:
        """Take what stands in the comment field, and keep it as a draft."""
        if self.item is not None and comment != self.comment:
            self.comment = comment
            self.draft(self.item, comment)

    def keep_comment(self) -> None:
        """Save a changed comment with the grade that its pair has."""
        item = self.item
        if item is not None and item.grade is not None and self.comment != item.comment:
            item.revision = self.save(item, item.grade, self.comment, self.shown)
            item.comment = self.comment

    def _go(self, place: int) -> None:
        self.place, self.shown = place, self.clock()
        self.comment = self.items[place].comment if self.items else ""


def heading(sitting: Sitting) -> str:
    """How far the rater is, what was just done, and the learner's mistake in words."""
    item, count = sitting.item, len(sitting.items)
    if item is None:
        return _wrap(f'<p data-turn="{sitting.turn}">Nothing was given to you to grade.</p>')
    graded = f", graded {item.grade}: {SCALE[item.grade][0]}" if item.grade is not None else ""
    said = f" · {text(sitting.notice)}" if sitting.notice else ""
    end = (
        "<p><b>All are graded. Thank you!</b> You may close this page, or go back and change "
        "a grade.</p>"
    )
    return _wrap(
        f'<p class="soft" data-turn="{sitting.turn}"><progress max="{count}" '
        f'value="{sitting.done}"></progress> '
        f"{sitting.done} of {count} graded · pair {sitting.place + 1}{graded}{said}</p>"
        f"{end if sitting.done == count else ''}{question(item)}"
    )


def question(item: Item) -> str:
    """The learner's mistake, as an expert put it, and what is asked."""
    about = " · ".join(filter(None, (item.sport, item.skill)))
    return (
        f'<p class="said">{text(item.feedback, limit=1500)}</p>'
        f'<p class="soft">{text(about)} — would watching the clip on the right help this '
        "learner with that?</p>"
    )


def panel(title: str, name: str, preview: Preview) -> str:
    """A film under its title; the reason where there is none. Nothing of it names the source."""
    if not preview.film:
        shown = f'<div class="none">{text("no film: " + (preview.reason or "not made"))}</div>'
    else:
        data = base64.b64encode(preview.film).decode()
        shown = (
            f'<video src="data:video/mp4;base64,{data}" data-name="{escape(name, quote=True)}" '
            f'data-fps="{frame_rate(preview.film):.6g}" muted playsinline preload="auto"></video>'
        )
    return _wrap(f"<figure><figcaption>{escape(title)}</figcaption>{shown}</figure>")


def player_bar(*, comment: bool = True) -> str:
    """The buttons of the player, each with its key; the page's script runs them without asking the
    kernel.
    """
    from sportskills_lib.viewing import keys

    buttons = "".join(
        f'<button type="button" class="{keys.key_class(key)}" data-play="{action}" title="key '
        f'{name}">'
        f"<kbd>{name}</kbd>{label}</button>"
        for key, name, action, label in PLAYER
        if comment or action != "comment"
    )
    start = escape(script(), quote=True)
    return _wrap(
        f'<div class="bar">{buttons}</div><p class="soft sk-play-state"></p>'
        f'<img src="data:," alt="" hidden onerror="{start}">'
    )


def scale() -> str:
    """The scale in words."""
    rows = "".join(
        f"<tr><td><b>{grade}</b></td><td><b>{escape(short)}</b></td><td>{escape(long)}</td></tr>"
        for grade, (short, long) in SCALE.items()
    )
    return _wrap(f"<table>{rows}</table>")


def static(items: Sequence[Item], films: Films) -> HTML:
    """What the widget shows, without keys, of the first pairs: for where no widget can run."""
    from IPython.display import HTML

    parts = [
        (
            f"<p>{sum(item.grade is not None for item in items)} of {len(items)} pairs are "
            "graded.</p>"
        ),
        scale(),
    ]
    for item in items[:SHOWN]:
        mine, clip = films(item)
        sides = panel("The learner", "learner", mine) + panel(
            "The clip", f"clip {item.number}", clip
        )
        parts.append(f'<section>{question(item)}<div class="sk-films">{sides}</div></section>')
    body = "".join(parts).replace("<video ", "<video controls ")
    return HTML(f'<style>{CSS}</style><div class="sk-rater">{body}</div>')


def _wrap(body: str) -> str:
    return f'<div class="sk-rater">{body}</div>'


@cache
def script() -> str:
    """The page's script, kept as a file of its own."""
    return Path(__file__).with_name("player.js").read_text(encoding="utf-8")


def frame_rate(film: bytes) -> float:
    """Frames a second of a film; 25 where it does not say."""
    import av

    with av.open(io.BytesIO(film)) as container:
        rate = container.streams.video[0].average_rate
    return float(rate) if rate else 25.0


class Rater:
    """The widget over a :class:`Sitting`; ``widget`` is what a page displays, ``press`` does what a
    key does.
    """

    def __init__(self, sitting: Sitting, films: Films):
        import ipywidgets

        from sportskills_lib.viewing import keys

        self.sitting, self.films = sitting, films
        self.status, self.head = ipywidgets.HTML(), ipywidgets.HTML()
        self.mine, self.clip = ipywidgets.HTML(), ipywidgets.HTML()
        self.comment = ipywidgets.Textarea(
            placeholder="comment, if you like (key c)",
            continuous_update=True,
            layout={"width": "auto", "height": "4em"},
        )
        self._filling = False
        self.comment.observe(keys.guarded(self._typed, self.status), "value")
        sides = ipywidgets.HBox([self.mine, self.clip])
        sides.add_class("sk-films")
        style = ipywidgets.HTML(f"<style>{CSS}</style>")
        about = ipywidgets.HTML(scale())
        parts = [style, self.head, sides, ipywidgets.HTML(player_bar()), self.comment, self.status]
        self.widget = ipywidgets.VBox(parts)
        self.widget.add_class("sk-rater")
        actions = {str(grade): partial(self._do, sitting.grade, grade) for grade in sorted(SCALE)}
        steps = {"b": partial(self._do, sitting.step, -1), "n": partial(self._do, sitting.step, 1)}
        labels = {str(grade): short for grade, (short, _) in SCALE.items()} | {
            "b": "back",
            "n": "next, no grade",
        }
        self.keys = keys.attach(self.widget, actions | steps, self.status, labels=labels)
        self.keys.add_class("sk-grades")
        self.widget.children = (*self.widget.children, about)
        self.show()

    def press(self, key: str) -> None:
        """What a key does; raises what it raised."""
        self.keys.press(key)

    def show(self) -> None:
        """Bring the page up to what the sitting says; films that stand there already are not sent
        again.
        """
        item = self.sitting.item
        self._filling = True
        self.comment.value = self.sitting.comment
        self._filling = False
        if item is not None:
            mine, clip = self.films(item)
            self.mine.value = panel("The learner", item.learner or str(item.number), mine)
            self.clip.value = panel("Would this clip help?", f"clip {item.number}", clip)
        self.head.value = heading(self.sitting)
        self.sitting.shown = self.sitting.clock()

    def _do(self, step: Callable[[int], None], value: int) -> None:
        try:
            step(value)
        finally:
            self.show()

    def _typed(self, change: Any) -> None:
        if not self._filling:
            self.sitting.write(str(change["new"]))
