"""What callers hear. No error holds a value, and none repeats what a body held."""

from __future__ import annotations

from collections.abc import Sequence

from control_plane.kit.errors import ConflictError, NotFoundError, UnavailableError


class SecretNotFoundError(NotFoundError):
    def __init__(self, name: str) -> None:
        super().__init__(f"there is no secret named {name!r}")


class SecretInUseError(ConflictError):
    def __init__(self, name: str, users: Sequence[str]) -> None:
        super().__init__(f"the secret {name!r} is used by {', '.join(users)}: change that first")


class SecretBusyError(ConflictError):
    def __init__(self, name: str) -> None:
        super().__init__(f"the secret {name!r} was changed by others meanwhile; look at it and try again")


class SealingUnavailableError(UnavailableError):
    """The wrapping key cannot be used now; nothing was stored."""
