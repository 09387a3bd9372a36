"""One SQLite file a study: what was drawn, who grades what in which order, and every grade ever
given.

Guarantees: a grade is one transaction that is on disk before :meth:`Store.save` returns, so that
whoever is killed loses at most the grade that nobody has been told of; writers wait for each other;
a pair has one first grade a rater, however many windows the rater has open; a change is a new
revision and nothing is ever overwritten. Keep the file on a disk of this machine: SQLite's
write-ahead log does not work over a network.
"""

from __future__ import annotations

import errno
import json
import re
import sqlite3
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

from pydantic import TypeAdapter, ValidationError

from sportskills_lib.runs import artifacts

PATIENCE_S = 30.0  # how long a writer waits for another one
LONGEST_COMMENT = 4000
GRADES = (0, 1, 2, 3)
NAME = re.compile(
    r"[A-Za-z0-9][A-Za-z0-9_-]{0,39}"
)  # of studies and raters: safe in paths, links and spreadsheets
_TABLES = """
create table study (facts text not null);
create table items (
    item integer primary key, learner_id text not null, clip_id text not null, sport text not null, skill text not null,
    feedback text not null, take_uid text not null, learner_start_s real not null, learner_end_s real not null,
    video_id text not null, start_s real not null, end_s real not null, narration text not null default '', unique (learner_id, clip_id)
);
create table orders (
    rater text not null, place integer not null, item integer not null references items,
    primary key (rater, place), unique (rater, item)
);
create table grades (
    rater text not null, item integer not null, revision integer not null check (revision >= 1),
    grade integer not null check (grade between 0 and 3), comment text not null,
    started text not null, saved text not null,
    primary key (rater, item, revision), foreign key (rater, item) references orders (rater, item)
);
create table drafts (
    rater text not null, item integer not null, comment text not null,
    primary key (rater, item), foreign key (rater, item) references orders (rater, item)
);
"""
_LATEST = """
select o.rater, o.place, i.*, g.grade, coalesce(d.comment, g.comment, '') as comment,
       coalesce(g.revision, 0) as revision, g.started, g.saved
from orders o join items i using (item)
left join grades g on g.rater = o.rater and g.item = o.item and g.revision =
    (select max(revision) from grades where rater = o.rater and item = o.item)
left join drafts d on d.rater = o.rater and d.item = o.item
"""

# what SQLite says → error number and what a rater is told
FAILURES: tuple[tuple[str, int, str], ...] = (
    ("full", errno.ENOSPC, "the disk is full: make room, then grade again ({file})"),
    ("locked", errno.EBUSY, "another process holds {file}: try again"),
    ("", errno.EIO, "{file} cannot be used ({error}): tell whoever runs this page, then again"),
)


class GradedMeanwhile(ValueError):
    """The rater graded this pair in another window since it was shown."""


@dataclass(frozen=True)
class Study:
    """What a study was drawn from, and how."""

    name: str
    run: str
    rankings: str  # pools or library
    systems: tuple[str, ...]
    depth: int
    split: str
    raters: tuple[str, ...]
    overlap: int
    share_by_all: float
    seed: int
    drawn: str = ""
    words: bool = False  # whether raters read what is said over a clip
    format: Literal[1] = 1


def checked_name(name: str, what: str) -> str:
    """``name`` if it is one; ValueError otherwise. Names come from people and links, and become
    parts of paths.
    """
    if not NAME.fullmatch(name):
        shown = name[:40].encode("unicode_escape").decode()
        raise ValueError(
            f"invalid {what} name {shown!r}: use up to 40 of A-Z a-z 0-9 _ -, the first a "
            "letter or digit"
        )
    return name


def study_folder(name: str) -> Path:
    """The folder of a study, whose name is checked: in ``data/ratings`` of the workspace, outside
    the runs, which are made again.
    """
    return artifacts.workspace() / "data" / "ratings" / checked_name(name, "study")


def now() -> str:
    """The time as it is written into the file: UTC, to the millisecond."""
    return datetime.now(UTC).isoformat(timespec="milliseconds")


class Store:
    """The file of a study. Every call opens it anew, so that threads, processes and forks may share
    the object.
    """

    def __init__(self, path: Path):
        self.path = path
        if not path.is_file():
            known = sorted(each.parent.name for each in path.parents[1].glob("*/ratings.sqlite"))
            raise ValueError(
                f"there is no study {path.parent.name!r} "
                f"({', '.join(known) or 'none was drawn yet'}): "
                "`sportskills rate draw` makes one"
            )
        with _connected(path) as base:
            (facts,) = base.execute("select facts from study").fetchone()
        try:
            self.study = TypeAdapter(Study).validate_json(facts)
        except ValidationError:
            raise ValueError(f"{path} is of another version: update sportskills") from None

    @classmethod
    def create(
        cls,
        path: Path,
        study: Study,
        items: Sequence[Mapping[str, Any]],
        orders: Mapping[str, Iterable[int]],
    ) -> Store:
        """A new file with all that was drawn, whole or not at all; ValueError where there is
        one.
        """
        if path.exists():
            raise ValueError(f"{path} exists and may hold grades: name another study")
        path.parent.mkdir(parents=True, exist_ok=True)
        partial = path.with_name(f".{path.name}.partial")
        partial.unlink(missing_ok=True)
        columns = list(items[0])
        with _connected(partial, mode="rwc") as base, base:
            base.executescript(f"pragma journal_mode = wal;\n{_TABLES}")
            base.execute("begin immediate")
            base.execute("insert into study values (?)", (json.dumps(asdict(study)),))
            values = ", ".join(f":{name}" for name in columns)
            base.executemany(f"insert into items ({', '.join(columns)}) values ({values})", items)
            rows = [(rater, *each) for rater in orders for each in enumerate(orders[rater])]
            base.executemany("insert into orders values (?, ?, ?)", rows)
        partial.rename(path)
        return cls(path)

    def queue(self, rater: str) -> list[dict[str, Any]]:
        """The rater's items in order, with last grade (or None), comment, revision (0: none);
        ValueError: no rater.
        """
        if rater not in self.study.raters:
            shown = rater[:40].encode("unicode_escape").decode()
            raise ValueError(
                f"unknown rater {shown!r} of study {self.study.name}: use your personal link"
            )
        return self._rows(f"{_LATEST} where o.rater = ? order by o.place", (rater,))

    def latest(self) -> list[dict[str, Any]]:
        """All that was assigned, by rater and place, as :meth:`queue` gives it."""
        return self._rows(f"{_LATEST} order by o.rater, o.place", ())

    def _rows(self, query: str, values: tuple[Any, ...]) -> list[dict[str, Any]]:
        with _connected(self.path) as base:
            base.row_factory = sqlite3.Row
            return [dict(row) for row in base.execute(query, values)]

    def save(
        self, rater: str, item: int, grade: int, comment: str, *, started: str, after: int
    ) -> int:
        """Keep a grade; returns its revision. ``after``: the revision that the rater was shown (0:
        none).

        The same grade and comment once more change nothing. GradedMeanwhile where another window
        was faster; ValueError for a grade that the scale does not have, or an item that is not this
        rater's.
        """
        if isinstance(grade, bool) or grade not in GRADES:
            raise ValueError(f"{grade!r} is no grade: the scale has {', '.join(map(str, GRADES))}")
        comment = comment[:LONGEST_COMMENT]
        query = (
            "select revision, grade, comment from grades where rater = ? and item = ? "
            "order by revision desc"
        )
        with _connected(self.path) as base, base:
            base.execute("begin immediate")
            last = base.execute(query, (rater, item)).fetchone() or (0, None, "")
            revision = last[0]
            if last[1:] != (grade, comment):
                if revision != after:
                    raise GradedMeanwhile(
                        f"you graded this pair {last[1]} in another window: look again"
                    )
                revision += 1
                row = (rater, item, revision, grade, comment, started, now())
                base.execute("insert into grades values (?, ?, ?, ?, ?, ?, ?)", row)
            base.execute("delete from drafts where rater = ? and item = ?", (rater, item))
        return revision

    def draft(self, rater: str, item: int, comment: str) -> None:
        """Keep what the rater has typed so far, before there is a grade to go with it."""
        row = (rater, item, comment[:LONGEST_COMMENT])
        with _connected(self.path) as base:
            base.execute("insert or replace into drafts values (?, ?, ?)", row)

    def history(self) -> list[dict[str, Any]]:
        """Every revision of every grade."""
        return self._rows("select * from grades order by rater, item, revision", ())


@contextmanager
def _connected(path: Path, *, mode: str = "rw") -> Iterator[sqlite3.Connection]:
    """A connection, closed afterwards; what goes wrong is said with the file and the remedy.

    A file that is gone is an error: SQLite alone would begin an empty one. Raters see these
    messages, so they name the study and no path of the machine.
    """
    file, address = f"{path.parent.name}/{path.name}", f"{path.absolute().as_uri()}?mode={mode}"
    try:
        with closing(
            sqlite3.connect(address, uri=True, timeout=PATIENCE_S, isolation_level=None)
        ) as base:
            base.execute("pragma foreign_keys = on")
            base.execute("pragma synchronous = full")
            yield base
    except sqlite3.OperationalError as error:
        number, what = next(found for word, *found in FAILURES if word in str(error))
        raise OSError(number, f"not saved, {str(what).format(file=file, error=error)}") from error
    except sqlite3.IntegrityError as error:
        raise ValueError(f"this pair was not given to this rater ({error})") from None
    except sqlite3.DatabaseError as error:
        raise ValueError(
            f"{file} is no file of ratings ({error}): put back the last copy of it"
        ) from None
