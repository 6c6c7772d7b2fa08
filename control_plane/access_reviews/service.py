"""Campaigns: everything that lasts is asked about; its owner confirms it before the deadline, or it is lost.

Who is asked is whoever owns the thing at that moment: the owner of a machine, or the person whose token it is. Nobody
confirms for another, admins neither. What is lost ends as if an admin had ended it, with all that rests on it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Final

import msgspec

from control_plane.access_reviews import rows
from control_plane.access_reviews.domain import Access, Campaign, Kind, State, Thing
from control_plane.access_reviews.errors import NotYoursToConfirmError, ReviewNotFoundError, ReviewOverError
from control_plane.access_reviews.ports import Source
from control_plane.access_reviews.report import AccessReport
from control_plane.access_reviews.tables import AccessReviewItemRow, AccessReviewRow
from control_plane.identities.domain import Identity
from control_plane.identities.service import IdentityService
from control_plane.kit.access import Permission, Principal
from control_plane.kit.errors import InvalidError
from control_plane.kit.ids import new_id
from control_plane.kit.pagination import Paging, single_key
from control_plane.kit.unit_of_work import SYSTEM, Actor, AuditEvent, Json, UnitOfWork

LONGEST: Final = timedelta(days=180)
_SEES_ALL: Final = (Permission.AUDIT, Permission.ADMIN)


class Asked(msgspec.Struct, frozen=True):
    """One thing, with who is asked about it now."""

    row: AccessReviewItemRow
    owner: Identity | None

    def is_for(self, principal: Principal) -> bool:
        return self.owner is not None and self.owner.id == principal.identity


class AccessReviews:
    def __init__(self, identities: IdentityService, report: AccessReport, lasting: Sequence[Source]) -> None:
        self._identities = identities
        self._report = report
        self._sources: Mapping[str, Source] = {source.kind: source for source in lasting}
        self._order = [source.kind for source in lasting]

    # -------------------------------------------------------------- by admins

    async def open(self, uow: UnitOfWork, by: Principal, name: str, deadline_at: datetime) -> AccessReviewRow:
        if not uow.now < deadline_at <= uow.now + LONGEST:
            raise InvalidError(f"the deadline must be in the future, and at most {LONGEST.days} days from now")
        review = AccessReviewRow(
            id=new_id("arv"),
            name=name,
            state=Campaign.OPEN,
            opened_by=by.name,
            opened_at=uow.now,
            deadline_at=deadline_at,
        )
        uow.session.add(review)
        await uow.session.flush()
        items = [one async for access in self._report.everybody(uow) for one in await self._items(uow, access)]
        for number, item in enumerate(items, 1):
            item.review_id, item.number = review.id, number
        uow.session.add_all(items)
        owners: list[Json] = [*sorted({item.owner for item in items if item.owner})]
        told: dict[str, Json] = {"name": name, "deadline_at": deadline_at.isoformat(), "things": len(items)}
        uow.audit(AuditEvent("access-review.opened", by.actor, review.id, {**told, "owners": owners}))
        uow.notice("access-review.opened", review.id, {**told, "owners": ", ".join(str(one) for one in owners)})
        return review

    async def cancel(self, uow: UnitOfWork, by: Principal, review_id: str) -> AccessReviewRow:
        """Nothing is lost by it; what owners ended stays ended."""
        review = await self._open(uow, review_id)
        review.state, review.closed_at = Campaign.CANCELLED, uow.now
        uow.session.add(review)
        uow.audit(AuditEvent("access-review.cancelled", by.actor, review.id, {"name": review.name}))
        return review

    # -------------------------------------------------------------- by owners

    async def decide(
        self, uow: UnitOfWork, by: Principal, review_id: str, number: int, *, keep: bool, comment: str
    ) -> Asked:
        """Until the deadline; what was kept may still be ended. Raises a ProblemError."""
        review = await self._open(uow, review_id)
        row = await rows.locked_item(uow.session, review_id, number)
        if review.deadline_at <= uow.now:
            raise ReviewOverError("its deadline has passed: what nobody confirmed is lost")
        if row is None:
            raise ReviewNotFoundError(f"{review_id}/{number}")
        (asked,) = await self._asked(uow, [row])
        if not asked.is_for(by):
            raise NotYoursToConfirmError
        if row.state not in {State.ASKED, State.KEPT}:
            raise ReviewOverError(f"it is {row.state} already")
        state = State.KEPT if keep else await self._ended(uow, by.actor, row, f"ended by {by.name} in {review.name!r}")
        self._decided(uow, by.actor, review, row, state, comment)
        return asked

    # -------------------------------------------------------------- when time is over

    async def lose(self, uow: UnitOfWork, review_id: str, number: int) -> None:
        """One thing that nobody has confirmed, after the deadline."""
        review = await rows.locked(uow.session, review_id)
        row = await rows.locked_item(uow.session, review_id, number)
        if review is None or row is None or review.state != Campaign.OPEN or row.state != State.ASKED:
            return
        reason = f"nobody confirmed it in the access review {review.name!r}"
        state = State.LOST if await self._ended(uow, SYSTEM, row, reason) is State.ENDED else State.GONE
        self._decided(uow, SYSTEM, review, row, state, "")

    async def close(self, uow: UnitOfWork, review_id: str) -> None:
        """When nothing is left that was asked and not answered."""
        review = await rows.locked(uow.session, review_id)
        if review is None or review.state != Campaign.OPEN or await rows.unanswered(uow.session, review_id):
            return
        review.state, review.closed_at = Campaign.CLOSED, uow.now
        uow.session.add(review)
        counted = Counter(row.state for row in await rows.items(uow.session, review_id))
        told: dict[str, Json] = {"name": review.name, **dict(sorted(counted.items()))}
        uow.audit(AuditEvent("access-review.closed", SYSTEM, review.id, told))
        uow.notice("access-review.closed", review.id, told)

    async def losing(self, uow: UnitOfWork, review_id: str) -> list[int]:
        """What is asked and not answered, in the order in which it is lost: machines last."""
        found = [row for row in await rows.items(uow.session, review_id) if row.state == State.ASKED]
        return [row.number for row in sorted(found, key=lambda row: (self._order.index(Kind(row.kind)), row.number))]

    # -------------------------------------------------------------- shown

    async def page(
        self, uow: UnitOfWork, principal: Principal, paging: Paging
    ) -> tuple[list[AccessReviewRow], str | None]:
        """Newest first: all for auditors and admins, for others those in which they are asked."""
        found = await rows.newest(uow.session, single_key(paging, str), paging.limit + 1)
        kept, cursor = paging.page(found, lambda row: (row.id,))
        return [row for row in kept if _sees_all(principal) or await self._mine(uow, principal, row.id)], cursor

    async def one(self, uow: UnitOfWork, principal: Principal, review_id: str) -> tuple[AccessReviewRow, list[Asked]]:
        """With all that is asked in it, or what the principal is asked."""
        review = await rows.one(uow.session, review_id)
        items = await self._asked(uow, await rows.items(uow.session, review_id))
        if review is not None and not _sees_all(principal):
            items = [item for item in items if item.is_for(principal)]
        if review is None or not (items or _sees_all(principal)):
            raise ReviewNotFoundError(review_id)
        return review, items

    async def _mine(self, uow: UnitOfWork, principal: Principal, review_id: str) -> bool:
        return any(one.is_for(principal) for one in await self._asked(uow, await rows.items(uow.session, review_id)))

    # -------------------------------------------------------------- rules

    async def _open(self, uow: UnitOfWork, review_id: str) -> AccessReviewRow:
        review = await rows.locked(uow.session, review_id)
        if review is None:
            raise ReviewNotFoundError(review_id)
        if review.state != Campaign.OPEN:
            raise ReviewOverError(f"it is {review.state}")
        return review

    async def _items(self, uow: UnitOfWork, access: Access) -> list[AccessReviewItemRow]:
        """Of one identity: the machine itself, and all of its that lasts. Who is disabled has nothing any more."""
        identity = access.identity
        if identity.disabled:
            return []
        itself = [thing for source in self._sources.values() if source.kind is Kind.IDENTITY
                  for thing in await source.things(uow, [identity.id])]  # fmt: skip
        owner = identity if identity.kind == "person" else None
        owner = owner or await self._identities.find(uow, identity.owner_id or "")
        return [
            _item(identity, thing, access, owner) for thing in [*itself, *(one for one in access.things if one.lasts)]
        ]

    async def _asked(self, uow: UnitOfWork, found: Sequence[AccessReviewItemRow]) -> list[Asked]:
        """Whoever owns it now: a machine may have another owner than when the campaign began."""
        named = {one.name: one for one in await self._identities.find_named(uow, {row.identity for row in found})}
        owners = await self._identities.find_all(uow, _owner_ids(named.values()))
        return [Asked(row, owners.get(_owner_id(named.get(row.identity)))) for row in found]

    async def _ended(self, uow: UnitOfWork, by: Actor, row: AccessReviewItemRow, reason: str) -> State:
        was_good = await self._sources[row.kind].end(uow, by, row.thing_id, reason)
        return State.ENDED if was_good else State.GONE

    def _decided(
        self,
        uow: UnitOfWork,
        by: Actor,
        review: AccessReviewRow,
        row: AccessReviewItemRow,
        state: State,
        comment: str,
    ) -> None:
        row.state, row.decided_by, row.decided_at, row.comment = state, by.name, uow.now, comment
        uow.session.add(row)
        told: dict[str, Json] = {"number": row.number, "kind": row.kind, "thing": row.thing_id}
        told |= {"identity": row.identity, "comment": comment}
        uow.audit(AuditEvent(f"access-review.thing-{state}", by, review.id, told))


def _item(identity: Identity, thing: Thing, access: Access, owner: Identity | None) -> AccessReviewItemRow:
    itself = thing.id == identity.id
    return AccessReviewItemRow(
        review_id="",
        number=0,
        kind=thing.kind,
        thing_id=thing.id,
        identity=identity.name,
        description=thing.description,
        findings=[*(access.findings if itself else access.findings_of[thing.id])],
        last_used_at=access.known.last_seen_at if itself else thing.last_used_at,
        owner_id=owner.id if owner else "",
        owner=owner.name if owner else "",
        state=State.ASKED,
    )


def _owner_id(identity: Identity | None) -> str:
    if identity is None:
        return ""
    return identity.id if identity.kind == "person" else identity.owner_id or ""


def _owner_ids(identities: Iterable[Identity]) -> set[str]:
    return {_owner_id(one) for one in identities}


def _sees_all(principal: Principal) -> bool:
    return any(principal.may(one) for one in _SEES_ALL)
