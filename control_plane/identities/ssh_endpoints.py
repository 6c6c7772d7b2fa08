"""`/v1/ssh-certificates` for oneself; `/v1/ssh-ca` for servers that trust them: public keys, and what is revoked."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Annotated

from fastapi import APIRouter
from fastapi.responses import PlainTextResponse, Response
from pydantic import BaseModel, Field

from control_plane.identities.schemas import BoundIn
from control_plane.identities.ssh_certificates import SshCertificateService
from control_plane.kit.access import EVERYBODY, Permission, Principal, open_to_all, requires
from control_plane.kit.errors import problems
from control_plane.kit.idempotency import IdempotencyKey
from control_plane.kit.wiring import UnitsOfWork, provided

router = APIRouter(prefix="/v1", tags=["credentials"])
Service = Annotated[SshCertificateService, provided(SshCertificateService)]
Requester = Annotated[Principal, requires(Permission.REQUEST, by=EVERYBODY)]
_BINARY = "application/octet-stream"


class SshCertificateIn(BoundIn):
    public_key: str = Field(
        max_length=4096,
        description="one line of a `.pub` file: Ed25519, ECDSA, or RSA of 2048 bits or more",
        examples=["ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJ2ljMRnBLCB4nRWqwXsYQy0pKQ7HkTyV6tQ0r1m8wXb ada@laptop"],
    )


class SshCertificateOut(BaseModel):
    credential_id: str = Field(description="also the key id", examples=["crd_3xk2cqz7q5n4h6mjv2ab"])
    certificate: str = Field(
        description="the line of a `-cert.pub` file", examples=["ssh-ed25519-cert-v01@openssh.com AAAA… ada@assentry"]
    )
    principals: list[str] = Field(
        description="one's name, or NAME/TARGET for each target that it is bound to", examples=[["ada/bastion"]]
    )
    expires_at: datetime


class BinaryResponse(Response):
    media_type = _BINARY


@router.post(
    "/ssh-certificates",
    status_code=201,
    summary="A short-lived SSH certificate for oneself",
    responses=problems(401, 403, 409, 422),
)
async def create_ssh_certificate(
    requester: Requester, body: SshCertificateIn, service: Service, units: UnitsOfWork, idempotency: IdempotencyKey
) -> SshCertificateOut:
    async with units() as uow:

        async def create() -> SshCertificateOut:
            lifetime = timedelta(seconds=body.ttl_seconds)
            minted = await service.issue(uow, requester, body.public_key, body.binding, lifetime)
            return SshCertificateOut(
                credential_id=minted.credential_id,
                certificate=minted.certificate,
                principals=list(minted.principals),
                expires_at=minted.expires_at,
            )

        return await idempotency.once(uow, requester, SshCertificateOut, create)


@router.get(
    "/ssh-ca",
    summary="The keys that SSH servers trust (TrustedUserCAKeys)",
    response_class=PlainTextResponse,
    dependencies=[open_to_all("public keys; servers fetch them by themselves")],
)
async def ssh_authorities(service: Service) -> PlainTextResponse:
    return PlainTextResponse(service.authorities())


@router.get(
    "/ssh-ca/revoked",
    summary="What SSH servers must refuse (RevokedKeys): OpenSSH's key revocation list",
    response_class=BinaryResponse,
    responses={200: {"content": {_BINARY: {}}}},
    dependencies=[open_to_all("ids that mean nothing elsewhere; servers fetch them by themselves")],
)
async def ssh_revocations(service: Service, units: UnitsOfWork) -> BinaryResponse:
    async with units.reading() as uow:
        return BinaryResponse(await service.revocations(uow), headers={"cache-control": "no-store"})
