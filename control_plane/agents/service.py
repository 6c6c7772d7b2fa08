"""Agents as admins know them, and how they come to hold certificates.

Enrolment consumes the join token in the transaction that issues the certificates. A refusal is a value, so that its
audit event is committed; the agent learns only that it was refused.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Final

import msgspec

from control_plane.agents import repository
from control_plane.agents.authority import CertificateAuthority
from control_plane.agents.domain import Agent, Certificates, Enrolled, NotEnrolled, new_token, token_hash
from control_plane.agents.errors import AgentNotFoundError, JoinTokenNotFoundError
from control_plane.agents.tables import AgentCertificateRow, AgentInstanceRow, AgentRow, JoinTokenRow
from control_plane.kit.errors import InvalidError
from control_plane.kit.ids import new_id
from control_plane.kit.names import DESCRIPTION, is_name
from control_plane.kit.pagination import Paging, single_key
from control_plane.kit.secret import Secret
from control_plane.kit.unit_of_work import NOBODY, Actor, AuditEvent, UnitOfWork

TOPIC: Final = "agent"  # disabled or enabled; the key is its id
DRAIN: Final = "agent-drain"  # the key is "<agent id> <seconds>"

CERTIFICATE_LIFE: Final = timedelta(days=3)
LONGEST_TOKEN: Final = timedelta(days=7)


class MintedJoinToken(msgspec.Struct, frozen=True):
    row: JoinTokenRow
    token: Secret


class Listed(msgspec.Struct, frozen=True):
    agent: AgentRow
    instances: Sequence[AgentInstanceRow]


class AgentService:
    def __init__(self, authority: CertificateAuthority, certificate_life: timedelta = CERTIFICATE_LIFE) -> None:
        self._authority = authority
        self._life = certificate_life

    # -------------------------------------------------------------- join tokens

    async def create_token(self, uow: UnitOfWork, by: Actor, agent_name: str, lifetime: timedelta) -> MintedJoinToken:
        """Lets one installation of this agent enrol. The token is shown once and kept as a hash."""
        if not is_name(agent_name):
            raise InvalidError(f"an agent's name is {DESCRIPTION}")
        token = new_token()
        row = JoinTokenRow(
            id=new_id("jtk"),
            token_hash=token_hash(token.reveal()),
            agent_name=agent_name,
            created_by=by.id,
            created_at=uow.now,
            expires_at=uow.now + min(lifetime, LONGEST_TOKEN),
        )
        uow.session.add(row)
        told = {"agent": agent_name, "expires_at": row.expires_at.isoformat()}
        uow.audit(AuditEvent("join-token.created", by, row.id, told))
        return MintedJoinToken(row, token)

    async def revoke_token(self, uow: UnitOfWork, by: Actor, token_id: str) -> None:
        row = await uow.session.get(JoinTokenRow, token_id, with_for_update=True)
        if row is None or row.used_at is not None:
            raise JoinTokenNotFoundError(token_id)
        await uow.session.delete(row)
        uow.audit(AuditEvent("join-token.revoked", by, token_id, {"agent": row.agent_name}))

    async def tokens(self, uow: UnitOfWork, paging: Paging) -> tuple[list[JoinTokenRow], str | None]:
        after = single_key(paging, str)
        rows = await repository.unused_tokens(uow.session, uow.now, after, paging.limit + 1)
        return paging.page(rows, lambda row: (row.id,))

    # -------------------------------------------------------------- certificates

    async def enrol(
        self, uow: UnitOfWork, token: str, agent_name: str, client_csr: bytes, listener_csr: bytes
    ) -> Enrolled | NotEnrolled:
        """Raises CertificateRequestError; then nothing has happened and the token is still good."""
        row = await repository.token_by_hash(uow.session, token_hash(token))
        agent = await repository.agent_named(uow.session, agent_name)
        refusal = _refusal(row, agent, agent_name, uow.now)
        if row is None or refusal is not None:
            why = refusal or NotEnrolled.UNKNOWN
            uow.audit(AuditEvent("agent.enrolment-refused", NOBODY, agent_name[:64], {"reason": why.value}))
            return why
        if agent is None:
            agent = AgentRow(id=new_id("agt"), name=agent_name, created_at=uow.now)
            uow.session.add(agent)
            await uow.session.flush()
        certificates = await self._issue(uow, agent.id, agent.name, client_csr, listener_csr)
        row.used_at = uow.now
        uow.session.add(row)
        self._issued(uow, "agent.enrolled", agent.id, agent.name, certificates)
        return Enrolled(agent.id, agent.name, certificates)

    async def renew(self, uow: UnitOfWork, agent: Agent, client_csr: bytes, listener_csr: bytes) -> Certificates:
        """Raises CertificateRequestError."""
        certificates = await self._issue(uow, agent.id, agent.name, client_csr, listener_csr)
        self._issued(uow, "agent.renewed", agent.id, agent.name, certificates)
        return certificates

    async def _issue(
        self, uow: UnitOfWork, agent_id: str, name: str, client_csr: bytes, listener_csr: bytes
    ) -> Certificates:
        until = (uow.now + self._life).replace(microsecond=0)
        client, serial = self._authority.agent(client_csr, agent_id, name, uow.now, until)
        listener, names = self._authority.listener(listener_csr, name, uow.now, until)
        await repository.forget_expired_certificates(uow.session, agent_id, uow.now)
        uow.session.add(AgentCertificateRow(serial=serial, agent_id=agent_id, issued_at=uow.now, expires_at=until))
        return Certificates(client, listener, self._authority.certificates, serial, until, names)

    def _issued(self, uow: UnitOfWork, kind: str, agent_id: str, name: str, certificates: Certificates) -> None:
        told = {
            "agent_id": agent_id,
            "serial": certificates.serial,
            "listener_names": list(certificates.listener_names),
            "expires_at": certificates.expires_at.isoformat(),
        }
        uow.audit(AuditEvent(kind, Actor(agent_id, name, "agent"), name, told))

    async def holder(self, uow: UnitOfWork, serial: str) -> Agent | None:
        """Whose client certificate this is. None: it opens nothing, or not any more."""
        found = await repository.holder(uow.session, serial)
        if found is None or found[0].disabled or found[1].expires_at <= uow.now:
            return None
        return Agent(found[0].id, found[0].name, found[1].expires_at)

    # -------------------------------------------------------------- for admins

    async def listed(self, uow: UnitOfWork, paging: Paging) -> tuple[list[Listed], str | None]:
        rows = await repository.agents(uow.session, single_key(paging, str), paging.limit + 1)
        page, cursor = paging.page(rows, lambda row: (row.name,))
        instances = await repository.instances_of(uow.session, [row.id for row in page])
        return [Listed(row, [one for one in instances if one.agent_id == row.id]) for row in page], cursor

    async def one(self, uow: UnitOfWork, name: str) -> Listed:
        agent = await self._named(uow, name)
        return Listed(agent, await repository.instances_of(uow.session, [agent.id]))

    async def set_disabled(self, uow: UnitOfWork, by: Actor, name: str, *, disabled: bool) -> Listed:
        """A disabled agent's streams end and its sessions with them; it cannot enrol, renew or connect."""
        agent = await self._named(uow, name)
        if agent.disabled != disabled:
            agent.disabled = disabled
            uow.session.add(agent)
            uow.audit(AuditEvent("agent.disabled" if disabled else "agent.enabled", by, name))
            uow.notify(TOPIC, agent.id)
        return Listed(agent, await repository.instances_of(uow.session, [agent.id]))

    async def drain(self, uow: UnitOfWork, by: Actor, name: str, seconds: int) -> None:
        agent = await self._named(uow, name)
        uow.audit(AuditEvent("agent.drained", by, name, {"seconds": seconds}))
        uow.notify(DRAIN, f"{agent.id} {seconds}")

    async def _named(self, uow: UnitOfWork, name: str) -> AgentRow:
        agent = await repository.agent_named(uow.session, name)
        if agent is None:
            raise AgentNotFoundError(name)
        return agent


def _refusal(row: JoinTokenRow | None, agent: AgentRow | None, agent_name: str, now: datetime) -> NotEnrolled | None:
    if row is None:
        return NotEnrolled.UNKNOWN
    if row.used_at is not None:
        return NotEnrolled.USED
    if row.expires_at <= now:
        return NotEnrolled.EXPIRED
    if row.agent_name != agent_name:
        return NotEnrolled.OTHER_AGENT
    return NotEnrolled.DISABLED if agent is not None and agent.disabled else None
