"""Fetching with the real yt-dlp from a server on loopback, and YouTube's search with an answer
written by hand.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import polars as pl
import pytest
from lesson_server import DURATION_S, FAULTS, TEACHING, Site, serving, webvtt

from sportskills_lib.curation.captions.caption_reader import parse_captions
from sportskills_lib.curation.fetch import fetcher
from sportskills_lib.curation.fetch.fetch_ledger import STATUSES, FetchLedger
from sportskills_lib.curation.fetch.fetcher import (
    FetchItem,
    fetch,
    named_item,
    searched_items,
)
from sportskills_lib.curation.fetch.instruction_spans import cut_webvtt, find_instruction_spans
from sportskills_lib.curation.fetch.youtube import (
    Asker,
    FetchSettings,
    Refused,
    choose_track,
    status_of,
)
from sportskills_lib.curation.sentences import Sentence
from sportskills_lib.curation.sources import find_lessons
from sportskills_lib.curation.taxonomy import SearchTerm
from sportskills_lib.runs.errors import DiskFull, RunError, RunLocked
from sportskills_lib.tables import ID_PATTERN
from sportskills_lib.video import probe

HASTY = {
    "sleep_s": 0,
    "sleep_requests_s": 0,
    "sleep_subtitles_s": 0,
    "rate_bytes_s": 0,
    "back_off_s": 0.01,
}
EXPECTED = {
    "404": "gone", "403": "blocked", "429": "ok", "truncated": "truncated", "slow": "timed_out",
    "no_captions": "no_captions", "too_long": "too_long", "idle": "not_likely", "": "ok",
}  # fmt: skip


def hasty(**more) -> FetchSettings:
    values = {
        **HASTY,
        "timeout_s": 0.3,
        "attempts": 2,
        "extractors": ("generic",),
        "spans_below": 0.0,
        **more,
    }
    return FetchSettings(**values)


def fetched(
    folder: Path, items: list[FetchItem], settings: FetchSettings | None = None, **options
) -> dict[str, dict]:
    """The table's rows by video id or item, after a fetch into ``folder``."""
    store = FetchLedger(folder)
    with store.opened(), Asker(settings or hasty(), store.work) as asker:
        table = fetch(items, store, asker, report=lambda line: None, **options)
    return {row["video_id"] or row["item"]: row for row in table.to_dicts()}


@pytest.fixture(scope="module")
def site():
    with serving(Site({f"bad{kind}": kind for kind in FAULTS})) as running:
        yield running


def lesson(site: Site, name: str) -> FetchItem:
    return named_item(site.url(name), sport="handball", skill="jump shot")


# --------------------------------------------------------------------------------------- one by one


def test_every_fault_has_its_status_and_good_ones_become_lessons(
    site: Site, tmp_path: Path
) -> None:
    names = ["good", *(f"bad{kind}" for kind in FAULTS)]
    rows = fetched(tmp_path / "to", [lesson(site, name) for name in names])
    found = {row["url"].rsplit("/", 1)[1]: row for row in rows.values()}
    assert {name: row["status"] for name, row in found.items()} == {
        name: EXPECTED[name.removeprefix("bad") if name != "good" else ""] for name in names
    }
    assert found["bad404"]["detail"].endswith(
        "HTTP Error 404: Not Found (caused by <HTTPError 404: Not Found>)"
    )
    assert (
        found["badidle"]["sentences"],
        found["badidle"]["actionable"],
        found["badidle"]["files"],
    ) == (3, 0, [])
    good = found["good"]
    assert (good["captions"], good["sentences"], good["duration_s"]) == (
        "manual",
        len(TEACHING),
        DURATION_S,
    )
    lessons, dropped = find_lessons(tmp_path / "to")
    assert [(each.video_id, each.sport, each.skill, each.manual) for each in lessons] == [
        ("bad429", "handball", "jump shot", True), ("good", "handball", "jump shot", True),
    ]  # fmt: skip
    assert dropped == []
    assert (tmp_path / "to/good.mp4").read_bytes() == site.film
    assert probe(tmp_path / "to/good.mp4").duration_s == pytest.approx(DURATION_S, abs=0.2)


def test_no_film_is_asked_for_before_its_captions_are_judged(site: Site, tmp_path: Path) -> None:
    site.asked.clear()
    fetched(tmp_path, [lesson(site, name) for name in ("badidle", "badtoo_long", "badno_captions")])
    assert not [path for path in site.asked if path.startswith("/film")]
    assert [path for path in site.asked if path.startswith("/captions")] == [
        "/captions/badidle.vtt"
    ]
    assert sorted(path.name for path in (tmp_path / ".fetch/said").iterdir()) == [
        "badidle.en.vtt",
        "badidle.info.json",
    ]


def test_what_is_done_is_not_asked_again_unless_it_may_end_otherwise(
    site: Site, tmp_path: Path
) -> None:
    items = [lesson(site, name) for name in ("good", "bad404", "badtruncated")]
    first = fetched(tmp_path, items)
    site.asked.clear()
    assert fetched(tmp_path, items) == first
    assert not site.asked
    fetched(tmp_path, items, retry=True)
    assert {path.rsplit("/", 1)[1] for path in site.asked} == {
        "badtruncated",
        "badtruncated.mp4",
        "badtruncated.vtt",
    }


def test_the_archive_is_read_and_written(site: Site, tmp_path: Path) -> None:
    archive = tmp_path / "archive.txt"
    archive.write_text("generic old\n")
    rows = fetched(
        tmp_path / "to", [lesson(site, "good"), lesson(site, "old")], hasty(archive=archive)
    )
    assert sorted((row["url"][-4:], row["status"]) for row in rows.values()) == [
        ("/old", "archived"),
        ("good", "ok"),
    ]
    assert archive.read_text() == "generic old\ngeneric good\n"


def test_a_video_that_is_not_installed_is_not_in_the_archive(
    site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    archive = tmp_path / "archive.txt"
    monkeypatch.setattr(fetcher, "SUFFIXES", ())
    rows = fetched(tmp_path / "to", [lesson(site, "good")], hasty(archive=archive))
    assert [row["status"] for row in rows.values()] == ["no_format"]
    assert not archive.exists() or archive.read_text() == ""


def test_cookies_are_sent(site: Site, tmp_path: Path) -> None:
    jar = tmp_path / "cookies.txt"
    jar.write_text(
        "# Netscape HTTP Cookie File\n127.0.0.1\tFALSE\t/\tFALSE\t4102444800\tkey\tvalue\n"
    )
    with Asker(hasty(cookies=jar), tmp_path) as asker:
        assert [cookie.name for cookie in asker._ydl.cookiejar] == ["key"]


def test_two_addresses_of_one_id_are_one_lesson(site: Site, tmp_path: Path) -> None:
    items = [lesson(site, "good"), named_item(site.url("good.html"))]
    rows = fetched(tmp_path, items)
    assert len(rows) == 1
    table = pl.read_parquet(tmp_path / "fetch.parquet")
    assert sorted(table["status"].to_list()) == ["duplicate_id", "ok"]


@pytest.mark.parametrize("bad", ["../../etc/passwd", ".hidden", "a/b", "x" * 101, "", None, 7])
def test_an_unsafe_id_never_becomes_a_path(
    bad, site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    honest = Asker.metadata
    monkeypatch.setattr(Asker, "metadata", lambda self, url: honest(self, url) | {"id": bad})
    assert [row["status"] for row in fetched(tmp_path, [lesson(site, "good")]).values()] == [
        "bad_id"
    ]
    assert {path.name for path in tmp_path.iterdir()} == {".fetch", "fetch.parquet"}


def test_a_server_that_refuses_time_after_time_stops_the_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(self, url: str) -> dict:
        raise Refused("bot_check", "Sign in to confirm you’re not a bot")

    monkeypatch.setattr(Asker, "metadata", refuse)
    items = [named_item(f"http://127.0.0.1:9/{i}") for i in range(9)]
    with pytest.raises(RunError, match=r"5 items in a row were refused .*--retry"):
        fetched(tmp_path, items)
    assert pl.read_parquet(tmp_path / "fetch.parquet").height == 5


def test_pauses_grow_and_follow_the_server(monkeypatch: pytest.MonkeyPatch) -> None:
    pauses: list[float] = []
    waits = iter([0.0, 300.0, 0.0])
    monkeypatch.setattr("time.sleep", pauses.append)

    def ask() -> None:
        raise Refused("rate_limited", "HTTP Error 429", next(waits))

    with pytest.raises(Refused):
        fetcher._tried(ask, FetchSettings(attempts=3, back_off_s=10))
    assert pauses == [10, 300]


def test_a_full_disk_stops_the_run(
    site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    store = FetchLedger(tmp_path)
    with (
        pytest.raises(DiskFull, match="the disk is full"),
        store.opened(),
        Asker(hasty(), store.work) as asker,
    ):
        monkeypatch.setattr(asker._ydl, "process_ie_result", full)
        monkeypatch.setattr(asker._ydl, "dl", full)
        fetch([lesson(site, "good")], store, asker, report=lambda line: None)
    assert store.records() == []


def test_one_fetch_at_a_time(tmp_path: Path) -> None:
    store = FetchLedger(tmp_path)
    with (
        store.opened(),
        pytest.raises(RunLocked, match="another process fetches into"),
        store.opened(),
    ):
        pass


def test_a_damaged_record_is_made_again(site: Site, tmp_path: Path) -> None:
    item = lesson(site, "good")
    first = fetched(tmp_path, [item])
    (tmp_path / f".fetch/done/{item.name}.json").write_text('{"item": ')
    assert fetched(tmp_path, [item]) == first


@pytest.mark.parametrize(
    ("text", "name", "url"),
    [
        ("dQw4w9WgXcQ", "yt_dQw4w9WgXcQ", "https://www.youtube.com/watch?v=dQw4w9WgXcQ"),
        ("-Qw4w9WgX_Q", "yt_-Qw4w9WgX_Q", "https://www.youtube.com/watch?v=-Qw4w9WgX_Q"),
        (
            "https://youtu.be/dQw4w9WgXcQ?t=3",
            "yt_dQw4w9WgXcQ",
            "https://www.youtube.com/watch?v=dQw4w9WgXcQ",
        ),
        ("https://m.youtube.com/watch?a=b&v=dQw4w9WgXcQ", "yt_dQw4w9WgXcQ", None),
        ("m.youtube.com/watch?v=dQw4w9WgXcQ&list=PLx", "yt_dQw4w9WgXcQ", None),
        ("https://www.youtube.com/live/dQw4w9WgXcQ?feature=share", "yt_dQw4w9WgXcQ", None),
        ("youtube.com/shorts/dQw4w9WgXcQ", "yt_dQw4w9WgXcQ", None),
        ("youtu.be/dQw4w9WgXcQ", "yt_dQw4w9WgXcQ", None),
        ("https://www.youtube-nocookie.com/embed/dQw4w9WgXcQ", "yt_dQw4w9WgXcQ", None),
        ("http://127.0.0.1/?u=youtube.com/watch?v=dQw4w9WgXcQ", "page_bce649fa14", None),
    ],
)
def test_youtube_ids_are_found_in_addresses(text: str, name: str, url: str | None) -> None:
    assert named_item(text).name == name
    assert url in (None, named_item(text).url)


@pytest.mark.parametrize(
    "text", ["", "../x", "file:///etc/passwd", "javascript:1", "short", "ytsearch5:judo"]
)
def test_what_is_no_address_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="neither a YouTube id nor an http address"):
        named_item(text)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "https://www.youtube.com/playlist?list=PLx",
            "does not name one YouTube video: .*--flat-playlist .* --from-file ids.txt",
        ),
        ("youtube.com/@coach/videos", "does not name one YouTube video"),
        ("https://youtu.be/short", "does not name one YouTube video"),
        ("https://www.youtube.com/", "does not name one YouTube video"),
        ("https://www.YouTube.com/@coach", "does not name one YouTube video"),
        ("https://youtu.be/dQw4w9WgXcQx", "does not name one YouTube video"),
        ("youtube.com/watch?v=dQw4w9WgXcQ-2&t=3", "does not name one YouTube video"),
    ],
)
def test_an_address_of_no_one_video_says_so(text: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        named_item(text)


def test_names_of_hostile_addresses_are_safe() -> None:
    name = named_item("http://127.0.0.1/../../%2e%2e/a%20b$(x);.mp4?x=/../y").name
    assert "/" not in name and not name.startswith(".")
    assert re.fullmatch(ID_PATTERN, name)


# ----------------------------------------------------------------------------------- yt-dlp's words


@pytest.mark.parametrize(
    ("text", "status"),
    [
        ("ERROR: [youtube] x: Video unavailable", "gone"),
        ("[youtube] x: Video unavailable. This video has been removed by the uploader", "gone"),
        ("[youtube] x: This video is no longer available because the YouTube account associated with this video has "
         "been terminated.", "gone"),
        ("[youtube:truncated_id] abc: Incomplete YouTube ID abc. URL looks truncated.", "gone"),
        ("Unable to download webpage: HTTP Error 404: Not Found (caused by <HTTPError 404: Not Found>)", "gone"),
        ("HTTP Error 410: Gone", "gone"),
        ("[youtube] x: Private video. Sign in if you've been granted access to this video", "private"),
        ("[youtube] x: Sign in to confirm you’re not a bot. Use --cookies-from-browser or --cookies", "bot_check"),
        ("[youtube] x: Sign in to confirm your age. This video may be inappropriate for some users.", "age_restricted"),
        ("[youtube] x: Join this channel to get access to members-only content like this video", "members_only"),
        ("[youtube] x: This video requires payment to watch.", "members_only"),
        ("Video unavailable. The uploader has not made this video available in your country", "geo_blocked"),
        ("Video unavailable. This video contains content from X, who has blocked it on copyright grounds", "blocked"),
        ("unable to download video data: HTTP Error 403: Forbidden", "blocked"),
        ("Unable to download video subtitles for 'en': HTTP Error 429: Too Many Requests", "rate_limited"),
        ("This content isn't available, try again later. The current session has been rate-limited by YouTube for up "
         "to an hour.", "rate_limited"),
        ("[youtube] x: Premieres in 3 hours", "live"),
        ("[youtube] x: This live event will begin in a few moments.", "live"),
        ("[x] y: This video is DRM protected", "drm"),
        ("[youtube] x: Requested format is not available. Use --list-formats", "no_format"),
        ("[generic] x: No video formats found!; please report this issue", "no_format"),
        ("Unsupported URL: http://x/", "unsupported"),
        ("[generic] Unable to download webpage: The read operation timed out", "timed_out"),
        ("HTTPConnectionPool(host='127.0.0.1', port=1): Read timed out. (read timeout=0.3)", "timed_out"),
        ("\x1b[0;31mERROR:\x1b[0m 5 bytes read, 7 more expected", "truncated"),
        ("Did not get any data blocks", "truncated"),
        ("HTTP Error 503: Service Unavailable", "failed"),
        ("<urlopen error [Errno 111] Connection refused>", "failed"),
        ("", "failed"),
    ],
)  # fmt: skip
def test_words_of_ytdlp_become_statuses(text: str, status: str) -> None:
    assert status_of(text)[0] == status
    assert status in STATUSES


def test_details_do_not_tell_how_far_a_broken_download_came() -> None:
    assert status_of("5 bytes read, 7 more expected") == status_of("12 bytes read, 0 more expected")


# ----------------------------------------------------------------------------------------- captions


def test_a_persons_captions_come_first_and_translations_are_refused() -> None:
    vtt = [{"ext": "json3"}, {"ext": "vtt", "url": "u"}]
    both = {
        "subtitles": {"en-GB": vtt, "live_chat": vtt},
        "automatic_captions": {"en": vtt, "en-orig": vtt},
    }
    assert choose_track(both, "en")[::2] == ("en-GB", True)
    assert choose_track(both | {"subtitles": {}}, "en")[::2] == ("en", False)
    named = {"subtitles": {"en-eEY6OEpapPo": vtt}}
    assert choose_track(named, "en")[::2] == ("en-eEY6OEpapPo", True)
    with pytest.raises(Refused, match=r"offered: en-\.\./x"):
        choose_track({"subtitles": {"en-../x": vtt}}, "en")
    spanish = {"automatic_captions": {"es-orig": vtt, "es": vtt, "en": vtt}}
    with pytest.raises(Refused, match="offered: en, es, es-orig"):
        choose_track(spanish, "en")
    with pytest.raises(Refused, match="offered: en"):
        choose_track({"subtitles": {"en": [{"ext": "ttml"}]}, "automatic_captions": None}, "en")


def test_spans_hold_instruction_and_do_not_touch() -> None:
    said = [Sentence(at, at + 2, "x") for at in (1.0, 20.0, 26.0, 100.0)]
    assert find_instruction_spans(said, [True, False, None, True], duration_s=105) == [
        (0.0, 11.0),
        (22.0, 36.0),
        (96.0, 105),
    ]
    assert find_instruction_spans(said, [True, True, True, True], duration_s=105) == [
        (0.0, 36.0),
        (96.0, 105),
    ]
    assert find_instruction_spans(said, [False] * 4, duration_s=105) == []


def test_captions_are_cut_on_the_spans_clock() -> None:
    text = (
        "WEBVTT\n\n00:00:01.000 --> 00:00:02.000 align:start\nbefore\n\n00:00:09.000 --> "
        "00:00:12.000\n"
        "turn<00:00:11.500><c> hips</c>\n\n1\n00:00:19.000 --> 00:00:24.000\nlast words\n\n"
        "00:30.000 --> 00:31.000\nno\n"
    )
    cut = parse_captions(cut_webvtt(text, 10.0, 20.0), duration_s=10.0)
    assert [word.text for word in cut.words] == ["turn", "hips", "last", "words"]
    assert (cut.words[0].start_s, cut.words[1].start_s, cut.words[2].start_s) == (0.0, 1.5, 9.0)
    assert cut.words[-1].end_s <= 10.0
    assert parse_captions(cut_webvtt(webvtt(TEACHING), 0, 24)) == parse_captions(webvtt(TEACHING))


# ------------------------------------------------------------------------------------------- search


def renderer(video_id: str, title: str, length: str | None = "4:05") -> dict:
    """A search result in the shape that YouTube's own pages get; written by hand."""
    shown = {"lengthText": {"simpleText": length}} if length else {}
    return {"videoRenderer": {"videoId": video_id, "title": {"runs": [{"text": title}]}} | shown}


@pytest.fixture
def found(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """YouTube's search answers with three videos; the list holds what was searched for."""
    from yt_dlp.extractor.youtube import YoutubeSearchIE

    asked: list[str] = []

    def answer(self, *, query: dict, **_: object) -> dict:
        asked.append(query["query"])
        results = [
            renderer("aaaaaaaaaaa", "One"),
            renderer("bbbbbbbbbbb", "Two", "1:10:00"),
            renderer("ccccccccccc", "3"),
        ]
        section = {"itemSectionRenderer": {"contents": results}}
        primary = {"sectionListRenderer": {"contents": [section]}}
        return {"contents": {"twoColumnSearchResultsRenderer": {"primaryContents": primary}}}

    monkeypatch.setattr(YoutubeSearchIE, "_download_ytcfg", lambda *_: {})
    monkeypatch.setattr(YoutubeSearchIE, "_extract_response", answer)
    return asked


def test_a_search_gives_each_video_once_and_is_not_repeated(
    found: list[str], tmp_path: Path
) -> None:
    terms = [
        SearchTerm("judo hip throw drills", "judo", "hip throw"),
        SearchTerm("judo o goshi", "judo", "hip throw"),
    ]
    store = FetchLedger(tmp_path)
    for _ in range(2):
        with store.opened(), Asker(hasty(extractors=("default",)), store.work) as asker:
            items, lost = searched_items(terms, store, asker, each=2)
    assert (found, lost) == (["judo hip throw drills", "judo o goshi"], {})
    assert [(item.name, item.duration_s, item.search_term) for item in items] == [
        ("yt_aaaaaaaaaaa", 245, "judo hip throw drills"),
        ("yt_bbbbbbbbbbb", 4200, ("judo hip throw drills")),
    ]


def test_what_a_search_shows_to_be_too_long_costs_no_request(
    found: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def never(self, url: str) -> dict:
        assert "aaaaaaaaaaa" in url
        raise Refused("gone", "Video unavailable")

    monkeypatch.setattr(Asker, "metadata", never)
    store = FetchLedger(tmp_path)
    with store.opened(), Asker(hasty(extractors=("default",)), store.work) as asker:
        items, _ = searched_items([SearchTerm("judo", "judo", "hip throw")], store, asker, each=2)
        table = fetch(items, store, asker, report=lambda line: None)
    assert table["status"].to_list() == ["gone", "too_long"]


def test_a_search_that_fails_costs_no_other(
    found: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    honest = Asker.search

    def search(self, term: str, most: int) -> list[dict]:
        if term.startswith("bad"):
            raise Refused("bot_check", "Sign in to confirm you’re not a bot")
        return honest(self, term, most)

    monkeypatch.setattr(Asker, "search", search)
    store = FetchLedger(tmp_path)
    with (
        store.opened(),
        Asker(hasty(extractors=("default",), most_refusals=2), store.work) as asker,
    ):
        terms = [
            SearchTerm(name, "judo", "hip throw")
            for name in ("bad 1", "good 1", "bad 2", "bad 3", "good 2")
        ]
        items, lost = searched_items(terms, store, asker, each=2)
    assert [item.search_term for item in items] == ["good 1", "good 1"]
    assert list(lost) == ["bad 1", "bad 2", "bad 3", "good 2"]
    assert lost["bad 1"].startswith("bot_check: Sign in") and lost["good 2"].startswith("not asked")


# -------------------------------------------------------------------------------------------- kills


def files_of(folder: Path) -> dict[str, str]:
    """Digest of every file that 01 reads, by name."""
    return {
        path.name: hashlib.sha256(path.read_bytes()).hexdigest()
        for path in folder.iterdir()
        if path.is_file()
    }


def command(site: Site, names: list[str], folder: Path) -> list[str]:
    folder.mkdir(parents=True, exist_ok=True)
    listed = folder.parent / "names.txt"
    listed.write_text("".join(f"{site.url(name)}\thandball\tjump shot\n" for name in names))
    flags = [
        word
        for name, value in HASTY.items()
        for word in (f"--{name.replace('_', '-')}", str(value))
    ]
    return [
        *(
            sys.executable,
            "-m",
            "sportskills_lib.cli",
            "fetch",
            "--from-file",
            str(listed),
            "--to",
            str(folder),
        ),
        *("--extractor", "generic", "--attempts", "2", "--timeout-s", "2", *flags),
    ]


def killed(words: list[str], site: Site, path: str) -> None:
    """Run the command until half of ``path`` has been sent to it, and kill it there."""
    site.hold = path
    site.held.clear()
    process = subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    try:
        asked = site.held.wait(timeout=90)
    finally:
        process.kill()
        said = process.communicate()[1].decode()
    assert asked and process.returncode == -signal.SIGKILL, f"{path} was never asked for\n{said}"
    site.hold = ""


def run(words: list[str]) -> None:
    """Let the command end."""
    subprocess.run(words, check=True, stdout=subprocess.DEVNULL, timeout=240)


LONG = pytest.mark.skipif(
    os.environ.get("SPORTSKILLS_SLOW") != "1", reason="set SPORTSKILLS_SLOW=1: a minute or more"
)


@pytest.mark.parametrize("count", [24, pytest.param(200, marks=[pytest.mark.slow, LONG])])
def test_a_fetch_killed_twice_ends_like_an_undisturbed_one(count: int, tmp_path: Path) -> None:
    names = [f"lesson{i:03d}" for i in range(count)]
    faults = {name: FAULTS[(i // 5) % len(FAULTS)] for i, name in enumerate(names) if i % 5 == 2}
    assert len(faults) == pytest.approx(count / 5, abs=1)
    with serving(Site(faults)) as site:
        run(command(site, names, tmp_path / "a/to"))
        site.asked.clear()
        words, done = command(site, names, tmp_path / "b/to"), tmp_path / "b/to/.fetch/done"
        for at, path in ((count // 4, "/film/{}.mp4"), (count // 2 + 1, "/captions/{}.vtt")):
            assert names[at] not in faults
            killed(words, site, path.format(names[at]))
            assert (
                len(list(done.glob("*.json"))) == at
            )  # what came before is done, and nothing else
        run(words)
        asked = sum(path.startswith("/watch") for path in site.asked.elements())
    table = pl.read_parquet(tmp_path / "b/to/fetch.parquet")
    assert table.equals(pl.read_parquet(tmp_path / "a/to/fetch.parquet"))
    assert files_of(tmp_path / "b/to") == files_of(tmp_path / "a/to")
    expected = {name: EXPECTED[faults.get(name, "")] for name in names}
    assert {row["url"].rsplit("/", 1)[1]: row["status"] for row in table.to_dicts()} == expected
    assert list((tmp_path / "b/to/.fetch/work").iterdir()) == []
    again = sum(status == "timed_out" or status == "truncated" for status in expected.values())
    assert (
        asked <= count + again + sum(fault == "429" for fault in faults.values()) + 2
    )  # at most one item a kill
    assert (
        json.loads((tmp_path / "b/to/lesson000.info.json").read_text())["sportskills"]["sport"]
        == "handball"
    )
