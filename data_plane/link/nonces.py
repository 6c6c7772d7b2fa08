"""The spent grants of one agent, in a file that all its worker processes share. Implements `gate.ports.Nonces`.

A nonce is on the disk (SQLite, synchronous FULL) before `spend` says yes, so that neither a second worker nor a
restart can spend it again. Of a window its uses are counted beside it: the next one is spent only by the instance that
spent all before, so that neither a restart nor a copy of a grant begins a window anew. It is not known here whether an
operation then ran: `Journal.recover` asks `spent_for` after a crash and reports the outcome as unknown, by the instance
that spent it. Rows are kept: one for each approved operation or window.
"""

from __future__ import annotations

import asyncio
import fcntl
import sqlite3
import threading
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import msgspec

from data_plane.gate.ports import Clock
from data_plane.identifiers import ApprovalId

SPENT = """
CREATE TABLE IF NOT EXISTS spent (
    nonce BLOB PRIMARY KEY, approval TEXT NOT NULL, at_ms INTEGER NOT NULL, instance TEXT NOT NULL,
    uses INTEGER NOT NULL DEFAULT 0
);
CREATE INDEX IF NOT EXISTS spent_approval ON spent (approval);
"""
_INSERT = "INSERT OR IGNORE INTO spent (nonce, approval, at_ms, instance, uses) VALUES (?, ?, ?, ?, ?)"
_NEXT = "UPDATE spent SET uses = ?1 WHERE nonce = ?2 AND approval = ?3 AND instance = ?4 AND uses = ?1 - 1"
_BUSY_SECONDS = 10.0
_MOST_PARAMETERS = 500


class Spent(msgspec.Struct, frozen=True):
    nonce: bytes
    here: bool  # by this instance
    uses: int = 0  # of a window; 0: it was for one operation


class SpentNonces:
    def __init__(self, file: Path, clock: Clock, instance: str = "") -> None:
        self._clock = clock
        self._instance = instance
        self._database = open_database(file, SPENT)
        _add_uses(self._database)
        self._lock = threading.Lock()
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="nonces")

    async def spend(self, nonce: bytes, approval: ApprovalId, use: int = 0) -> bool:
        """True exactly once for a nonce and use. Raises sqlite3.Error when it cannot be written: then nothing may
        run."""
        at_ms = int(self._clock.now() * 1000)
        spend = self._insert if use <= 1 else self._next
        return await asyncio.get_running_loop().run_in_executor(self._thread, spend, nonce, approval, at_ms, use)

    def spent_for(self, approvals: Sequence[str]) -> Mapping[str, Spent]:
        """Those of `approvals` for which a nonce was spent."""
        found: dict[str, Spent] = {}
        with self._lock:
            for start in range(0, len(approvals), _MOST_PARAMETERS):
                part = approvals[start : start + _MOST_PARAMETERS]
                marks = ",".join("?" * len(part))
                query = f"SELECT approval, nonce, instance, uses FROM spent WHERE approval IN ({marks})"  # noqa: S608 - only marks
                for approval, nonce, instance, uses in self._database.execute(query, part):
                    found[approval] = Spent(nonce, instance == self._instance, uses)
        return found

    def close(self) -> None:
        self._thread.shutdown()
        with self._lock:
            self._database.close()

    def _insert(self, nonce: bytes, approval: str, at_ms: int, use: int) -> bool:
        with self._lock:
            cursor = self._database.execute(_INSERT, (nonce, approval, at_ms, self._instance, use))
        return cursor.rowcount == 1

    def _next(self, nonce: bytes, approval: str, at_ms: int, use: int) -> bool:
        """The time of the first stays."""
        del at_ms
        with self._lock:
            cursor = self._database.execute(_NEXT, (use, nonce, approval, self._instance))
        return cursor.rowcount == 1


def _add_uses(database: sqlite3.Connection) -> None:
    """To the file of an agent that knew no windows. Of two workers one is told that it is there already."""
    if any(column[1] == "uses" for column in database.execute("PRAGMA table_info(spent)")):
        return
    try:
        database.execute("ALTER TABLE spent ADD COLUMN uses INTEGER NOT NULL DEFAULT 0")
    except sqlite3.OperationalError as error:
        if "duplicate column" not in str(error):
            raise


def open_database(file: Path, schema: str) -> sqlite3.Connection:
    """Autocommit: each statement is a transaction of its own, synced before it returns. One process at a time opens
    it, because SQLite does not wait for its turn to change the journal's mode."""
    with file.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        file.touch(mode=0o600)
        database = sqlite3.connect(file, timeout=_BUSY_SECONDS, isolation_level=None, check_same_thread=False)
        database.execute("PRAGMA journal_mode=WAL")
        database.execute("PRAGMA synchronous=FULL")
        database.executescript(schema)
    return database
