"""One account for every session of a target, as it stands in the agent's own configuration.

This protects a target only as far as the account's own rights go; it gives no session an account of its own.
"""

from __future__ import annotations

from collections.abc import Iterable

from data_plane.credentials.ports import Need, PasswordCredential
from data_plane.gate.interface import SessionFacts
from data_plane.identifiers import SessionId
from data_plane.runtime.secret import Secret


class LocalCredential:
    """Implements `ports.CredentialSource`; reading files and the environment is the business of `config`."""

    def __init__(self, username: str, password: Secret, preview: PasswordCredential | None = None) -> None:
        self._credential = PasswordCredential(username, password)
        self._preview = preview

    async def obtain(self, need: Need) -> PasswordCredential:
        del need
        return self._credential

    async def signed_in(self, session: SessionId) -> None:
        del session

    async def own(self) -> PasswordCredential:
        return self._credential

    async def preview(self) -> PasswordCredential | None:
        return self._preview

    def personal(self, session: SessionId) -> bool:
        del session
        return False

    def lacks(self, session: SessionId, actions: Iterable[str]) -> bool:
        """Never: the account is as wide for every operation."""
        del session, actions
        return False

    async def widen(self, session: SessionId, actions: Iterable[str]) -> None:
        del session, actions

    async def narrow(self, session: SessionId) -> None:
        del session

    async def release(self, session: SessionFacts) -> None:
        del session
