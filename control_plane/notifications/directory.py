"""The port Approvals, answered by approvals; and the port Tellings of approvals, answered from here."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from urllib.parse import quote

from control_plane.approvals.review import ReviewService
from control_plane.approvals.telling import Link, Telling
from control_plane.kit.unit_of_work import UnitOfWork
from control_plane.notifications import repository
from control_plane.notifications.domain import nobody_told
from control_plane.notifications.ports import Facts


class KnownApprovals:
    def __init__(self, review: ReviewService, public_url: str) -> None:
        self._review = review
        self._public_url = public_url.rstrip("/")

    async def facts(self, uow: UnitOfWork, key: str) -> Facts:
        view = await self._review.present(uow, key)
        url = f"{self._public_url}/approvals/{quote(key, safe='')}" if view is not None else self._public_url
        return Facts(view=view, recipients=(), url=url, idempotency_key="", attempt=0)


class KnownTellings:
    """Stateless, so it is there before anything else of notifications is."""

    async def of(self, uow: UnitOfWork, approval_ids: Sequence[str]) -> Mapping[str, Telling]:
        tries = await repository.openings(uow.session, approval_ids)
        links: dict[str, list[Link]] = {}
        for row in await repository.references(uow.session, approval_ids):
            if row.url:
                links.setdefault(row.key, []).append(Link(row.channel, row.label, row.url))
        return {key: Telling(tuple(links.get(key, ())), nobody_told(tries.get(key, ()))) for key in {*tries, *links}}
