"""Secrets as admins know them: written, listed by what is known about them, deleted. Never read back.

Sealing may ask a service far away, so it happens between two transactions and never inside one: the first says which
version is next, the second stores it if that is still so.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime
from typing import Final

import msgspec
from sqlalchemy.exc import IntegrityError

from control_plane.kit.access import Principal
from control_plane.kit.errors import InvalidError
from control_plane.kit.etags import check_version
from control_plane.kit.pagination import Paging, single_key
from control_plane.kit.secret import Secret
from control_plane.kit.unit_of_work import Actor, AuditEvent, Json, UnitOfWork, Units
from control_plane.secrets import repository
from control_plane.secrets.envelope import Envelope, Sealed, secret_context
from control_plane.secrets.errors import SealingUnavailableError, SecretBusyError, SecretInUseError, SecretNotFoundError
from control_plane.secrets.ports import WrappingError
from control_plane.secrets.tables import SecretDeliveryRow, SecretRow
from control_plane.targets.service import Target, TargetService

TOPIC: Final = "secret"  # has another value, or is gone; the key is its name
MOST_BYTES: Final = 16 * 1024
_TRIES: Final = 5
Users = Callable[[UnitOfWork, str], Awaitable[Sequence[str]]]  # who uses the secret of this name


class Described(msgspec.Struct, frozen=True):
    """All that is ever told of a secret."""

    row: SecretRow
    targets: Sequence[Target]  # that use it now
    deliveries: Sequence[SecretDeliveryRow]  # newest first


class SecretService:
    def __init__(self, units: Units, envelope: Envelope, targets: TargetService, deployment: str) -> None:
        self._units = units
        self._envelope = envelope
        self._targets = targets
        self._deployment = deployment
        self._others: list[Users] = []

    def used_by(self, users: Users) -> None:
        """Besides targets."""
        self._others.append(users)

    # -------------------------------------------------------------- writing

    async def put(self, by: Principal, name: str, value: Secret, if_match: str | None) -> Described:
        """Raises SecretBusyError, SealingUnavailableError, PreconditionFailedError, InvalidError."""
        check_value(value)
        for _ in range(_TRIES):
            async with self._units.reading() as uow:
                row = await repository.any_secret(uow.session, name)
                check_version(if_match, _living(row))
            following = (row.version if row else 0) + 1
            sealed = await self.sealed(name, following, value)
            try:
                async with self._units() as uow:
                    check_version(if_match, _living(await repository.locked(uow.session, name)))
                    if await self.stored(uow, by.actor, "secret.written", name, following, sealed):
                        return await self.described(uow, name)
            except IntegrityError:  # two made it at the same moment; the other one has it
                continue
        raise SecretBusyError(name)

    async def sealed(self, name: str, version: int, value: Secret) -> Sealed:
        """Raises SealingUnavailableError."""
        try:
            return await self._envelope.seal(self.context(name, version), value.reveal().encode())
        except WrappingError as error:
            raise SealingUnavailableError(f"it cannot be sealed, nothing was stored: {error}") from error

    async def stored(
        self, uow: UnitOfWork, by: Actor, event: str, name: str, version: int, sealed: Sealed, *, target: str = ""
    ) -> bool:
        """False: this is not the version that comes next any more."""
        row = await repository.locked(uow.session, name)
        if (row.version if row else 0) + 1 != version:
            return False
        row = row or SecretRow(name=name, version=0, sealed=b"", wrapped_key=b"", wrapping_key="",
                               created_at=uow.now, changed_at=uow.now, changed_by="")  # fmt: skip
        if row.deleted:
            row.created_at, row.deleted = uow.now, False
        row.version, row.changed_at, row.changed_by = version, uow.now, by.name
        row.sealed, row.wrapped_key, row.wrapping_key = sealed.ciphertext, sealed.wrapped_key, sealed.wrapping_key
        uow.session.add(row)
        told: dict[str, Json] = {"version": version, "wrapping_key": sealed.wrapping_key}
        if target:
            told["target"] = target
        uow.audit(AuditEvent(event, by, name, told))
        uow.notify(TOPIC, name)
        await uow.session.flush()
        return True

    async def delete(self, uow: UnitOfWork, by: Principal, name: str, if_match: str | None) -> None:
        """Raises SecretInUseError, SecretNotFoundError."""
        row = await repository.locked(uow.session, name)  # from here on no document begins to name it
        if row is None or row.deleted:
            raise SecretNotFoundError(name)
        check_version(if_match, row.version)
        used = [one.name for one in await self._users(uow, name)]
        used += [user for users in self._others for user in await users(uow, name)]
        if used:
            raise SecretInUseError(name, used)
        row.deleted, row.changed_at, row.changed_by = True, uow.now, by.name
        row.sealed, row.wrapped_key, row.wrapping_key = b"", b"", ""
        uow.session.add(row)
        uow.audit(AuditEvent("secret.deleted", by.actor, name, {"version": row.version}))
        uow.notify(TOPIC, name)

    # -------------------------------------------------------------- reading about them

    async def listed(self, uow: UnitOfWork, paging: Paging) -> tuple[list[Described], str | None]:
        after = single_key(paging, str) or ""
        rows, cursor = paging.page(
            await repository.living(uow.session, after, paging.limit + 1), lambda row: (row.name,)
        )
        deliveries = await repository.deliveries(uow.session, [row.name for row in rows])
        targets = await self._targets.all(uow)
        return [Described(row, _using(targets, row.name), deliveries[row.name]) for row in rows], cursor

    async def described(self, uow: UnitOfWork, name: str) -> Described:
        """Raises SecretNotFoundError."""
        row = await repository.any_secret(uow.session, name)
        if row is None or row.deleted:
            raise SecretNotFoundError(name)
        deliveries = await repository.deliveries(uow.session, [name])
        return Described(row, await self._users(uow, name), deliveries[name])

    async def changed_at(self, uow: UnitOfWork, name: str) -> datetime | None:
        """When the value that is kept was written. None: there is none."""
        row = await repository.any_secret(uow.session, name)
        return None if row is None or row.deleted else row.changed_at

    async def known(self, uow: UnitOfWork) -> frozenset[str]:
        """For what may name them. In a unit that writes, none of them goes before it ends."""
        return await repository.names(uow.session, keep=uow.writes)

    async def delivered(self, uow: UnitOfWork) -> frozenset[str]:
        """Those of which an agent has ever been given a value, whatever becomes of the target."""
        return await repository.delivered(uow.session)

    def context(self, name: str, version: int) -> bytes:
        return secret_context(self._deployment, name, version)

    async def _users(self, uow: UnitOfWork, name: str) -> list[Target]:
        return _using(await self._targets.all(uow), name)


def check_value(value: Secret) -> None:
    """Raises InvalidError, which says nothing of the value."""
    if not value or len(value.reveal().encode("utf-8", "surrogatepass")) > MOST_BYTES:
        raise InvalidError(f"a secret has from 1 to {MOST_BYTES} bytes")
    if any((char < " " and char not in "\t\r\n") or "\ud800" <= char <= "\udfff" for char in value.reveal()):
        raise InvalidError("a secret is text without control characters other than tabs and line ends")


def _living(row: SecretRow | None) -> int | None:
    return None if row is None or row.deleted else row.version


def _using(targets: Sequence[Target], name: str) -> list[Target]:
    return [one for one in targets if one.spec.credential.secret == name]
