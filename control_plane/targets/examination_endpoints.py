"""`POST /v1/targets/{name}/examine`: what the agent's account can do there beyond what policy could ever allow."""

from __future__ import annotations

from typing import Annotated, Literal

from fastapi import APIRouter
from pydantic import BaseModel, ConfigDict, Field

from control_plane.kit.access import SIGN_INS, Permission, Principal, requires
from control_plane.kit.errors import problems
from control_plane.kit.wiring import provided
from control_plane.targets.examination import Examination, ExaminationService

router = APIRouter(prefix="/v1/targets", tags=["targets"], responses=problems(401, 403, 422))
Service = Annotated[ExaminationService, provided(ExaminationService)]
Admin = Annotated[Principal, requires(Permission.ADMIN, by=SIGN_INS)]


class ExamineIn(BaseModel):
    model_config = ConfigDict(extra="forbid")

    database: str = Field("", max_length=63, description="where the target leaves it to clients")
    masks: Literal["closed", "agent"] = Field(
        "closed", description="closed: no role may read what policy masks whoever asks; agent: masking is the agent's"
    )


class FindingOut(BaseModel):
    severity: Literal["critical", "warning", "remark"]
    code: str = Field(examples=["superuser"])
    about: str = Field(description="a role, PUBLIC, an object or the target", examples=["assentry_orders"])
    says: str
    advice: str
    things: list[str] = Field(description="what it is about, at most 200")
    sql: list[str] = Field(description="what mends it, where SQL can; at most 200 statements, `sql` has all")


class SessionRolesOut(BaseModel):
    roles: dict[str, list[str]] = Field(examples=[{"read": ["orders_read"]}])
    owner: str


class ExaminationOut(BaseModel):
    target: str
    database: str
    account: str = Field(description="the agent's account that was looked at")
    account_to_use: str = Field(description="the account that `sql` is written for")
    server_version: int = Field(examples=[160004])
    findings: list[FindingOut] = Field(description="the gravest first")
    sql: str = Field(description="sets the target up; to be read, and applied as a superuser")
    session_roles: SessionRolesOut = Field(description="for the target's `credential`")

    @classmethod
    def of(cls, found: Examination) -> ExaminationOut:
        return cls.model_validate(found, from_attributes=True)


@router.post(
    "/{name}/examine",
    summary="Look at what the agent's account can do at the target, and write the SQL that sets it up",
    responses=problems(404, 409, 503),
)
async def examine_target(name: str, admin: Admin, body: ExamineIn, service: Service) -> ExaminationOut:
    return ExaminationOut.of(await service.examine(admin, name, body.model_dump()))
