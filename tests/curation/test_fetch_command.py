"""``sportskills fetch``: what wrong use and failed searches print, and with which exit code."""

from __future__ import annotations

import errno
import sys
from pathlib import Path

import pytest

from sportskills_lib import cli
from sportskills_lib.curation.fetch.fetch_ledger import FetchLedger
from sportskills_lib.curation.fetch.youtube import Asker, Refused


def ended(words: list[object], monkeypatch: pytest.MonkeyPatch) -> int:
    """The exit code of `sportskills fetch …`; an exception that would be a traceback goes
    through.
    """
    monkeypatch.setattr(sys, "argv", ["sportskills", "fetch", *map(str, words)])
    with pytest.raises(SystemExit) as stop:
        cli.main()
    return int(stop.value.code or 0)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--archive", "{folder}"], "--archive {folder} can be no file"),
        (["--archive", "{folder}/none/x.txt"], "--archive {folder}/none/x.txt can be no file"),
        (["--archive", "{folder}/odd.bin"], "correct --cookies, --cookies-from-browser, --archive"),
        (
            ["--to", "{folder}/file.txt/below"],
            "--to {folder}/file.txt/below cannot be written (Not a directory)",
        ),
        (["--to", "{folder}/file.txt"], "--to {folder}/file.txt cannot be written"),
        (
            ["--cookies", "{folder}/none.txt"],
            "--cookies {folder}/none.txt is not a file",
        ),
        (["--cookies", "{folder}/file.txt"], "does not look like a Netscape format cookies file"),
        (["--cookies-from-browser", "lynx"], 'unsupported browser: "lynx"'),
        (["--extractor", "("], "Wrong regex for allowed_extractors"),
        (["--language", "../x"], "--language '../x' is not a language code: name one such as en"),
        (
            ["https://vimeo.com/1"],
            "https://vimeo.com/1 is not a YouTube address: name yt-dlp's extractor",
        ),
        (["https://youtube.com.example.org/watch?v=dQw4w9WgXcQ"], "is not a YouTube address"),
    ],
)
def test_wrong_use_is_one_line(
    words: list[str],
    message: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    (tmp_path / "file.txt").write_text("no cookies\n")
    (tmp_path / "odd.bin").write_bytes(b"\xff\xfe\x00\n")
    given = [
        "dQw4w9WgXcQ",
        "--to",
        tmp_path / "to",
        *(word.format(folder=tmp_path) for word in words),
    ]
    assert ended(given, monkeypatch) == 2
    last = capsys.readouterr().err.strip().splitlines()[-1]
    assert message.format(folder=tmp_path) in last


def test_a_failed_search_is_said_and_ends_with_1(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def search(self: Asker, term: str, most: int) -> list[dict]:
        if term == "judo throw":
            raise Refused("blocked", "HTTP Error 403: Forbidden")
        return [{"id": "dQw4w9WgXcQ", "duration": 1e6}]

    monkeypatch.setattr(Asker, "search", search)
    words = ["--term", "judo throw", "--term", "golf putt", "--to", tmp_path]
    assert ended(words, monkeypatch) == 1
    out, err = capsys.readouterr()
    assert "too_long 1" in out  # the other search went on
    assert "search 'judo throw' failed: blocked: HTTP Error 403" in err
    assert (
        err.strip()
        .splitlines()[-1]
        .startswith("FAILED 1 of 2 searches (blocked: HTTP Error 403: Forbidden): run")
    )


def test_a_full_disk_ends_with_4(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Asker, "search", lambda *_: [])
    monkeypatch.setattr(FetchLedger, "keep_search", full)
    assert ended(["--term", "judo throw", "--to", tmp_path], monkeypatch) == 4
    assert "Make room and run the same command again" in capsys.readouterr().err
