"""`/v1/approvals/…/challenges`: what a security key is to sign, so that a decision can carry its signature."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter

from control_plane.approvals.signing import Signing
from control_plane.approvals.signing_schemas import SignatureAskedIn
from control_plane.kit.access import SIGN_INS, Permission, Principal, requires
from control_plane.kit.errors import problems
from control_plane.kit.wiring import UnitsOfWork, provided
from control_plane.security_keys.schemas import CeremonyOut

router = APIRouter(prefix="/v1/approvals", tags=["approvals"], responses=problems(401, 403, 422))
Service = Annotated[Signing, provided(Signing)]
Person = Annotated[Principal, requires(Permission.SELF, by=SIGN_INS)]


@router.post(
    "/{approval_id}/challenges",
    status_code=201,
    summary="Have a decision signed by one's security key; decides nothing by itself",
    responses=problems(404, 409, 412),
)
async def ask(
    approval_id: str, person: Person, body: SignatureAskedIn, service: Service, units: UnitsOfWork
) -> CeremonyOut:
    """Give the browser's answer back as `signature`, with the same digest, `also` and window."""
    window = body.window.wish() if body.window else None
    async with units() as uow:
        return CeremonyOut.of(await service.ask(uow, person, body.verb, body.looked_at(approval_id), window))
