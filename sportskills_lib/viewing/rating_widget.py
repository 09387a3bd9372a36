"""The coach rater: a learner's clip, the expert's comment on it, and a candidate clip side by side,
to be graded.

Blind: nothing on the page says which system proposed the clip, at which rank, or where it is from.
:class:`RatingSession` holds what a rater does as plain steps; views are functions that return HTML;
:class:`RatingWidget` is the thin widget. It knows no files: it is given items, films, and what to
call with a grade. Texts come from strangers: all are escaped.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from html import escape
from typing import TYPE_CHECKING, Any

from sportskills_lib.viewing.markup import film_panel, style_tag, text
from sportskills_lib.viewing.previews import Preview

if TYPE_CHECKING:
    from IPython.display import HTML

SCALE = {
    3: ("shows the fix", "shows exactly what this learner has to do instead"),
    2: (
        "helps",
        "is about this mistake, but shows it only in part, less clearly, or only how it looks when "
        "done wrong",
    ),
    1: ("same skill", "shows the skill, but nothing that would correct this mistake"),
    0: ("does not help", "another skill, nothing visible, or misleading"),
}
MIN_LOOK_S = 0.4  # a key within this time of a new pair was meant for the previous one
STATIC_PAIRS = 3  # on the static page


@dataclass
class RatingItem:
    """A pair to grade. ``number`` identifies it to whoever saves; ``revision``: of the grade that
    is shown.
    """

    number: int
    feedback: str
    sport: str
    skill: str
    grade: int | None = None
    comment: str = ""
    revision: int = 0
    learner: str = ""  # the name of the learner's clip: successive pairs may share it


PairFilms = Callable[[RatingItem], tuple[Preview, Preview]]  # of the learner and of the clip
# item, grade, comment, unix time at which it was shown → revision
SaveGrade = Callable[[RatingItem, int, str, float], int]


@dataclass
class RatingSession:
    """What one rater does: the current pair, and one step per key. ``turn`` counts steps, refused
    ones too.
    """

    items: list[RatingItem]
    save: SaveGrade
    draft: Callable[[RatingItem, str], Any] = lambda item, comment: None
    clock: Callable[[], float] = time.time
    place: int = 0
    turn: int = 0
    shown_at: float = 0.0  # unix time
    notice: str = ""
    comment: str = field(default="", init=False)

    def __post_init__(self) -> None:
        self._go(next((at for at, item in enumerate(self.items) if item.grade is None), 0))

    @property
    def item(self) -> RatingItem | None:
        """The current pair."""
        return self.items[self.place] if self.items else None

    @property
    def done(self) -> int:
        """How many pairs have a grade."""
        return sum(item.grade is not None for item in self.items)

    def grade(self, value: int) -> None:
        """Save the grade with the comment, then go to the next pair without one. Errors of saving
        are raised.
        """
        self.turn, self.notice = self.turn + 1, ""
        item = self.item
        if item is None:
            return
        if self.clock() - self.shown_at < MIN_LOOK_S:
            self.notice = "Key ignored: this pair had only just appeared. Look at it first."
            return
        item.revision = self.save(item, value, self.comment, self.shown_at)
        item.grade, item.comment = value, self.comment
        after = [*range(self.place + 1, len(self.items)), *range(self.place)]
        self._go(next((at for at in after if self.items[at].grade is None), self.place))
        self.notice = f"Saved: {value}, {SCALE[value][0]}."

    def step(self, by: int) -> None:
        """Go to another pair, graded or not; a changed comment of a graded pair is saved with its
        grade.
        """
        self.turn, self.notice = self.turn + 1, ""
        item = self.item
        if item is None:
            return
        if item.grade is not None and self.comment != item.comment:
            item.revision = self.save(item, item.grade, self.comment, self.shown_at)
            item.comment = self.comment
        self._go(min(max(self.place + by, 0), len(self.items) - 1))

    def write(self, comment: str) -> None:
        """Take the text of the comment field, and keep it as a draft."""
        if self.item is not None and comment != self.comment:
            self.comment = comment
            self.draft(self.item, comment)

    def _go(self, place: int) -> None:
        self.place, self.shown_at = place, self.clock()
        self.comment = self.items[place].comment if self.items else ""


def heading(session: RatingSession) -> str:
    """Progress, what was just done, and the expert's comment on the learner."""
    item, count = session.item, len(session.items)
    if item is None:
        return _view(f'<p data-turn="{session.turn}">No pairs are assigned to you.</p>')
    parts = [
        f"{session.done} of {count} graded",
        f"pair {session.place + 1}"
        + (f", graded {item.grade}: {SCALE[item.grade][0]}" if item.grade is not None else ""),
        *([text(session.notice)] if session.notice else []),
    ]
    end = (
        "<p><b>All pairs are graded. Thank you!</b> You may close this page, or go back and change "
        "a grade.</p>"
    )
    return _view(
        f'<p class="soft" data-turn="{session.turn}"><progress max="{count}" '
        f'value="{session.done}"></progress> {" · ".join(parts)}</p>'
        f"{end if session.done == count else ''}{question(item)}"
    )


def question(item: RatingItem) -> str:
    """The expert's comment on the learner, and the question to the rater."""
    about = " · ".join(filter(None, (item.sport, item.skill)))
    return (
        f'<p class="comment">{text(item.feedback, limit=1500)}</p>'
        f'<p class="soft">{text(about)}. Would watching the clip help this learner with that?</p>'
    )


def scale() -> str:
    """The scale in words."""
    rows = "".join(
        f"<tr><td><b>{grade}</b></td><td><b>{escape(short)}</b></td><td>{escape(long)}</td></tr>"
        for grade, (short, long) in SCALE.items()
    )
    return _view(f"<table>{rows}</table>")


def static(items: Sequence[RatingItem], films: PairFilms) -> HTML:
    """What the widget shows, without keys, of the first pairs: for where no widget can run."""
    from IPython.display import HTML

    done = sum(item.grade is not None for item in items)
    parts = [f"<p>{done} of {len(items)} pairs are graded.</p>", scale()]
    for item in items[:STATIC_PAIRS]:
        panels = "".join(_panels(item, films)).replace("<video ", "<video controls ")
        parts.append(f'{question(item)}<div class="sk-films">{panels}</div>')
    return HTML(style_tag() + _view("".join(parts)))


def _view(body: str) -> str:
    return f'<div class="sk-view rater">{body}</div>'


def _panels(item: RatingItem, films: PairFilms) -> tuple[str, str]:
    learner, clip = films(item)
    return (
        film_panel("Learner", item.learner or str(item.number), learner),
        film_panel("Clip", f"clip {item.number}", clip),
    )


class RatingWidget:
    """The widget over a :class:`RatingSession`; ``widget`` is what a page displays, ``press`` does
    what a key does.
    """

    def __init__(self, session: RatingSession, films: PairFilms):
        import ipywidgets

        from sportskills_lib.viewing.keyboard import Keyboard

        self.session, self.films = session, films
        self.head, self.learner, self.clip = (ipywidgets.HTML() for _ in range(3))
        actions = {str(grade): partial(self._run, session.grade, grade) for grade in sorted(SCALE)}
        actions |= {
            "b": partial(self._run, session.step, -1),
            "n": partial(self._run, session.step, 1),
        }
        labels = {str(grade): short for grade, (short, _) in SCALE.items()}
        labels |= {"b": "previous", "n": "next, no grade"}
        self.keyboard = Keyboard(
            actions,
            labels,
            player=True,
            comment_label="comment, optional",
            on_comment=session.write,
        )
        sides = ipywidgets.HBox([self.learner, self.clip])
        sides.add_class("sk-films")
        self.widget = self.keyboard.box(self.head, sides, self.keyboard, ipywidgets.HTML(scale()))
        self.widget.add_class("sk-rater")
        self._show()

    def press(self, key: str) -> None:
        """What a key does; raises what its function raised."""
        self.keyboard.press(key)

    def _run(self, step: Callable[[int], None], value: int) -> None:
        try:
            step(value)
        finally:
            self._show()

    def _show(self) -> None:
        """Bring the page up to the session; films that are there already are not sent again."""
        item = self.session.item
        self.keyboard.show_comment(self.session.comment)
        if item is not None:
            learner, clip = _panels(item, self.films)
            self.learner.value, self.clip.value = _view(learner), _view(clip)
        self.head.value = heading(self.session)
        self.session.shown_at = self.session.clock()
