"""The coach rater: keys in, grades out, blind, and nothing that a stranger wrote is more than
text.
"""

from __future__ import annotations

from html.parser import HTMLParser

import pytest
from films import shot, write_film

from sportskills_lib.viewing import rating_widget
from sportskills_lib.viewing.markup import template
from sportskills_lib.viewing.previews import Preview
from sportskills_lib.viewing.rating_widget import RatingItem, RatingSession, RatingWidget

HOSTILE = '"><script>alert(1)</script><img src=x onerror=alert(2)> ../x \u202e' + "long " * 2000


@pytest.fixture(scope="module")
def film(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    return write_film(
        tmp_path_factory.mktemp("film") / "a.mp4", shot(0, 12, moves=True), fps=12.5
    ).read_bytes()


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        self.now += 1.0  # everybody looks for a second at least
        return self.now


class Saved:
    def __init__(self) -> None:
        self.grades: list[tuple[int, int, str]] = []
        self.drafts: list[tuple[int, str]] = []

    def save(self, item: RatingItem, grade: int, comment: str, shown: float) -> int:
        self.grades.append((item.number, grade, comment))
        return item.revision + 1

    def draft(self, item: RatingItem, comment: str) -> None:
        self.drafts.append((item.number, comment))


def sitting(saved: Saved, count: int = 4, **changes) -> RatingSession:
    items = [
        RatingItem(10 + at, f"mistake {at // 2}", "golf", "putt", learner=f"learner {at // 2}")
        for at in range(count)
    ]
    return RatingSession(
        items, save=saved.save, draft=saved.draft, **({"clock": Clock()} | changes)
    )


def test_keys_grade_one_pair_after_another_and_end_with_thanks() -> None:
    saved = Saved()
    desk = RatingWidget(sitting(saved), lambda item: (Preview(), Preview()))
    desk.keyboard.press("3")
    desk.keyboard.press("n")  # leaves pair 11 without a grade
    desk.keyboard.press("0")
    desk.keyboard.press("1")
    assert "All pairs are graded" not in desk.head.value
    assert desk.session.place == 1  # back to the one that was left
    desk.keyboard.press("2")
    assert saved.grades == [(10, 3, ""), (12, 0, ""), (13, 1, ""), (11, 2, "")]
    assert (
        "4 of 4 graded" in desk.head.value and "All pairs are graded. Thank you!" in desk.head.value
    )
    desk.keyboard.press("b")
    assert "pair 1, graded 3: <bdi>gives the fix" in desk.head.value
    desk.keyboard.press("1")
    assert saved.grades[-1] == (10, 1, "") and desk.session.done == 4


def test_a_rater_goes_on_where_grades_end() -> None:
    made = sitting(Saved())
    for item in made.items[:2]:
        item.grade = 1
    assert RatingSession(made.items, save=Saved().save).place == 2


def test_a_key_that_was_meant_for_the_pair_before_is_not_taken() -> None:
    saved, now = Saved(), [0.0]
    made = sitting(saved, clock=lambda: now[0])
    now[0] = 5.0
    made.grade(3)
    now[0] += 0.1
    made.grade(3)
    assert saved.grades == [(10, 3, "")] and "ignored" in made.notice
    now[0] += rating_widget.MIN_LOOK_S
    made.grade(0)
    assert saved.grades[-1] == (11, 0, "")


def test_a_comment_goes_with_its_grade_and_is_a_draft_before() -> None:
    saved = Saved()
    desk = RatingWidget(sitting(saved), lambda item: (Preview(), Preview()))
    desk.keyboard.write("hips")
    desk.keyboard.write("hips first")
    desk.keyboard.press("2")
    assert saved.drafts == [(10, "hips"), (10, "hips first")] and saved.grades == [
        (10, 2, "hips first")
    ]
    assert desk.keyboard.comment["text"] == ""
    desk.keyboard.press("b")
    assert desk.keyboard.comment["text"] == "hips first"
    desk.keyboard.write("hips first, then arms")
    desk.keyboard.press("n")
    assert (
        saved.grades[-1] == (10, 2, "hips first, then arms")
        and saved.drafts[-1][1] == "hips first, then arms"
    )


def test_what_saving_raises_is_shown_and_raised_and_the_pair_stays() -> None:
    def full(*_) -> int:
        raise OSError("the disk is full: <b>make room</b>")

    made = RatingSession(sitting(Saved()).items, save=full, clock=Clock())
    desk = RatingWidget(made, lambda item: (Preview(), Preview()))
    with pytest.raises(OSError, match="disk is full"):
        desk.keyboard.press("2")
    assert "OSError: the disk is full: <b>" in desk.keyboard.error
    assert desk.session.place == 0 and desk.session.done == 0


def test_films_stand_side_by_side_with_their_frame_rate_and_a_reason_where_there_is_none(
    film: bytes,
) -> None:
    desk = RatingWidget(
        sitting(Saved()), lambda item: (Preview(film=film), Preview(reason="unreadable"))
    )
    assert 'data-fps="12.5"' in desk.learner.value and "<video" not in desk.clip.value
    assert "no film: unreadable" in desk.clip.value
    before = desk.learner.value
    desk.keyboard.press("2")
    assert desk.learner.value == before  # the same learner: nothing is sent again


def test_an_empty_study_opens() -> None:
    desk = RatingWidget(RatingSession([], save=Saved().save), lambda item: (Preview(), Preview()))
    for key in ("1", "n", "b"):
        desk.keyboard.press(key)
    assert "No pairs are assigned to you" in desk.head.value


class Tags(HTMLParser):
    def __init__(self, text: str):
        super().__init__()
        self.scripted: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.scripted += [tag] * (tag == "script") + [
            name for name, _ in attrs if name.startswith("on")
        ]


def test_hostile_text_stays_text_and_is_cut(film: bytes) -> None:
    item = RatingItem(
        1, HOSTILE, HOSTILE, HOSTILE, comment=HOSTILE, narration=HOSTILE, learner=HOSTILE
    )
    films = Preview(film=film), Preview(reason=HOSTILE)
    page = rating_widget.static([item], lambda _: films).data
    made = RatingSession([item], save=Saved().save)
    made.notice = HOSTILE
    panel = template("markup.jinja").film_panel
    parts = (
        rating_widget.VIEWS.heading(made),
        panel("Learner", HOSTILE, films[0]),
        panel("x", "x", films[1]),
    )
    page += "".join(parts)
    assert Tags(page).scripted == []
    assert "&lt;script&gt;" in page and "<bdi>" in page
    assert len(rating_widget.VIEWS.question(item)) < 6000
    assert len(rating_widget.VIEWS.clip(item, films[1])) < 12000


def test_the_static_page_shows_scale_words_and_films_without_keys(film: bytes) -> None:
    items = sitting(Saved()).items
    page = rating_widget.static(items, lambda item: (Preview(film=film), Preview(film=film))).data
    assert (
        page.count("<video controls") == 2 * rating_widget.STATIC_PAIRS
        and "<button" not in page
        and "onerror" not in page
    )
    assert all(short in page for short, _ in rating_widget.SCALE.values()) and "mistake 0" in page
