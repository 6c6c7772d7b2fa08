"""Where the credential for a target comes from. The client never sees it; it lives in memory as a `Secret`."""

from __future__ import annotations

from typing import Protocol

import msgspec

from data_plane.gate.interface import SessionFacts
from data_plane.runtime.secret import Secret


class TargetCredential(msgspec.Struct, frozen=True):
    username: str
    password: Secret


class CredentialError(Exception):
    """No credential can be had; `args[0]` says why and what to do, for the operator's log."""


class CredentialSource(Protocol):
    """One target's. A source may make a credential for each session (and must then take it back)."""

    async def obtain(self, session: SessionFacts) -> TargetCredential:
        """Raises CredentialError."""

    async def own(self) -> TargetCredential:
        """For the agent's own reading of the target's catalogue. Raises CredentialError."""

    async def preview(self) -> TargetCredential | None:
        """For impact previews: an account that can do less. None: there is none. Raises CredentialError."""

    async def release(self, session: SessionFacts) -> None:
        """The session is over, or never came to be after `obtain`. Never raises, harmless twice."""
