"""Finds and stores agents, instances, certificates and join tokens."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from sqlmodel import col, delete, select
from sqlmodel.ext.asyncio.session import AsyncSession

from control_plane.agents.tables import AgentCertificateRow, AgentInstanceRow, AgentRow, JoinTokenRow


async def agent_named(session: AsyncSession, name: str) -> AgentRow | None:
    return (await session.exec(select(AgentRow).where(AgentRow.name == name))).first()


async def agents(session: AsyncSession, after: str | None, limit: int) -> Sequence[AgentRow]:
    query = select(AgentRow).order_by(col(AgentRow.name)).limit(limit)
    return (await session.exec(query.where(AgentRow.name > after) if after is not None else query)).all()


async def holder(session: AsyncSession, serial: str) -> tuple[AgentRow, AgentCertificateRow] | None:
    """The agent that a client certificate was issued to."""
    statement = (
        select(AgentRow, AgentCertificateRow)
        .join(AgentCertificateRow, col(AgentCertificateRow.agent_id) == col(AgentRow.id))
        .where(col(AgentCertificateRow.serial) == serial)
    )
    return (await session.exec(statement)).first()


async def forget_expired_certificates(session: AsyncSession, agent_id: str, now: datetime) -> None:
    await session.exec(
        delete(AgentCertificateRow).where(
            col(AgentCertificateRow.agent_id) == agent_id, col(AgentCertificateRow.expires_at) < now
        )
    )


# ---------------------------------------------------------------- instances


async def instance(session: AsyncSession, instance_id: str) -> AgentInstanceRow | None:
    return await session.get(AgentInstanceRow, instance_id)


async def locked_instance(session: AsyncSession, instance_id: str) -> AgentInstanceRow | None:
    """Nobody else takes reports of this instance until the transaction ends."""
    return await session.get(AgentInstanceRow, instance_id, with_for_update=True, populate_existing=True)


async def instances_of(session: AsyncSession, agent_ids: Sequence[str]) -> Sequence[AgentInstanceRow]:
    query = select(AgentInstanceRow).where(col(AgentInstanceRow.agent_id).in_(agent_ids))
    return (await session.exec(query.order_by(col(AgentInstanceRow.connected_at)))).all()


# ---------------------------------------------------------------- join tokens


async def token_by_hash(session: AsyncSession, token_hash: str) -> JoinTokenRow | None:
    """Locked, so that of two enrolments with one token the second sees it used."""
    query = select(JoinTokenRow).where(JoinTokenRow.token_hash == token_hash).with_for_update()
    return (await session.exec(query)).first()


async def unused_tokens(session: AsyncSession, now: datetime, after: str | None, limit: int) -> Sequence[JoinTokenRow]:
    query = select(JoinTokenRow).where(col(JoinTokenRow.used_at).is_(None), col(JoinTokenRow.expires_at) > now)
    if after is not None:
        query = query.where(JoinTokenRow.id > after)
    return (await session.exec(query.order_by(col(JoinTokenRow.id)).limit(limit))).all()
