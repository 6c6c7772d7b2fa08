"""`/v1/security-keys`: one's own keys, and the challenges that they sign. Machines and tokens reach none of it."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Path

from control_plane.kit.access import SIGN_INS, Permission, Principal, requires
from control_plane.kit.errors import problems
from control_plane.kit.names import PATTERN
from control_plane.kit.wiring import UnitsOfWork, provided
from control_plane.security_keys.errors import KeyRefusedError
from control_plane.security_keys.schemas import CeremonyOut, SecurityKeyIn, SecurityKeyOut
from control_plane.security_keys.service import Rejected, SecurityKeys

router = APIRouter(prefix="/v1", tags=["security keys"], responses=problems(401, 403, 422))
Service = Annotated[SecurityKeys, provided(SecurityKeys)]
Person = Annotated[Principal, requires(Permission.SELF, by=SIGN_INS)]
Admin = Annotated[Principal, requires(Permission.ADMIN, by=SIGN_INS)]
NamePath = Annotated[str, Path(pattern=PATTERN, max_length=63, examples=["ada"])]
KeyPath = Annotated[str, Path(max_length=64)]


@router.get("/security-keys", summary="One's own security keys")
async def list_keys(person: Person, service: Service, units: UnitsOfWork) -> list[SecurityKeyOut]:
    async with units.reading() as uow:
        return [SecurityKeyOut.of(row) for row in await service.of(uow, person)]


@router.post(
    "/security-keys/registrations",
    status_code=201,
    summary="Begin to register a key: needs a sign-in of the last five minutes, and a key that one has, if any",
    responses=problems(409),
)
async def begin_registration(person: Person, service: Service, units: UnitsOfWork) -> CeremonyOut:
    async with units() as uow:
        return CeremonyOut.of(await service.begin_registration(uow, person))


@router.post("/security-keys", status_code=201, summary="Register the key", responses=problems(409))
async def register(person: Person, body: SecurityKeyIn, service: Service, units: UnitsOfWork) -> SecurityKeyOut:
    """The refusal is raised after the commit: the challenge is spent, and it stays in the audit log."""
    async with units() as uow:
        found = await service.register(uow, person, body.name, body.answer())
    if isinstance(found, Rejected):
        raise KeyRefusedError("the security key was not registered; begin again")
    return SecurityKeyOut.of(found)


@router.post(
    "/security-keys/challenges",
    status_code=201,
    summary="Something to sign with a key, to prove again who one is: see POST /v1/session/reauthenticate",
    responses=problems(409),
)
async def challenge(person: Person, service: Service, units: UnitsOfWork) -> CeremonyOut:
    async with units() as uow:
        return CeremonyOut.of(await service.ask(uow, person))


@router.delete(
    "/security-keys/{key_id}",
    status_code=204,
    summary="Remove one of one's own, proven by a key within the last five minutes",
    responses=problems(404),
)
async def remove(person: Person, key_id: KeyPath, service: Service, units: UnitsOfWork) -> None:
    async with units() as uow:
        await service.remove(uow, person, key_id)


@router.get("/identities/{name}/security-keys", summary="Somebody's security keys", responses=problems(404))
async def list_keys_of(name: NamePath, _admin: Admin, service: Service, units: UnitsOfWork) -> list[SecurityKeyOut]:
    async with units.reading() as uow:
        return [SecurityKeyOut.of(row) for row in await service.of_named(uow, name)]


@router.delete(
    "/identities/{name}/security-keys/{key_id}",
    status_code=204,
    summary="Remove a key that somebody has lost; nobody can add one for another",
    responses=problems(404),
)
async def remove_of(name: NamePath, key_id: KeyPath, admin: Admin, service: Service, units: UnitsOfWork) -> None:
    async with units() as uow:
        await service.remove_of(uow, admin, name, key_id)
