"""What workloads need from elsewhere."""

from __future__ import annotations

from typing import Protocol

from control_plane.identities.domain import Identity
from control_plane.kit.unit_of_work import UnitOfWork


class Subjects(Protocol):
    async def of_issuer(self, uow: UnitOfWork, issuer: str, subject: str) -> Identity | None:
        """Who a subject of this issuer is here, if people sign in there and this one is linked. None: nobody known."""
