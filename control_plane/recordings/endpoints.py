"""`/v1/sessions/{id}/recording`: a recording verified again where it lies, and as a download. Both are audited."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter
from fastapi.responses import StreamingResponse

from control_plane.kit.access import EVERYBODY, Permission, Principal, requires
from control_plane.kit.errors import problems
from control_plane.kit.unit_of_work import UnitOfWork
from control_plane.kit.wiring import UnitsOfWork, provided
from control_plane.recordings.archive import EndFile, archived
from control_plane.recordings.domain import Status
from control_plane.recordings.errors import RecordingNotFoundError
from control_plane.recordings.schemas import VerificationOut
from control_plane.recordings.service import RecordingService, Whole
from control_plane.sessions import service as sessions
from data_plane.recording.reader import Verified

router = APIRouter(prefix="/v1/sessions/{session_id}/recording", tags=["sessions"], responses=problems(401, 403, 404))
Service = Annotated[RecordingService, provided(RecordingService)]
Viewer = Annotated[Principal, requires(Permission.RECORDINGS, by=EVERYBODY)]


@router.get("", summary="The recording as a tar of its segments and its end", response_class=StreamingResponse)
async def download(session_id: str, viewer: Viewer, service: Service, units: UnitsOfWork) -> StreamingResponse:
    async with units() as uow:
        whole = await _whole(uow, service, session_id)
        await service.downloaded(uow, viewer, whole)
    body = archived(service.data(whole), _end(whole), whole.row.started_at_ms // 1000)
    headers = {"content-disposition": f'attachment; filename="{whole.row.session_id}.tar"'}
    return StreamingResponse(body, media_type="application/x-tar", headers=headers)


@router.get("/verification", summary="Read it again, and say whether anything was changed or is missing")
async def verification(session_id: str, viewer: Viewer, service: Service, units: UnitsOfWork) -> VerificationOut:
    async with units() as uow:
        whole = await _whole(uow, service, session_id)
        session = await sessions.find(uow, session_id)
        await service.examined(uow, viewer, whole)
    found = await service.verified(whole, session.recording_hash if session else b"")
    fine = found if isinstance(found, Verified) else None
    return VerificationOut(
        verified=fine is not None,
        signed=fine is not None and fine.signed,
        status=whole.row.status,
        segments=fine.segments if fine else whole.row.next_segment,
        chain_hash=whole.row.chain_hash.hex(),
        problem="" if isinstance(found, Verified) else f"segment {found.index}: {found.reason}",
    )


async def _whole(uow: UnitOfWork, service: RecordingService, session_id: str) -> Whole:
    whole = await service.whole(uow, session_id)
    if whole is None:
        raise RecordingNotFoundError(session_id)
    return whole


def _end(whole: Whole) -> EndFile:
    row = whole.row
    return EndFile(
        session_id=row.session_id,
        status=row.status,
        problem=row.problem,
        segments=row.next_segment,
        chain_hash=row.chain_hash,
        signature=row.signature,
        complete=row.status == Status.COMPLETE,
        public_keys=row.public_keys,
    )
