"""`/v1/tokens`, `/v1/client-certificates`, `/v1/credentials`, `/v1/service-account-keys`.

A machine trades its key for a token or a certificate of its own, shorter and for named targets; that is all it
can do here. It can make nothing that lasts longer than its key, nothing for anybody else, and no keys.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated

from fastapi import APIRouter, Path

from control_plane.identities.credentials import CredentialService
from control_plane.identities.schemas import (
    CertificateIn,
    CertificateOut,
    CredentialOut,
    NewServiceAccountKeyOut,
    ServiceAccountKeyIn,
    ServiceAccountKeyOut,
    TokenIn,
    TokenOut,
)
from control_plane.kit.access import EVERYBODY, PEOPLE, SIGN_INS, Permission, Principal, requires
from control_plane.kit.errors import problems
from control_plane.kit.idempotency import IdempotencyKey
from control_plane.kit.pagination import Page, PagingQuery
from control_plane.kit.wiring import UnitsOfWork, provided

router = APIRouter(prefix="/v1", tags=["credentials"], responses=problems(401, 403, 422))
Service = Annotated[CredentialService, provided(CredentialService)]
Requester = Annotated[Principal, requires(Permission.REQUEST, by=EVERYBODY)]
RequestingPerson = Annotated[Principal, requires(Permission.REQUEST, by=PEOPLE)]
Issuer = Annotated[Principal, requires(Permission.CREDENTIALS, by=SIGN_INS)]
Reader = Annotated[Principal, requires(Permission.CREDENTIALS, by=PEOPLE)]
IdPath = Annotated[str, Path(pattern="^[a-z]{3}_[a-z2-7]{20}$", examples=["crd_3xk2cqz7q5n4h6mjv2ab"])]


@router.post(
    "/tokens",
    status_code=201,
    summary="A short-lived token for oneself: the password at the target",
    responses=problems(409),
)
async def create_token(
    requester: Requester, body: TokenIn, service: Service, units: UnitsOfWork, idempotency: IdempotencyKey
) -> TokenOut:
    async with units() as uow:

        async def create() -> TokenOut:
            lifetime = timedelta(seconds=body.ttl_seconds)
            minted = await service.token(uow, requester, body.targets, lifetime, body.networks)
            token = minted.token.reveal()
            return TokenOut(credential_id=minted.credential_id, token=token, expires_at=minted.expires_at)

        return await idempotency.once(uow, requester, TokenOut, create, _without_token)


@router.post(
    "/client-certificates", status_code=201, summary="A client certificate for oneself", responses=problems(404)
)
async def create_certificate(
    requester: Requester, body: CertificateIn, service: Service, units: UnitsOfWork, idempotency: IdempotencyKey
) -> CertificateOut:
    async with units() as uow:

        async def create() -> CertificateOut:
            lifetime = timedelta(seconds=body.ttl_seconds)
            request = body.csr.encode(errors="replace")
            minted = await service.certificate(uow, requester, request, body.binding, lifetime)
            issued = minted.certificate
            return CertificateOut(
                credential_id=minted.credential_id,
                certificate=issued.chain_pem,
                ca=issued.ca_pem,
                expires_at=issued.expires_at,
            )

        return await idempotency.once(uow, requester, CertificateOut, create)


@router.get("/credentials", summary="Tokens and certificates that are still good: one's own, for admins all")
async def list_credentials(
    person: RequestingPerson, service: Service, units: UnitsOfWork, paging: PagingQuery
) -> Page[CredentialOut]:
    async with units.reading() as uow:
        rows, cursor = await service.page(uow, person, paging)
    return Page(items=[CredentialOut.of(row) for row in rows], next_cursor=cursor)


@router.delete(
    "/credentials/{id}",
    status_code=204,
    summary="Revoke one's own, or anybody's as an admin; its sessions end at once",
    responses=problems(404),
)
async def revoke_credential(person: RequestingPerson, id: IdPath, service: Service, units: UnitsOfWork) -> None:  # noqa: A002 - the API's name
    async with units() as uow:
        await service.revoke(uow, person, id)


@router.get("/service-account-keys", summary="List the keys of machines")
async def list_keys(
    _reader: Reader, service: Service, units: UnitsOfWork, paging: PagingQuery
) -> Page[ServiceAccountKeyOut]:
    async with units.reading() as uow:
        rows, cursor = await service.keys_page(uow, paging)
    return Page(items=[ServiceAccountKeyOut.of(row, owner) for row, owner in rows], next_cursor=cursor)


@router.post("/service-account-keys", status_code=201, summary="A new key for a machine", responses=problems(404, 409))
async def create_key(
    issuer: Issuer, body: ServiceAccountKeyIn, service: Service, units: UnitsOfWork, idempotency: IdempotencyKey
) -> NewServiceAccountKeyOut:
    async with units() as uow:

        async def create() -> NewServiceAccountKeyOut:
            lifetime = timedelta(days=body.ttl_days)
            minted = await service.create_key(uow, issuer, body.identity, body.description, lifetime)
            shown = ServiceAccountKeyOut.of(minted.row, minted.owner)
            return NewServiceAccountKeyOut(**shown.model_dump(), key=minted.key.reveal())

        return await idempotency.once(uow, issuer, NewServiceAccountKeyOut, create, _without_key)


@router.delete(
    "/service-account-keys/{id}",
    status_code=204,
    summary="Revoke a key and everything that was made with it",
    responses=problems(404),
)
async def revoke_key(issuer: Issuer, id: IdPath, service: Service, units: UnitsOfWork) -> None:  # noqa: A002 - the API's name
    async with units() as uow:
        await service.revoke_key(uow, issuer, id)


def _without_token(answer: TokenOut) -> TokenOut:
    return answer.model_copy(update={"token": None})


def _without_key(answer: NewServiceAccountKeyOut) -> NewServiceAccountKeyOut:
    return answer.model_copy(update={"key": None})
