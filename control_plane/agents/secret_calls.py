"""FetchSecret and StoreSecret: an agent gets the secret of a target that it serves, and stores the one that follows.

What was looked at before the secret was opened is looked at again in the transaction that writes the delivery down:
the agent and its certificate, the target, the version. Refusals are audited: of one agent a few kinds in a minute, each
once.
"""

from __future__ import annotations

import enum
from typing import Final

import msgspec
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PublicKey
from cryptography.hazmat.primitives.hpke import AEAD, KDF, KEM, Suite
from sqlalchemy.exc import IntegrityError

from control_plane.agents import repository
from control_plane.agents.domain import Agent
from control_plane.agents.ports import Secrets
from control_plane.agents.service import AgentService
from control_plane.kit.errors import InvalidError, ProblemError
from control_plane.kit.secret import Secret
from control_plane.kit.unit_of_work import NOBODY, Actor, UnitOfWork, Units
from control_plane.secrets.delivery import CannotOpenError, Entitled, NotEntitled
from control_plane.secrets.service import check_value

_SUITE: Final = Suite(KEM.X25519, KDF.HKDF_SHA256, AEAD.CHACHA20_POLY1305)
_TRIES: Final = 5
_LONGEST_NAME: Final = 64
_MINUTE: Final = 60
_MOST_IN_A_MINUTE: Final = 20


class Refusal(enum.Enum):
    DENIED = "denied"
    NOTHING_THERE = "nothing there"
    CONFUSED = "confused"
    OUTDATED = "outdated"
    UNAVAILABLE = "unavailable"


class RefusedError(Exception):
    """`reason` is for the agent's log."""

    def __init__(self, why: Refusal, reason: str) -> None:
        super().__init__(reason)
        self.why = why
        self.reason = reason


class SealedForAgent(msgspec.Struct, frozen=True):
    version: int
    sealed: bytes


class SecretCalls:
    """`serial` is that of the client certificate which mutual TLS has verified."""

    def __init__(self, units: Units, agents: AgentService, secrets: Secrets, deployment: str) -> None:
        self._units = units
        self._agents = agents
        self._secrets = secrets
        self._deployment = deployment
        self._refused: dict[str, set[tuple[str, str]]] = {}  # by agent, in this minute
        self._minute = 0

    async def fetch(self, serial: str, target: str, recipient_key: bytes) -> SealedForAgent:
        """Raises RefusedError."""
        try:
            recipient = X25519PublicKey.from_public_bytes(recipient_key)
        except ValueError as error:
            raise RefusedError(Refusal.CONFUSED, "recipient_key: an X25519 key has 32 bytes") from error
        for _ in range(_TRIES):
            one = await self._entitled(serial, target)
            value = await self._opened(one)
            if not await self._written_down(serial, target, one):
                continue  # it has changed meanwhile: the next round refuses, or opens what is there now
            info = b"\0".join(
                (b"assentry-secret-v1", self._deployment.encode(), target.encode(), str(one.version).encode())
            )
            return SealedForAgent(one.version, _SUITE.encrypt(value.reveal().encode(), recipient, info=info))
        raise RefusedError(Refusal.UNAVAILABLE, "the secret changes faster than it can be delivered; try again")

    async def store(self, serial: str, target: str, expected_version: int, value: Secret) -> int:
        """The version that the value has now. Raises RefusedError."""
        one = await self._entitled(serial, target)
        try:
            check_value(value)
        except InvalidError as error:
            raise RefusedError(Refusal.CONFUSED, error.detail) from error
        if not one.rotated:
            raise await self._refusal(serial, target, NotEntitled.NOT_ROTATED)
        if one.version == expected_version + 1 and (await self._opened(one)).same_as(value.reveal()):
            return one.version  # an answer that was lost
        if one.version != expected_version:
            raise RefusedError(Refusal.OUTDATED, f"the secret is at version {one.version}; nothing was stored")
        try:
            sealed = await self._secrets.sealed(one, value)
        except ProblemError as error:
            raise RefusedError(Refusal.UNAVAILABLE, error.detail) from error
        async with self._units() as uow:
            agent, found = await self._looked_up(uow, serial, target)
            if (
                agent is None
                or not _same(found, one)
                or not await self._secrets.rotated(uow, _actor(agent), one, sealed)
            ):
                raise RefusedError(Refusal.OUTDATED, "the secret or its target has changed; nothing was stored")
        return one.version + 1

    # -------------------------------------------------------------- steps

    async def _written_down(self, serial: str, target: str, one: Entitled) -> bool:
        """False: to be looked at again."""
        try:
            async with self._units() as uow:
                agent, found = await self._looked_up(uow, serial, target)
                if agent is None or not _same(found, one):
                    return False
                await self._secrets.delivered(uow, _actor(agent), one)
        except IntegrityError:  # two workers of an agent are given it for the first time at the same moment
            return False
        return True

    async def _entitled(self, serial: str, target: str) -> Entitled:
        async with self._units.reading() as uow:
            _, found = await self._looked_up(uow, serial, target)
        if isinstance(found, NotEntitled):
            raise await self._refusal(serial, target, found)
        return found

    async def _looked_up(
        self, uow: UnitOfWork, serial: str, target: str
    ) -> tuple[Agent | None, Entitled | NotEntitled]:
        agent = await self._agents.holder(uow, serial)
        if agent is None:
            return None, NotEntitled.NO_AGENT
        return agent, await self._secrets.entitled(uow, agent.name, target)

    async def _opened(self, one: Entitled) -> Secret:
        try:
            return await self._secrets.opened(one)
        except CannotOpenError as error:
            raise RefusedError(Refusal.UNAVAILABLE, str(error)) from error

    async def _refusal(self, serial: str, target: str, why: NotEntitled) -> RefusedError:
        async with self._units() as uow:
            found = await repository.holder(uow.session, serial)
            actor = NOBODY if found is None else Actor(found[0].id, found[0].name, "agent")
            if self._is_new(actor.id, (target[:_LONGEST_NAME], why.value), int(uow.now.timestamp()) // _MINUTE):
                self._secrets.refused(uow, actor, target, why.value)
        kind = Refusal.NOTHING_THERE if why is NotEntitled.NO_VALUE else Refusal.DENIED
        return RefusedError(kind, why.value)

    def _is_new(self, agent: str, refusal: tuple[str, str], minute: int) -> bool:
        """Whether it is to be written down; an agent that makes names up fills neither the log nor the memory."""
        if minute != self._minute:
            self._minute, self._refused = minute, {}
        told = self._refused.setdefault(agent, set())
        if refusal in told or len(told) >= _MOST_IN_A_MINUTE:
            return False
        told.add(refusal)
        return True


def _same(found: Entitled | NotEntitled, one: Entitled) -> bool:
    """The same value; its data key may have been wrapped anew."""
    return isinstance(found, Entitled) and (found.name, found.version) == (one.name, one.version)


def _actor(agent: Agent) -> Actor:
    return Actor(agent.id, agent.name, "agent")
