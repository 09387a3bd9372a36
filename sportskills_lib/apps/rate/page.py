"""The page of a study: films made ready, a rater let in by name, the rater's desk put together."""

from __future__ import annotations

import hmac
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

from sportskills_lib import tables
from sportskills_lib.apps import serve_widget
from sportskills_lib.apps.rate import candidate_draw
from sportskills_lib.apps.rate.store import GradedMeanwhile, Store, Study, study_folder
from sportskills_lib.runs import artifacts
from sportskills_lib.viewing import retrieved_queries
from sportskills_lib.viewing.keyboard import is_interactive
from sportskills_lib.viewing.markup import text
from sportskills_lib.viewing.previews import Preview, Span, make_previews, preview_cache
from sportskills_lib.viewing.rating_widget import RatingItem, RatingSession, RatingWidget, static

AT_ONCE = 32  # films made between two lines of progress; all are in memory meanwhile
PRACTISED = 6  # learners of the study that a notebook draws


def open_study(name: str) -> Store:
    """The study of that name; ValueError lists those there are."""
    return Store(study_folder(name) / "ratings.sqlite")


class StudyFilms:
    """The films of a study's pairs, from the workspace's cache; what it lacks is made, in a process
    of its own.
    """

    def __init__(self, run: str):
        self.clips = retrieved_queries.video_files(run)
        retrieval = artifacts.open_stage(run, "04_retrieval")
        listed = retrieval.table("learners", tables.Learners).select("learner_id", "path")
        self.learners = retrieved_queries.below(retrieval.manifest["config"]["learners"], listed)
        self.cache = preview_cache()

    def spans(self, row: dict[str, Any]) -> tuple[Span, Span]:
        """The learner's and the clip's stretch of film of an item."""
        nowhere = Path("gone")  # a preview of it says that it is missing
        return (
            Span(
                f"learner {row['learner_id']}",
                self.learners.get(row["learner_id"], nowhere),
                row["learner_start_s"],
                row["learner_end_s"],
            ),
            Span(
                f"clip {row['clip_id']}",
                self.clips.get(row["video_id"], nowhere),
                row["start_s"],
                row["end_s"],
            ),
        )

    def of(self, row: dict[str, Any]) -> tuple[Preview, Preview]:
        """The two films of an item."""
        mine, clip = self.spans(row)
        made = make_previews([mine, clip], cache=self.cache, workers=1)
        return made[mine.name], made[clip.name]

    def prepare(
        self, rows: Sequence[dict[str, Any]], say: Callable[[str], None], *, workers: int
    ) -> list[str]:
        """Make all films that the cache lacks; a line for each that cannot be made."""
        wanted = {span.name: span for row in rows for span in self.spans(row)}
        spans, lost = list(wanted.values()), list[str]()
        for first in range(0, len(spans), AT_ONCE):
            made = make_previews(spans[first : first + AT_ONCE], cache=self.cache, workers=workers)
            lost += [
                f"{name}: {each.reason} ({each.detail})"
                for name, each in made.items()
                if each.reason
            ]
            say(f"films: {min(first + AT_ONCE, len(spans))} of {len(spans)}")
        return lost


def items_of(rows: Sequence[dict[str, Any]]) -> list[RatingItem]:
    """The items as the page shows them: blind, since what is not in an Item cannot be shown."""
    people = {
        name: place
        for place, name in enumerate(dict.fromkeys(row["learner_id"] for row in rows), 1)
    }
    return [
        RatingItem(
            number=row["item"],
            feedback=row["feedback"],
            sport=row["sport"],
            skill=row["skill"],
            grade=row["grade"],
            comment=row["comment"],
            revision=row["revision"],
            learner=(f"learner {people[row['learner_id']]}"),
        )
        for row in rows
    ]


def desk(store: Store, rater: str) -> RatingWidget:
    """The rater's widget, where the rater stopped; every grade is on disk before the next pair is
    shown.
    """
    rows = {row["item"]: row for row in store.queue(rater)}
    films = StudyFilms(store.study.run)

    def save(item: RatingItem, grade: int, comment: str, shown: float) -> int:
        try:
            return store.save(
                rater, item.number, grade, comment, started=_moment(shown), after=item.revision
            )
        except GradedMeanwhile:
            last = next(row for row in store.queue(rater) if row["item"] == item.number)
            item.grade, item.comment, item.revision = (
                last["grade"],
                last["comment"],
                last["revision"],
            )
            raise

    session = RatingSession(
        items_of(list(rows.values())),
        save=save,
        draft=lambda item, said: store.draft(rater, item.number, said),
    )
    return RatingWidget(session, lambda item: films.of(rows[item.number]))


def _moment(seconds: float) -> str:
    from datetime import UTC, datetime

    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds")


def rate_here(study: str, rater: str) -> Any:
    """In a notebook: the desk of a rater; headless the same pairs as a static page."""
    store = open_study(study)
    if is_interactive():
        return desk(store, rater).widget
    rows = store.queue(rater)
    films, by_number = StudyFilms(store.study.run), {row["item"]: row for row in rows}
    return static(items_of(rows), lambda item: films.of(by_number[item.number]))


def practise(run: str, rater: str = "you", *, rankings: str = "library") -> Any:
    """:func:`rate_here` on a small study of the run, drawn when it is first asked for, so that
    grading can be tried.

    Its grades are a practice's: no stage reads them. What keeps it from being drawn is said in its
    place.
    """
    from IPython.display import HTML

    study = Study(f"{run[:30]}-practice", run, rankings, (), 3, "test", (rater,), 1, 0.0, 0)
    try:
        if not (study_folder(study.name) / "ratings.sqlite").exists():
            candidate_draw.draw(study, learners=PRACTISED)
        return rate_here(study.name, rater)
    except ValueError as error:
        return HTML(f"<p>{text(error)}</p>")


def key_of(store: Store, rater: str) -> str:
    """What the rater's link proves the rater with; made from a secret that stands in no link."""
    return serve_widget.key_of(serve_widget.token_of(store.path.parent / "secret"), rater)


def served(study: str) -> Any:
    """What the served page shows: the desk of the rater whom the link names and proves, else fields
    for both.
    """
    store = open_study(study)
    query = parse_qs(os.environ.pop("QUERY_STRING", ""))

    def enter(name: str, key: str) -> Any:
        if not hmac.compare_digest(key_of(store, name).encode(), key.encode()):
            raise ValueError("this name and key do not belong together: use your personal link")
        return desk(store, name).widget

    return RaterLogin(enter, query.get("rater", [""])[0], query.get("key", [""])[0]).widget


class RaterLogin:
    """Lets a rater in by name and key: ``enter`` returns the rater's widget, or raises ValueError
    for a wrong pair.
    """

    def __init__(self, enter: Callable[[str, str], Any], name: str = "", key: str = ""):
        import ipywidgets

        self.enter, layout = enter, {"width": "16em", "max_width": "100%"}
        self.name = ipywidgets.Text(value=name[:40], placeholder="your name", layout=layout)
        self.key = ipywidgets.Password(value=key[:40], placeholder="your key", layout=layout)
        self.button = ipywidgets.Button(description="Begin")
        self.message = ipywidgets.HTML()
        self.button.on_click(lambda _: self.open())
        question = ipywidgets.HTML(
            "<p>Who are you? Your name and key are in your personal link.</p>"
        )
        fields = ipywidgets.Box(
            [self.name, self.key, self.button], layout={"display": "flex", "flex_flow": "row wrap"}
        )
        self.widget = ipywidgets.VBox([question, fields, self.message])
        if name:
            self.open()

    def open(self) -> None:
        """Show the widget of the rater who is named in the fields, or say why there is none.

        Errors are shown and not raised: a page whose code raises is empty, and cannot be tried
        again.
        """
        try:
            self.widget.children = (self.enter(self.name.value.strip(), self.key.value.strip()),)
        except ValueError as error:
            self.message.value = f"<p><b>{text(error)}</b></p>"
        except OSError as error:
            self.message.value = f"<p><b>{text(f'{type(error).__name__}: {error}')}</b></p>"
