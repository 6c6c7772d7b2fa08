"""`/v1/targets`: what there is to connect to, for everybody who may connect; the whole document for editors."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter
from pydantic import BaseModel, Field

from control_plane.documents.resources import document_router
from control_plane.kit.access import Permission, SignedIn
from control_plane.kit.errors import problems
from control_plane.kit.wiring import UnitsOfWork, provided
from control_plane.targets.service import Target, TargetService
from data_plane.policy import model

router = APIRouter()
Service = Annotated[TargetService, provided(TargetService)]


class TargetSummaryOut(BaseModel):
    """Without its address: clients connect to the agent."""

    name: str = Field(examples=["orders"])
    protocol: str = Field(examples=["postgres"])
    environment: str = Field(examples=["production"])
    agent: str = Field(examples=["demo"])
    labels: dict[str, str]
    description: str

    @classmethod
    def of(cls, target: Target) -> TargetSummaryOut:
        spec = target.spec
        return cls(
            name=target.name,
            protocol=spec.protocol,
            environment=spec.environment,
            agent=spec.agent,
            labels=dict(target.labels),
            description=target.description,
        )


@router.get("/v1/target-names", tags=["targets"], summary="What there is to connect to", responses=problems(401))
async def list_target_names(_principal: SignedIn, service: Service, units: UnitsOfWork) -> list[TargetSummaryOut]:
    async with units.reading() as uow:
        return [TargetSummaryOut.of(target) for target in await service.all(uow)]


router.include_router(document_router(model.Target, "/v1/targets", Permission.ADMIN))
