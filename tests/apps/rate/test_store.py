"""Grades survive: several writers at once, killed writers, windows that know less than the file, a
full disk.
"""

from __future__ import annotations

import errno
import multiprocessing
import random
import sqlite3
import time
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sportskills_lib.apps.rate import store as stored
from sportskills_lib.apps.rate.store import GradedMeanwhile, Store, Study

ITEM = {
    "learner_id": "l1",
    "clip_id": "c1",
    "sport": "golf",
    "skill": "putt",
    "feedback": "head up",
    "take_uid": "t",
    "learner_start_s": 1.0,
    "learner_end_s": 4.0,
    "video_id": "v",
    "start_s": 2.0,
    "end_s": 5.0,
}


def small(folder: Path, *, items: int = 20, raters: tuple[str, ...] = ("ann", "ben")) -> Store:
    rows = [ITEM | {"item": number, "clip_id": f"c{number}"} for number in range(1, items + 1)]
    study = Study("s", "demo", "pools", ("x",), 5, "test", raters, len(raters), 0.0, 0)
    orders = {
        rater: list(range(1, items + 1))[:: 1 if place else -1]
        for place, rater in enumerate(raters)
    }
    return Store.create(folder / "s" / "ratings.sqlite", study, rows, orders)


def save(
    store: Store, item: int, grade: int, comment: str = "", *, after: int = 0, rater: str = "ann"
) -> int:
    return store.save(rater, item, grade, comment, started=stored.now(), after=after)


def test_a_grade_is_there_with_its_comment_and_the_next_start_goes_on(tmp_path: Path) -> None:
    store = small(tmp_path)
    assert [row["item"] for row in store.queue("ann")] == list(range(20, 0, -1))
    assert save(store, 20, 3, "right on") == 1
    again = Store(store.path)
    assert again.study == store.study
    first = again.queue("ann")[0]
    assert (first["grade"], first["comment"], first["revision"]) == (3, "right on", 1)
    assert all(row["grade"] is None for row in again.queue("ben"))


def test_a_change_is_a_revision_and_the_same_once_more_is_none(tmp_path: Path) -> None:
    store = small(tmp_path)
    assert [
        save(store, 1, 2),
        save(store, 1, 2),
        save(store, 1, 3, after=1),
        save(store, 1, 3, "so", after=2),
    ] == [
        1,
        1,
        2,
        3,
    ]
    assert [(row["revision"], row["grade"], row["comment"]) for row in store.history()] == [
        (1, 2, ""), (2, 3, ""), (3, 3, "so"),
    ]  # fmt: skip
    assert len(store.queue("ann")) == 20


def test_a_window_that_knows_less_does_not_overwrite(tmp_path: Path) -> None:
    store = small(tmp_path)
    save(store, 1, 2)
    with pytest.raises(GradedMeanwhile, match="2 in another window"):
        save(store, 1, 0)
    assert [row["grade"] for row in store.history()] == [2]


def test_a_draft_outlives_its_window_and_ends_with_the_grade(tmp_path: Path) -> None:
    store = small(tmp_path)
    store.draft("ann", 1, "half a sen")
    row = next(row for row in Store(store.path).queue("ann") if row["item"] == 1)
    assert (row["grade"], row["comment"]) == (None, "half a sen")
    save(store, 1, 1, "half a sentence")
    row = next(row for row in store.queue("ann") if row["item"] == 1)
    assert (row["grade"], row["comment"]) == (1, "half a sentence")


def test_what_cannot_be_graded_is_refused(tmp_path: Path) -> None:
    store = small(tmp_path)
    for grade in (-1, 4, True, None, "3", 1.5):
        with pytest.raises(ValueError, match="no grade"):
            save(store, 1, grade)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="not given"):
        save(store, 99, 1)
    with pytest.raises(ValueError, match="not given"):
        save(store, 1, 1, rater="../ann")
    with pytest.raises(ValueError, match="unknown rater"):
        store.queue("<script>")
    assert store.history() == []


@pytest.mark.parametrize(
    "name", ["../x", "", ".", "a/b", "a b", "<script>", "a\n", "x" * 41, "=1+1", "-x", "ä", "a\0b"]
)
def test_names_that_are_no_names_are_refused(name: str) -> None:
    with pytest.raises(ValueError, match="invalid"):
        stored.study_folder(name)


def test_other_files_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SPORTSKILLS_HOME", str(tmp_path))
    with pytest.raises(ValueError, match="no study 's' \\(none was drawn yet\\)"):
        Store(tmp_path / "s" / "ratings.sqlite")
    (tmp_path / "ratings.sqlite").write_bytes(b"no database at all" * 100)
    with pytest.raises(ValueError, match="no file of ratings"):
        Store(tmp_path / "ratings.sqlite")
    store = small(tmp_path)
    with pytest.raises(ValueError, match="may hold grades"):
        Store.create(store.path, store.study, [ITEM | {"item": 1}], {})


def test_a_full_disk_is_said_and_nothing_half_is_left(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = small(tmp_path)
    save(store, 1, 2)
    connect = sqlite3.connect

    def tight(*arguments, **options):
        base = connect(*arguments, **options)
        pages = base.execute("pragma page_count").fetchone()[0]
        base.execute(
            f"pragma max_page_count = {pages}"
        )  # SQLite then fails as on a full disk: SQLITE_FULL
        return base

    monkeypatch.setattr(sqlite3, "connect", tight)
    with pytest.raises(OSError, match="disk is full: make room, then grade again") as caught:
        for item in range(2, 21):
            save(store, item, 1, "long " * 700)
    assert caught.value.errno == errno.ENOSPC
    monkeypatch.undo()
    before = len(store.history())
    assert before == sum(row["grade"] is not None for row in store.queue("ann"))
    left = next(row["item"] for row in store.queue("ann") if row["grade"] is None)
    assert save(store, left, 1, "long " * 700) == 1 and len(store.history()) == before + 1


def test_a_file_that_is_gone_is_not_begun_anew(tmp_path: Path) -> None:
    store = small(tmp_path)
    save(store, 1, 2)
    away = store.path.rename(tmp_path / "away")
    with pytest.raises(OSError, match=r"s/ratings\.sqlite cannot be used") as caught:
        save(store, 2, 2)
    assert str(tmp_path) not in str(caught.value) and not store.path.exists()
    away.rename(store.path)
    assert save(store, 2, 2) == 1 and len(store.history()) == 2


def test_a_file_that_cannot_be_written_is_said(tmp_path: Path) -> None:
    store = small(tmp_path)
    holder = sqlite3.connect(store.path, isolation_level=None)
    holder.execute("begin immediate")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(stored, "PATIENCE_S", 0.1)
        with pytest.raises(OSError, match="another process holds"):
            save(store, 1, 1)
    holder.execute("rollback")
    assert save(store, 1, 1) == 1


def grade_all(store: Store, rater: str, told: Path, seed: int) -> None:
    """What a process does: grade whatever has no grade yet, and tell of each grade once it is
    saved.
    """
    rng = random.Random(seed)
    with told.open("ab", buffering=0) as file:
        for row in store.queue(rater):
            if row["grade"] is None:
                save(
                    store,
                    row["item"],
                    rng.randrange(4),
                    f"by {rater}",
                    after=row["revision"],
                    rater=rater,
                )
                file.write(b"%d\n" % row["item"])


def test_processes_that_grade_at_once_and_are_killed_lose_and_double_nothing(
    tmp_path: Path,
) -> None:
    raters = ("ann", "ben", "eve")
    store = small(tmp_path, items=40, raters=raters)
    rng, fork = random.Random(5), multiprocessing.get_context("fork")
    for attempt in range(6):
        running = {}
        for rater in raters:
            running[rater] = fork.Process(
                target=grade_all, args=(store, rater, tmp_path / rater, attempt)
            )
            running[rater].start()
        if attempt < 5:
            time.sleep(rng.random() * 0.5)
            for rater in rng.sample(raters, 2):
                running[rater].kill()
        for rater, process in running.items():
            process.join(60)
            # What was said to be saved is there, whoever was killed when.
            told = (
                {int(line) for line in (tmp_path / rater).read_text().split()}
                if (tmp_path / rater).exists()
                else set()
            )
            assert told <= {row["item"] for row in store.history() if row["rater"] == rater}
    history = store.history()
    assert len(history) == 3 * 40 == len({(row["rater"], row["item"]) for row in history})
    assert {row["revision"] for row in history} == {1}
    with sqlite3.connect(store.path) as base:
        assert base.execute("pragma integrity_check").fetchone() == ("ok",)


STEP = st.tuples(
    st.sampled_from(["grade", "stale", "draft", "reopen"]),
    st.integers(1, 4),
    st.integers(0, 3),
    st.text(max_size=5),
)


@settings(
    max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(st.lists(STEP, max_size=8))
def test_any_sequence_of_steps_leaves_what_a_dictionary_would(tmp_path_factory, steps) -> None:
    store = small(tmp_path_factory.mktemp("any"), items=4)
    grades: dict[int, tuple[int, str, int]] = {}
    drafts: dict[int, str] = {}
    for kind, item, grade, text in steps:
        revision = grades.get(item, (0, "", 0))[2]
        if kind == "draft":
            store.draft("ann", item, text)
            drafts[item] = text
        elif kind == "reopen":
            store = Store(store.path)
        elif kind == "stale" and revision and grades[item][:2] != (grade, text):
            with pytest.raises(GradedMeanwhile):
                save(store, item, grade, text, after=revision - 1)
        else:
            same = grades.get(item, (None, "", 0))[:2] == (grade, text)
            assert save(store, item, grade, text, after=revision) == revision + (not same)
            grades[item] = (grade, text, revision + (not same))
            drafts.pop(item, None)
    for row in store.queue("ann"):
        grade, comment, revision = grades.get(row["item"], (None, "", 0))
        assert (row["grade"], row["revision"]) == (grade, revision)
        assert row["comment"] == drafts.get(row["item"], comment)
    assert len(store.history()) == sum(revision for *_, revision in grades.values())
