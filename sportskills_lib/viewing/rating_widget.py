"""The coach rater: a learner's clip, the expert's comment on it, and a candidate clip side by side,
to be graded.

Blind: nothing on the page says which system proposed the clip, at which rank, or where it is from.
What is said over it stands below it, unless the study is a wordless one, which has its own scale.
:class:`RatingSession` holds what a rater does as plain steps; the views are ``rater.jinja``;
:class:`RatingWidget` is the thin widget. It knows no files: it is given items, films, and what to
call with a grade. Texts come from strangers: all are escaped.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import ipywidgets

from sportskills_lib.viewing.keyboard import Action, Keyboard
from sportskills_lib.viewing.markup import style_tag, template
from sportskills_lib.viewing.previews import Preview

SCALE = {
    3: ("gives the fix", "shows or says exactly what this learner has to do instead"),
    2: (
        "helps",
        "is about this mistake, in pictures or words, but gives only a part, is less clear, or has "
        "only how it looks when done wrong",
    ),
    1: ("same skill", "is about the skill, but nothing in it would correct this mistake"),
    0: ("does not help", "another skill, nothing visible, or misleading"),
}
WORDLESS_SCALE = {  # where raters do not read what is said
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
VIEWS = template("rater.jinja")


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
    narration: str = ""  # what is said over the clip; empty: nothing, or not shown
    learner: str = ""  # the name of the learner's clip: successive pairs may share it


Scale = dict[int, tuple[str, str]]  # grade → short, long
PairFilms = Callable[[RatingItem], tuple[Preview, Preview]]  # of the learner and of the clip


@dataclass
class RatingSession:
    """What one rater does: the current pair, and one step per key."""

    items: list[RatingItem]
    # item, grade, comment, unix time at which it was shown → revision
    save: Callable[[RatingItem, int, str, float], int]
    draft: Callable[[RatingItem, str], Any] = lambda item, comment: None
    clock: Callable[[], float] = time.time
    place: int = 0
    shown_at: float = 0.0  # unix time
    notice: str = ""  # for the next look alone
    scale: Scale = field(default_factory=lambda: SCALE)
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
        if (item := self.item) is None:
            return
        if self.clock() - self.shown_at < MIN_LOOK_S:
            self.notice = "Key ignored: this pair had only just appeared. Look at it first."
            return
        item.revision = self.save(item, value, self.comment, self.shown_at)
        item.grade, item.comment = value, self.comment
        after = [*range(self.place + 1, len(self.items)), *range(self.place)]
        self._go(next((at for at in after if self.items[at].grade is None), self.place))
        self.notice = f"Saved: {value}, {self.scale[value][0]}."

    def step(self, by: int) -> None:
        """Go to another pair, graded or not; a changed comment of a graded pair is saved with its
        grade.
        """
        if (item := self.item) is None:
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


def static(items: Sequence[RatingItem], films: PairFilms, scale: Scale = SCALE) -> Any:
    """What the widget shows, without keys, of the first pairs: for where no widget can run."""
    from IPython.display import HTML

    first = [(item, *films(item)) for item in items[:STATIC_PAIRS]]
    return HTML(f"{style_tag()}{VIEWS.static(items, scale, first)}")


class RatingWidget:
    """The widget over a :class:`RatingSession`; ``widget`` is what a page displays; the keys are
    ``keyboard``'s.
    """

    def __init__(self, session: RatingSession, films: PairFilms):
        self.session, self.films = session, films
        self.head, self.learner, self.clip = (ipywidgets.HTML() for _ in range(3))
        actions: dict[str, tuple[str, Action]] = {
            str(grade): (short, partial(session.grade, grade))
            for grade, (short, _) in sorted(session.scale.items())
        }
        actions["b"] = ("previous", partial(session.step, -1))
        actions["n"] = ("next, no grade", partial(session.step, 1))
        self.keyboard = Keyboard(
            actions,
            after=self._show,
            player=True,
            comment_label="comment, optional",
            on_comment=session.write,
        )
        sides = ipywidgets.HBox([self.learner, self.clip])
        sides.add_class("sk-films")
        scale = ipywidgets.HTML(str(VIEWS.scale(session.scale)))
        self.widget = self.keyboard.box(self.head, sides, self.keyboard, scale)
        self.widget.add_class("sk-rater")
        self._show()

    def _show(self) -> None:
        """Bring the page up to the session; films that are there already are not sent again."""
        item = self.session.item
        self.keyboard.show_comment(self.session.comment)
        if item is not None:
            learner, clip = self.films(item)
            self.learner.value = str(VIEWS.learner(item, learner))
            self.clip.value = str(VIEWS.clip(item, clip))
        self.head.value, self.session.notice = str(VIEWS.heading(self.session)), ""
        self.session.shown_at = self.session.clock()
