"""Rotation on demand, its history, and the report of ages. Only people rotate."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter

from control_plane.kit.access import PEOPLE, SIGN_INS, Permission, Principal, requires
from control_plane.kit.errors import problems
from control_plane.kit.pagination import Page, PagingQuery
from control_plane.kit.wiring import UnitsOfWork, provided
from control_plane.rotation.domain import Cause
from control_plane.rotation.report import CredentialReport
from control_plane.rotation.schemas import CredentialLineOut, RotationOut
from control_plane.rotation.service import RotationService

router = APIRouter(prefix="/v1", tags=["rotation"], responses=problems(401, 403, 422))
Service = Annotated[RotationService, provided(RotationService)]
Report = Annotated[CredentialReport, provided(CredentialReport)]
Admin = Annotated[Principal, requires(Permission.ADMIN, by=SIGN_INS)]
Reader = Annotated[Principal, requires(Permission.AUDIT, by=PEOPLE)]


@router.post(
    "/targets/{name}/rotate",
    status_code=202,
    summary="Give the agent's account at a target a new password now; look at the rotation for what becomes of it",
    responses=problems(404, 409),
)
async def rotate_target(name: str, admin: Admin, service: Service, units: UnitsOfWork) -> RotationOut:
    async with units() as uow:
        row = await service.begin(uow, admin.actor, name, Cause.DEMAND)
        begun = RotationOut.of(row)
    service.start(begun.id, name)
    return begun


@router.get("/targets/{name}/rotations", summary="What became of a target's rotations, newest first")
async def list_rotations(
    name: str, _reader: Reader, service: Service, units: UnitsOfWork, paging: PagingQuery
) -> Page[RotationOut]:
    async with units.reading() as uow:
        rows, cursor = await service.history(uow, name, paging)
    return Page(items=[RotationOut.of(row) for row in rows], next_cursor=cursor)


@router.get("/rotations/{rotation_id}", summary="One rotation", responses=problems(404))
async def show_rotation(rotation_id: str, _reader: Reader, service: Service, units: UnitsOfWork) -> RotationOut:
    async with units.reading() as uow:
        return RotationOut.of(await service.one(uow, rotation_id))


@router.get("/credentials/report", summary="Which account is used at each target, its age and last use")
async def report_credentials(_reader: Reader, report: Report, units: UnitsOfWork) -> list[CredentialLineOut]:
    async with units.reading() as uow:
        return [CredentialLineOut.of(line) for line in await report.lines(uow)]
