"""The report: every identity with all that it has access by, what it may, what of that it used, and what to look at."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from datetime import datetime
from itertools import groupby
from typing import Final

from sqlalchemy import func
from sqlmodel import col, select

from control_plane.access_reviews import sources
from control_plane.access_reviews.domain import Access, Known, Thing, examined
from control_plane.access_reviews.ports import Source
from control_plane.access_reviews.tables import PermissionUseRow
from control_plane.identities import repository
from control_plane.identities.domain import Identity
from control_plane.identities.tables import IdentityRow
from control_plane.kit.access import Permission
from control_plane.kit.clock import from_milliseconds
from control_plane.kit.pagination import Paging, single_key
from control_plane.kit.unit_of_work import UnitOfWork
from control_plane.sessions.tables import SessionRow

_AT_ONCE: Final = 200


class AccessReport:
    def __init__(self, lasting: Sequence[Source]) -> None:
        self._lasting = lasting

    async def page(self, uow: UnitOfWork, paging: Paging) -> tuple[list[Access], str | None]:
        """By name."""
        found = await repository.page_of_identities(uow.session, single_key(paging, str), paging.limit + 1)
        kept, cursor = paging.page(found, lambda identity: (identity.name,))
        return await self.of(uow, kept), cursor

    async def everybody(self, uow: UnitOfWork) -> AsyncIterator[Access]:
        """By name, so many at once that no answer is too large."""
        after: str | None = None
        while found := await repository.page_of_identities(uow.session, after, _AT_ONCE):
            for access in await self.of(uow, found):
                yield access
            after = found[-1].name

    async def of(self, uow: UnitOfWork, identities: Sequence[Identity]) -> list[Access]:
        ids = [str(one.id) for one in identities]
        things = await self._things(uow, ids)
        used, sessions = await _used(uow, ids), await _last_sessions(uow, ids)
        known = await _known(uow, ids)
        return [
            examined(
                one,
                _seen(known[one.id], sessions.get(one.id)),
                _with_request(used.get(one.id, {}), sessions.get(one.id)),
                things.get(one.id, []),
                uow.now,
            )
            for one in identities
        ]

    async def _things(self, uow: UnitOfWork, ids: Sequence[str]) -> Mapping[str, list[Thing]]:
        """What an identity is itself stands in its line already."""
        found = [thing for source in self._lasting for thing in await source.things(uow, ids)]
        found = [thing for thing in found if thing.id != thing.identity_id] + await sources.passing(uow, ids)
        ordered = sorted(found, key=lambda thing: thing.identity_id)
        return {identity_id: list(some) for identity_id, some in groupby(ordered, lambda thing: thing.identity_id)}


def _seen(known: Known, session_at: datetime | None) -> Known:
    """Whoever opens a session is seen, although not by this control plane."""
    seen = [at for at in (known.last_seen_at, session_at) if at is not None]
    return Known(known.created_at, max(seen, default=None))


def _with_request(used: Mapping[str, datetime], session_at: datetime | None) -> Mapping[str, datetime]:
    if session_at is None:
        return used
    return {**used, Permission.REQUEST: max(used.get(Permission.REQUEST, session_at), session_at)}


async def _known(uow: UnitOfWork, ids: Sequence[str]) -> Mapping[str, Known]:
    statement = select(IdentityRow.id, IdentityRow.created_at, IdentityRow.last_seen_at)
    found = (await uow.session.exec(statement.where(col(IdentityRow.id).in_(ids)))).all()
    return {identity_id: Known(created_at, last_seen_at) for identity_id, created_at, last_seen_at in found}


async def _used(uow: UnitOfWork, ids: Sequence[str]) -> Mapping[str, dict[str, datetime]]:
    found: dict[str, dict[str, datetime]] = {}
    rows = await uow.session.exec(select(PermissionUseRow).where(col(PermissionUseRow.identity_id).in_(ids)))
    for row in rows.all():
        found.setdefault(row.identity_id, {})[row.permission] = row.last_at
    return found


async def _last_sessions(uow: UnitOfWork, ids: Sequence[str]) -> Mapping[str, datetime]:
    requester = col(SessionRow.requester_id)
    statement = select(requester, func.max(SessionRow.opened_at_ms)).where(requester.in_(ids)).group_by(requester)
    return {identity_id: from_milliseconds(at_ms) for identity_id, at_ms in (await uow.session.exec(statement)).all()}
