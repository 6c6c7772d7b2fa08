"""aiosqlite with one turn of its thread for each statement.

Its own cursors take up to four (open, execute, fetch, close), and each is a switch between two threads that want the
same lock: for the short statements of a transaction that was most of their time.
"""

from __future__ import annotations

import asyncio
import sqlite3
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from threading import Thread
from typing import Any, Self
from weakref import WeakSet

import aiosqlite

_PATIENCE_SECONDS = 5.0


class Opener:
    """For `create_async_engine(async_creator=…)`: opens the file, which need not exist."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._connections: WeakSet[Connection] = WeakSet()
        self._threads: set[Thread] = set()

    async def __call__(self) -> aiosqlite.Connection:
        connection = Connection(lambda: sqlite3.connect(self._file, check_same_thread=False), iter_chunk_size=64)
        thread = connection._thread  # noqa: SLF001 - a daemon as with SQLAlchemy: one left open must not keep the process
        thread.daemon = True
        self._connections.add(connection)
        try:
            return await connection
        finally:
            self._threads = {one for one in (*self._threads, thread) if one.is_alive()}

    async def close(self) -> None:
        """Closes what somebody still holds or has given up, each connection when its statement has ended. Their threads
        tell the loop, which must be there, so they are waited for; a statement without end is not waited for long."""
        for connection in self._connections:
            if connection._running:  # noqa: SLF001 - a thread that was stopped before hears nothing more
                connection.stop()
        deadline = time.monotonic() + _PATIENCE_SECONDS
        for thread in self._threads:
            await asyncio.to_thread(thread.join, max(0.0, deadline - time.monotonic()))


class Connection(aiosqlite.Connection):
    def cursor(self) -> Cursor:  # type: ignore[override]  # SQLAlchemy enters it, which is all that it did with theirs
        return Cursor(self)


class Cursor:
    """What SQLAlchemy needs of a driver's cursor to execute, not to stream: a statement's rows are all read in the turn
    that runs it."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._rows: Sequence[Any] = ()
        self.description: Any = None
        self.rowcount = -1
        self.lastrowid: int | None = None
        self.arraysize = 1

    async def __aenter__(self) -> Self:
        return self

    async def execute(self, statement: str, parameters: Iterable[Any] = ()) -> Cursor:
        await self._in_thread(sqlite3.Connection.execute, statement, parameters)
        return self

    async def executemany(self, statement: str, parameters: Iterable[Iterable[Any]]) -> Cursor:
        await self._in_thread(sqlite3.Connection.executemany, statement, parameters)
        return self

    async def fetchall(self) -> Sequence[Any]:
        return self._rows

    async def close(self) -> None:
        self._rows = ()

    async def _in_thread(self, run: Callable[..., sqlite3.Cursor], statement: str, parameters: Iterable[Any]) -> None:
        turn = self._connection._execute  # noqa: SLF001 - its one way in
        await turn(self._run, run, statement, parameters)  # type: ignore[no-untyped-call]

    def _run(self, run: Callable[..., sqlite3.Cursor], statement: str, parameters: Iterable[Any]) -> None:
        cursor = run(self._connection._conn, statement, parameters)  # noqa: SLF001
        try:
            self.description = cursor.description
            self._rows = cursor.fetchall() if cursor.description else ()
            self.rowcount, self.lastrowid = cursor.rowcount, cursor.lastrowid
        finally:
            cursor.close()
