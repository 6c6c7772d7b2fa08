"""`/v1/approvals`: what waits for people, one request in full, approve and deny, and news as it happens.

Requesters see their own requests and what their machines ask for; reviewers and auditors see all. Only
people decide (DESIGN invariant 5), and only with the digest of what they were shown (invariant 2).
"""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query
from fastapi.responses import StreamingResponse

from control_plane.approvals import windows
from control_plane.approvals.cards import Cards
from control_plane.approvals.decided import AGENT_FIRST, PROBLEMS, shown_to
from control_plane.approvals.domain import Refused, Verb
from control_plane.approvals.errors import ApprovalNotFoundError
from control_plane.approvals.news import NewsFeed
from control_plane.approvals.review import Mode, ReviewService, Word
from control_plane.approvals.schemas import AgreeIn, ApprovalOut, ApprovalSummaryOut, ApproveIn, DenyIn
from control_plane.approvals.signing import Signing
from control_plane.approvals.window_schemas import EndWindowIn
from control_plane.kit.access import SIGN_INS, Permission, Principal, SignedIn, requires
from control_plane.kit.errors import problems
from control_plane.kit.pagination import Page, PagingQuery
from control_plane.kit.wiring import UnitsOfWork, provided

router = APIRouter(prefix="/v1/approvals", tags=["approvals"], responses=problems(401, 403, 422))
Service = Annotated[ReviewService, provided(ReviewService)]
Card = Annotated[Cards, provided(Cards)]
Keys = Annotated[Signing, provided(Signing)]
Feed = Annotated[NewsFeed, provided(NewsFeed)]
Reviewer = Annotated[Principal, requires(Permission.REVIEW, by=SIGN_INS)]


@router.get("", summary="What waits for people, or has been decided; newest first")
async def list_approvals(
    principal: SignedIn,
    service: Service,
    units: UnitsOfWork,
    paging: PagingQuery,
    show: Annotated[Mode, Query(description="mine: I may decide now; all: waiting; decided: over")] = Mode.ALL,
) -> Page[ApprovalSummaryOut]:
    async with units.reading() as uow:
        views, cursor = await service.listed(uow, principal, show, paging)
    return Page(items=[ApprovalSummaryOut.of(view) for view in views], next_cursor=cursor)


@router.get("/events", summary="News as server-sent events", response_class=StreamingResponse)
async def events(principal: SignedIn, feed: Feed) -> StreamingResponse:
    """`approval`: something happened to this request; `resync`: read the list again. Data is JSON."""
    headers = {"cache-control": "no-store", "x-accel-buffering": "no"}
    return StreamingResponse(feed.stream(principal), media_type="text/event-stream", headers=headers)


@router.get("/{approval_id}", summary="One request in full, by id or short code", responses=problems(404))
async def show_approval(approval_id: str, principal: SignedIn, service: Service, units: UnitsOfWork) -> ApprovalOut:
    return await shown_to(units, service, principal, approval_id)


@router.post("/{approval_id}/approve", summary="Agree to exactly what was shown", responses=problems(404, 409, 412))
async def approve(
    approval_id: str,
    body: AgreeIn,
    reviewer: Reviewer,
    service: Service,
    cards: Card,
    signing: Keys,
    units: UnitsOfWork,
) -> ApprovalOut:
    window = body.window.wish() if body.window else None
    channel, also = _channel(reviewer, body), body.others()
    signature = await signing.given(reviewer, body.signature.answer() if body.signature else None)
    digest = bytes.fromhex(body.digest)
    word = Word(Verb.APPROVE, digest, channel, also=also, window=window, signature=signature)
    return await _decided(units, service, cards, reviewer, approval_id, word)


@router.post(
    "/{approval_id}/deny", summary="Refuse, with a reason for the requester", responses=problems(404, 409, 412)
)
async def deny(
    approval_id: str, body: DenyIn, reviewer: Reviewer, service: Service, cards: Card, units: UnitsOfWork
) -> ApprovalOut:
    channel, also = _channel(reviewer, body), body.others()
    word = Word(Verb.DENY, bytes.fromhex(body.digest), channel, body.reason, also=also)
    return await _decided(units, service, cards, reviewer, approval_id, word)


@router.post(
    "/{approval_id}/end-window", summary="End a window early: nothing more runs in it", responses=problems(404, 409)
)
async def end_window(
    approval_id: str, body: EndWindowIn, reviewer: Reviewer, service: Service, units: UnitsOfWork
) -> ApprovalOut:
    async with units() as uow:
        await windows.end(uow, reviewer, approval_id, body.reason)
    return await shown_to(units, service, reviewer, approval_id)


async def _decided(
    units: UnitsOfWork, service: ReviewService, cards: Cards, reviewer: Principal, approval_id: str, word: Word
) -> ApprovalOut:
    """The refusal is raised after the commit: what was refused stays in the audit log."""
    async with units() as uow:
        ruling = await cards.decide(uow, reviewer, approval_id, word)
    if ruling is None:
        raise ApprovalNotFoundError(approval_id)
    if isinstance(ruling, Refused):
        raise PROBLEMS[ruling.why](ruling.detail)
    return await shown_to(units, service, reviewer, approval_id, pause=AGENT_FIRST)


def _channel(reviewer: Principal, body: ApproveIn) -> str:
    """A browser's cookie is the console, whatever it says of itself, and nothing else is: chains rely on it."""
    if reviewer.csrf:
        return "console"
    return "rest" if body.channel == "console" else body.channel
