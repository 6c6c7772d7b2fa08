"""Secrets on their way to agents and back: who may have which, and what is written down of it.

An agent may have the secret of a target that it serves at this moment, and nothing else. Each step takes the unit of
work of its caller, which looks at the agent's certificate in the same transaction; opening and sealing happen between.
"""

from __future__ import annotations

import enum
from collections.abc import Sequence
from typing import Final

import msgspec
import structlog

from control_plane.kit.secret import Secret
from control_plane.kit.unit_of_work import Actor, AuditEvent, UnitOfWork
from control_plane.secrets import repository
from control_plane.secrets.envelope import Envelope, Sealed
from control_plane.secrets.ports import WrappedKeyError, WrappingError
from control_plane.secrets.service import SecretService
from control_plane.secrets.tables import SecretDeliveryRow
from control_plane.targets.service import Target, TargetService

_log = structlog.get_logger(__name__)

_LONGEST_SUBJECT: Final = 64


class NotEntitled(enum.StrEnum):
    """Why an agent is given nothing."""

    NO_AGENT = "this agent is disabled or its certificate ended"
    NOT_SERVED = "this agent does not serve such a target"
    NOTHING_NAMED = "the target names no secret"
    NO_VALUE = "the secret has no value yet"
    NOT_ROTATED = "the target's document does not say that its credential is rotated"


class Entitled(msgspec.Struct, frozen=True):
    """What an agent may have, still sealed."""

    target: str
    name: str
    version: int
    sealed: Sealed
    rotated: bool  # the agent may store a new value


class Current(msgspec.Struct, frozen=True):
    target: str
    version: int


class CannotOpenError(Exception):
    """`args[0]` is for the agent's log: which secret, not why; the control plane's log says that."""


class SecretDelivery:
    """Implements the port Secrets of agents."""

    def __init__(self, envelope: Envelope, service: SecretService, targets: TargetService) -> None:
        self._envelope = envelope
        self._service = service
        self._targets = targets

    async def entitled(self, uow: UnitOfWork, agent: str, target: str) -> Entitled | NotEntitled:
        found = await self._targets.target(uow, target)
        if found is None or found.spec.agent != agent:
            return NotEntitled.NOT_SERVED
        name = found.spec.credential.secret
        if not name:
            return NotEntitled.NOTHING_NAMED
        row = await repository.any_secret(uow.session, name)
        if row is None or row.deleted:
            return NotEntitled.NO_VALUE
        sealed = Sealed(row.sealed, row.wrapped_key, row.wrapping_key)
        return Entitled(target, name, row.version, sealed, found.spec.credential.rotate is not None)

    async def opened(self, one: Entitled) -> Secret:
        """Raises CannotOpenError."""
        try:
            value = await self._envelope.open(self._service.context(one.name, one.version), one.sealed)
            return Secret(value.decode())
        except WrappedKeyError as error:
            _log.critical("a sealed row was changed or swapped; set the secret again", name=one.name, why=str(error))
            raise CannotOpenError(f"{one.name}: what is stored is not what was sealed; set it again") from error
        except WrappingError as error:
            _log.error("a secret cannot be opened", name=one.name, why=str(error))
            raise CannotOpenError(f"{one.name}: its wrapping key cannot be used now") from error

    async def delivered(self, uow: UnitOfWork, agent: Actor, one: Entitled) -> None:
        key = (one.name, agent.name, one.target)
        row = await uow.session.get(SecretDeliveryRow, key, with_for_update=True)
        if row is None:
            row = SecretDeliveryRow(secret=one.name, agent=agent.name, target=one.target, version=0, at=uow.now)
        row.version, row.at = one.version, uow.now
        uow.session.add(row)
        uow.audit(AuditEvent("secret.delivered", agent, one.name, {"target": one.target, "version": one.version}))

    def refused(self, uow: UnitOfWork, agent: Actor, target: str, why: str) -> None:
        """The target's name is what somebody sent: cut to what a name may have."""
        uow.audit(AuditEvent("secret.refused", agent, target[:_LONGEST_SUBJECT], {"reason": why}))

    # -------------------------------------------------------------- a new value from the agent that rotates

    async def sealed(self, one: Entitled, value: Secret) -> Sealed:
        """For the version after it. Raises SealingUnavailableError."""
        return await self._service.sealed(one.name, one.version + 1, value)

    async def rotated(self, uow: UnitOfWork, agent: Actor, one: Entitled, sealed: Sealed) -> bool:
        """False: somebody has changed it meanwhile."""
        following = one.version + 1
        return await self._service.stored(uow, agent, "secret.rotated", one.name, following, sealed, target=one.target)

    # -------------------------------------------------------------- what is new

    async def current(self, uow: UnitOfWork, agent: str, secret: str = "") -> Sequence[Current]:
        """The versions of this secret, or of every one, at the targets of an agent."""
        targets = [one for one in await self._targets.of_agent(uow, agent) if _names(one, secret)]
        found = []
        for one in targets:
            row = await repository.any_secret(uow.session, one.spec.credential.secret)
            if row is not None and not row.deleted:
                found.append(Current(one.name, row.version))
        return found


def _names(target: Target, secret: str) -> bool:
    named = target.spec.credential.secret
    return bool(named) and secret in {"", named}
