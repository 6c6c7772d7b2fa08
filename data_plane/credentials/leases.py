"""The leases of one agent: which accounts it has made, or was about to make, at its targets.

One SQLite file that all workers share. A lease is on the disk (synchronous FULL) before its account is made and is
deleted only when the account is known to be gone, so whatever a crash leaves behind is found by its lease. Many
changes that come at once share one sync.
"""

from __future__ import annotations

import asyncio
import enum
import sqlite3
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final

import msgspec

from data_plane.credentials.ports import CredentialError, Lease
from data_plane.link.nonces import open_database
from data_plane.runtime.tasks import spawn

_SCHEMA: Final = """
CREATE TABLE IF NOT EXISTS leases (
    id TEXT PRIMARY KEY, owner TEXT NOT NULL, state TEXT NOT NULL, body BLOB NOT NULL,
    tries INTEGER NOT NULL DEFAULT 0, problem TEXT NOT NULL DEFAULT ''
);
"""
_INSERT: Final = "INSERT INTO leases (id, owner, state, body) VALUES (?, ?, ?, ?)"
_READ: Final = "SELECT body, owner, state, tries, problem FROM leases"


class LeaseState(enum.StrEnum):
    CREATING = "creating"  # the account may be there or not
    ACTIVE = "active"
    ENDING = "ending"  # its session is over
    STUCK = "stuck"  # it could not be removed and needs people; still tried


class Kept(msgspec.Struct, frozen=True):
    lease: Lease
    owner: str  # whose business it is, see `owners`
    state: LeaseState
    tries: int = 0  # to remove it, in vain
    problem: str = ""  # why the last one failed


_Change = tuple[str, tuple[object, ...], asyncio.Future[int]]


class Leases:
    """Used from one event loop. A method returns when its change is on the disk; each raises CredentialError when
    that cannot be."""

    def __init__(self, file: Path, owner: str) -> None:
        self.owner = owner
        self._file = file
        self._database = open_database(file, _SCHEMA)
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="leases")
        self._waiting: list[_Change] = []
        self._writer: asyncio.Task[None] | None = None

    async def begin(self, lease: Lease) -> None:
        await self._write(_INSERT, lease.id, self.owner, LeaseState.CREATING, _body(lease))

    async def made(self, lease: Lease) -> None:
        """`lease` as it is now: the target may have chosen its principal."""
        await self._write(
            "UPDATE leases SET state = ?, body = ? WHERE id = ?", LeaseState.ACTIVE, _body(lease), lease.id
        )

    async def ending(self, lease_id: str) -> None:
        await self._write("UPDATE leases SET state = ? WHERE id = ?", LeaseState.ENDING, lease_id)

    async def not_removed(self, lease_id: str, state: LeaseState, problem: str) -> None:
        change = "UPDATE leases SET state = ?, problem = ?, tries = tries + 1 WHERE id = ?"
        await self._write(change, state, problem, lease_id)

    async def gone(self, lease_id: str) -> None:
        await self._write("DELETE FROM leases WHERE id = ?", lease_id)

    async def take_over(self, kept: Kept) -> bool:
        """From an owner that is dead. True for one process only."""
        change = "UPDATE leases SET owner = ?, state = ? WHERE id = ? AND owner = ?"
        state = LeaseState.STUCK if kept.state is LeaseState.STUCK else LeaseState.ENDING
        return await self._write(change, self.owner, state, kept.lease.id, kept.owner) == 1

    async def all(self) -> Sequence[Kept]:
        """Of every owner, in the order of their making."""
        return await asyncio.get_running_loop().run_in_executor(self._thread, self._all)

    def close(self) -> None:
        self._thread.shutdown()
        self._database.close()

    # ------------------------------------------------------------ the disk

    async def _write(self, change: str, *arguments: object) -> int:
        """The number of rows."""
        done: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self._waiting.append((change, arguments, done))
        if self._writer is None:
            self._writer = spawn(self._write_all(), "leases")
        return await done

    async def _write_all(self) -> None:
        loop = asyncio.get_running_loop()
        while self._waiting:
            batch, self._waiting = self._waiting, []
            try:
                counts = await loop.run_in_executor(self._thread, self._commit, batch)
            except (sqlite3.Error, RuntimeError) as error:  # RuntimeError: closed
                self._failed(batch, str(error))
            else:
                for (_, _, done), count in zip(batch, counts, strict=True):
                    if not done.done():
                        done.set_result(count)
        self._writer = None

    def _failed(self, batch: Sequence[_Change], why: str) -> None:
        problem = f"{self._file} cannot be written: {why}; free space or repair the disk"
        for _, _, done in batch:
            if not done.done():
                done.set_exception(CredentialError(problem))

    def _commit(self, batch: Sequence[_Change]) -> list[int]:
        self._database.execute("BEGIN IMMEDIATE")
        try:
            counts = [self._database.execute(change, arguments).rowcount for change, arguments, _ in batch]
            self._database.execute("COMMIT")
        except BaseException:
            if self._database.in_transaction:
                self._database.execute("ROLLBACK")
            raise
        return counts

    def _all(self) -> Sequence[Kept]:
        try:
            rows = self._database.execute(f"{_READ} ORDER BY rowid").fetchall()
        except sqlite3.Error as error:
            raise CredentialError(f"{self._file} cannot be read: {error}") from error
        return [
            Kept(msgspec.json.decode(body, type=Lease), owner, LeaseState(state), tries, problem)
            for body, owner, state, tries, problem in rows
        ]


def _body(lease: Lease) -> bytes:
    return msgspec.json.encode(lease)
