"""`/v1/ca` and `/v1/ssh-ca`: for whoever must recognise what this deployment signs, and what it takes back. Public."""

from __future__ import annotations

import base64
from typing import Annotated

from fastapi import APIRouter
from fastapi.responses import PlainTextResponse, Response
from pydantic import BaseModel, Field

from control_plane.identities.credentials import CredentialService
from control_plane.identities.ssh_certificates import SshCertificateService
from control_plane.kit.access import open_to_all
from control_plane.kit.wiring import UnitsOfWork, provided

router = APIRouter(prefix="/v1", tags=["credentials"])
Credentials = Annotated[CredentialService, provided(CredentialService)]
Ssh = Annotated[SshCertificateService, provided(SshCertificateService)]
_BINARY = "application/octet-stream"


class AuthorityOut(BaseModel):
    pem: str = Field(
        description="what verifies the certificates of agents; one or more",
        examples=["-----BEGIN CERTIFICATE-----\n…\n-----END CERTIFICATE-----\n"],
    )
    base64: str = Field(description="the same, as a kubeconfig wants it")


class BinaryResponse(Response):
    media_type = _BINARY


@router.get(
    "/ca",
    summary="What clients verify agents with",
    dependencies=[open_to_all("a public certificate; clients need it before they can trust an agent")],
)
async def authority(service: Credentials) -> AuthorityOut:
    pem = service.authorities()
    return AuthorityOut(pem=pem.decode(), base64=base64.b64encode(pem).decode())


@router.get(
    "/ssh-ca",
    summary="The keys that SSH servers trust (TrustedUserCAKeys)",
    response_class=PlainTextResponse,
    dependencies=[open_to_all("public keys; servers fetch them by themselves")],
)
async def ssh_authorities(service: Ssh) -> PlainTextResponse:
    return PlainTextResponse(service.authorities())


@router.get(
    "/ssh-ca/revoked",
    summary="What SSH servers must refuse (RevokedKeys): OpenSSH's key revocation list",
    response_class=BinaryResponse,
    responses={200: {"content": {_BINARY: {}}}},
    dependencies=[open_to_all("ids that mean nothing elsewhere; servers fetch them by themselves")],
)
async def ssh_revocations(service: Ssh, units: UnitsOfWork) -> BinaryResponse:
    async with units.reading() as uow:
        return BinaryResponse(await service.revocations(uow), headers={"cache-control": "no-store"})
