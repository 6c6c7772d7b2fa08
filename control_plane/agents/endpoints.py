"""`/v1/agents` and `/v1/join-tokens`: how agents are, and how new ones are let in. Only people let agents in."""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated

from fastapi import APIRouter

from control_plane.agents.authority import CertificateAuthority
from control_plane.agents.schemas import AgentOut, DrainIn, JoinTokenIn, JoinTokenOut, MintedJoinTokenOut
from control_plane.agents.service import AgentService
from control_plane.kit.access import EVERYBODY, SIGN_INS, Permission, Principal, requires
from control_plane.kit.errors import problems
from control_plane.kit.idempotency import IdempotencyKey
from control_plane.kit.pagination import Page, PagingQuery
from control_plane.kit.wiring import UnitsOfWork, provided

router = APIRouter(prefix="/v1", tags=["agents"], responses=problems(401, 403, 422))
Service = Annotated[AgentService, provided(AgentService)]
Authority = Annotated[CertificateAuthority, provided(CertificateAuthority)]
Watcher = Annotated[Principal, requires(Permission.SESSIONS, by=EVERYBODY)]
Admin = Annotated[Principal, requires(Permission.ADMIN, by=SIGN_INS)]


@router.get("/agents", summary="Agents and how their instances are, by name")
async def list_agents(_principal: Watcher, service: Service, units: UnitsOfWork, paging: PagingQuery) -> Page[AgentOut]:
    async with units.reading() as uow:
        found, cursor = await service.listed(uow, paging)
    return Page(items=[AgentOut.of(one) for one in found], next_cursor=cursor)


@router.get("/agents/{name}", summary="One agent", responses=problems(404))
async def show_agent(name: str, _principal: Watcher, service: Service, units: UnitsOfWork) -> AgentOut:
    async with units.reading() as uow:
        return AgentOut.of(await service.one(uow, name))


@router.post("/agents/{name}/disable", summary="End its sessions and let it connect no more", responses=problems(404))
async def disable_agent(name: str, admin: Admin, service: Service, units: UnitsOfWork) -> AgentOut:
    async with units() as uow:
        return AgentOut.of(await service.set_disabled(uow, admin.actor, name, disabled=True))


@router.post("/agents/{name}/enable", summary="Let a disabled agent connect again", responses=problems(404))
async def enable_agent(name: str, admin: Admin, service: Service, units: UnitsOfWork) -> AgentOut:
    async with units() as uow:
        return AgentOut.of(await service.set_disabled(uow, admin.actor, name, disabled=False))


@router.post(
    "/agents/{name}/drain",
    status_code=204,
    summary="Let its connected instances finish: no new sessions, open ones end by the deadline",
    responses=problems(404),
)
async def drain_agent(name: str, body: DrainIn, admin: Admin, service: Service, units: UnitsOfWork) -> None:
    async with units() as uow:
        await service.drain(uow, admin.actor, name, body.seconds)


@router.get("/join-tokens", summary="Tokens that may still be used; never the tokens themselves")
async def list_join_tokens(
    _admin: Admin, service: Service, units: UnitsOfWork, paging: PagingQuery
) -> Page[JoinTokenOut]:
    async with units.reading() as uow:
        rows, cursor = await service.tokens(uow, paging)
    return Page(items=[JoinTokenOut.of(row) for row in rows], next_cursor=cursor)


@router.post("/join-tokens", status_code=201, summary="A token that lets one installation of an agent enrol, once")
async def create_join_token(
    body: JoinTokenIn,
    admin: Admin,
    service: Service,
    authority: Authority,
    units: UnitsOfWork,
    idempotency: IdempotencyKey,
) -> MintedJoinTokenOut:
    async with units() as uow:

        async def create() -> MintedJoinTokenOut:
            minted = await service.create_token(uow, admin.actor, body.agent, timedelta(seconds=body.expires_in))
            return MintedJoinTokenOut.minted(minted, authority.certificates.decode())

        return await idempotency.once(uow, admin, MintedJoinTokenOut, create, _without_token)


@router.delete("/join-tokens/{token_id}", status_code=204, summary="Take back an unused token", responses=problems(404))
async def revoke_join_token(token_id: str, admin: Admin, service: Service, units: UnitsOfWork) -> None:
    async with units() as uow:
        await service.revoke_token(uow, admin.actor, token_id)


def _without_token(answer: MintedJoinTokenOut) -> MintedJoinTokenOut:
    return answer.model_copy(update={"token": ""})
