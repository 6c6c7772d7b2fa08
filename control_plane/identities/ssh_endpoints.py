"""`/v1/ssh-certificates`: for oneself. What servers need to trust them is in `authority_endpoints`."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Annotated

from fastapi import APIRouter
from pydantic import BaseModel, Field

from control_plane.identities.schemas import BoundIn
from control_plane.identities.ssh_certificates import SshCertificateService
from control_plane.kit.access import EVERYBODY, Permission, Principal, requires
from control_plane.kit.errors import problems
from control_plane.kit.idempotency import IdempotencyKey
from control_plane.kit.wiring import UnitsOfWork, provided

router = APIRouter(prefix="/v1", tags=["credentials"])
Service = Annotated[SshCertificateService, provided(SshCertificateService)]
Requester = Annotated[Principal, requires(Permission.REQUEST, by=EVERYBODY)]


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
