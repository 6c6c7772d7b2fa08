"""How much one requester may ask of people: so many requests that wait, and so many requests in a minute.

Beyond the first a request is refused and says so, beyond the second the requester is locked for a time: what waits is
taken back and nothing new is asked. Fatigue is an attack: whoever asks a hundred times is approved once. The sessions
themselves go on with what policy allows.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
from sqlalchemy.exc import IntegrityError
from sqlmodel import col, func, select

from control_plane.approvals.domain import Event, State
from control_plane.approvals.errors import LockedError, TooManyWaitError
from control_plane.approvals.limits import Limits
from control_plane.approvals.ports import People
from control_plane.approvals.tables import ApprovalRow, PressureRow
from control_plane.approvals.transitions import move
from control_plane.kit.access import Principal
from control_plane.kit.clock import from_milliseconds, milliseconds
from control_plane.kit.unit_of_work import SYSTEM, Actor, AuditEvent, Json, UnitOfWork

_MINUTE_MS = 60_000


class Locked(msgspec.Struct, frozen=True):
    identity_id: str
    until_ms: int


class Pressure:
    def __init__(self, limits: Limits, people: People) -> None:
        self._limits = limits
        self._people = people

    async def asked(self, uow: UnitOfWork, requester_id: str) -> str:
        """Counts one more request of this minute. Why it is refused; empty: it is not."""
        row = await _locked_row(uow, requester_id)
        now = milliseconds(uow.now)
        if (row.locked_until_ms or 0) > now:
            return _locked_words(row)
        if row.minute_began_ms + _MINUTE_MS <= now:
            row.minute_began_ms, row.asked = now, 0
        row.asked += 1
        uow.session.add(row)
        if row.asked > self._limits.in_a_minute:
            await self._lock(uow, row)
            return _locked_words(row)
        return ""

    async def full(self, uow: UnitOfWork, requester_id: str) -> str:
        """After `asked`. Why one more may not wait for people; empty: it may."""
        if await _waiting(uow, requester_id) < self._limits.waiting:
            return ""
        await self._alert(uow, await _locked_row(uow, requester_id))
        return self._too_many

    async def admit(self, uow: UnitOfWork, by: Principal) -> None:
        """For what is asked for at the control plane itself. Raises LockedError or TooManyWaitError."""
        row = await uow.session.get(PressureRow, by.identity)
        if row is not None and (row.locked_until_ms or 0) > milliseconds(uow.now):
            raise LockedError(_locked_words(row))
        if await _waiting(uow, by.identity) >= self._limits.waiting:
            raise TooManyWaitError(self._too_many)

    @property
    def _too_many(self) -> str:
        most = self._limits.waiting
        return f"{most} requests of this requester wait for people already, which is the limit; wait for some of them"

    async def _lock(self, uow: UnitOfWork, row: PressureRow) -> None:
        row.locked_until_ms = milliseconds(uow.now) + self._limits.lock_seconds * 1000
        taken_back = await _pending(uow, row.identity_id)
        for request in taken_back:
            move(uow, request, Event.VOIDED, SYSTEM, "the requester is locked: too many requests in a minute")
        told: dict[str, Json] = {"asked": row.asked, "until_ms": row.locked_until_ms, "taken_back": len(taken_back)}
        uow.audit(AuditEvent("fatigue.locked", SYSTEM, row.identity_id, told))
        uow.notice("fatigue.locked", row.identity_id, {"requester": await self._name(uow, row), **told})

    async def _alert(self, uow: UnitOfWork, row: PressureRow) -> None:
        """Once a minute, however many are refused."""
        now = milliseconds(uow.now)
        if row.alerted_at_ms is not None and row.alerted_at_ms + _MINUTE_MS > now:
            return
        row.alerted_at_ms = now
        told: dict[str, Json] = {"waiting": self._limits.waiting}
        uow.audit(AuditEvent("fatigue.limit-reached", SYSTEM, row.identity_id, told))
        uow.notice("fatigue.limit-reached", row.identity_id, {"requester": await self._name(uow, row), **told})

    async def _name(self, uow: UnitOfWork, row: PressureRow) -> str:
        subject = await self._people.subject(uow, row.identity_id)
        return subject.name if subject else row.identity_id

    # -------------------------------------------------------------- for admins

    async def locked(self, uow: UnitOfWork) -> Sequence[Locked]:
        """Whoever is locked now, in order of when it ends."""
        until = col(PressureRow.locked_until_ms)
        rows = await uow.session.exec(select(PressureRow).where(until > milliseconds(uow.now)).order_by(until))
        return [Locked(row.identity_id, row.locked_until_ms or 0) for row in rows.all()]

    async def unlock(self, uow: UnitOfWork, by: Actor, identity_id: str) -> bool:
        """False: it was not locked."""
        row = await uow.session.get(PressureRow, identity_id, with_for_update=True, populate_existing=True)
        if row is None or (row.locked_until_ms or 0) <= milliseconds(uow.now):
            return False
        row.locked_until_ms, row.asked = None, 0
        uow.session.add(row)
        uow.audit(AuditEvent("fatigue.unlocked", by, identity_id))
        return True


async def _locked_row(uow: UnitOfWork, identity_id: str) -> PressureRow:
    """Nobody else's until the transaction ends: two replicas count one after the other."""
    row = await uow.session.get(PressureRow, identity_id, with_for_update=True, populate_existing=True)
    if row is not None:
        return row
    try:
        async with uow.session.begin_nested():
            made = PressureRow(identity_id=identity_id, minute_began_ms=milliseconds(uow.now), asked=0)
            uow.session.add(made)
    except IntegrityError:
        return await uow.session.get_one(PressureRow, identity_id, with_for_update=True, populate_existing=True)
    return made


async def _waiting(uow: UnitOfWork, requester_id: str) -> int:
    mine = (col(ApprovalRow.requester_id) == requester_id, col(ApprovalRow.state) == State.PENDING)
    return (await uow.session.exec(select(func.count()).select_from(ApprovalRow).where(*mine))).one()


async def _pending(uow: UnitOfWork, requester_id: str) -> Sequence[ApprovalRow]:
    """Locked, in the order in which everybody locks several."""
    mine = (col(ApprovalRow.requester_id) == requester_id, col(ApprovalRow.state) == State.PENDING)
    statement = select(ApprovalRow).where(*mine).order_by(col(ApprovalRow.id)).with_for_update()
    found = await uow.session.exec(statement.execution_options(populate_existing=True))
    return found.all()


def _locked_words(row: PressureRow) -> str:
    until = from_milliseconds(row.locked_until_ms or 0)
    return f"the requester is locked until {until:%H:%M:%S} UTC: too many requests in a minute; an admin may unlock it"
