"""The port Approvals, answered by approvals; and the port Tellings of approvals, answered from here."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Protocol
from urllib.parse import quote

from control_plane.approvals.review import ReviewService, View
from control_plane.approvals.telling import Link, Telling
from control_plane.identities.domain import Identity
from control_plane.kit.unit_of_work import UnitOfWork
from control_plane.notifications import repository
from control_plane.notifications.domain import nobody_told
from control_plane.notifications.ports import Facts, Recipient
from data_plane.identifiers import IdentityId


class Addresses(Protocol):
    """Asked of identities."""

    async def find_all(self, uow: UnitOfWork, ids: Iterable[str]) -> dict[str, Identity]: ...


class KnownApprovals:
    def __init__(self, review: ReviewService, addresses: Addresses, public_url: str) -> None:
        self._review = review
        self._addresses = addresses
        self._public_url = public_url.rstrip("/")

    async def facts(self, uow: UnitOfWork, key: str, *, recipients: bool = True) -> Facts:
        view = await self._review.present(uow, key)
        url = f"{self._public_url}/approvals/{quote(key, safe='')}" if view is not None else self._public_url
        able = await self._recipients(uow, key, view) if recipients and view is not None else ()
        return Facts(view=view, recipients=able, url=url, idempotency_key="", attempt=0)

    async def _recipients(self, uow: UnitOfWork, key: str, view: View) -> Sequence[Recipient]:
        """Who could decide now; once the glass is broken, everybody who was skipped by that."""
        able = {decider.person.id: decider.person.name for decider in await self._review.recipients(uow, key)}
        if view.acts.broken is not None:
            able = {one["id"]: one["name"] for one in view.acts.broken.skipped}
        known = await self._addresses.find_all(uow, able)
        emails = {one.id: one.email for one in known.values()}
        return [Recipient(one, name, emails.get(IdentityId(one), "")) for one, name in able.items()]


class KnownTellings:
    """Stateless, so it is there before anything else of notifications is."""

    async def of(self, uow: UnitOfWork, approval_ids: Sequence[str]) -> Mapping[str, Telling]:
        tries = await repository.openings(uow.session, approval_ids)
        links: dict[str, list[Link]] = {}
        for row in await repository.references(uow.session, approval_ids):
            if row.url:
                links.setdefault(row.key, []).append(Link(row.channel, row.label, row.url))
        return {key: Telling(tuple(links.get(key, ())), nobody_told(tries.get(key, ()))) for key in {*tries, *links}}
