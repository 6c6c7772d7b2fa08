"""`/v1/identities` and `/v1/groups`: people and machines, for admins."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Annotated

from fastapi import APIRouter, Path, Response

from control_plane.identities.domain import over_problem
from control_plane.identities.schemas import (
    GroupIn,
    GroupOut,
    IdentityChange,
    IdentityIn,
    IdentityOut,
    PasswordIn,
    PasswordOut,
)
from control_plane.identities.service import IdentityService
from control_plane.identities.sign_ins import SignInService
from control_plane.kit.access import PEOPLE, SIGN_INS, Permission, Principal, requires
from control_plane.kit.errors import FieldProblem, InvalidError, problems
from control_plane.kit.etags import IfMatch, check_version, etag
from control_plane.kit.idempotency import IdempotencyKey
from control_plane.kit.names import PATTERN
from control_plane.kit.pagination import Page, PagingQuery
from control_plane.kit.secret import Secret
from control_plane.kit.wiring import UnitsOfWork, provided

A_YEAR = timedelta(days=365)  # that a machine is there for when nobody says until when
router = APIRouter(prefix="/v1", responses=problems(401, 403, 422))
Service = Annotated[IdentityService, provided(IdentityService)]
SignIns = Annotated[SignInService, provided(SignInService)]
Admin = Annotated[Principal, requires(Permission.ADMIN, by=SIGN_INS)]
Reader = Annotated[Principal, requires(Permission.ADMIN, by=PEOPLE)]
NamePath = Annotated[str, Path(pattern=PATTERN, max_length=63, examples=["ada"])]


@router.get("/identities", tags=["identities"], summary="List people and machines")
async def list_identities(
    _reader: Reader, service: Service, units: UnitsOfWork, paging: PagingQuery
) -> Page[IdentityOut]:
    async with units.reading() as uow:
        identities, cursor = await service.page(uow, paging)
    return Page(items=[IdentityOut.of(identity) for identity in identities], next_cursor=cursor)


@router.post("/identities", tags=["identities"], status_code=201, summary="Create one", responses=problems(409))
async def create_identity(
    admin: Admin, body: IdentityIn, service: Service, units: UnitsOfWork, idempotency: IdempotencyKey
) -> IdentityOut:
    async with units() as uow:

        async def create() -> IdentityOut:
            wanted = body.model_dump()
            _check_end(body.ends_at, None, uow.now)
            if body.kind == "machine" and body.ends_at is None:
                wanted["ends_at"] = uow.now + A_YEAR
            return IdentityOut.of(await service.create(uow, admin.actor, **wanted))

        return await idempotency.once(uow, admin, IdentityOut, create)


@router.get("/identities/{name}", tags=["identities"], summary="Show one", responses=problems(404))
async def show_identity(
    _reader: Reader, name: NamePath, service: Service, units: UnitsOfWork, response: Response
) -> IdentityOut:
    async with units.reading() as uow:
        identity = await service.named(uow, name)
    response.headers["etag"] = etag(identity.version)
    return IdentityOut.of(identity)


@router.patch(
    "/identities/{name}",
    tags=["identities"],
    summary="Change its mail address or owner; disable it, which ends its sessions",
    responses=problems(404, 409, 412, 428),
)
async def change_identity(
    admin: Admin,
    name: NamePath,
    body: IdentityChange,
    service: Service,
    units: UnitsOfWork,
    response: Response,
    if_match: IfMatch = None,
) -> IdentityOut:
    async with units() as uow:
        before = await service.named(uow, name)
        check_version(if_match, before.version)
        if before.kind == "machine":
            _check_kept(name, body)
        disabled = before.disabled if body.disabled is None else body.disabled
        _check_end(body.ends_at, before.ends_at, uow.now, disabled=disabled)
        identity = await service.change(uow, admin.actor, name, **body.model_dump(exclude_unset=True))
    response.headers["etag"] = etag(identity.version)
    return IdentityOut.of(identity)


@router.delete(
    "/identities/{name}", tags=["identities"], status_code=204, summary="Delete one", responses=problems(404, 409)
)
async def delete_identity(admin: Admin, name: NamePath, service: Service, units: UnitsOfWork) -> None:
    async with units() as uow:
        await service.delete(uow, admin.actor, name)


@router.post(
    "/identities/{name}/password",
    tags=["identities"],
    summary="Give a person another password, and sign the person out",
    responses=problems(503),
)
async def reset_password(admin: Admin, name: NamePath, body: PasswordIn, sign_ins: SignIns) -> PasswordOut:
    given = None if body.password is None else Secret(body.password.get_secret_value())
    chosen = await sign_ins.reset_password(admin.actor, name, given)
    return PasswordOut(password=chosen.reveal() if given is None else None)


@router.get("/groups", tags=["groups"], summary="List groups with their roles and members")
async def list_groups(_reader: Reader, service: Service, units: UnitsOfWork) -> list[GroupOut]:
    async with units.reading() as uow:
        return [GroupOut.of(group) for group in await service.groups(uow)]


@router.get("/groups/{name}", tags=["groups"], summary="Show one", responses=problems(404))
async def show_group(
    _reader: Reader, name: NamePath, service: Service, units: UnitsOfWork, response: Response
) -> GroupOut:
    async with units.reading() as uow:
        group = await service.group(uow, name)
    response.headers["etag"] = etag(group.version)
    return GroupOut.of(group)


@router.put("/groups/{name}", tags=["groups"], summary="Create or replace one", responses=problems(409, 412, 428))
async def put_group(
    admin: Admin,
    name: NamePath,
    body: GroupIn,
    service: Service,
    units: UnitsOfWork,
    response: Response,
    if_match: IfMatch = None,
) -> GroupOut:
    async with units() as uow:
        present = await service.find_group(uow, name)
        check_version(if_match, present.version if present else None)
        reviews = [one.scope for one in body.reviews]
        group = await service.put_group(uow, admin.actor, name, roles=body.roles, members=body.members, reviews=reviews)
    response.headers["etag"] = etag(group.version)
    return GroupOut.of(group)


def _check_end(ends_at: datetime | None, before: datetime | None, now: datetime, *, disabled: bool = False) -> None:
    """Raises InvalidError."""
    if ends_at is not None and (problem := over_problem(ends_at, before, now, disabled=disabled)):
        told = FieldProblem(path="$.ends_at", message=problem)
        raise InvalidError(f"the end date {ends_at.isoformat()} cannot be taken", [told])


def _check_kept(name: str, body: IdentityChange) -> None:
    """Of a machine. Raises InvalidError."""
    if "ends_at" in body.model_fields_set and body.ends_at is None:
        raise InvalidError(f"{name!r} is a machine, and those have an end date: say another one")
    if body.purpose is not None and not body.purpose.strip():
        raise InvalidError(f"{name!r} is a machine, and those have a purpose: say what it is there for")
