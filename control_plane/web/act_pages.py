"""Forms beside the two buttons of a hold: comment, withdraw, break glass; and proving again who one is."""

from __future__ import annotations

from typing import Annotated, Literal

from fastapi import APIRouter, Form, Response
from fastapi.responses import RedirectResponse

from control_plane.approvals.broken_glass import BrokenGlass
from control_plane.approvals.decided import PROBLEMS
from control_plane.approvals.domain import Refused
from control_plane.approvals.errors import ApprovalNotFoundError
from control_plane.approvals.participation import Participation
from control_plane.approvals.signing import Signing
from control_plane.identities.reauthentication import Reauthentication
from control_plane.kit.access import BROWSER, Permission, Principal, requires
from control_plane.kit.secret import Secret
from control_plane.kit.wiring import UnitsOfWork, provided
from control_plane.web.routes import SEE_OTHER, PageRoute, local_path

router = APIRouter(route_class=PageRoute, include_in_schema=False)
Service = Annotated[Participation, provided(Participation)]
Glass = Annotated[BrokenGlass, provided(BrokenGlass)]
Keys = Annotated[Signing, provided(Signing)]
Again = Annotated[Reauthentication, provided(Reauthentication)]
Breaker = Annotated[Principal, requires(Permission.BREAK_GLASS, by=BROWSER)]
Person = Annotated[Principal, requires(Permission.SELF, by=BROWSER)]
Digest = Annotated[str, Form(pattern="^[0-9a-f]{64}$")]
Text = Annotated[str, Form(min_length=1, max_length=2000, pattern=r"^[^\x00]*$")]
# What a browser made of a security key's ceremony, as JSON.
Answer = Annotated[str, Form(max_length=32_768)]
MaySay = Annotated[str, Form(max_length=2000, pattern=r"^[^\x00]*$")]


@router.post("/approvals/{approval_id}/comment")
async def comment(approval_id: str, person: Person, service: Service, units: UnitsOfWork, text: Text) -> Response:
    async with units() as uow:
        await service.comment(uow, person, approval_id, text)
    return RedirectResponse(f"/approvals/{approval_id}#comments", SEE_OTHER)


@router.post("/approvals/{approval_id}/withdraw")
async def withdraw(
    approval_id: str, person: Person, service: Service, units: UnitsOfWork, reason: MaySay = ""
) -> Response:
    async with units() as uow:
        await service.withdraw(uow, person, approval_id, reason)
    return RedirectResponse(f"/approvals/{approval_id}", SEE_OTHER)


@router.post("/approvals/{approval_id}/break-glass")
async def break_glass(
    approval_id: str,
    breaker: Breaker,
    glass: Glass,
    signing: Keys,
    units: UnitsOfWork,
    digest: Digest,
    reason: Text,
    signature: Answer = "",
) -> Response:
    """What was refused stays in the audit log: the problem is raised after the commit."""
    signed = await signing.given(breaker, signature)
    async with units() as uow:
        ruling = await glass.break_glass(uow, breaker, approval_id, bytes.fromhex(digest), reason, signed)
    if ruling is None:
        raise ApprovalNotFoundError(approval_id)
    if isinstance(ruling, Refused):
        raise PROBLEMS[ruling.why](ruling.detail)
    return RedirectResponse(f"/approvals/{approval_id}", SEE_OTHER)


@router.post("/reauthenticate")
async def reauthenticate(
    person: Person,
    again: Again,
    method: Annotated[Literal["password", "security-key"], Form()] = "password",
    password: Annotated[str, Form(max_length=256)] = "",
    evidence: Answer = "",
    next: Annotated[str, Form(max_length=2000)] = "/",  # noqa: A002 - the form's usual name
) -> Response:
    await again.renew(person, method, Secret(password if method == "password" else evidence))
    return RedirectResponse(local_path(next), SEE_OTHER)
