"""`/v1/documents`: what `assentry plan`, `apply` and `export` call, for all kinds at once."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter

from control_plane.documents.schemas import ChangeOut, DocumentsIn, ExportOut, PlanOut
from control_plane.documents.service import DocumentService, Plan
from control_plane.kit.access import PEOPLE, SIGN_INS, Permission, Principal, requires
from control_plane.kit.errors import problems
from control_plane.kit.wiring import UnitsOfWork, provided

router = APIRouter(prefix="/v1/documents", tags=["documents"], responses=problems(401, 403, 422))
Service = Annotated[DocumentService, provided(DocumentService)]
Editor = Annotated[Principal, requires(Permission.POLICY_EDIT, by=SIGN_INS)]
Reader = Annotated[Principal, requires(Permission.POLICY_EDIT, by=PEOPLE)]


@router.post("/plan", summary="What applying would change; changes nothing")
async def plan(_reader: Reader, body: DocumentsIn, service: Service, units: UnitsOfWork) -> PlanOut:
    async with units.reading() as uow:
        return _shown(await service.plan(uow, body.documents, prune=body.prune))


@router.post("/apply", summary="Make everything as the documents say, or nothing", responses=problems(409))
async def apply(editor: Editor, body: DocumentsIn, service: Service, units: UnitsOfWork) -> PlanOut:
    """Idempotent by itself: applying the same again answers `unchanged` for each."""
    async with units() as uow:
        return _shown(await service.apply(uow, editor, body.documents, prune=body.prune))


@router.get("/export", summary="Everything that there is, as documents that can be applied again")
async def export(_reader: Reader, service: Service, units: UnitsOfWork) -> ExportOut:
    async with units.reading() as uow:
        return ExportOut(documents=await service.export(uow))


def _shown(plan: Plan) -> PlanOut:
    return PlanOut(changes=[ChangeOut.of(change) for change in plan.changes])
