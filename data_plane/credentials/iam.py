"""Accounts that sign in with a token of a cloud in place of a password: a new one for each sign-in, worth minutes.

The target asks for it in clear, so it is made only for a target whose certificate is verified.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, Protocol

from data_plane.credentials.ports import CredentialError
from data_plane.credentials.threads import in_thread
from data_plane.policy.model import TargetSpec
from data_plane.runtime.secret import Secret

_VERIFIED: Final = ("verify-ca", "verify-full")


class Tokens(Protocol):
    def new(self, spec: TargetSpec) -> Secret:
        """For the target as it is now. Blocks. Raises CredentialError."""


class IamTokens:
    """Implements `ports.SecretStore`. `spec`: the target's, as it is now; None: not known yet."""

    writable = False

    def __init__(self, tokens: Tokens, spec: Callable[[], TargetSpec | None]) -> None:
        self._tokens, self._spec = tokens, spec

    async def read(self) -> Secret:
        spec = self._spec()
        if spec is None:
            raise CredentialError("the target is in no policy that this agent has: apply its document")
        if spec.tls.mode not in _VERIFIED:
            raise CredentialError(
                "a sign-in token is sent only to a target that is verified: set tls.mode of the target to verify-full"
            )
        return await in_thread(lambda: self._tokens.new(spec), str(self._tokens))

    async def write(self, value: Secret) -> None:
        del value
        raise CredentialError(f"{self._tokens} makes sign-in tokens: there is no password to write")


def address(spec: TargetSpec) -> tuple[str, int]:
    """As the target's document has it; it was checked there."""
    host, _, port = spec.address.rpartition(":")
    return host.strip("[]"), int(port)
