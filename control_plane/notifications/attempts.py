"""One attempt to deliver, and what becomes of the delivery. The attempt itself happens outside every transaction.

At least once: what the channel took and a crash kept from being written down is tried again when the lease has ended.
Text of an unexpected error is not kept, because it may hold an address with a secret in it; its type is.
"""

from __future__ import annotations

import asyncio
from typing import Final

import msgspec
import structlog

from control_plane.approvals.domain import State
from control_plane.approvals.transitions import TOPIC as APPROVAL
from control_plane.kit.clock import milliseconds
from control_plane.kit.outbox import NoticeRow
from control_plane.kit.unit_of_work import SYSTEM, AuditEvent, UnitOfWork, Units
from control_plane.notifications import repository
from control_plane.notifications.domain import (
    OPENING,
    UNDELIVERABLE,
    DeliveryState,
    is_too_old,
    nobody_told,
    pause_ms,
)
from control_plane.notifications.ports import (
    TIME_LIMIT_SECONDS,
    Approvals,
    Channel,
    Facts,
    Later,
    Luck,
    Never,
    Notice,
    Told,
)
from control_plane.notifications.tables import DeliveryRow, ReferenceRow

_log = structlog.get_logger(__name__)

TOPIC: Final = "delivery"  # news: a delivery has been added or has changed; the key is the channel
LONGEST_TEXT: Final = 500  # of an error or a note


class Retry(msgspec.Struct, frozen=True):
    why: str
    at_least_ms: int = 0


class Failure(msgspec.Struct, frozen=True):
    why: str


Outcome = Told | Retry | Failure


class Attempts:
    def __init__(self, units: Units, approvals: Approvals, luck: Luck, limit_seconds: float) -> None:
        self._units = units
        self._approvals = approvals
        self._luck = luck
        self._limit_seconds = min(limit_seconds, TIME_LIMIT_SECONDS)

    async def make(self, channel: Channel, claimed: DeliveryRow) -> None:
        """Delivers what this replica has claimed, and writes down how it went."""
        outcome = await self._outcome(channel, claimed)
        async with self._units() as uow:
            if claimed.kind == OPENING:  # so that of two channels that fail at once the second sees the first
                await repository.locked_notice(uow.session, claimed.notice_id)
            row = await repository.locked(uow.session, claimed.id)
            if row is None or row.state != DeliveryState.PENDING or row.attempts != claimed.attempts:
                return  # the lease ended and another took it over, or an admin did something
            before = await self._is_untold(uow, row)
            self._settle(uow, row, outcome)
            if isinstance(outcome, Told):
                await _refer(uow, row, outcome)
            await uow.session.flush()
            await self._tell_if_untold(uow, row, before=before)

    async def _outcome(self, channel: Channel, claimed: DeliveryRow) -> Outcome:
        try:
            notice, facts = await self._given(claimed)
            async with asyncio.timeout(self._limit_seconds):
                return await channel.deliver(notice, facts) or Told()
        except Later as later:
            return Retry(later.why or "the channel asked for a later attempt", int(later.seconds * 1000))
        except Never as never:
            return Failure(never.why or "the channel refused it")
        except TimeoutError:
            return Retry(f"no answer within {self._limit_seconds:g} s")
        except Exception as error:  # noqa: BLE001 - whatever a channel does wrong is its own matter
            _log.warning("a channel failed", error=type(error).__name__, **repository.detached(claimed))
            return Retry(f"unexpected {type(error).__name__}")

    async def _given(self, claimed: DeliveryRow) -> tuple[Notice, Facts]:
        async with self._units.reading() as uow:
            row = await repository.notice(uow.session, claimed.notice_id)
            if row is None:
                raise Never("the notice is gone")
            facts = await self._approvals.facts(uow, claimed.key)
            known = await repository.reference(uow.session, claimed.channel, claimed.key)
        reference = known.reference if known else ""
        own = {"idempotency_key": claimed.id, "attempt": claimed.attempts, "reference": reference}
        return notice_of(row), msgspec.structs.replace(facts, **own)

    def _settle(self, uow: UnitOfWork, row: DeliveryRow, outcome: Outcome) -> None:
        now = milliseconds(uow.now)
        match outcome:
            case Told(note):
                _end(row, DeliveryState.DELIVERED, now)
                row.error, row.note = "", note[:LONGEST_TEXT]
            case Failure(why):
                _end(row, DeliveryState.FAILED, now)
                row.error = why[:LONGEST_TEXT]
            case Retry(why, at_least_ms):
                row.error = why[:LONGEST_TEXT]
                row.failures += 1
                row.next_at_ms = now + pause_ms(row.attempts, self._luck(), at_least_ms)
                if is_too_old(row.at_ms, row.next_at_ms):
                    _end(row, DeliveryState.FAILED, now)
        uow.session.add(row)
        uow.notify(TOPIC, row.channel)

    async def _is_untold(self, uow: UnitOfWork, row: DeliveryRow) -> bool:
        if row.kind != OPENING:
            return False
        return nobody_told((await repository.openings(uow.session, [row.key])).get(row.key, []))

    async def _tell_if_untold(self, uow: UnitOfWork, row: DeliveryRow, *, before: bool) -> None:
        now = await self._is_untold(uow, row)
        if now != before:
            uow.notify(APPROVAL, row.key)
        if not now or await repository.has_notice(uow.session, UNDELIVERABLE, row.key):
            return
        view = (await self._approvals.facts(uow, row.key, recipients=False)).view
        if view is None or view.row.state != State.PENDING:
            return
        _log.error("no channel could tell anybody of a new request", approval=row.key)
        uow.notice(UNDELIVERABLE, row.key, {"channel": row.channel, "error": row.error})
        uow.audit(AuditEvent(UNDELIVERABLE, SYSTEM, row.key, {"channel": row.channel, "error": row.error}))


def notice_of(row: NoticeRow) -> Notice:
    return Notice(row.id or 0, row.kind, row.key, row.data, row.at_ms)


def _end(row: DeliveryRow, state: DeliveryState, now_ms: int) -> None:
    row.state = state
    row.done_at_ms = now_ms


async def _refer(uow: UnitOfWork, row: DeliveryRow, told: Told) -> None:
    """Remembers what the channel made elsewhere. What it does not say stays as it was."""
    if not told.reference:
        return
    known = await repository.reference(uow.session, row.channel, row.key)
    made = known or ReferenceRow(channel=row.channel, key=row.key, reference="", label="", url="", at_ms=row.at_ms)
    if (made.reference, made.url) != (told.reference, told.url):
        uow.notify(APPROVAL, row.key)
    made.reference, made.label, made.url, made.at_ms = told.reference, told.label, told.url, milliseconds(uow.now)
    uow.session.add(made)
