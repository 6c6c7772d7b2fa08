"""The spent grants of one agent, in a file that all its worker processes share. Implements `gate.ports.Nonces`.

A nonce is on the disk (SQLite, synchronous FULL) before `spend` says yes, so that neither a second worker nor a
restart can spend it again. It is not known here whether the operation then ran: `Journal.recover` asks `spent_for`
after a crash and reports the outcome as unknown, by the instance that spent it. Rows are kept: one for each approved
operation.
"""

from __future__ import annotations

import asyncio
import fcntl
import sqlite3
import threading
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from data_plane.gate.ports import Clock
from data_plane.identifiers import ApprovalId

SPENT = """
CREATE TABLE IF NOT EXISTS spent (
    nonce BLOB PRIMARY KEY, approval TEXT NOT NULL, at_ms INTEGER NOT NULL, instance TEXT NOT NULL
);
CREATE INDEX IF NOT EXISTS spent_approval ON spent (approval);
"""
_BUSY_SECONDS = 10.0
_MOST_PARAMETERS = 500


class SpentNonces:
    def __init__(self, file: Path, clock: Clock, instance: str = "") -> None:
        self._clock = clock
        self._instance = instance
        self._database = open_database(file, SPENT)
        self._lock = threading.Lock()
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="nonces")

    async def spend(self, nonce: bytes, approval: ApprovalId) -> bool:
        """True exactly once for a nonce. Raises sqlite3.Error when it cannot be written: then nothing may run."""
        at_ms = int(self._clock.now() * 1000)
        return await asyncio.get_running_loop().run_in_executor(self._thread, self._insert, nonce, approval, at_ms)

    def spent_for(self, approvals: Sequence[str]) -> Mapping[str, tuple[bytes, bool]]:
        """Those of `approvals` for which a nonce was spent: the nonce, and whether by this instance."""
        found: dict[str, tuple[bytes, bool]] = {}
        with self._lock:
            for start in range(0, len(approvals), _MOST_PARAMETERS):
                part = approvals[start : start + _MOST_PARAMETERS]
                marks = ",".join("?" * len(part))
                query = f"SELECT approval, nonce, instance FROM spent WHERE approval IN ({marks})"  # noqa: S608 - only marks
                for approval, nonce, instance in self._database.execute(query, part):
                    found[approval] = (nonce, instance == self._instance)
        return found

    def close(self) -> None:
        self._thread.shutdown()
        self._database.close()

    def _insert(self, nonce: bytes, approval: str, at_ms: int) -> bool:
        with self._lock:
            row = (nonce, approval, at_ms, self._instance)
            cursor = self._database.execute("INSERT OR IGNORE INTO spent VALUES (?, ?, ?, ?)", row)
        return cursor.rowcount == 1


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
