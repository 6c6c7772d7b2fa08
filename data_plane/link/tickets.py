"""The tickets of one agent, in the file of its spent nonces, which its worker processes share. Implements
`gate.ports.TicketStore`.

A row names the instance that asked (`owner`) and the one at which a client waits with it (`holder`). What was spent is
no ticket any more, whatever the rows say: a client that comes back to it asks anew. The row of one that was spent
stays as long as it has a holder: after a crash that is how the holder knows what may have run.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final, Protocol, TypeVar

import msgspec

from data_plane.gate.interface import Pending
from data_plane.gate.ports import Answered, Clock, KeptTicket, TicketKey
from data_plane.identifiers import ApprovalId
from data_plane.link.nonces import SPENT, open_database

T = TypeVar("T")

_SCHEMA = """
CREATE TABLE IF NOT EXISTS tickets (
    approval TEXT PRIMARY KEY, requester TEXT NOT NULL, credential TEXT NOT NULL, target TEXT NOT NULL,
    digest BLOB NOT NULL, owner TEXT NOT NULL, holder TEXT NOT NULL, issued INTEGER NOT NULL, expires_at REAL NOT NULL,
    body BLOB NOT NULL, pending BLOB, answered BLOB,
    UNIQUE (requester, credential, target, digest)
);
"""
_BY_KEY = "requester = ? AND credential = ? AND target = ? AND digest = ?"
_SPENT = "approval IN (SELECT approval FROM spent)"
_MOST: Final = 10_000
_FLUSH_SECONDS: Final = 5.0
_body = msgspec.msgpack.Decoder(KeptTicket)
_pending = msgspec.msgpack.Decoder(Pending)
_answered = msgspec.msgpack.Decoder(Answered)


class TooManyTicketsError(Exception):
    """So many requests wait for people that there is no place for another."""


class News(Protocol):
    def tell(self, approval: ApprovalId) -> None: ...


class Left(msgspec.Struct, frozen=True):
    """`tickets`: asked for by this instance, and good. `used`: spent by it, and perhaps not reported."""

    tickets: Sequence[KeptTicket]
    used: Sequence[str]


class StoredTickets:
    """`reported(seconds)` waits until all reports so far are on disk."""

    def __init__(
        self, file: Path, clock: Clock, instance: str, news: News, reported: Callable[[float], object]
    ) -> None:
        self._clock = clock
        self._instance = instance
        self._news = news
        self._reported = reported
        self._database = open_database(file, SPENT + _SCHEMA)
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="tickets")

    def recover(self, asked: Collection[str]) -> Left:
        """At the start of this instance, which was at work with nothing before. `asked`: approvals whose request was
        reported. One that no client was told of ends with the session that waited."""
        run, mine = self._database.execute, (self._instance,)
        used = run(f"SELECT approval FROM tickets WHERE holder = ? AND {_SPENT}", mine).fetchall()  # noqa: S608 - fixed
        run(f"DELETE FROM tickets WHERE holder = ? AND issued = 0 AND NOT {_SPENT}", mine)  # noqa: S608 - fixed
        late = f"expires_at <= ? AND NOT (holder NOT IN ('', ?) AND {_SPENT})"
        run(f"DELETE FROM tickets WHERE {late}", (self._clock.now(), *mine))  # noqa: S608 - fixed
        run("UPDATE tickets SET holder = '' WHERE holder = ?", mine)
        found = [_kept(row) for row in run(f"{_SELECT} WHERE owner = ? AND NOT {_SPENT}", mine)]
        self.forget([one.approval for one in found if one.approval not in asked])
        return Left([one for one in found if one.approval in asked], [row[0] for row in used])

    def forget(self, approvals: Iterable[str]) -> None:
        """At the start: nobody can use these any more."""
        self._database.executemany("DELETE FROM tickets WHERE approval = ?", [(one,) for one in approvals])

    async def take(self, key: TicketKey, fresh: KeptTicket) -> KeptTicket | None:
        return await self._do(lambda: self._take(key, fresh))

    async def read(self, approval: ApprovalId) -> KeptTicket | None:
        return await self._do(lambda: self._read(approval))

    async def leave(self, approval: ApprovalId) -> None:
        change = "UPDATE tickets SET holder = '', issued = 1 WHERE approval = ? AND holder = ?"
        await self._do(lambda: self._database.execute(change, (approval, self._instance)))

    async def tell(self, approval: ApprovalId, pending: Pending | None, answered: Answered | None) -> None:
        told = [msgspec.msgpack.encode(one) if one is not None else None for one in (pending, answered)]
        values = "pending = coalesce(?, pending), answered = coalesce(?, answered)"
        change = f"UPDATE tickets SET {values} WHERE approval = ?"  # noqa: S608 - fixed
        await self._do(lambda: self._database.execute(change, (*told, approval)))
        self._news.tell(approval)

    async def remove(self, approval: ApprovalId) -> bool:
        def work() -> bool:
            self._reported(_FLUSH_SECONDS)
            return self._database.execute("DELETE FROM tickets WHERE approval = ?", (approval,)).rowcount == 1

        removed = await self._do(work)
        self._news.tell(approval)
        return removed

    def close(self) -> None:
        self._thread.shutdown()
        self._database.close()

    async def _do(self, work: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._thread, work)

    # ------------------------------------------------------------ in the thread

    def _take(self, key: TicketKey, fresh: KeptTicket) -> KeptTicket | None:
        self._database.execute("BEGIN IMMEDIATE")
        try:
            taken = self._taken(key, fresh)
            self._database.execute("COMMIT")
        except BaseException:
            self._database.execute("ROLLBACK")
            raise
        return taken

    def _taken(self, key: TicketKey, fresh: KeptTicket) -> KeptTicket | None:
        held = f"UPDATE tickets SET requester = approval WHERE {_BY_KEY} AND holder <> '' AND {_SPENT}"  # noqa: S608 - fixed
        self._database.execute(held, key)  # under a key that nobody has
        gone = f"DELETE FROM tickets WHERE {_BY_KEY} AND (expires_at <= ? OR {_SPENT})"  # noqa: S608 - fixed
        self._database.execute(gone, (*key, self._clock.now()))
        row = self._database.execute(f"{_SELECT} WHERE {_BY_KEY}", key).fetchone()
        if row is None:
            self._insert(key, fresh)
            return fresh
        claim = "UPDATE tickets SET holder = ? WHERE approval = ? AND holder = ''"
        kept = _kept(row)
        return kept if self._database.execute(claim, (self._instance, kept.approval)).rowcount else None

    def _insert(self, key: TicketKey, fresh: KeptTicket) -> None:
        if self._database.execute("SELECT count(*) FROM tickets").fetchone()[0] >= _MOST:
            raise TooManyTicketsError(f"{_MOST} requests of this agent wait for people already")
        row = (fresh.approval, *key, self._instance, self._instance, 0, fresh.expires_at, msgspec.msgpack.encode(fresh))
        self._database.execute(f"INSERT INTO tickets VALUES ({','.join('?' * len(row))}, NULL, NULL)", row)  # noqa: S608 - marks

    def _read(self, approval: ApprovalId) -> KeptTicket | None:
        row = self._database.execute(f"{_SELECT} WHERE approval = ?", (approval,)).fetchone()
        return _kept(row) if row is not None else None


_SELECT = "SELECT body, issued, pending, answered FROM tickets"


def _kept(row: tuple[bytes, int, bytes | None, bytes | None]) -> KeptTicket:
    body, issued, pending, answered = row
    return msgspec.structs.replace(
        _body.decode(body),
        issued=bool(issued),
        pending=_pending.decode(pending) if pending is not None else None,
        answered=_answered.decode(answered) if answered is not None else None,
    )
