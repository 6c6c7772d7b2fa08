"""`/v1/scim-clients`: which identity providers push people and groups here, and with which tokens."""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated, Literal

from fastapi import APIRouter, Path, Query

from control_plane.identities.standing import still_stands
from control_plane.kit.access import SIGN_INS, Permission, Principal, requires
from control_plane.kit.errors import problems
from control_plane.kit.idempotency import IdempotencyKey
from control_plane.kit.names import PATTERN
from control_plane.kit.pagination import Page, PagingQuery
from control_plane.kit.wiring import UnitsOfWork, provided
from control_plane.scim.clients import ClientService, Fate
from control_plane.scim.schemas import (
    LinkIO,
    NewScimTokenOut,
    ScimClientIn,
    ScimClientOut,
    ScimTokenIn,
    ScimTokenOut,
    Subject,
)

router = APIRouter(prefix="/v1/scim-clients", tags=["scim"], responses=problems(401, 403, 422))
Service = Annotated[ClientService, provided(ClientService)]
Admin = Annotated[Principal, requires(Permission.ADMIN, by=SIGN_INS)]
NamePath = Annotated[str, Path(pattern=PATTERN, max_length=63, examples=["corp"])]
TokenPath = Annotated[str, Path(pattern="^[a-z]{3}_[a-z2-7]{20}$", examples=["sct_3xk2cqz7q5n4h6mjv2ab"])]


@router.get("", summary="List SCIM clients")
async def list_clients(_admin: Admin, service: Service, units: UnitsOfWork, paging: PagingQuery) -> Page[ScimClientOut]:
    async with units.reading() as uow:
        found, cursor = await service.page(uow, paging)
    return Page(items=[ScimClientOut.of(one) for one in found], next_cursor=cursor)


@router.post("", status_code=201, summary="Create one; make it a token next", responses=problems(409))
async def create_client(
    admin: Admin, body: ScimClientIn, service: Service, units: UnitsOfWork, idempotency: IdempotencyKey
) -> ScimClientOut:
    async with units() as uow:

        async def create() -> ScimClientOut:
            wanted = {"name": body.name, "provider": body.provider or "", "description": body.description}
            return ScimClientOut.of(await service.create(uow, admin.actor, **wanted))

        return await idempotency.once(uow, admin, ScimClientOut, create)


@router.get("/{name}", summary="Show one", responses=problems(404))
async def show_client(_admin: Admin, name: NamePath, service: Service, units: UnitsOfWork) -> ScimClientOut:
    async with units.reading() as uow:
        return ScimClientOut.of(await service.named(uow, name))


@router.delete("/{name}", status_code=204, summary="Take one away", responses=problems(404, 409))
async def delete_client(
    admin: Admin,
    name: NamePath,
    service: Service,
    units: UnitsOfWork,
    people: Annotated[
        Fate | None, Query(description="what becomes of those whom it has pushed; needed when there are any")
    ] = None,
) -> None:
    """What it said of groups holds no longer."""
    async with units() as uow:
        await service.delete(uow, admin.actor, name, people)


@router.post("/{name}/tokens", status_code=201, summary="A new token, two at most", responses=problems(404, 409))
async def create_token(
    admin: Admin,
    name: NamePath,
    body: ScimTokenIn,
    service: Service,
    units: UnitsOfWork,
    idempotency: IdempotencyKey,
) -> NewScimTokenOut:
    async with units() as uow:

        async def create() -> NewScimTokenOut:
            await still_stands(uow, admin)
            await service.named(uow, name)
            minted = await service.tokens.create(uow, admin.actor, name, timedelta(days=body.ttl_days))
            return NewScimTokenOut(**ScimTokenOut.of(minted.row).model_dump(), token=minted.token.reveal())

        return await idempotency.once(uow, admin, NewScimTokenOut, create, _without_token)


@router.delete("/{name}/tokens/{id}", status_code=204, summary="Revoke a token", responses=problems(404))
async def revoke_token(admin: Admin, name: NamePath, id: TokenPath, service: Service, units: UnitsOfWork) -> None:  # noqa: A002 - the API's name
    async with units() as uow:
        await service.tokens.revoke(uow, admin.actor, name, id)


@router.put(
    "/{name}/links",
    status_code=204,
    summary="Link a subject to who is here already, before it is pushed",
    responses=problems(404, 409),
)
async def link(admin: Admin, name: NamePath, body: LinkIO, service: Service, units: UnitsOfWork) -> None:
    """Without it nobody who was made here, or by another source, is ever taken over. Used once, by the first push."""
    async with units() as uow:
        await service.link(uow, admin.actor, name, body.link)


@router.delete("/{name}/links", status_code=204, summary="Take back a link that waits", responses=problems(404))
async def unlink(
    admin: Admin,
    name: NamePath,
    kind: Annotated[Literal["person", "group"], Query()],
    subject: Annotated[Subject, Query()],
    service: Service,
    units: UnitsOfWork,
) -> None:
    async with units() as uow:
        await service.unlink(uow, admin.actor, name, kind, subject)


def _without_token(answer: NewScimTokenOut) -> NewScimTokenOut:
    return answer.model_copy(update={"token": None})
