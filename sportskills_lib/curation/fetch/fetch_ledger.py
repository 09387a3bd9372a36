"""What a fetch keeps on disk, so that a kill at any moment costs at most the id that was under way.

    <folder>/<id>.mp4  <id>.info.json  <id>.<language>.vtt      lessons, as 01 reads them
    <folder>/fetch.parquet                                      one row an item, made again from the
    records
    <folder>/.fetch/done/<item>.json                            one record an item, on disk before
    the next item begins
    <folder>/.fetch/searches/<digest>.json                      what each search found
    <folder>/.fetch/work/                                       the item that is under way
    <folder>/.fetch/said/                                       captions of videos that were not
    asked for

Every file is written under a temporary name, synced and renamed. 01 looks into no folder whose name
begins with a dot.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import dataframely as dy
import polars as pl
from filelock import FileLock, Timeout

from sportskills_lib.formats.files import write_whole
from sportskills_lib.runs.errors import RunLocked, full_disk_named, is_full_disk
from sportskills_lib.tables import ID_PATTERN

TABLE = "fetch.parquet"
# Ended for good. What a chat of strangers, an uploader or a country decides is not asked for again.
FINAL = {
    "ok": "the video and its captions are in the folder",
    "not_likely": (
        "captions hold too little instruction, so the video was not asked for; they are kept"
    ),
    "no_captions": "no captions in the language that is wanted",
    "foreign_language": "spoken in another language",
    "too_long": "longer than wanted",
    "live": "a live stream, or one that is still to come",
    "archived": "the archive file names it",
    "duplicate_id": "another item of this fetch had this id",
    "bad_id": "its id is not safe as a file name",
    "gone": "deleted, made unavailable, or never there",
    "private": "only its owner's guests may see it",
    "members_only": "only paying members may see it",
    "age_restricted": "wants a login that proves an age",
    "geo_blocked": "not shown in this country",
    "drm": "encrypted",
    "no_format": "offers no file of the size and kind that is wanted",
    "unsupported": "no page that yt-dlp can read, or a whole list of videos",
}
# Perhaps otherwise at another time: tried again in the run, and by `sportskills fetch --retry`.
TRANSIENT = {
    "rate_limited": "the server says: too many requests",
    "timed_out": "the server was too slow",
    "truncated": "the server sent less than it announced",
    "failed": "anything else; the detail has yt-dlp's words",
}
# Wants a person: cookies, another address, or a day's wait. Not tried again in the run, but by
# --retry.
BLOCKED = {
    "blocked": "the server forbids it (403)",
    "bot_check": "the server wants proof that no robot asks",
}
STATUSES = tuple(FINAL | TRANSIENT | BLOCKED)
ASKED_TOO_MUCH = ("rate_limited", "bot_check")


Record = dict[str, Any]  # a row of FetchTable, filled while its item is worked on


class FetchTable(dy.Schema):
    """One item of a fetch and how it ended. Counts are of what its captions say; null: it did not
    come to that.
    """

    item = dy.String(nullable=False, primary_key=True, regex=ID_PATTERN)
    url = dy.String(nullable=False)
    video_id = dy.String(nullable=True)
    status = dy.Enum(STATUSES, nullable=False)
    detail = dy.String(nullable=False)
    sport = dy.String(nullable=True)
    skill = dy.String(nullable=True)
    search_term = dy.String(nullable=True)
    title = dy.String(nullable=True)
    channel = dy.String(nullable=True)
    duration_s = dy.Float64(nullable=True)
    captions = dy.Enum(["manual", "automatic"], nullable=True)
    sentences = dy.Int64(nullable=True)
    actionable = dy.Int64(nullable=True)
    wanted_s = dy.Float64(nullable=True)  # length of the spans that were wanted
    files = dy.List(
        dy.String(nullable=False), nullable=False
    )  # video files, relative to the folder


@dataclass(frozen=True)
class FetchLedger:
    """The folder of a fetch."""

    folder: Path

    @property
    def hidden(self) -> Path:
        """Where the fetch keeps what 01 does not read."""
        return self.folder / ".fetch"

    @property
    def work(self) -> Path:
        """Files of the item that is under way."""
        return self.hidden / "work"

    @contextmanager
    def opened(self) -> Iterator[None]:
        """The folders, made where they are missing, and held against other processes. ValueError:
        not to be written.
        """
        lock = FileLock(self.hidden / "lock")
        with full_disk_named(self.folder):
            try:
                for name in ("done", "searches", "work", "said"):
                    (self.hidden / name).mkdir(parents=True, exist_ok=True)
                lock.acquire(timeout=0)
            except Timeout:
                raise RunLocked(
                    f"another process fetches into {self.folder}: wait for it, or name another --to"
                ) from None
            except OSError as error:
                if is_full_disk(error):
                    raise
                raise ValueError(
                    f"--to {self.folder} cannot be written ({error.strerror}): name another folder"
                ) from None
            try:
                yield
            finally:
                lock.release()

    def record(self, item: str) -> Record | None:
        """The item's record, or None when it is not done (or its file is damaged: then it is done
        again).
        """
        record = _read_json(self.hidden / "done" / f"{item}.json")
        whole = record.keys() == set(FetchTable.column_names()) and record["item"] == item
        return record if whole and record["status"] in STATUSES else None

    def records(self) -> list[Record]:
        """All records, by item."""
        names = sorted(path.stem for path in (self.hidden / "done").glob("*.json"))
        return [record for name in names if (record := self.record(name))]

    def finish(self, record: Record) -> None:
        """Put the item's record on disk; the item is done when this returns."""
        write_json(self.hidden / "done" / f"{record['item']}.json", record)
        for path in self.work.iterdir():
            path.unlink()

    def search(self, term: str) -> list[dict[str, Any]] | None:
        """What an earlier search found, or None."""
        found = _read_json(self._search_file(term))
        return found["found"] if found.get("term") == term else None

    def keep_search(self, term: str, found: list[dict[str, Any]]) -> None:
        """Keep what a search found, so that a resumed fetch has the same items."""
        write_json(self._search_file(term), {"term": term, "found": found})

    def _search_file(self, term: str) -> Path:
        return self.hidden / "searches" / f"{hashlib.sha256(term.encode()).hexdigest()[:24]}.json"

    def write_table(self) -> dy.DataFrame[FetchTable]:
        """Make the table again from the records, by item."""
        table = FetchTable.validate(
            pl.DataFrame(
                self.records(), schema=FetchTable.create_empty().schema, orient="row"
            ).sort("item"),
            cast=True,
        )
        partial = self.hidden / f"{TABLE}.partial"
        table.write_parquet(partial)
        partial.replace(self.folder / TABLE)
        return table


def _read_json(path: Path) -> dict[str, Any]:
    """The object in a file; an empty one where there is no such file, or it is damaged."""
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return value if isinstance(value, dict) else {}


def write_json(path: Path, value: Any) -> None:
    """Write so that the file is whole or not there, and on disk when this returns."""
    write_whole(path, json.dumps(value, ensure_ascii=False, indent=1, sort_keys=True), durable=True)
