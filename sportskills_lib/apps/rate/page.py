"""The page of a study: films made ready, a rater let in by name, the rater's desk put together."""

from __future__ import annotations

import hmac
import os
from collections.abc import Sequence
from datetime import UTC, datetime
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
from sportskills_lib.viewing.rating_widget import (
    SCALE,
    WORDLESS_SCALE,
    RatingItem,
    RatingSession,
    RatingWidget,
    Scale,
    static,
)

AT_ONCE = 32  # films made in one go; all are in memory meanwhile
STRANGER = "This link has no rater's name, or not that rater's key: open your personal link."
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
        learner, clip = row["learner_id"], row["clip_id"]
        tried, shown = self.learners.get(learner, nowhere), self.clips.get(row["video_id"], nowhere)
        return (
            Span(f"learner {learner}", tried, row["learner_start_s"], row["learner_end_s"]),
            Span(f"clip {clip}", shown, row["start_s"], row["end_s"]),
        )

    def of(self, row: dict[str, Any]) -> tuple[Preview, Preview]:
        """The two films of an item."""
        mine, clip = make_previews(self.spans(row), cache=self.cache, workers=1).values()
        return mine, clip

    def prepare(self, rows: Sequence[dict[str, Any]], *, workers: int) -> list[str]:
        """Make all films that the cache lacks; a line for each that cannot be made."""
        spans = list({span.name: span for row in rows for span in self.spans(row)}.values())
        lost = []
        for first in range(0, len(spans), AT_ONCE):
            made = make_previews(spans[first : first + AT_ONCE], cache=self.cache, workers=workers)
            lost += [
                f"{name}: {film.reason} ({film.detail})"
                for name, film in made.items()
                if film.reason
            ]
        return lost


def items_of(rows: Sequence[dict[str, Any]]) -> list[RatingItem]:
    """The items as the page shows them: blind, since what is not in an Item cannot be shown."""
    people = list(dict.fromkeys(row["learner_id"] for row in rows))
    shown = ("feedback", "sport", "skill", "grade", "comment", "revision")
    return [
        RatingItem(
            number=row["item"],
            learner=f"learner {people.index(row['learner_id']) + 1}",
            narration=row.get("narration", ""),  # studies of earlier versions have none
            **{name: row[name] for name in shown},
        )
        for row in rows
    ]


def scale_of(store: Store) -> Scale:
    """The scale of the study: what raters read changes what a grade means."""
    return SCALE if store.study.words else WORDLESS_SCALE


def desk(store: Store, rater: str) -> RatingWidget:
    """The rater's widget, where the rater stopped; every grade is on disk before the next pair is
    shown.
    """
    rows = {row["item"]: row for row in store.queue(rater)}
    films = StudyFilms(store.study.run)

    def save(item: RatingItem, grade: int, comment: str, shown: float) -> int:
        started = datetime.fromtimestamp(shown, UTC).isoformat(timespec="milliseconds")
        try:
            return store.save(
                rater, item.number, grade, comment, started=started, after=item.revision
            )
        except GradedMeanwhile:
            last = next(row for row in store.queue(rater) if row["item"] == item.number)
            for name in ("grade", "comment", "revision"):
                setattr(item, name, last[name])
            raise

    session = RatingSession(
        items_of(list(rows.values())),
        save=save,
        draft=lambda item, said: store.draft(rater, item.number, said),
        scale=scale_of(store),
    )
    return RatingWidget(session, lambda item: films.of(rows[item.number]))


def rate_here(study: str, rater: str) -> Any:
    """In a notebook: the desk of a rater; headless the same pairs as a static page."""
    store = open_study(study)
    if is_interactive():
        return desk(store, rater).widget
    rows = store.queue(rater)
    films, by_number = StudyFilms(store.study.run), {row["item"]: row for row in rows}
    return static(items_of(rows), lambda item: films.of(by_number[item.number]), scale_of(store))


def practise(run: str, rater: str = "you", *, rankings: str = "library") -> Any:
    """:func:`rate_here` on a small study of the run, drawn when it is first asked for, so that
    grading can be tried.

    Its grades are a practice's: no stage reads them. What keeps it from being drawn is said in its
    place.
    """
    from IPython.display import HTML

    draw = (rankings, (), 3, "test", (rater,), 1, 0.0, 0)
    study = Study(f"{run[:30]}-practice", run, *draw, words=True)
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
    """What the served page shows: the desk of the rater whom the link names and proves, else why
    there is none.

    Errors are shown and not raised, since a page whose code raises is empty; loading it again tries
    again.
    """
    import ipywidgets

    store = open_study(study)
    query = parse_qs(os.environ.pop("QUERY_STRING", ""))
    rater, key = (query.get(name, [""])[0] for name in ("rater", "key"))
    try:
        if not hmac.compare_digest(key_of(store, rater).encode(), key.encode()):
            return ipywidgets.HTML(f"<p>{text(STRANGER)}</p>")
        return desk(store, rater).widget
    except (ValueError, OSError) as error:
        return ipywidgets.HTML(f"<p><b>{text(f'{type(error).__name__}: {error}')}</b></p>")
