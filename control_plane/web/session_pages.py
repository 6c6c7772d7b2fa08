"""The list of sessions, and one session replayed as a timeline."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

from fastapi import APIRouter, Query, Request, Response

from control_plane.kit.access import BROWSER, Permission, Principal, Visitor, requires
from control_plane.kit.pagination import PagingQuery
from control_plane.kit.wiring import UnitsOfWork, provided
from control_plane.recordings.schemas import EventOut, ResultOut
from control_plane.recordings.service import RecordingService
from control_plane.sessions.errors import SessionNotFoundError
from control_plane.sessions.repository import Filter
from control_plane.sessions.schemas import SessionOut
from control_plane.sessions.service import SessionService
from control_plane.web.rendering import page
from control_plane.web.routes import PageRoute

router = APIRouter(route_class=PageRoute, include_in_schema=False)
Service = Annotated[SessionService, provided(SessionService)]
Recordings = Annotated[RecordingService, provided(RecordingService)]
Viewer = Annotated[Principal, requires(Permission.SESSIONS, by=BROWSER)]
EVENTS = 500  # of one page
_PIECES = ("rows", "messages", "tags", "text", "unreadable")


@router.get("/sessions")
async def sessions(
    request: Request, principal: Visitor, service: Service, units: UnitsOfWork, paging: PagingQuery
) -> Response:
    async with units.reading() as uow:
        rows, cursor = await service.listed(uow, principal, Filter(), paging)
    items = [SessionOut.of(row) for row in rows]
    return page(request, "sessions.html", section="sessions", items=items, next_cursor=cursor)


@router.get("/sessions/{session_id}")
async def session(
    request: Request,
    session_id: str,
    viewer: Viewer,
    service: Service,
    recordings: Recordings,
    units: UnitsOfWork,
    after: Annotated[int, Query(ge=0, le=2**31)] = 0,
) -> Response:
    """Whoever may read recordings sees what happened; watching is audited, once for a replay."""
    async with units() as uow:
        row = await service.one(uow, viewer, session_id)
        if row is None:
            raise SessionNotFoundError(session_id)
        whole = await recordings.whole(uow, session_id) if viewer.may(Permission.RECORDINGS) else None
        if after == 0 and whole is not None:
            await service.replayed(uow, viewer, row, "console")
    events, more = await recordings.timeline(whole, after, EVENTS) if whole else ([], None)
    return page(
        request,
        "session.html",
        section="sessions",
        session=SessionOut.of(row),
        recording=whole.row.status if whole else _without(viewer),
        events=joined(events),
        more=more,
    )


def _without(viewer: Principal) -> str:
    return "not arrived yet" if viewer.may(Permission.RECORDINGS) else "yours to read with the permission recordings"


def joined(events: Sequence[EventOut]) -> list[EventOut]:
    """The pieces of one result as one table."""
    shown: list[EventOut] = []
    for event in events:
        last = shown[-1] if shown else None
        if isinstance(event, ResultOut) and isinstance(last, ResultOut) and _continues(last, event):
            added = {name: getattr(last, name) + getattr(event, name) for name in _PIECES}
            shown[-1] = last.model_copy(update=added)
        else:
            shown.append(event)
    return shown


def _continues(result: ResultOut, event: ResultOut) -> bool:
    """Its next piece, not the next result of the same operation."""
    return event.operation == result.operation and event.columns is None and not result.tags
