"""`/v1/audit`: the log, its signed end, and an export that anybody with the public key can verify."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

import msgspec
from fastapi import APIRouter, Query
from fastapi.responses import StreamingResponse

from control_plane.audit.repository import Filter
from control_plane.audit.schemas import AuditEntryOut, CheckpointOut, PublicKeyOut
from control_plane.audit.service import AuditService
from control_plane.kit.access import EVERYBODY, Permission, Principal, requires
from control_plane.kit.clock import milliseconds
from control_plane.kit.errors import InvalidError, NotFoundError, problems
from control_plane.kit.pagination import Page, PagingQuery
from control_plane.kit.wiring import UnitsOfWork, provided

router = APIRouter(prefix="/v1/audit", tags=["audit"], responses=problems(401, 403, 422))
Service = Annotated[AuditService, provided(AuditService)]
Auditor = Annotated[Principal, requires(Permission.AUDIT, by=EVERYBODY)]


@router.get("", summary="Search the audit log, newest first")
async def list_entries(
    _auditor: Auditor,
    service: Service,
    units: UnitsOfWork,
    paging: PagingQuery,
    kind: Annotated[str, Query(max_length=64, description="`policy.updated`, or `policy.` for all of them")] = "",
    actor: Annotated[str, Query(max_length=255, description="id or name")] = "",
    subject: Annotated[str, Query(max_length=255)] = "",
    since: datetime | None = None,
    until: datetime | None = None,
) -> Page[AuditEntryOut]:
    wanted = Filter(kind, actor, subject, _instant(since, "since"), _instant(until, "until"))
    async with units.reading() as uow:
        entries, cursor = await service.entries(uow, wanted, paging)
    return Page(items=[AuditEntryOut.of(shown) for shown in entries], next_cursor=cursor)


@router.get(
    "/export",
    summary="Everything from one entry on, as NDJSON, signed",
    response_class=StreamingResponse,
    responses={200: {"content": {"application/x-ndjson": {}}}, **problems(404)},
)
async def export(
    auditor: Auditor, service: Service, first_sequence: Annotated[int, Query(ge=1, le=2**62)] = 1
) -> StreamingResponse:
    lines = await service.export(auditor, first_sequence)
    name = {"content-disposition": 'attachment; filename="assentry-audit.ndjson"'}
    return StreamingResponse(lines, media_type="application/x-ndjson", headers=name)


@router.get("/checkpoint", summary="Sign the end of the log and show the signature", responses=problems(404))
async def checkpoint(_auditor: Auditor, service: Service, units: UnitsOfWork) -> CheckpointOut:
    async with units() as uow:
        signed = await service.checkpoint(uow)
    if signed is None:
        raise NotFoundError("the audit log is empty")
    return CheckpointOut(**msgspec.structs.asdict(signed))


@router.get("/public-keys", summary="The keys that checkpoints are verified with")
async def public_keys(_auditor: Auditor, service: Service) -> list[PublicKeyOut]:
    return [PublicKeyOut.of(key) for key in service.public_keys()]


def _instant(value: datetime | None, name: str) -> int | None:
    if value is None:
        return None
    if value.tzinfo is None:
        raise InvalidError(f"{name} needs a time zone: 2026-01-31T12:00:00Z")
    return milliseconds(value)
