"""The desk over a real file, the door, and what the server is told; the served page itself is in
test_served.py.
"""

from __future__ import annotations

import html
import os
import socket
import sqlite3
import stat
from pathlib import Path

import pytest

from sportskills_lib.apps import serve_widget
from sportskills_lib.apps.rate import page, ratings_export
from sportskills_lib.apps.rate.store import now
from sportskills_lib.viewing import rating_widget


@pytest.fixture(autouse=True)
def no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rating_widget, "MIN_LOOK_S", 0.0)


def test_a_desk_saves_each_key_and_the_next_one_goes_on(make_store) -> None:
    store = make_store(learners=2)
    first = page.desk(store, "ann")
    assert first.learner.value.count("<video") == first.clip.value.count("<video") == 1
    first.keyboard.write("knees")
    first.keyboard.press("3")
    first.keyboard.press("0")
    graded = [(row["grade"], row["comment"]) for row in store.queue("ann")][:2]
    assert graded == [(3, "knees"), (0, "")]
    again = page.desk(store, "ann")
    assert again.session.place == 2 and again.session.done == 2


def test_what_is_said_over_a_clip_is_read_unless_the_study_is_wordless(make_store) -> None:
    said = page.desk(make_store(name="with-words", learners=2), "ann")
    words = said.session.item.narration
    assert words and html.escape(words) in said.clip.value
    assert said.session.scale == rating_widget.SCALE
    silent = make_store(name="wordless", learners=2, words=False)
    assert not any(row["narration"] for row in silent.latest())
    desk = page.desk(silent, "ann")
    assert 'class="said"' not in desk.clip.value
    assert desk.session.scale == rating_widget.WORDLESS_SCALE
    desk.keyboard.press("3")
    assert "ratings_wordless.csv" in ratings_export.export(silent)
    assert not (silent.path.parent / "ratings.csv").exists()


def test_a_study_of_an_earlier_version_is_wordless(make_store) -> None:
    store = make_store(learners=2, words=False)
    with sqlite3.connect(store.path) as base:
        base.execute("alter table items drop column narration")
        facts = base.execute("select json_remove(facts, '$.words') from study").fetchone()
        base.execute("update study set facts = ?", facts)
    again = page.desk(page.open_study("coaches"), "ann")
    assert (
        again.session.scale == rating_widget.WORDLESS_SCALE and again.session.item.narration == ""
    )


def test_practice_is_drawn_once_and_says_what_keeps_it(make_store) -> None:
    run = make_store(learners=2).study.run
    shown = page.practise(run, rankings="pools")
    assert "0 of " in shown.data and "<video controls" in shown.data
    drawn = page.open_study(f"{run}-practice").study
    assert (
        page.practise(run).data == shown.data and page.open_study(f"{run}-practice").study == drawn
    )
    assert "invalid study name" in page.practise("a.b").data


def test_two_windows_of_one_rater_do_not_double(make_store) -> None:
    store = make_store(learners=2)
    one, two = page.desk(store, "ann"), page.desk(store, "ann")
    one.keyboard.press("3")
    with pytest.raises(ValueError, match="3 in another window"):
        two.keyboard.press("0")
    assert "another window" in two.keyboard.error and "graded 3" in two.head.value
    two.keyboard.press("1")  # now it was seen
    assert [row["grade"] for row in store.history()] == [3, 1]


def test_nothing_that_reaches_the_browser_names_system_rank_or_source(make_store) -> None:
    store = make_store(learners=2)
    desk = page.desk(store, "ben")
    shown = "".join(str(part.value) for part in (desk.head, desk.learner, desk.clip))
    row = store.queue("ben")[0]
    for secret in (
        *store.study.systems,
        row["clip_id"],
        row["video_id"],
        row["take_uid"],
        row["learner_id"],
    ):
        assert secret not in shown


def test_films_are_made_before_the_page_opens(make_store) -> None:
    store = make_store(learners=2)
    films = page.StudyFilms(store.study.run)
    assert films.prepare(store.latest(), workers=0) == []
    gone = page.StudyFilms(store.study.run)
    gone.clips = {}
    lost = gone.prepare(store.latest(), workers=0)
    assert lost and all("missing" in line for line in lost)


def link_of(store, rater: str) -> str:
    """The query of the link that the rater was given."""
    return f"token=t&rater={rater}&key={page.key_of(store, rater)}"


@pytest.mark.parametrize(
    "query", ["", "rater=", "rater=%3Cscript%3Ealert(1)%3C/script%3E", "rater=../ann", "rater=zoe", "rater=ann",
              "rater=ann&key=%3Cb%3E", "rater=ann&key=é"]
)  # fmt: skip
def test_the_door_lets_in_whom_the_study_knows(
    make_store, monkeypatch: pytest.MonkeyPatch, query: str
) -> None:
    store = make_store(learners=2)
    monkeypatch.setenv("QUERY_STRING", f"token=t&{query}")
    shown = page.served("coaches").value
    assert "QUERY_STRING" not in os.environ
    assert "<script" not in shown and "open your personal link" in shown
    assert page.key_of(store, "ann") not in shown


def test_a_link_with_a_name_opens_the_desk(make_store, monkeypatch: pytest.MonkeyPatch) -> None:
    store = make_store(learners=2)
    monkeypatch.setenv("QUERY_STRING", link_of(store, "eve"))
    assert "sk-rater" in page.served("coaches")._dom_classes


def test_a_rater_cannot_grade_in_the_name_of_another(
    make_store, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = make_store(learners=2)
    monkeypatch.setenv("QUERY_STRING", link_of(store, "ann").replace("rater=ann", "rater=ben"))
    assert "open your personal link" in page.served("coaches").value
    token = serve_widget.token_of(store.path.parent / "token")
    assert page.key_of(store, "ben") not in (
        page.key_of(store, "ann"),
        serve_widget.key_of(token, "ben"),
    )
    assert store.history() == []


def test_what_keeps_the_door_shut_is_said(make_store, monkeypatch: pytest.MonkeyPatch) -> None:
    store = make_store(learners=2)
    monkeypatch.setenv("QUERY_STRING", link_of(store, "eve"))
    with monkeypatch.context() as broken:
        broken.setattr(type(store), "queue", lambda *_: store.path.with_name("gone").read_bytes())
        assert "FileNotFoundError" in page.served("coaches").value
    monkeypatch.setenv("QUERY_STRING", link_of(store, "eve"))
    assert "sk-rater" in page.served("coaches")._dom_classes


def test_a_notebook_shows_the_widget_and_a_headless_run_the_same_pairs(
    make_store, monkeypatch
) -> None:
    store = make_store(learners=2)
    monkeypatch.setenv("SPORTSKILLS_HEADLESS", "1")
    assert store.queue("ann")[0]["feedback"] in page.rate_here("coaches", "ann").data
    monkeypatch.delenv("SPORTSKILLS_HEADLESS")
    monkeypatch.setenv("JPY_SESSION_NAME", "x.ipynb")
    assert "sk-rater" in page.rate_here("coaches", "ann")._dom_classes


def test_a_token_is_its_owners_alone_and_outlives_a_restart(tmp_path: Path) -> None:
    made = serve_widget.token_of(tmp_path / "token")
    assert serve_widget.token_of(tmp_path / "token") == made and len(made) >= 32
    assert stat.S_IMODE((tmp_path / "token").stat().st_mode) == 0o600
    (tmp_path / "token").write_text("")
    with pytest.raises(ValueError, match="no valid token"):
        serve_widget.token_of(tmp_path / "token")


def test_the_server_listens_here_alone_and_serves_no_file(tmp_path: Path) -> None:
    told = serve_widget.settings(
        "127.0.0.1", 8866, "secret", serve_widget.write_page(tmp_path, "1", "x")
    )
    assert told["Voila"]["tornado_settings"]["allow_remote_access"] is False
    assert (
        told["VoilaConfiguration"]["file_allowlist"] == [r"(?!)"]
        and told["VoilaConfiguration"]["strip_sources"]
    )
    assert serve_widget.settings("192.0.2.7", 8866, "s", tmp_path / "x")["Voila"][
        "tornado_settings"
    ]["allow_remote_access"]
    with pytest.raises(ValueError, match="does not appear to be an IPv4 or IPv6 address"):
        serve_widget.is_loopback("evil.example")
    with pytest.raises(ValueError, match="'here' does not appear to be an IPv4"):
        serve_widget.check_port("here", 8866)


def test_a_port_that_is_taken_is_said_first() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        with pytest.raises(ValueError, match="not available"):
            serve_widget.check_port("127.0.0.1", taken.getsockname()[1])


def test_the_page_tells_its_address_to_nobody_else_and_its_own_form_works() -> None:
    assert (
        serve_widget.HEADERS["Referrer-Policy"] == "same-origin"
    )  # no-referrer makes the form's Origin null: refused
    assert "http" not in serve_widget.POLICY and "frame-ancestors 'none'" in serve_widget.POLICY


def test_links_quote_names() -> None:
    assert serve_widget.address("0.0.0.0", 1, "t") == f"http://{socket.gethostname()}:1/?token=t"
    assert (
        serve_widget.address("::1", 1, "t", rater="a&b=<c>")
        == "http://[::1]:1/?token=t&rater=a%26b%3D%3Cc%3E"
    )
    assert now().endswith("+00:00")
