"""Handing one's right to review to another person until an end: given, listed, taken back.

A delegation moves one person's place in the chain and nothing else: no role, no group, and no place that others handed
to the delegator. Who may take it is counted in `domain`, again at every decision. One that was taken back voids at once
what was agreed under it; one that came to its end does not.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import datetime, timedelta
from typing import Final

import msgspec

from control_plane.approvals import delegation_rows, repository
from control_plane.approvals.domain import OPEN, Person, StandIn, State, place_of
from control_plane.approvals.errors import (
    DelegationNotFoundError,
    DelegationOverError,
    DelegationRefusedError,
    NotYoursError,
    TooManyDelegationsError,
)
from control_plane.approvals.ports import People, Rulebook
from control_plane.approvals.standing import Standing
from control_plane.approvals.tables import ApprovalRow, DelegationRow
from control_plane.approvals.transitions import TOPIC
from control_plane.kit.access import Permission, Principal
from control_plane.kit.clock import milliseconds
from control_plane.kit.ids import new_id
from control_plane.kit.pagination import Paging, newest_key
from control_plane.kit.unit_of_work import Actor, AuditEvent, Json, UnitOfWork

DELEGATIONS: Final = "delegation"  # news: one was taken back; the key is its id
LONGEST: Final = timedelta(days=90)
MOST_AT_ONCE: Final = 20  # that one person has given and that hold
_CHUNK: Final = 200


class Given(msgspec.Struct, frozen=True):
    """What somebody hands over. Empty chains or environments: all of them."""

    delegate: str
    until: datetime
    chains: tuple[str, ...] = ()
    environments: tuple[str, ...] = ()
    note: str = ""


class Delegations:
    def __init__(self, people: People, rulebook: Rulebook, standing: Standing) -> None:
        self._people = people
        self._rulebook = rulebook
        self._standing = standing

    async def give(self, uow: UnitOfWork, principal: Principal, given: Given) -> DelegationRow:
        """Raises a ProblemError."""
        delegate = await self._delegate(uow, principal, given)
        now_ms = milliseconds(uow.now)
        if await delegation_rows.count_holding(uow.session, principal.identity, now_ms) >= MOST_AT_ONCE:
            raise TooManyDelegationsError(f"at most {MOST_AT_ONCE} hold at once; take one back first")
        row = DelegationRow(
            id=new_id("dlg"),
            delegator_id=principal.identity,
            delegator=principal.name,
            delegate_id=delegate.id,
            delegate=delegate.name,
            chains=sorted(set(given.chains)),
            environments=sorted(set(given.environments)),
            note=given.note,
            created_at_ms=now_ms,
            until_ms=milliseconds(given.until),
        )
        uow.session.add(row)
        await uow.session.flush()
        uow.audit(AuditEvent("delegation.given", principal.actor, row.id, told(row)))
        await _tell(uow, [waiting.id for waiting in await self._touched(uow, row)], row)
        return row

    async def take_back(self, uow: UnitOfWork, principal: Principal, delegation_id: str) -> None:
        """By who gave it, who was given it, or an admin. What was agreed under it no longer counts, at once; requests
        that were approved by it are voided by `upkeep`, which hears of it. Raises a ProblemError."""
        row = await delegation_rows.locked(uow.session, delegation_id)
        if row is None or not _may_see(principal, row):
            raise DelegationNotFoundError(delegation_id)
        if principal.identity not in {row.delegator_id, row.delegate_id} and not principal.may(Permission.ADMIN):
            raise NotYoursError("who gave it, who was given it, or an admin takes it back")
        if row.revoked_at_ms is not None or row.until_ms <= milliseconds(uow.now):
            raise DelegationOverError("it is over already")
        await self._revoke(uow, principal.actor, row)

    async def end_of(self, uow: UnitOfWork, by: Actor, identity_ids: Collection[str]) -> list[str]:
        """Whatever these have given or taken. The ids of what held."""
        holding = await delegation_rows.holding_of(uow.session, identity_ids, milliseconds(uow.now))
        for row in holding:
            await self._revoke(uow, by, row)
        return [row.id for row in holding]

    async def _revoke(self, uow: UnitOfWork, by: Actor, row: DelegationRow) -> None:
        touched = [waiting.id for waiting in await self._touched(uow, row)]
        touched += await delegation_rows.used_by_open(uow.session, row.id, sorted(OPEN))
        row.revoked_at_ms = milliseconds(uow.now)
        row.revoked_by = by.name
        uow.session.add(row)
        uow.audit(AuditEvent("delegation.revoked", by, row.id, told(row)))
        uow.notify(DELEGATIONS, row.id)
        await _tell(uow, touched, row)

    async def listed(
        self, uow: UnitOfWork, principal: Principal, paging: Paging, *, everybodys: bool, over: bool
    ) -> tuple[Sequence[DelegationRow], str | None]:
        """Newest first. Those of others are for reviewers, auditors and admins."""
        of = "" if everybodys and _sees_all(principal) else principal.identity
        at_ms = None if over else milliseconds(uow.now)
        rows = await delegation_rows.newest(uow.session, of, at_ms, newest_key(paging), paging.limit + 1)
        return paging.page(rows, lambda row: (row.created_at_ms, row.id))

    async def one(self, uow: UnitOfWork, principal: Principal, delegation_id: str) -> DelegationRow:
        row = await uow.session.get(DelegationRow, delegation_id)
        if row is None or not _may_see(principal, row):
            raise DelegationNotFoundError(delegation_id)
        return row

    async def _delegate(self, uow: UnitOfWork, principal: Principal, given: Given) -> Person:
        if not uow.now < given.until <= uow.now + LONGEST:
            raise DelegationRefusedError(f"`until` must be in the future, and at most {LONGEST.days} days from now")
        for chain in given.chains:
            if await self._rulebook.chain(uow, chain) is None:
                raise DelegationRefusedError(f"approval chain {chain!r} does not exist")
        found = next(iter(await self._people.people_named(uow, [given.delegate])), None)
        if found is None or found.kind != "person" or not found.enabled:
            raise DelegationRefusedError(f"{given.delegate!r} is not a person who is able to act")
        if found.id == principal.identity:
            raise DelegationRefusedError("that is yourself")
        if not found.may_review:
            raise DelegationRefusedError(
                f"{given.delegate!r} is no reviewer: a delegation hands over your place, not the role; "
                "an admin gives the role reviewer through a group"
            )
        return found

    async def _touched(self, uow: UnitOfWork, delegation: DelegationRow) -> list[ApprovalRow]:
        """The pending requests that the delegate would decide now in the delegator's place."""
        found: list[ApprovalRow] = []
        after: tuple[int, str] | None = None
        while True:
            rows = await repository.newest(uow.session, repository.Wanted(open=True), after, _CHUNK)
            covered = [row for row in rows if _covers(delegation, row)]
            for row, seen in zip(covered, await self._standing.seen(uow, covered), strict=True):
                delegate = seen.people.get(delegation.delegate_id)
                place = place_of(seen.request, delegate, seen.people) if delegate else None
                if isinstance(place, StandIn) and place.id == delegation.id:
                    found.append(row)
            if len(rows) < _CHUNK:
                return found
            after = (rows[-1].requested_at_ms, rows[-1].id)


def _covers(delegation: DelegationRow, row: ApprovalRow) -> bool:
    chain = repository.chain_of(row).name
    return row.state == State.PENDING and delegation_rows.covers(delegation, chain, row.environment)


async def _tell(uow: UnitOfWork, approval_ids: Collection[str], delegation: DelegationRow) -> None:
    """Each is locked, so that its notices keep their order; by id, so that nobody waits in a circle."""
    for approval_id in sorted(set(approval_ids)):
        await repository.locked(uow.session, approval_id)
        uow.notify(TOPIC, approval_id)
        uow.notice("approval.delegated", approval_id, told(delegation))


def told(row: DelegationRow) -> dict[str, Json]:
    return {
        "delegation": row.id,
        "delegator": row.delegator,
        "delegator_id": row.delegator_id,
        "delegate": row.delegate,
        "delegate_id": row.delegate_id,
        "chains": row.chains,
        "environments": row.environments,
        "until_ms": row.until_ms,
        "revoked": row.revoked_at_ms is not None,
    }


def _sees_all(principal: Principal) -> bool:
    return any(principal.may(one) for one in (Permission.REVIEW, Permission.AUDIT, Permission.ADMIN))


def _may_see(principal: Principal, row: DelegationRow) -> bool:
    return _sees_all(principal) or principal.identity in {row.delegator_id, row.delegate_id}
