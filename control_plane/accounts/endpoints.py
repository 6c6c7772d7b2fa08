"""`/v1/accounts`: the accounts that sessions have at targets, and those that would not go away."""

from __future__ import annotations

from typing import Annotated, Final, Literal

from fastapi import APIRouter, Query

from control_plane.accounts.domain import STUCK, State
from control_plane.accounts.repository import Filter
from control_plane.accounts.schemas import AccountOut
from control_plane.accounts.service import AccountService
from control_plane.kit.access import EVERYBODY, Permission, Principal, requires
from control_plane.kit.errors import problems
from control_plane.kit.pagination import Page, PagingQuery
from control_plane.kit.wiring import UnitsOfWork, provided

router = APIRouter(prefix="/v1/accounts", tags=["accounts"], responses=problems(401, 403, 422))
Service = Annotated[AccountService, provided(AccountService)]
Viewer = Annotated[Principal, requires(Permission.SESSIONS, by=EVERYBODY)]

Show = Literal["there", "open", "stuck", "all"]
STATES: Final = {
    "there": frozenset({State.OPEN}) | STUCK,
    "open": frozenset({State.OPEN}),
    "stuck": STUCK,
    "all": frozenset[State](),
}


@router.get("", summary="Accounts of sessions, newest first")
async def list_accounts(
    _viewer: Viewer,
    service: Service,
    units: UnitsOfWork,
    paging: PagingQuery,
    show: Annotated[Show, Query(description="there: all that are not known to be gone")] = "there",
    target: Annotated[str, Query(max_length=255)] = "",
    session: Annotated[str, Query(max_length=64, description="id of a session")] = "",
) -> Page[AccountOut]:
    async with units.reading() as uow:
        rows, cursor = await service.listed(uow, Filter(STATES[show], target, session), paging)
    return Page(items=[AccountOut.of(row) for row in rows], next_cursor=cursor)
