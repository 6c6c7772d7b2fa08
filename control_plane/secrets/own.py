"""Sealed secrets that the control plane itself uses at other systems, such as its client's at an identity provider.

Agents never get these: a document's validation keeps one secret from being named by a target and by a provider.
"""

from __future__ import annotations

from control_plane.kit.secret import Secret
from control_plane.kit.unit_of_work import Units
from control_plane.secrets import repository
from control_plane.secrets.envelope import Envelope, Sealed, secret_context
from control_plane.secrets.ports import WrappingError


class OwnSecretError(Exception):
    """`args[0]` names the secret and says what is wrong, never a value."""


class OwnSecrets:
    """Opens, and seals what is kept in the rows of others."""

    def __init__(self, units: Units, envelope: Envelope, deployment: str) -> None:
        self._units = units
        self._envelope = envelope
        self._deployment = deployment
        self._opened: dict[str, tuple[int, Secret]] = {}

    async def value(self, name: str) -> Secret:
        """Not inside a transaction: opening may ask a service far away. Raises OwnSecretError."""
        async with self._units.reading() as uow:
            row = await repository.any_secret(uow.session, name)
            if row is None or row.deleted:
                self._opened.pop(name, None)
                raise OwnSecretError(f"there is no secret named {name!r}")
            version, sealed = row.version, Sealed(row.sealed, row.wrapped_key, row.wrapping_key)
        known = self._opened.get(name)
        if known is None or known[0] != version:
            value = await self._open(secret_context(self._deployment, name, version), sealed, name)
            known = self._opened[name] = (version, Secret(value.decode()))
        return known[1]

    async def seal(self, what: str, value: bytes) -> Sealed:
        """`what` it is, and whose: it opens as nothing else. Raises OwnSecretError."""
        try:
            return await self._envelope.seal(self._context(what), value)
        except WrappingError as error:
            raise OwnSecretError(f"{what.split(':', 1)[0]} cannot be sealed: {error}") from error

    async def open(self, what: str, sealed: Sealed) -> bytes:
        """Raises OwnSecretError."""
        return await self._open(self._context(what), sealed, what.split(":", 1)[0])

    def _context(self, what: str) -> bytes:
        return b"\0".join((b"assentry-own-v1", self._deployment.encode(), what.encode()))

    async def _open(self, context: bytes, sealed: Sealed, named: str) -> bytes:
        try:
            return await self._envelope.open(context, sealed)
        except WrappingError as error:
            raise OwnSecretError(f"{named} cannot be opened: {error}") from error
