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
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

import dataframely as dy
import polars as pl
from filelock import FileLock, Timeout

from sportskills_lib.curation.fetch.status import STATUSES, raise_if_disk_is_full
from sportskills_lib.formats.files import write_whole
from sportskills_lib.tables import ID_PATTERN

TABLE = "fetch.parquet"


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


@dataclass
class Record:
    """A row of :class:`FetchTable`, filled while its item is worked on."""

    item: str
    url: str
    video_id: str | None = None
    status: str = "failed"
    detail: str = ""
    sport: str | None = None
    skill: str | None = None
    search_term: str | None = None
    title: str | None = None
    channel: str | None = None
    duration_s: float | None = None
    captions: str | None = None
    sentences: int | None = None
    actionable: int | None = None
    wanted_s: float | None = None
    files: list[str] = field(default_factory=list)


class FetchLocked(Exception):
    """Another process fetches into this folder."""

    exit_code = 3


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
        try:
            for name in ("done", "searches", "work", "said"):
                (self.hidden / name).mkdir(parents=True, exist_ok=True)
            lock.acquire(timeout=0)
        except Timeout:
            raise FetchLocked(
                f"another process fetches into {self.folder}: wait for it, or name another --to"
            ) from None
        except OSError as error:
            raise_if_disk_is_full(error)
            raise ValueError(
                f"--to {self.folder} cannot be written ({error.strerror}): name another folder"
            ) from None
        try:
            yield
        except OSError as error:
            raise_if_disk_is_full(error)
            raise
        finally:
            lock.release()

    def record(self, item: str) -> Record | None:
        """The item's record, or None when it is not done (or its file is damaged: then it is done
        again).
        """
        try:
            values = json.loads((self.hidden / "done" / f"{item}.json").read_text(encoding="utf-8"))
            record = Record(**values)
        except (OSError, ValueError, TypeError):
            return None
        return record if record.item == item and record.status in STATUSES else None

    def records(self) -> list[Record]:
        """All records, by item."""
        names = sorted(path.stem for path in (self.hidden / "done").glob("*.json"))
        return [record for name in names if (record := self.record(name))]

    def finish(self, record: Record) -> None:
        """Put the item's record on disk; the item is done when this returns."""
        write_json(self.hidden / "done" / f"{record.item}.json", asdict(record))
        for path in self.work.iterdir():
            path.unlink()

    def search(self, term: str) -> list[dict[str, Any]] | None:
        """What an earlier search found, or None."""
        try:
            found = json.loads(self._search_file(term).read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return None
        return found["found"] if isinstance(found, dict) and found.get("term") == term else None

    def keep_search(self, term: str, found: list[dict[str, Any]]) -> None:
        """Keep what a search found, so that a resumed fetch has the same items."""
        write_json(self._search_file(term), {"term": term, "found": found})

    def _search_file(self, term: str) -> Path:
        return self.hidden / "searches" / f"{hashlib.sha256(term.encode()).hexdigest()[:24]}.json"

    def write_table(self) -> dy.DataFrame[FetchTable]:
        """Make the table again from the records, by item."""
        names = [each.name for each in fields(Record)]
        rows = [asdict(record) for record in self.records()]
        frame = pl.DataFrame(rows, schema=FetchTable.create_empty().schema, orient="row").select(
            names
        )
        table = FetchTable.validate(frame.sort("item"), cast=True)
        partial = self.hidden / f"{TABLE}.partial"
        table.write_parquet(partial)
        partial.replace(self.folder / TABLE)
        return table


def write_json(path: Path, value: Any) -> None:
    """Write so that the file is whole or not there, and on disk when this returns."""
    write_whole(path, json.dumps(value, ensure_ascii=False, indent=1, sort_keys=True), durable=True)
