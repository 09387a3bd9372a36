"""Fetching only the wanted spans: with a system's ffmpeg the cut itself, without it everything up
to the call.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from lesson_server import IDLE, STEP_S, TEACHING, Site, serving

from sportskills_lib import video
from sportskills_lib.curation.captions.caption_reader import read_captions
from sportskills_lib.curation.fetch.fetch_ledger import FetchLedger
from sportskills_lib.curation.fetch.fetcher import WHOLE, fetch, named_item
from sportskills_lib.curation.fetch.youtube import Asker, FetchSettings
from sportskills_lib.curation.sentences import Sentence, build_sentences
from sportskills_lib.curation.sources import Lesson, find_lessons

EVERY_S, DURATION_S, FPS = 3.07, 86.0, 10  # sentences begin between frames
SAID = [*IDLE * 3, *TEACHING[:2], *IDLE * 3, TEACHING[2], *IDLE * 3]
NAMES = ["long_023630-041270.mp4", "long_057400-071970.mp4"]
needs_ffmpeg = pytest.mark.skipif(
    shutil.which("ffmpeg") is None, reason="FFMPEG MISSING: apt-get install ffmpeg"
)


@pytest.fixture(scope="module")
def site():
    with serving(Site({}, said=SAID, every_s=EVERY_S, duration_s=DURATION_S)) as running:
        yield running


@pytest.fixture(autouse=True)
def _unknown(monkeypatch: pytest.MonkeyPatch) -> None:
    """yt-dlp remembers for its process whether there is an ffmpeg."""
    from yt_dlp.postprocessor.ffmpeg import FFmpegPostProcessor

    monkeypatch.setattr(FFmpegPostProcessor, "_version_cache", {None: None})
    monkeypatch.setattr(FFmpegPostProcessor, "_features_cache", {})


def fetched(site: Site, folder: Path, **more: float) -> dict[str, Any]:
    """The record of one lesson, fetched into ``folder``."""
    quick = {
        "sleep_s": 0,
        "sleep_requests_s": 0,
        "sleep_subtitles_s": 0,
        "rate_bytes_s": 0,
        "back_off_s": 0.01,
    }
    settings = FetchSettings(
        **{**quick, "timeout_s": 20, "attempts": 1, "extractors": ("generic",), **more}
    )
    item, store = (
        named_item(site.url("long"), sport="handball", skill="jump shot"),
        FetchLedger(folder),
    )
    with store.opened(), Asker(settings, store.work) as asker:
        return fetch([item], store, asker, report=lambda line: None).row(0, named=True)


def sentences_of(lesson: Lesson) -> list[Sentence]:
    assert lesson.captions
    words = read_captions(lesson.captions, duration_s=lesson.duration_s).words
    return build_sentences(words, max_gap_s=1.0)


def noted(lesson: Lesson) -> tuple[float, float]:
    """Where on the whole video's clock the file's pictures begin, and where they were to end."""
    said = json.loads(lesson.path.with_suffix(".info.json").read_text())["sportskills"]
    assert said["source_id"] == "long"
    return said["start_s"], said["end_s"]


def changes_s(lesson: Lesson) -> np.ndarray:
    """When the film's grey changes, on the whole video's clock, if the note is right."""
    info = video.probe(lesson.path)
    greys = video.read_frames(info, info.times_s, 32).mean(axis=(1, 2, 3))
    return noted(lesson)[0] + info.times_s[1:][np.abs(np.diff(greys)) > 2]


@needs_ffmpeg
def test_only_wanted_spans_come_and_words_still_meet_their_pictures(
    site: Site, tmp_path: Path
) -> None:
    record = fetched(site, tmp_path)
    assert (record["status"], record["detail"], record["files"]) == ("ok", "", NAMES)
    lessons, dropped = find_lessons(tmp_path)
    assert [each.path.name for each in lessons] == NAMES
    assert dropped == []
    instructed = []
    for lesson in lessons:
        start_s, end_s = noted(lesson)
        info = video.probe(lesson.path)
        assert info.duration_s == pytest.approx(end_s - start_s, abs=2 / FPS)
        assert lesson.duration_s == pytest.approx(end_s - start_s, abs=1e-3)
        changes = changes_s(lesson)  # the pictures of the file, where 02 looks for them
        assert len(changes) == int(end_s / STEP_S) - int(start_s / STEP_S)
        assert np.abs(changes - STEP_S * np.round(changes / STEP_S)).max() <= 0.5 / FPS + 1e-3
        for said in sentences_of(lesson):  # and the words, as 01 times them
            place = round((start_s + said.end_s + 0.5) / EVERY_S) - 1
            if said.text in TEACHING:
                instructed.append(said.text)
                assert start_s + said.start_s == pytest.approx(place * EVERY_S, abs=2e-3)
                assert said.text == SAID[place]
    assert instructed == list(TEACHING[:3])
    assert list((tmp_path / ".fetch/work").iterdir()) == []


@needs_ffmpeg
def test_a_video_that_is_mostly_wanted_comes_whole(site: Site, tmp_path: Path) -> None:
    record = fetched(site, tmp_path, spans_below=0.3)
    assert (record["status"], record["detail"], record["files"]) == ("ok", "", ["long.mp4"])
    assert (tmp_path / "long.mp4").read_bytes() == site.film


def test_without_ffmpeg_the_whole_video_comes_and_the_table_says_so(
    site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    record = fetched(site, tmp_path / "to")
    assert (record["status"], record["detail"], record["files"]) == ("ok", WHOLE, ["long.mp4"])
    assert record["wanted_s"] < 0.6 * record["duration_s"]
    assert (tmp_path / "to/long.mp4").read_bytes() == site.film
    lesson = find_lessons(tmp_path / "to")[0][0]
    assert [
        said.start_s for said in sentences_of(lesson) if said.text in TEACHING
    ] == pytest.approx([9 * EVERY_S, 10 * EVERY_S, 20 * EVERY_S], abs=1e-3)


def stand_in(folder: Path, *, ends: str) -> Path:
    """A program named ffmpeg, which notes its arguments and then ``ends``; ``$out`` is the file to
    write.
    """
    folder.mkdir()
    program = folder / "ffmpeg"
    program.write_text(
        '#!/bin/sh\nif [ "$1" = -bsfs ]; then echo "ffmpeg version 5.1"; exit 0; fi\n'
        f'for out; do printf "%s\\n" "$out" >> {folder}/asked; '
        f'done\nout="${{out#file:}}"\n{ends}\n'
    )
    program.chmod(0o755)
    return folder / "asked"


def test_what_ffmpeg_is_asked_for(
    site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    film = tmp_path / "film.mp4"
    film.write_bytes(site.film)
    asked = stand_in(tmp_path / "bin", ends=f'/bin/cp {film} "$out"')
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    record = fetched(site, tmp_path / "to")
    assert (record["status"], record["files"]) == ("ok", NAMES)
    words = asked.read_text().splitlines()
    after = [
        words[place + 1]
        for place, word in enumerate(words)
        if word in ("-ss", "-t", "-rw_timeout", "-i")
    ]
    url = f"{site.address}/film/long.mp4"
    assert [float(word) if word != url else word for word in after] == pytest.approx(
        [23.63, 17.64, 20e6, url, 57.4, 14.57, 20e6, url]
    )
    assert "copy" not in words  # encoded anew, so that the file begins where it was asked to
    texts = [
        [said.text for said in sentences_of(each) if said.text in TEACHING]
        for each in find_lessons(tmp_path / "to")[0]
    ]
    assert texts == [list(TEACHING[:2]), [TEACHING[2]]]


@pytest.mark.parametrize(
    ("ends", "status"),
    [
        ("exit 1", "failed"),
        ('echo no film > "$out"', "truncated"),
        ('/bin/cat < /dev/null > "$out"', "truncated"),
    ],
)
def test_an_ffmpeg_that_fails_leaves_no_lesson(
    ends: str, status: str, site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stand_in(tmp_path / "bin", ends=ends)
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    record = fetched(site, tmp_path / "to")
    assert (record["status"], record["files"]) == (status, [])
    assert {path.name for path in (tmp_path / "to").iterdir()} == {".fetch", "fetch.parquet"}
