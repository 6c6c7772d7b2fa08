"""`/v1/sessions`: who is or was connected to what, the end of a session, and its replay, which is audited."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query

from control_plane.kit.access import EVERYBODY, Permission, Principal, SignedIn, requires
from control_plane.kit.errors import InvalidError, problems
from control_plane.kit.pagination import Page, PagingQuery, decode_cursor, encode_cursor
from control_plane.kit.wiring import UnitsOfWork, provided
from control_plane.recordings.errors import RecordingNotFoundError
from control_plane.recordings.schemas import TimelineOut
from control_plane.recordings.service import RecordingService
from control_plane.sessions.errors import SessionNotFoundError, SessionOverError
from control_plane.sessions.repository import Filter
from control_plane.sessions.schemas import SessionOut, TerminateIn
from control_plane.sessions.service import SessionService

router = APIRouter(prefix="/v1/sessions", tags=["sessions"], responses=problems(401, 403, 422))
Service = Annotated[SessionService, provided(SessionService)]
Recordings = Annotated[RecordingService, provided(RecordingService)]
Viewer = Annotated[Principal, requires(Permission.RECORDINGS, by=EVERYBODY)]
Terminator = Annotated[Principal, requires(Permission.TERMINATE, by=EVERYBODY)]


@router.get("", summary="Sessions, newest first")
async def list_sessions(
    principal: SignedIn,
    service: Service,
    units: UnitsOfWork,
    paging: PagingQuery,
    open: Annotated[bool | None, Query(description="only open ones, or only closed ones")] = None,  # noqa: A002 - the API's name
    target: Annotated[str, Query(max_length=255)] = "",
    requester: Annotated[str, Query(max_length=255, description="name or id")] = "",
) -> Page[SessionOut]:
    """Everybody sees their own and those of their machines; with the permission `sessions`, all."""
    async with units.reading() as uow:
        rows, cursor = await service.listed(uow, principal, Filter(open, target, requester), paging)
    return Page(items=[SessionOut.of(row) for row in rows], next_cursor=cursor)


@router.get("/{session_id}", summary="One session", responses=problems(404))
async def show_session(session_id: str, principal: SignedIn, service: Service, units: UnitsOfWork) -> SessionOut:
    async with units.reading() as uow:
        row = await service.one(uow, principal, session_id)
    if row is None:
        raise SessionNotFoundError(session_id)
    return SessionOut.of(row)


@router.post("/{session_id}/terminate", summary="End a session now", responses=problems(404, 409))
async def terminate(
    session_id: str, body: TerminateIn, principal: Terminator, service: Service, units: UnitsOfWork
) -> SessionOut:
    async with units() as uow:
        if await service.one(uow, principal, session_id) is None:
            raise SessionNotFoundError(session_id)
        row = await service.terminate(uow, session_id, principal.actor, body.reason)
        if row is None:
            raise SessionOverError(session_id)
        return SessionOut.of(row)


@router.get("/{session_id}/timeline", summary="Replay a session", responses=problems(404))
async def timeline(
    session_id: str,
    viewer: Viewer,
    service: Service,
    recordings: Recordings,
    units: UnitsOfWork,
    limit: Annotated[int, Query(ge=1, le=5000, description="events of one page")] = 500,
    cursor: Annotated[str | None, Query(max_length=512, description="`next_cursor` of the page before")] = None,
) -> TimelineOut:
    """Events that have arrived so far, with results as columns and rows. Watching is audited, once for a replay."""
    after = _after(cursor)
    async with units() as uow:
        row = await service.one(uow, viewer, session_id)
        if row is None:
            raise SessionNotFoundError(session_id)
        whole = await recordings.whole(uow, session_id)
        if whole is None:
            raise RecordingNotFoundError(session_id)
        if after == 0:
            await service.replayed(uow, viewer, row, "timeline")
    events, more = await recordings.timeline(whole, after, limit)
    next_cursor = None if more is None else encode_cursor((more,))
    return TimelineOut.model_validate({"status": whole.row.status, "events": events, "next_cursor": next_cursor})


def _after(cursor: str | None) -> int:
    match () if cursor is None else decode_cursor(cursor):
        case ():
            return 0
        case (int(after),) if after > 0:
            return after
    raise InvalidError("the cursor belongs to another list")
