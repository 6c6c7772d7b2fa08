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
from control_plane.approvals.tables import VoteRow
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
        used, known = await _used(uow, ids), await _known(uow, ids)
        return [
            examined(
                one, _seen(known[one.id], used.get(one.id, {})), used.get(one.id, {}), things.get(one.id, []), uow.now
            )
            for one in identities
        ]

    async def _things(self, uow: UnitOfWork, ids: Sequence[str]) -> Mapping[str, list[Thing]]:
        """What an identity is itself stands in its line already."""
        found = [thing for source in self._lasting for thing in await source.things(uow, ids)]
        found = [thing for thing in found if thing.id != thing.identity_id] + await sources.passing(uow, ids)
        ordered = sorted(found, key=lambda thing: thing.identity_id)
        return {identity_id: list(some) for identity_id, some in groupby(ordered, lambda thing: thing.identity_id)}


def _seen(known: Known, used: Mapping[str, datetime]) -> Known:
    """Whoever opens a session or approves in a chat is seen, although not by this control plane's API."""
    seen = [at for at in (known.last_seen_at, *used.values()) if at is not None]
    return Known(known.created_at, max(seen, default=None))


async def _known(uow: UnitOfWork, ids: Sequence[str]) -> Mapping[str, Known]:
    statement = select(IdentityRow.id, IdentityRow.created_at, IdentityRow.last_seen_at)
    found = (await uow.session.exec(statement.where(col(IdentityRow.id).in_(ids)))).all()
    return {identity_id: Known(created_at, last_seen_at) for identity_id, created_at, last_seen_at in found}


async def _used(uow: UnitOfWork, ids: Sequence[str]) -> Mapping[str, dict[str, datetime]]:
    """As it was noted at the API; sessions at agents, and what was decided through any channel."""
    use = PermissionUseRow
    noted = select(use.identity_id, use.permission, use.last_at).where(col(use.identity_id).in_(ids))
    found: dict[str, dict[str, datetime]] = {}
    for identity_id, permission, at in (await uow.session.exec(noted)).all():
        found.setdefault(identity_id, {})[permission] = at
    for permission, who, when in (
        (Permission.REQUEST, col(SessionRow.requester_id), col(SessionRow.opened_at_ms)),
        (Permission.REVIEW, col(VoteRow.identity_id), col(VoteRow.at_ms)),
    ):
        newest = select(who, func.max(when)).where(who.in_(ids)).group_by(who)
        for identity_id, at_ms in (await uow.session.exec(newest)).all():
            at, mine = from_milliseconds(at_ms), found.setdefault(identity_id, {})
            mine[permission] = max(at, mine.get(permission, at))
    return found
