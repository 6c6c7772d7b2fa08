"""`/v1/identities/{name}/accounts`: as which subjects of providers somebody signs in, for admins."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

from fastapi import APIRouter, Path
from pydantic import BaseModel, Field

from control_plane.identities.tables import ExternalAccountRow
from control_plane.kit.access import SIGN_INS, Permission, Principal, requires
from control_plane.kit.errors import problems
from control_plane.kit.names import PATTERN
from control_plane.kit.wiring import UnitsOfWork, provided
from control_plane.sign_on.accounts import ExternalAccounts

router = APIRouter(prefix="/v1/identities/{name}/accounts", tags=["identities"], responses=problems(401, 403, 404, 422))
Service = Annotated[ExternalAccounts, provided(ExternalAccounts)]
Admin = Annotated[Principal, requires(Permission.ADMIN, by=SIGN_INS)]
NamePath = Annotated[str, Path(pattern=PATTERN, max_length=63, examples=["ada"])]
ProviderPath = Annotated[str, Path(pattern=PATTERN, max_length=63, examples=["corp"])]


class AccountIn(BaseModel):
    subject: str = Field(
        min_length=1,
        max_length=255,
        description="as the provider names them for ever: OpenID Connect's `sub`, SAML's NameID; a refused sign-in "
        "has it in the audit log",
        examples=["248289761001"],
    )


class AccountOut(BaseModel):
    provider: str = Field(examples=["corp"])
    subject: str = Field(examples=["248289761001"])
    email: str = Field(description="as the provider told it last", examples=["ada@example.org"])
    created_at: datetime
    last_used_at: datetime | None = Field(description="null: nobody has signed in with it yet")

    @staticmethod
    def of(row: ExternalAccountRow) -> AccountOut:
        return AccountOut(
            provider=row.provider,
            subject=row.subject,
            email=row.email,
            created_at=row.created_at,
            last_used_at=row.last_used_at,
        )


@router.get("", summary="Somebody's accounts at identity providers")
async def list_accounts(name: NamePath, _admin: Admin, service: Service, units: UnitsOfWork) -> list[AccountOut]:
    async with units.reading() as uow:
        return [AccountOut.of(row) for row in await service.of(uow, name)]


@router.put(
    "/{provider}",
    summary="Say that a subject of a provider is this person, who signs in there from now on",
    responses=problems(409),
)
async def link(
    name: NamePath, provider: ProviderPath, body: AccountIn, admin: Admin, service: Service, units: UnitsOfWork
) -> AccountOut:
    async with units() as uow:
        return AccountOut.of(await service.link(uow, admin.actor, name, provider, body.subject))


@router.delete(
    "/{provider}",
    status_code=204,
    summary="Take that back, and end what was signed in for so",
    responses=problems(409),
)
async def unlink(name: NamePath, provider: ProviderPath, admin: Admin, service: Service, units: UnitsOfWork) -> None:
    async with units() as uow:
        await service.unlink(uow, admin.actor, name, provider)
