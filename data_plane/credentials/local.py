"""The credential that stands in the agent's own configuration: one account for every session of a target.

This protects a target only as far as the account's own rights go; it gives no session an account of its own.
"""

from __future__ import annotations

from data_plane.credentials.ports import TargetCredential
from data_plane.gate.interface import SessionFacts
from data_plane.runtime.secret import Secret


class LocalCredential:
    """Implements `ports.CredentialSource`; reading files and the environment is the business of `config`."""

    def __init__(self, username: str, password: Secret, preview: TargetCredential | None = None) -> None:
        self._credential = TargetCredential(username, password)
        self._preview = preview

    async def obtain(self, session: SessionFacts) -> TargetCredential:
        del session
        return self._credential

    async def own(self) -> TargetCredential:
        return self._credential

    async def preview(self) -> TargetCredential | None:
        return self._preview

    async def release(self, session: SessionFacts) -> None:
        del session
