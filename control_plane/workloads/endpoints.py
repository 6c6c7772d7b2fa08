"""`/v1/workload-trusts`, `/v1/workload-sign-ins`, `/v1/client-credentials`, `/v1/acting-tokens`."""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated

from fastapi import APIRouter, Path

from control_plane.documents.resources import document_router
from control_plane.kit.access import PEOPLE, SIGN_INS, Permission, Principal, requires
from control_plane.kit.errors import problems
from control_plane.kit.idempotency import IdempotencyKey
from control_plane.kit.pagination import Page, PagingQuery
from control_plane.kit.wiring import UnitsOfWork, provided
from control_plane.workloads.acting import ActingTokens
from control_plane.workloads.clients import ClientCredentials
from control_plane.workloads.documents import WorkloadTrust
from control_plane.workloads.schemas import (
    ActingTokenIn,
    ActingTokenOut,
    ClientCredentialOut,
    ClientSecretIn,
    KeyPairIn,
    NewActingTokenOut,
    NewClientSecretOut,
    WorkloadSignInOut,
)
from control_plane.workloads.service import WorkloadService

router = APIRouter(prefix="/v1", tags=["workloads"], responses=problems(401, 403, 422))
SignIns = Annotated[WorkloadService, provided(WorkloadService)]
Clients = Annotated[ClientCredentials, provided(ClientCredentials)]
Acting = Annotated[ActingTokens, provided(ActingTokens)]
Issuer = Annotated[Principal, requires(Permission.CREDENTIALS, by=SIGN_INS)]
Reader = Annotated[Principal, requires(Permission.CREDENTIALS, by=PEOPLE)]
Delegator = Annotated[Principal, requires(Permission.SELF, by=(*SIGN_INS, "key", "workload"))]
trusts = document_router(WorkloadTrust, "/v1/workload-trusts", Permission.ADMIN)
IdPath = Annotated[str, Path(pattern="^[a-z]{3}_[a-z2-7]{20}$", examples=["wsi_3xk2cqz7q5n4h6mjv2ab"])]


@router.get("/workload-sign-ins", summary="Which workloads signed in, newest first, for 90 days")
async def list_sign_ins(
    _reader: Reader, service: SignIns, units: UnitsOfWork, paging: PagingQuery
) -> Page[WorkloadSignInOut]:
    async with units.reading() as uow:
        rows, cursor = await service.page(uow, paging)
    return Page(items=[WorkloadSignInOut.of(row, name) for row, name in rows], next_cursor=cursor)


@router.delete(
    "/workload-sign-ins/{id}",
    status_code=204,
    summary="End one, with all that was made with it; its sessions end at once",
    responses=problems(404),
)
async def end_sign_in(issuer: Issuer, id: IdPath, service: SignIns, units: UnitsOfWork) -> None:  # noqa: A002 - the API's name
    async with units() as uow:
        await service.end(uow, issuer, id)


@router.get("/client-credentials", summary="Key pairs and secrets that machines sign in with")
async def list_client_credentials(
    _reader: Reader, clients: Clients, units: UnitsOfWork, paging: PagingQuery
) -> Page[ClientCredentialOut]:
    async with units.reading() as uow:
        rows, cursor = await clients.page(uow, paging)
    return Page(items=[ClientCredentialOut.of(row, name) for row, name in rows], next_cursor=cursor)


@router.post(
    "/client-credentials/key-pairs",
    status_code=201,
    summary="Register the public half of a machine's key pair",
    responses=problems(404, 409),
)
async def add_key_pair(
    issuer: Issuer, body: KeyPairIn, clients: Clients, units: UnitsOfWork, idempotency: IdempotencyKey
) -> ClientCredentialOut:
    async with units() as uow:

        async def create() -> ClientCredentialOut:
            made = await clients.add_key_pair(uow, issuer, body.identity, body.jwk, body.wanted)
            return ClientCredentialOut.of(made.row, made.identity)

        return await idempotency.once(uow, issuer, ClientCredentialOut, create)


@router.post(
    "/client-credentials/secrets",
    status_code=201,
    summary="A new secret for a machine: shown once, it ends",
    responses=problems(404, 409),
)
async def add_secret(
    issuer: Issuer, body: ClientSecretIn, clients: Clients, units: UnitsOfWork, idempotency: IdempotencyKey
) -> NewClientSecretOut:
    async with units() as uow:

        async def create() -> NewClientSecretOut:
            return NewClientSecretOut.made(await clients.add_secret(uow, issuer, body.identity, body.wanted))

        return await idempotency.once(uow, issuer, NewClientSecretOut, create, _without_secret)


@router.delete(
    "/client-credentials/{id}",
    status_code=204,
    summary="Revoke one and everything that was made with it",
    responses=problems(404),
)
async def revoke_client_credential(issuer: Issuer, id: IdPath, clients: Clients, units: UnitsOfWork) -> None:  # noqa: A002 - the API's name
    async with units() as uow:
        await clients.revoke(uow, issuer, id)


@router.get("/acting-tokens", summary="By which machines act on one's behalf")
async def list_acting_tokens(delegator: Delegator, acting: Acting, units: UnitsOfWork) -> list[ActingTokenOut]:
    async with units.reading() as uow:
        return [ActingTokenOut.of(row, actor) for row, actor in await acting.mine(uow, delegator)]


@router.post(
    "/acting-tokens",
    status_code=201,
    summary="Let a machine act on one's behalf: it gets no right by it, and nobody who stands behind it may approve",
    responses=problems(404, 409),
)
async def make_acting_token(
    delegator: Delegator, body: ActingTokenIn, acting: Acting, units: UnitsOfWork, idempotency: IdempotencyKey
) -> NewActingTokenOut:
    async with units() as uow:

        async def create() -> NewActingTokenOut:
            lifetime = timedelta(seconds=body.ttl_seconds)
            return NewActingTokenOut.made(await acting.make(uow, delegator, body.actor, lifetime))

        return await idempotency.once(uow, delegator, NewActingTokenOut, create, _without_token)


@router.delete(
    "/acting-tokens/{id}",
    status_code=204,
    summary="Take one back, with all that was got by it",
    responses=problems(404),
)
async def revoke_acting_token(delegator: Delegator, id: IdPath, acting: Acting, units: UnitsOfWork) -> None:  # noqa: A002 - the API's name
    async with units() as uow:
        await acting.revoke(uow, delegator, id)


def _without_secret(answer: NewClientSecretOut) -> NewClientSecretOut:
    return answer.model_copy(update={"secret": None})


def _without_token(answer: NewActingTokenOut) -> NewActingTokenOut:
    return answer.model_copy(update={"token": None})
