"""What chat models have answered, and what it cost: one SQLite file that several processes may use
at once.

Guarantee: an answer and its cost are written in one transaction before the answer is used, so that
a process killed at any moment loses at most the questions then in flight, and no answered question
is asked or paid again. SQLite's write-ahead log gives that. (diskcache would be shorter; it
unpickles what it finds.)
"""

from __future__ import annotations

import json
import sqlite3
import threading
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

PATIENCE_S = 60.0  # how long a writer waits for another one
_TABLES = """
create table if not exists answers (key text primary key, model text, version text, answer text, asked_at text);
create table if not exists spending (
    account text, model text, version text, outcome text, prompt_tokens integer, completion_tokens integer,
    cost_usd real, asked_at text
);
create index if not exists spending_by_account on spending (account);
"""
_KNOWN = "select key, answer from answers where key in (select value from json_each(?))"
_SPENT = (
    "select count(*), coalesce(sum(prompt_tokens), 0), coalesce(sum(completion_tokens), 0),"
    " coalesce(sum(cost_usd), 0.0) from spending where account = ?"
)


class Spent(NamedTuple):
    """Calls that were answered, well or badly, their tokens and their cost in dollars."""

    calls: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    cost_usd: float = 0.0


class AnswerCache:
    """Answers by key, and the spending of each account. Use it from any thread; one object a
    process.
    """

    def __init__(self, path: Path):
        self.path, self._lock = path, threading.Lock()
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            self._base = sqlite3.connect(
                path, timeout=PATIENCE_S, isolation_level="IMMEDIATE", check_same_thread=False
            )
            self._base.execute("pragma journal_mode = wal")
            self._base.execute("pragma synchronous = normal")
            self._base.executescript(_TABLES)
        except sqlite3.DatabaseError as error:
            raise ValueError(
                f"{path} cannot be used as a cache of chat answers ({error}): move it away"
            ) from None

    def load(self, keys: Iterable[str]) -> dict[str, str]:
        """The answers that are known, by key."""
        with self._lock:
            return dict(self._base.execute(_KNOWN, (json.dumps(list(keys)),)).fetchall())

    def record(
        self,
        *,
        account: str,
        model: str,
        version: str,
        outcome: str,
        spent: Spent,
        answers: Mapping[str, str],
    ) -> None:
        """One call's cost and what is to be kept of its answer (nothing, where it was refused or
        malformed).
        """
        now = datetime.now(UTC).isoformat(timespec="seconds")
        kept = [(key, model, version, answer, now) for key, answer in answers.items()]
        cost = (account, model, version, outcome, *spent[1:], now)
        with self._lock, self._base:  # one transaction
            self._base.executemany("insert or replace into answers values (?, ?, ?, ?, ?)", kept)
            self._base.execute("insert into spending values (?, ?, ?, ?, ?, ?, ?, ?)", cost)

    def spent(self, account: str) -> Spent:
        """All that the account ever cost, in this and in earlier processes."""
        with self._lock:
            return Spent(*self._base.execute(_SPENT, (account,)).fetchone())

    def close(self) -> None:
        """Give the file back; the next use needs a new object."""
        with self._lock:
            self._base.close()
