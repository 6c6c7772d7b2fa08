"""`/v1/api-tokens`: a person who is signed in makes, lists and revokes API tokens of their own."""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated

from fastapi import APIRouter, Path

from control_plane.api_tokens.schemas import ApiTokenIn, ApiTokenOut, NewApiTokenOut
from control_plane.api_tokens.service import ApiTokens
from control_plane.kit.access import SIGN_INS, Permission, Principal, requires
from control_plane.kit.errors import problems
from control_plane.kit.idempotency import IdempotencyKey
from control_plane.kit.pagination import Page, PagingQuery
from control_plane.kit.wiring import UnitsOfWork, provided

router = APIRouter(prefix="/v1/api-tokens", tags=["credentials"], responses=problems(401, 403, 422))
Service = Annotated[ApiTokens, provided(ApiTokens)]
Person = Annotated[Principal, requires(Permission.SELF, by=SIGN_INS)]
IdPath = Annotated[str, Path(pattern="^pat_[a-z2-7]{20}$", examples=["pat_3xk2cqz7q5n4h6mjv2ab"])]


@router.post("", status_code=201, summary="A token for oneself, narrower than oneself", responses=problems(409))
async def create_api_token(
    person: Person, body: ApiTokenIn, service: Service, units: UnitsOfWork, idempotency: IdempotencyKey
) -> NewApiTokenOut:
    async with units() as uow:

        async def create() -> NewApiTokenOut:
            lifetime = timedelta(seconds=body.ttl_seconds)
            minted = await service.make(uow, person, body.name, body.permissions, lifetime)
            shown = ApiTokenOut.of(minted.row, minted.owner)
            return NewApiTokenOut(**shown.model_dump(), token=minted.token.reveal())

        return await idempotency.once(uow, person, NewApiTokenOut, create, _without_token)


@router.get("", summary="API tokens that are still good: one's own, for admins all")
async def list_api_tokens(
    person: Person, service: Service, units: UnitsOfWork, paging: PagingQuery
) -> Page[ApiTokenOut]:
    async with units.reading() as uow:
        found, cursor = await service.page(uow, person, paging)
    return Page(items=[ApiTokenOut.of(row, owner) for row, owner in found], next_cursor=cursor)


@router.delete(
    "/{id}",
    status_code=204,
    summary="Revoke one's own, or anybody's as an admin, with all that was made with it",
    responses=problems(404),
)
async def revoke_api_token(person: Person, id: IdPath, service: Service, units: UnitsOfWork) -> None:  # noqa: A002 - the API's name
    async with units() as uow:
        await service.revoke(uow, person, id)


def _without_token(answer: NewApiTokenOut) -> NewApiTokenOut:
    return answer.model_copy(update={"token": None})
