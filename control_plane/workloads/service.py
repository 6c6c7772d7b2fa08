"""Workloads' sign-ins as admins see them, and end them."""

from __future__ import annotations

from sqlmodel import col

from control_plane.identities.service import IdentityService
from control_plane.kit.access import Principal
from control_plane.kit.errors import NotFoundError
from control_plane.kit.pagination import Paging, single_key
from control_plane.kit.unit_of_work import UnitOfWork
from control_plane.workloads import sign_in_rows
from control_plane.workloads.tables import WorkloadSignInRow


class WorkloadService:
    def __init__(self, identities: IdentityService) -> None:
        self._identities = identities

    async def page(self, uow: UnitOfWork, paging: Paging) -> tuple[list[tuple[WorkloadSignInRow, str]], str | None]:
        """Newest first, with the names of the machines."""
        rows = await sign_in_rows.page(uow.session, single_key(paging, str), paging.limit + 1)
        kept, cursor = paging.page(rows, lambda row: (row.id,))
        names = await self._identities.find_all(uow, {row.identity_id for row in kept})
        return [(row, names[row.identity_id].name) for row in kept], cursor

    async def end(self, uow: UnitOfWork, by: Principal, sign_in_id: str) -> None:
        """Ending it again changes nothing."""
        if await uow.session.get(WorkloadSignInRow, sign_in_id) is None:
            raise NotFoundError(f"there is no workload sign-in {sign_in_id!r}")
        await sign_in_rows.end(uow, by.actor, col(WorkloadSignInRow.id) == sign_in_id, f"ended by {by.name}")
