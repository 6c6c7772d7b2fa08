"""`/v1/secrets`: written by people, never read; listed by what is known about them. Machines reach none of it."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Response

from control_plane.documents.resources import NamePath
from control_plane.kit.access import SIGN_INS, Permission, Principal, requires
from control_plane.kit.errors import problems
from control_plane.kit.etags import IfMatch, etag
from control_plane.kit.pagination import Page, PagingQuery
from control_plane.kit.wiring import UnitsOfWork, provided
from control_plane.secrets.rewrapping import Rewrapping
from control_plane.secrets.schemas import SealingOut, SecretIn, SecretOut
from control_plane.secrets.service import Described, SecretService

router = APIRouter(prefix="/v1", tags=["secrets"], responses=problems(401, 403, 422))
Service = Annotated[SecretService, provided(SecretService)]
Exchange = Annotated[Rewrapping, provided(Rewrapping)]
Keeper = Annotated[Principal, requires(Permission.SECRETS, by=SIGN_INS)]


@router.get("/secrets", summary="What is known about every secret; never a value")
async def list_secrets(_keeper: Keeper, service: Service, units: UnitsOfWork, paging: PagingQuery) -> Page[SecretOut]:
    async with units.reading() as uow:
        found, cursor = await service.listed(uow, paging)
    return Page(items=[SecretOut.of(one) for one in found], next_cursor=cursor)


@router.get("/secrets/{name}", summary="What is known about one; never its value", responses=problems(404))
async def show_secret(
    name: NamePath, _keeper: Keeper, service: Service, units: UnitsOfWork, response: Response
) -> SecretOut:
    async with units.reading() as uow:
        return _shown(await service.described(uow, name), response)


@router.put("/secrets/{name}", summary="Write a secret: sealed at once, shown never", responses=problems(409, 412, 428))
async def put_secret(
    name: NamePath, body: SecretIn, keeper: Keeper, service: Service, response: Response, if_match: IfMatch = None
) -> SecretOut:
    """Agents that use it fetch the new value before their next session; sessions that run go on."""
    return _shown(await service.put(keeper, name, body.secret, if_match), response)


@router.delete(
    "/secrets/{name}",
    status_code=204,
    summary="Delete a secret, unless a target uses it",
    responses=problems(404, 409, 412, 428),
)
async def delete_secret(
    name: NamePath, keeper: Keeper, service: Service, units: UnitsOfWork, if_match: IfMatch = None
) -> None:
    async with units() as uow:
        await service.delete(uow, keeper, name, if_match)


@router.get("/sealing", summary="How much is sealed with which wrapping key")
async def show_sealing(_keeper: Keeper, exchange: Exchange, units: UnitsOfWork) -> SealingOut:
    async with units.reading() as uow:
        return SealingOut.of(await exchange.status(uow))


@router.post("/secrets/rewrap", status_code=202, summary="Wrap every data key with the first wrapping key")
async def rewrap(keeper: Keeper, exchange: Exchange, units: UnitsOfWork) -> SealingOut:
    """In the background, while everything goes on. Asking again does no harm."""
    async with units() as uow:
        await exchange.ask(uow, keeper.actor)
        await uow.session.flush()
        return SealingOut.of(await exchange.status(uow))


def _shown(one: Described, response: Response) -> SecretOut:
    response.headers["etag"] = etag(one.row.version)
    return SecretOut.of(one)
