"""`/v1/request-locks`: requesters who asked too much in a minute and may not ask for a time."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

from fastapi import APIRouter, Path
from pydantic import BaseModel, Field

from control_plane.approvals.errors import NotLockedError
from control_plane.approvals.pressure import Pressure
from control_plane.identities.service import IdentityService
from control_plane.kit.access import SIGN_INS, Permission, Principal, requires
from control_plane.kit.clock import from_milliseconds
from control_plane.kit.errors import problems
from control_plane.kit.wiring import UnitsOfWork, provided

router = APIRouter(prefix="/v1/request-locks", tags=["approvals"], responses=problems(401, 403, 422))
Locks = Annotated[Pressure, provided(Pressure)]
Identities = Annotated[IdentityService, provided(IdentityService)]
Admin = Annotated[Principal, requires(Permission.ADMIN, by=SIGN_INS)]
Name = Annotated[str, Path(max_length=64, examples=["nightly-report"])]


class RequestLockOut(BaseModel):
    identity: str = Field(examples=["nightly-report"])
    until: datetime


@router.get("", summary="Whoever is locked now")
async def list_locks(_admin: Admin, locks: Locks, identities: Identities, units: UnitsOfWork) -> list[RequestLockOut]:
    async with units.reading() as uow:
        found = await locks.locked(uow)
        known = await identities.find_all(uow, [one.identity_id for one in found])
    return [
        RequestLockOut(identity=known[one.identity_id].name, until=from_milliseconds(one.until_ms))
        for one in found
        if one.identity_id in known
    ]


@router.delete("/{name}", status_code=204, summary="Let a requester ask again", responses=problems(404))
async def unlock(name: Name, admin: Admin, locks: Locks, identities: Identities, units: UnitsOfWork) -> None:
    async with units() as uow:
        identity = await identities.named(uow, name)
        if not await locks.unlock(uow, admin.actor, identity.id):
            raise NotLockedError(f"{name!r} is not locked")
