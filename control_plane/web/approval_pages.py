"""The inbox, one hold in full, and its two buttons."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any

from fastapi import APIRouter, Form, Query, Request, Response
from fastapi.responses import RedirectResponse
from pydantic import StringConstraints

from control_plane.approvals import windows
from control_plane.approvals.cards import Cards
from control_plane.approvals.decided import PROBLEMS, shown_to
from control_plane.approvals.domain import Refused, Verb
from control_plane.approvals.errors import ApprovalNotFoundError
from control_plane.approvals.review import Member, Mode, ReviewService, Word
from control_plane.approvals.schemas import ApprovalSummaryOut
from control_plane.approvals.signing import Signing
from control_plane.approvals.window_schemas import WindowIn
from control_plane.kit.access import BROWSER, Permission, Principal, Visitor, requires
from control_plane.kit.pagination import Paging, PagingQuery
from control_plane.kit.unit_of_work import Units
from control_plane.kit.wiring import UnitsOfWork, provided
from control_plane.sign_on.proving import Proving
from control_plane.web.rendering import page
from control_plane.web.routes import SEE_OTHER, PageRoute

router = APIRouter(route_class=PageRoute, include_in_schema=False)
Service = Annotated[ReviewService, provided(ReviewService)]
Keys = Annotated[Signing, provided(Signing)]
Offered = Annotated[Proving, provided(Proving)]
Card = Annotated[Cards, provided(Cards)]
Reviewer = Annotated[Principal, requires(Permission.REVIEW, by=BROWSER)]
Show = Annotated[Mode | None, Query(description="mine or all; what is decided has its own page")]
Digest = Annotated[str, Form(pattern="^[0-9a-f]{64}$")]
# Identical requests that stand on the same page: each its id and the digest of what was shown of it.
Also = Annotated[Sequence[Annotated[str, StringConstraints(pattern="^[A-Za-z0-9_-]{1,64}:[0-9a-f]{64}$")]], Form()]


@router.get("/")
async def inbox(
    request: Request, principal: Visitor, service: Service, units: UnitsOfWork, show: Show = None
) -> Response:
    return page(request, "inbox.html", section="inbox", **await _waiting(service, units, principal, show))


@router.get("/inbox")
async def inbox_list(
    request: Request, principal: Visitor, service: Service, units: UnitsOfWork, show: Show = None
) -> Response:
    """The list alone: what the script puts into an open inbox."""
    return page(request, "inbox_list.html", **await _waiting(service, units, principal, show))


@router.get("/decided")
async def decided(
    request: Request, principal: Visitor, service: Service, units: UnitsOfWork, paging: PagingQuery
) -> Response:
    async with units.reading() as uow:
        views, cursor = await service.listed(uow, principal, Mode.DECIDED, paging)
    items = [ApprovalSummaryOut.of(view) for view in views]
    return page(request, "decided.html", section="decided", items=items, next_cursor=cursor)


@router.get("/approvals/{reference}")
async def approval(
    request: Request, reference: str, principal: Visitor, service: Service, proving: Offered, units: UnitsOfWork
) -> Response:
    shown = await _shown(units, service, proving, principal, reference)
    return page(request, "approval.html", section="inbox", **shown)


@router.get("/approvals/{reference}/body")
async def approval_body(
    request: Request, reference: str, principal: Visitor, service: Service, proving: Offered, units: UnitsOfWork
) -> Response:
    """The request alone: what the script puts into an open page."""
    return page(request, "approval_body.html", **await _shown(units, service, proving, principal, reference))


@router.post("/approvals/{approval_id}/approve")
async def approve(
    approval_id: str,
    reviewer: Reviewer,
    cards: Card,
    signing: Keys,
    units: UnitsOfWork,
    digest: Digest,
    also: Also = (),
    minutes: Annotated[int | None, Form(ge=1, le=525_600)] = None,
    uses: Annotated[int | None, Form(ge=1, le=1_000_000)] = None,
    signature: Annotated[str, Form(max_length=32_768)] = "",
) -> Response:
    """With minutes and uses: not this operation alone, but a window of its shape."""
    window = WindowIn(uses=uses, minutes=minutes).wish() if uses and minutes else None
    signed = await signing.given(reviewer, signature)
    shown = bytes.fromhex(digest)
    word = Word(Verb.APPROVE, shown, "console", also=_others(also), window=window, signature=signed)
    return await _decide(cards, units, reviewer, approval_id, word)


@router.post("/approvals/{approval_id}/deny")
async def deny(
    approval_id: str,
    reviewer: Reviewer,
    cards: Card,
    units: UnitsOfWork,
    digest: Digest,
    reason: Annotated[str, Form(min_length=1, max_length=2000)],
    also: Also = (),
) -> Response:
    word = Word(Verb.DENY, bytes.fromhex(digest), "console", reason, also=_others(also))
    return await _decide(cards, units, reviewer, approval_id, word)


@router.post("/approvals/{approval_id}/end-window")
async def end_window(
    approval_id: str,
    reviewer: Reviewer,
    units: UnitsOfWork,
    reason: Annotated[str, Form(max_length=2000, pattern=r"^[^\x00]*$")] = "",
) -> Response:
    async with units() as uow:
        await windows.end(uow, reviewer, approval_id, reason)
    return RedirectResponse(f"/approvals/{approval_id}", SEE_OTHER)


async def _shown(
    units: Units, service: ReviewService, proving: Proving, principal: Principal, reference: str
) -> dict[str, Any]:
    shown = await shown_to(units, service, principal, reference)
    async with units.reading() as uow:
        return {"approval": shown, "ways": await proving.ways(uow, principal)}


def _others(also: Sequence[str]) -> tuple[Member, ...]:
    split = [one.partition(":") for one in also]
    return tuple(Member(approval_id, bytes.fromhex(digest)) for approval_id, _, digest in split)


async def _decide(cards: Cards, units: Units, reviewer: Principal, approval_id: str, word: Word) -> Response:
    async with units() as uow:
        ruling = await cards.decide(uow, reviewer, approval_id, word)
    if ruling is None:
        raise ApprovalNotFoundError(approval_id)
    if isinstance(ruling, Refused):
        raise PROBLEMS[ruling.why](ruling.detail)
    return RedirectResponse(f"/approvals/{approval_id}", SEE_OTHER)


async def _waiting(service: ReviewService, units: Units, principal: Principal, show: Mode | None) -> dict[str, Any]:
    """Whoever reviews begins with what waits for them, everybody else with what they may see."""
    async with units.reading() as uow:
        views, _ = await service.listed(uow, principal, Mode.ALL, Paging(limit=200))
    everything = [ApprovalSummaryOut.of(view) for view in views]
    mine = [one for one in everything if one.you.may_decide]
    show = show or (Mode.MINE if principal.may(Permission.REVIEW) else Mode.ALL)
    counts = {"mine": len(mine), "all": len(everything)}
    return {"items": mine if show is Mode.MINE else everything, "show": show, "counts": counts}
