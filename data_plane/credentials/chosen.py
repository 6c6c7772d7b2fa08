"""Where a target's secret is kept, as its document says at the moment: at the control plane, or where this agent's
configuration says. Never both: a document that names a secret is not served from the configuration instead."""

from __future__ import annotations

from collections.abc import Callable

from data_plane.credentials.ports import CredentialError, SecretStore
from data_plane.runtime.secret import Secret


class ChosenStore:
    """Implements `ports.SecretStore` for one target."""

    def __init__(self, sealed: SecretStore, configured: SecretStore | None, names_secret: Callable[[], bool]) -> None:
        self._sealed = sealed
        self._configured = configured
        self._names_secret = names_secret

    @property
    def writable(self) -> bool:
        return self._store is not None and self._store.writable

    async def read(self) -> Secret:
        return await self._present().read()

    async def write(self, value: Secret) -> None:
        await self._present().write(value)

    @property
    def _store(self) -> SecretStore | None:
        return self._sealed if self._names_secret() else self._configured

    def _present(self) -> SecretStore:
        """Raises CredentialError."""
        store = self._store
        if store is None:
            raise CredentialError(
                "the target's document names no secret, and this agent's configuration says nothing of its credential: "
                "set credential.secret there, or username and password here"
            )
        return store
